//! The append-only ledger of a node: the sequencer, its tiles, the signing of checkpoints, recovery, `fsck`, and the
//! memory of what this node has witnessed of others.
//!
//! Documents are opaque bytes here: this crate refuses to know what an entry means, and it reads no clock and no
//! randomness. It signs nothing but checkpoints that it made itself. Storage stands behind [`Storage`]; [`Folder`] is
//! the one of a machine with a disk.
//!
//! Invariants:
//! - What was answered is durable; what is published is durable, and nothing is published that was not answered.
//! - The commit point is the sync of a record in `state/journal`. The happy path and recovery write commits out by the same
//!   functions.
//! - After an error that leaves doubt nothing is signed until the ledger has been opened again.
//!
//! # Standard
//! C2SP tlog-tiles and tlog-checkpoint; docs/spec/commit.md by its numbers, docs/spec/home.md for the files.

mod commit;
mod folder;
mod fsck;
mod health;
mod home;
mod journal;
mod ledger;
mod places;
mod sequencer;
mod stage;
mod start;
mod storage;
mod succession;
mod tail;
mod tiles;
mod unwritten;
mod witness;

pub use commit::Pace;
pub use folder::Folder;
pub use fsck::{Depth, FsckFinding, FsckProgress, FsckReport, Severity, run as fsck};
pub use health::Health;
pub use home::Shelf;
pub use ledger::{AppendError, Appended, Document, Ledger};
pub use start::OpenError;
pub use storage::{Listed, NewFile, Parts, Storage, StorageError};
pub use succession::{found_next, salvage};
pub use tiles::{ReadError, cut};
pub use witness::{Relearned, WitnessError, WitnessMemory, continues};

/// Documents of one append: a commit of so many stays below its limit of 64 MiB.
pub const APPEND_DOCUMENTS: usize = 65_536;
/// Bytes of the documents of one append, which are all in memory at once.
pub const APPEND_BYTES: usize = 64 << 20;
