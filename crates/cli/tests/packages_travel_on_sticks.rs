//! A medium in place of a link: the same statements, the same receipts, and nothing lost when it is too small, damaged, pulled
//! out, or when the link comes back in between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Authority, Disk, Place, noise, run, until};

/// A laboratory that has released a package of so many bytes to a prosecutor, and neither of them is on a network.
fn released(place: &Place, bytes: usize) -> (Authority, Authority, String) {
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, bytes));
    lab.asks(&[&"send", &package, &"--to", &prosecutor.name]);
    (lab, prosecutor, package)
}

fn stick(place: &Place, name: &str) -> PathBuf {
    let path = place.path(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn writes(from: &Authority, stick: &Path, to: &Authority) -> Value {
    from.asks(&[&"usb", &"write", &stick, &"--for", &to.name, &"--plain"])
}

fn reads(to: &Authority, stick: &Path) -> Value {
    let read = to.asks(&[&"usb", &"read", &stick]);
    assert_eq!(read["problems"], Value::Array(Vec::new()), "{read}");
    read
}

/// A reading that does not take everything: exit code 1, and an answer all the same.
fn reads_in_part(to: &Authority, stick: &Path) -> Value {
    let mut command = to.command(&[&"usb", &"read", &stick]);
    command.arg("--json");
    let ended = run(command);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_ne!(document["answer"]["problems"], Value::Array(Vec::new()), "{document}");
    document["answer"].clone()
}

fn volumes(stick: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(stick.join("custodia")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten()).map(|file| file.path()).collect();
    found.sort();
    found
}

/// Both ends hold the same receipt, and everything that it speaks of.
fn is_delivered(lab: &Authority, prosecutor: &Authority, package: &str) {
    assert_eq!(lab.said_of(package), ["seal", "release", "consignment", "receipt"]);
    assert_eq!(prosecutor.said_of(package), ["release", "consignment", "receipt"]);
    let queued = lab.asks(&[&"queue"])[0].clone();
    assert_eq!(queued["state"], "received");
    assert_eq!(queued["receipt"], prosecutor.received()["receipt"]);
    lab.is_sound();
    prosecutor.is_sound();
}

#[test]
fn a_package_and_its_receipt_travel_on_one_stick() {
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 3 << 20);
    let stick = stick(&place, "stick");
    let secret = place.file("secret", b"the words that we agreed on\n");
    let write = |from: &Authority, to: &Authority| {
        from.asks(&[&"usb", &"write", &stick, &"--for", &to.name, &"--passphrase-file", &secret])
    };
    let written = write(&lab, &prosecutor);
    assert_eq!((written["bytes_left"].as_u64(), written["sealed"].as_bool()), (Some(0), Some(true)), "{written}");
    // Whoever finds it reads nothing, not even whose it is.
    for volume in volumes(&stick) {
        let bytes = fs::read(&volume).unwrap();
        assert!(volume.extension().unwrap() == "age" && !volume.display().to_string().contains("lab"));
        for told in [&b"grave 1"[..], b"lab.example", b"prosecutor.example", &noise(1, 64)] {
            assert!(!bytes.windows(told.len()).any(|part| part == told));
        }
    }
    prosecutor
        .fails("E-PASSPHRASE", 2, &[&"usb", &"read", &stick])
        .says("next", "--passphrase-file FILE")
        .says("safe", "Nothing was read");
    let wrong = place.file("wrong", b"other words\n");
    prosecutor
        .fails("E-KEYSTORE", 1, &[&"usb", &"read", &stick, &"--passphrase-file", &wrong])
        .says("safe", "Nothing was read");
    let read = prosecutor.asks(&[&"usb", &"read", &stick, &"--passphrase-file", &secret]);
    assert_eq!((&read["problems"], read["statements_back"].as_u64()), (&Value::Array(Vec::new()), Some(2)), "{read}");
    assert_eq!(read["packages"][0]["receipt"], prosecutor.received()["receipt"]);
    lab.asks(&[&"usb", &"read", &stick, &"--passphrase-file", &secret]);
    is_delivered(&lab, &prosecutor, &package);

    // Read once more, at either end: nothing is said twice.
    let sizes = [lab.ledger_size(), prosecutor.ledger_size()];
    for who in [&prosecutor, &lab] {
        who.asks(&[&"usb", &"read", &stick, &"--passphrase-file", &secret]);
    }
    assert_eq!([lab.ledger_size(), prosecutor.ledger_size()], sizes);
}

/// Without any link, by a stick that goes back and forth, everything gets the other side's cosignature in the end.
#[test]
fn proofs_of_what_travelled_on_sticks_are_witnessed() {
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 100_000);
    let stick = stick(&place, "stick");
    writes(&lab, &stick, &prosecutor);
    reads(&prosecutor, &stick);
    reads(&lab, &stick);
    prosecutor.asks(&[&"accept", &package]);
    for _ in 0..2 {
        writes(&prosecutor, &stick, &lab);
        reads(&lab, &stick);
        writes(&lab, &stick, &prosecutor);
        reads(&prosecutor, &stick);
    }
    for (who, name) in [(&lab, "lab.json"), (&prosecutor, "prosecutor.json")] {
        let proof = place.path(name);
        let written = who.asks(&[&"prove", &package, &"--out", &proof]);
        let findings = written["findings"].as_array().unwrap();
        assert!(findings.iter().all(|finding| finding.as_str().unwrap().starts_with("not-given")), "{written}");
    }
}

#[test]
fn what_does_not_fit_goes_onto_the_next_stick() {
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 9 << 20);
    let small = Disk::new(place.path("small"), "7m");
    let (first, second) = (small.path("mounted"), stick(&place, "second"));
    fs::create_dir(&first).unwrap();
    let written = writes(&lab, &first, &prosecutor);
    let left = written["bytes_left"].as_u64().unwrap();
    assert!((3 << 20..7 << 20).contains(&left), "{written}");
    let written = writes(&lab, &second, &prosecutor);
    assert_eq!(written["bytes_left"].as_u64(), Some(0), "{written}");
    let on_second: u64 = volumes(&second).iter().map(|volume| fs::metadata(volume).unwrap().len()).sum();
    assert!((left..left + (1 << 20)).contains(&on_second), "{on_second} bytes for {left}");

    // The second one alone says what it needs; read after the first it completes it.
    let read = reads_in_part(&prosecutor, &second);
    assert!(read["problems"][0]["what"].as_str().unwrap().contains("an earlier one"), "{read}");
    let read = reads(&prosecutor, &first);
    assert_eq!(read["packages"][0]["receipt"], Value::Null, "{read}");
    let read = reads(&prosecutor, &second);
    assert_eq!(read["packages"][0]["receipt"], prosecutor.received()["receipt"]);
    reads(&lab, &second);
    is_delivered(&lab, &prosecutor, &package);
}

#[test]
fn a_stick_and_a_link_complete_each_other_in_either_order() {
    const BYTES: u64 = 9 << 20;
    // Half of it by a stick, the rest by the link.
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, BYTES as usize);
    let small = Disk::new(place.path("small"), "7m");
    let first = small.path("mounted");
    fs::create_dir(&first).unwrap();
    let left = writes(&lab, &first, &prosecutor)["bytes_left"].as_u64().unwrap();
    reads(&prosecutor, &first);
    let serving = prosecutor.serves();
    let delivered = lab.asks(&Authority::sends(&package, &prosecutor));
    serving.stop();
    let sent = delivered["bytes_sent"].as_u64().unwrap();
    assert!((left..left + (1 << 20)).contains(&sent), "{sent} bytes were sent of {left} that were left");
    is_delivered(&lab, &prosecutor, &package);
    // The stick with the answers comes late: they are the same.
    let sizes = [lab.ledger_size(), prosecutor.ledger_size()];
    reads(&lab, &first);
    reads(&prosecutor, &first);
    assert_eq!([lab.ledger_size(), prosecutor.ledger_size()], sizes);

    // The link first, which breaks; then a stick with all of it.
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 200 << 20);
    let stick = stick(&place, "stick");
    let serving = prosecutor.serves();
    let sending = support::Running::start(lab.command(&Authority::sends(&package, &prosecutor)));
    let transfer = || fs::read_dir(prosecutor.home.join("incoming")).ok()?.flatten().next();
    until("something is recorded", || fs::read(transfer()?.path().join("have")).ok());
    serving.kill();
    sending.kill();
    assert_eq!(prosecutor.received()["receipt"], Value::Null);
    writes(&lab, &stick, &prosecutor);
    let read = reads(&prosecutor, &stick);
    assert_eq!(read["packages"][0]["receipt"], prosecutor.received()["receipt"]);
    reads(&lab, &stick);
    is_delivered(&lab, &prosecutor, &package);
}

#[test]
fn a_stick_that_was_pulled_or_is_damaged_loses_nothing() {
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 40 << 20);
    let stick = stick(&place, "stick");
    writes(&lab, &stick, &prosecutor);
    let volume = volumes(&stick).remove(0);
    let whole = fs::read(&volume).unwrap();

    // One byte of content, in the middle: that block is named and not taken, the others are.
    let mut flipped = whole.clone();
    flipped[20 << 20] ^= 1;
    fs::write(&volume, &flipped).unwrap();
    let read = reads_in_part(&prosecutor, &stick);
    assert_eq!(read["packages"][0]["receipt"], Value::Null, "{read}");
    let proven = prosecutor.received()["carried"]["proven"].as_u64().unwrap();
    assert!((20 << 20..40 << 20).contains(&proven), "{proven} bytes are proven");

    // Cut anywhere: what came before the cut is taken, and nothing else is said to be there.
    for cut in [0, 17, 100, 5000, 30 << 20, whole.len() - 1] {
        fs::write(&volume, &whole[..cut]).unwrap();
        let read = reads_in_part(&prosecutor, &stick);
        let receipted = read["packages"].as_array().unwrap().iter().any(|package| package["receipt"] != Value::Null);
        // Only its own digest was missing: everything that was sent is here and proven.
        assert_eq!(receipted, cut == whole.len() - 1, "{cut}: {read}");
    }
    // Nothing that was not sent is made of it, and the sender knows of no receipt yet.
    assert_eq!(lab.said_of(&package), ["seal", "release"]);

    // Written again, and whole.
    assert_eq!(lab.asks(&[&"usb", &"write", &stick, &"--for", &prosecutor.name, &"--plain"])["bytes_left"], 0);
    let again = place.path("again");
    fs::create_dir(&again).unwrap();
    let written = lab.asks(&[&"usb", &"write", &again, &"--for", &prosecutor.name, &"--plain", &"--again"]);
    assert!(written["bytes"].as_u64().unwrap() > 40 << 20, "{written}");
    reads(&prosecutor, &again);
    reads(&lab, &again);
    is_delivered(&lab, &prosecutor, &package);
}

#[test]
fn what_is_no_stick_or_is_for_others_is_told_apart() {
    let place = Place::new();
    let (lab, prosecutor, _) = released(&place, 1000);
    let (full, empty) = (Disk::new(place.path("full"), "1m"), stick(&place, "empty"));
    let onto = full.path("mounted");
    fs::create_dir(&onto).unwrap();
    let to = &prosecutor.name;
    lab.fails("E-DISK-FULL", 32, &[&"usb", &"write", &onto, &"--for", to, &"--plain"])
        .says("safe", "what is queued stays queued")
        .says("next", "use another one");
    assert_eq!(volumes(&onto), Vec::<PathBuf>::new(), "nothing unfinished stays");
    lab.fails("E-PASSPHRASE", 2, &[&"usb", &"write", &empty, &"--for", to]).says("next", "--plain");
    lab.fails("E-UNKNOWN-PEER", 22, &[&"usb", &"write", &empty, &"--for", &"nobody.example", &"--plain"]);
    lab.fails("E-USAGE", 2, &[&"usb", &"write", &lab.home, &"--for", to, &"--plain"]);
    lab.fails("E-IO", 1, &[&"usb", &"read", &place.path("missing")]);
    lab.fails("E-EMPTY", 33, &[&"usb", &"read", &empty]).says("next", "where the medium is mounted");

    // A third authority finds it: it is not for it, and says so. A stranger's stick is nobody's word.
    let stick = stick(&place, "stick");
    writes(&lab, &stick, &prosecutor);
    let third = place.found("third.example");
    place.trust(&third, &lab);
    let read = third.keeps(|| reads(&third, &stick));
    assert_eq!((read["for_others"].as_u64(), read["volumes"].as_u64()), (Some(1), Some(0)), "{read}");
    place.trust(&lab, &third);
    lab.asks(&[&"send", &lab.seals(&place.source(2, 1000)), &"--to", &third.name]);
    let stranger = stick_for(&place, &lab, &third);
    let other = place.found_at("third.example", place.path("other"), &support::address());
    let read = other.keeps(|| reads(&other, &stranger));
    assert_eq!(read["for_others"].as_u64(), Some(1), "another key is another authority: {read}");
    // Who does not know the sender takes nothing from it.
    let unknown = place.found("fourth.example");
    place.trust(&lab, &unknown);
    lab.asks(&[&"send", &lab.seals(&place.source(3, 1000)), &"--to", &unknown.name]);
    let from_lab = stick_for(&place, &lab, &unknown);
    unknown
        .fails("E-UNKNOWN-PEER", 22, &[&"usb", &"read", &from_lab])
        .says("safe", "Nothing of it was taken")
        .says("next", "custodia trust add");
}

fn stick_for(place: &Place, from: &Authority, to: &Authority) -> PathBuf {
    let stick = stick(place, &format!("for {}", to.name));
    writes(from, &stick, to);
    stick
}

#[test]
fn a_node_that_runs_writes_and_reads_sticks_too() {
    let place = Place::new();
    let (lab, prosecutor, package) = released(&place, 2 << 20);
    let stick = stick(&place, "stick");
    // Each runs while the other does not: no link can do it.
    let ours = lab.serves();
    writes(&lab, &stick, &prosecutor);
    ours.stop();
    let theirs = prosecutor.serves();
    reads(&prosecutor, &stick);
    theirs.stop();
    let ours = lab.serves();
    reads(&lab, &stick);
    ours.stop();
    is_delivered(&lab, &prosecutor, &package);
}
