//! What a transfer answers: what is missing, what became of a chunk, how far it is, and why it refuses.

use super::contents::PlanError;
use crate::storage::StorageError;

/// Chunks of one item that must travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Its record.
    pub record: u64,
    /// Bytes of the item, above 0.
    pub size: u64,
    /// The first chunk, in MiB.
    pub first_chunk: u64,
    /// How many, at least 1.
    pub count: u64,
    /// Whether its midstates are here.
    pub midstates: MidstatesHere,
}

/// Whether the midstates of an item must travel before its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MidstatesHere {
    /// They are here, or the item has none.
    Yes,
    /// They must travel first.
    No,
}

/// What became of a chunk that proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is written.
    New,
    /// It was here already.
    Again,
}

/// How far a transfer is. Bytes of content count once, however many records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Records.
    pub items: u64,
    /// Bytes of all contents.
    pub bytes: u64,
    /// Bytes that are proven: arrived or reused. All of them: the transfer can be finished.
    pub bytes_proven: u64,
    /// Bytes of contents that the vault held already, and that were hashed again.
    pub bytes_reused: u64,
    /// Bytes that arrived and are recorded: they never travel again.
    pub bytes_recorded: u64,
    /// Bytes of chunks that arrived, over all processes that worked on this transfer, proven or not.
    pub bytes_travelled: u64,
    /// Those of them that were recorded when they arrived. Anything but 0 is a defect of the sender or of ours.
    pub bytes_again: u64,
    /// Chunks and midstates that did not prove, over all processes.
    pub failures: u64,
}

/// Why a transfer did not take something, or cannot be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncomingError {
    /// No such record is part of the transfer. The sender's fault.
    #[error("record {record} is not part of this transfer")]
    Unknown {
        /// The record.
        record: u64,
        /// The chunk.
        chunk: u64,
    },
    /// The chunk is none of the item, has another length, or other bytes than those sealed. Nothing was written; ask for
    /// it again. After three failures of one chunk it is time to find out whether the sender or the sealer is at fault.
    #[error("chunk {chunk} of record {record} does not prove ({failures} times now)")]
    NotProven {
        /// The record.
        record: u64,
        /// The chunk.
        chunk: u64,
        /// How often this chunk failed while this process had the transfer open.
        failures: u32,
    },
    /// The midstates do not close to the sealed root. The sender's fault, or the sealer's.
    #[error("the midstates of record {record} do not prove")]
    NotMidstates {
        /// The record.
        record: u64,
    },
    /// A chunk came before the midstates that would prove it. The sender's fault.
    #[error("a chunk of record {record} came before its midstates")]
    MidstatesFirst {
        /// The record.
        record: u64,
    },
    /// Something is still missing: ask for it.
    #[error("{chunks} chunks are missing, {bytes} bytes")]
    Incomplete {
        /// Chunks.
        chunks: u64,
        /// Bytes.
        bytes: u64,
    },
    /// The transfer was dropped meanwhile.
    #[error("the transfer is over")]
    Forgotten,
    /// It cannot begin.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Our own disk is full or failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
