//! A defect that a peer can reach: the host panics over what one peer sent. It costs that connection and nothing else.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use authority::Authority;
use custodia_exchange::{
    AddCheckpoint, Cosigned, Cursor, Document, Event, GivenBack, Hello, Received, Refused, Signed, Taken, Waits, Wanted,
};
use custodia_format::Hash;
use custodia_format::key::PublicKey;
use custodia_net::{ConnectError, DocumentSink, Endpoint, Host, Incoming, Link, Outgoing, Peer, Via};
use memory::{Item, Node, noise, peer, transport_key};

const GOOD: u8 = 1;
const BAD: u8 = 3;
const DESK: u8 = 2;

/// A host that panics in one of its methods when the bad peer is spoken of.
struct Panicking {
    node: Arc<Node>,
    at: &'static str,
    panics: AtomicUsize,
}

impl Panicking {
    fn meets(&self, place: &str, peer: &Peer) {
        if self.at == place && peer.root == transport_key(BAD).public().key_id() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            panic!("a defect in {place}");
        }
    }
}

/// Methods that are passed on, after a look at whom they are about.
macro_rules! passed_on {
    ($($name:ident(&self, peer: &Peer $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        $(fn $name(&self, peer: &Peer $(, $argument: $type)*) -> $result {
            self.meets(stringify!($name), peer);
            self.node.$name(peer $(, $argument)*)
        })*
    };
}

impl Host for Panicking {
    fn peer_of(&self, key: &PublicKey) -> Option<Peer> {
        let peer = self.node.peer_of(key)?;
        self.meets("peer_of", &peer);
        Some(peer)
    }

    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Refused> {
        self.node.consistency(old, new)
    }

    fn incoming(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Incoming>, Refused> {
        self.meets("incoming", peer);
        let incoming = self.node.incoming(peer, release)?;
        let is_bad = peer.root == transport_key(BAD).public().key_id();
        Ok(Arc::new(PanickingContent { incoming, at: if is_bad { self.at } else { "" } }))
    }

    passed_on! {
        hello(&self, peer: &Peer) -> Result<Hello, Refused>;
        meet(&self, peer: &Peer, hello: &Hello) -> Result<(), Refused>;
        cards(&self, peer: &Peer, held: Option<Hash>) -> Result<Vec<Vec<u8>>, Refused>;
        learn_cards(&self, peer: &Peer, newest: &Hash, envelopes: &[Vec<u8>]) -> Result<(), Refused>;
        notes(&self, peer: &Peer) -> Result<Vec<Vec<u8>>, Refused>;
        hear(&self, peer: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused>;
        give_back(&self, peer: &Peer, from: u64) -> Result<GivenBack, Refused>;
        take_back(&self, peer: &Peer, given: &GivenBack) -> Result<(), Refused>;
        checkpoint(&self, peer: &Peer) -> Result<Vec<u8>, Refused>;
        witness(&self, peer: &Peer, add: &AddCheckpoint) -> Cosigned;
        keep_cosignatures(&self, peer: &Peer, checkpoint: &[u8], lines: &[u8]) -> Result<(), Refused>;
        owed(&self, peer: &Peer) -> Vec<Hash>;
        statement(&self, peer: &Peer, digest: &Hash) -> Result<Signed, Refused>;
        take(&self, peer: &Peer, received: &[Received]) -> Vec<Result<Taken, Refused>>;
        receipts(&self, peer: &Peer, releases: &[Hash]) -> Vec<Result<Signed, Refused>>;
        settled(&self, peer: &Peer, digest: &Hash) -> Result<(), Refused>;
        outgoing(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Outgoing>, Refused>;
        waits(&self, peer: &Peer, waits: Option<&Waits>) -> ();
        observe(&self, peer: &Peer, event: &Event) -> ();
    }
}

struct PanickingContent {
    incoming: Arc<dyn Incoming>,
    at: &'static str,
}

impl PanickingContent {
    fn meets(&self, place: &str) {
        assert!(self.at != place, "a defect in {place}");
    }
}

impl Incoming for PanickingContent {
    fn root(&self) -> Hash {
        self.incoming.root()
    }

    fn records(&self) -> u64 {
        self.incoming.records()
    }

    fn document(&self, document: Document, bytes: u64) -> Result<Box<dyn DocumentSink>, Refused> {
        self.meets("document");
        self.incoming.document(document, bytes)
    }

    fn wants(&self, after: Cursor, limit: usize) -> Result<Vec<Wanted>, Refused> {
        self.meets("wants");
        self.incoming.wants(after, limit)
    }

    fn proven(&self) -> Result<u64, Refused> {
        self.meets("proven");
        self.incoming.proven()
    }

    fn midstates(&self, record: u64, midstates: &[u8]) -> Result<(), Refused> {
        self.meets("midstates");
        self.incoming.midstates(record, midstates)
    }

    fn chunk(&self, record: u64, chunk: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.meets("chunk");
        self.incoming.chunk(record, chunk, bytes)
    }

    fn sync(&self) -> Result<(), Refused> {
        self.incoming.sync()
    }
}

async fn calls(endpoint: &Endpoint, address: SocketAddr) -> Result<Link, ConnectError> {
    let desk = transport_key(DESK);
    endpoint.connect(peer("prosecutor.example", &desk), &[desk.public()], address, Via::Udp).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_over_one_peer_costs_its_connection_and_nothing_else() {
    for at in [
        "peer_of",
        "hello",
        "meet",
        "cards",
        "learn_cards",
        "notes",
        "hear",
        "checkpoint",
        "witness",
        "owed",
        "take",
        "incoming",
        "document",
        "wants",
        "midstates",
        "chunk",
        "receipts",
        "waits",
        "observe",
    ] {
        let (mut lab, mut desk) = (Authority::new("forensics.example", 1), Authority::new("prosecutor.example", 2));
        Authority::introduce(&mut lab, &mut desk);
        let (lab, desk) = (Node::new(lab), Node::new(desk));
        for seed in [GOOD, BAD] {
            desk.knows(transport_key(seed).public(), peer("forensics.example", &transport_key(seed)));
        }
        lab.knows(transport_key(DESK).public(), peer("prosecutor.example", &transport_key(DESK)));
        let host = Arc::new(Panicking { node: desk.clone(), at, panics: AtomicUsize::new(0) });
        let bind = |seed, host| Endpoint::bind("127.0.0.1:0".parse().unwrap(), transport_key(seed), host).unwrap();
        let serving = bind(DESK, host.clone());
        let address = serving.local_addr().unwrap();
        tokio::spawn(async move { serving.serve().await });
        let (good, bad) = (bind(GOOD, lab.clone()), bind(BAD, lab.clone()));

        let (release, _) = lab.release("prosecutor.example", &[Item::new(noise(1, 3 << 20))]);
        let steady = calls(&good, address).await.unwrap();
        for _ in 0..3 {
            let outcome = match calls(&bad, address).await {
                Ok(link) => link.deliver(release).await.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            // A defect while progress is told, or somebody watches, is after all that counts; the others cost the hand-over.
            assert!(outcome.is_some() || matches!(at, "waits" | "observe"), "{at}: delivered over a panic");
        }
        // A connection that was there before goes on, and a new one is served.
        let delivered = steady.deliver(release).await.unwrap_or_else(|error| panic!("{at}: {error}"));
        let again = calls(&good, address).await.unwrap().deliver(release).await.unwrap();
        assert_eq!(delivered.receipt, again.receipt, "{at}");
        assert!(
            host.panics.load(Ordering::Relaxed) > 0 || ["document", "wants", "midstates", "chunk"].contains(&at),
            "{at}"
        );
    }
}
