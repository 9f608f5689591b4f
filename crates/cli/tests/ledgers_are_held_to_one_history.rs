//! Three authorities watch each other's ledgers: a fork is found when two who saw it meet, and becomes a file for a court;
//! a witness that was restored learns what it cosigned; a third cosigns what two hand over.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Authority, Place, custodia, run, tool, until};

/// A laboratory, a prosecutor and a tribunal, all of whom know each other.
fn three(place: &Place) -> (Authority, Authority, Authority) {
    let (lab, prosecutor) = place.pair();
    let tribunal = place.found("tribunal.example");
    place.meet(&lab, &tribunal);
    place.meet(&prosecutor, &tribunal);
    (lab, prosecutor, tribunal)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    tool("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()], "copies a home");
}

/// The same authority in a second home, which grows by itself: a fork of its ledger.
fn double(place: &Place, of: &Authority) -> Authority {
    let home = place.path("double");
    copy(&of.home, &home);
    let double = Authority { name: of.name.clone(), home, address: of.address.clone() };
    // An honest program would ask its peers before it signs on a disk that is new to it.
    double.asks_nobody();
    double
}

/// What a node keeps of its peers in the folders of this name.
fn of_peers(of: &Authority, name: &str) -> Vec<PathBuf> {
    let peers = fs::read_dir(of.home.join("peers")).into_iter().flatten().flatten();
    let folders = peers.map(|peer| peer.path().join(name));
    folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path())).collect()
}

/// What a node keeps against others.
fn contradictions(of: &Authority) -> Vec<PathBuf> {
    of_peers(of, "contradictions")
}

/// What the doctor sees under a name.
fn seen(by: &Authority, name: &str) -> Vec<String> {
    let checked: Value = serde_json::from_str(&run(by.command(&[&"--json", &"doctor"])).out).unwrap();
    let checks = checked["answer"]["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    checks.map(|check| check["seen"].as_str().unwrap().to_owned()).collect()
}

/// What a court's program says of a file, told whom to believe by an authority: its exit code and its words.
fn judged(file: &Path, told_by: &Authority, place: &Place) -> (Option<i32>, String) {
    let trust = place.file("court/trust", told_by.says(&["trust", "export"]).as_bytes());
    let mut verify = custodia();
    verify.arg("verify").arg(file).arg("--trust").arg(trust);
    let ended = run(verify);
    (ended.exit, ended.out)
}

/// Another line of the configuration.
fn configure(of: &Authority, from: &str, to: &str) {
    let path = of.home.join("custodia.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_ledger_that_forks_is_found_when_two_who_saw_it_meet() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let fork = double(&place, &lab);
    let (one, other) = (prosecutor.serves(), tribunal.serves());
    // Each is shown a history of its own, of one length, by the same keys.
    lab.asks(&Authority::sends(&lab.seals(&place.source(1, 1000)), &prosecutor));
    fork.asks(&Authority::sends(&fork.seals(&place.source(2, 1000)), &tribunal));
    assert_eq!(lab.ledger_size(), fork.ledger_size());
    assert!(contradictions(&prosecutor).is_empty() && contradictions(&tribunal).is_empty(), "neither can know it");

    // The first time that these two speak, about anything at all, both find it.
    prosecutor.asks(&Authority::sends(&prosecutor.seals(&place.source(3, 1000)), &tribunal));
    for finder in [&prosecutor, &tribunal] {
        let files = contradictions(finder);
        assert_eq!(files.len(), 1, "{}", finder.name);
        let (exit, words) = judged(&files[0], finder, &place);
        assert_eq!(exit, Some(40), "{words}");
        for told in ["lab.example", "two roots at size", "ledger-fork"] {
            assert!(words.contains(told), "{told}: {words}");
        }
        let [told] = &seen(finder, "fork")[..] else { panic!("{:?}", seen(finder, "fork")) };
        assert!(told.contains("two histories") && told.contains(files[0].to_str().unwrap()), "{told}");
        assert_eq!(run(finder.command(&[&"doctor"])).exit, Some(1));
    }
    assert!(seen(&lab, "fork").is_empty());

    // Neither takes anything of that ledger any more, nor does what is between themselves suffer.
    let size = prosecutor.ledger_size();
    let package = lab.seals(&place.source(4, 1000));
    lab.fails_changing("E-PEER-REFUSED", 21, &Authority::sends(&package, &prosecutor))
        .says("found", "a ledger that contradicts what was seen before");
    assert_eq!(prosecutor.ledger_size(), size);
    tribunal.asks(&Authority::sends(&tribunal.seals(&place.source(5, 1000)), &prosecutor));
    one.stop();
    other.stop();
}

#[test]
fn a_fork_of_another_length_waits_for_a_proof_that_nobody_can_give() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let fork = double(&place, &lab);
    let (one, other) = (prosecutor.serves(), tribunal.serves());
    lab.asks(&Authority::sends(&lab.seals(&place.source(1, 1000)), &prosecutor));
    fork.seals(&place.source(6, 1000));
    fork.asks(&Authority::sends(&fork.seals(&place.source(2, 1000)), &tribunal));
    prosecutor.asks(&Authority::sends(&prosecutor.seals(&place.source(3, 1000)), &tribunal));
    assert_eq!((seen(&prosecutor, "claim").len(), seen(&tribunal, "claim").len()), (1, 1));
    assert!(contradictions(&prosecutor).is_empty() && contradictions(&tribunal).is_empty());

    // At its next call the laboratory is told what it signed elsewhere, and stops by itself, as an honest program does.
    let package = lab.seals(&place.source(4, 1000));
    lab.fails_changing("E-ROLLBACK", 40, &Authority::sends(&package, &prosecutor))
        .says("safe", "nothing will be signed");
    prosecutor.received();
    one.stop();
    other.stop();
}

#[test]
fn a_restored_witness_learns_what_it_cosigned_before_it_cosigns_another_history() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    let fork = double(&place, &lab);
    let backup = place.path("backup");
    copy(&prosecutor.home, &backup);
    let (one, other) = (prosecutor.serves(), tribunal.serves());
    // The prosecutor cosigns; the laboratory tells the tribunal who did.
    lab.asks(&Authority::sends(&lab.seals(&place.source(1, 1000)), &prosecutor));
    lab.asks(&Authority::sends(&lab.seals(&place.source(2, 1000)), &tribunal));
    one.stop();
    // Of all that it cosigned, the newest; so far that was the laboratory's alone.
    let newest = of_peers(&prosecutor, "witnessed")
        .into_iter()
        .max_by_key(|path| (path.file_name().unwrap().len(), path.clone()))
        .unwrap();
    // An older copy of what it witnessed; its own ledger and what it holds are not what this is about.
    for peer in fs::read_dir(backup.join("peers")).unwrap().flatten() {
        let (now, then) = (prosecutor.home.join("peers").join(peer.file_name()), peer.path());
        for folder in ["witnessed", "told", "claimed"] {
            let _ = fs::remove_dir_all(now.join(folder));
        }
        if then.join("witnessed").is_dir() {
            copy(&then.join("witnessed"), &now.join("witnessed"));
        }
    }
    assert!(!newest.is_file());
    let one = prosecutor.serves();
    tribunal.asks(&Authority::sends(&tribunal.seals(&place.source(3, 1000)), &prosecutor));
    assert!(newest.is_file(), "the note that it had cosigned last is back, to the byte");

    // Now the other history comes along, which the older copy alone would have cosigned.
    let package = fork.seals(&place.source(4, 1000));
    fork.fails_changing("E-ROLLBACK", 40, &Authority::sends(&package, &prosecutor));
    assert!(prosecutor.asks(&[&"inbox"]).as_array().unwrap().iter().all(|one| one["package"] != package.as_str()));
    // The true one goes on.
    lab.asks(&Authority::sends(&lab.seals(&place.source(5, 1000)), &prosecutor));
    assert!(contradictions(&prosecutor).is_empty());
    one.stop();
    other.stop();
}

/// Waits until everybody has cosigned an authority's newest checkpoint.
fn all_cosign(the_ledger_of: &Authority) {
    until("everybody has cosigned", || {
        let told = seen(the_ledger_of, "witnesses").remove(0);
        (!told.contains("not yet by")).then_some(())
    });
}

#[test]
fn a_third_authority_cosigns_what_two_hand_over() {
    let place = Place::new();
    let (lab, prosecutor, tribunal) = three(&place);
    for hasty in [&lab, &prosecutor] {
        configure(hasty, "witness_seconds = 60", "witness_seconds = 1");
    }
    let nodes = [&lab, &prosecutor, &tribunal].map(Authority::serves);
    let package = lab.seals(&place.source(1, 1000));
    lab.asks(&Authority::sends(&package, &prosecutor));
    // Nothing was handed to the tribunal; it is called all the same.
    all_cosign(&lab);
    all_cosign(&prosecutor);
    // At the laboratory's next round it hears who cosigned the receipt.
    lab.seals(&place.source(2, 1000));
    all_cosign(&lab);
    let too_few = |quorum: &str| {
        let (trust, proof) = (lab.home.join("trust"), place.path(&format!("{quorum}.json")));
        let told = fs::read_to_string(&trust).unwrap();
        fs::write(&trust, told.replace("quorum 1", quorum)).unwrap();
        lab.asks(&[&"prove", &package, &"--out", &proof]);
        fs::write(&trust, told.replace("quorum 1", "quorum 2")).unwrap();
        let (_, words) = judged(&proof, &lab, &place);
        fs::write(&trust, told).unwrap();
        let places = words.lines().filter(|line| line.contains(" of 2 needed"));
        places.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<String>>()
    };
    // Where one witness is enough, the earliest checkpoint is shown, and the receipt has the third's line all the same.
    let missing = too_few("quorum 1");
    assert!(missing.iter().any(|what| what == "seal") && missing.iter().all(|what| what != "receipt"), "{missing:?}");
    // For a court that asks for two, our statements stand under one that both cosigned.
    let missing = too_few("quorum 2");
    assert!(missing.iter().all(|what| ["card", "consignment"].contains(&what.as_str())), "{missing:?}");
    for node in nodes {
        node.stop();
    }
}
