//! The audit of a ledger from outside: what is sound, what is damaged, what contradicts what was seen before, and what is
//! said of documents at hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/auditors.rs"]
mod auditors;
mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use auditors::{asks, logs, served};
use custodia_format::Hash;
use custodia_format::checkpoint::{Checkpoint, cosign};
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Note, Vkey};
use serde_json::{Value, json};
use support::{Authority, Ended, Place, Words, custodia, run, tool, until};

/// An auditor: a verifier key, and no node.
struct Auditor {
    vkey: String,
}

impl Auditor {
    fn of(authority: &Authority) -> Self {
        Self { vkey: authority.asks(&[&"ledger", &"checkpoint"])["vkey"].as_str().unwrap().to_owned() }
    }

    fn runs(&self, source: &dyn AsRef<OsStr>, words: &Words) -> Ended {
        let mut command = custodia();
        // No home, no user: nothing of a node is there.
        command.env_remove("HOME").args(["--progress", "none", "--json", "ledger", "audit", "--vkey", &self.vkey]);
        run({
            command.arg(source).args(words);
            command
        })
    }

    /// A sound ledger.
    #[track_caller]
    fn finds(&self, source: &dyn AsRef<OsStr>, words: &Words) -> Value {
        let ended = self.runs(source, words);
        let answer = ended.answer();
        assert_eq!(answer["errors"], json!([]), "{answer}");
        answer
    }

    /// A damaged one: the answer says what is wrong with it, and the program ends with 1.
    #[track_caller]
    fn damage(&self, source: &dyn AsRef<OsStr>, words: &Words) -> Value {
        let ended = self.runs(source, words);
        assert_eq!(ended.exit, Some(1), "{ended:?}");
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(document["schema"], "custodia.answer/1", "{ended:?}");
        assert_ne!(document["answer"]["errors"], json!([]), "{document}");
        document["answer"].clone()
    }
}

fn copy(from: &Path, to: PathBuf) -> PathBuf {
    tool("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()], "copies a ledger");
    to
}

fn checkpoint(ledger: &Path) -> Checkpoint {
    Checkpoint::parse_text(&Note::parse(&fs::read(ledger.join("checkpoint")).unwrap()).unwrap().text).unwrap()
}

#[test]
fn what_is_read_over_http_is_what_lies_in_the_folder() {
    let place = Place::new();
    let lab = place.found("lab.example");
    logs(&lab, "", 700);
    lab.seals(&place.source(1, 1000));
    let auditor = Auditor::of(&lab);
    let bare = copy(&lab.home.join("ledger"), place.path("copied"));
    let (node, at) = served(&lab, None);
    let mut same = Vec::new();
    let url = format!("http://{at}");
    let slash = format!("http://{at}/");
    for source in [&url as &dyn AsRef<OsStr>, &slash, &lab.home, &bare] {
        let mut answer = auditor.finds(source, &[]);
        assert_eq!((&answer["entries"], &answer["ledger"]), (&json!(703), &json!("lab.example/node-1/1")));
        assert!(answer["bytes"].as_u64().unwrap() > 703 * 228 + 703 * 32, "{answer}");
        // A folder also has the partial tiles of earlier sizes, which are checked too; HTTP has no listing.
        let files = answer["files"].as_u64().unwrap();
        assert!(files >= 8, "{answer}");
        for name in ["source", "took_ms", "files", "bytes"] {
            answer.as_object_mut().unwrap().remove(name);
        }
        same.push(answer);
    }
    assert!(same.iter().all(|answer| *answer == same[0]), "{same:#?}");
    let note = same[0]["note"].as_str().unwrap();
    assert_eq!(note.as_bytes(), fs::read(bare.join("checkpoint")).unwrap());

    // In words.
    let mut words = custodia();
    words.args(["ledger", "audit", &format!("http://{at}"), "--vkey", &auditor.vkey]);
    let ended = run(words);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    assert!(
        ended.out.starts_with("[OK] lab.example/node-1/1: 703 entries, ") && ended.out.contains(" s\n"),
        "{ended:?}"
    );
    assert!(ended.out.contains("Cosigned    by nobody\n"), "{ended:?}");
    node.stop();
}

#[test]
fn a_ledger_that_grows_is_followed_and_the_file_changes_only_then() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let auditor = Auditor::of(&lab);
    let held = place.path("held/lab.checkpoint");
    let follows = |before: Option<u64>, state: &str| {
        let answer = auditor.finds(&lab.home, &[&"--held", &held]);
        assert_eq!((&answer["held"]["before"], &answer["held"]["state"]), (&json!(before), &json!(state)), "{answer}");
        assert_eq!(fs::read_to_string(&held).unwrap(), answer["note"].as_str().unwrap());
    };
    follows(None, "first");
    follows(Some(2), "same");
    for (count, size) in [(1, 3), (253, 256), (1, 257), (255, 512), (300, 812)] {
        let before = lab.ledger_size();
        logs(&lab, &format!("of {size}"), count);
        assert_eq!(lab.ledger_size(), size);
        follows(Some(before), "continued");
    }
    // Over HTTP, while the ledger grows: the partial tiles of the size that is audited stay.
    let (node, at) = served(&lab, None);
    lab.seals(&place.source(1, 1000));
    let sees = || String::from_utf8(asks(&at, "GET /checkpoint").body).unwrap().contains("\n813\n").then_some(());
    until("what is sealed is shown to auditors", sees);
    let answer = auditor.finds(&format!("http://{at}"), &[&"--held", &held]);
    assert_eq!((&answer["held"]["before"], &answer["held"]["state"]), (&json!(812), &json!("continued")));
    node.stop();
    assert!(!place.path("held/lab.checkpoint.contradiction").exists());
}

/// The exit is 40, both notes are kept, and what was held is held.
#[track_caller]
fn contradicts(auditor: &Auditor, source: &dyn AsRef<OsStr>, held: &Path, shown: &Path, code: &str, words: &str) {
    let before = fs::read_to_string(held).unwrap();
    let mut name = held.as_os_str().to_owned();
    name.push(".contradiction");
    let failure = auditor.runs(source, &[&"--held", &held]).failure(code, 40);
    failure.says("what", words).says("safe", ".contradiction").says("expected", "size ").says("found", "size ");
    assert_eq!(fs::read_to_string(held).unwrap(), before);
    let kept = fs::read_to_string(&name).unwrap();
    let both = format!("{before}\n{}", fs::read_to_string(shown.join("checkpoint")).unwrap());
    assert!(kept.ends_with(&both), "{kept}");
    // Said again, and kept once.
    auditor.runs(source, &[&"--held", &held]).failure(code, 40);
    assert_eq!(fs::read_to_string(&name).unwrap(), kept);
}

#[test]
fn a_ledger_that_goes_back_or_shows_two_histories_is_found() {
    let place = Place::new();
    let lab = place.found("lab.example");
    logs(&lab, "common", 300);
    let auditor = Auditor::of(&lab);
    let ledger = lab.home.join("ledger");
    let old = copy(&ledger, place.path("old"));
    // The same home twice: two machines with one key, each of which goes on by itself.
    let fork =
        Authority { name: lab.name.clone(), home: copy(&lab.home, place.path("fork")), address: support::address() };
    logs(&lab, "one", 20);
    let held = place.path("held");
    auditor.finds(&lab.home, &[&"--held", &held]);

    // A smaller one that was once true, and a smaller one that never was.
    contradicts(&auditor, &old, &held, &old, "E-ROLLBACK", "went back");
    let forged = copy(&ledger, place.path("forged"));
    let smaller = Checkpoint { size: 310, root: Hash::ZERO, ..checkpoint(&ledger) };
    fs::write(forged.join("checkpoint"), smaller.sign(&lab.key("ledger")).unwrap().print()).unwrap();
    contradicts(&auditor, &forged, &held, &forged, "E-ROLLBACK", "went back");

    // One of the same size, over HTTP too; and a longer one that did not begin with what was seen.
    logs(&fork, "other", 20);
    contradicts(&auditor, &fork.home, &held, &fork.home.join("ledger"), "E-EQUIV", "two histories of one size");
    let (node, at) = served(&fork, None);
    contradicts(&auditor, &format!("http://{at}"), &held, &fork.home.join("ledger"), "E-EQUIV", "two histories");
    node.stop();
    logs(&fork, "longer", 250);
    contradicts(&auditor, &fork.home, &held, &fork.home.join("ledger"), "E-EQUIV", "does not begin with");
    let (node, at) = served(&fork, None);
    contradicts(&auditor, &format!("http://{at}"), &held, &fork.home.join("ledger"), "E-EQUIV", "does not begin with");
    node.stop();
    // Four pairs, none of them lost; and the ledger that was followed is followed still.
    assert_eq!(
        fs::read_to_string(place.path("held.contradiction")).unwrap().matches("lab.example/node-1/1\n").count(),
        8
    );
    logs(&lab, "on", 3);
    assert_eq!(auditor.finds(&lab.home, &[&"--held", &held])["held"]["state"], "continued");
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let place = Place::new();
    let lab = place.found("lab.example");
    logs(&lab, "", 300);
    let auditor = Auditor::of(&lab);
    let held = place.path("held");
    auditor.finds(&lab.home, &[&"--held", &held]);
    let first = fs::read(&held).unwrap();
    logs(&lab, "more", 10);
    for name in ["tile/0/000", "tile/0/001.p/56", "tile/entries/000", "tile/entries/001.p/56", "tile/1/000.p/1"] {
        let copied = copy(&lab.home.join("ledger"), place.path(&name.replace('/', "-")));
        let mut bytes = fs::read(copied.join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(copied.join(name), &bytes).unwrap();
        let answer = auditor.damage(&copied, &[&"--held", &held]);
        assert!(answer["errors"].to_string().contains("ledger/tile/"), "{answer}");
        assert_eq!(answer["held"]["state"], "unknown", "{answer}");
        assert_eq!(fs::read(&held).unwrap(), first, "a damaged ledger is not held: {name}");
        fs::remove_file(copied.join(name)).unwrap();
        auditor.damage(&copied, &[]);
    }
    // The same by a node that serves what its disk has.
    let tile = lab.home.join("ledger/tile/0/000");
    let (node, at) = served(&lab, None);
    let mut bytes = fs::read(&tile).unwrap();
    bytes[4000] ^= 0x80;
    fs::write(&tile, bytes).unwrap();
    let answer = auditor.damage(&format!("http://{at}"), &[&"--held", &held]);
    assert!(answer["errors"].to_string().contains("entry 125 "), "{answer}");
    assert!(!place.path("held.contradiction").exists(), "damage is no second history");
    node.stop();
}

#[test]
fn documents_at_hand_are_compared_and_the_others_counted() {
    let place = Place::new();
    let lab = place.found("lab.example");
    lab.seals(&place.source(1, 1000));
    logs(&lab, "", 5);
    let auditor = Auditor::of(&lab);
    let all = copy(&lab.home.join("statements"), place.path("statements"));
    let compared = |words: &Words| auditor.finds(&lab.home, words)["statements"].clone();
    assert_eq!(compared(&[]), Value::Null);
    assert_eq!(compared(&[&"--statements", &all]), json!({ "seen": 3, "unseen": 5 }));
    let none = place.path("none");
    fs::create_dir(&none).unwrap();
    assert_eq!(compared(&[&"--statements", &none]), json!({ "seen": 0, "unseen": 8 }));

    // Some of them, in a folder of their own; one that is in no entry; one that was changed under its name.
    let list = lab.asks(&[&"ledger", &"list"]);
    let digest = list[2]["digest"].as_str().unwrap();
    let envelope = fs::read(all.join(&digest[..2]).join(format!("{digest}.json"))).unwrap();
    let one = place.file(&format!("one/{digest}.json"), &envelope);
    assert_eq!(compared(&[&"--statements", &one.parent().unwrap()]), json!({ "seen": 1, "unseen": 7 }));
    let stranger = place.file(&format!("one/{}.json", Hash::of(b"stranger")), b"stranger");
    let answer = auditor.damage(&lab.home, &[&"--statements", &one.parent().unwrap()]);
    assert!(answer["errors"].to_string().contains("no entry commits to it, at size 8"), "{answer}");
    fs::remove_file(stranger).unwrap();
    fs::write(&one, b"changed").unwrap();
    let answer = auditor.damage(&lab.home, &[&"--statements", &one.parent().unwrap()]);
    assert!(answer["errors"].to_string().contains("not its name"), "{answer}");
    assert_eq!(answer["statements"], json!({ "seen": 0, "unseen": 8 }));
}

#[test]
fn who_cosigned_is_said_and_believed_only_when_known() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let auditor = Auditor::of(&lab);
    let copied = copy(&lab.home.join("ledger"), place.path("copied"));
    let witness = SigningKey::from_seed(&[5; 32]);
    let path = copied.join("checkpoint");
    let mut note = Note::parse(&fs::read(&path).unwrap()).unwrap();
    note.lines.push(cosign(&note.text, "witness.example", &witness, 1_800_000_000).unwrap());
    fs::write(&path, note.print()).unwrap();
    let vkey = Vkey::new("witness.example", KeyType::Cosignature, witness.public()).unwrap().to_string();
    let cosigned = |words: &Words| auditor.finds(&copied, words)["cosigned"].clone();
    let id = &vkey["witness.example+".len()..][..8];
    assert_eq!(cosigned(&[]), json!([{ "name": "witness.example", "key_id": id, "known": false, "time": null }]));
    assert_eq!(
        cosigned(&[&"--witness", &vkey]),
        json!([{ "name": "witness.example", "key_id": id, "known": true, "time": "2027-01-15T08:00:00Z" }])
    );
    // A known key that did not sign what stands there makes the note worth nothing; an unknown one is nobody's word.
    note.lines[1].blob[20] ^= 1;
    fs::write(&path, note.print()).unwrap();
    auditor.runs(&copied, &[&"--witness", &vkey]).failure("E-SIG", 1).says("what", "witness.example does not verify");
    assert_eq!(cosigned(&[])[0]["known"], false);
}

#[test]
fn an_empty_ledger_is_said_to_be_empty() {
    let place = Place::new();
    let key = SigningKey::from_seed(&[9; 32]);
    let empty = Checkpoint { origin: "a/b/1".to_owned(), size: 0, root: Hash::of(b"") };
    place.file("empty/checkpoint", empty.sign(&key).unwrap().print().as_bytes());
    let auditor = Auditor { vkey: Vkey::new("a/b/1", KeyType::Ed25519, key.public()).unwrap().to_string() };
    let held = place.path("held");
    let answer = auditor.finds(&place.path("empty"), &[&"--held", &held]);
    assert_eq!((&answer["entries"], &answer["held"]["state"]), (&json!(0), &json!("first")));
    let mut words = custodia();
    words.args(["ledger", "audit", "--vkey", &auditor.vkey]).arg(place.path("empty"));
    let ended = run(words);
    assert!(ended.out.starts_with("[!!] a/b/1: 0 entries") && ended.out.contains("nothing was checked"), "{ended:?}");
    // A size that somebody signed and nobody could rebuild.
    let endless = Checkpoint { size: (1 << 63) - 1, root: Hash::ZERO, ..empty };
    place.file("empty/checkpoint", endless.sign(&key).unwrap().print().as_bytes());
    auditor.runs(&place.path("empty"), &[]).failure("E-MALFORMED", 1).says("what", "larger than one audit");
}

#[test]
fn what_cannot_be_read_is_told_and_nothing_is_judged() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let auditor = Auditor::of(&lab);
    let unjudged = |source: &dyn AsRef<OsStr>, words: &Words, code: &str, exit: i32, said: (&str, &str)| {
        let failure = auditor.runs(source, words).failure(code, exit);
        failure.says(said.0, said.1).says("safe", "Nothing was judged, nothing was written");
    };
    fs::create_dir(place.path("nothing")).unwrap();
    unjudged(&place.path("nothing"), &[], "E-IO", 1, ("expected", "a copy of its `ledger/`"));
    unjudged(&place.path("not there"), &[], "E-IO", 1, ("what", "no ledger"));
    for url in ["https://127.0.0.1:1", "ftp://x", "http://", "http://user@127.0.0.1:1", "http://127.0.0.1:1/?x"] {
        unjudged(&url, &[], "E-USAGE", 2, ("expected", "http://HOST"));
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    unjudged(&format!("http://{at}"), &[], "E-IO", 1, ("next", "run the same command again"));
    for (other, said) in [("lab.example/node-1/1", "NAME+ID+KEY"), ("x", "NAME+ID+KEY")] {
        let other = Auditor { vkey: other.to_owned() };
        other.runs(&lab.home, &[]).failure("E-USAGE", 2).says("expected", said);
    }
    let stranger = place.found("other.example");
    Auditor::of(&stranger).runs(&lab.home, &[]).failure("E-SIG", 1).says("what", "no checkpoint of that ledger");
    // A held note of another ledger is not replaced.
    let held = place.path("held");
    Auditor::of(&stranger).finds(&stranger.home, &[&"--held", &held]);
    unjudged(&lab.home, &[&"--held", &held], "E-SIG", 1, ("place", "held"));
    fs::write(&held, "no note").unwrap();
    unjudged(&lab.home, &[&"--held", &held], "E-MALFORMED", 1, ("place", "held"));
    // A pipe in a copied folder is not waited for.
    let copied = copy(&lab.home.join("ledger"), place.path("copied"));
    fs::remove_file(copied.join("tile/0/000.p/2")).unwrap();
    tool("mkfifo", &[copied.join("tile/0/000.p/2").as_os_str()], "puts a pipe into a folder");
    assert!(auditor.damage(&copied, &[])["errors"].to_string().contains("it is no file"));
}

/// Answers one request of each connection: with these bytes in turn, and after the last with that one again.
fn answers(turns: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (turn, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&turns[turn.min(turns.len() - 1)]);
        }
    });
    url
}

#[test]
fn a_server_of_another_kind_is_bounded_and_not_believed() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let auditor = Auditor::of(&lab);
    let ok = |headers: &str, body: &[u8]| [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat();
    let endless = vec![b'x'; 4 << 20];
    for (bytes, words) in [
        (b"220 smtp.example\r\n".to_vec(), "could not be read to its end"),
        (
            b"HTTP/1.1 301 Moved\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "it answered 301",
        ),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec(), "it answered 500"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".to_vec(), "There is no ledger"),
        (ok("content-length: 900000000\r\n", &endless), "There is no ledger"),
        (ok("content-length: 1000\r\n", b"short"), "could not be read to its end"),
        (ok(&format!("x: {}\r\n", "y".repeat(64 << 10)), b""), "could not be read to its end"),
    ] {
        let failure = auditor.runs(&answers(vec![bytes]), &[]).failure("E-IO", 1);
        failure.says("what", words).says("safe", "Nothing was judged");
    }
    // One that gives the checkpoint for everything shows a damaged ledger; one that falls silent after it shows none, and
    // a ledger that was not heard to its end is not judged.
    let note = fs::read(lab.home.join("ledger/checkpoint")).unwrap();
    let note = ok(&format!("content-length: {}\r\nconnection: close\r\n", note.len()), &note);
    let answer = auditor.damage(&answers(vec![note.clone()]), &[]);
    assert!(answer["errors"].to_string().contains("ledger/tile/"), "a checkpoint is no tile: {answer}");
    let held = place.path("held");
    let failure = auditor.runs(&answers(vec![note, Vec::new()]), &[&"--held", &held]).failure("E-IO", 1);
    failure.says("what", "could not be read to its end").says("place", "/tile/").says("safe", "Nothing was judged");
    assert!(!held.exists());
}
