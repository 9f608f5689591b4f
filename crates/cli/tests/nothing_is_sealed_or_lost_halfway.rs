//! Sources that cannot be sealed, disks without room, places that are taken: all of it or nothing, and the same command
//! works once the cause is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Authority, Disk, Place, Running, custodia_under, noise, run, tool};

/// Root reads what nobody may read, unless it gives that right up; where it cannot, the mode alone forbids it.
const WITHOUT_OVERRIDE: [&str; 3] = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"];

#[test]
fn all_that_is_wrong_with_a_source_is_named_at_once() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let source = place.source(1, 1000);
    let (link, pipe, secret) = (source.join("link"), source.join("photos/pipe"), source.join("secret"));
    symlink("/etc/hostname", &link).unwrap();
    tool("mkfifo", &[pipe.as_os_str()], "makes a named pipe");
    fs::write(&secret, "unreadable").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o0)).unwrap();

    let words: [&dyn AsRef<OsStr>; 5] = [&"--json", &"seal", &source, &"--case", &"C-1"];
    let program =
        || if rustix::process::geteuid().is_root() { custodia_under(&WITHOUT_OVERRIDE) } else { support::custodia() };
    let failure = lab.keeps(|| run(lab.command_of(program(), &words)).failure("E-INPUT-UNREADABLE", 33));
    failure
        .says("what", "3 things")
        .says("place", &format!("{}: a link to /etc/hostname", link.display()))
        .says("place", &format!("{}: a named pipe", pipe.display()))
        .says("place", &format!("{}: cannot be read: Permission denied", secret.display()))
        .says("safe", "Nothing was sealed")
        .says("next", "run the same command");
    // A dry run says the same and does as little.
    lab.fails("E-INPUT-UNREADABLE", 33, &[&"seal", &source, &"--case", &"C-1", &"--dry-run"]).says("place", "a link");

    for mended in [link, pipe, secret] {
        fs::remove_file(mended).unwrap();
    }
    assert_eq!(run(lab.command_of(program(), &words)).answer()["files"], 2);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_not_sealed() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let source = place.source(1, 16 << 20);
    let growing = source.join("photos/1.raw");
    let is_sealing = AtomicBool::new(true);
    let failure = thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&growing).unwrap();
            while is_sealing.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
            }
        });
        let failure = lab.keeps(|| lab.fails_changing("E-SRC-CHANGED", 33, &[&"seal", &source, &"--case", &"C-1"]));
        is_sealing.store(false, Ordering::Relaxed);
        failure
    });
    failure
        .says("place", &format!("{}: ", growing.display()))
        .says("place", "bytes")
        .says("safe", "Nothing was sealed")
        .says("next", "wait until nobody writes there");
    lab.seals(&source);
}

#[test]
fn an_empty_source_and_a_missing_one_are_told_apart() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let (empty, missing) = (place.path("empty"), place.path("missing"));
    fs::create_dir(&empty).unwrap();
    lab.fails("E-EMPTY", 33, &[&"seal", &empty, &"--case", &"C-1"]).says("place", "empty");
    lab.fails("E-INPUT-UNREADABLE", 33, &[&"seal", &missing, &"--case", &"C-1"]).says("place", "there is nothing here");
    lab.fails("E-INPUT-UNREADABLE", 33, &[&"seal", &lab.home, &"--case", &"C-1"]).says("found", "lab.example");
}

#[test]
fn a_sender_without_room_seals_nothing_until_there_is_some() {
    let place = Place::new();
    let disk = Disk::new(place.path("disk"), "4m");
    let lab = place.found_at("lab.example", disk.path("home"), &support::address());
    let source = place.source(1, 8 << 20);
    lab.keeps(|| lab.fails_changing("E-DISK-FULL", 32, &[&"seal", &source, &"--case", &"C-1"]))
        .says("place", &lab.home.display().to_string())
        .says("expected", "bytes free")
        .says("found", "bytes free")
        .says("safe", "Nothing was sealed")
        .says("next", "free some space");
    disk.resize("64m");
    assert_eq!(lab.asks(&[&"seal", &source, &"--case", &"C-1"])["files"], 2);
    lab.is_sound();
}

#[test]
fn room_that_ends_at_any_step_of_a_commit_loses_nothing() {
    let place = Place::new();
    let disk = Disk::new(place.path("disk"), "2m");
    let lab = place.found_at("lab.example", disk.path("home"), &support::address());
    let mut acknowledged = vec![lab.seals(&place.source(1, 1000))];
    let (mut failures, mut seals) = (0, 0);
    for (seed, left) in (2_u64..).zip((0..32).step_by(4)) {
        disk.fill_but(left << 10);
        let ended = run(lab.command(&[&"--json", &"seal", &place.source(seed, 1000), &"--case", &"C-1"]));
        match ended.exit {
            Some(0) => {
                acknowledged.push(ended.answer()["package"].as_str().unwrap().to_owned());
                seals += 1;
            }
            // Before the commit point nothing happened; at it and after it the node signs nothing until a start has looked.
            Some(32) => _ = ended.failure("E-DISK-FULL", 32).says("next", "free some space"),
            _ => _ = ended.failure("E-POISONED", 1).says("safe", "Everything acknowledged before is safe"),
        }
        failures += usize::from(ended.exit != Some(0));
        // What was acknowledged can be read, full as the disk is.
        let listed = lab.says(&["ledger", "list"]);
        for package in &acknowledged {
            assert!(lab.said_of(package).starts_with(&["seal".to_owned()]), "{listed}");
        }
        disk.empty();
        lab.is_sound();
    }
    assert!(failures > 0 && seals > 0, "the steps met neither or one of a full disk and room: {failures} {seals}");
    acknowledged.push(lab.seals(&place.source(99, 1000)));
    lab.is_sound();
    for package in &acknowledged {
        assert_eq!(lab.said_of(package), ["seal"]);
    }
}

#[test]
fn a_receiver_without_room_signs_no_receipt_until_there_is_some() {
    let place = Place::new();
    let disk = Disk::new(place.path("disk"), "8m");
    let lab = place.found("lab.example");
    let prosecutor = place.found_at("prosecutor.example", disk.path("home"), &support::address());
    place.meet(&lab, &prosecutor);
    let package = lab.seals(&place.source(1, 16 << 20));
    let serving = prosecutor.serves();
    lab.fails_changing("E-PEER-REFUSED", 21, &Authority::sends(&package, &prosecutor))
        .says("found", "no room")
        .says("safe", "Nothing counts as received")
        .says("safe", "queued");
    assert!(!lab.said_of(&package).contains(&"receipt".to_owned()));
    assert!(!prosecutor.said_of(&package).contains(&"receipt".to_owned()));
    let received = prosecutor.received();
    assert_eq!(received["receipt"], serde_json::Value::Null);
    prosecutor.fails("E-STATE", 1, &[&"accept", &package]).says("safe", "Nothing was signed");

    disk.resize("64m");
    lab.asks(&Authority::sends(&package, &prosecutor));
    assert_eq!(prosecutor.received()["state"], "received");
    prosecutor.asks(&[&"accept", &package]);
    serving.stop();
    prosecutor.is_sound();
}

#[test]
fn proofs_and_exports_replace_nothing() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let package = lab.seals(&place.source(1, 1000));
    let taken = place.file("proof.json", b"the only copy of something else");
    let dangling = place.path("dangling.json");
    symlink("nowhere", &dangling).unwrap();
    for out in [&taken, &dangling] {
        lab.fails("E-EXISTS", 1, &[&"prove", &package, &"--out", out])
            .says("place", &out.display().to_string())
            .says("safe", "not touched")
            .says("next", "another name");
    }
    assert_eq!(fs::read(&taken).unwrap(), b"the only copy of something else");
    assert_eq!(fs::read_link(&dangling).unwrap(), OsStr::new("nowhere"));

    let thesis = place.file("full/thesis.txt", b"three years of work");
    let full = place.path("full");
    for dir in [&full, &taken] {
        lab.fails("E-EXISTS", 1, &[&"export", &package, dir])
            .says("place", &dir.display().to_string())
            .says("safe", "not touched");
    }
    assert_eq!(fs::read(&thesis).unwrap(), b"three years of work");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let beside = fs::read_dir(place.path("")).unwrap().flatten();
    assert!(beside.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().contains("partial")));

    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(lab.asks(&[&"export", &package, &empty])["files"], 2);
    assert!(empty.join("items/photos/1.raw").is_file() && empty.join("proof.json").is_file());
    lab.asks(&[&"prove", &package, &"--out", &place.path("new.json")]);
}

#[test]
fn an_export_without_room_leaves_nothing_behind() {
    let place = Place::new();
    let disk = Disk::new(place.path("disk"), "1m");
    let lab = place.found("lab.example");
    let source = place.file("one/file.raw", &noise(7, 4 << 20));
    let package = lab.seals(source.parent().unwrap());
    let out = disk.path("export");
    lab.fails("E-DISK-FULL", 32, &[&"export", &package, &out]).says("next", "free some space");
    assert_eq!(fs::read_dir(disk.path("")).unwrap().count(), 0);
    disk.resize("32m");
    lab.asks(&[&"export", &package, &out]);
}

#[test]
fn a_seal_that_is_killed_leaves_nothing_that_counts() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let source = place.source(1, 64 << 20);
    let size = lab.ledger_size();
    let sealing = Running::start(lab.command(&[&"seal", &source, &"--case", &"C-1"]));
    // It has begun to copy.
    let objects = lab.home.join("objects");
    support::until("it copies", || fs::read_dir(&objects).unwrap().next().map(drop));
    sealing.kill();
    assert_eq!(lab.ledger_size(), size);
    lab.seals(&source);
    lab.is_sound();
    // What the killed one had copied does not stay.
    let bytes: u64 =
        lab.disk().iter().filter(|(path, _)| path.starts_with("objects")).map(|(_, (bytes, _))| bytes).sum();
    assert!(bytes < (64 << 20) + 4096, "{bytes} bytes lie in objects/");
}
