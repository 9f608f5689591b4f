//! Older copies of a ledger are found out and not signed over; what can be rebuilt is rebuilt to the byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use support::{Authority, Place, tool};

/// Copies some folders of a home, with all that lies in them.
fn copy(from: &Path, names: &[&str], to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        let _ = fs::remove_dir_all(to.join(name));
        tool("cp", &["-a".as_ref(), from.join(name).as_os_str(), to.as_os_str()], "copies a home");
    }
}

/// A laboratory that trusts a prosecutor whom it meets and a tribunal, and the card of a third that it has not met.
fn three(place: &Place) -> (Authority, Authority) {
    let (lab, prosecutor) = place.pair();
    place.trust(&lab, &place.found("tribunal.example"));
    place.file("other.card", place.found("other.example").says(&["card"]).as_bytes());
    (lab, prosecutor)
}

/// All that signs says E-ROLLBACK and does nothing; all that reads works.
fn reads_and_signs_nothing(lab: &Authority, package: &str, place: &Place) {
    let size = lab.ledger_size();
    let (source, card) = (place.source(77, 1000), place.path("other.card"));
    let signing: [&support::Words; 4] = [
        &[&"seal", &source, &"--case", &"C-9"],
        &[&"send", &package, &"--to", &"tribunal.example"],
        &[&"officer", &"add", &"Somebody"],
        &[&"trust", &"add", &card],
    ];
    for words in signing {
        lab.keeps(|| lab.fails_changing("E-ROLLBACK", 40, words))
            .says("what", "behind what was seen of it")
            .says("place", "was seen")
            .says("safe", "nothing will be signed over the missing part")
            .says("next", "bring back the disk that is ahead");
    }
    lab.fails("E-ROLLBACK", 40, signing[0]);
    assert_eq!(lab.ledger_size(), size);
    assert!(lab.said_of(package).contains(&"seal".to_owned()));
    for words in [&["queue"][..], &["inbox"], &["ledger", "list"], &["card"]] {
        lab.says(words);
    }
    let proof = place.path("proof.json");
    lab.asks(&[&"prove", &package, &"--out", &proof]);
    fs::remove_file(proof).unwrap();
    let doctor = support::run(lab.command(&[&"doctor"]));
    assert_eq!(doctor.exit, Some(1), "{doctor:?}");
    assert!(doctor.out.contains("[!!] ledger     E-ROLLBACK"), "{}", doctor.out);
}

#[test]
fn an_older_copy_of_a_ledger_is_found_out_by_those_who_witnessed_it() {
    let place = Place::new();
    let (lab, prosecutor) = three(&place);
    let package = lab.seals(&place.source(1, 1000));
    let theirs = prosecutor.serves();
    let older = place.path("older");
    copy(&lab.home, &["state", "ledger"], &older);
    // The release and the answers to it are logged, and the prosecutor cosigns them.
    lab.asks(&Authority::sends(&package, &prosecutor));
    let newest = lab.ledger_size();
    copy(&older, &["state", "ledger"], &lab.home);

    // At its next session, at the latest, the node learns that it is behind.
    let ours = lab.serves();
    let again = support::run(lab.command(&[&"--json", &"send", &package, &"--to", &"prosecutor.example", &"--wait"]));
    again
        .failure("E-ROLLBACK", 40)
        .says("safe", "nothing will be signed")
        .says("next", "bring back the disk that is ahead");
    reads_and_signs_nothing(&lab, &package, &place);
    let theirs_before = prosecutor.ledger_size();
    ours.stop();
    // A restart does not make it forget.
    reads_and_signs_nothing(&lab, &package, &place);
    assert_eq!(prosecutor.ledger_size(), theirs_before);
    assert!(lab.ledger_size() < newest);
    theirs.stop();
}

#[test]
fn a_whole_home_from_a_backup_is_found_out_before_it_signs_anything() {
    let place = Place::new();
    let (lab, prosecutor) = three(&place);
    let package = lab.seals(&place.source(1, 1000));
    let theirs = prosecutor.serves();
    lab.asks(&Authority::sends(&package, &prosecutor));
    let older = place.path("older");
    tool("cp", &["-a".as_ref(), lab.home.as_os_str(), older.as_os_str()], "copies a home");
    // Another package goes over after the backup was made.
    let second = lab.seals(&place.source(2, 1000));
    lab.asks(&Authority::sends(&second, &prosecutor));
    fs::remove_dir_all(&lab.home).unwrap();
    fs::rename(&older, &lab.home).unwrap();

    // Before it signs anything on this disk it asks, and nothing is signed at all.
    let (source, size) = (place.source(3, 1000), lab.ledger_size());
    let failure = lab.fails_changing("E-ROLLBACK", 40, &[&"seal", &source, &"--case", &"C-1"]);
    failure.says("next", "bring back the disk that is ahead");
    assert_eq!(lab.ledger_size(), size);
    reads_and_signs_nothing(&lab, &package, &place);
    let ours = lab.serves();
    reads_and_signs_nothing(&lab, &package, &place);
    ours.stop();
    assert_eq!(prosecutor.asks(&[&"inbox"]).as_array().map(Vec::len), Some(2), "nothing of the other history came in");
    theirs.stop();
}

#[test]
fn a_head_that_is_older_than_the_published_checkpoint_is_found_out_at_start() {
    let place = Place::new();
    let (lab, _) = three(&place);
    let package = lab.seals(&place.source(1, 1000));
    let (older, newer) = (place.path("older"), place.path("newer"));
    copy(&lab.home, &["state"], &older);
    lab.seals(&place.source(2, 1000));
    copy(&lab.home, &["state"], &newer);
    copy(&older, &["state"], &lab.home);
    reads_and_signs_nothing(&lab, &package, &place);
    // A node that signs nothing can still be run, to be read.
    let serving = lab.serves();
    reads_and_signs_nothing(&lab, &package, &place);
    serving.stop();

    copy(&newer, &["state"], &lab.home);
    lab.seals(&place.source(3, 1000));
    lab.is_sound();
}

#[test]
fn a_ledger_that_is_gone_is_not_begun_anew() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let kept = place.path("kept");
    copy(&lab.home, &["state", "ledger"], &kept);
    for name in ["state", "ledger"] {
        fs::remove_dir_all(lab.home.join(name)).unwrap();
    }
    for command in ["card", "serve"] {
        lab.fails("E-ROLLBACK", 40, &[&command]).says("safe", "second history").says("next", "bring back");
    }
    copy(&kept, &["state", "ledger"], &lab.home);
    lab.seals(&place.source(1, 1000));
}

#[test]
fn an_index_that_was_deleted_is_rebuilt_to_the_byte() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let theirs = prosecutor.serves();
    let packages = [1, 2, 3].map(|seed| {
        let package = lab.seals(&place.source(seed, 100_000));
        lab.asks(&Authority::sends(&package, &prosecutor));
        package
    });
    prosecutor.asks(&[&"accept", &packages[0]]);
    prosecutor.asks(&[&"refuse", &packages[1], &"--reason", &"sent twice"]);
    theirs.stop();
    lab.asks(&[&"send", &lab.seals(&place.source(4, 1000)), &"--to", &"prosecutor.example"]);

    for authority in [&lab, &prosecutor] {
        let told = || -> Vec<String> {
            let commands = [vec!["inbox"], vec!["queue"], vec!["show", &packages[0]], vec!["show", &packages[1]]];
            let both = commands.iter().flat_map(|words| [words.clone(), [&words[..], &["--json"]].concat()]);
            both.map(|words| authority.says(&words)).collect()
        };
        let before = told();
        assert!(before.iter().all(|text| !text.is_empty()));
        fs::remove_dir_all(authority.home.join("index")).unwrap();
        assert_eq!(told(), before, "{}", authority.name);
        // What is no index is replaced too.
        for name in ["db", "conf"] {
            fs::write(authority.home.join("index").join(name), b"garbage").unwrap();
        }
        assert_eq!(told(), before, "{}", authority.name);
        // And one of another home, ahead of or behind this ledger.
        let other = if std::ptr::eq(authority, &lab) { &prosecutor } else { &lab };
        fs::remove_dir_all(authority.home.join("index")).unwrap();
        // Closed in good order, so that nothing but its content speaks against it.
        other.says(&["inbox"]);
        let theirs = other.home.join("index");
        tool("cp", &["-a".as_ref(), theirs.as_os_str(), authority.home.as_os_str()], "copies an index");
        assert_eq!(told(), before, "{} with the index of {}", authority.name, other.name);
        // Running, it is the same.
        let serving = authority.serves();
        assert_eq!(authority.says(&["inbox"]), before[0]);
        serving.stop();
    }
}
