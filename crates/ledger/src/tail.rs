//! The right edge of the ledger: what the next commit builds on, and the plan of that commit. Pure: no IO, no key.

use custodia_format::Malformed;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind, parse_bundle, push_entry};
use custodia_merkle::{Frontier, Hash, Nodes, Position, leaf_hash, root};

/// The newest partial tile of each row, in memory.
///
/// Invariants: `rows[l]` holds the last `floor(size / 256^l) mod 256` hashes of level l; `bundle` the last `size mod 256`
/// entries; nothing above the last row has a hash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tail {
    size: u64,
    bundle: Vec<u8>,
    rows: Vec<Vec<Hash>>,
}

/// What a commit will write, all of it known before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The size that it starts from.
    pub(crate) before: u64,
    /// The edge after it.
    pub(crate) tail: Tail,
    /// The frontier after it, grown leaf by leaf: the first of the two ways to the root.
    pub(crate) frontier: Frontier,
    /// Every tile and bundle that is new or wider, as bytes.
    pub(crate) files: Vec<(Tile, Vec<u8>)>,
}

/// Plans the commit of these entries, in this order.
///
/// # Errors
/// [`Malformed`] when an entry is empty or too long for a bundle.
pub(crate) fn plan<'a>(
    tail: &Tail,
    frontier: &Frontier,
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Plan, Malformed> {
    let mut plan = Plan { before: tail.size, tail: tail.clone(), frontier: frontier.clone(), files: Vec::new() };
    for entry in entries {
        plan.frontier.push(leaf_hash(entry));
        plan.tail.push(entry, &mut plan.files)?;
    }
    plan.files.extend(plan.tail.partial_tiles(plan.before));
    Ok(plan)
}

impl Plan {
    /// The size after it.
    pub(crate) const fn size(&self) -> u64 {
        self.tail.size
    }
}

impl Tail {
    /// The edge of an empty ledger.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Puts the edge of a ledger of this size together from its newest partial tiles.
    ///
    /// # Errors
    /// What `read` says, or [`TailError`] when a tile has not the length of its width or the last bundle does not hash
    /// to the last tile of leaf hashes.
    pub(crate) fn load<E>(size: u64, mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>) -> Result<Self, TailError<E>> {
        let mut tail = Self { size, ..Self::default() };
        for tile in partial_tiles(size) {
            let bytes = read(tile).map_err(TailError::Read)?;
            match tile.kind {
                TileKind::Entries => tail.bundle = bytes,
                TileKind::Hashes(level) => {
                    let row = hashes(&bytes, tile.width).ok_or(TailError::Length { tile, bytes: bytes.len() })?;
                    tail.row(level.into()).extend(row);
                }
            }
        }
        let entries = parse_bundle(&tail.bundle, (size % TILE_WIDTH) as u16).map_err(TailError::Bundle)?;
        let leaves: Vec<Hash> = entries.into_iter().map(leaf_hash).collect();
        if tail.row(0).as_slice() == leaves { Ok(tail) } else { Err(TailError::Leaves { size }) }
    }

    /// How many entries the ledger has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The frontier of the tree, from the hashes of the partial tiles.
    pub(crate) fn frontier(&self) -> Result<Frontier, OutsideTail> {
        let subtrees = Frontier::positions(self.size).map(|at| self.node(at)).collect::<Result<Vec<Hash>, _>>()?;
        Frontier::of(self.size, subtrees).ok_or(OutsideTail)
    }

    /// Adds an entry; tiles that it fills go to `full`.
    fn push(&mut self, entry: &[u8], full: &mut Vec<(Tile, Vec<u8>)>) -> Result<(), Malformed> {
        push_entry(&mut self.bundle, entry)?;
        self.size += 1;
        if self.size.is_multiple_of(TILE_WIDTH) {
            let tile = Tile { kind: TileKind::Entries, index: self.size / TILE_WIDTH - 1, width: TILE_WIDTH as u16 };
            full.push((tile, std::mem::take(&mut self.bundle)));
        }
        let (mut level, mut hash) = (0_u8, leaf_hash(entry));
        loop {
            let row = self.row(level.into());
            row.push(hash);
            if row.len() < TILE_WIDTH as usize {
                return Ok(());
            }
            let kind = TileKind::Hashes(level);
            let hashes = std::mem::take(row);
            let tile = Tile { kind, index: kind.count(self.size) / TILE_WIDTH - 1, width: TILE_WIDTH as u16 };
            full.push((tile, bytes_of(&hashes)));
            hash = root(&hashes);
            level += 1;
        }
    }

    /// The partial tiles that a commit from `before` changed.
    fn partial_tiles(&self, before: u64) -> impl Iterator<Item = (Tile, Vec<u8>)> + '_ {
        partial_tiles(self.size).filter(move |tile| tile.kind.count(self.size) > tile.kind.count(before)).map(|tile| {
            match tile.kind {
                TileKind::Entries => (tile, self.bundle.clone()),
                TileKind::Hashes(level) => {
                    (tile, self.rows.get(usize::from(level)).map(|row| bytes_of(row)).unwrap_or_default())
                }
            }
        })
    }

    fn row(&mut self, level: usize) -> &mut Vec<Hash> {
        if self.rows.len() <= level {
            self.rows.resize_with(level + 1, Vec::new);
        }
        &mut self.rows[level]
    }
}

/// A subtree that is not at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subtree is not at the ledger's right edge")]
pub(crate) struct OutsideTail;

impl Nodes for Tail {
    type Error = OutsideTail;

    fn node(&self, at: Position) -> Result<Hash, OutsideTail> {
        let row = self.rows.get(usize::from(at.level / 8)).ok_or(OutsideTail)?;
        let height = at.level % 8;
        let first_of_row = TileKind::Hashes(at.level / 8).count(self.size) - row.len() as u64;
        let first = (at.index << height).checked_sub(first_of_row).ok_or(OutsideTail)? as usize;
        row.get(first..first + (1 << height)).map(root).ok_or(OutsideTail)
    }
}

/// The newest tile of each row that is not full at this size: at most one a row.
pub(crate) fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..8).map(TileKind::Hashes));
    kinds.filter_map(move |kind| {
        let (index, width) = (kind.count(size) / TILE_WIDTH, kind.count(size) % TILE_WIDTH);
        (width > 0).then_some(Tile { kind, index, width: width as u16 })
    })
}

/// The hashes in a tile's bytes; none when their number is not its width.
pub(crate) fn hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(width))
        .then(|| hashes.iter().map(|hash| Hash::new(*hash)).collect())
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Why the edge could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TailError<E> {
    #[error("{0}")]
    Read(E),
    #[error("ledger/{tile} has {bytes} bytes instead of {}", 32 * tile.width)]
    Length { tile: Tile, bytes: usize },
    #[error("the last bundle of entries: {0}")]
    Bundle(Malformed),
    #[error("entries {} to {}: their bundle does not hash to their tile of leaf hashes", size - size % TILE_WIDTH, size - 1)]
    Leaves { size: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_merkle::tree_root;
    use std::collections::HashMap;
    use std::ops::Range;

    fn entries(range: Range<u64>) -> Vec<String> {
        range.map(|n| n.to_string()).collect()
    }

    fn grow(tail: &Tail, frontier: &Frontier, to: u64) -> Plan {
        let entries = entries(tail.size()..to);
        plan(tail, frontier, entries.iter().map(String::as_bytes)).unwrap()
    }

    #[test]
    fn the_vectors_of_70000_entries() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut sizes: Vec<u64> = vectors["roots_of_decimal_string_entries"]
            .as_object()
            .unwrap()
            .keys()
            .map(|size| size.parse().unwrap())
            .collect();
        sizes.extend([70_000, 65_000, 69_990]);
        sizes.sort_unstable();
        let (mut tail, mut frontier) = (Tail::new(), Frontier::new());
        let mut stored: HashMap<Tile, Vec<u8>> = HashMap::new();
        for size in sizes {
            let plan = grow(&tail, &frontier, size);
            let expected: Vec<Tile> = Tile::between(tail.size(), size).collect();
            let mut planned: Vec<Tile> = plan.files.iter().map(|(tile, _)| *tile).collect();
            planned.sort_by_key(|tile| expected.iter().position(|other| other == tile));
            assert_eq!(planned, expected, "{size}");
            stored.extend(plan.files);
            (tail, frontier) = (plan.tail, plan.frontier);
            if let Some(expected) = vectors["roots_of_decimal_string_entries"][size.to_string()].as_str() {
                assert_eq!(frontier.root().to_string(), expected);
            }
            assert_eq!(tree_root(&tail, size).unwrap(), frontier.root());
            assert_eq!(tail.frontier().unwrap(), frontier);
            let loaded = Tail::load(size, |tile| stored.get(&tile).cloned().ok_or(tile)).unwrap();
            assert_eq!(loaded.frontier().unwrap(), frontier);
        }
        for (path, expected) in vectors["tiles_size_70000"].as_object().unwrap() {
            let bytes = &stored[&Tile::parse(path).unwrap()];
            assert_eq!(bytes.len() as u64, expected["bytes"].as_u64().unwrap(), "{path}");
            assert_eq!(Hash::of(bytes).to_string(), expected["sha256"].as_str().unwrap(), "{path}");
        }
    }

    #[test]
    fn a_plan_does_not_depend_on_how_often_one_commits() {
        let whole = grow(&Tail::new(), &Frontier::new(), 600);
        let (mut tail, mut frontier) = (Tail::new(), Frontier::new());
        for size in 1..=600 {
            let plan = grow(&tail, &frontier, size);
            let expected: Vec<Tile> = Tile::between(tail.size(), size).collect();
            assert_eq!(plan.files.len(), expected.len(), "{size}");
            (tail, frontier) = (plan.tail, plan.frontier);
        }
        assert_eq!((tail, frontier), (whole.tail, whole.frontier));
    }

    #[test]
    fn an_edge_whose_entries_and_hashes_disagree_is_refused() {
        let plan = grow(&Tail::new(), &Frontier::new(), 3);
        let read = |damage: fn(Tile, &mut Vec<u8>)| {
            let stored: HashMap<Tile, Vec<u8>> = plan.files.iter().cloned().collect();
            Tail::load(3, move |tile| {
                let mut bytes = stored.get(&tile).cloned().ok_or(())?;
                damage(tile, &mut bytes);
                Ok::<_, ()>(bytes)
            })
        };
        assert!(read(|_, _| {}).is_ok());
        assert!(matches!(read(|_, bytes| bytes.truncate(31)), Err(TailError::Length { .. } | TailError::Bundle(_))));
        assert!(matches!(read(|_, bytes| bytes[2] ^= 1), Err(TailError::Leaves { size: 3 })));
        let swapped = read(|tile, bytes| {
            if tile.kind == TileKind::Entries {
                bytes[2] ^= 1;
            }
        });
        assert!(matches!(swapped, Err(TailError::Leaves { .. })));
    }
}
