//! Several packages to one authority: none waits for the bytes of another, people say which goes first, and who cannot be
//! called is served when he calls.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Authority, Place, address, until};

fn state(of: &Authority, package: &str) -> String {
    let waits = of.asks(&[&"queue", &"why", &package]);
    waits[0]["state"].as_str().unwrap().to_owned()
}

/// What of a package was taken: bytes that are proven, and bytes that came a second time.
fn taken(at: &Authority, package: &str) -> (u64, u64) {
    let inbox = at.asks(&[&"inbox"]);
    let one = inbox.as_array().unwrap().iter().find(|one| one["package"] == package);
    let carried = one.map_or(&Value::Null, |one| &one["carried"]);
    (carried["proven"].as_u64().unwrap_or(0), carried["again"].as_u64().unwrap_or(0))
}

#[test]
fn a_small_package_arrives_while_a_large_one_is_on_its_way() {
    const LARGE: usize = 40 << 20;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let large = lab.seals(&place.source(1, LARGE));
    let small: Vec<String> = (2..5).map(|seed| lab.seals(&place.source(seed, 1000))).collect();
    lab.asks(&[&"queue", &"limit", &"512k"]);
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    lab.asks(&[&"send", &large, &"--to", &prosecutor.name]);
    until("the large one moves", || (taken(&prosecutor, &large).0 > 1 << 20).then_some(()));
    // Queued while the session with their recipient is busy for more than a minute.
    for package in &small {
        lab.asks(&[&"send", package, &"--to", &prosecutor.name]);
    }
    for package in &small {
        until("a small one is received", || (state(&lab, package) == "received").then_some(()));
    }
    let before = taken(&prosecutor, &large).0;
    assert_eq!((state(&lab, &large).as_str(), before < LARGE as u64), ("consigned", true), "{before}");

    // And the other way about: the recipient accepts, and the answer goes in the same session.
    prosecutor.asks(&[&"accept", &small[0]]);
    until("the acceptance is here", || {
        let waits = lab.asks(&[&"queue", &"why", &small[0]]);
        (waits[0]["answer"] == "accepted").then_some(())
    });
    assert_eq!(state(&lab, &large), "consigned");
    lab.asks(&[&"queue", &"limit", &"off"]);
    until("the large one is received", || (state(&lab, &large) == "received").then_some(()));
    ours.stop();
    theirs.stop();
    assert_eq!(taken(&prosecutor, &large), (LARGE as u64 + 8, 0));
    [lab, prosecutor].iter().for_each(Authority::is_sound);
}

#[test]
fn one_goes_first_when_people_say_so_and_the_others_go_on_where_they_were() {
    const BYTES: usize = 12 << 20;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let [one, other] = [1, 2].map(|seed| lab.seals(&place.source(seed, BYTES)));
    lab.asks(&[&"queue", &"limit", &"1M"]);
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    lab.asks(&[&"send", &one, &"--to", &prosecutor.name]);
    until("it moves", || (taken(&prosecutor, &one).0 > 2 << 20).then_some(()));
    lab.asks(&[&"send", &other, &"--to", &prosecutor.name]);
    until("both move", || (taken(&prosecutor, &other).0 > 1 << 20).then_some(()));
    let first = lab.asks(&[&"queue", &"first", &other])[0].clone();
    assert!(first["why"].as_str().unwrap().contains("consigned") || first["state"] == "consigned", "{first}");
    until("the first one is received", || (state(&lab, &other) == "received").then_some(()));
    assert_eq!(state(&lab, &one), "consigned");
    let held = taken(&prosecutor, &one).0;
    assert!(held < BYTES as u64, "it waited meanwhile");
    lab.asks(&[&"queue", &"limit", &"off"]);
    until("and the other one too", || (state(&lab, &one) == "received").then_some(()));
    ours.stop();
    theirs.stop();
    for package in [&one, &other] {
        assert_eq!(taken(&prosecutor, package), (BYTES as u64 + 8, 0));
    }
}

#[test]
fn who_cannot_be_called_gets_what_waits_for_him_when_he_calls() {
    let place = Place::new();
    let (mut lab, prosecutor) = place.pair();
    // A team behind a network that lets nobody in: its card's address leads nowhere.
    let config = lab.home.join("custodia.toml");
    let text = fs::read_to_string(&config).unwrap();
    let elsewhere = address();
    fs::write(&config, text.replace(&lab.address, &elsewhere)).unwrap();
    lab.address = elsewhere;
    let package = prosecutor.seals(&place.source(1, 3 << 20));
    let theirs = prosecutor.serves();
    prosecutor.asks(&[&"send", &package, &"--to", &lab.name]);
    until("nobody answers", || {
        let waits = prosecutor.asks(&[&"queue", &"why", &package]);
        (!waits[0]["last_failure"].is_null()).then_some(())
    });
    // The team calls for something of its own, and is handed what waited.
    let own = lab.seals(&place.source(2, 1000));
    let ours = lab.serves();
    lab.asks(&[&"send", &own, &"--to", &prosecutor.name]);
    until("it is delivered", || (state(&prosecutor, &package) == "received").then_some(()));
    assert_eq!(state(&lab, &own), "received");
    ours.stop();
    theirs.stop();
    assert_eq!(taken(&lab, &package), ((3 << 20) + 8, 0));
}
