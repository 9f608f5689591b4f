//! The node's health: what an owner looks at before anything goes wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answers::{Check, Diagnosis};
use crate::api::{Operation, Reporter};
use crate::claims::Claims;
use crate::failure::Failure;
use crate::peers::Authority;
use crate::scrub::record::{self, Scrubbed};
use crate::witness::{self, Whose};
use crate::{Node, ask, desk, edge, evidence, keys, outbox, time_stamps};

/// Bytes below which a disk is called nearly full.
const LITTLE_ROOM: u64 = 1 << 30;
/// Seconds by which this clock may be behind the newest cosignature before it is remarked.
const CLOCK_SLACK: i64 = 120;

/// Seconds without the end of a round that are never too long, however short a round is; else it is twice a round's time.
const SCRUB_SLACK: u64 = 86_400;
/// Damaged files that are named; the rest is counted.
const DAMAGED_NAMED: usize = 8;

/// Look after the node's health.
#[derive(Debug, Serialize, Deserialize)]
pub struct Doctor {}

impl Operation for Doctor {
    const NAME: &'static str = "doctor";
    type Answer = Diagnosis;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Diagnosis, Failure> {
        let mut checks = vec![
            check("home", node.home().check().map(|()| node.home().path().display().to_string())),
            check("ledger", ledger(node)),
            check("keys", node_keys(node)),
            root_key(node),
            room(node)?,
            clock(node)?,
            peers(node),
            asked(node)?,
            witnesses(node),
            queue(node)?,
            index(node)?,
            Check { name: "socket".to_owned(), ok: true, seen: socket(node) },
            scrub(node),
        ];
        checks.extend(time_stamps(node));
        checks.extend(damaged(node));
        checks.extend(ledgers_of_others(node));
        Ok(Diagnosis { checks })
    }
}

fn check(name: &str, seen: Result<String, Failure>) -> Check {
    let name = name.to_owned();
    match seen {
        Ok(seen) => Check { name, ok: true, seen },
        Err(failure) => Check { name, ok: false, seen: failure.to_string() },
    }
}

fn ledger(node: &Node) -> Result<String, Failure> {
    node.may_sign()?;
    Ok(format!("{}, {} entries, signing", node.config().ledger, node.ledger().size()))
}

fn node_keys(node: &Node) -> Result<String, Failure> {
    for name in [keys::STATEMENT, keys::LEDGER, keys::WITNESS, keys::TRANSPORT] {
        keys::read(node.home(), name)?;
    }
    Ok("statement, ledger, witness and transport open".to_owned())
}

/// The root key should lie elsewhere once the peers are met; that it is here is worth a word, and no fault.
fn root_key(node: &Node) -> Check {
    let here =
        [keys::ROOT.to_owned(), format!("{}.age", keys::ROOT)].into_iter().find(|name| node.home().key(name).is_file());
    let seen = match here {
        Some(name) if name.ends_with(".age") => {
            "on this machine, under a passphrase; move it to a safe once the peers are met"
        }
        Some(_) => "on this machine, without a passphrase; move it to a safe once the peers are met",
        None => "not on this machine",
    };
    Check { name: "root key".to_owned(), ok: true, seen: seen.to_owned() }
}

fn room(node: &Node) -> Result<Check, Failure> {
    let free = node.vault().room()?;
    Ok(Check { name: "disk".to_owned(), ok: free >= LITTLE_ROOM, seen: format!("{} MiB free", free >> 20) })
}

/// The clock is a claim and blocks nothing; that it is behind what others signed is worth knowing.
fn clock(node: &Node) -> Result<Check, Failure> {
    let now = edge::now();
    let mut newest = None;
    for peer in node.peers().all() {
        let Some(filed) = node.notes().of_peer(&peer.root, Whose::Ours).last().cloned() else { continue };
        let note = filed.read()?;
        for key in peer.witness_keys() {
            if let Ok(Some(time)) = custodia_format::checkpoint::cosignature_time(&note, key) {
                newest = newest.max(i64::try_from(time).ok());
            }
        }
    }
    let behind = newest.map_or(0, |newest| newest - now.unix());
    let is_set = edge::is_of_a_set_clock(now);
    let seen = if !is_set {
        format!("{now}, which nobody has set: this node cosigns nothing")
    } else if behind > CLOCK_SLACK {
        format!("{now}, {behind} s behind the newest cosignature of a peer")
    } else {
        now.to_string()
    };
    Ok(Check { name: "clock".to_owned(), ok: is_set && behind <= CLOCK_SLACK, seen })
}

/// Whether anybody has told what it saw of the ledger on this disk. Doubt is worth a word, and no fault: a field team may be
/// out of reach for weeks.
fn asked(node: &Node) -> Result<Check, Failure> {
    let peers = node.peers().all();
    let told = ask::Record::read(node.home())?.is_some_and(|record| record.answered);
    let seen = match told || peers.iter().any(|peer| witness::has_newest(node, &peer.root)) {
        _ if peers.is_empty() => "nobody to ask".to_owned(),
        true => "peers told what they saw of this ledger".to_owned(),
        false => "nobody has told yet what it saw: what is signed is unconfirmed until a peer cosigns it".to_owned(),
    };
    Ok(Check { name: "asked".to_owned(), ok: true, seen })
}

fn peers(node: &Node) -> Check {
    let all = node.peers().all();
    let without: Vec<String> =
        all.iter().filter(|peer| peer.newest().is_none()).map(|peer| peer.name.to_string()).collect();
    let seen = match (all.len(), without.is_empty()) {
        (0, _) => "nobody is trusted yet: custodia trust add CARD".to_owned(),
        (many, true) => format!("{many} trusted, each with a card"),
        (_, false) => format!("no card of {}", without.join(", ")),
    };
    Check { name: "peers".to_owned(), ok: without.is_empty(), seen }
}

/// Who has cosigned our newest checkpoint: a proof is worth what those who saw the ledger are worth.
fn witnesses(node: &Node) -> Check {
    let size = node.ledger().size();
    let all = node.peers().all();
    let (with, without): (Vec<_>, Vec<_>) = all.iter().partition(|peer| witness::has_newest(node, &peer.root));
    let names = |peers: &[&Arc<Authority>]| match peers {
        [] => "nobody".to_owned(),
        some => some.iter().map(|peer| peer.name.to_string()).collect::<Vec<_>>().join(", "),
    };
    let mut seen = format!("size {size} is cosigned by {}", names(&with));
    if !without.is_empty() {
        seen.push_str(&format!("; not yet by {}", names(&without)));
    }
    Check { name: "witnesses".to_owned(), ok: true, seen }
}

fn queue(node: &Node) -> Result<Check, Failure> {
    let mut open = 0;
    for row in crate::author::own_of_kind(node, &custodia_format::kind::Kind::Release)? {
        open += u64::from(!outbox::is_answered(node, &row.digest)?);
    }
    let seen = if open == 0 {
        "nothing waits".to_owned()
    } else {
        format!("{open} packages are not delivered yet: custodia queue")
    };
    Ok(Check { name: "queue".to_owned(), ok: true, seen })
}

fn index(node: &Node) -> Result<Check, Failure> {
    let (reflects, size) = (node.index().reflects()?, node.ledger().size());
    let seen = format!("reflects {reflects} of {size} entries");
    Ok(Check { name: "index".to_owned(), ok: reflects == size, seen })
}

/// When everything was last read back, and what that found.
fn scrub(node: &Node) -> Check {
    let name = "scrub".to_owned();
    let scrubbed = Scrubbed::load(node.home());
    let last = scrubbed.last.as_ref().map(|last| {
        let found = match last.damaged {
            0 => "all whole".to_owned(),
            some => format!("{some} damaged"),
        };
        let (ended, size) = (desk::moment(last.ended), last.bytes >> 20);
        format!(
            "the last full round ended {ended}: {} objects, {size} MiB, {} manifests, {found}",
            last.objects, last.manifests
        )
    });
    let seen = last.unwrap_or_else(|| "no full round has ended yet".to_owned());
    let Some(period) = node.config().scrub else {
        return Check { name, ok: true, seen: format!("off (scrub_days = 0 in custodia.toml); {seen}") };
    };
    let now = scrubbed.round.as_ref().map_or_else(String::new, |round| {
        format!("; {} objects of the next are read since {}", round.objects, desk::moment(round.began))
    });
    // A round that was begun long ago and never ended is late as well.
    let since = scrubbed.last.map(|last| last.ended).or(scrubbed.round.map(|round| round.began));
    let age = since.and_then(|since| u64::try_from(edge::now().unix().saturating_sub(since)).ok());
    let is_late = age.is_some_and(|age| age > (2 * period.as_secs()).max(SCRUB_SLACK));
    let late = if is_late { "; that is too long ago: custodia serve, or custodia ledger fsck --bytes" } else { "" };
    Check { name, ok: !is_late, seen: format!("{seen}{now}{late}") }
}

/// How asking the time-stamping services goes: an outage blocks nothing, and is told.
fn time_stamps(node: &Node) -> Vec<Check> {
    let check = |ok, seen| Check { name: "time".to_owned(), ok, seen };
    let Some(settings) = &node.config().time_stamps else {
        return vec![check(true, "no time-stamping service is configured".to_owned())];
    };
    if let Err(failure) = node.trust().and_then(|trust| time_stamps::certificates(&trust)) {
        return vec![check(false, failure.to_string())];
    }
    let record = time_stamps::Record::load(node.home());
    let told = settings.services.iter().map(|service| {
        let asked = record.of(service).cloned().unwrap_or_default();
        let mut seen = format!("{service}: ");
        seen.push_str(&asked.last.map_or_else(
            || "no token yet".to_owned(),
            |last| {
                let remark = last.remark.map_or_else(String::new, |remark| format!("; {remark}"));
                format!("size {} at {} by {}{remark}", last.size, last.time, last.by)
            },
        ));
        if let Some(failed) = &asked.failed {
            let (since, why) = (desk::moment(failed.since), &failed.failure);
            let times = if failed.times == 1 { "once".to_owned() } else { format!("{} times", failed.times) };
            let (expected, found) = (why.expected.as_deref(), why.found.as_deref());
            let differs = format!("{} instead of {}", found.unwrap_or_default(), expected.unwrap_or_default());
            seen.push_str(&format!("; asked in vain {times} since {since}, {}: {differs}", why.code.as_str()));
        }
        check(asked.failed.is_none(), seen)
    });
    told.collect()
}

/// Files that were found damaged, until they are read whole again.
fn damaged(node: &Node) -> Vec<Check> {
    let all = record::damaged(node.home());
    let check = |seen| Check { name: "damage".to_owned(), ok: false, seen };
    let mut checks: Vec<Check> = all
        .iter()
        .take(DAMAGED_NAMED)
        .map(|one| {
            let needed = match one.needed_by.as_slice() {
                [] => String::new(),
                packages => format!("; needed by {}", packages.join(", ")),
            };
            let held = match one.held_by.as_slice() {
                [] => "; nobody else signed for it".to_owned(),
                holders => format!("; ask {}", holders.join(", or ")),
            };
            check(format!("{}: {}{needed}{held}; found {}", one.path, one.found, one.found_at))
        })
        .collect();
    if all.len() > DAMAGED_NAMED {
        let more = all.len() - DAMAGED_NAMED;
        checks.push(check(format!("and {more} more: custodia ledger fsck --bytes names all of them")));
    }
    checks
}

/// Ledgers of others that contradict themselves, or have yet to prove what somebody was shown of them.
fn ledgers_of_others(node: &Node) -> Vec<Check> {
    let checked = |peer: &Authority| match of_peer(node, peer) {
        Ok(checks) => checks,
        Err(failure) => vec![Check { name: "others".to_owned(), ok: false, seen: failure.to_string() }],
    };
    node.peers().all().iter().flat_map(|peer| checked(peer)).collect()
}

fn of_peer(node: &Node, peer: &Authority) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for found in evidence::of(node, &peer.root)? {
        let [one, other] = found.sizes;
        let place = found.path.display();
        let seen = if found.is_fork() {
            let both = if found.both_ours {
                ", and this node's own key cosigned both: it had forgotten the first"
            } else {
                ""
            };
            format!(
                "{} showed two histories at size {one}{both}; nothing of it is cosigned any more; the proof is {place}",
                found.origin
            )
        } else {
            format!(
                "{} showed size {other} without a proof that it continues size {one}; both are in {place}",
                found.origin
            )
        };
        let name = if found.is_fork() { "fork" } else { "unproven" };
        checks.push(Check { name: name.to_owned(), ok: false, seen });
    }
    for ledger in peer.ledgers() {
        for claim in Claims::of(node.home(), peer.root, ledger).open()? {
            let seen = format!(
                "{} has yet to prove that it continues size {}, which others were shown; nothing of it is cosigned before",
                ledger.name(),
                claim.checkpoint.size
            );
            checks.push(Check { name: "claim".to_owned(), ok: true, seen });
        }
    }
    Ok(checks)
}

fn socket(node: &Node) -> String {
    let path = node.home().socket();
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if is_there(&path) { "the node serves".to_owned() } else { "the node does not serve: custodia serve".to_owned() }
}
