//! The node's one API: every command of the program and, later, every button of the console is an [`Operation`].
//!
//! An operation is a POST of its JSON to `/v1/NAME`; the answer is a stream of JSON lines: any number of progress
//! lines, then exactly one answer or failure. The same router is called in-process when no node runs and over the
//! Unix socket when one does: two doors, one room.

mod door;
mod server;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use door::Door;
pub use server::router;
pub(crate) use server::{listen, serve};

use crate::Node;
use crate::failure::Failure;
use crate::progress::Speeds;
pub use crate::progress::{Direction, Ended, LinkState, Outcome, Phase, Progress, TimeLeft};

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
    Progress(Box<Progress>),
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

/// Where an operation tells how far it is, and learns that nobody waits for it any more.
///
/// What is told gets its rate and the time that is left on the way.
#[derive(Debug, Clone)]
pub struct Reporter(Option<Telling>);

#[derive(Debug, Clone)]
struct Telling {
    lines: tokio::sync::mpsc::Sender<Line>,
    began: Instant,
    speeds: Arc<Mutex<Speeds>>,
}

impl Reporter {
    /// One that tells nobody.
    pub const fn silent() -> Self {
        Self(None)
    }

    /// One that tells whoever holds the other end.
    pub fn channel() -> (Self, Told) {
        let (lines, told) = tokio::sync::mpsc::channel(LINES_WAITING);
        (Self::to(lines), Told(told))
    }

    fn to(lines: tokio::sync::mpsc::Sender<Line>) -> Self {
        Self(Some(Telling { lines, began: Instant::now(), speeds: Arc::default() }))
    }

    /// Tells how far the operation is. A slow reader misses some of it.
    pub fn progress(&self, mut progress: Progress) {
        if let Some(Telling { lines, began, speeds }) = &self.0 {
            speeds.lock().unwrap_or_else(PoisonError::into_inner).complete(began.elapsed(), &mut progress);
            let _ = lines.try_send(Line::Progress(Box::new(progress)));
        }
    }

    /// The same, if there is something to tell.
    pub(crate) fn progress_of(&self, progress: Option<Progress>) {
        if let Some(progress) = progress {
            self.progress(progress);
        }
    }

    /// Whether the one who asked has gone away.
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_some_and(|telling| telling.lines.is_closed())
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
                return Some(*progress);
            }
        }
    }
}

/// Lines that may wait for a slow reader before progress is left out.
const LINES_WAITING: usize = 64;
