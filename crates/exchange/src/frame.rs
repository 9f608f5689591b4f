//! Frames of the control stream: `u32be length || u8 type || body`, where the length counts the type byte and the body
//! (docs/spec/wire.md §3).
//!
//! One reader and one writer. The reader takes bytes in any pieces and refuses a length before it waits for what the
//! length promises; it never holds more than one frame beyond what it was just given.

use crate::fault::PeerFault;

/// Largest length of a frame, type byte included: the largest honest body, a note with 64 post-quantum lines, is a
/// quarter of it.
pub const FRAME_BYTES: usize = 1 << 20;

/// Bytes of the length that precedes a frame.
const LENGTH_BYTES: usize = 4;

/// The types of frame, and the byte that stands for each. The list grows at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum FrameType {
    /// Who speaks, from which ledger, and what it holds of the reader.
    Hello = 1,
    /// Cards, delegations and revocations.
    Cards = 2,
    /// A checkpoint to be cosigned.
    AddCheckpoint = 3,
    /// The reply to it.
    Cosigned = 4,
    /// A statement with its inclusion proof.
    Statement = 5,
    /// What is still to travel.
    Want = 6,
    /// A transfer, or a question, that ends here.
    Error = 7,
    /// A document comes on a stream of its own.
    Follows = 8,
    /// A statement is kept.
    Kept = 9,
    /// What the sender knows of ledgers: the reader's, its own, and others'.
    Notes = 10,
    /// Give back what is ours: the sender has lost a part of its history.
    AskBack = 11,
    /// Statements of the reader's, and to the reader, that it asked back.
    GivenBack = 12,
    /// How much of a package is proven at its reader.
    Proven = 13,
}

impl FrameType {
    /// Every type, ascending.
    pub const ALL: [FrameType; 13] = [
        FrameType::Hello,
        FrameType::Cards,
        FrameType::AddCheckpoint,
        FrameType::Cosigned,
        FrameType::Statement,
        FrameType::Want,
        FrameType::Error,
        FrameType::Follows,
        FrameType::Kept,
        FrameType::Notes,
        FrameType::AskBack,
        FrameType::GivenBack,
        FrameType::Proven,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One frame, its body not yet parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameType,
    /// The bytes after the type byte, fewer than [`FRAME_BYTES`].
    pub body: Vec<u8>,
}

impl Frame {
    /// The frame as it travels.
    ///
    /// # Errors
    /// [`TooLong`] if the body does not fit: whoever made it has to split it or to send less.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TooLong> {
        let length = self.body.len().saturating_add(1);
        let Some(wire) = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES) else {
            return Err(TooLong { length });
        };
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + length);
        bytes.extend_from_slice(&wire.to_be_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// A frame that would be longer than [`FRAME_BYTES`]. Our own fault: nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes is over the limit of {FRAME_BYTES}")]
pub struct TooLong {
    /// Type byte and body.
    pub length: usize,
}

/// Puts frames together from the bytes of the control stream.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has arrived. Take out the frames that are complete ([`FrameReader::next_frame`]) before giving more.
    pub fn push(&mut self, arrived: &[u8]) {
        self.bytes.extend_from_slice(arrived);
    }

    /// The next complete frame, or `None` while it is not all here.
    ///
    /// # Errors
    /// [`PeerFault::FrameSize`] as soon as a length is known to be wrong, [`PeerFault::FrameUnknown`] as soon as a type
    /// is. The stream cannot go on after either.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, PeerFault> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let bytes = usize::try_from(length).ok().filter(|bytes| (1..=FRAME_BYTES).contains(bytes));
        let Some(bytes) = bytes else {
            return Err(PeerFault::FrameSize { length });
        };
        let Some(byte) = rest.first() else {
            return Ok(None);
        };
        let Some(kind) = FrameType::from_byte(*byte) else {
            return Err(PeerFault::FrameUnknown { kind: *byte });
        };
        let Some(body) = rest.get(1..bytes) else {
            return Ok(None);
        };
        let frame = Frame { kind, body: body.to_vec() };
        self.bytes.drain(..LENGTH_BYTES + bytes);
        Ok(Some(frame))
    }

    /// Whether a frame has begun and is not complete: the slow clock of the driver runs while this holds.
    pub fn is_inside(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: FrameType, body: &[u8]) -> Frame {
        Frame { kind, body: body.to_vec() }
    }

    #[test]
    fn a_frame_arrives_whole_however_it_is_split() {
        let wire =
            [frame(FrameType::Kept, &[7; 32]).to_bytes().unwrap(), frame(FrameType::Cards, b"").to_bytes().unwrap()]
                .concat();
        for cut in 0..=wire.len() {
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                reader.push(part);
                while let Some(frame) = reader.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, [frame(FrameType::Kept, &[7; 32]), frame(FrameType::Cards, b"")]);
            assert!(!reader.is_inside());
        }
    }

    #[test]
    fn lengths_are_refused_before_the_body_is_waited_for() {
        for length in [0, FRAME_BYTES as u32 + 1, 1 << 31, u32::MAX] {
            let mut reader = FrameReader::new();
            reader.push(&length.to_be_bytes());
            assert_eq!(reader.next_frame(), Err(PeerFault::FrameSize { length }));
        }
    }

    #[test]
    fn the_largest_frame_passes_and_one_byte_more_does_not() {
        let largest = frame(FrameType::Want, &vec![0; FRAME_BYTES - 1]);
        let mut reader = FrameReader::new();
        reader.push(&largest.to_bytes().unwrap());
        assert_eq!(reader.next_frame().unwrap(), Some(largest));
        let over = frame(FrameType::Want, &vec![0; FRAME_BYTES]);
        assert_eq!(over.to_bytes(), Err(TooLong { length: FRAME_BYTES + 1 }));
    }

    #[test]
    fn unknown_types_are_refused_by_their_byte_alone() {
        for kind in (0..=u8::MAX).filter(|byte| FrameType::from_byte(*byte).is_none()) {
            let mut reader = FrameReader::new();
            reader.push(&[0, 0, 1, 0, kind]);
            assert_eq!(reader.next_frame(), Err(PeerFault::FrameUnknown { kind }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_frames(
            bytes in prop::collection::vec(prop_oneof![4 => 0u8..12, 1 => any::<u8>()], 0..200),
            cut in 0usize..200,
        ) {
            let read = |parts: &[&[u8]]| {
                let mut reader = FrameReader::new();
                let mut seen = Vec::new();
                for part in parts {
                    reader.push(part);
                    loop {
                        match reader.next_frame() {
                            Ok(Some(frame)) => seen.push(frame),
                            Ok(None) => break,
                            Err(fault) => return (seen, Some(fault)),
                        }
                    }
                }
                (seen, None)
            };
            let cut = cut.min(bytes.len());
            prop_assert_eq!(read(&[&bytes]), read(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn what_was_written_is_read(body in prop::collection::vec(any::<u8>(), 0..2000), kind in 0usize..12) {
            let frame = Frame { kind: FrameType::ALL[kind], body };
            let mut reader = FrameReader::new();
            reader.push(&frame.to_bytes().unwrap());
            prop_assert_eq!(reader.next_frame().unwrap(), Some(frame));
        }
    }
}
