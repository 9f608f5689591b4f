//! The codes that travel: in error frames, and as the application code of a QUIC close (docs/spec/wire.md §7).
//!
//! A peer gets a number and a time to come back; what happened in detail stays in our own trace. The numbers are part
//! of the wire: they are added to, never changed.

use std::fmt;

/// Why a transfer or a session ended, as the other side is told.
///
/// # Standard
/// docs/spec/wire.md §7. Grouped by fault: 0 nobody's, 1–9 ours, 10–19 malformed, 20–29 untrusted, 30–39
/// inconsistent, 40–49 unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[non_exhaustive]
pub enum Code {
    /// Closed in good order.
    Done = 0,
    /// A fault of the side that says so; nothing was acknowledged. Come back later.
    Internal = 1,
    /// A frame longer than the limit, or of length 0 where a type byte must stand.
    FrameSize = 10,
    /// A frame's body does not parse, or has bytes left over.
    FrameMalformed = 11,
    /// A frame type that this version does not know.
    FrameUnknown = 12,
    /// A known frame at a time when it may not come.
    OutOfState = 13,
    /// A data stream that nobody asked for, is too long, or too short.
    Stream = 14,
    /// Slower than the floor, or a frame that took too long to come in.
    TooSlow = 15,
    /// The key in the handshake belongs to nobody whom this node knows.
    UnknownPeer = 20,
    /// The key in the handshake is not one of the card that names it.
    IdentityChanged = 21,
    /// A statement that is malformed or whose signatures do not count.
    Statement = 22,
    /// A release to somebody else.
    NotForUs = 23,
    /// The peer's newest card cannot be told from what it sent.
    Cards = 24,
    /// A kind of statement that this node does not take from this peer.
    NotAllowed = 25,
    /// A checkpoint or proof that cannot belong to the history seen before.
    Inconsistent = 30,
    /// The node that reads this shows an older ledger than the one it showed before.
    RolledBack = 31,
    /// Another package under a release that is already known.
    Reused = 32,
    /// A chunk that does not prove, three times.
    Chunk = 33,
    /// A manifest or history that does not close to the released root.
    Manifest = 34,
    /// A consignment or receipt for something else.
    Answer = 35,
    /// Not now: too much to do.
    Busy = 40,
    /// Beyond what this peer may store or send.
    Quota = 41,
    /// The disk is full or fails; nothing was acknowledged.
    Storage = 42,
    /// What was asked for is not here.
    NotHere = 43,
    /// This node signs nothing at present.
    NotSigning = 44,
    /// Going down.
    Shutdown = 45,
}

impl Code {
    /// Every code, ascending.
    pub const ALL: [Code; 26] = [
        Code::Done,
        Code::Internal,
        Code::FrameSize,
        Code::FrameMalformed,
        Code::FrameUnknown,
        Code::OutOfState,
        Code::Stream,
        Code::TooSlow,
        Code::UnknownPeer,
        Code::IdentityChanged,
        Code::Statement,
        Code::NotForUs,
        Code::Cards,
        Code::NotAllowed,
        Code::Inconsistent,
        Code::RolledBack,
        Code::Reused,
        Code::Chunk,
        Code::Manifest,
        Code::Answer,
        Code::Busy,
        Code::Quota,
        Code::Storage,
        Code::NotHere,
        Code::NotSigning,
        Code::Shutdown,
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of a number, or nothing if this version does not know it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// What a person may read about it.
    pub fn words(self) -> &'static str {
        match self {
            Code::Done => "closed in good order",
            Code::Internal => "a fault at the other end",
            Code::FrameSize => "a frame of a size that is not allowed",
            Code::FrameMalformed => "a frame that does not parse",
            Code::FrameUnknown => "a frame of an unknown type",
            Code::OutOfState => "a frame that may not come now",
            Code::Stream => "a data stream that was not asked for",
            Code::TooSlow => "too slow",
            Code::UnknownPeer => "an unknown peer",
            Code::IdentityChanged => "another key than the card's",
            Code::Statement => "a statement that does not verify",
            Code::NotForUs => "addressed to somebody else",
            Code::Cards => "cards that do not lead to the newest one",
            Code::NotAllowed => "a statement that is not taken from this peer",
            Code::Inconsistent => "a ledger that contradicts what was seen before",
            Code::RolledBack => "an older ledger than was shown before",
            Code::Reused => "another package under a known release",
            Code::Chunk => "content that does not prove",
            Code::Manifest => "a manifest that does not close to the released root",
            Code::Answer => "an answer to something else",
            Code::Busy => "too busy now",
            Code::Quota => "over the quota",
            Code::Storage => "no room, or a failing disk",
            Code::NotHere => "not here",
            Code::NotSigning => "signs nothing at present",
            Code::Shutdown => "going down",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.words(), self.number())
    }
}

/// A refusal that a host or a session hands back: a code, and when it is worth coming back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Refused {
    /// What the peer is told.
    pub code: Code,
    /// Seconds after which the same question may have another answer; 0: not by waiting.
    pub retry_after_seconds: u32,
}

impl Refused {
    /// A refusal that waiting does not change.
    pub fn new(code: Code) -> Self {
        Self { code, retry_after_seconds: 0 }
    }

    /// A refusal that may be gone after so many seconds.
    pub fn retry(code: Code, seconds: u32) -> Self {
        Self { code, retry_after_seconds: seconds }
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one_and_ascend() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!((0..=u16::MAX).filter(|n| Code::from_number(*n).is_some()).count(), Code::ALL.len());
    }
}
