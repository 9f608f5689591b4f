//! Verifying proofs: total functions over hostile numbers and hashes (docs/spec/tiles.md, "Proofs").

use crate::{Hash, Position, SIZE_MAX, node_hash};

/// Why a proof does not hold. The fault is the prover's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf index is not below the tree size, or a size is above [`SIZE_MAX`], or an old size is 0 or above the new.
    Range {
        /// The index, or the old size.
        asked: u64,
        /// The size, or the new size.
        size: u64,
    },
    /// A proof of another length: sizes and index alone say how many hashes it has.
    Length {
        /// How many hashes it must have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// The hashes lead to another root.
    Root {
        /// The root that was to be proven.
        expected: Hash,
        /// The root that the hashes lead to.
        got: Hash,
    },
}

impl std::fmt::Display for ProofError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range { asked, size } => write!(f, "{asked} does not lie in a tree of size {size}"),
            Self::Length { expected, got } => write!(f, "the proof has {got} hashes where {expected} belong"),
            Self::Root { expected, got } => write!(f, "the proof leads to the root {got}, not to {expected}"),
        }
    }
}

impl std::error::Error for ProofError {}

/// Verifies that the leaf stands at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`], by what is wrong.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    let path = Path::of(index, size).ok_or(ProofError::Range { asked: index, size })?;
    length(path.inner + path.border, proof.len())?;
    let hash = proof.iter().enumerate().fold(*leaf, |hash, (height, sibling)| {
        if path.goes_right(height) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
    });
    closes(root, hash)
}

/// Verifies that the tree of `new` leaves continues the tree of `old` leaves. An empty earlier tree proves nothing, so
/// `old` 0 is refused: that there was no earlier view is for the caller to say.
///
/// # Errors
/// [`ProofError`], by what is wrong.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old == 0 || old > new || new > SIZE_MAX {
        return Err(ProofError::Range { asked: old, size: new });
    }
    if old == new {
        length(0, proof.len())?;
        return closes(new_root, *old_root);
    }
    let shared = old.trailing_zeros() as usize;
    let mut path = Path::of(old - 1, new).ok_or(ProofError::Range { asked: old, size: new })?;
    path.inner -= shared;
    path.index >>= shared;
    // The walk starts at the largest complete subtree at the old tree's right edge; where that is the whole old tree,
    // its hash is the old root and is not sent.
    let whole = old.is_power_of_two();
    length(path.inner + path.border + usize::from(!whole), proof.len())?;
    let (seed, rest) = match proof.split_first() {
        Some((seed, rest)) if !whole => (*seed, rest),
        _ => (*old_root, proof),
    };
    let (mut old_hash, mut new_hash) = (seed, seed);
    for (height, sibling) in rest.iter().enumerate() {
        if path.goes_right(height) {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
    }
    closes(old_root, old_hash)?;
    closes(new_root, new_hash)
}

/// Every complete subtree whose hash an inclusion proof states or implies.
///
/// A complete subtree of a ledger never changes, so two proofs that show different hashes at one position contradict
/// each other whatever their sizes. A proof of another length than its numbers ask for shows nothing.
pub fn proven_subtrees(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Vec<(Position, Hash)> {
    let Some(path) = Path::of(index, size) else { return Vec::new() };
    if proof.len() != path.inner + path.border {
        return Vec::new();
    }
    let mut shown = Vec::new();
    // The node under way covers the leaves from `first` on; it is complete as long as they all lie in the tree.
    let (mut hash, mut level, mut at) = (*leaf, 0_u8, index);
    let mut complete = true;
    shown.push((Position { level, index: at }, hash));
    for (height, sibling) in proof.iter().enumerate() {
        let right = path.goes_right(height);
        if height >= path.inner {
            // Above the inner part every step goes over a complete left sibling: climb to where it stands.
            while at & 1 == 0 {
                at >>= 1;
                level += 1;
            }
            complete = false;
            shown.push((Position { level, index: at - 1 }, *sibling));
        } else if right {
            shown.push((Position { level, index: at - 1 }, *sibling));
        } else {
            let sibling_end = (at + 2) << level;
            if sibling_end <= size {
                shown.push((Position { level, index: at + 1 }, *sibling));
            } else {
                complete = false;
            }
        }
        hash = if right { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        at >>= 1;
        level += 1;
        if complete && (at + 1) << level <= size {
            shown.push((Position { level, index: at }, hash));
        }
    }
    shown
}

/// The way from a leaf to the root.
struct Path {
    index: u64,
    /// Steps on which the sibling's side follows the index's bits.
    inner: usize,
    /// Steps after them, along the tree's right edge: the sibling is always at the left.
    border: usize,
}

impl Path {
    fn of(index: u64, size: u64) -> Option<Self> {
        if index >= size || size > SIZE_MAX {
            return None;
        }
        let inner = (64 - (index ^ (size - 1)).leading_zeros()) as usize;
        let border = index.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize;
        Some(Self { index, inner, border })
    }

    /// Whether the node at this height is a right child.
    const fn goes_right(&self, height: usize) -> bool {
        height >= self.inner || self.index >> height & 1 == 1
    }
}

const fn length(expected: usize, got: usize) -> Result<(), ProofError> {
    if expected == got { Ok(()) } else { Err(ProofError::Length { expected, got }) }
}

fn closes(expected: &Hash, got: Hash) -> Result<(), ProofError> {
    if *expected == got { Ok(()) } else { Err(ProofError::Root { expected: *expected, got }) }
}
