//! The session between two nodes, as state machines that own no socket, clock, disk or randomness.
//!
//! Bytes and answers go in, frames and questions come out; a driver moves them (docs/spec/wire.md). What this crate
//! decides is order: who may say what when, which answer belongs to what, which bytes are still to travel. What it
//! leaves to its host is judgement: whether a signature counts, whether a release is welcome.

mod codec;
pub mod codes;
pub mod fault;
pub mod fetch;
pub mod frame;
pub mod message;
pub mod question;
pub mod session;
pub mod stream;
pub mod transfer;

pub use codes::{Code, Refused};
pub use fault::PeerFault;
pub use frame::{FRAME_BYTES, Frame, FrameReader, FrameType};
pub use message::{AddCheckpoint, Cosigned, GivenBack, Hello};
pub use question::{AT_ONCE, Answer, Consigned, NeedsIt, Question, Received, Signed, Taken};
pub use session::{Fetching, Output, Session, TRANSFERS, Turn, Waiting, Waits};
pub use transfer::{CHUNK_BYTES, Cursor, Document, Event, Midstates, Phase, Wanted};
