//! How a peer can misbehave on the wire, and the code that it is told for it.

use custodia_format::Malformed;

use crate::codes::Code;
use crate::frame::FrameType;

/// The peer broke the protocol. The connection ends with [`PeerFault::code`]; what was proven and stored stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// A frame's length is 0 or over the limit.
    #[error("a frame length of {length}")]
    FrameSize {
        /// As the wire says.
        length: u32,
    },
    /// A frame type that is not in the list.
    #[error("a frame of the unknown type {kind}")]
    FrameUnknown {
        /// The type byte.
        kind: u8,
    },
    /// A frame's body does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A frame that may not come now.
    #[error("a {frame:?} frame while {state}")]
    OutOfState {
        /// What came.
        frame: FrameType,
        /// What the session was doing.
        state: &'static str,
    },
    /// A statement that answers something else than what is under way.
    #[error("{statement} that belongs to something else: expected {expected}, found {found}")]
    Answer {
        /// Which statement.
        statement: &'static str,
        /// What it had to name.
        expected: String,
        /// What it names.
        found: String,
    },
    /// More of something than is allowed at once.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A data stream that nobody asked for, or of another length.
    #[error("a data stream that was not asked for: {0}")]
    Stream(&'static str),
    /// The session ends because the host says so.
    #[error("{0}")]
    Told(Code),
}

impl PeerFault {
    /// The code with which the connection is closed.
    pub fn code(&self) -> Code {
        match self {
            PeerFault::FrameSize { .. } => Code::FrameSize,
            PeerFault::FrameUnknown { .. } => Code::FrameUnknown,
            PeerFault::Malformed(_) => Code::FrameMalformed,
            PeerFault::OutOfState { .. } | PeerFault::TooMany { .. } => Code::OutOfState,
            PeerFault::Answer { .. } => Code::Answer,
            PeerFault::Stream(_) => Code::Stream,
            PeerFault::Told(code) => *code,
        }
    }
}
