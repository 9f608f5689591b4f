//! Where the ledger's files stand in a node's home, and how long they may be (docs/spec/home.md).

use custodia_format::tile::{Tile, TileKind};
use custodia_format::{Hash, limits};

/// The commits: what the newest of them signed counts.
pub(crate) const JOURNAL: &str = "state/journal";
/// Why signing stopped; there until a full check passed.
pub(crate) const POISONED: &str = "state/poisoned";
/// The folder that others read.
pub(crate) const LEDGER: &str = "ledger";
/// The checkpoint that readers see.
pub(crate) const CHECKPOINT: &str = "ledger/checkpoint";

/// Bytes of a journal: the largest commit after all those before which it is begun anew.
pub(crate) const JOURNAL_BYTES: u64 = 256 << 20;
/// Bytes of the file that says why signing stopped.
pub(crate) const POISONED_BYTES: u64 = 64 << 10;
/// Bytes of a full bundle of the largest entries.
pub(crate) const BUNDLE_BYTES: u64 = 256 * (2 + limits::ENTRY_BYTES as u64);

/// Where a document is kept once it is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// `statements/ab/<digest>.json`: an envelope.
    Statement,
    /// `anchors/ab/<digest>`: a logged file that is no envelope, such as a peer's checkpoint.
    Anchor,
}

impl Shelf {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Statement, Self::Anchor];

    /// Its folder in the home.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Statement => "statements",
            Self::Anchor => "anchors",
        }
    }

    /// How the names of its documents end.
    const fn ending(self) -> &'static str {
        match self {
            Self::Statement => ".json",
            Self::Anchor => "",
        }
    }

    /// Where the document stands once it is in the ledger, as a path from the home.
    pub fn path(self, digest: &Hash) -> String {
        let name = digest.to_string();
        let (ab, _) = name.split_at(2);
        format!("{}/{ab}/{name}{}", self.folder(), self.ending())
    }

    /// Reads a path that [`Shelf::path`] printed.
    pub(crate) fn parse_path(path: &str) -> Option<(Self, Hash)> {
        let shelf = Self::ALL.into_iter().find(|shelf| path.split('/').next() == Some(shelf.folder()))?;
        let digest = Hash::from_hex(path.rsplit('/').next()?.strip_suffix(shelf.ending())?)?;
        (shelf.path(&digest) == path).then_some((shelf, digest))
    }

    /// Its word in a stage.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Anchor => "anchor",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shelf| shelf.word() == word)
    }
}

/// Where a tile stands in the home.
pub(crate) fn tile_path(tile: &Tile) -> String {
    format!("ledger/{tile}")
}

/// Bytes that a tile may have.
pub(crate) const fn tile_bytes(tile: &Tile) -> u64 {
    match tile.kind {
        TileKind::Hashes(_) => 32 * tile.width as u64,
        TileKind::Entries => BUNDLE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back() {
        let digest = Hash::of(b"x");
        for shelf in Shelf::ALL {
            assert_eq!(Shelf::parse_path(&shelf.path(&digest)), Some((shelf, digest)));
            assert_eq!(Shelf::of_word(shelf.word()), Some(shelf));
        }
        for bad in ["statements/ab", "anchors/00/x", "statements", ""] {
            assert_eq!(Shelf::parse_path(bad), None);
        }
    }
}
