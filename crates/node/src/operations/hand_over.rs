//! Handing packages over and taking them: releases, what became of them, what came in, and a person's answer.

use std::sync::Arc;

use custodia_exchange::{Event, Phase};
use custodia_format::Hash;
use custodia_format::body::{Acceptance, Body, Coded, Limits, Onward, Originator, Recipient, Refusal, Release, Text};
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::ranges::Items;
use custodia_format::statement::{Package, Statement};
use custodia_format::text::Word;
use custodia_index::Row;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::answers::{Delivery, Received, Shown, StatementLine, Transfer, TransferState};
use crate::api::{Operation, Progress, Reporter};
use crate::author::{self, BoundBy, Draft};
use crate::failure::{Code, Failure};
use crate::history::is_to_us;
use crate::keys::{self, Passphrase};
use crate::outbox::Online;
use crate::watch::News;
use crate::{Node, packages, receive};

/// Hand a package over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Send {
    /// The package, by a prefix of its id.
    pub package: String,
    /// The recipient, by its name in the trust file.
    pub to: String,
    /// What it is for.
    pub purpose: String,
    /// The request or order that it answers.
    pub legal_basis: String,
    /// Wait until the receipt is here.
    pub wait: bool,
    /// The officer who releases.
    pub officer: Option<String>,
    /// What the officer's key lies under.
    pub passphrase: Option<String>,
}

impl Operation for Send {
    const NAME: &'static str = "send";
    type Answer = Delivery;

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Delivery, Failure> {
        let root = packages::find(node, &self.package)?;
        let peer = node.peers().named(&self.to)?;
        let release = match open_release(node, &root, &peer.root)? {
            Some(release) => release,
            None => self.release(node, &root)?,
        };
        let bytes_sent = match (self.wait, node.online()) {
            (false, Some(online)) => {
                online.wake();
                0
            }
            (false, None) => 0,
            (true, Some(online)) => deliver(node, &online, &peer.root, &release, reporter)?,
            (true, None) => {
                let runtime = runtime()?;
                // A port of its own for this delivery: nobody is to call here.
                let online = Online::start(node, std::net::SocketAddr::from(([0, 0, 0, 0], 0)))?;
                let delivered = deliver(node, &online, &peer.root, &release, reporter);
                runtime.block_on(online.stop(node));
                delivered?
            }
        };
        let row = row(node, &release)?;
        Ok(Delivery { transfer: transfer(node, &row)?, bytes_sent })
    }
}

impl Send {
    /// Signs the release. What stands on a release to us repeats its limits and never widens them.
    fn release(&self, node: &Arc<Node>, root: &Hash) -> Result<Hash, Failure> {
        let peer = node.peers().named(&self.to)?;
        let card = peer.card()?;
        let ledger = card
            .ledgers
            .last()
            .ok_or_else(|| Failure::new(Code::UnknownPeer, format!("The card of {} names no ledger.", peer.name)))?;
        let package = package_here(node, root)?;
        let purpose = Text::parse(&self.purpose).map_err(|error| Failure::from(error).at("--purpose"))?;
        let legal_basis = Text::parse(&self.legal_basis).map_err(|error| Failure::from(error).at("--legal-basis"))?;
        let (limits, originator) = match stands_on(node, root)? {
            None => (
                Limits {
                    use_: purpose.clone(),
                    onward: Onward::Consent,
                    lead_only: false,
                    return_: false,
                    retain_until: None,
                },
                None,
            ),
            Some((statement, ours)) => {
                refuse_onward(&ours.limits, &peer.name, &statement)?;
                let giver = node.peers().all().into_iter().find(|known| known.ledger(&statement.head.ledger).is_some());
                let giver = giver.map(|giver| Originator { name: giver.name.clone(), root: giver.root });
                (ours.limits, ours.originator.or(giver))
            }
        };
        let body = Release {
            recipient: Recipient { name: peer.name.clone(), root: peer.root, ledger: ledger.origin.clone() },
            items: Items::All,
            purpose,
            legal_basis,
            limits,
            originator,
        };
        let (pseudonym, officer) = officer(node, self.officer.as_deref(), self.passphrase.as_deref())?;
        let statement_key = keys::read(node.home(), keys::STATEMENT)?;
        let _desk = node.desk();
        let draft =
            Draft { package: Some(package), officer: Some(pseudonym), ..Draft::of(Body::Release(Box::new(body))) };
        Ok(author::say(node, draft, &[&statement_key, &officer])?.digest)
    }
}

/// The release that our custody of a package stands on: that of our latest consignment.
fn stands_on(node: &Node, root: &Hash) -> Result<Option<(Statement, Release)>, Failure> {
    let rows = author::own_rows(node, root)?;
    let consignment = rows.iter().rev().find(|row| row.kind == Kind::Consignment.to_string());
    let Some(release) = consignment.and_then(|row| row.in_reply_to) else { return Ok(None) };
    let statement = receive::release_to_us(node, &release)?;
    match statement.body.clone() {
        Body::Release(body) => Ok(Some((statement, *body))),
        _ => Ok(None),
    }
}

/// The node does not hand on what it was given not to be handed on.
fn refuse_onward(limits: &Limits, to: &custodia_format::text::Label, statement: &Statement) -> Result<(), Failure> {
    let allowed = match &limits.onward {
        Onward::None => "nobody".to_owned(),
        Onward::Consent => return Ok(()),
        Onward::List(names) if names.contains(to) => return Ok(()),
        Onward::List(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    Err(Failure::new(Code::NotYet, "The limits under which this package was given forbid handing it on to them.")
        .at(format!("the release by {}", statement.head.issuer.name))
        .instead_of(format!("onward to {allowed}"), to.as_str())
        .safe("Nothing was signed or sent.")
        .next(format!("ask {} for a release with other limits", statement.head.issuer.name)))
}

/// A package whose records and items are all here.
fn package_here(node: &Node, root: &Hash) -> Result<Package, Failure> {
    let package = package(node, root)?;
    if node.home().manifest(root).is_file() {
        let is_ours = author::own_rows(node, root)?.iter().any(|row| row.kind == Kind::Seal.to_string());
        let releases = releases_to_us(node, Some(root))?;
        let is_whole =
            releases.iter().map(|(row, _)| receive::receipt_of(node, &row.digest)).collect::<Result<Vec<_>, _>>()?;
        if is_ours || is_whole.iter().any(Option::is_some) {
            return Ok(package);
        }
    }
    Err(Failure::new(Code::NotYet, "This package is not wholly here yet.").at(root).next("custodia inbox"))
}

/// A package that something was said of here.
pub(crate) fn package(node: &Node, root: &Hash) -> Result<Package, Failure> {
    for row in node.index().of_package(root)? {
        if let Some(package) = author::statement(node, &row.digest)?.and_then(|statement| statement.head.package) {
            return Ok(package);
        }
    }
    Err(Failure::new(Code::UnknownPackage, "Nothing was said of this package here.").at(root))
}

/// Our release of a package to this authority that nothing has ended: asking twice sends once.
fn open_release(node: &Node, root: &Hash, peer: &KeyId) -> Result<Option<Hash>, Failure> {
    for row in author::own_rows(node, root)?.iter().rev().filter(|row| row.kind == Kind::Release.to_string()) {
        let body = author::statement(node, &row.digest)?.map(|statement| statement.body);
        if matches!(body, Some(Body::Release(body)) if body.recipient.root == *peer) {
            let is_refused = node.index().answers(&row.digest)?.iter().any(|row| row.kind == Kind::Refusal.to_string());
            return Ok((!is_refused).then_some(row.digest));
        }
    }
    Ok(None)
}

/// Waits until the receipt for a release is here; gives the bytes that were sent meanwhile.
///
/// A link that breaks is made again; who is not there, does not know us, or refuses, ends the wait. The release stays
/// queued in any case.
fn deliver(node: &Node, online: &Online, peer: &KeyId, release: &Hash, reporter: &Reporter) -> Result<u64, Failure> {
    let runtime = runtime()?;
    let mut news = online.watch().listen();
    online.wake();
    let total = match author::statement(node, release)? {
        Some(statement) => crate::outgoing::released_bytes(node, &statement)?,
        None => 0,
    };
    let (mut sent_before, mut sent_now) = (0, 0);
    loop {
        if reporter.is_abandoned() {
            return Err(Failure::new(Code::Interrupted, "Nobody waits for the receipt any more.")
                .safe("The release stays queued."));
        }
        // A session may have shown that this ledger is behind, or a disk have failed: no receipt could be logged any more.
        node.may_sign()?;
        let answers = node.index().answers(release)?;
        let of_peer =
            |kind: Kind| answers.iter().find(|row| row.kind == kind.to_string() && !author::is_own(node, row));
        if of_peer(Kind::Receipt).is_some() {
            return Ok(sent_before + sent_now);
        }
        if let Some(row) = of_peer(Kind::Refusal) {
            return Err(custodia_net::LinkError::Declined { refusal: row.digest }.into());
        }
        let told = match runtime.block_on(tokio::time::timeout(std::time::Duration::from_secs(1), news.recv())) {
            Ok(Ok(told)) => told,
            // A second without news, or more news than could be kept: the ledger says what matters.
            Err(_) | Ok(Err(RecvError::Lagged(_))) => continue,
            Ok(Err(RecvError::Closed)) => {
                return Err(Failure::new(Code::Interrupted, "The node goes down.").safe("The release stays queued."));
            }
        };
        match told {
            News::Session(Event::Sending { release: about, phase }) if about == *release => {
                if let Phase::Content { bytes, .. } = phase {
                    sent_now = bytes;
                }
                reporter.progress(progress(&phase, sent_before + sent_now, total));
            }
            News::Attempt(about, failure, seconds) if about == *peer => {
                sent_before += std::mem::take(&mut sent_now);
                if failure.code != Code::LinkLost {
                    return Err(*failure);
                }
                let note = format!("The link was lost; what is proven there stays. Next try in {seconds} s.");
                reporter.progress(Progress::note("send", note));
            }
            _ => {}
        }
    }
}

fn progress(phase: &Phase, bytes: u64, bytes_total: u64) -> Progress {
    let note = match phase {
        Phase::Announced => Some("The release is announced."),
        Phase::Consigned => Some("The recipient signed the consignment: existence is fixed in its ledger."),
        Phase::Proven => Some("The recipient has proven every byte."),
        Phase::Receipted { .. } => Some("The receipt is in this ledger."),
        _ => None,
    };
    let phase = match phase {
        Phase::Proven | Phase::Receipted { .. } => "receipt",
        _ => "send",
    };
    Progress { phase: phase.to_owned(), bytes, bytes_total, items: 0, items_total: 0, note: note.map(str::to_owned) }
}

fn runtime() -> Result<tokio::runtime::Handle, Failure> {
    tokio::runtime::Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))
}

/// The officer who acts.
fn officer(
    node: &Node,
    named: Option<&str>,
    passphrase: Option<&str>,
) -> Result<(custodia_format::text::Code, custodia_format::key::SigningKey), Failure> {
    author::officer(node, named, &Passphrase::new(passphrase.unwrap_or_default()))
}

fn row(node: &Node, digest: &Hash) -> Result<Row, Failure> {
    node.index().row(digest)?.ok_or_else(|| Failure::new(Code::Internal, "A logged statement has no row.").at(digest))
}

/// What was handed over, and how far it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Try now to deliver what waits.
    pub now: bool,
}

impl Operation for Queue {
    const NAME: &'static str = "queue";
    type Answer = Vec<Transfer>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Transfer>, Failure> {
        if let Some(online) = node.online().filter(|_| self.now) {
            online.wake();
        }
        author::own_of_kind(node, &Kind::Release)?.iter().map(|row| transfer(node, row)).collect()
    }
}

/// A hand-over of ours, as the ledger has it.
fn transfer(node: &Node, release: &Row) -> Result<Transfer, Failure> {
    let statement = author::statement(node, &release.digest)?;
    let Some(Statement { body: Body::Release(body), .. }) = statement else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release.digest));
    };
    let answers = node.index().answers(&release.digest)?;
    let of_peer = |kind: Kind| answers.iter().find(|row| row.kind == kind.to_string() && !author::is_own(node, row));
    let (receipt, refusal) = (of_peer(Kind::Receipt), of_peer(Kind::Refusal));
    let state = match (receipt, refusal, of_peer(Kind::Consignment)) {
        (Some(_), _, _) => TransferState::Received,
        (None, Some(_), _) => TransferState::Refused,
        (None, None, Some(_)) => TransferState::Consigned,
        (None, None, None) => TransferState::Released,
    };
    let answer = match (of_peer(Kind::Acceptance), refusal) {
        (Some(_), _) => Some("accepted".to_owned()),
        (None, Some(_)) => Some("refused".to_owned()),
        (None, None) => None,
    };
    let name = &body.recipient.name;
    let package = release.package.map(|root| root.to_string()).unwrap_or_default();
    let (why, turn, next) = match (state, &answer) {
        (TransferState::Released, _) => (
            format!("{name} has not answered the release yet"),
            "ours",
            "custodia serve delivers it as soon as the peer answers".to_owned(),
        ),
        (TransferState::Consigned, _) => (
            format!("{name} accepted the conditions and does not hold all of the content yet"),
            "ours",
            "custodia serve goes on where the link broke".to_owned(),
        ),
        (TransferState::Received, None) => (
            format!("nobody at {name} has accepted or refused it yet"),
            "theirs",
            format!("their officer runs: custodia accept {}", package.get(..16).unwrap_or(&package)),
        ),
        (TransferState::Received | TransferState::Refused, _) => (String::new(), "nobody", String::new()),
    };
    let is_open = matches!(state, TransferState::Released | TransferState::Consigned);
    let last_failure = node.online().filter(|_| is_open).and_then(|online| online.last_failure(&body.recipient.root));
    Ok(Transfer {
        package,
        release: release.digest.to_string(),
        to: name.to_string(),
        state,
        why,
        turn: turn.to_owned(),
        next,
        receipt: receipt.map(|row| row.digest.to_string()),
        answer,
        last_failure,
    })
}

/// What others handed over to this authority.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inbox {}

impl Operation for Inbox {
    const NAME: &'static str = "inbox";
    type Answer = Vec<Received>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Received>, Failure> {
        releases_to_us(node, None)?.iter().map(|(row, statement)| received(node, row, statement)).collect()
    }
}

/// Releases by others to this node, of one package or of all, in the order of our ledger.
fn releases_to_us(node: &Node, root: Option<&Hash>) -> Result<Vec<(Row, Statement)>, Failure> {
    let rows = match root {
        Some(root) => node.index().of_package(root)?,
        None => node.index().of_kind(&Kind::Release.to_string())?,
    };
    let mut found = Vec::new();
    for row in rows {
        if row.kind != Kind::Release.to_string() || author::is_own(node, &row) {
            continue;
        }
        if let Some(statement) =
            author::statement(node, &row.digest)?.filter(|statement| is_to_us(node, &statement.body))
        {
            found.push((row, statement));
        }
    }
    Ok(found)
}

fn received(node: &Node, row: &Row, statement: &Statement) -> Result<Received, Failure> {
    let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package) else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(row.digest));
    };
    let answers = node.index().answers(&row.digest)?;
    let ours = |kind: Kind| answers.iter().find(|row| row.kind == kind.to_string() && author::is_own(node, row));
    let receipt = ours(Kind::Receipt).map(|row| row.digest.to_string());
    let summary = node.summaries().of(node.home(), &package.root)?;
    let short = package.root.to_string().get(..16).unwrap_or_default().to_owned();
    let (state, next) = match (ours(Kind::Acceptance), ours(Kind::Refusal), &receipt, &summary) {
        (Some(_), ..) => ("accepted", format!("custodia prove {short} --out proof.json")),
        (None, Some(_), ..) => ("refused", String::new()),
        (None, None, Some(_), _) => ("received", format!("custodia accept {short}")),
        (None, None, None, Some(_)) => {
            ("incomplete", "their node sends the rest; keep custodia serve running".to_owned())
        }
        (None, None, None, None) => {
            ("announced", "their node sends the manifest; keep custodia serve running".to_owned())
        }
    };
    Ok(Received {
        package: package.root.to_string(),
        release: row.digest.to_string(),
        from: statement.head.issuer.name.to_string(),
        state: state.to_owned(),
        purpose: body.purpose.to_string(),
        records: package.records,
        bytes: summary.map(|summary| summary.bytes),
        carried: receive::carried(node, &row.digest, &package, &body.items)?,
        receipt,
        released_at: statement.head.issued_at.to_string(),
        next,
    })
}

/// A package, and all that was said of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Show {
    /// The package, by a prefix of its id.
    pub package: String,
}

impl Operation for Show {
    const NAME: &'static str = "show";
    type Answer = Shown;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Shown, Failure> {
        let root = packages::find(node, &self.package)?;
        let summary = node.summaries().of(node.home(), &root)?;
        Ok(Shown {
            package: root.to_string(),
            case: summary.as_ref().and_then(|summary| summary.case.clone()),
            title: summary.as_ref().and_then(|summary| summary.title.clone()),
            files: summary.as_ref().map(|summary| summary.files),
            bytes: summary.as_ref().map(|summary| summary.bytes),
            statements: node.index().of_package(&root)?.iter().map(line).collect(),
        })
    }
}

/// A row as people see it.
pub(crate) fn line(row: &Row) -> StatementLine {
    StatementLine {
        leaf_index: row.leaf_index,
        digest: row.digest.to_string(),
        kind: row.kind.clone(),
        ledger: row.ledger.clone(),
        sequence: row.sequence,
        package: row.package.map(|root| root.to_string()),
        issued_at: row.issued_at.to_string(),
    }
}

/// Take a received package into custody.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accept {
    /// The package, by a prefix of its id.
    pub package: String,
    /// The officer who takes it.
    pub officer: Option<String>,
    /// What the officer's key lies under.
    pub passphrase: Option<String>,
}

impl Operation for Accept {
    const NAME: &'static str = "accept";
    type Answer = StatementLine;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<StatementLine, Failure> {
        let root = packages::find(node, &self.package)?;
        let (release, package) = to_be_answered(node, &root)?;
        if receive::receipt_of(node, &release)?.is_none() {
            return Err(Failure::new(Code::NotYet, "This package is not wholly here yet; there is no receipt.")
                .at(root)
                .safe("Nothing was signed.")
                .next("custodia inbox"));
        }
        let body = Body::Acceptance(Acceptance { items: Items::All, conditions: Vec::new(), seals: Vec::new() });
        answer(node, release, package, body, self.officer.as_deref(), self.passphrase.as_deref())
    }
}

/// Refuse a package.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refuse {
    /// The package, by a prefix of its id.
    pub package: String,
    /// Why.
    pub reason: String,
    /// The officer who refuses.
    pub officer: Option<String>,
    /// What the officer's key lies under.
    pub passphrase: Option<String>,
}

impl Operation for Refuse {
    const NAME: &'static str = "refuse";
    type Answer = StatementLine;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<StatementLine, Failure> {
        let root = packages::find(node, &self.package)?;
        let (release, package) = to_be_answered(node, &root)?;
        let text = Text::parse(&self.reason).map_err(|error| Failure::from(error).at("--reason"))?;
        let reasons = vec![Coded { code: Word::parse("declined")?, text: Some(text) }];
        let body = Body::Refusal(Refusal { items: Items::All, reasons });
        answer(node, release, package, body, self.officer.as_deref(), self.passphrase.as_deref())
    }
}

/// The newest release of a package to us that no person has answered.
fn to_be_answered(node: &Node, root: &Hash) -> Result<(Hash, Package), Failure> {
    let releases = releases_to_us(node, Some(root))?;
    let mut answered = None;
    for (row, statement) in releases.iter().rev() {
        let answers = node.index().answers(&row.digest)?;
        let ends = [Kind::Acceptance.to_string(), Kind::Refusal.to_string()];
        let end = answers.iter().find(|row| ends.contains(&row.kind) && author::is_own(node, row));
        match (end, statement.head.package) {
            (None, Some(package)) => return Ok((row.digest, package)),
            (Some(end), _) => answered = answered.or(Some(end.kind.clone())),
            (None, None) => {}
        }
    }
    Err(match answered {
        Some(kind) => Failure::new(Code::NotYet, "This package was answered before.")
            .at(root)
            .instead_of("a release that waits for an answer", kind)
            .safe("The first answer stands; nothing was signed.")
            .next("custodia show PACKAGE"),
        None => Failure::new(Code::NotYet, "Nobody has released this package to this node.")
            .at(root)
            .safe("Nothing was signed.")
            .next("custodia inbox"),
    })
}

/// Signs a person's answer to a release, and sends it on its way.
fn answer(
    node: &Arc<Node>,
    release: Hash,
    package: Package,
    body: Body,
    named: Option<&str>,
    passphrase: Option<&str>,
) -> Result<StatementLine, Failure> {
    let (pseudonym, officer) = officer(node, named, passphrase)?;
    let statement_key = keys::read(node.home(), keys::STATEMENT)?;
    let giver = author::statement(node, &release)?
        .and_then(|release| node.peers().all().into_iter().find(|peer| peer.ledger(&release.head.ledger).is_some()));
    let desk = node.desk();
    let draft = Draft {
        in_reply_to: Some(release),
        package: Some(package),
        officer: Some(pseudonym),
        bound_by: giver.map_or(BoundBy::Anybody, |giver| BoundBy::Reader(giver.root)),
        ..Draft::of(body)
    };
    let said = author::say(node, draft, &[&statement_key, &officer])?;
    drop(desk);
    if let Some(online) = node.online() {
        online.wake();
    }
    Ok(line(&row(node, &said.digest)?))
}
