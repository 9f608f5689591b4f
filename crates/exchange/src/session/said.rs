//! What the session must know of a statement to keep the order: its kind, what it answers, which package, and the
//! checkpoint that it is proven under. Signatures are the host's.

use custodia_format::body::Body;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::envelope::Envelope;
use custodia_format::note::Note;
use custodia_format::statement::{Statement, StatementError};
use custodia_format::tlog_proof::TlogProof;
use custodia_format::{Hash, Malformed};

use super::Signed;

/// A statement's place in a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) digest: Hash,
    pub(super) kind: SaidKind,
    pub(super) in_reply_to: Option<Hash>,
    pub(super) root: Option<Hash>,
    /// The checkpoint of its tlog-proof: the note, raw, its ledger and its size.
    pub(super) checkpoint: Vec<u8>,
    pub(super) origin: String,
    pub(super) size: u64,
}

/// The kinds that the session treats each in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaidKind {
    Release,
    Consignment,
    Receipt,
    Refusal,
    Other,
}

impl SaidKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            SaidKind::Release => "a release",
            SaidKind::Consignment => "a consignment",
            SaidKind::Receipt => "a receipt",
            SaidKind::Refusal => "a refusal",
            SaidKind::Other => "a statement",
        }
    }
}

impl Said {
    /// Reads a statement as it travels.
    pub(super) fn read(signed: &Signed) -> Result<Self, Malformed> {
        let envelope = Envelope::parse(&signed.envelope)?;
        let statement = Statement::parse(&envelope).map_err(malformed)?;
        let proof = TlogProof::parse(&signed.tlog_proof)?;
        let Checkpoint { origin, size, .. } = Checkpoint::parse_text(&proof.checkpoint.text)?;
        let kind = match &statement.body {
            Body::Release(_) => SaidKind::Release,
            Body::Consignment(_) => SaidKind::Consignment,
            Body::Receipt(_) => SaidKind::Receipt,
            Body::Refusal(_) => SaidKind::Refusal,
            _ => SaidKind::Other,
        };
        Ok(Self {
            digest: signed.digest(),
            kind,
            in_reply_to: statement.head.in_reply_to,
            root: statement.head.package.as_ref().map(|package| package.root),
            checkpoint: proof.checkpoint.print().into_bytes(),
            origin,
            size,
        })
    }
}

fn malformed(error: StatementError) -> Malformed {
    match error {
        StatementError::Malformed(malformed) => malformed,
        StatementError::RefusedKey { place, fault } => {
            Malformed::new("statement", place, "a public key that counts", fault.to_string())
        }
    }
}

/// What a checkpoint note states, if it is one.
pub(super) fn read_checkpoint(note: &[u8]) -> Option<Checkpoint> {
    Checkpoint::parse_text(&Note::parse(note).ok()?.text).ok()
}
