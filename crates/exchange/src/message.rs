//! What the frames say (docs/spec/wire.md §4). Nothing here is ever hashed, compared or kept by its frame bytes.

use bincode::{Decode, Encode};
use custodia_format::text::{decimal, from_b64, to_b64};
use custodia_format::{Hash, Malformed, limits};

use crate::codes::{Code, Refused};
use crate::frame::FRAME_BYTES;
use crate::question::Signed;
use crate::transfer::Document;

/// Ranges of one want frame: a small file a range, at most a dozen bytes each.
pub const WANT_RANGES: usize = 4096;

/// Envelopes of one cards frame, so that their lengths are known to fit before they are split.
pub const CARDS_PER_FRAME: usize = FRAME_BYTES / limits::ENVELOPE_BYTES;

/// Bytes of a document that is given back: an envelope with its proof.
pub const DOCUMENT_BYTES: usize = limits::ENVELOPE_BYTES + 1 + limits::NOTE_BYTES + 8 * 1024;

/// Documents of one frame that gives back. Few enough that the next page is soon asked for, and a slow reader slows the giver.
pub const DOCUMENTS_PER_FRAME: usize = 64;

/// Notes that one side passes on in a session: some for each of a few dozen ledgers, and bounded work for the reader.
pub const NOTES: usize = 64;

/// One frame's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// 1.
    Hello(Hello),
    /// 2.
    Cards(Cards),
    /// 3.
    AddCheckpoint(AddCheckpoint),
    /// 4.
    Cosigned(Cosigned),
    /// 5.
    Statement(Signed),
    /// 6.
    Want(Want),
    /// 7.
    Error(ErrorBody),
    /// 8.
    Follows(Follows),
    /// 9.
    Kept(Hash),
    /// 10. Notes of ledgers, raw, at most [`NOTES`].
    Notes(Vec<Vec<u8>>),
    /// 11. From which document on, beginning with 0.
    AskBack(u64),
    /// 12.
    GivenBack(GivenBack),
    /// 13.
    Proven(Proven),
}

/// How much of a package is proven at its reader, as it says: for people who wait, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// Digest of the release.
    pub release: Hash,
    /// Bytes of its items, from all sessions and other packages.
    pub bytes: u64,
}

/// Documents that a node gives back to one that has lost them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// Each an envelope, LF and its tlog-proof, or a checkpoint note; raw, at most [`DOCUMENTS_PER_FRAME`].
    pub documents: Vec<Vec<u8>>,
    /// Whether there are more, from the next number on.
    pub more: More,
}

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
    /// does not close, or another root at one size · 500 a fault of the witness's own.
    Refused {
        /// The status number.
        status: u16,
    },
}

/// Envelopes of the sender's root: cards, delegations, revocations, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cards {
    /// Raw envelopes.
    pub envelopes: Vec<Vec<u8>>,
    /// Whether more frames of them follow.
    pub more: More,
}

/// Whether a list goes on in the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// This was the last.
    No,
    /// It goes on.
    Yes,
}

/// What the receiver of a release still lacks. One data stream answers one want frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Digest of the release.
    pub release: Hash,
    /// What of it.
    pub what: Wish,
}

/// The two things that can be wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A document, from its first byte.
    Document(Document),
    /// Chunks, in the order in which they are to come on the stream; at most [`WANT_RANGES`].
    Ranges(Vec<WantRange>),
}

/// Chunks of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WantRange {
    /// Record number in the manifest.
    pub record: u64,
    /// First chunk, in MiB.
    pub first_chunk: u64,
    /// How many chunks.
    pub count: u32,
    /// Whether the item's midstates come before them.
    pub midstates: bool,
}

/// Ends a transfer, or answers a question with no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The number, which may be newer than this program.
    pub number: u16,
    /// Seconds after which it is worth asking again; 0: not by waiting.
    pub retry_after_seconds: u32,
    /// The statement that it is about.
    pub about: Option<Hash>,
}

/// Announces a document on a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// Digest of the release.
    pub release: Hash,
    /// Which document.
    pub document: Document,
    /// Its length.
    pub bytes: u64,
}

impl ErrorBody {
    /// The body that says a refusal about a statement.
    pub fn new(refused: Refused, about: Option<Hash>) -> Self {
        Self { number: refused.code.number(), retry_after_seconds: refused.retry_after_seconds, about }
    }

    /// The refusal that it says; a number from a newer version counts as a fault at the other end.
    pub fn refused(&self) -> Refused {
        let code = Code::from_number(self.number).unwrap_or(Code::Internal);
        Refused { code, retry_after_seconds: self.retry_after_seconds }
    }
}

impl AddCheckpoint {
    /// The body: `old <size>`, the proof's hashes in base64, an empty line, the note.
    ///
    /// # Standard
    /// C2SP tlog-witness 1.0.0, `add-checkpoint`.
    pub fn print(&self) -> Vec<u8> {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            body.push_str(&to_b64(hash.as_bytes()));
            body.push('\n');
        }
        body.push('\n');
        let mut body = body.into_bytes();
        body.extend_from_slice(&self.checkpoint);
        body
    }

    /// Reads the body. The note itself is not looked into: that is the witness's.
    ///
    /// # Errors
    /// [`Malformed`] by line.
    ///
    /// # Standard
    /// C2SP tlog-witness 1.0.0, `add-checkpoint`.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut rest = body;
        let first = line(&mut rest, 1)?;
        let old = first
            .strip_prefix("old ")
            .and_then(decimal)
            .ok_or_else(|| Malformed::new(ADD_CHECKPOINT, "line 1", "old, a space and a decimal", first))?;
        let mut proof = Vec::new();
        loop {
            let number = proof.len() + 2;
            let text = line(&mut rest, number)?;
            if text.is_empty() {
                break;
            }
            // "up to 63 lines": a tree has fewer than 2^63 leaves.
            if proof.len() == limits::PROOF_HASHES {
                return Err(Malformed::new(ADD_CHECKPOINT, format!("line {number}"), "an empty line", text));
            }
            let hash: Option<[u8; 32]> = from_b64(text).and_then(|bytes| bytes.try_into().ok());
            let hash = hash.ok_or_else(|| {
                Malformed::new(ADD_CHECKPOINT, format!("line {number}"), "a hash in base64, or an empty line", text)
            })?;
            proof.push(Hash::new(hash));
        }
        if rest.is_empty() || rest.len() > limits::NOTE_BYTES {
            let found = format!("{} bytes", rest.len());
            return Err(Malformed::new(ADD_CHECKPOINT, "checkpoint", "a note of at most 256 KiB", found));
        }
        Ok(Self { old, proof, checkpoint: rest.to_vec() })
    }
}

const ADD_CHECKPOINT: &str = "add-checkpoint";

/// A base64 hash takes 44 characters, `old` with the largest decimal 23: nothing longer is looked at.
const LINE_BYTES: usize = 64;

/// Takes one line off, without its LF.
fn line<'a>(rest: &mut &'a [u8], number: usize) -> Result<&'a str, Malformed> {
    let refused = || Malformed::new(ADD_CHECKPOINT, format!("line {number}"), "a short line of ASCII, ended by LF", "");
    let end = rest.iter().take(LINE_BYTES).position(|byte| *byte == b'\n').ok_or_else(refused)?;
    let (text, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    std::str::from_utf8(text).map_err(|_| refused())
}
