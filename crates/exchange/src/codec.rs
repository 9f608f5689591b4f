//! Messages to frame bodies and back.
//!
//! Signed things travel raw, the rest is bincode `standard()` under the frame's limit. A body must be used up: bincode
//! itself ignores what follows. bincode is named here and, for its derives, in `message.rs`.

use bincode::{Decode, Encode};
use custodia_format::{Hash, Malformed, limits};

use crate::fault::PeerFault;
use crate::frame::{FRAME_BYTES, Frame, FrameType};
use crate::message::{
    AddCheckpoint, CARDS_PER_FRAME, Cards, Cosigned, DOCUMENT_BYTES, DOCUMENTS_PER_FRAME, ErrorBody, Follows,
    GivenBack, Hello, Message, More, NOTES, Proven, WANT_RANGES, Want, WantRange, Wish,
};
use crate::question::Signed;
use crate::transfer::Document;

impl Message {
    /// The frame that carries it.
    pub fn to_frame(&self) -> Frame {
        let (kind, body) = match self {
            Message::Hello(hello) => (FrameType::Hello, print(&HelloWire::from(hello))),
            Message::Cards(cards) => (FrameType::Cards, print_list(cards.more, &cards.envelopes)),
            Message::AddCheckpoint(add) => (FrameType::AddCheckpoint, add.print()),
            Message::Cosigned(cosigned) => (FrameType::Cosigned, print_cosigned(cosigned)),
            Message::Statement(signed) => (FrameType::Statement, print_statement(signed)),
            Message::Want(want) => (FrameType::Want, print(&WantWire::from(want))),
            Message::Error(error) => (FrameType::Error, print(&ErrorWire::from(error))),
            Message::Follows(follows) => (FrameType::Follows, print(&FollowsWire::from(follows))),
            Message::Kept(digest) => (FrameType::Kept, digest.as_bytes().to_vec()),
            Message::Notes(notes) => (FrameType::Notes, print_parts(Vec::new(), notes)),
            Message::AskBack(from) => (FrameType::AskBack, from.to_be_bytes().to_vec()),
            Message::GivenBack(given) => (FrameType::GivenBack, print_list(given.more, &given.documents)),
            Message::Proven(Proven { release, bytes }) => {
                (FrameType::Proven, [release.as_bytes().as_slice(), &bytes.to_be_bytes()].concat())
            }
        };
        Frame { kind, body }
    }

    /// What a frame says.
    ///
    /// # Errors
    /// [`PeerFault::Malformed`] if the body is not exactly one message of the frame's type within its limits.
    pub fn parse(frame: &Frame) -> Result<Self, PeerFault> {
        let body = frame.body.as_slice();
        Ok(match frame.kind {
            FrameType::Hello => Message::Hello(parse::<HelloWire>("hello", body)?.check()?),
            FrameType::Cards => {
                let (more, envelopes) = parse_list("cards", body, CARDS_PER_FRAME, limits::ENVELOPE_BYTES)?;
                Message::Cards(Cards { envelopes, more })
            }
            FrameType::AddCheckpoint => Message::AddCheckpoint(AddCheckpoint::parse(body)?),
            FrameType::Cosigned => Message::Cosigned(parse_cosigned(body)?),
            FrameType::Statement => Message::Statement(parse_statement(body)?),
            FrameType::Want => Message::Want(parse::<WantWire>("want", body)?.check()?),
            FrameType::Error => Message::Error(parse::<ErrorWire>("error", body)?.into()),
            FrameType::Follows => Message::Follows(parse::<FollowsWire>("follows", body)?.check()?),
            FrameType::Kept => {
                let digest: [u8; 32] = body.try_into().map_err(|_| length("kept", "32 bytes", body.len()))?;
                Message::Kept(Hash::new(digest))
            }
            FrameType::Notes => Message::Notes(parse_parts("notes", body, NOTES, limits::NOTE_BYTES)?),
            FrameType::AskBack => {
                let from: [u8; 8] = body.try_into().map_err(|_| length("ask back", "8 bytes", body.len()))?;
                Message::AskBack(u64::from_be_bytes(from))
            }
            FrameType::GivenBack => {
                let (more, documents) = parse_list("given back", body, DOCUMENTS_PER_FRAME, DOCUMENT_BYTES)?;
                Message::GivenBack(GivenBack { documents, more })
            }
            FrameType::Proven => Message::Proven(parse_proven(body)?),
        })
    }
}

/// `release[32] || u64be bytes`.
fn parse_proven(body: &[u8]) -> Result<Proven, Malformed> {
    let refused = || length("proven", "40 bytes", body.len());
    let (release, bytes) = body.split_first_chunk::<32>().ok_or_else(refused)?;
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| refused())?;
    Ok(Proven { release: Hash::new(*release), bytes: u64::from_be_bytes(bytes) })
}

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<FRAME_BYTES>,
> = bincode::config::standard().with_limit::<FRAME_BYTES>();

fn print<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG).expect("a body in memory always encodes")
}

fn parse<T: Decode<()>>(what: &'static str, body: &[u8]) -> Result<T, Malformed> {
    let (value, used) = bincode::decode_from_slice::<T, _>(body, CONFIG)
        .map_err(|error| Malformed::new(what, "body", "bincode of its type", error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(length(what, format!("{used} bytes"), body.len())) }
}

fn length(what: &'static str, expected: impl Into<String>, found: usize) -> Malformed {
    Malformed::new(what, "length", expected, found.to_string())
}

#[derive(Encode, Decode)]
struct HelloWire {
    card: [u8; 32],
    origin: String,
    size: u64,
    held_card: Option<[u8; 32]>,
    held_checkpoint: Vec<u8>,
}

impl From<&Hello> for HelloWire {
    fn from(hello: &Hello) -> Self {
        Self {
            card: *hello.card.as_bytes(),
            origin: hello.origin.clone(),
            size: hello.size,
            held_card: hello.held_card.map(|card| *card.as_bytes()),
            held_checkpoint: hello.held_checkpoint.clone(),
        }
    }
}

impl HelloWire {
    fn check(self) -> Result<Hello, Malformed> {
        if self.origin.is_empty() || self.origin.len() > limits::NAME_BYTES {
            return Err(length("hello", "an origin of 1 to 255 bytes", self.origin.len()));
        }
        if self.size > limits::DECIMAL_MAX {
            return Err(Malformed::new("hello", "size", "at most 2^63 - 1", self.size.to_string()));
        }
        if self.held_checkpoint.len() > limits::NOTE_BYTES {
            return Err(length("hello", "a note of at most 256 KiB", self.held_checkpoint.len()));
        }
        Ok(Hello {
            card: Hash::new(self.card),
            origin: self.origin,
            size: self.size,
            held_card: self.held_card.map(Hash::new),
            held_checkpoint: self.held_checkpoint,
        })
    }
}

/// `u8 more || { u32be length || part }*`.
fn print_list(more: More, parts: &[Vec<u8>]) -> Vec<u8> {
    print_parts(vec![u8::from(more == More::Yes)], parts)
}

fn parse_list(what: &'static str, body: &[u8], most: usize, limit: usize) -> Result<(More, Vec<Vec<u8>>), Malformed> {
    let (more, rest) = match body.split_first() {
        Some((0, rest)) => (More::No, rest),
        Some((1, rest)) => (More::Yes, rest),
        _ => return Err(Malformed::new(what, "byte 0", "0 or 1", format!("{:?}", body.first()))),
    };
    Ok((more, parse_parts(what, rest, most, limit)?))
}

/// `{ u32be length || part }*` after what stands there already.
fn print_parts(mut body: Vec<u8>, parts: &[Vec<u8>]) -> Vec<u8> {
    for part in parts {
        print_part(&mut body, part);
    }
    body
}

fn parse_parts(what: &'static str, mut rest: &[u8], most: usize, limit: usize) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        if parts.len() == most {
            return Err(length(what, format!("at most {most} parts"), parts.len() + 1));
        }
        let (part, after) = split_part(what, rest, limit)?;
        parts.push(part.to_vec());
        rest = after;
    }
    Ok(parts)
}

fn print_part(body: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("a part is shorter than a frame");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(part);
}

fn split_part<'a>(what: &'static str, body: &'a [u8], limit: usize) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let (wire, rest) = body.split_first_chunk::<4>().ok_or_else(|| length(what, "4 bytes of length", body.len()))?;
    let bytes = u32::from_be_bytes(*wire);
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (1..=limit).contains(bytes))
        .and_then(|bytes| rest.split_at_checked(bytes))
        .ok_or_else(|| Malformed::new(what, "part", format!("1 to {limit} bytes, all here"), bytes.to_string()))
}

/// `u16be status || text`: signature lines for 200, a decimal and LF for 409, nothing else.
fn print_cosigned(cosigned: &Cosigned) -> Vec<u8> {
    let (status, text) = match cosigned {
        Cosigned::Lines(lines) => (200_u16, lines.clone()),
        Cosigned::Conflict { size } => (409, format!("{size}\n").into_bytes()),
        Cosigned::Refused { status } => (*status, Vec::new()),
    };
    [&status.to_be_bytes()[..], &text].concat()
}

fn parse_cosigned(body: &[u8]) -> Result<Cosigned, Malformed> {
    let (status, text) = body.split_first_chunk::<2>().ok_or_else(|| length("cosigned", "a status", body.len()))?;
    match u16::from_be_bytes(*status) {
        200 if text.last() == Some(&b'\n') && text.len() <= limits::NOTE_BYTES => Ok(Cosigned::Lines(text.to_vec())),
        409 => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.strip_suffix('\n'))
            .and_then(custodia_format::text::decimal)
            .map(|size| Cosigned::Conflict { size })
            .ok_or_else(|| Malformed::new("cosigned", "size", "a decimal and LF", String::from_utf8_lossy(text))),
        status @ (400 | 403 | 404 | 422 | 500) if text.is_empty() => Ok(Cosigned::Refused { status }),
        status => Err(Malformed::new("cosigned", "status", "200, 400, 403, 404, 409, 422 or 500", status.to_string())),
    }
}

/// `u32be length || envelope || tlog-proof`.
fn print_statement(signed: &Signed) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + signed.envelope.len() + signed.tlog_proof.len());
    print_part(&mut body, &signed.envelope);
    body.extend_from_slice(&signed.tlog_proof);
    body
}

fn parse_statement(body: &[u8]) -> Result<Signed, Malformed> {
    let (envelope, tlog_proof) = split_part("statement", body, limits::ENVELOPE_BYTES)?;
    if tlog_proof.is_empty() {
        return Err(length("statement", "a tlog-proof", 0));
    }
    Ok(Signed { envelope: envelope.to_vec(), tlog_proof: tlog_proof.to_vec() })
}

#[derive(Encode, Decode)]
struct WantWire {
    release: [u8; 32],
    wish: WishWire,
}

/// Grows at its end only.
#[derive(Encode, Decode)]
enum WishWire {
    Manifest,
    Ranges(Vec<WantRange>),
    History,
}

impl From<&Want> for WantWire {
    fn from(want: &Want) -> Self {
        let wish = match &want.what {
            Wish::Document(Document::Manifest) => WishWire::Manifest,
            Wish::Document(Document::History) => WishWire::History,
            Wish::Ranges(ranges) => WishWire::Ranges(ranges.clone()),
        };
        Self { release: *want.release.as_bytes(), wish }
    }
}

impl WantWire {
    fn check(self) -> Result<Want, Malformed> {
        let what = match self.wish {
            WishWire::Manifest => Wish::Document(Document::Manifest),
            WishWire::History => Wish::Document(Document::History),
            WishWire::Ranges(ranges) => Wish::Ranges(check_ranges(ranges)?),
        };
        Ok(Want { release: Hash::new(self.release), what })
    }
}

/// Chunk numbers are checked against the item's size by whoever has the item; here only that they can be chunks at all.
fn check_ranges(ranges: Vec<WantRange>) -> Result<Vec<WantRange>, Malformed> {
    if ranges.is_empty() || ranges.len() > WANT_RANGES {
        return Err(length("want", format!("1 to {WANT_RANGES} ranges"), ranges.len()));
    }
    let most_chunks = limits::ITEM_BYTES >> 20;
    for range in &ranges {
        let end = range.first_chunk.checked_add(u64::from(range.count));
        let possible =
            range.record < limits::RECORDS && range.count > 0 && end.is_some_and(|end| end <= most_chunks + 1);
        if !possible {
            return Err(Malformed::new("want", "range", "a record and chunks that can exist", format!("{range:?}")));
        }
    }
    Ok(ranges)
}

#[derive(Encode, Decode)]
struct ErrorWire {
    number: u16,
    retry_after_seconds: u32,
    about: Option<[u8; 32]>,
}

impl From<&ErrorBody> for ErrorWire {
    fn from(error: &ErrorBody) -> Self {
        Self {
            number: error.number,
            retry_after_seconds: error.retry_after_seconds,
            about: error.about.map(|about| *about.as_bytes()),
        }
    }
}

impl From<ErrorWire> for ErrorBody {
    fn from(wire: ErrorWire) -> Self {
        Self { number: wire.number, retry_after_seconds: wire.retry_after_seconds, about: wire.about.map(Hash::new) }
    }
}

#[derive(Encode, Decode)]
struct FollowsWire {
    release: [u8; 32],
    document: DocumentWire,
    bytes: u64,
}

/// Grows at its end only.
#[derive(Encode, Decode)]
enum DocumentWire {
    Manifest,
    History,
}

impl From<&Follows> for FollowsWire {
    fn from(follows: &Follows) -> Self {
        let document = match follows.document {
            Document::Manifest => DocumentWire::Manifest,
            Document::History => DocumentWire::History,
        };
        Self { release: *follows.release.as_bytes(), document, bytes: follows.bytes }
    }
}

impl FollowsWire {
    fn check(self) -> Result<Follows, Malformed> {
        let (document, limit) = match self.document {
            DocumentWire::Manifest => (Document::Manifest, limits::MANIFEST_BYTES),
            DocumentWire::History => (Document::History, limits::PROOF_BYTES),
        };
        if self.bytes == 0 || self.bytes > limit {
            return Err(Malformed::new("follows", "bytes", format!("1 to {limit}"), self.bytes.to_string()));
        }
        Ok(Follows { release: Hash::new(self.release), document, bytes: self.bytes })
    }
}
