//! The bodies of the frames (docs/spec/wire.md §4), each with its one codec.
//!
//! What is signed travels raw: envelopes, proofs, notes, signature lines. The rest is bincode `standard()` under the
//! frame's limit, and must use up the whole body: bincode itself ignores what follows. Nothing here is ever hashed,
//! compared or kept. bincode is named in this file and nowhere else in the crate.

use custodia_format::Hash;

/// The first frame of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Digest of the sender's newest card.
    pub card: Hash,
    /// The sender's ledger.
    pub origin: String,
    /// Size of the newest checkpoint of it.
    pub size: u64,
    /// The newest card of the *reader* that the sender holds.
    pub held_card: Option<Hash>,
    /// The newest checkpoint of the reader's ledger that the sender has cosigned: a whole note, raw, signed by the
    /// reader; empty when there is none. Only its signature gives it weight.
    pub held_checkpoint: Vec<u8>,
}

/// A checkpoint to be cosigned: the body of C2SP tlog-witness's `add-checkpoint`, unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is believed to hold; 0: nothing.
    pub old: u64,
    /// Consistency proof from `old` to the checkpoint; empty when `old` is 0 or equal to the size.
    pub proof: Vec<Hash>,
    /// The checkpoint note, raw.
    pub checkpoint: Vec<u8>,
}

/// The witness's reply, with the status numbers of C2SP tlog-witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cosigned {
    /// 200: one or more signature lines, raw, each ending in LF.
    Lines(Vec<u8>),
    /// 409: `old` is not what the witness holds, which is this.
    Conflict {
        /// The size that the witness holds.
        size: u64,
    },
    /// 400 `old` above the size · 403 no signature of the ledger's key, or a bad one · 404 unknown ledger · 422 the proof
    /// does not close, or another root at one size.
    Refused {
        /// The status number.
        status: u16,
    },
}
