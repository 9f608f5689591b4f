//! A node in memory for tests of the wire: the authority of the exchange tests, packages as byte vectors, and transfers
//! that prove every chunk by its midstates and count what arrives.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

#[path = "../../../../tests/noise.rs"]
mod noise;
pub use noise::noise;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Cursor as Bytes, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use custodia_exchange::{
    AddCheckpoint, Answer, Code, Consigned, Cosigned, Cursor, Document, Event, GivenBack, Hello, Midstates, Question,
    Received, Refused, Signed, Taken, Wanted,
};
use custodia_format::Hash;
use custodia_format::key::{PublicKey, SigningKey};
use custodia_format::midstate::{
    self, ItemDigest, ItemHasher, Midstate, chunk_count, parse_midstates, print_midstates, prove_chunk,
};
use custodia_format::text::Label;
use custodia_net::{DocumentSink, Host, Incoming, ItemBytes, Outgoing, Peer};

use crate::authority::{Authority, package};

/// An item with what its record would say.
pub struct Item {
    pub bytes: Vec<u8>,
    pub digest: ItemDigest,
}

impl Item {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        let mut hasher = ItemHasher::new();
        hasher.update(&bytes);
        Arc::new(Self { bytes, digest: hasher.finish() })
    }
}

/// One node.
pub struct Node {
    pub authority: Mutex<Authority>,
    peers: Mutex<Vec<(PublicKey, Peer)>>,
    packages: Mutex<HashMap<Hash, Arc<Package>>>,
    pub transfers: Mutex<HashMap<Hash, Arc<Transfer>>>,
    pub events: Mutex<Vec<Event>>,
}

/// A package to be served: items by record number, and a manifest of our own making that lists them.
pub struct Package {
    root: Hash,
    manifest: Vec<u8>,
    items: BTreeMap<u64, Arc<Item>>,
    /// Records that are served with a changed byte, ever or once.
    pub corrupt: Mutex<HashMap<u64, Corrupt>>,
    pub served: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    Once,
    Always,
}

pub fn transport_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub fn peer(name: &str, key: &SigningKey) -> Peer {
    Peer { root: key.public().key_id(), name: Label::parse(name).unwrap() }
}

impl Node {
    pub fn new(authority: Authority) -> Arc<Self> {
        Arc::new(Self {
            authority: Mutex::new(authority),
            peers: Mutex::default(),
            packages: Mutex::default(),
            transfers: Mutex::default(),
            events: Mutex::default(),
        })
    }

    pub fn knows(&self, key: PublicKey, peer: Peer) {
        self.peers.lock().unwrap().push((key, peer));
    }

    /// Seals items in name and releases them. Record 0 is the package's own.
    pub fn release(&self, to: &str, items: &[Arc<Item>]) -> (Hash, Arc<Package>) {
        let items: BTreeMap<u64, Arc<Item>> = (1..).zip(items.iter().cloned()).collect();
        let mut manifest = String::new();
        for (record, item) in &items {
            let root = midstate::midstates_root(&item.digest.midstates);
            manifest.push_str(&format!("{record} {} {} {root}\n", item.bytes.len(), item.digest.sha256));
        }
        let manifest = manifest.into_bytes();
        let package_head = package(&manifest);
        let release = self.authority.lock().unwrap().release(to, package_head);
        let package = Arc::new(Package {
            root: package_head.root,
            manifest,
            items,
            corrupt: Mutex::default(),
            served: AtomicU64::new(0),
        });
        self.packages.lock().unwrap().insert(release, package.clone());
        (release, package)
    }

    pub fn transfer(&self, release: &Hash) -> Arc<Transfer> {
        self.transfers.lock().unwrap()[release].clone()
    }

    fn ask(&self, question: Question) -> Result<Answer, Refused> {
        match self.authority.lock().unwrap().answer(question) {
            Answer::Refused(refused) => Err(refused),
            answer => Ok(answer),
        }
    }
}

impl Node {
    /// The consignment, with what of this release is still to come.
    fn as_needed(&self, consigned: Consigned, release: &Signed) -> Consigned {
        let envelope = custodia_format::envelope::Envelope::parse(&release.envelope).unwrap();
        let root = custodia_format::statement::Statement::parse(&envelope).unwrap().head.package.unwrap().root;
        let mut transfers = self.transfers.lock().unwrap();
        let transfer = transfers.entry(release.digest()).or_insert_with(|| Transfer::new(root)).clone();
        match consigned {
            Consigned::Accepted { consignment, .. } => {
                let is_empty = transfer.state.lock().unwrap().items.is_empty();
                let needs = if is_empty { custodia_exchange::NeedsIt::Yes } else { custodia_exchange::NeedsIt::No };
                Consigned::Accepted { consignment, history: needs, manifest: needs }
            }
            declined @ Consigned::Declined { .. } => declined,
        }
    }
}

macro_rules! answers {
    ($answer:expr, $shape:pat => $value:expr) => {
        match $answer? {
            $shape => Ok($value),
            _ => Err(Refused::new(Code::Internal)),
        }
    };
}

impl Host for Node {
    fn peer_of(&self, key: &PublicKey) -> Option<Peer> {
        self.peers.lock().unwrap().iter().find(|(known, _)| known == key).map(|(_, peer)| peer.clone())
    }

    fn hello(&self, _: &Peer) -> Result<Hello, Refused> {
        answers!(self.ask(Question::Hello), Answer::Hello(hello) => hello)
    }

    fn meet(&self, _: &Peer, hello: &Hello) -> Result<(), Refused> {
        answers!(self.ask(Question::Meet(hello.clone())), Answer::Done => ())
    }

    fn cards(&self, _: &Peer, held: Option<Hash>) -> Result<Vec<Vec<u8>>, Refused> {
        answers!(self.ask(Question::Cards { held }), Answer::Cards(cards) => cards)
    }

    fn learn_cards(&self, _: &Peer, newest: &Hash, envelopes: &[Vec<u8>]) -> Result<(), Refused> {
        let envelopes = envelopes.to_vec();
        answers!(self.ask(Question::LearnCards { newest: *newest, envelopes }), Answer::Done => ())
    }

    fn checkpoint(&self, _: &Peer) -> Result<Vec<u8>, Refused> {
        answers!(self.ask(Question::Checkpoint), Answer::Checkpoint(note) => note)
    }

    fn notes(&self, _: &Peer) -> Result<Vec<Vec<u8>>, Refused> {
        answers!(self.ask(Question::Notes), Answer::Notes(notes) => notes)
    }

    fn hear(&self, _: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused> {
        answers!(self.ask(Question::Hear(notes.to_vec())), Answer::Done => ())
    }

    fn give_back(&self, _: &Peer, from: u64) -> Result<GivenBack, Refused> {
        answers!(self.ask(Question::GiveBack { from }), Answer::GivenBack(given) => given)
    }

    fn take_back(&self, _: &Peer, given: &GivenBack) -> Result<(), Refused> {
        answers!(self.ask(Question::TakeBack(given.clone())), Answer::Done => ())
    }

    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Refused> {
        answers!(self.ask(Question::Consistency { old, new }), Answer::Consistency(proof) => proof)
    }

    fn witness(&self, _: &Peer, add: &AddCheckpoint) -> Cosigned {
        match self.ask(Question::Witness(add.clone())) {
            Ok(Answer::Witnessed(cosigned)) => cosigned,
            _ => Cosigned::Refused { status: 404 },
        }
    }

    fn keep_cosignatures(&self, _: &Peer, checkpoint: &[u8], lines: &[u8]) -> Result<(), Refused> {
        let (checkpoint, lines) = (checkpoint.to_vec(), lines.to_vec());
        answers!(self.ask(Question::KeepCosignatures { checkpoint, lines }), Answer::Done => ())
    }

    fn owed(&self, _: &Peer) -> Vec<Hash> {
        self.authority.lock().unwrap().owed.clone()
    }

    fn statement(&self, _: &Peer, digest: &Hash) -> Result<Signed, Refused> {
        answers!(self.ask(Question::Statement { digest: *digest }), Answer::Statement(signed) => signed)
    }

    fn take(&self, _: &Peer, received: &[Received]) -> Vec<Result<Taken, Refused>> {
        let ask = || answers!(self.ask(Question::Take(received.to_vec())), Answer::Taken(taken) => taken);
        let taken = ask().unwrap_or_else(|refused| received.iter().map(|_| Err(refused)).collect());
        let needs = |(taken, received): (Result<Taken, Refused>, &Received)| match (taken?, received) {
            (Taken::Consigned(consigned), Received::Release(release)) => {
                Ok(Taken::Consigned(self.as_needed(consigned, release)))
            }
            (taken, _) => Ok(taken),
        };
        taken.into_iter().zip(received).map(needs).collect()
    }

    fn receipts(&self, _: &Peer, releases: &[Hash]) -> Vec<Result<Signed, Refused>> {
        let is_here = |release| self.transfer(release).missing() == 0;
        assert!(releases.iter().all(is_here), "a receipt before everything is proven");
        let question = Question::Receipts { releases: releases.to_vec() };
        let ask = || answers!(self.ask(question), Answer::Receipts(receipts) => receipts);
        ask().unwrap_or_else(|refused| releases.iter().map(|_| Err(refused)).collect())
    }

    fn settled(&self, _: &Peer, digest: &Hash) -> Result<(), Refused> {
        answers!(self.ask(Question::Settled { digests: vec![*digest] }), Answer::Done => ())
    }

    fn outgoing(&self, _: &Peer, release: &Hash) -> Result<Arc<dyn Outgoing>, Refused> {
        let package = self.packages.lock().unwrap().get(release).cloned();
        package.map(|package| Arc::new(Serving(package)) as _).ok_or_else(|| Code::NotHere.into())
    }

    fn incoming(&self, _: &Peer, release: &Hash) -> Result<Arc<dyn Incoming>, Refused> {
        Ok(self.transfer(release))
    }

    fn observe(&self, _: &Peer, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }
}

struct Serving(Arc<Package>);

impl Outgoing for Serving {
    fn root(&self) -> Hash {
        self.0.root
    }

    fn document(&self, document: Document) -> Result<(u64, Box<dyn Read + Send>), Refused> {
        let bytes = match document {
            Document::Manifest => self.0.manifest.clone(),
            Document::History => noise(1, 3_000_000),
        };
        Ok((bytes.len() as u64, Box::new(Bytes::new(bytes))))
    }

    fn item(&self, record: u64) -> Result<Box<dyn ItemBytes>, Refused> {
        let item = self.0.items.get(&record).cloned().ok_or(Refused::new(Code::NotHere))?;
        Ok(Box::new(Reading { record, item, package: self.0.clone() }))
    }
}

struct Reading {
    record: u64,
    item: Arc<Item>,
    package: Arc<Package>,
}

impl ItemBytes for Reading {
    fn size(&self) -> u64 {
        self.item.bytes.len() as u64
    }

    fn midstates(&self) -> std::io::Result<Vec<u8>> {
        Ok(print_midstates(&self.item.digest.midstates))
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let start = offset as usize;
        buffer.copy_from_slice(&self.item.bytes[start..start + buffer.len()]);
        self.package.served.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let mut corrupt = self.package.corrupt.lock().unwrap();
        if let Some(how) = corrupt.get(&self.record).copied() {
            buffer[0] ^= 1;
            if how == Corrupt::Once {
                corrupt.remove(&self.record);
            }
        }
        Ok(())
    }
}

/// A transfer to a node in memory; it outlives connections, as the disk would.
pub struct Transfer {
    root: Hash,
    pub state: Arc<Mutex<State>>,
    pub received: AtomicU64,
    pub received_again: AtomicU64,
    pub syncs: AtomicU64,
    /// Chunks after which the disk is slow, to cut connections in the middle.
    pub delay: Mutex<std::time::Duration>,
}

#[derive(Default)]
pub struct State {
    pub items: BTreeMap<u64, (u64, Hash, Hash)>,
    midstates: HashMap<u64, Arc<Vec<Midstate>>>,
    have: BTreeSet<(u64, u64)>,
    pub bytes: HashMap<u64, Vec<u8>>,
}

impl Transfer {
    fn new(root: Hash) -> Arc<Self> {
        Arc::new(Self {
            root,
            state: Arc::default(),
            received: AtomicU64::new(0),
            received_again: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            delay: Mutex::default(),
        })
    }

    pub fn missing(&self) -> usize {
        let state = self.state.lock().unwrap();
        let all: u64 = state.items.values().map(|(size, _, _)| chunk_count(*size)).sum();
        all as usize - state.have.len()
    }
}

impl Incoming for Transfer {
    fn root(&self) -> Hash {
        self.root
    }

    fn records(&self) -> u64 {
        self.state.lock().unwrap().items.len() as u64
    }

    fn document(&self, document: Document, bytes: u64) -> Result<Box<dyn DocumentSink>, Refused> {
        let (root, state) = (self.root, self.state.clone());
        Ok(Box::new(Sink { document, announced: bytes, bytes: Vec::new(), root, state }))
    }

    fn wants(&self, after: Cursor, limit: usize) -> Result<Vec<Wanted>, Refused> {
        let state = self.state.lock().unwrap();
        let mut page: Vec<Wanted> = Vec::new();
        for (&record, &(size, _, _)) in state.items.range(after.record..) {
            let first = if record == after.record { after.chunk } else { 0 };
            let held = size < midstate::CHUNK_BYTES || state.midstates.contains_key(&record);
            for chunk in (first..chunk_count(size)).filter(|chunk| !state.have.contains(&(record, *chunk))) {
                match page.last_mut() {
                    Some(last) if last.record == record && last.first_chunk + last.count == chunk => last.count += 1,
                    _ => page.push(Wanted {
                        record,
                        size,
                        first_chunk: chunk,
                        count: 1,
                        midstates: if held { Midstates::Held } else { Midstates::Wanted },
                    }),
                }
            }
            if page.len() >= limit {
                break;
            }
        }
        page.truncate(limit);
        Ok(page)
    }

    fn proven(&self) -> Result<u64, Refused> {
        let state = self.state.lock().unwrap();
        let bytes = |(record, chunk): &(u64, u64)| midstate::chunk_bytes(state.items[record].0, *chunk);
        Ok(state.have.iter().map(bytes).sum())
    }

    fn midstates(&self, record: u64, bytes: &[u8]) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap();
        let (size, _, root) = *state.items.get(&record).ok_or(Refused::new(Code::Chunk))?;
        let midstates = parse_midstates(bytes, size).map_err(|_| Refused::new(Code::Chunk))?;
        if midstate::midstates_root(&midstates) != root {
            return Err(Code::Chunk.into());
        }
        state.midstates.insert(record, Arc::new(midstates));
        Ok(())
    }

    fn chunk(&self, record: u64, chunk: u64, bytes: &[u8]) -> Result<(), Refused> {
        let delay = *self.delay.lock().unwrap();
        std::thread::sleep(delay);
        let (size, sha256, midstates) = {
            let state = self.state.lock().unwrap();
            let (size, sha256, _) = *state.items.get(&record).ok_or(Refused::new(Code::Chunk))?;
            (size, sha256, state.midstates.get(&record).cloned().unwrap_or_default())
        };
        prove_chunk(size, &sha256, &midstates, chunk, bytes).map_err(|_| Refused::new(Code::Chunk))?;
        let mut state = self.state.lock().unwrap();
        if state.have.insert((record, chunk)) {
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let item = state.bytes.entry(record).or_insert_with(|| vec![0; size as usize]);
            let start = (chunk * midstate::CHUNK_BYTES) as usize;
            item[start..start + bytes.len()].copy_from_slice(bytes);
        } else {
            self.received_again.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Refused> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Sink {
    document: Document,
    announced: u64,
    bytes: Vec<u8>,
    root: Hash,
    state: Arc<Mutex<State>>,
}

impl DocumentSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Refused> {
        assert_eq!(self.bytes.len() as u64, self.announced);
        if self.document == Document::History {
            return Ok(());
        }
        if package(&self.bytes).root != self.root {
            return Err(Code::Manifest.into());
        }
        let mut state = self.state.lock().unwrap();
        for line in std::str::from_utf8(&self.bytes).unwrap().lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let hash = |at: usize| Hash::from_hex(fields[at]).unwrap();
            state.items.insert(fields[0].parse().unwrap(), (fields[1].parse().unwrap(), hash(2), hash(3)));
        }
        Ok(())
    }
}
