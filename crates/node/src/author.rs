//! Saying something: the head of a statement, its signatures, its place in the ledger.
//!
//! One desk: the end of a chain is read, the next statement signed and appended under one lock, so that a package's
//! chain has one next number. A statement is signed once; what the ledger holds is what is sent, for ever.

use std::time::Instant;

use custodia_format::body::Body;
use custodia_format::envelope::Envelope;
use custodia_format::key::{KeyId, SigningKey};
use custodia_format::kind::Kind;
use custodia_format::statement::{Annex, Head, Issuer, Package, Statement, StatementId};
use custodia_format::text::{Code as Pseudonym, LedgerName};
use custodia_format::{Hash, link::link};
use custodia_index::Row;
use custodia_ledger::{Document, Shelf};

use crate::Node;
use crate::failure::{Code, Failure};
use crate::keys::{self, Passphrase};
use crate::operations::Decider;
use crate::witness::Whose;
use crate::{edge, packages, views};

/// What is to be said, without what the desk adds.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The body; its kind is the statement's.
    pub(crate) body: Body,
    /// The statement it answers.
    pub(crate) in_reply_to: Option<Hash>,
    /// The package it speaks of.
    pub(crate) package: Option<Package>,
    /// Its annex, which is durable already.
    pub(crate) annex: Option<Annex>,
    /// The officer who decided.
    pub(crate) officer: Option<Pseudonym>,
    /// Whose cosignature on our ledger bounds it from below.
    pub(crate) bound_by: BoundBy,
}

/// Whose cosignature on our ledger a statement names as what existed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundBy {
    /// The newest of anybody's: for what travels with its history, which brings the note along.
    Anybody,
    /// This peer's alone: for what goes to a peer by itself, which holds the notes that it cosigned and no others.
    Reader(KeyId),
}

impl Draft {
    /// A statement with this body, and nothing else said.
    pub(crate) const fn of(body: Body) -> Self {
        Self { body, in_reply_to: None, package: None, annex: None, officer: None, bound_by: BoundBy::Anybody }
    }
}

/// A statement that this node's ledger holds.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Its digest.
    pub(crate) digest: Hash,
    /// Its place in the ledger.
    pub(crate) leaf_index: u64,
}

/// Signs and logs a statement; durable when this returns. The caller holds the desk.
pub(crate) fn say(node: &Node, draft: Draft, keys: &[&SigningKey]) -> Result<Said, Failure> {
    let said = say_all(node, vec![draft], keys)?.into_iter().next();
    said.ok_or_else(|| Failure::new(Code::Internal, "The ledger answered nothing."))
}

/// As [`say`], for several statements in one commit, each about another package: chains grow by one at a time.
pub(crate) fn say_all(node: &Node, drafts: Vec<Draft>, keys: &[&SigningKey]) -> Result<Vec<Said>, Failure> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    node.may_sign()?;
    let mut roots: Vec<Hash> = drafts.iter().filter_map(|draft| draft.package).map(|package| package.root).collect();
    roots.sort();
    if roots.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(Failure::new(Code::Internal, "Two statements at once would have one number in a package's chain."));
    }
    let heading = Heading { ledger: node.config().ledger.clone(), card: newest_card(node)? };
    let envelopes = drafts.into_iter().map(|draft| sign(node, draft, heading.clone(), keys));
    let envelopes = envelopes.collect::<Result<Vec<Envelope>, Failure>>()?;
    log(node, envelopes.iter().map(|envelope| envelope.print().into_bytes()))
}

/// Where a statement of ours is to be logged, and under which card of ours it stands.
#[derive(Debug, Clone)]
pub(crate) struct Heading {
    /// The ledger.
    pub(crate) ledger: LedgerName,
    /// The digest of the card; none for the first card.
    pub(crate) card: Option<Hash>,
}

/// Signs a statement. It is said only once it is logged.
pub(crate) fn sign(node: &Node, draft: Draft, heading: Heading, keys: &[&SigningKey]) -> Result<Envelope, Failure> {
    let kind = draft.body.kind().ok_or_else(|| Failure::new(Code::Internal, "This kind is not ours to say."))?;
    let (sequence, previous) = match draft.package {
        None => (None, None),
        Some(package) => chain_end(node, &package.root)?,
    };
    let head = Head {
        id: StatementId::new(*edge::random::<16>()?),
        issuer: Issuer { name: heading.ledger.authority.clone(), card: heading.card },
        ledger: heading.ledger,
        officer: draft.officer,
        signers: Vec::new(),
        issued_at: edge::now(),
        not_before: bound(node, draft.bound_by),
        in_reply_to: draft.in_reply_to,
        package: draft.package,
        sequence,
        previous,
        annex: draft.annex,
        kind,
    };
    Ok(Statement { head, body: draft.body }.sign(keys)?)
}

/// Logs statements of another authority in one commit, as they were received. The caller has checked them.
pub(crate) fn keep<'a>(node: &Node, envelopes: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Said>, Failure> {
    log(node, envelopes.map(<[u8]>::to_vec))
}

fn log(node: &Node, envelopes: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Said>, Failure> {
    let documents: Vec<Document> = envelopes.map(|bytes| Document { shelf: Shelf::Statement, bytes }).collect();
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    node.may_sign()?;
    let began = Instant::now();
    let appended = node.ledger().append(documents)?;
    node.meters().committed(began.elapsed());
    views::catch_up(node)?;
    Ok(appended.into_iter().map(|it| Said { digest: it.digest, leaf_index: it.index }).collect())
}

/// The next number of our chain on a package, and the link before it. The last statement names both: numbers and links
/// go on over a statement that was lost with an older copy of this home.
fn chain_end(node: &Node, package: &Hash) -> Result<(Option<u64>, Option<Hash>), Failure> {
    let own = own_rows(node, package)?;
    let Some(last) = own.iter().max_by_key(|row| row.sequence) else { return Ok((Some(0), None)) };
    let missing = || Failure::new(Code::UnknownStatement, "The last statement of a chain is not here.").at(last.digest);
    let head = statement(node, &last.digest)?.ok_or_else(missing)?.head;
    let number = head.sequence.ok_or_else(missing)?;
    let end = link(number, &head.previous.unwrap_or(Hash::ZERO), &last.digest);
    Ok((Some(number + 1), Some(end)))
}

/// Our own statements on a package, in order.
pub(crate) fn own_rows(node: &Node, package: &Hash) -> Result<Vec<Row>, Failure> {
    let rows = node.index().of_package(package)?;
    Ok(rows.into_iter().filter(|row| is_own(node, row)).collect())
}

/// Our one statement on a package that these characters name, of a kind that fits.
pub(crate) fn own_named(
    node: &Node,
    package: &Hash,
    prefix: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<Option<Row>, Failure> {
    let rows = own_rows(node, package)?;
    let mut named = rows.into_iter().filter(|row| fits(&row.kind) && row.digest.to_string().starts_with(prefix));
    let one = named.next();
    Ok(one.filter(|_| prefix.len() >= packages::PREFIX_CHARS && named.next().is_none()))
}

/// A package of which this node has said something: it holds it, or held it.
pub(crate) fn held_package(node: &Node, root: &Hash) -> Result<Package, Failure> {
    let first = own_rows(node, root)?.into_iter().next();
    let said = first.map(|row| statement(node, &row.digest)).transpose()?.flatten();
    said.and_then(|said| said.head.package).ok_or_else(|| {
        Failure::new(Code::NotYet, "This node has never held this package.")
            .at(root)
            .safe("Nothing was signed.")
            .next("custodia inbox")
    })
}

/// Whether a ledger is this node's: the one that it writes, or one of the generations before.
pub(crate) fn is_ours(node: &Node, ledger: &LedgerName) -> bool {
    ledger.custodian() == node.config().ledger.custodian()
}

/// Whether a row is of a statement that this node signed.
pub(crate) fn is_own(node: &Node, row: &Row) -> bool {
    LedgerName::parse(&row.ledger).is_ok_and(|ledger| is_ours(node, &ledger))
}

/// The first of these answers that is of this kind and that a peer signed.
pub(crate) fn of_peer<'a>(node: &Node, answers: &'a [Row], kind: &Kind) -> Option<&'a Row> {
    answers.iter().find(|row| row.kind == kind.to_string() && !is_own(node, row))
}

/// The receipts and refusals that answer a release: whoever signed them, they end it.
pub(crate) fn ends_of(node: &Node, release: &Hash) -> Result<Vec<Row>, Failure> {
    let ends = [Kind::Receipt.to_string(), Kind::Refusal.to_string()];
    Ok(node.index().answers(release)?.into_iter().filter(|row| ends.contains(&row.kind)).collect())
}

/// Our own statements of a kind, in order.
pub(crate) fn own_of_kind(node: &Node, kind: &Kind) -> Result<Vec<Row>, Failure> {
    let rows = node.index().of_kind(&kind.to_string())?;
    Ok(rows.into_iter().filter(|row| is_own(node, row)).collect())
}

/// Our cards, delegations and revocations: by what the rest of what we say is checked.
pub(crate) fn own_cards(node: &Node) -> Result<Vec<Row>, Failure> {
    let of = |kind| own_of_kind(node, &kind);
    Ok([of(Kind::Card)?, of(Kind::Delegation)?, of(Kind::Revocation)?].concat())
}

fn newest_card(node: &Node) -> Result<Option<Hash>, Failure> {
    Ok(own_of_kind(node, &Kind::Card)?.last().map(|row| row.digest))
}

/// The newest note of our ledger that was cosigned, as its digest.
fn bound(node: &Node, by: BoundBy) -> Option<Hash> {
    let notes = match by {
        BoundBy::Reader(peer) => node.notes().of_peer(&peer, Whose::Ours),
        BoundBy::Anybody => node.notes().ours(),
    };
    notes.last().map(|note| note.digest)
}

/// The officer who decides, and the key: the one named, or the only one there is.
pub(crate) fn officer(node: &Node, by: &Decider) -> Result<(Pseudonym, SigningKey), Failure> {
    let (named, passphrase) = (by.officer.as_deref(), by.passphrase.as_deref().unwrap_or_default());
    let mut pseudonyms = Vec::new();
    for row in own_of_kind(node, &Kind::Delegation)? {
        if let Some(Statement { body: Body::Delegation(delegation), .. }) = statement(node, &row.digest)? {
            pseudonyms.push(delegation.pseudonym);
        }
    }
    let chosen = match (named, pseudonyms.as_slice()) {
        (Some(name), all) => all.iter().find(|pseudonym| pseudonym.as_str() == name),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, several) => {
            let names = several.iter().map(Pseudonym::as_str).collect::<Vec<_>>().join(", ");
            return Err(Failure::new(Code::UnknownOfficer, "This node has several officers; say who decides.")
                .instead_of(format!("one of {names}"), "nobody")
                .next("add --as O-N to the command"));
        }
    };
    let pseudonym = chosen.cloned().ok_or_else(|| {
        Failure::new(Code::UnknownOfficer, "No officer of this node has that pseudonym.")
            .at(named.unwrap_or("none was delegated"))
            .next("custodia officer add NAME")
    })?;
    let key = keys::open(node.home(), &keys::officer(pseudonym.as_str()), &Passphrase::new(passphrase))?;
    Ok((pseudonym, key))
}

/// What the index has of a statement that is in the ledger.
pub(crate) fn row(node: &Node, digest: &Hash) -> Result<Row, Failure> {
    node.index().row(digest)?.ok_or_else(|| Failure::new(Code::Internal, "A logged statement has no row.").at(digest))
}

/// A statement that this node's ledger holds; none when its envelope is not here.
pub(crate) fn statement(node: &Node, digest: &Hash) -> Result<Option<Statement>, Failure> {
    match node.envelope(digest)? {
        None => Ok(None),
        Some(bytes) => Ok(Some(Statement::parse(&Envelope::parse(&bytes)?)?)),
    }
}
