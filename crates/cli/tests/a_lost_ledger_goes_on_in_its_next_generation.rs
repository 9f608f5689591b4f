//! A home that is behind what its peers saw is never signed again: its next generation goes on, and what it said in either
//! is proven together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Authority, Place, tool};

/// A copy of a home, as a backup by hand makes it.
fn copied(authority: &Authority, place: &Place, name: &str) -> std::path::PathBuf {
    let copy = place.path(name);
    tool("cp", &["-a".as_ref(), authority.home.as_os_str(), copy.as_os_str()], "copies a home");
    copy
}

fn restored(authority: &Authority, copy: &std::path::Path) {
    fs::remove_dir_all(&authority.home).unwrap();
    tool("cp", &["-a".as_ref(), copy.as_os_str(), authority.home.as_os_str()], "copies a home");
}

/// The report on a proof, by the court's code.
fn verified(authority: &Authority, proof: &std::path::Path, trust: &std::path::Path) -> (Option<i32>, Value) {
    let ended = support::run(authority.command(&[&"--json", &"verify", &proof, &"--trust", &trust]));
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.exit, report)
}

#[test]
fn a_restored_home_succeeds_and_its_peers_follow() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let first = lab.seals(&place.source(1, 1000));
    let theirs = prosecutor.serves();
    lab.asks(&Authority::sends(&first, &prosecutor));
    let backup = copied(&lab, &place, "backup");
    // After the backup more happens that the prosecutor sees.
    let before = lab.ledger_size();
    let second = lab.seals(&place.source(2, 1000));
    lab.asks(&Authority::sends(&second, &prosecutor));
    let after = lab.ledger_size();
    restored(&lab, &backup);

    // The first peer that it meets tells it.
    let serving = lab.serves();
    prosecutor.asks(&[&"accept", &first]);
    let diagnosis = || support::run(lab.command(&[&"doctor"])).out;
    support::until("the prosecutor has called", || diagnosis().contains("E-ROLLBACK").then_some(()));
    let source = place.source(9, 10);
    let failure = lab.fails_changing("E-ROLLBACK", 40, &[&"seal", &source, &"--case", &"C-9"]);
    failure.says("next", "custodia ledger succeed");
    lab.fails_changing("E-LOCKED", 34, &[&"ledger", &"succeed"]);
    serving.stop();
    // Nobody is passed over in silence.
    theirs.stop();
    let failure = lab.keeps(|| lab.fails_changing("E-PEER-UNREACHABLE", 20, &[&"ledger", &"succeed"]));
    failure.says("place", "prosecutor.example").says("next", "--without prosecutor.example");
    let theirs = prosecutor.serves();

    let succeeded = lab.asks(&[&"ledger", &"succeed"]);
    assert_eq!(succeeded["ended"], "lab.example/node-1/1");
    assert_eq!(succeeded["ledger"], "lab.example/node-1/2");
    // As far as anybody saw it, which is further than it is held here.
    let covered = succeeded["covered"].as_u64().unwrap();
    assert!(before < covered && covered <= after, "{before} {covered} {after}");
    assert_eq!(succeeded["peers"], serde_json::json!(["prosecutor.example"]));
    lab.is_sound();
    assert!(!lab.home.join("next").exists());
    assert!(lab.home.join("past/1/ledger/checkpoint").is_file());
    lab.fails_changing("E-STATE", 1, &[&"ledger", &"succeed"]).says("what", "nothing to succeed");

    // What was said before the backup is still there, what was said since was given back, and the chain goes on.
    assert!(lab.said_of(&first).contains(&"receipt".to_owned()));
    assert_eq!(lab.said_of(&second), ["seal", "release", "consignment", "receipt"]);
    let third = lab.seals(&place.source(3, 1000));
    lab.asks(&Authority::sends(&third, &prosecutor));
    let tribunal = place.found("tribunal.example");
    place.meet(&lab, &tribunal);
    let judges = tribunal.serves();
    lab.asks(&Authority::sends(&first, &tribunal));

    let (proof, trust) = (place.path("proof.json"), place.path("trust"));
    lab.asks(&[&"prove", &first, &"--out", &proof]);
    fs::write(&trust, lab.says(&["trust", "export"])).unwrap();
    let (exit, report) = verified(&lab, &proof, &trust);
    assert_eq!(exit, Some(0), "{report:#}");
    let text = fs::read_to_string(&proof).unwrap();
    assert!(text.contains("lab.example/node-1/1\\n") && text.contains("lab.example/node-1/2\\n"), "it spans both");
    judges.stop();
    theirs.stop();
}

#[test]
fn what_an_older_copy_signed_by_itself_is_kept_and_never_shown_as_logged() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let first = lab.seals(&place.source(1, 1000));
    let theirs = prosecutor.serves();
    lab.asks(&Authority::sends(&first, &prosecutor));
    let backup = copied(&lab, &place, "backup");
    let second = lab.seals(&place.source(2, 1000));
    lab.asks(&Authority::sends(&second, &prosecutor));
    theirs.stop();
    restored(&lab, &backup);

    // Nobody can be asked: the older copy signs on, over the places where the lost statements stood.
    let third = lab.seals(&place.source(3, 1000));
    lab.asks(&[&"send", &third, &"--to", &"prosecutor.example"]);
    let theirs = prosecutor.serves();
    lab.asks(&[&"ledger", &"succeed"]);
    lab.is_sound();
    assert_eq!(lab.said_of(&second), ["seal", "release", "consignment", "receipt"]);
    assert_eq!(lab.said_of(&third), ["seal", "release"]);
    // The release that nobody saw is void; a new one is made, and arrives.
    let queue = lab.asks(&[&"queue"]);
    let packages: Vec<&str> = queue.as_array().unwrap().iter().map(|one| one["package"].as_str().unwrap()).collect();
    assert_eq!(packages, [first.as_str(), second.as_str()]);
    lab.asks(&Authority::sends(&third, &prosecutor));
    assert_eq!(lab.said_of(&third), ["seal", "release", "release", "consignment", "receipt"]);

    // What the statements speak of was lost with them: who holds it hands it over again.
    lab.fails("E-STATE", 1, &[&"prove", &second]).says("what", "manifest");
    let ours = lab.serves();
    prosecutor.asks(&Authority::sends(&second, &lab));
    ours.stop();

    let trust = place.file("trust", lab.says(&["trust", "export"]).as_bytes());
    for (package, expected) in [(&first, 0), (&second, 0), (&third, 11)] {
        let proof = place.path(package);
        lab.asks(&[&"prove", package, &"--out", &proof]);
        let (exit, report) = verified(&lab, &proof, &trust);
        assert_eq!(exit, Some(expected), "{report:#}");
        let findings = report["report"]["findings"].as_array().unwrap();
        let cannot = findings.iter().filter(|one| one["class"] == "cannot-tell");
        let mut cannot: Vec<&str> = cannot.map(|one| one["code"].as_str().unwrap()).collect();
        cannot.sort_unstable();
        cannot.dedup();
        // Nobody saw the seal and the first release when they were made: that is said, and nothing worse.
        let expected: &[&str] =
            if expected == 0 { &[] } else { &["key-time", "not-logged", "one-sided-handover", "time-unbounded"] };
        assert_eq!(cannot, expected);
    }
    theirs.stop();
}
