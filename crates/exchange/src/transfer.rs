//! What travels on the data streams, in words that both ends and their hosts share.

use custodia_format::Hash;
pub use custodia_format::midstate::CHUNK_BYTES;
use custodia_format::midstate::{chunk_bytes, midstate_count};

use crate::codes::Refused;

/// A file of a package that is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Document {
    /// The package's proof file so far, without disclosure: its statements, cards and proofs.
    History,
    /// The manifest file.
    Manifest,
}

/// Chunks of one item that are not yet proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Record number of the item in the manifest.
    pub record: u64,
    /// Bytes of the item, above 0.
    pub size: u64,
    /// First chunk, in MiB.
    pub first_chunk: u64,
    /// How many, at least 1. The last chunk of an item may be short.
    pub count: u64,
    /// Whether the item's midstates must come before its first chunk.
    pub midstates: Midstates,
}

impl Wanted {
    /// Bytes of content in these chunks: whole MiB, but for the item's last chunk.
    pub fn bytes(&self) -> u64 {
        let at = |chunk: u64| chunk.saturating_mul(CHUNK_BYTES).min(self.size);
        at(self.first_chunk.saturating_add(self.count)) - at(self.first_chunk)
    }

    /// Bytes of midstates that come before them: 32 for each whole MiB of the item.
    pub fn midstates_bytes(&self) -> u64 {
        match self.midstates {
            Midstates::Held => 0,
            Midstates::Wanted => midstate_count(self.size) * 32,
        }
    }

    /// Bytes of one chunk of the item; 0 beyond its end.
    pub fn chunk_bytes(&self, chunk: u64) -> u64 {
        chunk_bytes(self.size, chunk)
    }
}

/// Whether an item's midstates are here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Midstates {
    /// They are here, or the item is shorter than one MiB and has none.
    Held,
    /// They must travel first.
    Wanted,
}

/// A place in the order of (record, chunk).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// The first record that may be listed.
    pub record: u64,
    /// The first chunk of it that may be listed.
    pub chunk: u64,
}

/// What an observer of a session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer's hello was read: connected.
    Connected,
    /// The peer cosigned our checkpoint of this size.
    WeAreCosigned {
        /// Tree size.
        size: u64,
    },
    /// The peer would not cosign our checkpoint.
    NotCosigned {
        /// Status by C2SP tlog-witness.
        status: u16,
    },
    /// The peer keeps this statement of ours.
    Settled {
        /// Digest of the statement.
        digest: Hash,
    },
    /// The peer does not take this statement of ours.
    NotTaken {
        /// Digest of the statement.
        digest: Hash,
        /// What it says.
        refused: Refused,
    },
    /// A package of ours moves.
    Sending {
        /// Digest of the release.
        release: Hash,
        /// How far it is.
        phase: Phase,
    },
    /// A package moves to us.
    Receiving {
        /// Digest of the release.
        release: Hash,
        /// How far it is.
        phase: Phase,
    },
}

/// How far a transfer is. Bytes are counted since the session began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The release is on its way or being judged.
    Announced,
    /// The consignment is kept: existence is fixed in both ledgers.
    Consigned,
    /// A document is on its way.
    Document(Document),
    /// Content moves.
    Content {
        /// Bytes of content handed to the link, or read from it and proven.
        bytes: u64,
        /// Bytes that travelled for nothing: they did not prove.
        wasted: u64,
        /// Bytes of the content that are proven at its reader, from all sessions, as it says; none before it has.
        proven: Option<u64>,
    },
    /// All content is proven; the receipt is being made or verified.
    Proven,
    /// The receipt is kept by both: delivered.
    Receipted {
        /// Digest of the receipt.
        receipt: Hash,
    },
    /// The peer answered with a signed refusal.
    Declined {
        /// Digest of the refusal.
        refusal: Hash,
    },
    /// The transfer ended without a receipt.
    Failed(Refused),
}
