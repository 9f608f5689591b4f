//! One transfer as its receiver drives it: the steps of `custodia-net`'s fetcher, with virtual streams and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custodia_exchange::fetch::{BATCHES_UNDER_WAY, Batch, Fetch, PAGE, Step};
use custodia_exchange::message::{Follows, Wish};
use custodia_exchange::stream::{First, HEADER_BYTES, StreamHeader};
use custodia_exchange::{Code, Document, Fetching, NeedsIt, Refused};
use custodia_format::Hash;
use custodia_net::Incoming;

use crate::network::At;
use crate::world::{StreamEnd, World};

/// Time in which something of what was asked for must arrive.
const PATIENCE_MS: u64 = 60_000;

/// A transfer that is being fetched.
pub(crate) struct Receiving {
    incoming: Arc<dyn Incoming>,
    /// The documents that are still to come, and their lengths where they were announced.
    documents: BTreeMap<Document, Option<u64>>,
    /// Documents that have come in whole and wait for their announcement.
    whole: BTreeMap<Document, Vec<u8>>,
    plan: Fetch,
    expected: Vec<(StreamHeader, Batch)>,
    streams: BTreeMap<u64, Coming>,
    /// Chunks that were taken and are not recorded yet.
    taken: BTreeSet<(u64, u64)>,
    moved: u64,
}

/// A data stream on its way in.
enum Coming {
    Document(Document, Vec<u8>),
    Batch(Reading),
}

/// How far a batch has come.
struct Reading {
    batch: Batch,
    bytes: Vec<u8>,
    piece: usize,
    chunk: u64,
    has_midstates: bool,
}

/// What came in whole.
enum Load {
    Midstates { record: u64, bytes: Vec<u8> },
    Chunk { record: u64, chunk: u64, bytes: Vec<u8> },
}

impl Reading {
    fn new(batch: Batch) -> Self {
        Self { batch, bytes: Vec::new(), piece: 0, chunk: 0, has_midstates: false }
    }

    /// The next thing that is whole.
    fn next(&mut self) -> Option<Load> {
        let piece = *self.batch.pieces.get(self.piece)?;
        let midstates = usize::try_from(piece.midstates_bytes()).ok()?;
        if midstates > 0 && !self.has_midstates {
            let bytes = self.take(midstates)?;
            self.has_midstates = true;
            return Some(Load::Midstates { record: piece.record, bytes });
        }
        let chunk = piece.first_chunk + self.chunk;
        let bytes = self.take(usize::try_from(piece.chunk_bytes(chunk)).ok()?)?;
        self.chunk += 1;
        if self.chunk >= piece.count {
            (self.piece, self.chunk, self.has_midstates) = (self.piece + 1, 0, false);
        }
        Some(Load::Chunk { record: piece.record, chunk, bytes })
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        (self.bytes.len() >= count).then(|| self.bytes.drain(..count).collect())
    }

    fn is_done(&self) -> bool {
        self.piece >= self.batch.pieces.len() && self.bytes.is_empty()
    }
}

impl World<'_> {
    pub(crate) fn begin_fetch(&mut self, at: At, fetching: Fetching) {
        let Some((node, peer)) = self.side(at).map(|end| (end.node, end.peer)) else { return };
        let (Some(host), Some(peer)) = (self.host(node), self.template.peers.get(peer).cloned()) else { return };
        self.edge_of(node);
        let opened = host.incoming(&peer, &fetching.release);
        drop(host);
        if !self.called(node, "open transfer", opened.is_err()) {
            return;
        }
        let incoming = match opened {
            Ok(incoming) => incoming,
            Err(refused) => return self.report(at, &fetching.release, Err(refused)),
        };
        let documents: BTreeMap<Document, Option<u64>> =
            [(Document::History, fetching.history), (Document::Manifest, fetching.manifest)]
                .into_iter()
                .filter(|(_, needs)| *needs == NeedsIt::Yes)
                .map(|(document, _)| (document, None))
                .collect();
        let wanted: Vec<Document> = documents.keys().copied().collect();
        let receiving = Receiving {
            incoming,
            documents,
            whole: BTreeMap::new(),
            plan: Fetch::new(),
            expected: Vec::new(),
            streams: BTreeMap::new(),
            taken: BTreeSet::new(),
            moved: self.now,
        };
        let Some(end) = self.side_mut(at) else { return };
        end.receiving.insert(fetching.release, receiving);
        for document in &wanted {
            end.session.want(fetching.release, Wish::Document(*document));
        }
        if wanted.is_empty() {
            self.advance(at, &fetching.release);
        }
    }

    pub(crate) fn follows(&mut self, at: At, follows: &Follows) {
        let Some(end) = self.side_mut(at) else { return };
        let Some(receiving) = end.receiving.get_mut(&follows.release) else { return };
        if let Some(length) = receiving.documents.get_mut(&follows.document) {
            *length = Some(follows.bytes);
        }
        self.finish_documents(at, &follows.release);
    }

    /// Gives every document that is whole and announced to the node.
    fn finish_documents(&mut self, at: At, release: &Hash) {
        loop {
            let Some(end) = self.side_mut(at) else { return };
            let node = end.node;
            let Some(receiving) = end.receiving.get_mut(release) else { return };
            let ready = receiving.documents.iter().find_map(|(document, length)| {
                Some((*document, (*length)?)).filter(|(document, _)| receiving.whole.contains_key(document))
            });
            let Some((document, length)) = ready else { return };
            let bytes = receiving.whole.remove(&document).unwrap_or_default();
            receiving.documents.remove(&document);
            let (incoming, is_last) = (receiving.incoming.clone(), receiving.documents.is_empty());
            if bytes.len() as u64 != length {
                return self.fault(at, "a document of another length than announced");
            }
            self.edge_of(node);
            let kept = incoming.document(document, length).and_then(|mut sink| {
                bytes.chunks(1 << 20).try_for_each(|part| sink.write(part))?;
                sink.finish()
            });
            drop(incoming);
            if !self.called(node, "document", kept.is_err()) {
                return;
            }
            if let Err(refused) = kept {
                return self.end_fetch(at, release, Err(refused));
            }
            if is_last {
                return self.advance(at, release);
            }
        }
    }

    pub(crate) fn take_stream(&mut self, at: At, stream: u64, bytes: &[u8], ended: Option<StreamEnd>) {
        let Some(end) = self.side_mut(at) else { return };
        let known = end.receiving.iter().find(|(_, it)| it.streams.contains_key(&stream)).map(|(release, _)| *release);
        let (release, rest) = match known {
            Some(release) => (release, bytes.to_vec()),
            None => {
                if end.strays.contains(&stream) {
                    return;
                }
                let gathered = end.nameless.entry(stream).or_default();
                gathered.extend_from_slice(bytes);
                let Some((header, rest)) = gathered.split_first_chunk::<HEADER_BYTES>() else { return };
                let (header, rest) = (StreamHeader::parse(header), rest.to_vec());
                end.nameless.remove(&stream);
                let Some(header) = header else {
                    end.strays.insert(stream);
                    return;
                };
                match end.receiving.iter_mut().find_map(|(release, it)| it.expect(&header, stream).then_some(*release))
                {
                    Some(release) => (release, rest),
                    None if end.receiving.is_empty() => {
                        end.strays.insert(stream);
                        return;
                    }
                    None => return self.fault(at, "a stream that was not asked for"),
                }
            }
        };
        self.take_bytes(at, &release, stream, &rest, ended);
    }

    fn take_bytes(&mut self, at: At, release: &Hash, stream: u64, bytes: &[u8], ended: Option<StreamEnd>) {
        let now = self.now;
        let Some(end) = self.side_mut(at) else { return };
        let node = end.node;
        let Some(receiving) = end.receiving.get_mut(release) else { return };
        receiving.moved = now;
        match receiving.streams.remove(&stream) {
            Some(Coming::Document(document, mut gathered)) => {
                gathered.extend_from_slice(bytes);
                match ended {
                    None => drop(receiving.streams.insert(stream, Coming::Document(document, gathered))),
                    Some(StreamEnd::Whole) => {
                        receiving.whole.insert(document, gathered);
                        self.finish_documents(at, release);
                    }
                    Some(StreamEnd::Reset) => self.end_fetch(at, release, Err(Refused::retry(Code::Internal, 1))),
                }
            }
            Some(Coming::Batch(mut reading)) => {
                reading.bytes.extend_from_slice(bytes);
                let incoming = receiving.incoming.clone();
                while let Some(load) = reading.next() {
                    if !self.take_load(at, node, release, &*incoming, load) {
                        return;
                    }
                }
                drop(incoming);
                let is_done = reading.is_done();
                let Some(receiving) = self.side_mut(at).and_then(|end| end.receiving.get_mut(release)) else { return };
                match ended {
                    None => drop(receiving.streams.insert(stream, Coming::Batch(reading))),
                    Some(StreamEnd::Whole) if !is_done => self.fault(at, "a stream of another length than wanted"),
                    Some(_) => {
                        receiving.plan.arrived();
                        self.advance(at, release);
                    }
                }
            }
            None => {}
        }
    }

    /// Has one thing proven and written. Whether the transfer goes on.
    fn take_load(&mut self, at: At, node: usize, release: &Hash, incoming: &dyn Incoming, load: Load) -> bool {
        self.edge_of(node);
        let (what, taken) = match &load {
            Load::Midstates { record, bytes } => ("midstates", incoming.midstates(*record, bytes)),
            Load::Chunk { record, chunk, bytes } => ("chunk", incoming.chunk(*record, *chunk, bytes)),
        };
        if !self.called(node, what, taken.is_err()) {
            return false;
        }
        match taken {
            Ok(()) => {
                let Some(receiving) = self.side_mut(at).and_then(|end| end.receiving.get_mut(release)) else {
                    return false;
                };
                match load {
                    Load::Midstates { record, .. } => receiving.plan.midstates_kept(record),
                    Load::Chunk { record, chunk, .. } => drop(receiving.taken.insert((record, chunk))),
                }
                true
            }
            // It did not prove: it is asked for again.
            Err(refused) if refused.code == Code::Chunk => {
                self.tally.unproven += 1;
                true
            }
            Err(refused) => {
                self.end_fetch(at, release, Err(refused));
                false
            }
        }
    }

    /// Goes on with the plan until it waits.
    fn advance(&mut self, at: At, release: &Hash) {
        loop {
            let Some(end) = self.side_mut(at) else { return };
            let node = end.node;
            let Some(receiving) = end.receiving.get_mut(release) else { return };
            match receiving.plan.step(BATCHES_UNDER_WAY) {
                Step::List(cursor) => {
                    let incoming = receiving.incoming.clone();
                    self.edge_of(node);
                    let listed = incoming.wants(cursor, PAGE);
                    drop(incoming);
                    if !self.called(node, "list", listed.is_err()) {
                        return;
                    }
                    let page = match listed {
                        Ok(page) => page,
                        Err(refused) => return self.end_fetch(at, release, Err(refused)),
                    };
                    let Some(receiving) = self.side_mut(at).and_then(|end| end.receiving.get_mut(release)) else {
                        return;
                    };
                    match receiving.plan.listed(page) {
                        None => {}
                        Some(Step::Complete) => return self.end_fetch(at, release, Ok(())),
                        Some(_) => return self.end_fetch(at, release, Err(Code::Chunk.into())),
                    }
                }
                Step::Ask(batch) => {
                    let Some(first) = batch.ranges().first().copied() else { return };
                    let first =
                        First::Chunks { record: first.record, first_chunk: first.first_chunk, count: first.count };
                    let header = StreamHeader { root: receiving.incoming.root(), first };
                    receiving.expected.push((header, batch.clone()));
                    end.session.want(*release, Wish::Ranges(batch.ranges()));
                    self.wanted(node, release, &batch);
                }
                Step::Wait => return self.settle(at),
                Step::Complete => return self.end_fetch(at, release, Ok(())),
                Step::GiveUp(_) => return self.end_fetch(at, release, Err(Code::Chunk.into())),
            }
        }
    }

    fn end_fetch(&mut self, at: At, release: &Hash, end: Result<(), Refused>) {
        if end.is_err() {
            if !self.let_go(at, release) {
                return;
            }
        } else if let Some(side) = self.side_mut(at) {
            side.receiving.remove(release);
        }
        self.report(at, release, end);
    }

    fn report(&mut self, at: At, release: &Hash, end: Result<(), Refused>) {
        let Some(side) = self.side_mut(at) else { return };
        match side.session.fetched(*release, end) {
            Ok(()) => self.settle(at),
            Err(fault) => self.fault(at, &fault.to_string()),
        }
    }

    /// Ends a fetch, and records what is proven of it. Whether the machine is still up.
    pub(crate) fn let_go(&mut self, at: At, release: &Hash) -> bool {
        let goes_on = self.record(at, release);
        if let Some(end) = self.side_mut(at) {
            end.receiving.remove(release);
        }
        goes_on
    }

    fn record(&mut self, at: At, release: &Hash) -> bool {
        let Some(end) = self.side(at) else { return true };
        let node = end.node;
        let Some(incoming) = end.receiving.get(release).map(|receiving| receiving.incoming.clone()) else {
            return true;
        };
        self.edge_of(node);
        let recorded = incoming.sync();
        drop(incoming);
        if !self.called(node, "record", recorded.is_err()) {
            return false;
        }
        let Some(receiving) = self.side_mut(at).and_then(|end| end.receiving.get_mut(release)) else { return true };
        let taken = std::mem::take(&mut receiving.taken);
        if recorded.is_ok() {
            let had_errors = self.stations.get(node).is_some_and(|it| it.disk.injected().errors > 0);
            self.promises.recorded(node, release, taken, had_errors);
        }
        true
    }

    /// Records what is proven, and loses patience where nothing comes.
    pub(crate) fn look_at_time(&mut self, at: At) {
        let releases: Vec<Hash> = self.side(at).map(|end| end.receiving.keys().copied().collect()).unwrap_or_default();
        for release in releases {
            if !self.record(at, &release) {
                return;
            }
            let moved = self.side(at).and_then(|end| end.receiving.get(&release)).map_or(self.now, |it| it.moved);
            if self.now > moved + PATIENCE_MS {
                self.end_fetch(at, &release, Err(Refused::retry(Code::TooSlow, 60)));
            }
        }
    }
}

impl Receiving {
    /// Whether a stream with this header was asked for; if so, it is taken from now on.
    fn expect(&mut self, header: &StreamHeader, stream: u64) -> bool {
        if header.root != self.incoming.root() {
            return false;
        }
        let coming = match header.first {
            First::Document(document) => {
                let is_coming =
                    self.streams.values().any(|it| matches!(it, Coming::Document(it, _) if *it == document));
                if is_coming || !self.documents.contains_key(&document) || self.whole.contains_key(&document) {
                    return false;
                }
                Coming::Document(document, Vec::new())
            }
            First::Chunks { .. } => {
                let Some(place) = self.expected.iter().position(|(it, _)| it == header) else { return false };
                Coming::Batch(Reading::new(self.expected.remove(place).1))
            }
        };
        self.streams.insert(stream, coming);
        true
    }
}
