//! Where a ledger's hashes and entries lie: C2SP tlog-tiles 0.1.0 (docs/spec/tiles.md).
//!
//! This file knows paths, widths and bundles as bytes. It refuses IO.

use std::fmt;

use crate::error::Malformed;
use crate::limits;
use crate::text::decimal;

/// Hashes or entries of a full tile.
pub const TILE_WIDTH: u64 = 256;

/// A file of the ledger: 1 to 256 hashes of one level, or as many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its place in its row, from 0.
    pub index: u64,
    /// How many: 256 when full.
    pub width: u16,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of complete subtrees of 256^level leaves; level 0 to 63.
    Hashes(u8),
    /// Entries, each after its length as u16be.
    Entries,
}

impl Tile {
    /// Its path below the ledger's folder, such as `tile/0/x001/234.p/17`.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`Malformed`] for anything that this would not print.
    pub fn parse(path: &str) -> Result<Self, Malformed> {
        let read = || {
            let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let kind = match kind {
                "entries" => TileKind::Entries,
                level => TileKind::Hashes(decimal(level).filter(|level| *level < 64)? as u8),
            };
            let (index, width) = match rest.split_once(".p/") {
                None => (rest, TILE_WIDTH),
                Some((index, width)) => (index, decimal(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
            };
            let index = index.split('/').try_fold(0_u64, |sum, group| {
                let digits = group.strip_prefix('x').unwrap_or(group);
                let three = digits.len() == 3 && digits.bytes().all(|c| c.is_ascii_digit());
                sum.checked_mul(1000)?.checked_add(digits.parse().ok().filter(|_| three)?)
            })?;
            Some(Self { kind, index, width: width as u16 })
        };
        read()
            .filter(|tile| tile.index <= limits::DECIMAL_MAX && tile.path() == path)
            .ok_or_else(|| Malformed::new("tile path", "", "tile/<level or entries>/<index>[.p/<width>]", path))
    }

    /// The tiles of a tree of this size that hold something and were not there, or not so wide, at the size before it.
    /// With `before` 0, all of them. Entries first, then level by level.
    pub fn between(before: u64, size: u64) -> impl Iterator<Item = Self> {
        let kinds = std::iter::once(TileKind::Entries).chain((0..8).map(TileKind::Hashes));
        kinds.flat_map(move |kind| {
            let (old, new) = (kind.count(before), kind.count(size));
            let changed = if new > old { old / TILE_WIDTH..new.div_ceil(TILE_WIDTH) } else { 0..0 };
            changed.map(move |index| Self::in_row(kind, index, new))
        })
    }

    /// The tile at this index of a row with so many hashes or entries; the index lies within the row.
    fn in_row(kind: TileKind, index: u64, count: u64) -> Self {
        Self { kind, index, width: (count - index * TILE_WIDTH).min(TILE_WIDTH) as u16 }
    }

    /// Whether it is full.
    pub const fn is_full(&self) -> bool {
        self.width as u64 == TILE_WIDTH
    }
}

impl TileKind {
    /// How many hashes or entries a tree of this size has in this row. A level above the entries counts only what
    /// stands over full tiles.
    pub fn count(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes(level) => size.checked_shr(8 * u32::from(level)).unwrap_or(0),
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            write!(f, "/{}{group:03}", if groups.is_empty() { "" } else { "x" })?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Appends an entry to a bundle.
///
/// # Errors
/// [`Malformed`] when the entry is empty or longer than [`limits::ENTRY_BYTES`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Malformed> {
    match u16::try_from(entry.len()) {
        Ok(length) if length > 0 => {
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(entry);
            Ok(())
        }
        _ => Err(Malformed::new("entry", "length", "1 to 65535 bytes", entry.len().to_string())),
    }
}

/// Reads a bundle of exactly `width` entries.
///
/// # Errors
/// [`Malformed`] when a length overruns, an entry is empty, or there are more or fewer.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, Malformed> {
    let mut entries = Vec::with_capacity(width.into());
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let place = entries.len().to_string();
        let Some((entry, after)) = after.split_at_checked(length).filter(|(entry, _)| !entry.is_empty()) else {
            return Err(Malformed::new("entry bundle", place, "1 or more bytes, as many as said", length.to_string()));
        };
        if entries.len() == usize::from(width) {
            return Err(Malformed::new("entry bundle", place, format!("{width} entries"), "more"));
        }
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() && entries.len() == usize::from(width) {
        return Ok(entries);
    }
    Err(Malformed::new("entry bundle", "end", format!("{width} entries"), entries.len().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_c2sp() {
        let tile = |kind, index, width| Tile { kind, index, width };
        for (tile, path) in [
            (tile(TileKind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(TileKind::Hashes(0), 273, 112), "tile/0/273.p/112"),
            (tile(TileKind::Entries, 0, 1), "tile/entries/000.p/1"),
            (tile(TileKind::Hashes(63), 999, 255), "tile/63/999.p/255"),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path).unwrap(), tile);
        }
        for bad in [
            "tile/0/x01/2",
            "tile/0/-1",
            "tile/0/18446744073709551616",
            "tile/64/000",
            "tile/00/000",
            "tile/0/0000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/../000",
            "tile/0/001/002",
            "tile/0/x000/001",
            "tile/0/x001",
            "tile/data/000",
            "/tile/0/000",
            "tile/0/",
        ] {
            assert!(Tile::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_vectors() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let all: Vec<String> = Tile::between(0, 70_000).map(|tile| tile.path()).collect();
        for path in vectors["tiles_size_70000"].as_object().unwrap().keys() {
            assert!(all.contains(path), "{path}");
        }
        assert_eq!(all.len(), 274 + 274 + 2 + 1);
        assert_eq!(Tile::between(70_000, 70_000).count(), 0);
        let grown: Vec<String> = Tile::between(255, 257).map(|tile| tile.path()).collect();
        assert_eq!(
            grown,
            ["tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
        );
    }

    #[test]
    fn bundles_have_exactly_their_entries() {
        let mut bundle = Vec::new();
        push_entry(&mut bundle, b"one").unwrap();
        push_entry(&mut bundle, b"two").unwrap();
        assert_eq!(parse_bundle(&bundle, 2).unwrap(), [b"one", b"two"]);
        assert!(parse_bundle(&bundle, 1).is_err() && parse_bundle(&bundle, 3).is_err());
        assert!(parse_bundle(&bundle[..9], 2).is_err());
        assert!(parse_bundle(&[&bundle[..], &[0]].concat(), 2).is_err());
        assert!(parse_bundle(&[0, 0], 1).is_err());
        assert!(push_entry(&mut bundle, b"").is_err());
        assert!(push_entry(&mut bundle, &[0; 65_536]).is_err());
    }
}
