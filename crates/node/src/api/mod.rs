//! The node's one API: every command of the program and, later, every button of the console is an [`Operation`].
//!
//! An operation is a POST of its JSON to `/v1/NAME`; the answer is a stream of JSON lines: any number of progress
//! lines, then exactly one answer or failure. The same router is called in-process when no node runs and over the
//! Unix socket when one does: two doors, one room.

mod door;
mod server;

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use door::Door;
pub use server::router;
pub(crate) use server::{listen, serve};

use crate::Node;
use crate::failure::Failure;

/// A request and what answers it.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Its name in the path.
    const NAME: &'static str;
    /// What it gives back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Whether it signs something: then the peers are asked first what they saw of our ledger, where that is due.
    fn signs(&self) -> bool {
        false
    }

    /// Performs it on this thread, which may block.
    ///
    /// # Errors
    /// A [`Failure`], as people will read it.
    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Self::Answer, Failure>;
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line {
    /// How far the operation is.
    Progress(Progress),
    /// The last line of an operation that worked.
    Answer {
        /// What it gives back.
        answer: serde_json::Value,
    },
    /// The last line of one that did not.
    Failure(Failure),
}

/// How often a check tells how far it is.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(200);

/// How far an operation is. Never a promise: only an answer means done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: `read`, `send`, `prove`, `receipt`, `check`.
    pub phase: String,
    /// Bytes done in this phase.
    pub bytes: u64,
    /// Bytes of this phase, 0 when not known.
    pub bytes_total: u64,
    /// Items done in this phase.
    pub items: u64,
    /// Items of this phase, 0 when not known.
    pub items_total: u64,
    /// A sentence worth a line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Progress {
    /// Bytes of a phase of which nobody knows how many there will be.
    pub fn bytes(phase: &str, bytes: u64) -> Self {
        Self { phase: phase.to_owned(), bytes, bytes_total: 0, items: 0, items_total: 0, note: None }
    }

    /// Nothing but a sentence.
    pub fn note(phase: &str, note: impl Into<String>) -> Self {
        let phase = phase.to_owned();
        Self { phase, bytes: 0, bytes_total: 0, items: 0, items_total: 0, note: Some(note.into()) }
    }
}

/// Where an operation tells how far it is, and learns that nobody waits for it any more.
#[derive(Debug, Clone)]
pub struct Reporter(Option<tokio::sync::mpsc::Sender<Line>>);

impl Reporter {
    /// One that tells nobody.
    pub const fn silent() -> Self {
        Self(None)
    }

    /// One that tells whoever holds the other end.
    pub fn channel() -> (Self, Told) {
        let (lines, told) = tokio::sync::mpsc::channel(LINES_WAITING);
        (Self(Some(lines)), Told(told))
    }

    /// Tells how far the operation is. A slow reader misses some of it.
    pub fn progress(&self, progress: Progress) {
        if let Some(lines) = &self.0 {
            let _ = lines.try_send(Line::Progress(progress));
        }
    }

    /// Whether the one who asked has gone away.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_some_and(tokio::sync::mpsc::Sender::is_closed)
    }
}

/// The other end of a [`Reporter::channel`].
#[derive(Debug)]
pub struct Told(tokio::sync::mpsc::Receiver<Line>);

impl Told {
    /// The next word on how far it is; none when the operation is over.
    pub async fn next(&mut self) -> Option<Progress> {
        loop {
            if let Line::Progress(progress) = self.0.recv().await? {
                return Some(progress);
            }
        }
    }
}

/// Lines that may wait for a slow reader before progress is left out.
const LINES_WAITING: usize = 64;
