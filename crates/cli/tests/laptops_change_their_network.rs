//! A laptop that goes from one network into another in the middle of a transfer: two machines with addresses of their own, joined
//! by a wire. Needs `ip` and root (CAP_NET_ADMIN, CAP_SYS_ADMIN).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::process::Command;

use serde_json::Value;
use support::{Authority, Place, custodia_under, tool, until};

const PORT: u16 = 4433;
/// Where the peer is, whichever network it is reached by.
const PEER: &str = "10.99.0.1";

/// A laptop and a peer, and a wire between them on which there are two networks. They go when it is dropped.
struct Machines {
    laptop: String,
    peer: String,
}

impl Machines {
    fn new(name: &str) -> Self {
        let id = format!("{name}{}", std::process::id());
        let machines = Self { laptop: format!("cl{id}"), peer: format!("cp{id}") };
        let Self { laptop, peer } = &machines;
        for machine in [laptop, peer] {
            ip(&["netns", "add", machine]);
            ip(&["-n", machine, "link", "set", "lo", "up"]);
        }
        ip(&["-n", laptop, "link", "add", "w", "type", "veth", "peer", "name", "w", "netns", peer]);
        for machine in [laptop, peer] {
            ip(&["-n", machine, "link", "set", "w", "up"]);
        }
        ip(&["-n", peer, "address", "add", &format!("{PEER}/32"), "dev", "lo"]);
        for network in ["10.99.1.1/24", "10.99.2.1/24"] {
            ip(&["-n", peer, "address", "add", network, "dev", "w"]);
        }
        machines.enters(1);
        machines
    }

    /// The laptop gets an address of this network, and has none of another any more.
    fn enters(&self, network: u8) {
        let laptop = &self.laptop;
        ip(&["-n", laptop, "address", "flush", "dev", "w"]);
        ip(&["-n", laptop, "address", "add", &format!("10.99.{network}.2/24"), "dev", "w"]);
        ip(&["-n", laptop, "route", "replace", PEER, "via", &format!("10.99.{network}.1")]);
    }

    fn on(machine: &str) -> Command {
        custodia_under(&["ip", "netns", "exec", machine])
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for machine in [&self.laptop, &self.peer] {
            let _ = Command::new("ip").args(["netns", "delete", machine]).status();
        }
    }
}

fn ip(words: &[&str]) {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    tool("ip", &words, "makes network namespaces and needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN)");
}

fn why(of: &Authority, package: &str) -> Value {
    of.asks(&[&"queue", &"why", &package])[0].clone()
}

fn proven(at: &Authority, package: &str) -> u64 {
    let inbox = at.asks(&[&"inbox"]);
    let one = inbox.as_array().unwrap().iter().find(|one| one["package"] == package).cloned();
    one.map_or(0, |one| one["carried"]["proven"].as_u64().unwrap_or(0))
}

/// Sends by a road, and changes the network in the middle; gives what had been tried by then and the end.
fn sends_and_moves(name: &str, via: &str) -> Value {
    const MIB: u64 = 1 << 20;
    let machines = Machines::new(name);
    let place = Place::new();
    let lab = place.found_at("lab.example", place.path("homes/lab.example"), &format!("0.0.0.0:{PORT}"));
    let prosecutor =
        place.found_at("prosecutor.example", place.path("homes/prosecutor.example"), &format!("{PEER}:{PORT}"));
    place.meet(&lab, &prosecutor);
    let package = lab.seals(&place.source(1, usize::try_from(24 * MIB).unwrap()));
    lab.asks(&[&"queue", &"limit", &"3M"]);
    lab.asks(&[&"queue", &"via", &prosecutor.name, &via]);
    let ours = lab.serves_under(Machines::on(&machines.laptop));
    let theirs = prosecutor.serves_under(Machines::on(&machines.peer));
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    until("some of it is proven", || (proven(&prosecutor, &package) > 3 * MIB).then_some(()));
    let before = why(&lab, &package);
    assert_eq!(before["tried"]["attempts"], 1, "{before}");
    machines.enters(2);
    let at_the_move = proven(&prosecutor, &package);
    let after = until("it goes on in the other network", || {
        (proven(&prosecutor, &package) > at_the_move + 6 * MIB).then(|| why(&lab, &package))
    });
    lab.asks(&[&"queue", &"limit", &"off"]);
    until("it is delivered", || (why(&lab, &package)["state"] == "received").then_some(()));
    ours.stop();
    theirs.stop();
    let inbox = prosecutor.asks(&[&"inbox"]);
    assert_eq!(inbox[0]["carried"]["again"], 0, "{inbox}");
    after
}

#[test]
fn a_session_by_quic_goes_on_in_the_other_network() {
    let after = sends_and_moves("q", "udp");
    assert_eq!(after["tried"]["attempts"], 1, "it is the same session: {after}");
}

#[test]
fn a_session_by_tcp_is_broken_off_and_made_again_before_the_silence_is_noticed() {
    let after = sends_and_moves("t", "tcp");
    // A session that ends by silence leaves E-LINK-LOST.
    assert_eq!((&after["tried"]["attempts"], &after["tried"]["code"]), (&Value::from(2), &Value::Null), "{after}");
}
