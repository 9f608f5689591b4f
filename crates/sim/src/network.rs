//! The virtual network in place of QUIC: connections of two ends, each with the real session.
//!
//! The control stream keeps its order, data streams overtake each other and it, every message has its delay. A connection
//! is cut at any message, and one side may not notice. Beyond QUIC, as somebody in the middle could who broke it: frames
//! are lost, doubled, overtaken and altered, and so is content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custodia_exchange::message::{Message, Want, WantRange, Wish};
use custodia_exchange::stream::{First, StreamHeader};
use custodia_exchange::{
    CHUNK_BYTES, Code, Document, Event as Told, Frame, FrameReader, Midstates, Output, Phase, Refused, Session, Wanted,
};
use custodia_format::Hash;
use custodia_net::{Host, ItemBytes, Outgoing};

use crate::fetching::Receiving;
use crate::world::{Event, StreamEnd, World};

/// After so long without the other side a connection is over.
const IDLE_MS: u64 = 30_000;
/// How often both sides look at the time, and record what is proven.
const TICK_MS: u64 = 5_000;
/// Bytes of a data stream that arrive at once.
const SEGMENT: usize = 512 << 10;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) connection: u64,
    pub(crate) side: usize,
}

impl At {
    pub(crate) const fn other(self) -> Self {
        Self { connection: self.connection, side: 1 - self.side }
    }
}

/// A connection.
pub(crate) struct Connection {
    ends: [End; 2],
    /// Nothing gets through any more.
    is_cut: bool,
}

/// One end, as its node has it.
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) peer: usize,
    pub(crate) is_open: bool,
    pub(crate) session: Session,
    reader: FrameReader,
    pub(crate) is_asking: bool,
    /// When the last control bytes that it sent come in.
    arrives: u64,
    heard: u64,
    serving: BTreeMap<Hash, Arc<dyn Outgoing>>,
    pub(crate) receiving: BTreeMap<Hash, Receiving>,
    /// Streams whose header is not whole yet.
    pub(crate) nameless: BTreeMap<u64, Vec<u8>>,
    /// Streams that nobody asked for, whose bytes are dropped.
    pub(crate) strays: BTreeSet<u64>,
    dialled: bool,
}

impl End {
    fn new(node: usize, peer: usize, dialled: bool, now: u64) -> Self {
        Self {
            node,
            peer,
            is_open: true,
            session: Session::new(),
            reader: FrameReader::new(),
            is_asking: false,
            arrives: now,
            heard: now,
            serving: BTreeMap::new(),
            receiving: BTreeMap::new(),
            nameless: BTreeMap::new(),
            strays: BTreeSet::new(),
            dialled,
        }
    }
}

impl World<'_> {
    pub(crate) fn side(&self, at: At) -> Option<&End> {
        self.connections.get(&at.connection)?.ends.get(at.side).filter(|end| end.is_open)
    }

    pub(crate) fn side_mut(&mut self, at: At) -> Option<&mut End> {
        self.connections.get_mut(&at.connection)?.ends.get_mut(at.side).filter(|end| end.is_open)
    }

    pub(crate) fn host(&self, node: usize) -> Option<Arc<dyn Host>> {
        Some(self.stations.get(node)?.up.as_ref()?.host.clone())
    }

    pub(crate) fn is_reachable(&self, one: usize, other: usize) -> bool {
        let pair = (one.min(other), one.max(other));
        self.partitions.get(&pair).is_none_or(|until| *until <= self.now)
    }

    fn delay(&mut self) -> u64 {
        let plain = self.random.within(1, 40);
        let late = self.mix.delays;
        if !self.is_calm && self.random.permille(late) {
            self.tally.delays += 1;
            plain + self.random.within(100, 8000)
        } else {
            plain
        }
    }

    /// Whether this node has an open connection that it dialled to that peer.
    pub(crate) fn has_dialled(&self, node: usize, peer: usize) -> bool {
        let is_it = |end: &End| end.is_open && end.dialled && end.node == node && end.peer == peer;
        self.connections.values().any(|connection| connection.ends.iter().any(is_it))
    }

    pub(crate) fn has_connections(&self) -> bool {
        self.connections.values().any(|connection| connection.ends.iter().any(|end| end.is_open))
    }

    /// A node calls a peer that it can reach, and hands over these releases.
    pub(crate) fn dial(&mut self, node: usize, peer: usize, releases: Vec<Hash>) {
        let id = self.connections.len() as u64;
        self.note(&format!("{node} dials {peer}"));
        self.tally.connections += 1;
        let ends = [End::new(node, peer, true, self.now), End::new(peer, node, false, self.now)];
        self.connections.insert(id, Connection { ends, is_cut: false });
        let dialler = At { connection: id, side: 0 };
        if let Some(end) = self.side_mut(dialler) {
            releases.into_iter().for_each(|release| end.session.deliver(release));
        }
        self.settle(dialler);
        self.settle(dialler.other());
        self.after(TICK_MS, Event::Tick { connection: id });
    }

    /// Lets a session move until it waits for the outside.
    pub(crate) fn settle(&mut self, at: At) {
        loop {
            while let Some(output) = self.side_mut(at).and_then(|end| end.session.poll()) {
                self.act(at, output);
            }
            let Some(end) = self.side_mut(at) else { return };
            if !end.session.wants_frame() {
                return;
            }
            let handled = match end.reader.next_frame() {
                Ok(Some(frame)) => end.session.handle_frame(frame),
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = handled {
                self.fault(at, &fault.to_string());
                return;
            }
        }
    }

    fn act(&mut self, at: At, output: Output) {
        match output {
            Output::Send(frame) => self.send(at, &frame),
            Output::Ask(question) => {
                if let Some(end) = self.side_mut(at) {
                    end.is_asking = true;
                }
                let delay = self.random.below(5);
                self.after(delay, Event::Answer { at, question: Box::new(question) });
            }
            Output::Serve(want) => {
                let delay = self.random.below(5);
                self.after(delay, Event::Serve { at, want });
            }
            Output::StopServing { release } => {
                if let Some(end) = self.side_mut(at) {
                    end.serving.remove(&release);
                }
            }
            Output::Fetch(fetching) => self.begin_fetch(at, fetching),
            Output::Follows(follows) => self.follows(at, &follows),
            Output::StopFetching { release } => {
                self.let_go(at, &release);
            }
            Output::Event(Told::Sending { release, phase }) => self.tell(at, release, &phase),
            Output::Close(code) => self.close(at, &format!("{code}")),
            _ => {}
        }
    }

    fn tell(&mut self, at: At, release: Hash, phase: &Phase) {
        let Some(node) = self.side(at).map(|end| end.node) else { return };
        match phase {
            Phase::Receipted { receipt } => {
                self.note(&format!("{node} delivered {release}"));
                self.delivered(node, &release, receipt);
            }
            Phase::Declined { .. } => self.note(&format!("{node} was declined {release}")),
            Phase::Failed(refused) => self.note(&format!("{node} could not deliver {release}: {refused}")),
            _ => {}
        }
    }

    /// Puts a frame on the wire.
    fn send(&mut self, at: At, frame: &Frame) {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return };
        if let Ok(message) = Message::parse(frame) {
            self.on_wire(node, peer, &message, &frame.body);
        }
        let Ok(mut bytes) = frame.to_bytes() else { return };
        self.note(&format!("{node} sends {peer} {:?}, {} bytes", frame.kind, bytes.len()));
        self.tally.frames += 1;
        let (mut delay, mut times) = (self.delay(), 1);
        let mut overtakes = false;
        let rate = self.mix.frames;
        if !self.is_calm && self.random.permille(rate) {
            self.tally.frame_faults += 1;
            match self.random.below(4) {
                0 => times = 0,
                1 => times = 2,
                2 => overtakes = true,
                _ => {
                    let place = self.random.place(bytes.len());
                    let bit = self.random.below(8);
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= 1 << bit;
                    }
                }
            }
        }
        let now = self.now;
        if let Some(end) = self.side_mut(at)
            && !overtakes
        {
            end.arrives = end.arrives.max(now + delay);
            delay = end.arrives - now;
        }
        for _ in 0..times {
            self.after(delay, Event::Control { at: at.other(), bytes: bytes.clone() });
        }
    }

    fn passes(&mut self, at: At) -> bool {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return false };
        let is_cut = self.connections.get(&at.connection).is_none_or(|connection| connection.is_cut);
        if is_cut || !self.is_reachable(node, peer) {
            return false;
        }
        let now = self.now;
        if let Some(end) = self.side_mut(at) {
            end.heard = now;
        }
        true
    }

    pub(crate) fn control(&mut self, at: At, bytes: &[u8]) {
        if !self.passes(at) {
            // What a partition swallows of an ordered stream never comes: the connection is as good as cut.
            if let Some(connection) = self.connections.get_mut(&at.connection) {
                connection.is_cut = true;
            }
            return;
        }
        if let Some(end) = self.side_mut(at) {
            end.reader.push(bytes);
        }
        self.settle(at);
    }

    // --- serving ----------------------------------------------------------------------------------------------------

    pub(crate) fn serve(&mut self, at: At, want: Want) {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return };
        let (Some(host), Some(peer)) = (self.host(node), self.template.peers.get(peer).cloned()) else { return };
        self.edge_of(node);
        let opened = match self.side(at).and_then(|end| end.serving.get(&want.release).cloned()) {
            Some(open) => Ok(open),
            None => host.outgoing(&peer, &want.release),
        };
        let read = opened.and_then(|outgoing| {
            let read = read_wanted(&*outgoing, &want.what)?;
            Ok((outgoing, read))
        });
        drop(host);
        if !self.called(node, "serve", read.is_err()) {
            return;
        }
        match read {
            Ok((outgoing, Served { header, bytes, announced, end })) => {
                let Some(side) = self.side_mut(at) else { return };
                side.serving.insert(want.release, outgoing);
                if let Some((document, length)) = announced {
                    side.session.announce(want.release, document, length);
                }
                self.settle(at);
                self.send_stream(at, &header, &bytes, end.is_ok());
                if let Err(refused) = end {
                    self.serving_failed(at, &want.release, refused);
                }
            }
            Err(refused) => self.serving_failed(at, &want.release, refused),
        }
    }

    fn serving_failed(&mut self, at: At, release: &Hash, refused: Refused) {
        let Some(end) = self.side_mut(at) else { return };
        match end.session.serving_failed(*release, refused) {
            Ok(()) => self.settle(at),
            Err(fault) => self.fault(at, &fault.to_string()),
        }
    }

    fn send_stream(&mut self, at: At, header: &StreamHeader, bytes: &[u8], is_whole: bool) {
        self.tally.streams += 1;
        let stream = self.tally.streams;
        let (rate, stalls) = (self.mix.content, self.mix.stalls);
        let mut wire = [header.to_bytes().as_slice(), bytes].concat();
        if !self.is_calm && self.random.permille(rate) {
            self.tally.content_faults += 1;
            let place = self.random.place(wire.len());
            if let Some(byte) = wire.get_mut(place) {
                *byte ^= 0x10;
            }
        }
        let mut arrives = 0;
        let mut parts = wire.chunks(SEGMENT).peekable();
        while let Some(part) = parts.next() {
            let slow = self.slow_ms;
            arrives += self.delay() + self.random.within(slow / 4, slow);
            if !self.is_calm && self.random.permille(stalls) {
                self.tally.stalls += 1;
                arrives += self.random.within(10_000, 100_000);
            }
            let is_last = parts.peek().is_none();
            let end = is_last.then_some(if is_whole { StreamEnd::Whole } else { StreamEnd::Reset });
            self.after(arrives, Event::Stream { at: at.other(), stream, bytes: part.to_vec(), end });
        }
    }

    pub(crate) fn stream(&mut self, at: At, stream: u64, bytes: &[u8], end: Option<StreamEnd>) {
        if self.passes(at) {
            self.take_stream(at, stream, bytes, end);
        }
    }

    // --- ends -------------------------------------------------------------------------------------------------------

    /// The peer broke the protocol.
    pub(crate) fn fault(&mut self, at: At, what: &str) {
        self.close(at, what);
    }

    /// A side ends its connection; the other one learns it, if it can.
    pub(crate) fn close(&mut self, at: At, why: &str) {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return };
        self.note(&format!("{node} closes to {peer}: {why}"));
        self.forget(at, true);
        if self.is_reachable(node, peer) {
            let delay = self.delay();
            self.after(delay, Event::Over { at: at.other() });
        }
    }

    pub(crate) fn over(&mut self, at: At) {
        if let Some(node) = self.side(at).map(|end| end.node) {
            self.note(&format!("{node} lost its connection"));
            self.forget(at, true);
        }
    }

    /// A side lets go of its connection. What it has proven is recorded, if it still lives.
    fn forget(&mut self, at: At, records: bool) {
        let releases: Vec<Hash> = self.side(at).map(|end| end.receiving.keys().copied().collect()).unwrap_or_default();
        for release in releases.iter().filter(|_| records) {
            if !self.let_go(at, release) {
                return;
            }
        }
        if let Some(end) = self.side_mut(at) {
            end.is_open = false;
            end.serving.clear();
            end.receiving.clear();
            end.nameless.clear();
        }
        let is_gone = self.connections.get(&at.connection).is_some_and(|it| it.ends.iter().all(|end| !end.is_open));
        if is_gone && let Some(connection) = self.connections.get_mut(&at.connection) {
            connection.is_cut = true;
        }
    }

    /// All connections of a node are gone with it; whoever it talked to learns it later.
    pub(crate) fn hang_up(&mut self, node: usize) {
        let ends: Vec<At> =
            self.open_ends().into_iter().filter(|at| self.side(*at).is_some_and(|it| it.node == node)).collect();
        for at in ends {
            self.forget(at, false);
            if let Some(connection) = self.connections.get_mut(&at.connection) {
                connection.is_cut = true;
            }
            // A system that is up answers for a process that is gone; a machine that is off does not.
            if self.random.permille(500) {
                let delay = self.random.within(100, 3000);
                self.after(delay, Event::Over { at: at.other() });
            }
        }
    }

    pub(crate) fn open_ends(&self) -> Vec<At> {
        let sides = |id: &u64| [At { connection: *id, side: 0 }, At { connection: *id, side: 1 }];
        self.connections.keys().flat_map(sides).filter(|at| self.side(*at).is_some()).collect()
    }

    /// Cuts the line of a connection.
    pub(crate) fn cut(&mut self, connection: u64, half_open: bool) {
        if let Some(it) = self.connections.get_mut(&connection) {
            it.is_cut = true;
        }
        let skipped = half_open.then(|| self.random.place(2));
        for side in (0..2).filter(|side| Some(*side) != skipped) {
            let delay = self.random.within(1, 2000);
            self.after(delay, Event::Over { at: At { connection, side } });
        }
    }

    pub(crate) fn tick(&mut self, connection: u64) {
        let mut any = false;
        for side in 0..2 {
            let at = At { connection, side };
            let Some(end) = self.side(at) else { continue };
            any = true;
            let other_is_there = self.side(at.other()).is_some()
                && self.connections.get(&connection).is_some_and(|it| !it.is_cut)
                && self.is_reachable(end.node, end.peer);
            let (is_late, is_done) = (self.now > end.heard + IDLE_MS, end.dialled && end.session.is_idle());
            if !other_is_there && is_late {
                self.over(at);
            } else if is_done {
                self.close(at, "done");
            } else if other_is_there && self.now > end.heard + 4 * IDLE_MS && !self.is_calm {
                // Frames were lost that QUIC would have carried: nobody waits for ever.
                self.close(at, "nothing comes any more");
            } else {
                self.look_at_time(at);
            }
        }
        if any {
            self.after(TICK_MS, Event::Tick { connection });
        } else {
            self.connections.get_mut(&connection).into_iter().for_each(|it| it.is_cut = true);
        }
    }

    /// Connections that at least one side holds open.
    pub(crate) fn open_connections(&self) -> BTreeSet<u64> {
        self.open_ends().into_iter().map(|at| at.connection).collect()
    }
}

/// What was read for a want.
struct Served {
    header: StreamHeader,
    bytes: Vec<u8>,
    announced: Option<(Document, u64)>,
    /// Whether all of it could be read.
    end: Result<(), Refused>,
}

fn read_wanted(outgoing: &dyn Outgoing, what: &Wish) -> Result<Served, Refused> {
    match what {
        Wish::Document(document) => {
            let (length, mut reader) = outgoing.document(*document)?;
            let mut bytes = Vec::new();
            let read = std::io::Read::read_to_end(&mut reader, &mut bytes);
            let end = read.map(drop).map_err(|_| Refused::from(Code::Storage));
            let header = StreamHeader { root: outgoing.root(), first: First::Document(*document) };
            Ok(Served { header, bytes, announced: Some((*document, length)), end })
        }
        Wish::Ranges(ranges) => {
            let first = ranges.first().ok_or(Refused::from(Code::Stream))?;
            let first = First::Chunks { record: first.record, first_chunk: first.first_chunk, count: first.count };
            let header = StreamHeader { root: outgoing.root(), first };
            let mut bytes = Vec::new();
            let end = ranges.iter().try_for_each(|range| read_range(outgoing, range, &mut bytes));
            Ok(Served { header, bytes, announced: None, end })
        }
    }
}

fn read_range(outgoing: &dyn Outgoing, range: &WantRange, out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut item: Box<dyn ItemBytes> = outgoing.item(range.record)?;
    let piece = Wanted {
        record: range.record,
        size: item.size(),
        first_chunk: range.first_chunk,
        count: u64::from(range.count),
        midstates: if range.midstates { Midstates::Wanted } else { Midstates::Held },
    };
    let storage = |_| Refused::from(Code::Storage);
    if piece.midstates_bytes() > 0 {
        out.extend(item.midstates().map_err(storage)?);
    }
    for chunk in piece.first_chunk..piece.first_chunk.saturating_add(piece.count) {
        let at = out.len();
        out.resize(at + usize::try_from(piece.chunk_bytes(chunk)).unwrap_or(0), 0);
        item.read_exact_at(chunk * CHUNK_BYTES, out.get_mut(at..).unwrap_or_default()).map_err(storage)?;
    }
    Ok(())
}
