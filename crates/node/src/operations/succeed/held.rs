//! What a home still holds of its ledger's documents: those of its own entries, and those that lie on the shelves without
//! an entry, because the entry was lost with a newer copy or because a peer gave them back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use custodia_format::body::{Body, Card};
use custodia_format::entry::Entry;
use custodia_format::kind::Kind;
use custodia_format::statement::{Head, Statement};
use custodia_format::{Hash, limits};
use custodia_ledger::{ReadError, Shelf};

use crate::Node;
use crate::failure::{Code, Failure};
use crate::peers::Authority;
use crate::{author, home, init};

/// The documents that the next generation holds.
pub(super) struct Held {
    /// How many of the ledger's own entries have their documents.
    kept: u64,
    /// Well-signed statements that lie beside, in the order in which they were said.
    beside: Vec<Beside>,
}

/// A statement without an entry.
struct Beside {
    digest: Hash,
    entry: Entry,
    head: Head,
    card: Option<Card>,
}

impl Held {
    /// Looks at the shelves.
    pub(super) fn of(node: &Node) -> Result<Self, Failure> {
        let kept = (0..node.ledger().size()).filter(|index| entry(node, *index).is_some()).count() as u64;
        Ok(Self { kept, beside: beside(node)? })
    }

    /// How many of the ledger's own entries come along.
    pub(super) const fn kept(&self) -> u64 {
        self.kept
    }

    /// How many statements without an entry come along.
    pub(super) const fn beside(&self) -> u64 {
        self.beside.len() as u64
    }

    /// All entries for the next generation, in order: the ledger's own, then those that lay beside.
    pub(super) fn entries<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = Result<Entry, ReadError>> + 'a {
        let own = (0..node.ledger().size()).filter_map(|index| entry(node, index));
        own.chain(self.beside.iter().map(|beside| beside.entry)).map(Ok)
    }

    /// The newest card of ours that lay beside, and its digest.
    pub(super) fn newest_card(&self) -> Option<(Hash, Card)> {
        let cards = self.beside.iter().filter_map(|beside| Some((beside.digest, beside.card.clone()?)));
        cards.max_by_key(|(_, card)| card.number)
    }
}

/// An entry of the ledger whose document is still here. One that cannot be read does not come along by its index; its
/// document does, as one that lies beside.
fn entry(node: &Node, index: u64) -> Option<Entry> {
    let entry = node.ledger().entry(index).ok()?;
    let home = node.home();
    (home.statement(&entry.sha256).is_file() || home.anchor(&entry.sha256).is_file()).then_some(entry)
}

/// The statements on the shelf that no readable entry names and that we or a peer signed.
fn beside(node: &Node) -> Result<Vec<Beside>, Failure> {
    let mut envelopes = Vec::new();
    for path in files(&node.home().path().join(Shelf::Statement.folder()))? {
        let Some(digest) = path.file_stem().and_then(|stem| stem.to_str()).and_then(Hash::from_hex) else { continue };
        if node.ledger().find(&digest)?.is_none_or(|index| entry(node, index).is_none()) {
            envelopes.extend(home::read_file(&path, limits::ENVELOPE_BYTES as u64)?.map(|bytes| (digest, bytes)));
        }
    }
    let ours = ourselves(node, &envelopes)?;
    let peers = node.peers().all();
    let mut found = Vec::new();
    for (digest, bytes) in envelopes {
        let checked = [&ours].into_iter().chain(peers.iter().map(AsRef::as_ref)).find_map(|who| who.check(&bytes).ok());
        let Some(Statement { head, body }) = checked.filter(|_| Hash::of(&bytes) == digest) else {
            tracing::warn!(%digest, "a file among the statements is none of ours or of a peer; it stays where it is");
            continue;
        };
        let card = match body {
            Body::Card(card) if author::is_ours(node, &head.ledger) => Some(*card),
            _ => None,
        };
        found.push(Beside { digest, entry: Entry::of(&bytes), head, card });
    }
    Ok(in_order(found))
}

/// The order in which statements were said, as far as they tell: each after what it answers and after the one before it in its
/// chain; else by the clocks of those who said them.
fn in_order(mut found: Vec<Beside>) -> Vec<Beside> {
    found.sort_by_key(|beside| (beside.head.issued_at, beside.head.sequence, beside.digest));
    let link = |head: &Head, sequence: u64| Some((head.ledger.custodian(), head.package?.root, sequence));
    let by_digest: HashMap<Hash, usize> = found.iter().map(|beside| beside.digest).zip(0..).collect();
    let links = found.iter().zip(0..).filter_map(|(beside, at)| Some((link(&beside.head, beside.head.sequence?)?, at)));
    let by_link: HashMap<_, usize> = links.collect();
    let before = |at: usize| {
        let head = found.get(at).map(|beside| &beside.head);
        let answered = head.and_then(|head| by_digest.get(&head.in_reply_to?));
        let previous = head.and_then(|head| by_link.get(&link(head, head.sequence?.checked_sub(1)?)?));
        [answered, previous].into_iter().flatten().copied()
    };
    // Each is entered once, so that statements that name each other in a circle end somewhere.
    let mut entered = vec![false; found.len()];
    let mut enter = |at: usize| entered.get_mut(at).is_some_and(|entered| !std::mem::replace(entered, true));
    let mut order = Vec::with_capacity(found.len());
    for start in 0..found.len() {
        let mut path: Vec<usize> = enter(start).then_some(start).into_iter().collect();
        while let Some(at) = path.last().copied() {
            match before(at).find(|earlier| enter(*earlier)) {
                Some(earlier) => path.push(earlier),
                None => order.extend(path.pop()),
            }
        }
    }
    let mut found: Vec<Option<Beside>> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| found.get_mut(at)?.take()).collect()
}

/// This authority, by all its cards, delegations and revocations that are here.
fn ourselves(node: &Node, beside: &[(Hash, Vec<u8>)]) -> Result<Authority, Failure> {
    let mut envelopes: Vec<Vec<u8>> = beside.iter().map(|(_, bytes)| bytes.clone()).collect();
    for row in author::own_cards(node)? {
        envelopes.extend(node.envelope(&row.digest)?);
    }
    let missing = || Failure::new(Code::NoHome, "This node has no card.").at(node.home().path().display());
    let first = author::own_of_kind(node, &Kind::Card)?.first().map(|row| row.digest).ok_or_else(missing)?;
    match author::statement(node, &first)?.ok_or_else(missing)? {
        Statement { head, body: Body::Card(card) } => {
            let mut ours = Authority::new(*init::root_of(&card), head.issuer.name);
            ours.learn(envelopes);
            Ok(ours)
        }
        _ => Err(missing()),
    }
}

/// The files of a shelf.
fn files(shelf: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folders = home::list(shelf)?.into_iter().filter(|folder| folder.is_dir());
    Ok(folders.map(|folder| home::list(&folder)).collect::<Result<Vec<_>, _>>()?.concat())
}
