//! Making proofs from the hashes of complete subtrees: O(log n) of them, wherever they are kept.

use crate::tree::Frontier;
use crate::{Hash, Nodes, Position, empty_root, node_hash};

/// Why no proof could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProveError<E> {
    /// The index or the old size lies outside the tree, or the old size is 0. The caller's fault.
    OutOfRange {
        /// The index or old size that was asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The store could not give a hash.
    Store(E),
}

impl<E> From<E> for ProveError<E> {
    fn from(error: E) -> Self {
        Self::Store(error)
    }
}

impl<E: std::fmt::Display> std::fmt::Display for ProveError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfRange { asked, size } => write!(f, "there is no proof of {asked} in a tree of size {size}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for ProveError<E> {}

/// The root of the tree with the first `size` leaves.
///
/// # Errors
/// What the store says.
pub fn tree_root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(empty_root()) } else { range_hash(nodes, 0, size) }
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves, from the leaf's sibling up (RFC 6962 §2.1.1).
///
/// # Errors
/// [`ProveError::OutOfRange`] when there is no such leaf, else what the store says.
pub fn prove_inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if index >= size {
        return Err(ProveError::OutOfRange { asked: index, size });
    }
    let mut proof = Vec::new();
    let (mut first, mut end) = (0, size);
    while end - first > 1 {
        let split = first + left_width(end - first);
        if index < split {
            proof.push(range_hash(nodes, split, end)?);
            end = split;
        } else {
            proof.push(range_hash(nodes, first, split)?);
            first = split;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` leaves continues that of `old` (RFC 6962 §2.1.2). Empty when they are equal.
///
/// # Errors
/// [`ProveError::OutOfRange`] when `old` is 0 or above `new`, else what the store says.
pub fn prove_consistency<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if old == 0 || old > new {
        return Err(ProveError::OutOfRange { asked: old, size: new });
    }
    let mut proof = Vec::new();
    let (mut first, mut end) = (0, new);
    while end != old {
        let split = first + left_width(end - first);
        if old <= split {
            proof.push(range_hash(nodes, split, end)?);
            end = split;
        } else {
            proof.push(range_hash(nodes, first, split)?);
            first = split;
        }
    }
    // The verifier knows the old root; it needs the hash of what is left only when that is not the whole old tree.
    if first != 0 {
        proof.push(range_hash(nodes, first, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below a width of two or more.
const fn left_width(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

/// MTH of the leaves from `first` up to `end`, where `first` is a multiple of a power of two not below their number.
fn range_hash<N: Nodes>(nodes: &N, first: u64, end: u64) -> Result<Hash, N::Error> {
    let subtrees: Vec<Position> = Frontier::positions(end - first)
        .map(|inside| Position { level: inside.level, index: inside.index + (first >> inside.level) })
        .collect();
    let mut smallest_first = subtrees.into_iter().rev();
    let Some(last) = smallest_first.next() else { return Ok(empty_root()) };
    smallest_first.try_fold(nodes.node(last)?, |right, at| Ok(node_hash(&nodes.node(at)?, &right)))
}
