//! The second road: a network that drops UDP, or of which people know that it does; and what was carried half by each road.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use serde_json::Value;
use support::{Authority, Place, address, until};

/// What a firewall lets through to a node: TCP. Datagrams are taken and dropped, and nobody is told.
struct Firewall {
    address: String,
    _swallows: UdpSocket,
}

impl Firewall {
    fn before(node: &str) -> Self {
        let (address, node): (String, SocketAddr) = (address(), node.parse().unwrap());
        let _swallows = UdpSocket::bind(&address).unwrap();
        let listener = TcpListener::bind(&address).unwrap();
        // It ends with the test's process.
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(there) = TcpStream::connect(node) else { continue };
                let (back, to) = (there.try_clone().unwrap(), caller.try_clone().unwrap());
                thread::spawn(move || pass(caller, there));
                thread::spawn(move || pass(back, to));
            }
        });
        Self { address, _swallows }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A laboratory, and a prosecutor behind a firewall.
fn behind_a_firewall(place: &Place) -> (Authority, Authority, Firewall) {
    let lab = place.found("lab.example");
    let prosecutor = Authority {
        name: "prosecutor.example".to_owned(),
        home: place.path("homes/prosecutor.example"),
        address: address(),
    };
    let firewall = Firewall::before(&prosecutor.address);
    prosecutor.init(&["--no-passphrase", "--address", &firewall.address]).answer();
    place.meet(&lab, &prosecutor);
    (lab, prosecutor, firewall)
}

fn proven(at: &Authority, package: &str) -> u64 {
    let inbox = at.asks(&[&"inbox"]);
    let one = inbox.as_array().unwrap().iter().find(|one| one["package"] == package).cloned();
    one.map_or(0, |one| one["carried"]["proven"].as_u64().unwrap_or(0))
}

fn state(of: &Authority, package: &str) -> Value {
    of.asks(&[&"queue", &"why", &package])[0]["state"].clone()
}

/// What a hand-over leaves at both ends, whichever road it took: one of each.
fn is_delivered_once(from: &Authority, to: &Authority, package: &str) {
    assert_eq!(from.said_of(package), ["seal", "release", "consignment", "receipt"]);
    assert_eq!(to.said_of(package), ["release", "consignment", "receipt"]);
}

#[test]
fn silence_by_udp_is_no_end_and_is_said() {
    let place = Place::new();
    let (lab, prosecutor, firewall) = behind_a_firewall(&place);
    let theirs = prosecutor.serves();
    let package = lab.seals(&place.source(1, 300_000));
    let delivery = lab.asks(&Authority::sends(&package, &prosecutor));
    assert_eq!(delivery["transfer"]["state"], "received", "{delivery}");
    let words =
        format!("nothing came back by UDP from {} in 3 s; a firewall may drop it; going by TCP", firewall.address);
    assert_eq!(delivery["detour"], words.as_str(), "{delivery}");
    is_delivered_once(&lab, &prosecutor, &package);
    // The next process knows, and does not wait as long for what will not come.
    let package = lab.seals(&place.source(2, 1000));
    let delivery = lab.asks(&Authority::sends(&package, &prosecutor));
    assert!(delivery["detour"].as_str().unwrap().contains(" in 2 s; "), "{delivery}");
    theirs.stop();
    for authority in [lab, prosecutor] {
        authority.is_sound();
    }
}

#[test]
fn who_asked_for_udp_alone_is_told_that_it_seems_blocked_and_the_queue_that_it_goes_by_tcp() {
    let place = Place::new();
    let (lab, prosecutor, firewall) = behind_a_firewall(&place);
    let theirs = prosecutor.serves();
    let package = lab.seals(&place.source(1, 300_000));
    let asked = lab.asks(&[&"queue", &"via", &prosecutor.name, &"udp"]);
    assert_eq!(asked["via"], "udp", "{asked}");
    lab.fails_changing("E-UDP-BLOCKED", 20, &Authority::sends(&package, &prosecutor))
        .says("place", &firewall.address)
        .says("found", "by UDP: nothing came back in 10 s; something listens there by TCP")
        .says("safe", "queued")
        .says("next", "custodia queue via");
    // It takes what is said of the peer, and says by which road it goes.
    lab.asks(&[&"queue", &"via", &prosecutor.name, &"tcp"]);
    let ours = lab.serves();
    until("it is delivered", || (state(&lab, &package) == "received").then_some(()));
    assert!(lab.says(&["queue", "via", &prosecutor.name]).contains("is called by TCP alone"));
    ours.stop();
    theirs.stop();
    lab.fails("E-USAGE", 2, &[&"queue", &"via", &prosecutor.name, &"pigeon"]).says("found", "pigeon");
    lab.fails("E-UNKNOWN-PEER", 22, &[&"queue", &"via", &"nobody.example"]);
}

#[test]
fn a_transfer_by_tcp_goes_on_after_kills_at_both_ends_and_has_one_receipt() {
    const BYTES: u64 = 24 << 20;
    let place = Place::new();
    let (lab, prosecutor, _firewall) = behind_a_firewall(&place);
    let package = lab.seals(&place.source(1, BYTES as usize));
    lab.asks(&[&"queue", &"limit", &"4M"]);
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name, &"--via", &"tcp"]);
    let (ours, mut theirs) = (lab.serves(), prosecutor.serves());
    let mut before = 0;
    let mut some_more = |at: &Authority| {
        until("some more of it is recorded as proven", || (proven(at, &package) > before + (2 << 20)).then_some(()));
        before = proven(at, &package);
    };
    some_more(&prosecutor);
    ours.kill();
    let ours = lab.serves();
    some_more(&prosecutor);
    theirs.kill();
    theirs = prosecutor.serves();
    lab.asks(&[&"queue", &"limit", &"off"]);
    lab.asks(&[&"queue", &"--now"]);
    until("it is delivered", || (state(&lab, &package) == "received").then_some(()));
    ours.stop();
    theirs.stop();
    let told = prosecutor.received()["carried"].clone();
    assert_eq!((told["again"].as_u64(), told["proven"].as_u64()), (Some(0), Some(BYTES + 8)), "{told}");
    is_delivered_once(&lab, &prosecutor, &package);
    for authority in [lab, prosecutor] {
        authority.is_sound();
    }
}

#[test]
fn what_went_half_by_quic_goes_on_by_tcp() {
    const BYTES: u64 = 16 << 20;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, BYTES as usize));
    lab.asks(&[&"queue", &"limit", &"4M"]);
    lab.asks(&[&"queue", &"via", &prosecutor.name, &"udp"]);
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    until("half of it is proven", || (proven(&prosecutor, &package) > BYTES / 2).then_some(()));
    ours.stop();
    let half = proven(&prosecutor, &package);
    lab.asks(&[&"queue", &"via", &prosecutor.name, &"tcp"]);
    let delivery = lab.asks(&Authority::sends(&package, &prosecutor));
    theirs.stop();
    let rest = delivery["bytes_sent"].as_u64().unwrap();
    assert!(rest <= BYTES + 8 - half, "{rest} bytes went by TCP, {half} had been proven");
    let told = prosecutor.received()["carried"].clone();
    assert_eq!((told["again"].as_u64(), told["proven"].as_u64()), (Some(0), Some(BYTES + 8)), "{told}");
    is_delivered_once(&lab, &prosecutor, &package);
}

#[test]
fn a_node_without_tcp_refuses_it_and_both_roads_are_named_where_nobody_answers() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let config = prosecutor.home.join("custodia.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("\ntcp = true\n"), "{text}");
    std::fs::write(&config, text.replace("tcp = true", "tcp = false")).unwrap();
    let package = lab.seals(&place.source(1, 1000));
    let theirs = prosecutor.serves();
    let mut by_tcp = Authority::sends(&package, &prosecutor).to_vec();
    by_tcp.extend([&"--via" as &dyn AsRef<std::ffi::OsStr>, &"tcp"]);
    lab.fails_changing("E-PEER-UNREACHABLE", 20, &by_tcp)
        .says("place", &format!("TCP {}", prosecutor.address))
        .says("found", "by TCP: refused");
    theirs.stop();
    let mut either = by_tcp;
    *either.last_mut().unwrap() = &"auto";
    lab.fails_changing("E-PEER-UNREACHABLE", 20, &either)
        .says("place", &format!("UDP and TCP {}", prosecutor.address))
        .says("found", "by UDP: refused: nobody listens there; by TCP: refused: nobody listens there");
}
