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

/// Lets what was counted have left on a day before all that this clock shows: as if midnight had passed.
fn passes_midnight(of: &Authority) {
    let path = of.home.join("desk/sent.json");
    let mut sent: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let bytes = sent["bytes"][sent["day"].as_str().unwrap()].clone();
    sent = serde_json::json!({ "day": "2026-11-02", "bytes": { "2026-11-02": bytes } });
    fs::write(&path, sent.to_string()).unwrap();
}

#[test]
fn a_day_that_is_used_up_ends_and_the_next_one_goes_on_where_it_was() {
    const MIB: u64 = 1 << 20;
    const BYTES: u64 = 24 * MIB;
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, BYTES as usize));
    assert_eq!(lab.asks(&[&"queue", &"cap", &"9M"])["cap"], "9M");
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    let waits = until("the day is used up", || Some(why(&lab, &package)).filter(|waits| waits["capped"] == true));
    assert_eq!((&waits["turn"], waits["paused"].as_bool()), (&Value::from("ours"), Some(false)), "{waits}");
    let words = lab.says(&["queue", "why", &package]);
    assert!(words.contains("today's 9M of content are used up") && words.contains("goes on at 00:00 UTC"), "{words}");
    assert!(lab.says(&["queue"]).contains("today's 9M of content are used up"));
    until("the session is over", || why(&lab, &package)["session"].is_null().then_some(()));
    let first_day = proven(&prosecutor, &package);
    // All that was let through arrived, but for the chunks that were begun.
    assert!(first_day <= 9 * MIB && first_day > 4 * MIB, "{first_day}");

    // What is signed goes on a day that is used up: a release and its consignment, a receipt.
    let new = lab.seals(&place.source(2, 100_000));
    lab.asks(&[&"send", &new, &"--to", &prosecutor.name]);
    let waits = until("it is announced", || Some(why(&lab, &new)).filter(|waits| waits["state"] == "consigned"));
    assert_eq!(waits["capped"], true, "{waits}");
    prosecutor.asks(&Authority::sends(&prosecutor.seals(&place.source(3, 100_000)), &lab));

    // It holds across a kill.
    ours.kill();
    let ours = lab.serves();
    until("it is used up again", || (why(&lab, &package)["capped"] == true).then_some(()));
    let cap = lab.asks(&[&"queue", &"cap"]);
    assert!(cap["used_up"] == true && cap["sent"].as_u64().unwrap() <= 9 * MIB, "{cap}");
    assert_eq!((proven(&prosecutor, &package), why(&lab, &new)["state"].as_str()), (first_day, Some("consigned")));

    ours.stop();
    passes_midnight(&lab);
    let ours = lab.serves();
    until("the small one is delivered", || (why(&lab, &new)["state"] == "received").then_some(()));
    until("the next day is used up", || (why(&lab, &package)["capped"] == true).then_some(()));
    until("more of it is proven", || (proven(&prosecutor, &package) > first_day + 4 * MIB).then_some(()));
    assert_eq!(lab.asks(&[&"queue", &"cap", &"off"])["cap"], Value::Null);
    until("it is delivered", || (why(&lab, &package)["state"] == "received").then_some(()));
    ours.stop();
    theirs.stop();
    let told = carried(&prosecutor, &package);
    assert_eq!((told["again"].as_u64(), told["proven"].as_u64()), (Some(0), Some(BYTES + 8)), "{told}");
    for bad in ["500", "much", "0", "1.5G", "1023k"] {
        lab.fails("E-USAGE", 2, &[&"queue", &"cap", &bad]).says("found", bad).says("next", "500M");
    }
}

#[test]
fn a_deadline_that_nobody_answers_is_signed_once_and_the_package_still_arrives() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    let ours = lab.serves();
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name, &"--within", &"3s"]);
    assert!(lab.says(&["queue"]).contains("     Due   20"));
    let late = until("the deadline is missed", || {
        Some(why(&lab, &package)).filter(|waits| waits["not_received"].as_array().is_some_and(|all| all.len() == 1))
    });
    assert_eq!(late["not_received"][0]["deadline"], late["deadline"], "{late}");
    assert!(late["tried"]["attempts"].as_u64().unwrap() > 0, "{late}");
    let words = lab.says(&["queue", "why", &package]);
    assert!(words.contains("Late  no receipt was here by 20") && words.contains("Tried "), "{words}");
    let shown = lab.asks(&[&"show", &package]);
    let event = shown["statements"].as_array().unwrap().iter().find(|line| line["kind"] == "event").unwrap().clone();
    assert_eq!(event["digest"], late["not_received"][0]["statement"], "{shown}");
    assert_eq!(event["action"], "not-received", "{shown}");
    let leaf = event["leaf_index"].as_u64().unwrap().to_string();
    let text = lab.says(&["ledger", "show", &leaf]);
    assert!(text.contains("\"not-received\"") && text.contains("E-PEER-UNREACHABLE"), "{text}");

    // A kill changes nothing: what was said is found in the ledger.
    ours.kill();
    let ours = lab.serves();
    until("it is tried again", || {
        Some(why(&lab, &package)).filter(|waits| waits["last_failure"]["code"] == "E-PEER-UNREACHABLE")
    });
    assert_eq!(lab.said_of(&package), ["seal", "release", "event"]);
    lab.fails("E-USAGE", 2, &[&"queue", &"deadline", &package, &"2020-01-01T00:00Z"]).says("found", "2020-01-01");
    lab.fails("E-USAGE", 2, &[&"queue", &"deadline", &package, &"tomorrow"]).says("found", "tomorrow");
    lab.fails("E-USAGE", 2, &[&"queue", &"deadline", &package, &"--within", &"soon"]).says("expected", "72h");
    let moved = lab.asks(&[&"queue", &"deadline", &package, &"--within", &"72h", &"--to", &prosecutor.name]);
    assert_ne!(moved[0]["deadline"], late["deadline"], "{moved}");
    assert_eq!(lab.asks(&[&"queue", &"deadline", &package, &"off"])[0]["deadline"], Value::Null);

    // Who comes late receives all the same, and the receipt stands beside what was signed.
    let theirs = prosecutor.serves();
    lab.asks(&[&"queue", &"--now"]);
    let done = until("it is delivered", || Some(why(&lab, &package)).filter(|waits| waits["state"] == "received"));
    assert_eq!(done["not_received"], late["not_received"], "{done}");
    let kinds = lab.said_of(&package);
    assert_eq!(kinds.iter().filter(|kind| *kind == "event").count(), 1, "{kinds:?}");
    lab.fails("E-STATE", 1, &[&"queue", &"deadline", &package, &"--within", &"72h"]).says("what", "over");
    ours.stop();
    theirs.stop();
    for party in [&lab, &prosecutor] {
        let proof = place.path(&format!("{}.json", party.name));
        let written = party.asks(&[&"prove", &package, &"--out", &proof]);
        assert!(written["verdict"].as_str().unwrap().starts_with("[OK"), "{written}");
        party.is_sound();
    }
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
