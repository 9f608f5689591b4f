//! The chain of custody: who had it from when to when, and every place where that is not whole under its name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;

use custodia_format::Hash;
use custodia_format::body::{Body, Event, EventTime, Text};
use custodia_format::envelope::Envelope;
use custodia_format::kind::Kind;
use custodia_format::link::link;
use custodia_format::ranges::Items;
use custodia_format::statement::{Statement, StatementId};
use custodia_format::text::{Code, Word};
use custodia_ledger::{Document, Shelf};
use serde_json::{Value, json};
use support::{Authority, Place, run};

/// A laboratory with a second officer, and a package of it.
fn lab(place: &Place) -> (Authority, Authority, String) {
    let (lab, court) = place.pair();
    lab.asks(&[&"officer", &"add", &"Second Officer"]);
    let package = lab.asks(&[&"seal", &place.source(1, 300), &"--case", &"C-1", &"--as", &"O-1"]);
    let package = package["package"].as_str().unwrap().to_owned();
    (lab, court, package)
}

fn event(lab: &Authority, package: &str, action: &str, at: &str, more: &[&'static str]) -> String {
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"event", &action, &package, &"--at", &at, &"--as", &"O-1"];
    words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    lab.asks(&words)["digest"].as_str().unwrap().to_owned()
}

/// A hand-over between two persons, which two officers sign.
fn hand_over(lab: &Authority, package: &str, at: &str, persons: [&'static str; 2], more: &[&'static str]) -> String {
    let both = [&["--person", persons[0], "--person", persons[1]], more].concat();
    event(lab, package, "hand-over", at, &both)
}

const TWO: [&str; 2] = ["--also", "O-2"];

/// The chain: its findings by name, each with from, until and detail; and who is said to have had it.
fn chain(lab: &Authority, package: &str) -> (BTreeMap<String, Vec<Value>>, Vec<String>, Value) {
    let shown = lab.asks(&[&"chain", &package]);
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for finding in shown["chain"]["findings"].as_array().unwrap() {
        found.entry(finding["code"].as_str().unwrap().to_owned()).or_default().push(finding.clone());
    }
    let held = shown["chain"]["holdings"].as_array().unwrap();
    let held = held.iter().map(|it| it["holder"].as_str().unwrap().to_owned()).collect();
    (found, held, shown)
}

#[test]
fn a_chain_that_is_whole_has_no_finding() {
    let place = Place::new();
    let (lab, court, package) = lab(&place);
    hand_over(&lab, &package, "2026-06-02 10:15+02:00", ["giver=A. One", "receiver=B. Two"], &TWO);
    event(&lab, &package, "open", "2026-06-03", &["--purpose", "to see", "--bag-seal", "S-1=intact"]);
    event(&lab, &package, "reseal", "2026-06-03 12:00Z", &["--purpose", "seen", "--bag-seal", "S-2=new"]);
    hand_over(&lab, &package, "2026-06-04 10:15+02:00", ["giver=B. Two", "receiver=C. Three"], &TWO);
    let serving = court.serves();
    lab.asks(&[&"send", &package, &"--to", &court.name, &"--as", &"O-1", &"--wait"]);
    serving.stop();
    let (found, held, shown) = chain(&lab, &package);
    assert_eq!(found, BTreeMap::new(), "{shown}");
    // What is told of a time before the seal comes before it; the authority's own lane and the recipient's go on.
    assert_eq!(held, ["B. Two", "C. Three", "the authority"], "{shown}");
    let text = shown["text"].as_str().unwrap();
    assert!(text.contains("Nothing is found that is not whole.") && text.contains("2026-06-02 10:15 +02:00"), "{text}");

    // The court, offline, with names or without.
    let trust = place.file("trust", lab.asks(&[&"trust", &"export"])["text"].as_str().unwrap().as_bytes());
    let (with, without) = (place.path("with.json"), place.path("without.json"));
    lab.asks(&[&"prove", &package, &"--out", &with, &"--annexes"]);
    lab.asks(&[&"prove", &package, &"--out", &without]);
    let told = run(court.command(&[&"verify", &with, &"--trust", &trust, &"--chain"]));
    assert!(told.exit == Some(0) && told.out.contains("receiver     C. Three"), "{told:?}");
    let told = run(court.command(&[&"verify", &without, &"--trust", &trust, &"--chain", &"--item", &"1"]));
    assert!(
        told.exit == Some(0) && !told.out.contains("C. Three") && told.out.contains("whose name is withheld"),
        "{told:?}"
    );
}

#[test]
fn each_kind_of_finding_is_shown() {
    let place = Place::new();
    let (lab, _, package) = lab(&place);
    hand_over(&lab, &package, "2026-06-02", ["giver=A. One", "receiver=B. Two"], &TWO);
    let gap = hand_over(&lab, &package, "2026-06-04", ["giver=C. Three", "receiver=D. Four"], &TWO);
    let overlap = hand_over(&lab, &package, "2026-06-05", ["giver=B. Two", "receiver=E. Five"], &TWO);
    let one = ["--unsigned", "receiver: refused, without a reason=F. Six"];
    let one_sided = hand_over(&lab, &package, "2026-06-06", ["giver=E. Five", "receiver=F. Six"], &one);
    let broken = event(&lab, &package, "open", "2026-06-07", &["--purpose", "to see", "--bag-seal", "S-1=broken"]);
    event(&lab, &package, "reseal", "2026-06-08", &["--purpose", "seen", "--bag-seal", "S-2=new"]);
    let unknown = event(&lab, &package, "open", "2026-06-09", &["--purpose", "again", "--bag-seal", "S-3=intact"]);
    let withheld = event(
        &lab,
        &package,
        "withheld-segment",
        "2026-06-10",
        &["--code", "holder=the provider", "--purpose", "Rule 70"],
    );
    let lost = event(&lab, &package, "lose", "2026-06-12", &[]);
    event(&lab, &package, "find", "2026-06-14", &[]);
    let (found, held, shown) = chain(&lab, &package);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["broken-seal", "gap", "one-sided-handover", "overlap", "withheld-segment"], "{shown}");
    let is = |code: &str, number: usize, digest: &str, from: &str, until: Value, detail: &str| {
        let finding = &found[code][number];
        assert!(finding["place"].as_str().unwrap().ends_with(&digest[..16]), "{finding}");
        assert_eq!((&finding["from"], &finding["until"]), (&json!(from), &until), "{finding}");
        assert!(finding["detail"].as_str().unwrap().contains(detail), "{finding}");
    };
    let none = "(no zone told)";
    let on = |day: &str| format!("2026-06-{day} {none}");
    is("gap", 0, &gap, &on("02"), json!(on("04")), "B. Two had it last, and C. Three gives it away");
    is("overlap", 0, &overlap, &on("04"), json!(on("05")), "B. Two gave it to D. Four before");
    is("one-sided-handover", 0, &one_sided, &on("06"), Value::Null, "O-1 alone signed; receiver: refused");
    is("broken-seal", 0, &broken, &on("07"), Value::Null, "S-1: broken");
    is("broken-seal", 1, &unknown, &on("09"), Value::Null, "no bag seal of the number S-3");
    is("withheld-segment", 0, &withheld, &on("10"), Value::Null, "the provider knows it; Rule 70");
    let second = &found["gap"][1];
    assert_eq!((&second["from"], &second["until"]), (&json!(on("12")), &json!(on("14"))), "{second} {lost}");
    assert!(held.iter().any(|holder| holder.starts_with("nobody")), "{held:?}");
    let svg = place.path("chain.svg");
    lab.asks(&[&"chain", &package, &"--svg", &svg]);
    let drawn = fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.contains("one-sided-handover") && drawn.ends_with("</svg>\n"));
    lab.fails("E-EXISTS", 1, &[&"chain", &package, &"--svg", &svg]);
    lab.fails("E-UNKNOWN-RECORD", 2, &[&"chain", &package, &"--item", &"C-9"]);
}

#[test]
fn the_other_sides_own_statement_answers_a_hand_over() {
    let place = Place::new();
    let (lab, court, package) = lab(&place);
    let given = hand_over(&lab, &package, "2026-06-02", ["giver=A. One", "receiver=C. Clerk"], &[]);
    let serving = court.serves();
    lab.asks(&[&"send", &package, &"--to", &court.name, &"--as", &"O-1", &"--wait"]);
    serving.stop();
    let (found, _, shown) = chain(&court, &package);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["one-sided-handover"], "{shown}");
    hand_over(&court, &package, "2026-06-02", ["giver=A. One", "receiver=C. Clerk"], &[]);
    let (found, _, shown) = chain(&court, &package);
    assert_eq!(found["one-sided-handover"].len(), 2, "{shown}");
    let words: [&dyn AsRef<OsStr>; 5] = [&"event", &"hand-over", &package, &"--answers", &"0123456789"];
    let persons: [&dyn AsRef<OsStr>; 4] = [&"--person", &"giver=A. One", &"--person", &"receiver=C. Clerk"];
    court.fails("E-UNKNOWN-STATEMENT", 2, &[&words[..], &persons[..]].concat());
    let answers = &given[..12];
    let words: [&dyn AsRef<OsStr>; 5] = [&"event", &"hand-over", &package, &"--answers", &answers];
    court.asks(&[&words[..], &persons[..]].concat());
    let (found, _, shown) = chain(&court, &package);
    let left = &found["one-sided-handover"];
    assert!(left.len() == 1 && !left[0]["place"].as_str().unwrap().ends_with(&given[..16]), "{shown}");
}

#[test]
fn what_was_done_to_one_record_is_told_of_that_record() {
    let place = Place::new();
    let (lab, _, package) = lab(&place);
    let one = ["--item", "1", "--person", "giver=A. One", "--person", "receiver=B. Two", "--also", "O-2"];
    event(&lab, &package, "hand-over", "2026-06-02", &one);
    let of =
        |item: &str| lab.asks(&[&"chain", &package, &"--item", &item])["chain"]["entries"].as_array().unwrap().len();
    assert_eq!((of("0"), of("1")), (1, 2));
    let shown = lab.asks(&[&"chain", &package]);
    let held: Vec<(&Value, &Value)> =
        shown["chain"]["holdings"].as_array().unwrap().iter().map(|it| (&it["items"], &it["holder"])).collect();
    assert!(held.contains(&(&json!(["1"]), &json!("B. Two"))), "{shown}");
    let rest = held.iter().find(|(_, holder)| *holder == "the authority").unwrap().0;
    assert!(rest.as_array().unwrap().contains(&json!("0")), "{shown}");
}

/// What an event of another program may say: it was written down before it is said to have happened.
#[test]
fn a_clock_that_was_wrong_is_shown() {
    let place = Place::new();
    let (lab, _, package) = lab(&place);
    let line = lab.asks(&[&"event", &"open", &package, &"--purpose", &"to see", &"--as", &"O-1"]);
    let digest = line["digest"].as_str().unwrap();
    let path = lab.home.join(format!("statements/{}/{digest}.json", &digest[..2]));
    let before = Statement::parse(&Envelope::parse(&fs::read(path).unwrap()).unwrap()).unwrap();
    let mut head = before.head.clone();
    head.id = StatementId::new([7; 16]);
    head.annex = None;
    head.kind = Kind::Event;
    let last = Hash::from_hex(digest).unwrap();
    head.sequence = Some(2);
    head.previous = Some(link(1, &head.previous.unwrap(), &last));
    let body = Event {
        action: Word::parse("open").unwrap(),
        items: Items::All,
        time: Some(EventTime {
            value: Text::parse("2031-01-01").unwrap(),
            precision: Word::parse("day").unwrap(),
            zone: Code::parse("Z").unwrap(),
            source: Text::parse("a camera").unwrap(),
        }),
        codes: Vec::new(),
    };
    let said = Statement { head, body: Body::Event(body) };
    let envelope = said.sign(&[&lab.key("statement"), &lab.key("officer-O-1")]).unwrap();
    lab.logs(vec![Document { shelf: Shelf::Statement, bytes: envelope.print().into_bytes() }]);
    let (found, _, shown) = chain(&lab, &package);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["inverted-clock"], "{shown}");
    assert_eq!(found["inverted-clock"][0]["from"], "2031-01-01Z");
}
