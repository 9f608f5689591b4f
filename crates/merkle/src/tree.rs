//! Trees as they grow: complete subtrees, and the frontier that is left when a tree is cut into them.

use crate::{Hash, empty_root, node_hash};

/// A complete subtree: 2^level leaves, the `index`-th of its level from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Height above the leaves, below 64.
    pub level: u8,
    /// Place in its level, from 0.
    pub index: u64,
}

/// Where a prover finds the hashes of complete subtrees.
///
/// Asked only for subtrees that lie wholly inside the tree in question; may be asked for one twice.
pub trait Nodes {
    /// Why a hash could not be had.
    type Error;

    /// The hash of a complete subtree.
    ///
    /// # Errors
    /// Whatever the store says.
    fn node(&self, at: Position) -> Result<Hash, Self::Error>;
}

/// Leaf hashes in memory, as a store of nodes. For tests and small trees: each node is computed from its leaves.
#[derive(Debug, Clone, Copy)]
pub struct Leaves<'a>(pub &'a [Hash]);

/// A subtree lies outside the leaves that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl Nodes for Leaves<'_> {
    type Error = OutOfRange;

    fn node(&self, at: Position) -> Result<Hash, OutOfRange> {
        let width = 1_u64.checked_shl(at.level.into()).ok_or(OutOfRange)?;
        let first = at.index.checked_mul(width).ok_or(OutOfRange)?;
        let range = usize::try_from(first).ok().zip(usize::try_from(first.checked_add(width).ok_or(OutOfRange)?).ok());
        let (first, end) = range.ok_or(OutOfRange)?;
        self.0.get(first..end).map(root).ok_or(OutOfRange)
    }
}

/// The root over leaf hashes: RFC 6962's MTH.
pub fn root(leaf_hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    leaf_hashes.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The right edge of a growing tree: one complete subtree for each bit of its size.
///
/// Takes a leaf at a time, holds at most 63 hashes, and gives the root of what it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The hashes of the complete subtrees, from the largest at the left.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// An empty tree's.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a tree of this size, from the hashes of its complete subtrees, largest first; none when their
    /// number is not that of the bits in the size.
    pub fn of(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (size.count_ones() as usize == subtrees.len()).then_some(Self { size, subtrees })
    }

    /// Where the complete subtrees of a tree of this size stand, largest first.
    pub fn positions(size: u64) -> impl Iterator<Item = Position> {
        (0..64_u8)
            .rev()
            .filter(move |level| size >> level & 1 == 1)
            .map(move |level| Position { level, index: (size >> level) - 1 })
    }

    /// Adds a leaf at the right.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut merged = self.size;
        while merged & 1 == 1 {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
            merged >>= 1;
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// How many leaves it has seen.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.subtrees.iter().rev();
        let Some(last) = smallest_first.next() else { return empty_root() };
        smallest_first.fold(*last, |right, left| node_hash(left, &right))
    }
}
