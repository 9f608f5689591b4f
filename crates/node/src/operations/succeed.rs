//! The next generation of this node's ledger, in place of one that is behind what others saw of it.
//!
//! Nothing is signed again over what was lost. The peers are asked how far they saw the old ledger; a root-signed card
//! ends it there and names the next; what is still held is logged again in that one, and every chain goes on under it.

mod held;

use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_format::Hash;
use custodia_format::body::{Body, Card, CardLedger};
use custodia_format::checkpoint::{Checkpoint, SignedCheckpoint, cosignature_time};
use custodia_format::entry::Entry;
use custodia_format::limits;
use custodia_format::note::{KeyType, Note, Vkey};
use custodia_ledger::{Folder, Health, found_next, salvage};
use tokio::runtime::Handle;

use super::answers::Succeeded;
use super::own_card;
use crate::api::{Phase, Progress};
use crate::ask::{self, Asked, Until};
use crate::author::{self, Draft, Heading};
use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::keys::{self, Passphrase};
use crate::outbox::Online;
use crate::witness::{self, Filed};
use crate::{Node, generations};
use held::Held;

/// How long each peer is waited for, which gives back what was lost here: years of statements over a slow link. One that is
/// not there is found out much sooner.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What opens the next generation.
#[derive(Debug, Clone, Default)]
pub struct Succession {
    /// What the root key lies under.
    pub passphrase: Option<String>,
    /// Peers that do not answer and are done without, by their names in the trust file.
    pub without: Vec<String>,
}

/// Opens the next generation of the ledger of a home on which no node runs. Blocks; the thread belongs to a runtime.
///
/// # Errors
/// [`Code::NotYet`] when the ledger signs, [`Code::PeerUnreachable`] when a peer does not tell what it saw, or what the
/// disk and the keys say. Nothing is changed then that others see.
pub fn succeed(home: &Home, asked: &Succession, tell: &mut dyn FnMut(Progress)) -> Result<Succeeded, Failure> {
    let node = Arc::new(Node::open(home)?);
    let ended = node.config().ledger.clone();
    let next = generations::after(&ended);
    let root = keys::open(home, keys::ROOT, &Passphrase::new(asked.passphrase.as_deref().unwrap_or_default()))?;
    tell(Progress::note(Phase::Ask, "asking the peers what they saw of this ledger"));
    let told = ask_peers(&node)?;
    refuse_silence(&told, &asked.without)?;
    refuse_without_need(&node)?;

    let last = last_checkpoint(&node)?;
    // What was committed last may stand in the journal alone, and this ledger writes nothing out any more.
    salvage(&Folder::open(home.path())?, node.ledger_vkey())?;
    let held = Held::of(&node)?;
    let key = keys::create_next(home, keys::LEDGER)?;
    let vkey = Vkey::new(&next.to_string(), KeyType::Ed25519, key.public())?;
    let (previous, card) = next_card(&node, &held, &last, CardLedger { origin: next.clone(), vkey, final_note: None })?;
    let draft = Draft::of(Body::Card(Box::new(card)));
    let heading = Heading { ledger: next.clone(), card: Some(previous) };
    let card = author::sign(&node, draft, heading, &[&root])?.print();

    let folder = generations::begin(home)?;
    let own = Entry::of(card.as_bytes());
    let mut told = Told { tell, done: 0, total: held.kept() + held.beside() };
    let entries = held.entries(&node).chain(std::iter::once(Ok(own))).inspect(|_| told.one_more());
    let founded = found_next(Folder::open(folder)?, &next.to_string(), key, entries)?;
    generations::commit(home, &next, &card)?;

    // Opening moves it into place.
    let_go(node);
    let node = Arc::new(Node::open(home)?);
    tell(Progress::note(Phase::Ask, "telling the peers"));
    let followed = ask_peers(&node)?;
    Ok(Succeeded {
        ended: ended.to_string(),
        covered: Checkpoint::parse_text(&last.text)?.size,
        ledger: next.to_string(),
        entries: founded.checkpoint().size,
        logged_again: held.kept(),
        found_beside: held.beside(),
        peers: followed.heard.iter().map(ToString::to_string).collect(),
        peers_later: followed.silent.iter().map(|(name, _)| name.to_string()).collect(),
    })
}

/// Closes a node once the sessions that were asked with it have let go of it: two would be one too many for the home.
fn let_go(node: Arc<Node>) {
    let began = Instant::now();
    while Arc::strong_count(&node) > 1 && began.elapsed() < LETTING_GO {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long that may take; after it the opening says that the home is locked, and the next one finishes all the same.
const LETTING_GO: Duration = Duration::from_secs(10);

/// How far the logging is.
struct Told<'a> {
    tell: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

impl Told<'_> {
    fn one_more(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(ENTRIES_TOLD) {
            let (items, items_total) = (self.done, self.total);
            (self.tell)(Progress::of(Phase::Log).items(items, items_total));
        }
    }
}

/// After how many entries that is told again.
const ENTRIES_TOLD: u64 = 65_536;

/// Goes online for as long as it takes to ask.
fn ask_peers(node: &Arc<Node>) -> Result<Asked, Failure> {
    let runtime = Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let online = Online::to_ask(node, std::net::SocketAddr::from(([0, 0, 0, 0], 0)))?;
    let asked = runtime.block_on(ask::all(node, &online, Until::Over, PATIENCE));
    runtime.block_on(online.close());
    Ok(asked)
}

/// A ledger that signs is not ended: its peers hold it to what it said.
fn refuse_without_need(node: &Node) -> Result<(), Failure> {
    match node.ledger().health() {
        Health::Signing => Err(Failure::new(Code::NotYet, "This ledger signs; there is nothing to succeed.")
            .at(&node.config().ledger)
            .instead_of("a ledger that is behind what its peers saw, or that its disk has damaged", "one that signs")
            .next("custodia doctor")),
        _ => Ok(()),
    }
}

/// Whoever saw more of the old ledger than its last checkpoint covers could prove less afterwards than before: nobody is
/// passed over unless its name was given.
fn refuse_silence(told: &Asked, without: &[String]) -> Result<(), Failure> {
    let Some((name, why)) = told.silent.iter().find(|(name, _)| !without.iter().any(|given| given == name.as_str()))
    else {
        return Ok(());
    };
    Err(Failure::new(Code::PeerUnreachable, "A peer has not told how far it saw this ledger.")
        .at(name)
        .instead_of("an answer of every peer", &why.what)
        .safe("Nothing was signed or moved; the ledger is as it was.")
        .next("run the same command again when that peer can be reached")
        .next(format!(
            "or, if it is gone for good or never met this node: --without {name}; what it alone saw is then cut off"
        )))
}

/// The last checkpoint of the old ledger that counts: the largest that anybody saw. Of one that went on by itself, the
/// largest that others cosigned.
fn last_checkpoint(node: &Node) -> Result<Note, Failure> {
    let generation = node.config().ledger.generation;
    let notes = node.notes().ours();
    let notes: Vec<Filed> = notes.iter().filter(|note| note.at.generation == generation).cloned().collect();
    let own = node.ledger_vkey();
    let held = node.ledger().checkpoint();
    let public = home::read_file(&node.home().path().join("ledger/checkpoint"), limits::NOTE_BYTES as u64)?;
    let public = public.and_then(|bytes| SignedCheckpoint::check(Note::parse(&bytes).ok()?, own).ok());
    let own_word = public.into_iter().chain([held]).max_by_key(|signed| signed.checkpoint().size);
    let Some(newest) = notes.last() else {
        return own_word.map(|signed| signed.note().clone()).ok_or_else(no_checkpoint);
    };
    let seen = SignedCheckpoint::check(newest.read()?, own)
        .map_err(|error| Failure::new(Code::Malformed, format!("A kept checkpoint does not count: {error}.")))?;
    let another = matches!(node.ledger().root(newest.at.size), Ok(root) if root != seen.checkpoint().root);
    match own_word {
        Some(ahead) if !another && ahead.checkpoint().size > newest.at.size => Ok(ahead.note().clone()),
        _ => cosigned(node, &notes, seen.note()),
    }
}

fn no_checkpoint() -> Failure {
    Failure::new(Code::Internal, "An open ledger has no checkpoint.")
}

/// A note with the ledger's line and all cosignatures by peers that verify.
fn cosigned(node: &Node, notes: &[Filed], of: &Note) -> Result<Note, Failure> {
    let own = node.ledger_vkey();
    let mut note = of.clone();
    let others = notes.iter().map(Filed::read).collect::<Result<Vec<_>, _>>()?;
    witness::join(&mut note, others.iter(), own);
    let peers = node.peers().all();
    let witnesses: Vec<&Vkey> = peers.iter().flat_map(|peer| peer.witness_keys()).collect();
    let lines = std::mem::take(&mut note.lines);
    for line in lines {
        let alone = Note { text: note.text.clone(), lines: vec![line.clone()] };
        if own.is_of(&line) || witnesses.iter().any(|key| matches!(cosignature_time(&alone, key), Ok(Some(_)))) {
            note.lines.push(line);
        }
    }
    Ok(note)
}

/// The card that ends the old ledger and names the next; and the digest of the card before it.
fn next_card(node: &Node, held: &Held, last: &Note, next: CardLedger) -> Result<(Hash, Card), Failure> {
    let (digest, mut card) = match held.newest_card() {
        Some(newer) => newer,
        None => {
            let (envelope, statement) = own_card(node)?;
            match statement.body {
                Body::Card(card) => (Hash::of(envelope.as_bytes()), *card),
                _ => return Err(Failure::new(Code::Internal, "A card's body is no card.")),
            }
        }
    };
    card.number += 1;
    card.previous = Some(digest);
    let ended = card.ledgers.iter_mut().find(|ledger| ledger.origin == node.config().ledger);
    ended.ok_or_else(|| Failure::new(Code::Internal, "Our card does not name our ledger."))?.final_note =
        Some(last.clone());
    card.ledgers.push(next);
    Ok((digest, card))
}
