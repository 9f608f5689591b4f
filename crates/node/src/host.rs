//! What this node does for its sessions: the answers to what the wire asks.
//!
//! Everything is checked here before it is believed, durable before it is answered, and answered from the store when it
//! is asked again. The peer learns a code; the detail stays in our trace.

mod taking;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use custodia_exchange::message::More;
use custodia_exchange::{
    AddCheckpoint, Code as WireCode, Cosigned, Event, GivenBack, Hello, Received, Refused, Signed, Taken, Waits,
};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::{KeyId, PublicKey};
use custodia_format::kind::Kind;
use custodia_format::note::Note;
use custodia_format::statement::Statement;
use custodia_format::text::LedgerName;
use custodia_index::Row;
use custodia_net::{Host, Incoming, Link, LinkNews, Outgoing, Peer};

use crate::author;
use crate::back::{self, Lost};
use crate::failure::{Code, Failure};
use crate::home;
use crate::node::Node;
use crate::operations::own_card;
use crate::peers::Authority;
use crate::watch::Watch;
use crate::witness::{self, At, Whose};
use crate::{allowance, ask, edge, gossip, outgoing, proofs, receive};

/// The node, as its sessions see it.
pub(crate) struct Station {
    node: Arc<Node>,
    /// Under which checkpoint a statement went to its reader, who may have cosigned that one meanwhile.
    sent_under: Mutex<HashMap<(KeyId, Hash), At>>,
    /// What peers that have lost a part of their history are being given back.
    giving: Mutex<HashMap<KeyId, Arc<Vec<Lost>>>>,
    /// Who wants to know how deliveries go.
    watch: Arc<Watch>,
    comes: Comes,
}

/// What a peer says that we log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// A release to us.
    Release,
    /// An answer to a release of ours.
    Answer,
}

/// How it comes to us what a peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// By itself, as often as the peer likes: an allowance bounds it.
    OverALink,
    /// On a medium that a person here has put in.
    OnAMedium,
}

impl Station {
    /// The station of a node; deliveries are reported to the watch.
    pub(crate) fn new(node: Arc<Node>, watch: Arc<Watch>) -> Self {
        Self { node, sent_under: Mutex::default(), giving: Mutex::default(), watch, comes: Comes::OverALink }
    }

    /// The same for what a person reads from a medium: however much it is, it was wanted.
    pub(crate) fn of_medium(node: Arc<Node>) -> Self {
        Self { comes: Comes::OnAMedium, ..Self::new(node, Arc::new(Watch::new())) }
    }

    /// Charges a peer for a statement of it that is not here yet.
    fn charge(&self, peer: &Authority, digest: &Hash, said: Said) -> Result<(), Refused> {
        let is_known = self.node.index().row(digest).map_err(|error| refused(error.into()))?.is_some();
        if is_known || self.comes == Comes::OnAMedium {
            return Ok(());
        }
        let allowances = self.node.allowances();
        match said {
            Said::Release => {
                allowances.may_release(&self.node, peer)?;
                // The release, and our answer to it.
                allowances.may_say(&self.node, peer, 2)?;
                // Counted before it is logged: others may be judged together with it.
                allowances.released(&peer.root, *digest);
                Ok(())
            }
            Said::Answer => allowances.may_say(&self.node, peer, 1),
        }
    }

    fn authority(&self, peer: &Peer) -> Result<Arc<Authority>, Refused> {
        self.node.peers().rooted(&peer.root).ok_or(Refused::new(WireCode::UnknownPeer))
    }

    /// Our statement as this peer gets it; remembers under what it went.
    fn send(&self, peer: &Peer, row: &Row) -> Result<Signed, Failure> {
        let (signed, under) = proofs::signed(&self.node, row, &peer.root)?;
        let mut sent = self.sent_under.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert((peer.root, row.digest), under);
        Ok(signed)
    }

    /// Our answers of some kinds to a statement, oldest first.
    fn own_answers(&self, to: &Hash, kinds: &[Kind]) -> Result<Vec<Row>, Failure> {
        let rows = self.node.index().answers(to)?;
        let wanted =
            |row: &Row| author::is_own(&self.node, row) && kinds.iter().any(|kind| kind.to_string() == row.kind);
        Ok(rows.into_iter().filter(wanted).collect())
    }
}

/// A statement as it travels where several do: an envelope, which is one line, LF, and the proof that its issuer's ledger
/// holds it.
pub(crate) fn document_of(signed: &Signed) -> Vec<u8> {
    [&signed.envelope, b"\n".as_slice(), &signed.tlog_proof].concat()
}

/// Reads what [`document_of`] printed.
pub(crate) fn signed_of(document: &[u8]) -> Option<Signed> {
    let end = document.iter().position(|byte| *byte == b'\n')?;
    let (envelope, proof) = document.split_at(end);
    Some(Signed { envelope: envelope.to_vec(), tlog_proof: proof.get(1..).unwrap_or_default().to_vec() })
}

/// Keeps the cards, delegations and revocations of an authority that it has learned, each with its proof.
pub(crate) fn learn(node: &Node, authority: &Authority, cards: &[Signed]) -> Result<(), Failure> {
    let in_memory = node.peers().rooted(&authority.root).map_or(0, |known| known.known().len());
    // An earlier one may have been written, and not been read again.
    let mut is_new = authority.known().len() != in_memory;
    for card in cards.iter().filter(|card| authority.knows(&card.digest())) {
        let path = node.home().peer(&authority.root).join(format!("{}.json", card.digest()));
        if !path.is_file() {
            home::write_durably(&path, &card.envelope)?;
            is_new = true;
        }
        proofs::keep_theirs(node, authority, card)?;
    }
    if is_new { node.peers().read_again(node.home(), &node.trust()?) } else { Ok(()) }
}

/// Our own root key: who we are to others.
pub(crate) fn us(node: &Node) -> Result<KeyId, Failure> {
    let (_, card) = own_card(node)?;
    own_root(&card).ok_or_else(|| Failure::new(Code::Internal, "Our card is no card."))
}

/// The root key of a card statement of ours.
pub(crate) fn own_root(card: &Statement) -> Option<KeyId> {
    match &card.body {
        Body::Card(card) => Some(crate::init::root_of(card).key_id()),
        _ => None,
    }
}

/// What a peer is told of a failure of ours or of its own; the rest goes to our trace.
pub(crate) fn refused(failure: Failure) -> Refused {
    let Failure { code, what, expected, found, .. } = &failure;
    tracing::warn!(code = code.as_str(), %what, ?expected, ?found, "a peer was refused");
    let code = match failure.code {
        Code::Signature | Code::Malformed => WireCode::Statement,
        Code::DiskFull | Code::Io => WireCode::Storage,
        Code::Quota => WireCode::Quota,
        Code::Poisoned | Code::RolledBack => WireCode::NotSigning,
        Code::UnknownPeer => WireCode::UnknownPeer,
        Code::UnknownPackage | Code::UnknownStatement | Code::NotYet => WireCode::NotHere,
        _ => WireCode::Internal,
    };
    Refused::new(code)
}

impl Host for Station {
    fn peer_of(&self, key: &PublicKey) -> Option<Peer> {
        let now = edge::now();
        let peers = self.node.peers().all();
        let peer = peers.iter().find(|peer| peer.transport_keys(now).contains(key))?;
        Some(peer.as_peer())
    }

    fn hello(&self, peer: &Peer) -> Result<Hello, Refused> {
        let (envelope, _) = own_card(&self.node).map_err(refused)?;
        let authority = self.authority(peer)?;
        let newest = self.node.ledger().checkpoint();
        let held = self.node.notes().of_peer(&peer.root, Whose::Theirs);
        let held_checkpoint = match held.last() {
            None => Vec::new(),
            Some(filed) => filed.read().map_err(refused)?.print().into_bytes(),
        };
        Ok(Hello {
            card: Hash::of(envelope.as_bytes()),
            origin: newest.checkpoint().origin.clone(),
            size: newest.checkpoint().size,
            held_card: authority.newest().map(|(digest, _)| *digest),
            held_checkpoint,
        })
    }

    fn meet(&self, peer: &Peer, hello: &Hello) -> Result<(), Refused> {
        if hello.held_checkpoint.is_empty() {
            return Ok(());
        }
        let note = Note::parse(&hello.held_checkpoint).map_err(|error| refused(error.into()))?;
        gossip::confront(&self.node, &peer.root, &note)
    }

    fn cards(&self, peer: &Peer, _: Option<Hash>) -> Result<Vec<Vec<u8>>, Refused> {
        let rows = author::own_cards(&self.node).map_err(refused)?;
        let document = |row| Ok(document_of(&proofs::signed(&self.node, row, &peer.root).map_err(refused)?.0));
        rows.iter().map(document).collect()
    }

    fn learn_cards(&self, peer: &Peer, newest: &Hash, cards: &[Vec<u8>]) -> Result<(), Refused> {
        let cards = cards.iter().map(|card| signed_of(card).ok_or(Refused::new(WireCode::Cards)));
        let cards = cards.collect::<Result<Vec<Signed>, Refused>>()?;
        let mut authority = Authority::clone(&*self.authority(peer)?);
        authority.learn(cards.iter().map(|card| card.envelope.clone()).collect());
        if authority.newest().is_none_or(|(digest, _)| digest != newest) {
            return Err(WireCode::Cards.into());
        }
        let known = authority.known().len() as u64;
        if known > allowance::CARDS {
            let failure = Failure::new(Code::Quota, "A peer has too many cards, delegations and revocations.");
            let found = format!("{known} of them");
            return Err(refused(failure.instead_of(format!("at most {}", allowance::CARDS), found)));
        }
        witness::check_finals(&self.node, &authority).map_err(|failure| {
            refused(failure);
            Refused::new(WireCode::Inconsistent)
        })?;
        learn(&self.node, &authority, &cards).map_err(refused)
    }

    fn notes(&self, peer: &Peer) -> Result<Vec<Vec<u8>>, Refused> {
        gossip::tell(&self.node, &peer.root).map_err(refused)
    }

    fn hear(&self, peer: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused> {
        gossip::hear(&self.node, peer, notes)
    }

    fn give_back(&self, peer: &Peer, from: u64) -> Result<GivenBack, Refused> {
        let giving = || self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        // Listed once and read page by page: a page that is asked for twice is given twice.
        let known = giving().get(&peer.root).filter(|_| from > 0).cloned();
        let list = match known {
            Some(list) => list,
            None => {
                let list = Arc::new(back::list(&self.node, &peer.root).map_err(refused)?);
                giving().insert(peer.root, list.clone());
                list
            }
        };
        back::page(&self.node, &peer.root, &list, from).map_err(refused)
    }

    fn take_back(&self, peer: &Peer, given: &GivenBack) -> Result<(), Refused> {
        back::take(&self.node, &peer.root, &given.documents).map_err(refused)?;
        if given.more == More::No {
            self.node.heard().mark(peer.root);
        }
        Ok(())
    }

    fn checkpoint(&self, _: &Peer) -> Result<Vec<u8>, Refused> {
        self.node.may_sign().map_err(refused)?;
        Ok(self.node.ledger().checkpoint().note().print().into_bytes())
    }

    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Refused> {
        self.node.ledger().consistency(old, new).map_err(|error| refused(error.into()))
    }

    fn witness(&self, peer: &Peer, add: &AddCheckpoint) -> Cosigned {
        let judged = self.authority(peer).map(|authority| {
            // What we forgot of others' ledgers is learned again before anything of them is cosigned.
            ask::before_signing(&self.node)?;
            witness::cosign(&self.node, &authority, add)
        });
        match judged {
            Ok(Ok(cosigned)) => cosigned,
            Ok(Err(failure)) => {
                refused(failure);
                Cosigned::Refused { status: 500 }
            }
            Err(_) => Cosigned::Refused { status: 404 },
        }
    }

    fn keep_cosignatures(&self, peer: &Peer, checkpoint: &[u8], lines: &[u8]) -> Result<(), Refused> {
        let authority = self.authority(peer)?;
        witness::keep_cosignatures(&self.node, &authority, checkpoint, lines).map_err(refused)
    }

    fn owed(&self, peer: &Peer) -> Vec<Hash> {
        owed(&self.node, peer).unwrap_or_else(|failure| {
            refused(failure);
            Vec::new()
        })
    }

    fn statement(&self, peer: &Peer, digest: &Hash) -> Result<Signed, Refused> {
        let row = author::row(&self.node, digest).map_err(|_| Refused::new(WireCode::NotHere))?;
        if !author::is_own(&self.node, &row) {
            return Err(WireCode::NotHere.into());
        }
        self.send(peer, &row).map_err(refused)
    }

    fn take(&self, peer: &Peer, received: &[Received]) -> Vec<Result<Taken, Refused>> {
        self.take_in(peer, received)
    }

    fn receipts(&self, peer: &Peer, releases: &[Hash]) -> Vec<Result<Signed, Refused>> {
        self.receipt_all(peer, releases)
    }

    fn settled(&self, peer: &Peer, digest: &Hash) -> Result<(), Refused> {
        let sent = self.sent_under.lock().unwrap_or_else(PoisonError::into_inner).remove(&(peer.root, *digest));
        // Settled for good only when the peer can show it under a checkpoint that it has cosigned itself, or never will.
        let notes = self.node.notes().of_peer(&peer.root, Whose::Ours);
        let current = self.node.config().ledger.generation;
        let for_good = |under: At| under.generation != current || notes.iter().any(|note| note.at == under);
        if sent.is_some_and(for_good) {
            // Lost, it costs one more confirmation.
            home::write_losable(&settled_path(&self.node, &peer.root, digest), b"").map_err(refused)?;
        }
        Ok(())
    }

    fn outgoing(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Outgoing>, Refused> {
        outgoing::open(&self.node, peer, release).map_err(refused)
    }

    fn incoming(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Incoming>, Refused> {
        receive::open(&self.node, peer, release).map_err(refused)
    }

    fn called(&self, link: Link) {
        if let Some(online) = self.node.online() {
            online.called(link);
        }
    }

    fn waits(&self, peer: &Peer, waits: Option<&Waits>) {
        self.watch.waits(peer.root, waits);
    }

    fn link(&self, peer: &Peer, news: &LinkNews) {
        self.node.meters().link(news);
        self.watch.journeys().link(peer.root, news);
    }

    fn observe(&self, peer: &Peer, event: &Event) {
        self.node.meters().handle(event);
        self.watch.tell(peer.root, event);
    }
}

/// Our answers to releases of this peer that it has not confirmed, oldest first.
pub(crate) fn owed(node: &Node, peer: &Peer) -> Result<Vec<Hash>, Failure> {
    let mut owed = Vec::new();
    for row in node.index().all()? {
        let Some(answered) = row.in_reply_to.filter(|_| author::is_own(node, &row)) else { continue };
        if settled_path(node, &peer.root, &row.digest).is_file() {
            continue;
        }
        let release = node.index().row(&answered)?.filter(|row| row.kind == Kind::Release.to_string());
        let ledger = release.map(|row| LedgerName::parse(&row.ledger)).transpose()?;
        let authority = node.peers().rooted(&peer.root);
        if ledger.is_some_and(|ledger| authority.is_some_and(|authority| authority.ledger(&ledger).is_some())) {
            owed.push(row.digest);
        }
    }
    Ok(owed)
}

/// A mark that a peer keeps a statement of ours, under a proof that it can show.
fn settled_path(node: &Node, peer: &KeyId, digest: &Hash) -> std::path::PathBuf {
    node.home().peer(peer).join("settled").join(digest.to_string())
}

#[cfg(test)]
mod tests;
