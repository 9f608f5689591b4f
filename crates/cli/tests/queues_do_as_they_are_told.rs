//! The outbox and the people before it: why something waits, letting it wait, and how fast it may go.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Authority, Place, until};

/// The one hand-over of a package, as the queue explains it.
fn why(of: &Authority, package: &str) -> Value {
    let waits = of.asks(&[&"queue", &"why", &package]);
    assert_eq!(waits.as_array().unwrap().len(), 1, "{waits}");
    waits[0].clone()
}

/// How much of a package somebody has taken.
fn carried(at: &Authority, package: &str) -> Value {
    let inbox = at.asks(&[&"inbox"]);
    let one = inbox.as_array().unwrap().iter().find(|one| one["package"] == package);
    one.map_or(Value::Null, |one| one["carried"].clone())
}

fn proven(at: &Authority, package: &str) -> u64 {
    carried(at, package)["proven"].as_u64().unwrap_or(0)
}

#[test]
fn a_limit_holds_until_it_is_lifted() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    // Before a node runs, what is asked for is remembered.
    assert_eq!(lab.asks(&[&"queue", &"limit", &"256k"])["wished"], "256k");
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    let pace = lab.asks(&[&"queue", &"limit"]);
    assert_eq!((&pace["now"], &pace["wished"]), (&Value::from("256k"), &Value::from("256k")), "{pace}");
    let began = Instant::now();
    lab.asks(&Authority::sends(&lab.seals(&place.source(1, 1 << 20)), &prosecutor));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(3500), "a MiB took {took:?} with 256 KiB a second");

    // It would take ten minutes so; lifted in its middle it is over at once.
    lab.asks(&[&"queue", &"limit", &"32k"]);
    let package = lab.seals(&place.source(2, 20 << 20));
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    until("content moves", || (why(&lab, &package)["state"] == "consigned").then_some(()));
    assert_eq!(lab.asks(&[&"queue", &"limit", &"off"])["now"], "off");
    until("it is delivered", || (why(&lab, &package)["state"] == "received").then_some(()));
    // The configuration says nothing.
    let pace = lab.asks(&[&"queue", &"limit", &"config"]);
    assert_eq!((&pace["now"], &pace["wished"]), (&Value::from("off"), &Value::Null), "{pace}");
    ours.stop();
    theirs.stop();
    for bad in ["31k", "fast", "0", "1.5M"] {
        lab.fails("E-USAGE", 2, &[&"queue", &"limit", &bad]).says("found", bad).says("next", "256k");
    }
}

#[test]
fn the_configuration_has_a_timetable() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let config = lab.home.join("custodia.toml");
    let text = fs::read_to_string(&config).unwrap();
    let limited = |limit: &str| fs::write(&config, format!("{text}\n[sending]\nlimit = \"{limit}\"\n")).unwrap();
    limited("00:00,64k 23:59,64k");
    let ours = lab.serves();
    let pace = lab.asks(&[&"queue", &"limit"]);
    assert_eq!(
        (&pace["now"], &pace["configured"]),
        (&Value::from("64k"), &Value::from("00:00,64k 23:59,64k")),
        "{pace}"
    );
    // What people ask for goes before, and is taken back.
    assert_eq!(lab.asks(&[&"queue", &"limit", &"1M"])["now"], "1M");
    assert_eq!(lab.asks(&[&"queue", &"limit", &"config"])["now"], "64k");
    ours.stop();
    for bad in ["1k", "25:00,64k", "08:00,64k 07:00,off", "08:00"] {
        limited(bad);
        lab.fails("E-CONFIG", 1, &[&"queue"]).says("place", "custodia.toml line").says("next", "correct that line");
    }
}

#[test]
fn a_hand_over_waits_when_it_is_told_to_and_goes_on_where_it_was() {
    const BYTES: u64 = 24 << 20;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, BYTES as usize));
    lab.asks(&[&"queue", &"limit", &"2M"]);
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    until("some of it is proven", || (proven(&prosecutor, &package) > 4 << 20).then_some(()));
    let now = why(&lab, &package);
    assert_eq!((&now["session"]["turn"], now["paused"].as_bool()), (&Value::from("theirs"), Some(false)), "{now}");
    assert!(now["session"]["why"].as_str().unwrap().contains("fetches and proves"), "{now}");

    let paused = lab.asks(&[&"queue", &"pause", &package])[0].clone();
    assert_eq!((paused["paused"].as_bool(), &paused["turn"]), (Some(true), &Value::from("ours")), "{paused}");
    assert!(paused["next"].as_str().unwrap().starts_with("custodia queue resume "), "{paused}");
    until("the session is over", || why(&lab, &package)["session"].is_null().then_some(()));
    let held = proven(&prosecutor, &package);
    // It stays so across a restart, and when everything else is delivered.
    ours.stop();
    let ours = lab.serves();
    let other = lab.seals(&place.source(2, 1000));
    lab.asks(&Authority::sends(&other, &prosecutor));
    assert_eq!((proven(&prosecutor, &package), why(&lab, &package)["state"].as_str()), (held, Some("consigned")));

    lab.asks(&[&"queue", &"limit", &"off"]);
    lab.asks(&[&"queue", &"resume", &package, &"--to", &prosecutor.name]);
    until("it is delivered", || (why(&lab, &package)["state"] == "received").then_some(()));
    ours.stop();
    theirs.stop();
    let told = carried(&prosecutor, &package);
    assert_eq!((told["again"].as_u64(), told["proven"].as_u64()), (Some(0), Some(BYTES + 8)), "{told}");
    lab.fails("E-UNKNOWN-PEER", 22, &[&"queue", &"pause", &package, &"--to", &"nobody.example"]);
    let kept = lab.seals(&place.source(3, 1000));
    lab.fails("E-STATE", 1, &[&"queue", &"why", &kept]).says("next", "custodia send");
}

#[test]
fn who_is_not_there_is_said_and_when_he_is_tried_again() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    let ours = lab.serves();
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    let waits = until("an attempt came to nothing", || {
        Some(why(&lab, &package)).filter(|waits| !waits["last_failure"].is_null())
    });
    assert_eq!(waits["last_failure"]["code"], "E-PEER-UNREACHABLE", "{waits}");
    assert!(waits["next_try_seconds"].as_u64().unwrap() <= 400 && waits["session"].is_null(), "{waits}");
    let words = lab.says(&["queue", "why", &package]);
    assert!(words.contains("Tried again in") && words.contains("custodia queue --now"), "{words}");
    // With nothing running there is nothing to be tried.
    ours.stop();
    assert!(why(&lab, &package)["next_try_seconds"].is_null());
}
