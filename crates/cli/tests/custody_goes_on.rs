//! What is done to what was sealed: signed events, with what later readers may see apart from what may have to be withheld.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::PathBuf;

use custodia_format::body::Body;
use custodia_format::envelope::Envelope;
use custodia_format::statement::Statement;
use serde_json::Value;
use support::{Authority, Place, run};

/// The statement that a line of an answer names.
fn statement(authority: &Authority, line: &Value) -> (String, Statement) {
    let digest = line["digest"].as_str().unwrap();
    let path: PathBuf = authority.home.join(format!("statements/{}/{digest}.json", &digest[..2]));
    let envelope = Envelope::parse(&fs::read(path).unwrap()).unwrap();
    (String::from_utf8(envelope.payload().to_vec()).unwrap(), Statement::parse(&envelope).unwrap())
}

#[test]
fn events_are_signed_by_the_officer_and_their_persons_can_be_withheld() {
    let place = Place::new();
    let (lab, court) = place.pair();
    let package = lab.seals(&place.source(1, 3000));
    let serving = court.serves();
    lab.asks(&Authority::sends(&package, &court));
    serving.stop();

    let opened = lab.asks(&[
        &"event",
        &"open",
        &package,
        &"--item",
        &"1",
        &"--purpose",
        &"to take a sample",
        &"--bag-seal",
        &"S-4019=intact",
        &"--person",
        &"examiner=Somebody Known",
        &"--unsigned",
        &"witness=had left",
        &"--at",
        &"2026-06-02 10:15+02:00",
        &"--at-source",
        &"wall clock",
    ]);
    let (text, opened_as) = statement(&lab, &opened);
    let Body::Event(body) = &opened_as.body else { panic!("{opened_as:?}") };
    let time = body.time.as_ref().unwrap();
    assert_eq!(
        (time.value.as_str(), time.precision.as_str(), time.source.as_str()),
        ("2026-06-02 10:15", "minute", "wall clock")
    );
    assert_eq!(body.codes[0].value.as_str(), "S-4019 intact");
    assert_eq!((opened_as.head.signers.len(), opened_as.head.sequence), (2, Some(2)));
    // What may have to be withheld is not in it, and lies in its annex.
    assert!(!text.contains("Somebody Known") && !text.contains("sample"), "{text}");
    let annex = opened_as.head.annex.unwrap().root.to_string();
    let annex = fs::read_to_string(lab.manifest(&annex)).unwrap();
    for told in ["Somebody Known", "to take a sample", "witness: had left"] {
        assert!(annex.contains(told), "{annex}");
    }

    // Now, by this machine's clock; and a correction, which points at what it corrects.
    lab.asks(&[&"event", &"reseal", &package, &"--bag-seal", &"S-4120=new", &"--purpose", &"sample taken"]);
    let digest = opened["digest"].as_str().unwrap().to_owned();
    let short = digest[..12].to_owned();
    let corrected =
        lab.asks(&[&"event", &"correct", &package, &"--corrects", &short, &"--purpose", &"it was the other bag"]);
    assert_eq!(statement(&lab, &corrected).1.head.in_reply_to.unwrap().to_string(), digest);
    // The one who received it goes on in a chain of its own.
    court.asks(&[&"event", &"examine", &package, &"--purpose", &"first look"]);
    let actions = |authority: &Authority| -> Vec<String> {
        let shown = authority.asks(&[&"show", &package]);
        let all = shown["statements"].as_array().unwrap();
        all.iter().filter_map(|line| line["action"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(actions(&lab), ["open", "reseal", "correct"]);
    assert_eq!(actions(&court), ["examine"]);

    for authority in [&lab, &court] {
        let proof = place.path(&format!("{}.json", authority.name));
        authority.asks(&[&"prove", &package, &"--out", &proof]);
        let trust = authority.asks(&[&"trust", &"export"])["text"].as_str().unwrap().to_owned();
        let trust = place.file(&format!("{}.trust", authority.name), trust.as_bytes());
        let verified = run(authority.command(&[&"verify", &proof, &"--trust", &trust]));
        assert!(verified.out.contains("event"), "{verified:?}");
        assert!(!verified.out.contains("chain-fork") && !verified.out.contains("malformed"), "{verified:?}");
    }
}

#[test]
fn what_is_not_told_or_cannot_be_is_asked_for_and_nothing_is_signed() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let package = lab.seals(&place.source(1, 3000));
    let size = lab.ledger_size();
    let event = |words: &[&str]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"event", &words[0], &package];
        all.extend(words[1..].iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        lab.fails(if words.contains(&"nothing-such") { "E-UNKNOWN-RECORD" } else { "E-USAGE" }, 2, &all)
    };
    event(&["sample"]).says("expected", "--code sample=VALUE");
    event(&["hand-over", "--person", "giver=A"]).says("expected", "--person receiver=NAME");
    event(&["correct", "--purpose", "wrong"]).says("expected", "--corrects STATEMENT");
    event(&["lose", "--item", "nothing-such"])
        .says("expected", "a code, a sealed path, a type, or record numbers below 3")
        .says("found", "nothing-such");
    event(&["lose", "--at", "02/06/2026"])
        .says("expected", "2026-06-02 if it is 2 June 2026, or 2026-02-06 if it is 6 February 2026");
    event(&["lose", "--at", "2999-01-01 00:00Z"]).says("expected", "a time that is over");
    event(&["lose", "--bag-seal", "S-1=new"]).says("expected", "one of intact, broken, mismatch, absent");
    event(&["lose", "--code", "bag"]).says("expected", "NAME=VALUE");
    lab.fails(
        "E-UNKNOWN-STATEMENT",
        2,
        &[&"event", &"correct", &package, &"--purpose", &"x", &"--corrects", &"0123456789"],
    );
    assert_eq!(lab.ledger_size(), size);
    lab.asks(&[&"event", &"weighed", &package, &"--note", &"any word will do"]);
}
