//! The driver's hold on a transfer each way: its tasks, its counters, and what observers were last told.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use custodia_exchange::message::Wish;
use custodia_exchange::{Event, Fetching, Phase, Refused};
use custodia_format::Hash;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::driver::ToDriver;
use crate::fetch::ToFetch;
use crate::host::{Host, Outgoing, Peer};
use crate::receive::Tally;
use crate::serve::{ServeError, Way, open_document, serve_document, serve_ranges};

/// A package of ours that is being served. Dropping it stops its streams.
pub(crate) struct Sending {
    release: Hash,
    source: Arc<Source>,
    tasks: JoinSet<()>,
    /// What the peer says that it has proven.
    proven: Option<u64>,
    told: (u64, Option<u64>),
}

/// What the tasks of one release share.
struct Source {
    host: Arc<dyn Host>,
    peer: Arc<Peer>,
    way: Way,
    outgoing: OnceCell<Arc<dyn Outgoing>>,
    sent: Arc<AtomicU64>,
}

impl Sending {
    pub(crate) fn new(release: Hash, host: Arc<dyn Host>, peer: Arc<Peer>, way: Way) -> Self {
        let source = Source { host, peer, way, outgoing: OnceCell::new(), sent: Arc::default() };
        Self { release, source: Arc::new(source), tasks: JoinSet::new(), proven: None, told: (0, None) }
    }

    /// The peer says how much it has proven. The first word, which is what it had before, is news at once: the next one may
    /// come before anybody looks.
    pub(crate) fn proves(&mut self, bytes: u64) -> Option<Event> {
        let is_first = self.proven.replace(bytes).is_none();
        if is_first { self.news() } else { None }
    }

    /// Wants that are being served.
    pub(crate) fn under_way(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    /// Serves one want in a task of its own.
    pub(crate) fn serve(&mut self, what: Wish, driver: mpsc::Sender<ToDriver>) {
        let (source, release) = (self.source.clone(), self.release);
        self.tasks.spawn(async move {
            if let Err(ServeError::Refused(refused)) = source.serve(release, what, &driver).await {
                // A driver that is gone needs no report.
                let _ = driver.send(ToDriver::ServingFailed { release, refused }).await;
            }
        });
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.source.sent.load(Ordering::Relaxed)
    }

    /// Stops all streams.
    pub(crate) fn stop(&mut self) {
        self.tasks.abort_all();
    }

    /// What an observer has not heard yet.
    pub(crate) fn news(&mut self) -> Option<Event> {
        let (bytes, proven) = (self.bytes(), self.proven);
        let changed = std::mem::replace(&mut self.told, (bytes, proven)) != (bytes, proven);
        changed.then_some(Event::Sending { release: self.release, phase: Phase::Content { bytes, wasted: 0, proven } })
    }
}

impl Source {
    async fn serve(&self, release: Hash, what: Wish, driver: &mpsc::Sender<ToDriver>) -> Result<(), ServeError> {
        let outgoing = self.outgoing.get_or_try_init(|| self.open(release)).await.map_err(ServeError::Refused)?.clone();
        let way = self.way.clone();
        match what {
            Wish::Ranges(ranges) => serve_ranges(way, outgoing, ranges, self.sent.clone()).await,
            Wish::Document(document) => {
                let root = outgoing.root();
                let (bytes, reader) = open_document(outgoing, document).await.map_err(ServeError::Refused)?;
                let announce = ToDriver::Announce { release, document, bytes };
                driver.send(announce).await.map_err(|_| ServeError::Gone)?;
                serve_document(way, root, document, bytes, reader).await
            }
        }
    }

    async fn open(&self, release: Hash) -> Result<Arc<dyn Outgoing>, Refused> {
        let (host, peer) = (self.host.clone(), self.peer.clone());
        tokio::task::spawn_blocking(move || host.outgoing(&peer, &release))
            .await
            .unwrap_or(Err(custodia_exchange::Code::Internal.into()))
    }
}

/// A transfer to us that is being fetched. Dropping it lets the fetch go, which records what is proven.
pub(crate) struct Receiving {
    release: Hash,
    pub(crate) root: Hash,
    to_fetch: mpsc::Sender<ToFetch>,
    tally: Arc<Tally>,
    told: u64,
    /// What the peer was told that is proven here.
    said: Option<u64>,
    task: JoinHandle<()>,
}

impl Receiving {
    /// Starts a fetch.
    pub(crate) fn begin<F: Future<Output = ()> + Send + 'static>(
        fetching: &Fetching,
        fetch: impl FnOnce(mpsc::Receiver<ToFetch>, Arc<Tally>) -> F,
    ) -> Self {
        let (to_fetch, inbox) = mpsc::channel(64);
        let tally = Arc::new(Tally::default());
        let task = tokio::spawn(fetch(inbox, tally.clone()));
        Self { release: fetching.release, root: fetching.root, to_fetch, tally, told: 0, said: None, task }
    }

    /// Passes something on. What does not fit is dropped: a peer cannot have more than its streams open.
    pub(crate) fn pass(&self, message: ToFetch) {
        if self.to_fetch.try_send(message).is_err() {
            tracing::debug!("a data stream came after the end of its transfer");
        }
    }

    /// Lets go and waits until what is proven is recorded.
    pub(crate) async fn let_go(self) {
        drop(self.to_fetch);
        let _ = self.task.await;
    }

    /// What an observer has not heard yet.
    pub(crate) fn news(&mut self) -> Option<Event> {
        let bytes = self.tally.proven.load(Ordering::Relaxed);
        let wasted = self.tally.wasted.load(Ordering::Relaxed);
        let changed = std::mem::replace(&mut self.told, bytes + wasted) != bytes + wasted;
        let proven = self.tally.in_all();
        changed.then_some(Event::Receiving { release: self.release, phase: Phase::Content { bytes, wasted, proven } })
    }

    /// What is proven here and the peer has not heard of yet: first of all what was proven before this session.
    pub(crate) fn proven(&mut self) -> Option<(Hash, u64)> {
        let held = self.tally.held.get().copied()?;
        let proven = if self.said.is_none() { held } else { self.tally.in_all().unwrap_or(held) };
        (self.said.replace(proven) != Some(proven)).then_some((self.release, proven))
    }
}
