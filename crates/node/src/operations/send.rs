//! Handing a package over: the release, and the wait for its receipt.

mod gates;
mod terms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_exchange::{Event, Phase as Moved};
use custodia_format::Hash;
use custodia_format::body::{Body, Limits, Recipient, Release, Text};
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::ranges::Items;
use custodia_format::statement::Package;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::Decider;
use super::answers::Delivery;
use super::inbox::releases_to_us;
use super::queue::{expect, road, send_via, transfer};
use super::travel::Travels;
use crate::api::{Direction, Ended, Operation, Outcome, Phase, Progress, Reporter};
use crate::author::{self, Draft};
use crate::failure::{Code, Failure};
use crate::keys;
use crate::outbox::Online;
use crate::watch::News;
use crate::{Node, deadline, packages, proofs, receive};
use terms::Agreed;
pub use terms::Terms;
pub(super) use terms::words as limits_words;

/// How long a peer that was met and then went away is waited for.
const COMES_BACK: Duration = Duration::from_secs(120);

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
    /// By which road, `auto`, `udp` or `tcp`; when absent, as is said of the recipient.
    #[serde(default)]
    pub via: Option<String>,
    /// Until when the receipt is to be here, as `2026-12-24T12:00Z`.
    #[serde(default)]
    pub deadline: Option<String>,
    /// The same as a time from now on, as `72h`.
    #[serde(default)]
    pub within: Option<String>,
    /// Under which limits.
    #[serde(default)]
    pub terms: Terms,
    /// Who releases.
    pub by: Decider,
}

impl Operation for Send {
    const NAME: &'static str = "send";
    type Answer = Delivery;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Delivery, Failure> {
        let via = self.via.as_deref().map(road).transpose()?;
        let deadline = deadline::parse(self.deadline.as_deref(), self.within.as_deref())?;
        let root = packages::find(node, &self.package)?;
        let peer = node.peers().named(&self.to)?;
        let release = self.release(node, &root)?;
        if let Some(via) = via {
            send_via(node, &release, via)?;
        }
        if let Some(deadline) = deadline {
            expect(node, &release, deadline)?;
        }
        let (bytes_sent, detour) = match (self.wait, node.online()) {
            (false, Some(online)) => {
                online.wake();
                (0, None)
            }
            (false, None) => (0, None),
            (true, Some(online)) => {
                (deliver(node, &online, &peer.root, &release, reporter)?, online.detour(&peer.root))
            }
            (true, None) => {
                let runtime = runtime()?;
                // A port of its own for this delivery: nobody is to call here.
                let online = Online::start(node, std::net::SocketAddr::from(([0, 0, 0, 0], 0)))?;
                let delivered = deliver(node, &online, &peer.root, &release, reporter);
                runtime.block_on(online.stop(node));
                (delivered?, online.detour(&peer.root))
            }
        };
        let row = author::row(node, &release)?;
        Ok(Delivery { transfer: transfer(node, &row)?, bytes_sent, detour })
    }
}

impl Send {
    /// The release: the one that is open, or a new one. What stands on a release to us repeats its limits and never widens them.
    fn release(&self, node: &Arc<Node>, root: &Hash) -> Result<Hash, Failure> {
        let peer = node.peers().named(&self.to)?;
        let open = open_release(node, root, &peer.root)?;
        if let (Some((release, _)), false) = (&open, self.terms.sets_limits()) {
            return Ok(*release);
        }
        let card = peer.card()?;
        let ledger = card
            .ledgers
            .last()
            .ok_or_else(|| Failure::new(Code::UnknownPeer, format!("The card of {} names no ledger.", peer.name)))?;
        let package = package_here(node, root)?;
        let purpose = Text::parse(&self.purpose).map_err(|error| Failure::from(error).at("--purpose"))?;
        let legal_basis = Text::parse(&self.legal_basis).map_err(|error| Failure::from(error).at("--legal-basis"))?;
        let Agreed { limits, originator, because } = self.terms.agree(node, root, &peer, &purpose)?;
        if let Some((release, _)) = open.filter(|(_, known)| *known == limits) {
            return Ok(release);
        }
        let (pseudonym, officer) = author::officer(node, &self.by)?;
        gates::pass(node, package, &peer.name, self.terms.although.as_deref(), &self.by)?;
        if let Some(because) = because {
            Terms::say(node, root, &peer.name, because, &self.by)?;
        }
        let body = Release {
            recipient: Recipient { name: peer.name.clone(), root: peer.root, ledger: ledger.origin.clone() },
            items: Items::All,
            purpose,
            legal_basis,
            limits,
            originator,
        };
        let statement_key = keys::read(node.home(), keys::STATEMENT)?;
        let _desk = node.desk();
        let draft =
            Draft { package: Some(package), officer: Some(pseudonym), ..Draft::of(Body::Release(Box::new(body))) };
        Ok(author::say(node, draft, &[&statement_key, &officer])?.digest)
    }
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

/// Our release of a package to this authority that nothing has ended, and its limits: asking twice sends once.
fn open_release(node: &Node, root: &Hash, peer: &KeyId) -> Result<Option<(Hash, Limits)>, Failure> {
    for row in author::own_rows(node, root)?.iter().rev().filter(|row| row.kind == Kind::Release.to_string()) {
        let body = author::statement(node, &row.digest)?.map(|statement| statement.body);
        let Some(Body::Release(body)) = body else { continue };
        if body.recipient.root == *peer {
            let is_refused = node.index().answers(&row.digest)?.iter().any(|row| row.kind == Kind::Refusal.to_string());
            let is_open = !is_refused && !proofs::is_lost(node, row)?;
            return Ok(is_open.then_some((row.digest, body.limits)));
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
    let mut travels = Travels::new(node, online.watch());
    let (mut sent_before, mut sent_now) = (0, 0);
    let mut last_met: Option<Instant> = None;
    loop {
        if reporter.is_abandoned() {
            return Err(Failure::new(Code::Interrupted, "Nobody waits for the receipt any more.")
                .safe("The release stays queued."));
        }
        // A session may have shown that this ledger is behind, or a disk have failed: no receipt could be logged any more.
        node.may_sign()?;
        let answers = node.index().answers(release)?;
        let of_peer = |kind: Kind| author::of_peer(node, &answers, &kind);
        if let Some(row) = of_peer(Kind::Receipt) {
            let receipt = Some(row.digest.to_string());
            let ended = Ended { outcome: Outcome::Received, statement: receipt, code: None };
            reporter.progress(travels.ended(Direction::Out, release, ended));
            return Ok(sent_before + sent_now);
        }
        if let Some(row) = of_peer(Kind::Refusal) {
            return Err(custodia_net::LinkError::Declined { refusal: row.digest }.into());
        }
        let told = match runtime.block_on(tokio::time::timeout(Duration::from_secs(1), news.recv())) {
            Ok(Ok(told)) => told,
            // A second without news, or more news than could be kept: the ledger says what matters.
            Err(_) | Ok(Err(RecvError::Lagged(_))) => {
                reporter.progress_of(travels.standing(Direction::Out, release));
                continue;
            }
            Ok(Err(RecvError::Closed)) => {
                return Err(Failure::new(Code::Interrupted, "The node goes down.").safe("The release stays queued."));
            }
        };
        match told {
            News::Session(Event::Sending { release: about, phase }) if about == *release => {
                last_met = Some(Instant::now());
                if let Moved::Content { bytes, .. } = phase {
                    sent_now = bytes;
                }
                if let Some(note) = note(&phase) {
                    reporter.progress(Progress::note(Phase::Send, note));
                }
                reporter.progress_of(travels.standing(Direction::Out, release));
            }
            News::Detour(about, why) if about == *peer => {
                last_met = Some(Instant::now());
                reporter.progress(Progress::note(Phase::Send, format!("By another road: {why}.")));
            }
            News::Attempt(about, failure, seconds) if about == *peer => {
                sent_before += std::mem::take(&mut sent_now);
                // A peer that was there a moment ago may come back: its machine starts again, its link mends.
                let may_come_back =
                    failure.code == Code::PeerUnreachable && last_met.is_some_and(|met| met.elapsed() < COMES_BACK);
                if failure.code != Code::LinkLost && !may_come_back {
                    return Err(*failure);
                }
                let note = format!("The link was lost; what is proven there stays. Next try in {seconds} s.");
                reporter.progress(Progress::note(Phase::Send, note));
            }
            _ => {}
        }
    }
}

/// What is worth a sentence of what a session did.
const fn note(phase: &Moved) -> Option<&'static str> {
    match phase {
        Moved::Announced => Some("The release is announced."),
        Moved::Consigned => Some("The recipient signed the consignment: existence is fixed in its ledger."),
        Moved::Proven => Some("The recipient has proven every byte, and its receipt is here to be verified."),
        _ => None,
    }
}

/// The runtime that this thread belongs to.
pub(super) fn runtime() -> Result<tokio::runtime::Handle, Failure> {
    tokio::runtime::Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))
}
