//! The node's health: what an owner looks at before anything goes wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answers::{Check, Diagnosis};
use crate::api::{Operation, Reporter};
use crate::failure::Failure;
use crate::witness::{self, Whose};
use crate::{Node, edge, keys, outbox};

/// Bytes below which a disk is called nearly full.
const LITTLE_ROOM: u64 = 1 << 30;
/// Seconds by which this clock may be behind the newest cosignature before it is remarked.
const CLOCK_SLACK: i64 = 120;

/// Look after the node's health.
#[derive(Debug, Serialize, Deserialize)]
pub struct Doctor {}

impl Operation for Doctor {
    const NAME: &'static str = "doctor";
    type Answer = Diagnosis;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Diagnosis, Failure> {
        let checks = vec![
            check("home", node.home().check().map(|()| node.home().path().display().to_string())),
            check("ledger", ledger(node)),
            check("keys", node_keys(node)),
            root_key(node),
            room(node)?,
            clock(node)?,
            peers(node),
            queue(node)?,
            index(node)?,
            Check { name: "socket".to_owned(), ok: true, seen: socket(node) },
        ];
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
        let Some(filed) = witness::of_peer(node.home(), &peer.root, Whose::Ours).pop() else { continue };
        let note = filed.read()?;
        for key in peer.witness_keys() {
            if let Ok(Some(time)) = custodia_format::checkpoint::cosignature_time(&note, key) {
                newest = newest.max(i64::try_from(time).ok());
            }
        }
    }
    let behind = newest.map_or(0, |newest| newest - now.unix());
    let seen = if behind > CLOCK_SLACK {
        format!("{now}, {behind} s behind the newest cosignature of a peer")
    } else {
        now.to_string()
    };
    Ok(Check { name: "clock".to_owned(), ok: behind <= CLOCK_SLACK, seen })
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

fn socket(node: &Node) -> String {
    let path = node.home().socket();
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if is_there(&path) { "the node serves".to_owned() } else { "the node does not serve: custodia serve".to_owned() }
}
