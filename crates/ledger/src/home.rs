//! Where the ledger's files stand in a node's home, and how long they may be (docs/spec/home.md).

use custodia_format::tile::{Tile, TileKind};
use custodia_format::{Hash, limits};

/// The signed checkpoint that counts: what it covers is committed.
pub(crate) const HEAD: &str = "state/head";
/// What the head's commit wrote, or a plan that never was committed.
pub(crate) const STAGE: &str = "state/stage";
/// The order of the documents of a commit that takes several.
pub(crate) const ORDER: &str = "state/order";
/// Why signing stopped; there until a full check passed.
pub(crate) const POISONED: &str = "state/poisoned";
/// The folder that others read.
pub(crate) const LEDGER: &str = "ledger";
/// The checkpoint that readers see.
pub(crate) const CHECKPOINT: &str = "ledger/checkpoint";
/// The folder of documents that are signed and not yet in the ledger.
pub(crate) const PENDING: &str = "pending";

/// Bytes of a head: a note and two lines.
pub(crate) const HEAD_BYTES: u64 = limits::NOTE_BYTES as u64 + 256;
/// Bytes of a stage: the entries and tiles of [`crate::APPEND_DOCUMENTS`] documents with their names, twice over.
pub(crate) const STAGE_BYTES: u64 = 64 << 20;
/// Bytes of the list of an append's documents.
pub(crate) const ORDER_BYTES: u64 = 80 * crate::APPEND_DOCUMENTS as u64;
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

    /// Where it stands until then.
    pub(crate) fn pending_path(self, digest: &Hash) -> String {
        match self {
            Self::Statement => format!("{PENDING}/{digest}.json"),
            Self::Anchor => format!("{PENDING}/{digest}.note"),
        }
    }

    /// Reads a path that [`Shelf::path`] printed.
    pub(crate) fn parse_path(path: &str) -> Option<(Self, Hash)> {
        let shelf = Self::ALL.into_iter().find(|shelf| path.split('/').next() == Some(shelf.folder()))?;
        let digest = Hash::from_hex(path.rsplit('/').next()?.strip_suffix(shelf.ending())?)?;
        (shelf.path(&digest) == path).then_some((shelf, digest))
    }

    /// Reads a path that [`Shelf::pending_path`] printed.
    pub(crate) fn parse_pending_path(path: &str) -> Option<(Self, Hash)> {
        let (digest, ending) = path.strip_prefix(PENDING)?.strip_prefix('/')?.split_once('.')?;
        let shelf = match ending {
            "json" => Self::Statement,
            "note" => Self::Anchor,
            _ => return None,
        };
        Some((shelf, Hash::from_hex(digest)?))
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
            assert_eq!(Shelf::parse_pending_path(&shelf.pending_path(&digest)), Some((shelf, digest)));
            assert_eq!(Shelf::of_word(shelf.word()), Some(shelf));
        }
        for bad in ["statements/ab", "anchors/00/x", "statements", ""] {
            assert_eq!(Shelf::parse_path(bad), None);
        }
    }
}
