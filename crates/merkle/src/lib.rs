//! RFC 6962 Merkle trees with SHA-256: roots, inclusion and consistency, prove and verify.
//!
//! This crate refuses formats and IO. It knows leaves as hashes, trees as sizes, and proofs as lists of hashes; where a
//! prover's hashes lie is behind [`Nodes`]. Verifiers are total: every precondition is checked inside, sizes up to
//! 2^63 - 1 are taken, and anything else is refused by name.
//!
//! # Standard
//! RFC 6962 §2.1; the algorithms are those of docs/spec/tiles.md, "Proofs".

mod hash;
mod prove;
mod tree;
mod verify;

pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use prove::{ProveError, prove_consistency, prove_inclusion, tree_root};
pub use tree::{Frontier, Leaves, Nodes, Position, root};
pub use verify::{ProofError, proven_subtrees, verify_consistency, verify_inclusion};

/// The largest tree: 2^63 - 1 leaves, so that sizes fit the integers of every language.
pub const SIZE_MAX: u64 = (1 << 63) - 1;
