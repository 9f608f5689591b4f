//! The task of one connection: owns its session and moves everything that the session asks for.
//!
//! One loop, one owner: frames in and out, the host's answers, data streams, commands of a [`crate::Link`]. Work that
//! blocks or takes long runs in tasks of its own and comes back as [`ToDriver`].

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use custodia_exchange::message::{Proven, Wish};
use custodia_exchange::stream::{HEADER_BYTES, StreamHeader};
use custodia_exchange::{
    Answer, Code, Document, Event, Fetching, FrameReader, Output, PeerFault, Phase, Refused, Session, Waits,
};
use custodia_format::Hash;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};

use crate::ask::ask;
use crate::end::End;
use crate::fetch::{Fetcher, ToFetch};
use crate::health::LinkNews;
use crate::host::{Host, Peer};
use crate::link::Command;
use crate::progress::{Receiving, Sending};
use crate::road::{Connection, RecvStream, SendStream};
use crate::serve::Way;
use crate::throttle::Throttle;
use crate::transport::{FRAME, FRAME_FLOOR_BYTES, HANDSHAKE, READERS};
use crate::turns::Turns;

/// Bytes of frames that wait for the link before no more of the peer's are read.
const OUTBOX_BYTES: usize = 4 << 20;
/// Wants of one transfer that are served at once.
const SERVED_AT_ONCE: usize = 16;
/// How often observers hear of bytes.
const TICK: Duration = Duration::from_millis(200);
/// How often the peer hears what is proven here: a frame of 45 bytes for each package under way.
const PROVEN_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take to begin with what it has for us, beside the time on the road.
const PEERS_TURN: Duration = Duration::from_millis(100);
/// What the peer is told of a package that is to wait here: when asking might do some good.
const LATER_SECONDS: u32 = 60;
/// Time for the last frames to be acknowledged before an orderly close.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What a task tells the driver.
pub(crate) enum ToDriver {
    /// Ask the peer for this.
    Want { release: Hash, what: Wish },
    /// A document is about to be sent.
    Announce { release: Hash, document: Document, bytes: u64 },
    /// A fetch is over.
    Fetched { release: Hash, end: Result<(), Refused> },
    /// A release cannot be served any further.
    ServingFailed { release: Hash, refused: Refused },
    /// The peer broke the protocol on a data stream.
    Fault(PeerFault),
}

/// Who made the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// We did, and close it when nobody has a use for it any more.
    Caller,
    /// The peer did: it is the peer's to close.
    Called,
}

/// One connection's driver.
pub(crate) struct Driver {
    connection: Connection,
    host: Arc<dyn Host>,
    peer: Arc<Peer>,
    session: Session,
    reader: FrameReader,
    outbox: VecDeque<Bytes>,
    question: Option<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    sending: HashMap<Hash, Sending>,
    receiving: HashMap<Hash, Receiving>,
    notes: mpsc::Receiver<ToDriver>,
    notes_sender: mpsc::Sender<ToDriver>,
    headers: JoinSet<Option<(StreamHeader, RecvStream)>>,
    side: Side,
    /// Since when nothing is under way, while it is to be closed.
    idle_since: Option<Instant>,
    waiting: Waiters,
    /// What the host was told that the session waits for.
    told: Option<Waits>,
    /// When the peer was last told what is proven here.
    proven_told: Instant,
    way: Way,
    turns: Arc<Turns>,
    /// Bytes that came in since the clock of the frame that is coming in was set.
    frame_bytes: usize,
    /// Close when nothing is under way.
    closing: bool,
    /// The road leads nowhere any more.
    moved: bool,
    /// Close with this code as soon as what was said before is out.
    last_code: Option<Code>,
}

/// Who waits for what.
#[derive(Default)]
struct Waiters {
    connected: Option<oneshot::Sender<()>>,
    deliveries: HashMap<Hash, Vec<oneshot::Sender<(Phase, u64)>>>,
    pushes: HashMap<Hash, Vec<oneshot::Sender<Result<(), Refused>>>>,
}

impl Driver {
    pub(crate) fn new(
        connection: Connection,
        host: Arc<dyn Host>,
        peer: Peer,
        side: Side,
        connected: oneshot::Sender<()>,
        throttle: Arc<Throttle>,
    ) -> Self {
        let (notes_sender, notes) = mpsc::channel(64);
        let readers = Arc::new(Semaphore::new(READERS));
        let way = Way { connection: connection.clone(), throttle, pace: Arc::default(), readers };
        Self {
            connection,
            host,
            peer: Arc::new(peer),
            session: Session::new(),
            reader: FrameReader::new(),
            outbox: VecDeque::new(),
            question: None,
            sending: HashMap::new(),
            receiving: HashMap::new(),
            notes,
            notes_sender,
            headers: JoinSet::new(),
            side,
            idle_since: None,
            waiting: Waiters { connected: Some(connected), ..Waiters::default() },
            told: None,
            proven_told: Instant::now(),
            way,
            turns: Arc::default(),
            frame_bytes: 0,
            closing: false,
            moved: false,
            last_code: None,
        }
    }

    /// Runs the session on its control stream until the connection is over, and closes it.
    pub(crate) async fn run(mut self, control: (SendStream, RecvStream), commands: mpsc::Receiver<Command>) -> End {
        let (mut send, recv) = control;
        // Control frames overtake content.
        send.set_priority(1);
        self.host.link(&self.peer, &LinkNews::Begun);
        let end = self.turn(&mut send, recv, commands).await;
        self.tell_progress();
        if matches!(end, End::ByUs(_)) {
            // What was said last must arrive before the close, which overtakes it.
            let _ = send.finish();
            let _ = timeout(LAST_WORDS, send.stopped()).await;
        }
        self.connection.close(end.close_code());
        tracing::debug!(peer = %self.peer.name, %end, "session over");
        // Whoever fetches records what is proven by himself once this is dropped; wait for that before saying so.
        self.sending.clear();
        for (_, receiving) in self.receiving.drain() {
            receiving.let_go().await;
        }
        self.host.waits(&self.peer, None);
        self.host.link(&self.peer, &LinkNews::Ended(end.clone()));
        end
    }

    async fn turn(
        &mut self,
        send: &mut SendStream,
        mut recv: RecvStream,
        mut commands: mpsc::Receiver<Command>,
    ) -> End {
        let mut tick = ticks();
        let mut buffer = vec![0; 64 * 1024];
        let mut deadline = None;
        let mut commands_open = true;
        loop {
            if let Err(fault) = self.settle() {
                return End::Misbehaved(fault);
            }
            self.tell_waiting();
            if self.moved {
                return End::Moved;
            }
            if let Some(code) = self.last_code.filter(|_| self.outbox.is_empty()) {
                return End::ByUs(code);
            }
            let leaves = self.leaves_at();
            if leaves.is_some_and(|at| at <= Instant::now()) {
                return End::ByUs(Code::Done);
            }
            if self.frame_bytes >= FRAME_FLOOR_BYTES && self.is_connected() {
                // It comes in as fast as it must, or is in: what comes next has its own time.
                (self.frame_bytes, deadline) = (0, deadline.filter(|_| self.last_code.is_some()));
            }
            let reads = self.session.wants_frame() && self.outbox_bytes() < OUTBOX_BYTES;
            deadline = match deadline {
                Some(at) if self.last_code.is_some() => Some(at),
                None if self.last_code.is_some() => Some(Instant::now() + LAST_WORDS),
                _ if !reads => None,
                Some(at) if self.reader.is_inside() || !self.is_connected() => Some(at),
                // Our own hello was still being made: the peer's time begins now.
                None if !self.is_connected() => Some(Instant::now() + HANDSHAKE),
                _ if self.reader.is_inside() => Some(Instant::now() + FRAME),
                _ => None,
            };
            let front = self.outbox.front().cloned();
            tokio::select! {
                read = recv.read(&mut buffer), if reads => match read {
                    Ok(Some(bytes)) => {
                        self.frame_bytes += bytes;
                        self.reader.push(buffer.get(..bytes).unwrap_or_default());
                    }
                    Ok(None) => return self.connection.closed().await,
                    Err(error) => {
                        tracing::debug!(%error, "control stream");
                        return lost(&self.connection).await;
                    }
                },
                written = send.write(front.as_deref().unwrap_or_default()), if front.is_some() => match written {
                    Ok(bytes) => self.written(bytes),
                    Err(error) => {
                        tracing::debug!(%error, "control stream");
                        return lost(&self.connection).await;
                    }
                },
                answer = answer_of(&mut self.question), if self.question.is_some() => {
                    self.question = None;
                    if let Err(fault) = self.session.handle_answer(answer) {
                        return End::Misbehaved(fault);
                    }
                }
                Some(note) = self.notes.recv() => if let Err(fault) = self.take_note(note) {
                    return End::Misbehaved(fault);
                },
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => drop(self.headers.spawn(read_header(stream))),
                    Err(end) => return end,
                },
                Some(read) = self.headers.join_next() => if let Ok(Some((header, stream))) = read {
                    self.pass_on(header, stream);
                },
                command = commands.recv(), if commands_open => match command {
                    Some(command) => if let Err(fault) = self.obey(command) {
                        return End::Misbehaved(fault);
                    },
                    None => {
                        commands_open = false;
                        self.closing |= self.side == Side::Caller;
                    }
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return End::ByUs(self.last_code.unwrap_or(Code::TooSlow));
                }
                () = sleep_until(leaves.unwrap_or_else(Instant::now)), if leaves.is_some() => {}
                _ = tick.tick() => {
                    self.tell_progress();
                    self.host.link(&self.peer, &LinkNews::Is(self.connection.state()));
                    self.tell_proven();
                }
            }
        }
    }

    /// Lets the session move until it waits for the outside.
    fn settle(&mut self) -> Result<(), PeerFault> {
        loop {
            while let Some(output) = self.session.poll() {
                self.act(output)?;
            }
            if !self.session.wants_frame() || self.outbox_bytes() >= OUTBOX_BYTES {
                return Ok(());
            }
            let Some(frame) = self.reader.next_frame()? else { return Ok(()) };
            self.frame_bytes = FRAME_FLOOR_BYTES;
            self.session.handle_frame(frame)?;
        }
    }

    fn act(&mut self, output: Output) -> Result<(), PeerFault> {
        match output {
            Output::Send(frame) => match frame.to_bytes() {
                Ok(bytes) => self.outbox.push_back(bytes.into()),
                Err(error) => {
                    tracing::error!(%error, "a frame of ours is too long");
                    self.last_code = Some(Code::Internal);
                }
            },
            Output::Ask(question) => {
                self.question = Some(Box::pin(ask(self.host.clone(), self.peer.clone(), question)));
            }
            Output::Serve(want) => {
                let sending = self.sending.entry(want.release).or_insert_with(|| {
                    Sending::new(want.release, self.host.clone(), self.peer.clone(), self.way.clone())
                });
                if sending.under_way() >= SERVED_AT_ONCE {
                    return Err(PeerFault::TooMany { what: "wants at once", limit: SERVED_AT_ONCE });
                }
                sending.serve(want.what, self.notes_sender.clone());
            }
            Output::Proven(Proven { release, bytes }) => {
                let sending = self
                    .sending
                    .entry(release)
                    .or_insert_with(|| Sending::new(release, self.host.clone(), self.peer.clone(), self.way.clone()));
                if let Some(event) = sending.proves(bytes) {
                    self.host.observe(&self.peer, &event);
                }
            }
            Output::StopServing { release } => self.sending_is_over(&release),
            Output::Fetch(fetching) => self.begin_fetch(fetching),
            Output::Follows(follows) => {
                if let Some(receiving) = self.receiving.get(&follows.release) {
                    receiving.pass(ToFetch::Follows(follows));
                }
            }
            Output::StopFetching { release } => drop(self.receiving.remove(&release)),
            Output::Event(event) => self.announce(event),
            Output::Close(code) => self.last_code = Some(code),
            _ => {}
        }
        Ok(())
    }

    fn begin_fetch(&mut self, fetching: Fetching) {
        let receiving = Receiving::begin(&fetching, |inbox, tally| {
            let fetcher = Fetcher {
                host: self.host.clone(),
                peer: self.peer.clone(),
                fetching,
                inbox,
                driver: self.notes_sender.clone(),
                tally,
                turns: self.turns.clone(),
            };
            fetcher.run()
        });
        self.receiving.insert(fetching.release, receiving);
    }

    fn take_note(&mut self, note: ToDriver) -> Result<(), PeerFault> {
        match note {
            ToDriver::Want { release, what } => self.session.want(release, what),
            ToDriver::Announce { release, document, bytes } => self.session.announce(release, document, bytes),
            ToDriver::Fetched { release, end } => {
                self.tell_progress();
                if let Some(mut receiving) = self.receiving.remove(&release) {
                    for (release, bytes) in (0..2).filter_map(|_| receiving.proven()) {
                        self.session.proven(release, bytes);
                    }
                }
                self.session.fetched(release, end)?;
            }
            ToDriver::ServingFailed { release, refused } => self.session.serving_failed(release, refused)?,
            ToDriver::Fault(fault) => return Err(fault),
        }
        Ok(())
    }

    fn pass_on(&mut self, header: StreamHeader, stream: RecvStream) {
        match self.receiving.values().find(|receiving| receiving.root == header.root) {
            Some(receiving) => receiving.pass(ToFetch::Stream(header, stream)),
            // It crossed the end of its transfer on the wire.
            None => stream.stop(Code::Stream),
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), PeerFault> {
        match command {
            Command::Deliver { release, reply } => {
                self.waiting.deliveries.entry(release).or_default().push(reply);
                self.session.deliver(release);
            }
            Command::Push { digest, reply } => {
                self.waiting.pushes.entry(digest).or_default().push(reply);
                self.session.push(digest);
            }
            Command::Withdraw { release } => {
                let later = Refused::retry(Code::Busy, LATER_SECONDS);
                return self.session.serving_failed(release, later);
            }
            Command::Close => self.closing = true,
            Command::HangUp => self.last_code = Some(Code::Done),
            Command::Moved => self.moved = true,
        }
        Ok(())
    }

    fn announce(&mut self, event: Event) {
        match &event {
            Event::Connected => {
                if let Some(connected) = self.waiting.connected.take() {
                    let _ = connected.send(());
                }
            }
            Event::Sending { release, phase } if is_end(phase) => {
                let bytes = self.sending.remove(release).map_or(0, |sending| sending.bytes());
                for reply in self.waiting.deliveries.remove(release).unwrap_or_default() {
                    let _ = reply.send((phase.clone(), bytes));
                }
            }
            Event::Settled { digest } => self.settle_push(digest, Ok(())),
            Event::NotTaken { digest, refused } => self.settle_push(digest, Err(*refused)),
            _ => {}
        }
        self.host.observe(&self.peer, &event);
    }

    fn settle_push(&mut self, digest: &Hash, result: Result<(), Refused>) {
        for reply in self.waiting.pushes.remove(digest).unwrap_or_default() {
            let _ = reply.send(result);
        }
    }

    fn sending_is_over(&mut self, release: &Hash) {
        self.tell_progress();
        if let Some(sending) = self.sending.get_mut(release) {
            sending.stop();
        }
    }

    fn tell_progress(&mut self) {
        let sending = self.sending.values_mut().filter_map(Sending::news);
        let receiving = self.receiving.values_mut().filter_map(Receiving::news);
        for event in sending.chain(receiving) {
            self.host.observe(&self.peer, &event);
        }
    }

    /// Tells the peer what is proven here, now and then.
    fn tell_proven(&mut self) {
        if self.proven_told.elapsed() < PROVEN_EVERY {
            return;
        }
        self.proven_told = Instant::now();
        for receiving in self.receiving.values_mut() {
            // Twice: what was here before, and what is here now.
            for (release, bytes) in (0..2).filter_map(|_| receiving.proven()) {
                self.session.proven(release, bytes);
            }
        }
    }

    fn tell_waiting(&mut self) {
        let waits = self.session.waits();
        if self.told.as_ref() != Some(&waits) {
            self.host.waits(&self.peer, Some(&waits));
            self.told = Some(waits);
        }
    }

    /// When a session that is to be closed may be: the peer gets time to begin with what waits for us there, as it cannot
    /// perhaps call us itself.
    fn leaves_at(&mut self) -> Option<Instant> {
        if !(self.closing && self.outbox.is_empty() && self.session.is_idle()) {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        Some(since + PEERS_TURN + self.connection.rtt() * 2)
    }

    fn is_connected(&self) -> bool {
        self.session.is_met()
    }

    fn outbox_bytes(&self) -> usize {
        self.outbox.iter().map(Bytes::len).sum()
    }

    fn written(&mut self, bytes: usize) {
        if let Some(front) = self.outbox.front_mut() {
            let _ = front.split_to(bytes.min(front.len()));
            if front.is_empty() {
                self.outbox.pop_front();
            }
        }
    }
}

/// The control stream failed: the connection knows why, or will in a moment.
async fn lost(connection: &Connection) -> End {
    match timeout(LAST_WORDS, connection.closed()).await {
        Ok(end) => end,
        Err(_) => End::Misbehaved(PeerFault::Stream("the control stream was cut")),
    }
}

fn is_end(phase: &Phase) -> bool {
    matches!(phase, Phase::Receipted { .. } | Phase::Declined { .. } | Phase::Failed(_))
}

async fn answer_of(question: &mut Option<Pin<Box<dyn Future<Output = Answer> + Send>>>) -> Answer {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

/// A stream whose header is not here in time, or is none, is dropped, which stops it.
async fn read_header(mut stream: RecvStream) -> Option<(StreamHeader, RecvStream)> {
    let mut header = [0; HEADER_BYTES];
    timeout(FRAME, stream.read_exact(&mut header)).await.ok()?.ok()?;
    StreamHeader::parse(&header).map(|header| (header, stream))
}

fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tick
}
