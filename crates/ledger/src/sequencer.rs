//! The sequencer: one thread that gives indexes. Whatever waits when it is free becomes one commit, so that many callers
//! share one sync; what is committed it writes out when enough has gathered, or when nobody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use custodia_format::Hash;

use crate::commit::{CommitError, Committer, NewDocument};
use crate::health::Health;
use crate::ledger::{AppendError, Appended, Shared};
use crate::places::{self, AbsentBelow};
use crate::start::mark_poisoned;

/// A commit takes no further caller from so many documents on: the last one in still waits only milliseconds.
const GROUP_DOCUMENTS: usize = 4096;
/// Nor from so many bytes on.
const GROUP_BYTES: usize = 16 << 20;

/// How long a commit waits for callers that were answered just now: a fraction of what its syncs take. Without it the
/// callers fall into two halves that wait for each other.
const GATHER: Duration = Duration::from_micros(500);
/// What a caller wants.
#[derive(Debug)]
pub(crate) enum Request {
    /// Its documents logged, in its order.
    Append { documents: Vec<Wanted>, answer: SyncSender<Answer> },
    /// What is committed written out; with a journal of one record, if it is to settle.
    Publish { settle: bool, answer: SyncSender<Result<(), AppendError>> },
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
pub(crate) fn run(
    shared: &Shared,
    mut committer: Option<Committer>,
    idle: Duration,
    requests: &Receiver<Request>,
    grown: &Sender<()>,
) {
    let mut group = Group::default();
    loop {
        if group.is_empty() {
            let Some(first) = next(shared, &mut committer, idle, requests) else { return };
            group.push(first);
        }
        group.take(requests);
        let before = shared.size();
        let Group { appends, publishes, settle, .. } = std::mem::take(&mut group);
        let answers = serve(shared, &mut committer, appends);
        if before >> places::LEVEL != shared.size() >> places::LEVEL {
            // That nobody tidies up any more costs memory, nothing else.
            let _ = grown.send(());
        }
        group.take(requests);
        // Those who came meanwhile, and those who are answered now and may be about to come again.
        let expected = group.appends.len() + answers.len();
        for (answer, result) in answers {
            // A caller that went away has its documents logged all the same.
            let _ = answer.send(result);
        }
        if !publishes.is_empty() || committer.as_ref().is_some_and(Committer::is_due) {
            let how = if settle { Committer::settle } else { Committer::write_out };
            let written = write_out(shared, &mut committer, how);
            publishes.into_iter().for_each(|answer| _ = answer.send(written.clone()));
        }
        let until = Instant::now() + GATHER;
        while group.has_room() && group.appends.len() < expected {
            let Ok(more) = requests.recv_timeout(until.saturating_duration_since(Instant::now())) else { break };
            group.push(more);
        }
    }
}

/// A caller's documents, and where to answer.
type Append = (Vec<Wanted>, SyncSender<Answer>);

/// Callers who share a commit, and those who wait for it to be written out.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    publishes: Vec<SyncSender<Result<(), AppendError>>>,
    settle: bool,
    documents: usize,
    bytes: usize,
}

impl Group {
    fn push(&mut self, request: Request) {
        match request {
            Request::Append { documents, answer } => {
                self.documents += documents.len();
                self.bytes += documents.iter().map(|wanted| wanted.new.bytes.len()).sum::<usize>();
                self.appends.push((documents, answer));
            }
            Request::Publish { settle, answer } => {
                self.publishes.push(answer);
                self.settle |= settle;
            }
        }
    }

    /// Takes those who wait, as long as there is room.
    fn take(&mut self, requests: &Receiver<Request>) {
        while self.has_room()
            && let Ok(more) = requests.try_recv()
        {
            self.push(more);
        }
    }

    const fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.publishes.is_empty()
    }

    const fn has_room(&self) -> bool {
        self.documents < GROUP_DOCUMENTS && self.bytes < GROUP_BYTES
    }
}

/// Waits for a caller. When there has been none for a while, and after the last, what is committed is written out.
fn next(
    shared: &Shared,
    committer: &mut Option<Committer>,
    idle: Duration,
    requests: &Receiver<Request>,
) -> Option<Request> {
    let next = match requests.recv_timeout(idle) {
        Err(RecvTimeoutError::Timeout) => {
            // Where there is no room the journal holds it, and who asks next is told.
            let _ = write_out(shared, committer, Committer::write_out);
            requests.recv().ok()
        }
        soon => soon.ok(),
    };
    if next.is_none() {
        let _ = write_out(shared, committer, Committer::settle);
    }
    next
}

/// Writes out what is committed.
fn write_out(
    shared: &Shared,
    committer: &mut Option<Committer>,
    how: impl FnOnce(&mut Committer) -> Result<(), CommitError>,
) -> Result<(), AppendError> {
    match committer.as_mut().map(how) {
        Some(Ok(())) => Ok(()),
        Some(Err(CommitError::Full { path })) => Err(AppendError::Full { path }),
        Some(Err(CommitError::Unknown { why })) => {
            stop(shared, committer, &why);
            Err(AppendError::Unknown { why })
        }
        // It was opened to be read, or a write failed: then the next start writes it out.
        None => match shared.health() {
            health @ Health::Poisoned { .. } => Err(AppendError::Refused { health }),
            _ => Ok(()),
        },
    }
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
fn serve(shared: &Shared, committer: &mut Option<Committer>, group: Vec<Append>) -> Vec<(SyncSender<Answer>, Answer)> {
    let first = committer.as_ref().map_or(0, Committer::size);
    let (mut waiting, mut documents, mut indexes) = (Vec::new(), Vec::new(), HashMap::new());
    for (asked, answer) in group {
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
        match able.commit(documents) {
            Ok(signed) => {
                // Step 5: all of it is durable. Now readers see it, and callers are answered.
                shared.show(signed, indexes.clone());
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
    idle: Duration,
    requests: Receiver<Request>,
    grown: Sender<()>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("sequencer".to_owned())
        .spawn(move || run(&shared, committer, idle, &requests, &grown))
}
