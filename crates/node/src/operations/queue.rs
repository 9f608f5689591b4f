//! The queue: what was handed over, how far it is, why it is not done, whose turn it is.

use std::sync::Arc;

use custodia_exchange::Turn;
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_format::text::Time;
use custodia_index::Row;
use custodia_net::Via;
use serde::{Deserialize, Serialize};

use super::answers::{Cap, NotReceived, Pace, Road, SessionWaits, Transfer, TransferState, TriedSoFar};
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::outbox::{Sent, Tried, Wishes, is_answered, is_used_up, parse_cap, parse_rate, print_cap, print_rate};
use crate::{Node, author, deadline, edge, packages, proofs};

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
        let mut transfers = Vec::new();
        for row in author::own_of_kind(node, &Kind::Release)? {
            // One that nobody saw before its ledger ended goes to nobody.
            if !proofs::is_lost(node, &row)? {
                transfers.push(transfer(node, &row)?);
            }
        }
        Ok(transfers)
    }
}

/// Why a package is not handed over yet: each of its hand-overs, and what the session with its recipient waits for.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueWhy {
    /// The package, by a prefix of its id.
    pub package: String,
}

impl Operation for QueueWhy {
    const NAME: &'static str = "queue/why";
    type Answer = Vec<Transfer>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Transfer>, Failure> {
        handed_over(node, &self.package, None)?.iter().map(|row| transfer(node, row)).collect()
    }
}

/// Let a hand-over wait, go on, or go first.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueOrder {
    /// The package, by a prefix of its id.
    pub package: String,
    /// To whom, by the name in the trust file; to everybody when nobody is named.
    pub to: Option<String>,
    /// What it is to do.
    pub order: Order,
}

impl Operation for QueueOrder {
    const NAME: &'static str = "queue/order";
    type Answer = Vec<Transfer>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Transfer>, Failure> {
        let rows = handed_over(node, &self.package, self.to.as_deref())?;
        let mut wishes = Wishes::of(node.home());
        for row in &rows {
            match self.order {
                Order::Wait => wishes.pause(&row.digest),
                Order::GoOn => wishes.resume(&row.digest),
                Order::First => wishes.put_first(&row.digest),
            }
        }
        wish(node, wishes)?;
        rows.iter().map(|row| transfer(node, row)).collect()
    }
}

/// What a hand-over is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Nothing, until somebody says so.
    Wait,
    /// Go on, in its turn.
    GoOn,
    /// Go before the others to the same peer, which wait meanwhile.
    First,
}

/// Until when the receipt for a hand-over is to be here.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueDeadline {
    /// The package, by a prefix of its id.
    pub package: String,
    /// To whom, by the name in the trust file; to everybody when nobody is named.
    pub to: Option<String>,
    /// The moment, as `2026-12-24T12:00Z`, or `off` for none.
    pub deadline: Option<String>,
    /// The time from now on, as `72h`. Only asked when both are absent.
    pub within: Option<String>,
}

impl Operation for QueueDeadline {
    const NAME: &'static str = "queue/deadline";
    type Answer = Vec<Transfer>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<Transfer>, Failure> {
        let is_off = self.deadline.as_deref() == Some("off");
        let moment = self.deadline.as_deref().filter(|_| !is_off);
        let deadline = deadline::parse(moment, self.within.as_deref())?;
        let rows = handed_over(node, &self.package, self.to.as_deref())?;
        if deadline.is_some() || is_off {
            let mut open = Vec::new();
            for row in &rows {
                if is_off || !is_answered(node, &row.digest)? {
                    open.push(row.digest);
                }
            }
            if open.is_empty() {
                return Err(Failure::new(Code::NotYet, "This hand-over is over: its receipt or its refusal is here.")
                    .at(&self.package)
                    .next("custodia queue why PACKAGE"));
            }
            let mut wishes = Wishes::of(node.home());
            open.iter().for_each(|release| wishes.expect(release, deadline));
            wish(node, wishes)?;
        }
        rows.iter().map(|row| transfer(node, row)).collect()
    }
}

/// The receipt for one release is to be here until then.
pub(super) fn expect(node: &Node, release: &Hash, deadline: Time) -> Result<(), Failure> {
    let mut wishes = Wishes::of(node.home());
    wishes.expect(release, Some(deadline));
    wish(node, wishes)
}

/// How fast content may leave, until something else is said.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueLimit {
    /// Bytes a second, as `256k`; `off` for no limit, `config` for what the configuration says. Only asked when absent.
    pub limit: Option<String>,
}

impl Operation for QueueLimit {
    const NAME: &'static str = "queue/limit";
    type Answer = Pace;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Pace, Failure> {
        let mut wishes = Wishes::of(node.home());
        if let Some(limit) = &self.limit {
            wishes.limit = match limit.as_str() {
                "config" => None,
                text => {
                    let wrong = |found| {
                        Failure::new(Code::Usage, "This is no limit.")
                            .instead_of("bytes a second from 32k on, as 256k or 2M; off; config", found)
                            .next("custodia queue limit 256k")
                    };
                    Some(parse_rate(text).map_err(wrong)?.map_or(0, std::num::NonZeroU64::get))
                }
            };
            wish(node, wishes.clone())?;
        }
        let rate = |bytes| print_rate(std::num::NonZeroU64::new(bytes));
        Ok(Pace {
            now: node.online().map(|online| print_rate(online.rate())),
            wished: wishes.limit.map(rate),
            configured: node.config().sending.as_ref().map(ToString::to_string),
        })
    }
}

/// How much content may leave in one day, until something else is said.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueCap {
    /// Bytes a day, as `500M`; `off` for as many as there are. Only asked when absent.
    pub cap: Option<String>,
}

impl Operation for QueueCap {
    const NAME: &'static str = "queue/cap";
    type Answer = Cap;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Cap, Failure> {
        let mut wishes = Wishes::of(node.home());
        if let Some(cap) = &self.cap {
            let wrong = |found| {
                Failure::new(Code::Usage, "This is no cap.")
                    .instead_of("bytes a day from 1M on, as 500M or 2G; off", found)
                    .next("custodia queue cap 500M")
            };
            wishes.cap = parse_cap(cap).map_err(wrong)?;
            wish(node, wishes.clone())?;
        }
        let sent = sent(node);
        let (day, used_up) = (sent.day().to_owned(), is_used_up(&wishes, &sent));
        Ok(Cap { cap: wishes.cap.map(print_cap), day, sent: sent.today(), used_up })
    }
}

/// What left today, whether the node runs or not.
fn sent(node: &Node) -> Sent {
    node.online().map_or_else(
        || {
            let mut sent = Sent::of(node.home());
            sent.at(edge::now());
            sent
        },
        |online| online.sent(),
    )
}

/// By which road an authority is called, until something else is said.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueVia {
    /// Whom, by the name in the trust file.
    pub to: String,
    /// `auto`, `udp` or `tcp`. Only asked when absent.
    pub via: Option<String>,
}

impl Operation for QueueVia {
    const NAME: &'static str = "queue/via";
    type Answer = Road;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Road, Failure> {
        let peer = node.peers().named(&self.to)?.root;
        let mut wishes = Wishes::of(node.home());
        if let Some(via) = &self.via {
            wishes.call(&peer, road(via)?);
            wish(node, wishes.clone())?;
        }
        let detour = node.online().and_then(|online| online.detour(&peer));
        Ok(Road { to: self.to, via: wishes.via(&peer, &[]).to_string(), detour })
    }
}

/// The road that somebody named.
pub(super) fn road(text: &str) -> Result<Via, Failure> {
    Via::parse(text).ok_or_else(|| {
        Failure::new(Code::Usage, "This is no road.")
            .instead_of("auto, udp or tcp", text)
            .next("custodia queue via NAME auto")
    })
}

/// One hand-over goes by this road.
pub(super) fn send_via(node: &Node, release: &Hash, via: Via) -> Result<(), Failure> {
    let mut wishes = Wishes::of(node.home());
    wishes.send(release, via);
    wish(node, wishes)
}

fn wish(node: &Node, wishes: Wishes) -> Result<(), Failure> {
    wishes.save(node.home())?;
    if let Some(online) = node.online() {
        online.wish(node, wishes);
    }
    Ok(())
}

/// The releases of a package to this authority, or to anybody.
fn handed_over(node: &Node, package: &str, to: Option<&str>) -> Result<Vec<Row>, Failure> {
    let root = packages::find(node, package)?;
    let to = to.map(|name| node.peers().named(name)).transpose()?.map(|peer| peer.root);
    let mut rows = Vec::new();
    for row in author::own_rows(node, &root)?.into_iter().filter(|row| row.kind == Kind::Release.to_string()) {
        let body = author::statement(node, &row.digest)?.map(|statement| statement.body);
        let is_to = |body: &Body| matches!(body, Body::Release(body) if to.is_none_or(|to| body.recipient.root == to));
        if body.as_ref().is_some_and(is_to) && !proofs::is_lost(node, &row)? {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(Failure::new(Code::NotYet, "This package was not handed over.")
            .at(root)
            .next("custodia send PACKAGE --to NAME"));
    }
    Ok(rows)
}

/// What was tried for a release, whether the node runs or not.
fn tried(node: &Node, release: &Hash) -> Option<TriedSoFar> {
    let attempts = match node.online() {
        Some(online) => online.attempts(release)?,
        None => Tried::of(node.home()).of_release(release)?.clone(),
    };
    let (first, last) = (attempts.first, attempts.last);
    Some(TriedSoFar { attempts: attempts.count, first, last, code: attempts.code })
}

/// What the session with a peer waits for where this release is concerned.
fn session(node: &Node, peer: &KeyId, release: &Hash) -> Option<SessionWaits> {
    let (waiting, since) = node.online()?.watch().waits_for(peer, release)?;
    let turn = match waiting.turn {
        Turn::Ours => "ours",
        Turn::Theirs => "theirs",
        Turn::Nobodys => "nobody",
    };
    let (why, next) = (waiting.why.to_owned(), waiting.next.to_owned());
    Some(SessionWaits { why, turn: turn.to_owned(), next, seconds: since.as_secs() })
}

/// A hand-over of ours, as the ledger has it.
pub(super) fn transfer(node: &Node, release: &Row) -> Result<Transfer, Failure> {
    let statement = author::statement(node, &release.digest)?;
    let Some(Statement { body: Body::Release(body), .. }) = statement else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release.digest));
    };
    let answers = node.index().answers(&release.digest)?;
    let of_peer = |kind: Kind| author::of_peer(node, &answers, &kind);
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
    let online = node.online().filter(|_| is_open);
    let root = &body.recipient.root;
    let last_failure = online.as_ref().and_then(|online| online.last_failure(root));
    let next_try_seconds = online.as_ref().and_then(|online| online.next_try_seconds(root));
    let wishes = if is_open { Wishes::of(node.home()) } else { Wishes::default() };
    let paused = wishes.is_paused(&release.digest);
    // What is announced goes on a day that is used up too.
    let cap = wishes.cap.filter(|_| !paused && state == TransferState::Consigned && is_used_up(&wishes, &sent(node)));
    let (why, turn, next) = match cap {
        _ if paused => {
            let next = format!("custodia queue resume {}", package.get(..16).unwrap_or(&package));
            ("somebody here said that it is to wait".to_owned(), "ours", next)
        }
        Some(cap) => (
            format!("today's {} of content are used up", print_cap(cap)),
            "ours",
            "it goes on at 00:00 UTC by itself, or at once: custodia queue cap".to_owned(),
        ),
        None => (why, turn, next),
    };
    let missed = deadline::missed(node, &release.digest)?.into_iter();
    let missed = missed.map(|one| NotReceived { deadline: one.deadline, statement: one.statement.to_string() });
    let tried = if is_open { tried(node, &release.digest) } else { None };
    Ok(Transfer {
        deadline: wishes.deadline(&release.digest).map(|time| time.to_string()),
        not_received: missed.collect(),
        tried,
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
        next_try_seconds,
        paused,
        capped: cap.is_some(),
        detour: online.as_ref().and_then(|online| online.detour(root)),
        session: online.and_then(|_| session(node, root, &release.digest)),
    })
}
