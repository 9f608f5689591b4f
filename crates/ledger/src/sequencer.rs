//! The sequencer: one thread that gives indexes. Whatever waits when it is free becomes one commit, so that many callers
//! share one sequence of syncs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use custodia_format::Hash;

use crate::commit::{CommitError, Committer, NewDocument, Order};
use crate::health::Health;
use crate::ledger::{AppendError, Appended, Shared};
use crate::places::{self, AbsentBelow};
use crate::start::mark_poisoned;

/// A commit takes no further caller from so many documents on: the last one in still waits only milliseconds.
const GROUP_DOCUMENTS: usize = 4096;
/// Nor from so many bytes on.
const GROUP_BYTES: usize = 64 << 20;

/// How long a commit waits for callers that were answered just now: a fraction of what its syncs take. Without it the
/// callers fall into two halves that wait for each other.
const GATHER: Duration = Duration::from_micros(500);
/// So long nobody asks before the names of the last commit's documents are synced by themselves; callers that follow
/// each other closely share that sync with the next commit.
const SETTLE_AFTER: Duration = Duration::from_millis(20);

/// One caller's documents, in the caller's order, and where to answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) documents: Vec<Wanted>,
    pub(crate) answer: SyncSender<Answer>,
}

/// A document, and what its caller found out about its place.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) new: NewDocument,
    /// Its index, if it is in the ledger already.
    pub(crate) index: Option<u64>,
    /// Else: it is not among the entries below this.
    pub(crate) absent_below: AbsentBelow,
}

pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// Serves callers until the last of them is gone.
pub(crate) fn run(shared: &Shared, mut committer: Option<Committer>, requests: &Receiver<Request>, grown: &Sender<()>) {
    let mut group = Group::default();
    loop {
        if group.requests.is_empty() {
            let Some(first) = next(shared, &mut committer, requests) else { return };
            group.push(first);
        }
        while group.has_room()
            && let Ok(more) = requests.try_recv()
        {
            group.push(more);
        }
        let before = shared.size();
        let answers = serve(shared, &mut committer, std::mem::take(&mut group).requests);
        if before >> places::LEVEL != shared.size() >> places::LEVEL {
            // That nobody tidies up any more costs memory, nothing else.
            let _ = grown.send(());
        }
        while group.has_room()
            && let Ok(more) = requests.try_recv()
        {
            group.push(more);
        }
        // Those who came meanwhile, and those who are answered now and may be about to come again.
        let expected = group.requests.len() + answers.len();
        for (answer, result) in answers {
            // A caller that went away has its documents logged all the same.
            let _ = answer.send(result);
        }
        let until = Instant::now() + GATHER;
        while group.has_room() && group.requests.len() < expected {
            let Ok(more) = requests.recv_timeout(until.saturating_duration_since(Instant::now())) else { break };
            group.push(more);
        }
    }
}

/// Callers who share a commit.
#[derive(Default)]
struct Group {
    requests: Vec<Request>,
    documents: usize,
    bytes: usize,
}

impl Group {
    fn push(&mut self, request: Request) {
        self.documents += request.documents.len();
        self.bytes += request.documents.iter().map(|wanted| wanted.new.bytes.len()).sum::<usize>();
        self.requests.push(request);
    }

    const fn has_room(&self) -> bool {
        self.documents < GROUP_DOCUMENTS && self.bytes < GROUP_BYTES
    }
}

/// Waits for a caller. While there is none, and after the last, what the last commit left to be durable soon is made so.
fn next(shared: &Shared, committer: &mut Option<Committer>, requests: &Receiver<Request>) -> Option<Request> {
    let soon = requests.recv_timeout(SETTLE_AFTER);
    if let Err(why) = soon {
        if let Err(error) = shared.storage().settle() {
            stop(shared, committer, &error.to_string());
        }
        if why == RecvTimeoutError::Disconnected {
            return None;
        }
    }
    soon.or_else(|_| requests.recv()).ok()
}

/// Signs no more.
fn stop(shared: &Shared, committer: &mut Option<Committer>, why: &str) {
    // Without a committer it had stopped before, and nothing of this process is in doubt.
    if committer.take().is_some() {
        mark_poisoned(shared.storage(), why);
        shared.set_health(Health::Poisoned { why: why.to_owned() });
    }
}

/// A caller whose request is part of a commit: of each document its digest, and its index if it has one already.
struct Waiting {
    documents: Vec<(Hash, Option<u64>)>,
    answer: SyncSender<Answer>,
}

/// Commits what is new of all that these callers ask for; gives what each is to be told.
fn serve(shared: &Shared, committer: &mut Option<Committer>, group: Vec<Request>) -> Vec<(SyncSender<Answer>, Answer)> {
    let first = committer.as_ref().map_or(0, Committer::size);
    let (mut waiting, mut documents, mut indexes) = (Vec::new(), Vec::new(), HashMap::new());
    let mut order = Order::Any;
    for Request { documents: asked, answer } in group {
        if asked.len() > 1 {
            order = Order::Kept;
        }
        let mut placed = Vec::with_capacity(asked.len());
        for wanted in asked {
            let digest = wanted.new.entry.sha256;
            let found = shared.index_of(&wanted).unwrap_or_else(|error| {
                stop(shared, committer, &error.to_string());
                None
            });
            placed.push((digest, found));
            if found.is_none() && !indexes.contains_key(&digest) {
                indexes.insert(digest, first + documents.len() as u64);
                documents.push(wanted.new);
            }
        }
        waiting.push(Waiting { documents: placed, answer });
    }
    let health = shared.health();
    let mut failed = AppendError::Refused { health: health.clone() };
    let mut committed = HashMap::new();
    if let Some(able) = committer.as_mut().filter(|_| health.may_sign() && !documents.is_empty()) {
        match able.commit(&documents, order) {
            Ok(signed) => {
                // Step 7: all of it is durable and public. Now readers see it, and callers are answered.
                shared.publish(signed, indexes.clone());
                committed = indexes;
            }
            Err(CommitError::Full { path }) => failed = AppendError::Full { path },
            Err(CommitError::Unknown { why }) => {
                stop(shared, committer, &why);
                failed = AppendError::Unknown { why };
            }
        }
    }
    let told = waiting.into_iter().map(|Waiting { documents, answer }| {
        let appended = documents.into_iter().map(|(digest, found)| {
            Some(Appended { index: found.or_else(|| committed.get(&digest).copied())?, digest })
        });
        (answer, appended.collect::<Option<Vec<Appended>>>().ok_or_else(|| failed.clone()))
    });
    told.collect()
}

/// Starts the thread that keeps the places tidy: once now, and whenever the ledger has grown by a range.
pub(crate) fn start_tidier(shared: Arc<Shared>, growth: Receiver<()>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("places".to_owned()).spawn(move || {
        shared.tidy();
        while growth.recv().is_ok() {
            while growth.try_recv().is_ok() {}
            shared.tidy();
        }
    })
}

/// Starts the thread.
pub(crate) fn start(
    shared: Arc<Shared>,
    committer: Option<Committer>,
    requests: Receiver<Request>,
    grown: Sender<()>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("sequencer".to_owned()).spawn(move || run(&shared, committer, &requests, &grown))
}
