//! The rows above the leaves, as they must be.

use custodia_format::Hash;
use custodia_format::tile::{TILE_WIDTH, Tile, TileKind};
use custodia_merkle::root;

/// Rows 1 and up, built from full rows of leaf hashes.
pub(super) struct Rows {
    /// The hashes of each row's newest tile, from row 1 on.
    open: Vec<(u64, Vec<Hash>)>,
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self { open: Vec::new() }
    }

    /// Takes the leaf hashes of one bundle; gives the tiles above that are full now. A bundle that was left out leaves
    /// the tiles over it out too.
    pub(super) fn push_row(&mut self, index: u64, leaves: Vec<Hash>) -> Vec<(Tile, Vec<u8>)> {
        let mut filled = Vec::new();
        let (mut index, mut row, mut above) = (index, leaves, 0);
        while row.len() == TILE_WIDTH as usize {
            let (place, hash) = (index, root(&row));
            if self.open.len() <= above {
                self.open.push((0, Vec::new()));
            }
            let Some((tile, open)) = self.open.get_mut(above) else { break };
            if *tile != place / TILE_WIDTH {
                (*tile, *open) = (place / TILE_WIDTH, Vec::new());
            }
            open.push(hash);
            if open.len() < TILE_WIDTH as usize {
                break;
            }
            index = *tile;
            row = std::mem::take(open);
            *tile += 1;
            above += 1;
            filled.push((tile_of(above, index, row.len()), bytes_of(&row)));
        }
        filled
    }

    /// The partial tiles above the leaves of a ledger of this size, those that could be built.
    pub(super) fn rest(&self, size: u64) -> Vec<(Tile, Vec<u8>)> {
        let rows = self.open.iter().zip(1..).map(|((index, row), level)| (tile_of(level, *index, row.len()), row));
        let whole = rows.filter(|(tile, _)| {
            let count = tile.kind.count(size);
            tile.width > 0 && tile.index * TILE_WIDTH + u64::from(tile.width) == count
        });
        whole.map(|(tile, row)| (tile, bytes_of(row))).collect()
    }
}

fn tile_of(level: usize, index: u64, width: usize) -> Tile {
    Tile { kind: TileKind::Hashes(level as u8), index, width: width as u16 }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}
