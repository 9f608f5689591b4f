//! Drives one transfer to us: documents first, then the plan's batches, each on a stream of its own.
//!
//! Owns the transfer's streams and threads. Ends by reporting to the driver, or silently when the driver lets go of it;
//! in every case what is proven is first recorded, so that it never travels again.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use custodia_exchange::fetch::{BATCHES_UNDER_WAY, Batch, Fetch, PAGE, Step};
use custodia_exchange::message::{Follows, Wish};
use custodia_exchange::stream::{First, StreamHeader};
use custodia_exchange::{Code, Cursor, Document, Fetching, NeedsIt, PeerFault, Refused, Wanted};
use custodia_format::Hash;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::driver::ToDriver;
use crate::host::{Host, Incoming, Peer};
use crate::pace::{Floor, Pace, TooSlow};
use crate::receive::{ReceiveError, Tally, receive_batch, receive_document};
use crate::road::RecvStream;
use crate::turns::{Place, SMALL_BYTES, SMALL_RECORDS, Turns, Weight};

/// How often what is proven is recorded at the least, however slow the link.
const RECORD_EVERY: Duration = Duration::from_secs(5);

/// What the driver passes on.
pub(crate) enum ToFetch {
    /// A document was announced.
    Follows(Follows),
    /// A data stream was opened and its header read.
    Stream(StreamHeader, RecvStream),
}

/// One transfer to us.
pub(crate) struct Fetcher {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) fetching: Fetching,
    pub(crate) inbox: mpsc::Receiver<ToFetch>,
    pub(crate) driver: mpsc::Sender<ToDriver>,
    pub(crate) tally: Arc<Tally>,
    /// Shared by all transfers of the connection.
    pub(crate) turns: Arc<Turns>,
}

/// How a fetch ends without having everything.
enum Stop {
    /// The peer broke the protocol.
    Fault(PeerFault),
    /// The transfer ends; the peer is told.
    Refused(Refused),
    /// The driver has let go: the connection or the transfer is over.
    Released,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Stop::Refused(refused)
    }
}

impl From<TooSlow> for Stop {
    fn from(TooSlow: TooSlow) -> Self {
        Stop::Refused(Refused::retry(Code::TooSlow, 60))
    }
}

impl From<Code> for Stop {
    fn from(code: Code) -> Self {
        Stop::Refused(code.into())
    }
}

impl From<PeerFault> for Stop {
    fn from(fault: PeerFault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<ReceiveError> for Stop {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Fault(fault) => Stop::Fault(fault),
            ReceiveError::Refused(refused) => Stop::Refused(refused),
            ReceiveError::Cut => Stop::Refused(Refused::retry(Code::Internal, 1)),
        }
    }
}

/// What a stream's task tells the plan.
enum News {
    Kept(u64),
    Ended(Result<(), ReceiveError>),
}

impl Fetcher {
    /// Runs the transfer to its end.
    pub(crate) async fn run(mut self) {
        let release = self.fetching.release;
        let end = match self.open().await {
            Ok(incoming) => {
                let end = self.fetch(&incoming).await;
                if end.is_err() {
                    record(incoming).await;
                }
                end
            }
            Err(refused) => Err(Stop::Refused(refused)),
        };
        let report = match end {
            Ok(()) => ToDriver::Fetched { release, end: Ok(()) },
            Err(Stop::Refused(refused)) => ToDriver::Fetched { release, end: Err(refused) },
            Err(Stop::Fault(fault)) => ToDriver::Fault(fault),
            Err(Stop::Released) => return,
        };
        // A driver that is gone needs no report.
        let _ = self.driver.send(report).await;
    }

    async fn open(&self) -> Result<Arc<dyn Incoming>, Refused> {
        let (host, peer, release) = (self.host.clone(), self.peer.clone(), self.fetching.release);
        blocking(move || host.incoming(&peer, &release)).await
    }

    async fn fetch(&mut self, incoming: &Arc<dyn Incoming>) -> Result<(), Stop> {
        let documents: Vec<Document> =
            [(Document::History, self.fetching.history), (Document::Manifest, self.fetching.manifest)]
                .into_iter()
                .filter(|(_, needs)| *needs == NeedsIt::Yes)
                .map(|(document, _)| document)
                .collect();
        self.fetch_documents(incoming, documents).await?;
        let _place = self.wait_for_turn(incoming).await?;
        let known = incoming.clone();
        let held = blocking(move || known.proven()).await?;
        // Set once: a fetch runs once.
        let _ = self.tally.held.set(held);
        self.fetch_content(incoming).await
    }

    /// Waits until this package's content may travel. Nothing comes for it meanwhile.
    async fn wait_for_turn(&mut self, incoming: &Arc<dyn Incoming>) -> Result<Place, Stop> {
        let mut weight = Weight::Large;
        if incoming.records() <= SMALL_RECORDS {
            let lister = incoming.clone();
            let missing = blocking(move || lister.wants(Cursor::default(), PAGE)).await?;
            if missing.len() < PAGE && missing.iter().map(Wanted::bytes).fold(0, u64::saturating_add) <= SMALL_BYTES {
                weight = Weight::Small;
            }
        }
        let turns = self.turns.clone();
        let mut place = pin!(turns.place(weight));
        loop {
            tokio::select! {
                place = &mut place => return Ok(place),
                message = self.inbox.recv() => match message {
                    // Nothing was asked for that could still come.
                    Some(ToFetch::Stream(..)) => return Err(PeerFault::Stream("it was not asked for").into()),
                    Some(ToFetch::Follows(_)) => {}
                    None => return Err(Stop::Released),
                }
            }
        }
    }

    async fn want(&self, what: Wish) -> Result<(), Stop> {
        let want = ToDriver::Want { release: self.fetching.release, what };
        self.driver.send(want).await.map_err(|_| Stop::Released)
    }

    async fn next(&mut self) -> Result<ToFetch, Stop> {
        match Floor::new(self.turns.pace.clone()).hold(self.inbox.recv()).await? {
            Some(message) => Ok(message),
            None => Err(Stop::Released),
        }
    }

    async fn fetch_documents(&mut self, incoming: &Arc<dyn Incoming>, mut wanted: Vec<Document>) -> Result<(), Stop> {
        for document in &wanted {
            self.want(Wish::Document(*document)).await?;
        }
        let mut lengths = HashMap::new();
        let mut streams = HashMap::new();
        while !wanted.is_empty() {
            match self.next().await? {
                ToFetch::Follows(follows) => drop(lengths.insert(follows.document, follows.bytes)),
                ToFetch::Stream(StreamHeader { root, first: First::Document(document) }, stream)
                    if root == incoming.root() && wanted.contains(&document) && !streams.contains_key(&document) =>
                {
                    streams.insert(document, stream);
                }
                ToFetch::Stream(..) => return Err(PeerFault::Stream("it was not asked for").into()),
            }
            let ready = wanted.iter().position(|it| lengths.contains_key(it) && streams.contains_key(it));
            let Some(place) = ready else { continue };
            let document = wanted.swap_remove(place);
            if let (Some(bytes), Some(stream)) = (lengths.remove(&document), streams.remove(&document)) {
                let opener = incoming.clone();
                let sink = blocking(move || opener.document(document, bytes)).await?;
                receive_document(stream, bytes, self.turns.pace.clone(), sink).await?;
            }
        }
        Ok(())
    }

    async fn fetch_content(&mut self, incoming: &Arc<dyn Incoming>) -> Result<(), Stop> {
        let mut recording = JoinSet::new();
        let mut tick = tokio::time::interval(RECORD_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (news, mut told) = mpsc::channel(64);
        let mut plan = Fetch::new();
        let mut expected: HashMap<StreamHeader, Batch> = HashMap::new();
        let mut streams = JoinSet::new();
        // One batch is always ours, each of these is one more.
        let mut extra: Vec<Place> = Vec::new();
        let mut floor = Floor::new(self.turns.pace.clone());
        loop {
            extra.truncate(plan.under_way());
            if plan.under_way() > extra.len() && plan.under_way() < BATCHES_UNDER_WAY {
                extra.extend(self.turns.extra());
            }
            match plan.step(1 + extra.len()) {
                Step::List(cursor) => {
                    let lister = incoming.clone();
                    let page = blocking(move || lister.wants(cursor, PAGE)).await?;
                    match plan.listed(page) {
                        None => {}
                        Some(Step::Complete) => return Ok(()),
                        Some(_) => return Err(Code::Chunk.into()),
                    }
                }
                Step::Ask(batch) => {
                    let ranges = batch.ranges();
                    if let Some(header) = header_of(incoming.root(), &batch) {
                        expected.insert(header, batch);
                        self.want(Wish::Ranges(ranges)).await?;
                    }
                }
                Step::Wait => {
                    tokio::select! {
                        message = self.inbox.recv() => match message {
                            Some(ToFetch::Stream(header, stream)) => {
                                let batch = expected.remove(&header)
                                    .ok_or(PeerFault::Stream("it was not asked for"))?;
                                let (tally, pace) = (self.tally.clone(), self.turns.pace.clone());
                                streams.spawn(receive(stream, batch, incoming.clone(), tally, pace, news.clone()));
                            }
                            Some(ToFetch::Follows(_)) => {}
                            None => return Err(Stop::Released),
                        },
                        Some(news) = told.recv() => match news {
                            News::Kept(record) => plan.midstates_kept(record),
                            News::Ended(Ok(()) | Err(ReceiveError::Cut)) => plan.arrived(),
                            News::Ended(Err(error)) => return Err(error.into()),
                        },
                        Err(TooSlow) = floor.hold(std::future::pending::<()>()) => return Err(TooSlow.into()),
                        Some(_) = streams.join_next() => {}
                        Some(_) = recording.join_next() => {}
                        // The store records by itself when much comes in; when little does, this does.
                        _ = tick.tick(), if recording.is_empty() => {
                            recording.spawn(record(incoming.clone()));
                        }
                    }
                }
                Step::Complete => return Ok(()),
                Step::GiveUp(_) => return Err(Code::Chunk.into()),
            }
        }
    }
}

async fn receive(
    stream: RecvStream,
    batch: Batch,
    incoming: Arc<dyn Incoming>,
    tally: Arc<Tally>,
    pace: Arc<Pace>,
    news: mpsc::Sender<News>,
) {
    let kept = news.clone();
    let end = receive_batch(stream, batch, incoming, tally, pace, move |record| {
        // Called on the proving thread; a plan that is gone needs no news.
        let _ = kept.blocking_send(News::Kept(record));
    })
    .await;
    let _ = news.send(News::Ended(end)).await;
}

/// The header that the stream for this batch will carry.
fn header_of(root: Hash, batch: &Batch) -> Option<StreamHeader> {
    batch.ranges().first().map(|range| StreamHeader {
        root,
        first: First::Chunks { record: range.record, first_chunk: range.first_chunk, count: range.count },
    })
}

async fn record(incoming: Arc<dyn Incoming>) {
    if let Err(refused) = blocking(move || incoming.sync()).await {
        tracing::error!(%refused, "recording what is proven");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refused { code: Code::Internal, retry_after_seconds: 0 }))
}
