//! Limits go with what they bind: repeated, narrowed, never widened; lifted by their originator; and never in the way of what may
//! exculpate.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;

use custodia_format::body::{Body, Onward, Release};
use custodia_format::envelope::Envelope;
use custodia_format::statement::Statement;
use serde_json::Value;
use support::{Authority, Place, run};

/// A laboratory, a prosecutor and a tribunal, who all know each other.
fn three(place: &Place) -> (Authority, Authority, Authority) {
    let (lab, prosecutor) = place.pair();
    let tribunal = place.found("tribunal.example");
    place.meet(&lab, &tribunal);
    place.meet(&prosecutor, &tribunal);
    (lab, prosecutor, tribunal)
}

/// Sends and waits for the receipt; gives the release.
fn sends(from: &Authority, package: &str, to: &Authority, more: &[&'static str]) -> (String, Release) {
    let serving = to.serves();
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"send", &package, &"--to", &to.name, &"--wait"];
    words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    let release = from.asks(&words)["transfer"]["release"].as_str().unwrap().to_owned();
    serving.stop();
    let path = from.home.join(format!("statements/{}/{release}.json", &release[..2]));
    let said = Statement::parse(&Envelope::parse(&fs::read(path).unwrap()).unwrap()).unwrap();
    let Body::Release(body) = said.body else { panic!("{said:?}") };
    (release, *body)
}

fn refuses(from: &Authority, package: &str, to: &Authority, more: &[&'static str]) -> Value {
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"send", &package, &"--to", &to.name];
    words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    let size = from.ledger_size();
    let failure = from.fails("E-HANDLING", 35, &words);
    assert_eq!(from.ledger_size(), size);
    failure.0
}

fn verdict(place: &Place, of: &Authority, package: &str) -> (i32, String) {
    let trust = place.path("trust");
    fs::write(&trust, of.asks(&[&"trust", &"export"])["text"].as_str().unwrap()).unwrap();
    let out = place.path(&format!("{}.json", of.ledger_size()));
    of.asks(&[&"prove", &package, &"--out", &out]);
    let ended = run(of.command(&[&"verify", &out, &"--trust", &trust]));
    (ended.exit.unwrap(), ended.out)
}

#[test]
fn what_was_given_for_nobody_else_stays_until_its_originator_says_otherwise() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let package = lab.seals(&place.source(1, 300));
    let limits = ["--use", "case 12/26", "--onward", "none", "--lead-only", "--return", "--retain-until", "2036-12-31"];
    let (first, given) = sends(&lab, &package, &prosecutor, &limits);
    assert_eq!((given.limits.onward.clone(), given.limits.lead_only, given.limits.return_), (Onward::None, true, true));
    assert_eq!(given.limits.retain_until.unwrap().to_string(), "2036-12-31T23:59:59Z");
    let inbox = prosecutor.asks(&[&"inbox"]);
    assert_eq!(
        inbox[0]["limits"],
        "use: case 12/26; onward to nobody; as a lead only; to be given back; kept until 2036-12-31T23:59:59Z"
    );

    let refused = refuses(&prosecutor, &package, &tribunal, &[]);
    assert_eq!((&refused["expected"], &refused["found"]), (&"onward to nobody".into(), &"tribunal.example".into()));
    assert!(refused["place"].as_str().unwrap().contains("lab.example"));
    assert!(refused["next"][0].as_str().unwrap().starts_with("ask lab.example for a release"), "{refused}");
    // A consent that is said to have been given is no release: where nobody may have it, the originator must write so.
    refuses(&prosecutor, &package, &tribunal, &["--consent", "a telephone call"]);
    // Asked once more, the same release; under other limits, a new one, without a byte of content.
    let (again, _) = sends(&lab, &package, &prosecutor, &[]);
    assert_eq!(again, first);
    let (second, _) =
        sends(&lab, &package, &prosecutor, &["--use", "case 12/26", "--onward", "tribunal.example", "--lead-only"]);
    assert_ne!(second, first);
    let (_, onward) = sends(&prosecutor, &package, &tribunal, &[]);
    assert_eq!(onward.limits.use_.as_str(), "case 12/26");
    assert!(onward.limits.lead_only && !onward.limits.return_);
    assert_eq!(onward.originator.unwrap().name.to_string(), "lab.example");
    let (exit, told) = verdict(&place, &prosecutor, &package);
    assert!(exit == 0 && !told.contains("limits-widened"), "{told}");

    // It may go back to whoever gave it, who is bound by nothing then.
    sends(&prosecutor, &package, &lab, &[]);
    let (_, anew) = sends(&lab, &package, &tribunal, &["--onward", "consent"]);
    assert_eq!((anew.limits.onward, anew.originator), (Onward::Consent, None));
}

#[test]
fn what_may_exculpate_goes_whatever_the_limits_say() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let package = lab.seals(&place.source(1, 300));
    sends(&lab, &package, &prosecutor, &["--onward", "none"]);
    refuses(&prosecutor, &package, &tribunal, &[]);
    let (_, onward) = sends(&prosecutor, &package, &tribunal, &["--exculpatory", "the date excludes the accused"]);
    assert_eq!(onward.limits.onward, Onward::None);
    let shown = prosecutor.asks(&[&"chain", &package]);
    let entries = shown["chain"]["entries"].as_array().unwrap();
    let notice = entries.iter().find(|entry| entry["action"] == "exculpatory-notice").unwrap();
    assert_eq!(notice["codes"][0], serde_json::json!(["to", "tribunal.example"]));
    // The court is shown that it goes beyond its limits, first of all remarks, and nothing else.
    let (exit, told) = verdict(&place, &prosecutor, &package);
    assert!(exit == 0 && told.contains("limits-widened"), "{told}");
}

#[test]
fn consent_that_is_asked_for_is_told() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let package = lab.seals(&place.source(1, 300));
    let (_, given) = sends(&lab, &package, &prosecutor, &[]);
    assert_eq!(given.limits.onward, Onward::Consent);
    let refused = refuses(&prosecutor, &package, &tribunal, &[]);
    assert_eq!(refused["expected"], "onward with consent");
    assert!(refused["next"][0].as_str().unwrap().contains("--consent"), "{refused}");
    sends(&prosecutor, &package, &tribunal, &["--consent", "letter of 3 May, 12/26-4"]);
    let shown = prosecutor.asks(&[&"chain", &package]);
    assert!(shown["text"].as_str().unwrap().contains("letter of 3 May, 12/26-4"), "{shown}");
    let (exit, told) = verdict(&place, &prosecutor, &package);
    assert!(exit == 0 && !told.contains("limits-widened"), "{told}");
    // Nothing that is asked for is wider than what holds.
    let other = lab.seals(&place.source(2, 300));
    sends(&lab, &other, &prosecutor, &["--use", "case 12/26", "--retain-until", "2030-01-01"]);
    for wider in [["--use", "case 13/26"], ["--retain-until", "2031-01-01"], ["--onward", "tribunal.example"]] {
        let words = [&wider[..], &["--consent", "letter"]].concat();
        refuses(&prosecutor, &other, &tribunal, &words);
    }
    let (_, narrower) =
        sends(&prosecutor, &other, &tribunal, &["--consent", "letter", "--lead-only", "--onward", "none"]);
    assert!(narrower.limits.lead_only && narrower.limits.onward == Onward::None);
}

#[test]
fn what_was_made_from_it_has_its_limits() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let package = lab.seals(&place.source(1, 300));
    sends(&lab, &package, &prosecutor, &["--use", "case 12/26", "--onward", "none", "--lead-only"]);
    let parent = prosecutor.asks(&[&"records", &"list", &package, &"--type", &"file"]);
    let case = prosecutor.asks(&[&"show", &package])["case"].as_str().unwrap().to_owned();
    let parent = parent["records"][0]["code"].as_str().unwrap();
    let (files, sheets) = (place.path("derived"), place.path("derived-sheets"));
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(&sheets).unwrap();
    fs::write(files.join("translation.txt"), "a translation").unwrap();
    fs::write(sheets.join("file.csv"), format!("path,code,parents\ntranslation.txt,TR-1,{parent}\n")).unwrap();
    let derived = prosecutor.asks(&[&"seal", &files, &"--case", &case, &"--records", &sheets]);
    let derived = derived["package"].as_str().unwrap();
    refuses(&prosecutor, derived, &tribunal, &[]);
    // To the originator it may go, and its limits stand in the release.
    let (_, back) = sends(&prosecutor, derived, &lab, &[]);
    assert_eq!((back.limits.use_.as_str(), back.limits.lead_only), ("case 12/26", true));
    assert_eq!(back.originator.unwrap().name.to_string(), "lab.example");
}
