//! A backup is made beside a running node, brought up to date, read with the tools of the system, and made a home again; a
//! restored home asks its peers before it signs, and goes on in its next generation when they saw more.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Authority, Place, run};

fn restores(who: &Authority, from: &Path) -> serde_json::Value {
    fs::remove_dir_all(&who.home).unwrap();
    who.asks(&[&"restore", &from])
}

#[test]
fn a_lost_disk_comes_back_from_its_backup_and_goes_on() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let (ours, theirs) = (lab.serves(), prosecutor.serves());
    let first = lab.seals(&place.source(1, 3 << 20));
    lab.asks(&Authority::sends(&first, &prosecutor));
    let backup = place.path("disk/backup");
    // Beside the running node.
    let made = lab.asks(&[&"backup", &backup]);
    assert_eq!((&made["entries"], &made["keys"]), (&lab.ledger_size().into(), &true.into()));
    let sums = "cd \"$0\"/objects && find . -type f | while read f; do echo \"$(basename $f)  $f\"; done | sha256sum -c --quiet";
    assert!(
        Command::new("sh").args(["-c", sums]).arg(&backup).status().unwrap().success(),
        "the tools of the system read it"
    );
    let mode = |path: &str| fs::metadata(backup.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys"), mode("keys/ledger")), (0o700, 0o600));

    // Again: only what is new is copied.
    let again = lab.asks(&[&"backup", &backup]);
    assert_eq!(again["files"], 0, "{again}");
    let second = lab.seals(&place.source(2, 1000));
    let more = lab.asks(&[&"backup", &backup]);
    assert!(more["files"].as_u64().unwrap() < 12 && more["bytes"].as_u64().unwrap() < 100_000, "{more}");
    ours.stop();

    // The disk is lost. Nobody saw more than the backup holds: the same ledger goes on.
    let restored = restores(&lab, &backup);
    assert_eq!((&restored["errors"], &restored["standing"]["is"]), (&serde_json::json!([]), &"confirmed".into()));
    lab.is_sound();
    lab.asks(&Authority::sends(&second, &prosecutor));
    assert_eq!(lab.said_of(&second), ["seal", "release", "consignment", "receipt"]);

    // It is lost again, and now the prosecutor has seen more.
    let restored = restores(&lab, &backup);
    assert_eq!(restored["standing"]["is"], "behind", "{restored}");
    let source = place.source(3, 10);
    lab.fails_changing("E-ROLLBACK", 40, &[&"seal", &source, &"--case", &"C-1"])
        .says("next", "custodia ledger succeed");
    lab.asks(&[&"ledger", &"succeed"]);
    assert_eq!(lab.said_of(&second), ["seal", "release", "consignment", "receipt"]);
    lab.asks(&Authority::sends(&lab.seals(&place.source(4, 1000)), &prosecutor));
    lab.is_sound();
    // The next backup holds both generations.
    lab.asks(&[&"backup", &backup]);
    let restored = restores(&lab, &backup);
    assert_eq!((&restored["errors"], &restored["standing"]["is"]), (&serde_json::json!([]), &"confirmed".into()));
    assert_eq!(restored["ledger"], "lab.example/node-1/2");
    let (proof, trust) = (place.path("proof.json"), place.file("trust", lab.says(&["trust", "export"]).as_bytes()));
    lab.asks(&[&"prove", &first, &"--out", &proof]);
    assert_eq!(run(lab.command(&[&"verify", &proof, &"--trust", &trust])).exit, Some(0));
    theirs.stop();
}

#[test]
fn where_nobody_can_be_asked_it_is_said_and_signing_goes_on() {
    let place = Place::new();
    let (lab, _prosecutor) = place.pair();
    lab.seals(&place.source(1, 1000));
    let backup = place.path("backup");
    lab.asks(&[&"backup", &backup]);
    let restored = restores(&lab, &backup);
    assert_eq!(restored["standing"], serde_json::json!({ "is": "unconfirmed", "heard": 0, "peers": 1 }));
    lab.seals(&place.source(2, 1000));
    let doctor = run(lab.command(&[&"doctor"])).out;
    assert!(doctor.contains("unconfirmed"), "{doctor}");
}

/// What cannot be listed is not taken for empty: such a backup would look whole and hold nothing.
#[test]
fn a_folder_that_cannot_be_listed_ends_the_backup() {
    let place = Place::new();
    let lab = place.found("lab.example");
    lab.seals(&place.source(1, 1000));
    for folder in ["objects", "manifests", "statements"] {
        let backup = place.path(&format!("backup of {folder}"));
        let (there, aside) = (lab.home.join(folder), place.path("aside"));
        let ours = lab.serves();
        std::fs::rename(&there, &aside).unwrap();
        std::fs::write(&there, "no folder").unwrap();
        lab.fails_changing("E-IO", 1, &[&"backup", &backup]).says("place", folder);
        assert!(!backup.join("backup").exists(), "it is marked as whole");
        std::fs::remove_file(&there).unwrap();
        std::fs::rename(&aside, &there).unwrap();
        ours.stop();
    }
    lab.asks(&[&"backup", &place.path("backup")]);
}

#[test]
fn a_backup_is_no_home_and_no_home_is_a_backup() {
    let place = Place::new();
    let lab = place.found("lab.example");
    lab.seals(&place.source(1, 1000));
    let other = place.found("other.example");
    let backup = place.path("backup");
    lab.asks(&[&"backup", &backup]);
    let waits = Authority { name: lab.name.clone(), home: backup.clone(), address: lab.address.clone() };
    waits.fails("E-NO-HOME", 1, &[&"inbox"]).says("what", "backup").says("next", "restore");
    waits.fails("E-NO-HOME", 1, &[&"serve"]);

    // Nothing is written over: not another's backup, nor other files, nor the home itself, nor a home that is there.
    other.seals(&place.source(2, 1000));
    let before = waits.disk();
    other.keeps(|| other.fails_changing("E-EXISTS", 1, &[&"backup", &backup])).says("found", "lab.example");
    assert!(waits.disk() == before);
    let files = place.source(3, 10);
    lab.fails_changing("E-EXISTS", 1, &[&"backup", &files]).says("safe", "Nothing in it was touched");
    let inside = lab.home.join("backup-of-myself");
    lab.fails_changing("E-USAGE", 2, &[&"backup", &inside]);
    lab.fails_changing("E-EXISTS", 1, &[&"restore", &backup]);
    let nobody = Authority { name: "x".to_owned(), home: place.path("x"), address: lab.address.clone() };
    nobody.fails_changing("E-NO-HOME", 1, &[&"restore", &files]).says("what", "no backup");
    assert!(!nobody.home.exists());
}

#[test]
fn a_backup_without_keys_and_one_that_rotted_say_so() {
    let place = Place::new();
    let lab = place.found("lab.example");
    lab.seals(&place.source(1, 3 << 20));
    let backup = place.path("backup");
    assert_eq!(lab.asks(&[&"backup", &backup, &"--without-keys"])["keys"], false);
    assert!(!backup.join("keys").exists());
    let bare = Authority { name: lab.name.clone(), home: place.path("bare"), address: lab.address.clone() };
    bare.fails_changing("E-KEYSTORE", 1, &[&"restore", &backup]).says("next", "bring the key");

    lab.asks(&[&"backup", &backup]);
    let objects = fs::read_dir(backup.join("objects")).unwrap().flatten();
    let files = objects.flat_map(|shelf| fs::read_dir(shelf.path()).into_iter().flatten().flatten());
    let largest = files.max_by_key(|file| file.metadata().map(|data| data.len()).unwrap_or(0)).unwrap().path();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[2 << 20] ^= 1;
    fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&largest, bytes).unwrap();
    let rotten = Authority { name: lab.name.clone(), home: place.path("rotten"), address: lab.address.clone() };
    let ended = run(rotten.command(&[&"restore", &backup]));
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    let name = largest.file_name().unwrap().to_str().unwrap();
    assert!(ended.out.contains("[XX] Restored") && ended.out.contains(name), "{}", ended.out);

    // What rotted at home is not carried into a backup either.
    let object = lab.home.join("objects").join(&name[..2]).join(name);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(&largest, &object).unwrap();
    let fresh = place.path("fresh");
    lab.fails_changing("E-IO", 1, &[&"backup", &fresh]).says("what", "not");
    assert!(!fresh.join("backup").exists(), "it is no backup");
}
