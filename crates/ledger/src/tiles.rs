//! Reading what is committed: tiles and bundles as files, hashes as the nodes of a tree, entries by index.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use custodia_format::Hash;
use custodia_format::entry::Entry;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle};
use custodia_merkle::{Nodes, Position, root};

use crate::home::{tile_bytes, tile_path};
use crate::storage::{Storage, StorageError};
use crate::tail::hashes;
use crate::unwritten::Unwritten;

/// Tiles of hashes kept in memory, at most 8 MiB: the paths of some hundred proofs.
const CACHED_TILES: usize = 512;

/// The committed tiles of a ledger.
#[derive(Debug)]
pub(crate) struct Tiles {
    storage: Arc<dyn Storage>,
    unwritten: Arc<Unwritten>,
    cache: Mutex<Cache>,
}

/// Tiles by name, and the order in which they came.
#[derive(Debug, Default)]
struct Cache {
    tiles: HashMap<Tile, Arc<Row>>,
    order: VecDeque<Tile>,
}

/// A tile of hashes in memory.
#[derive(Debug)]
struct Row {
    hashes: Vec<Hash>,
    /// The complete subtrees of 2, 4 … 128 of them, one list for each height. Every proof of a ledger goes through its few upper
    /// tiles, so these are hashed once; a tile of leaves is seldom asked for twice, and has none.
    inner: Vec<Vec<Hash>>,
}

impl Row {
    fn of(level: u8, hashes: Vec<Hash>) -> Self {
        let mut inner: Vec<Vec<Hash>> = Vec::new();
        for _ in 1..8_u8 * u8::from(level > 0) {
            let below = inner.last().unwrap_or(&hashes);
            inner.push(below.chunks_exact(2).map(root).collect());
        }
        Self { hashes, inner }
    }

    /// The root of the 2^height hashes from this place on, which is a multiple of that; none when there are fewer.
    fn node(&self, place: usize, height: u8) -> Option<Hash> {
        match usize::from(height).checked_sub(1).and_then(|above| self.inner.get(above)) {
            Some(subtrees) => subtrees.get(place >> height).copied(),
            None => self.hashes.get(place..place + (1 << height)).map(root),
        }
    }
}

/// Why something committed could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The index or size is not in the ledger. The caller's fault.
    #[error("{asked} is not in a ledger of size {size}")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The ledger's size.
        size: u64,
    },
    /// A file of the ledger is missing or holds something else than it must. The disk's fault: run a check.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The storage could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Tiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, unwritten: Arc<Unwritten>) -> Self {
        Self { storage, unwritten, cache: Mutex::default() }
    }

    /// The bytes of a tile. In place of a partial tile the full one will do, cut to its width, or a wider one that is at
    /// the right edge.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when neither is there or its length is wrong.
    pub(crate) fn bytes(&self, tile: Tile) -> Result<Vec<u8>, ReadError> {
        let read = |tile: Tile| match self.storage.read(&tile_path(&tile), tile_bytes(&tile)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(StorageError::TooLarge { bytes, limit, .. }) => {
                Err(damaged(tile, format!("{bytes} bytes instead of {limit}")))
            }
            Err(error) => Err(error.into()),
        };
        // Looked for here first: what is written out meanwhile is in the files before it is gone from here.
        if let Some(bytes) = self.unwritten.tile(tile)? {
            return Ok(bytes);
        }
        let full = Tile { width: TILE_WIDTH as u16, ..tile };
        let bytes = match read(tile)? {
            None if tile != full => read(full)?.map(|bytes| cut(tile, &bytes, full.width)).transpose()?,
            bytes => bytes,
        };
        let bytes = bytes.ok_or_else(|| damaged(tile, format!("it is missing ({})", range(tile))))?;
        match tile.kind {
            TileKind::Hashes(_) if bytes.len() as u64 != tile_bytes(&tile) => {
                Err(damaged(tile, format!("{} bytes instead of {}", bytes.len(), tile_bytes(&tile))))
            }
            _ => Ok(bytes),
        }
    }

    fn row(&self, tile: Tile, level: u8) -> Result<Arc<Row>, ReadError> {
        let locked = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = locked().tiles.get(&tile) {
            return Ok(Arc::clone(found));
        }
        let bytes = self.bytes(tile)?;
        let read = hashes(&bytes, tile.width).ok_or_else(|| damaged(tile, format!("{} bytes", bytes.len())))?;
        let read = Arc::new(Row::of(level, read));
        let mut cache = locked();
        if cache.tiles.insert(tile, Arc::clone(&read)).is_none() {
            cache.order.push_back(tile);
        }
        if cache.order.len() > CACHED_TILES
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.tiles.remove(&oldest);
        }
        Ok(read)
    }

    /// A bundle of a ledger of this size: its bytes, and how many entries they are.
    fn bundle(&self, index: u64, size: u64) -> Result<(Vec<u8>, Tile), ReadError> {
        let tile = in_row(TileKind::Entries, index, size).ok_or(ReadError::OutOfRange { asked: index, size })?;
        Ok((self.bytes(tile)?, tile))
    }

    /// The entries of one bundle.
    pub(crate) fn entries(&self, index: u64, size: u64) -> Result<Vec<Entry>, ReadError> {
        let (bytes, tile) = self.bundle(index, size)?;
        let entries = parse_bundle(&bytes, tile.width).map_err(|error| damaged(tile, error.to_string()))?;
        entries.into_iter().map(|entry| Entry::parse(entry).map_err(|error| damaged(tile, error.to_string()))).collect()
    }

    /// One entry. The others of its bundle are not looked into.
    pub(crate) fn entry(&self, index: u64, size: u64) -> Result<Entry, ReadError> {
        let (bytes, tile) = self.bundle(index / TILE_WIDTH, size)?;
        let entries = parse_bundle(&bytes, tile.width).map_err(|error| damaged(tile, error.to_string()))?;
        let entry = entries.get((index % TILE_WIDTH) as usize).ok_or(ReadError::OutOfRange { asked: index, size })?;
        Entry::parse(entry).map_err(|error| damaged(tile, error.to_string()))
    }
}

/// The nodes of the tree of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) tiles: &'a Tiles,
    pub(crate) size: u64,
}

impl Nodes for Tree<'_> {
    type Error = ReadError;

    fn node(&self, at: Position) -> Result<Hash, ReadError> {
        let out_of_range = ReadError::OutOfRange { asked: at.index, size: self.size };
        let (level, height) = (at.level / 8, at.level % 8);
        let first = at.index.checked_shl(height.into()).ok_or(out_of_range.clone())?;
        let tile = in_row(TileKind::Hashes(level), first / TILE_WIDTH, self.size).ok_or(out_of_range.clone())?;
        let place = (first % TILE_WIDTH) as usize;
        self.tiles.row(tile, level)?.node(place, height).ok_or(out_of_range)
    }
}

/// The tile at this place of a row at this size; none when the row is shorter.
pub(crate) fn in_row(kind: TileKind, index: u64, size: u64) -> Option<Tile> {
    let width = kind.count(size).checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH) as u16;
    (width > 0).then_some(Tile { kind, index, width })
}

/// The entries that a tile of the lowest rows is about, in words.
pub(crate) fn range(tile: Tile) -> String {
    let (first, last) = (tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + u64::from(tile.width) - 1);
    match tile.kind {
        TileKind::Entries => format!("entries {first} to {last}"),
        TileKind::Hashes(level) => format!("hashes {first} to {last} of level {level}"),
    }
}

/// The first part of a wider tile, which has `width` hashes or entries, as wide as a partial one.
///
/// # Errors
/// [`ReadError::Damaged`] when the wider one does not parse, or is no wider.
pub fn cut(tile: Tile, wider: &[u8], width: u16) -> Result<Vec<u8>, ReadError> {
    let length = match tile.kind {
        TileKind::Hashes(_) => Some(32 * usize::from(tile.width)),
        TileKind::Entries => {
            let entries = parse_bundle(wider, width).map_err(|error| damaged(tile, error.to_string()))?;
            Some(entries.iter().take(tile.width.into()).map(|entry| 2 + entry.len()).sum())
        }
    };
    let part = length.and_then(|length| wider.get(..length));
    part.map(<[u8]>::to_vec).ok_or_else(|| damaged(tile, format!("{} bytes in the wider tile", wider.len())))
}

pub(crate) fn damaged(tile: Tile, what: String) -> ReadError {
    ReadError::Damaged { path: tile_path(&tile), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_once_is_what_would_be_hashed_each_time() {
        for width in [1, 2, 3, 7, 8, 100, 255, 256] {
            let hashes: Vec<Hash> = (0..width).map(|n: u16| Hash::of(&n.to_be_bytes())).collect();
            let (leaves, upper) = (Row::of(0, hashes.clone()), Row::of(1, hashes.clone()));
            assert_eq!((leaves.inner.len(), upper.inner.len()), (0, 7));
            for height in 0..8_u8 {
                for place in (0..=usize::from(width)).step_by(1 << height) {
                    let expected = hashes.get(place..place + (1 << height)).map(root);
                    assert_eq!(upper.node(place, height), expected, "{width} {height} {place}");
                    assert_eq!(leaves.node(place, height), expected);
                }
            }
        }
    }
}
