//! What a peer has lost with a part of its history, given back; and what we have lost, taken back
//! (docs/spec/wire.md, "Giving back").
//!
//! Whoever restored an older copy lacks what was said since. Its peers hold much of it: its statements to them, with the
//! proofs that its own ledger gave, theirs to it, and the histories that came with its releases. Nothing is believed
//! because a peer says it: what counts as ours is what our ledger's key signed.

use std::collections::HashSet;

use custodia_exchange::message::{DOCUMENTS_PER_FRAME, More};
use custodia_exchange::{GivenBack, Signed};
use custodia_format::body::Body;
use custodia_format::checkpoint::{check_ledger_signature, cosignature_time};
use custodia_format::envelope::Envelope;
use custodia_format::key::KeyId;
use custodia_format::note::Note;
use custodia_format::statement::Statement;
use custodia_format::text::LedgerName;
use custodia_format::tlog_proof::TlogProof;
use custodia_format::{Hash, limits};
use custodia_index::Row;

use crate::failure::{Code, Failure};
use crate::home;
use crate::host::{self, own_root};
use crate::operations::own_card;
use crate::peers::Authority;
use crate::witness::{self, Whose};
use crate::{Node, author, generations, history, proofs};

/// Where something lies that a peer may have lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A card, delegation or revocation of ours: the peer checks what follows by it.
    OurCard(Hash),
    /// A card, delegation or revocation of the peer's.
    Card(Hash),
    /// A statement of the peer's in our ledger.
    Theirs(Hash),
    /// A statement of the peer's in the history that came with this release.
    InHistory(Hash, usize),
    /// A statement of ours to the peer.
    Ours(Hash),
    /// A note of our ledger that the peer cosigned and that a statement of ours names.
    Note(Hash),
}

/// All of it that is here, in an order in which each can be judged by what came before.
pub(crate) fn list(node: &Node, peer: &KeyId) -> Result<Vec<Lost>, Failure> {
    let Some(authority) = node.peers().rooted(peer) else { return Ok(Vec::new()) };
    let is_theirs = |ledger: &str| LedgerName::parse(ledger).is_ok_and(|ledger| authority.ledger(&ledger).is_some());
    let mut list: Vec<Lost> = authority.known().iter().copied().map(Lost::Card).collect();
    list.extend(author::own_cards(node)?.iter().map(|row| Lost::OurCard(row.digest)));
    let rows = node.index().all()?;
    let theirs: Vec<&Row> = rows.iter().filter(|row| is_theirs(&row.ledger)).collect();
    let mut seen: HashSet<Hash> = authority.known().iter().copied().collect();
    seen.extend(theirs.iter().map(|row| row.digest));
    list.extend(theirs.iter().map(|row| Lost::Theirs(row.digest)));
    for row in theirs {
        for (place, statement) in in_history(node, peer, &row.digest)?.iter().enumerate() {
            if is_said_by(statement, &authority) && seen.insert(statement.digest()) {
                list.push(Lost::InHistory(row.digest, place));
            }
        }
    }
    let mut named = HashSet::new();
    for row in rows.iter().filter(|row| author::is_own(node, row)) {
        let Some(statement) = author::statement(node, &row.digest)? else { continue };
        let replies = row.in_reply_to.is_some_and(|answered| seen.contains(&answered));
        let releases = matches!(&statement.body, Body::Release(release) if release.recipient.root == *peer);
        if replies || releases {
            list.push(Lost::Ours(row.digest));
            named.extend(statement.head.not_before);
        }
    }
    let notes = node.notes().of_peer(peer, Whose::Ours);
    list.extend(notes.iter().filter(|note| named.contains(&note.digest)).map(|note| Lost::Note(note.digest)));
    Ok(list)
}

/// One frame of it. What can no longer be read or proven is passed over.
pub(crate) fn page(node: &Node, peer: &KeyId, list: &[Lost], from: u64) -> Result<GivenBack, Failure> {
    let rest = list.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let page = rest.get(..DOCUMENTS_PER_FRAME).unwrap_or(rest);
    let mut reader = Reader { node, peer, history: None };
    let documents = page.iter().map(|lost| reader.read(lost).map(Option::unwrap_or_default));
    let documents = documents.collect::<Result<Vec<_>, _>>()?;
    Ok(GivenBack { documents, more: if page.len() < rest.len() { More::Yes } else { More::No } })
}

/// Reads what is given back.
struct Reader<'a> {
    node: &'a Node,
    peer: &'a KeyId,
    /// The statements of the history that was read last: several of a page come out of one.
    history: Option<(Hash, Vec<Signed>)>,
}

impl Reader<'_> {
    /// A document as it travels; none when it is not here any more.
    fn read(&mut self, lost: &Lost) -> Result<Option<Vec<u8>>, Failure> {
        let (node, peer) = (self.node, self.peer);
        let proven = |digest: &Hash, envelope: Option<Vec<u8>>| -> Result<Option<Vec<u8>>, Failure> {
            let proof = proofs::theirs(node.home(), peer, digest)?.map(|proof| proof.print().into_bytes());
            let signed = envelope.zip(proof).map(|(envelope, tlog_proof)| Signed { envelope, tlog_proof });
            Ok(signed.as_ref().map(host::document_of))
        };
        match lost {
            Lost::Card(digest) => {
                let path = node.home().peer(peer).join(format!("{digest}.json"));
                proven(digest, home::read_file(&path, limits::ENVELOPE_BYTES as u64)?)
            }
            Lost::Theirs(digest) => proven(digest, node.envelope(digest)?),
            Lost::InHistory(release, place) => Ok(self.history(release)?.get(*place).map(host::document_of)),
            Lost::OurCard(digest) | Lost::Ours(digest) => {
                let signed = proofs::signed(node, &author::row(node, digest)?, peer).ok();
                Ok(signed.map(|(signed, _)| host::document_of(&signed)))
            }
            Lost::Note(digest) => {
                let notes = node.notes().of_peer(peer, Whose::Ours);
                let note = notes.iter().find(|note| note.digest == *digest);
                Ok(note.map(|note| note.read()).transpose()?.map(|note| note.print().into_bytes()))
            }
        }
    }

    fn history(&mut self, release: &Hash) -> Result<&[Signed], Failure> {
        let read = match self.history.take().filter(|(of, _)| of == release) {
            Some(read) => read,
            None => (*release, in_history(self.node, self.peer, release)?),
        };
        Ok(&self.history.insert(read).1)
    }
}

/// The statements of the history that came with a release, each with its proof.
fn in_history(node: &Node, peer: &KeyId, release: &Hash) -> Result<Vec<Signed>, Failure> {
    let proof = history::of_release(node.home(), peer, release)?;
    let statements = proof.map(|proof| proof.statements).unwrap_or_default().into_iter();
    let proven = statements.filter_map(|statement| {
        let (envelope, proof) = statement.envelope.zip(statement.tlog_proof)?;
        Some(Signed { envelope: envelope.into_bytes(), tlog_proof: proof.print().into_bytes() })
    });
    Ok(proven.collect())
}

fn is_said_by(signed: &Signed, authority: &Authority) -> bool {
    parse(&signed.envelope).is_ok_and(|statement| authority.ledger(&statement.head.ledger).is_some())
}

fn parse(envelope: &[u8]) -> Result<Statement, Failure> {
    Ok(Statement::parse(&Envelope::parse(envelope)?)?)
}

/// Takes back what a peer gives. What does not verify is dropped and told in the trace; what does is on the shelves when this
/// returns, for the next generation to log ([`crate::operations::succeed`]).
pub(crate) fn take(node: &Node, peer: &KeyId, documents: &[Vec<u8>]) -> Result<(), Failure> {
    for document in documents.iter().filter(|document| !document.is_empty()) {
        let taken = match document.first() {
            Some(b'{') => take_statement(node, peer, document),
            _ => take_note(node, peer, document),
        };
        match taken {
            // The disk, and not what was said.
            Err(failure) if matches!(failure.code, Code::DiskFull | Code::Io) => return Err(failure),
            Err(failure) => tracing::warn!(%failure, "something that a peer gave back does not count"),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn take_statement(node: &Node, peer: &KeyId, document: &[u8]) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::new(Code::Malformed, what);
    let signed = host::signed_of(document).ok_or_else(|| wrong("This is no statement with its proof."))?;
    let statement = parse(&signed.envelope)?;
    if author::is_ours(node, &statement.head.ledger) {
        return take_ours(node, &statement.head.ledger, &signed);
    }
    let authority = node.peers().rooted(peer).ok_or_else(|| wrong("Nobody of that key is trusted here."))?;
    if matches!(statement.body, Body::Card(_) | Body::Delegation(_) | Body::Revocation(_)) {
        let mut authority = Authority::clone(&authority);
        authority.learn(vec![signed.envelope.clone()]);
        return host::learn(node, &authority, &[signed]);
    }
    let statement = authority.check(&signed.envelope)?;
    let (_, card) = own_card(node)?;
    let to_us = match &statement.body {
        Body::Release(release) => own_root(&card) == Some(release.recipient.root),
        _ => statement.head.in_reply_to.is_some_and(|answered| node.home().statement(&answered).is_file()),
    };
    if !to_us {
        return Err(wrong("This statement is not addressed to this node."));
    }
    proofs::keep_theirs(node, &authority, &signed)?;
    keep(node, &signed)
}

/// A statement that our own ledger held: its proof shows it, under the signature of the ledger's key.
fn take_ours(node: &Node, ledger: &LedgerName, signed: &Signed) -> Result<(), Failure> {
    let proof = TlogProof::parse(&signed.tlog_proof)?;
    proofs::check(ledger, &generations::vkey(node, ledger)?, &proof, &signed.envelope)?;
    let path = generations::given_back(node.home(), ledger.generation, &signed.digest());
    if !path.is_file() {
        home::write_durably(&path, &signed.tlog_proof)?;
    }
    keep(node, signed)
}

fn keep(node: &Node, signed: &Signed) -> Result<(), Failure> {
    let path = node.home().statement(&signed.digest());
    if path.is_file() { Ok(()) } else { home::write_durably(&path, &signed.envelope) }
}

/// A note of the peer's ledger that we cosigned and have forgotten.
fn take_note(node: &Node, peer: &KeyId, bytes: &[u8]) -> Result<(), Failure> {
    let refuse = |found: String| {
        Failure::new(Code::Signature, "This is no note of the peer's ledger that this node cosigned.")
            .instead_of("the ledger's signature and our cosignature", found)
    };
    let note = Note::parse(bytes)?;
    let ledger = LedgerName::parse(note.text.lines().next().unwrap_or_default())?;
    let vkey = node.peers().rooted(peer).and_then(|peer| peer.ledger(&ledger).cloned());
    let vkey = vkey.ok_or_else(|| refuse(ledger.to_string()))?;
    check_ledger_signature(&note, &vkey).map_err(|error| refuse(error.to_string()))?;
    match cosignature_time(&note, &witness::own_vkey(node)?) {
        Ok(Some(_)) => node.notes().keep(peer, Whose::Theirs, &note),
        Ok(None) => Err(refuse("no line of ours".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}
