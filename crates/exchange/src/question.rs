//! What a session asks of its host, and what it hands over: plain values, so that the session itself needs no disk, no
//! ledger, no clock and no keys.
//!
//! Every question has one answer of its own shape ([`Answer`]); a host that cannot or will not answers
//! [`Answer::Refused`]. The host verifies signatures and decides; the session keeps the order and checks that answers
//! belong to what was asked.

use custodia_format::Hash;

use crate::codes::Refused;
use crate::message::{AddCheckpoint, Cosigned, GivenBack, Hello};

/// A statement as it travels: the envelope's exact bytes and the proof that its issuer's ledger holds it.
///
/// # Standard
/// docs/spec/statement.md and docs/spec/wire.md §4.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The DSSE envelope, at most `ENVELOPE_BYTES`. Raw, as signed and stored.
    pub envelope: Vec<u8>,
    /// The C2SP tlog-proof of its entry in its issuer's ledger. Raw.
    pub tlog_proof: Vec<u8>,
}

impl Signed {
    /// The statement's digest: SHA-256 of the envelope's bytes.
    pub fn digest(&self) -> Hash {
        Hash::of(&self.envelope)
    }
}

/// What the receiver of a release answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consigned {
    /// The conditions are accepted, and the consignment is in our ledger.
    Accepted {
        /// The consignment: the same bytes whenever the same release is asked about.
        consignment: Signed,
        /// Whether the package's history (its proof file without content) is still to come.
        history: NeedsIt,
        /// Whether the manifest is still to come.
        manifest: NeedsIt,
    },
    /// A refusal, signed and in our ledger: nothing is rejected in silence.
    Declined {
        /// The refusal: the same bytes whenever the same release is asked about.
        refusal: Signed,
    },
}

/// Whether a document of the package must still travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedsIt {
    /// It is not here, or not wholly.
    Yes,
    /// It is here, verified and durable.
    No,
}

/// A thing that only the host can know or do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// Our own hello to this peer. Answer: [`Answer::Hello`].
    Hello,
    /// The peer's hello. The host checks the checkpoint of *our* ledger that it holds: signed by us and ahead of ours
    /// means that we are rolled back. Answer: [`Answer::Done`]; after a refusal with `Code::RolledBack` the peer is asked
    /// back what is ours, and the session ends with that code.
    Meet(Hello),
    /// Our cards, delegations and revocations that the peer lacks, given the newest card that it says it holds. In the
    /// order in which they are to be read. Answer: [`Answer::Cards`].
    Cards {
        /// The newest card of ours that the peer holds.
        held: Option<Hash>,
    },
    /// The peer's cards, delegations and revocations. Afterwards its newest card must be known and verified. Answer:
    /// [`Answer::Done`].
    LearnCards {
        /// Digest of the newest card, from the peer's hello.
        newest: Hash,
        /// Envelopes, raw, in reading order; empty when nothing is new.
        envelopes: Vec<Vec<u8>>,
    },
    /// What we know of ledgers and this peer may need: notes of its own ledger, of ours, of others', each with all lines
    /// known for its text; the most useful first, for no more than [`crate::message::NOTES`] travel. Answer:
    /// [`Answer::Notes`].
    Notes,
    /// What the peer knows of ledgers: our own, its own, others'. The host believes nothing that the ledger's key did not
    /// sign, and keeps what counts: durable before the answer, and before anything is cosigned. Answer: [`Answer::Done`].
    Hear(Vec<Vec<u8>>),
    /// The peer has lost a part of its history and asks back what is its own or was said to it, from this document on: its
    /// statements and those of ours to it, each with its proof, and the notes that these name. Answer:
    /// [`Answer::GivenBack`], for as long as there is more.
    GiveBack {
        /// The number of the first document, 0 at the beginning.
        from: u64,
    },
    /// Documents that the peer gives back to us. What verifies is kept, durable before the answer; what does not is dropped.
    /// Answer: [`Answer::Done`].
    TakeBack(GivenBack),
    /// Our newest durable checkpoint, as a note with all cosignatures we hold. Answer: [`Answer::Checkpoint`].
    Checkpoint,
    /// A consistency proof of our own ledger. Never asked with `old` 0. Answer: [`Answer::Consistency`].
    Consistency {
        /// The smaller size, above 0.
        old: u64,
        /// The larger size.
        new: u64,
    },
    /// Judge and cosign the peer's checkpoint: C2SP tlog-witness, check and store as one step, durable before the
    /// answer. Answer: [`Answer::Witnessed`].
    Witness(AddCheckpoint),
    /// Keep the cosignatures that the peer gave to our checkpoint. Answer: [`Answer::Done`].
    KeepCosignatures {
        /// Our checkpoint, the note as sent.
        checkpoint: Vec<u8>,
        /// Signature lines, one or more, each ending in LF; not yet verified.
        lines: Vec<u8>,
    },
    /// Statements that this peer is owed: acceptances, refusals, receipts that it has not confirmed. Oldest first.
    /// Answer: [`Answer::Digests`].
    Owed,
    /// A statement of ours by its digest, from the store. Answer: [`Answer::Statement`].
    Statement {
        /// Digest of the envelope.
        digest: Hash,
    },
    /// Statements of the peer, at most [`AT_ONCE`] and in the order in which they came: those that came while another question
    /// was open come together. Each is durable before the answer. Answer: [`Answer::Taken`].
    Take(Vec<Received>),
    /// All content of these releases is proven, at most [`AT_ONCE`] of them. Make it durable, log the receipts; for each
    /// release the same bytes for ever. Answer: [`Answer::Receipts`].
    Receipts {
        /// Digests of the releases, each of another package.
        releases: Vec<Hash>,
    },
    /// The peer confirms that it keeps statements of ours: they are no longer owed. Answer: [`Answer::Done`].
    Settled {
        /// Digests of our statements.
        digests: Vec<Hash>,
    },
}

/// Statements or releases of one question at the most: what is written for them is made durable together.
pub const AT_ONCE: usize = 16;

/// A statement of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A release to us. Verify it, log it, log the consignment (or a refusal): the same bytes for the same release for ever.
    Release(Signed),
    /// One that answers one of ours or is addressed to us (consignment, receipt, refusal, acceptance, …): verify signatures
    /// and inclusion proof, log it. Taking one twice is no error.
    Answer {
        /// The statement.
        signed: Signed,
        /// The release of this session that it answers, if it answers one that is under way.
        release: Option<Hash>,
    },
}

/// What became of a statement of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A release is answered.
    Consigned(Consigned),
    /// Any other is kept.
    Kept,
}

/// What the host says to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is done, and durable where that was asked.
    Done,
    /// Our hello.
    Hello(Hello),
    /// Envelopes, raw.
    Cards(Vec<Vec<u8>>),
    /// Notes, raw.
    Notes(Vec<Vec<u8>>),
    /// Documents for a peer that has lost them.
    GivenBack(GivenBack),
    /// A checkpoint note, raw.
    Checkpoint(Vec<u8>),
    /// Hashes of a consistency proof.
    Consistency(Vec<Hash>),
    /// The witness's reply.
    Witnessed(Cosigned),
    /// Digests of statements.
    Digests(Vec<Hash>),
    /// A statement.
    Statement(Signed),
    /// What became of each statement, in the order of the question. One that is not taken has no effect on the others.
    Taken(Vec<Result<Taken, Refused>>),
    /// The receipt for each release, in the order of the question; `Err` ends that transfer and no other.
    Receipts(Vec<Result<Signed, Refused>>),
    /// No: the code goes to the peer, the detail stays in our trace.
    Refused(Refused),
}
