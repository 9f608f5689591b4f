//! What lies at rest: damage is found when it is asked for and by itself, named with the packages that need the file and
//! with whom to ask for it, and a check that is interrupted goes on where it was.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use custodia_format::Hash;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Authority, Place, Running, noise, run, until};

const MIB: usize = 1 << 20;

/// The answer of a command that ends with this code.
#[track_caller]
fn answer(of: &Authority, exit: i32, words: &[&str]) -> Value {
    let mut command = of.command(&[]);
    command.arg("--json").args(words);
    let ended = run(command);
    assert_eq!(ended.exit, Some(exit), "{ended:?}");
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    document["answer"].clone()
}

/// Reads all bytes back, from the first one on; gives what is said of them.
#[track_caller]
fn fsck(of: &Authority, exit: i32) -> Value {
    let checked = answer(of, exit, &["ledger", "fsck", "--bytes", "--from-start"]);
    assert_eq!(checked["errors"].as_array().unwrap().is_empty(), exit == 0, "{checked}");
    checked["content"].clone()
}

/// The one damage that is found.
#[track_caller]
fn damage(of: &Authority) -> Value {
    let content = fsck(of, 1);
    assert_eq!(content["damage"].as_array().unwrap().len(), 1, "{content}");
    content["damage"][0].clone()
}

#[track_caller]
fn says(damage: &Value, name: &str, words: &str) {
    assert!(damage[name].to_string().contains(words), "`{name}` does not say {words:?}: {damage}");
}

/// What stands under this name among the doctor's checks.
fn doctor(of: &Authority, name: &str) -> Vec<Value> {
    let ended = run(of.command(&[&"--json", &"doctor"]));
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let checks: Vec<Value> = document["answer"]["checks"].as_array().unwrap().clone();
    let is_fine = checks.iter().all(|check| check["ok"] == true);
    assert_eq!(ended.exit, Some(i32::from(!is_fine)), "{ended:?}");
    checks.into_iter().filter(|check| check["name"] == name).collect()
}

/// Where an object or its midstates lie.
fn shelved(of: &Authority, shelf: &str, bytes: &[u8]) -> PathBuf {
    let sha256 = Hash::of(bytes).to_string();
    of.home.join(shelf).join(&sha256[..2]).join(sha256)
}

/// Flips one bit of a file.
fn flip(path: &Path, offset: usize) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset as u64).unwrap();
}

/// A laboratory and a prosecutor to whom it has delivered a package; the package, and the bytes of its large file.
fn delivered(place: &Place) -> (Authority, Authority, String, Vec<u8>) {
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 3 * MIB + 5));
    let serving = prosecutor.serves();
    lab.asks(&Authority::sends(&package, &prosecutor));
    serving.stop();
    (lab, prosecutor, package, noise(1, 3 * MIB + 5))
}

#[test]
fn what_is_damaged_is_named_with_whom_to_ask() {
    let place = Place::new();
    let (lab, prosecutor, package, bytes) = delivered(&place);
    let (short, object) = (&package[..16], shelved(&lab, "objects", &bytes));
    let below = |path: &Path| path.strip_prefix(&lab.home).unwrap().to_str().unwrap().to_owned();
    let content = fsck(&lab, 0);
    assert_eq!((content["objects"].as_u64(), content["bytes"].as_u64()), (Some(2), Some(bytes.len() as u64 + 8)));
    assert_eq!((content["midstates"].as_u64(), content["manifests"].as_u64()), (Some(1), Some(2)));
    assert_eq!(doctor(&lab, "damage"), [Value::Null; 0]);

    // A flipped bit.
    flip(&object, MIB + 9);
    let flipped = damage(&lab);
    says(&flipped, "path", &below(&object));
    says(&flipped, "expected", &format!("SHA-256 {}, {} bytes", Hash::of(&bytes), bytes.len()));
    says(&flipped, "found", "the first MiB that does not prove is number 1");
    assert_eq!(flipped["needed_by"], json!([short]));
    says(&flipped, "held_by", "prosecutor.example, by its receipt");
    says(&flipped, "safe", "What was signed about it holds");
    says(&flipped, "next", "ask prosecutor.example for it");
    let told = doctor(&lab, "damage");
    assert!(told.len() == 1 && told[0]["seen"].as_str().unwrap().contains("ask prosecutor.example"), "{told:?}");
    let words = run(lab.command(&[&"ledger", &"fsck", &"--bytes"]));
    assert_eq!(words.exit, Some(1));
    for line in ["[XX]", "Damaged objects/", "Needed by", "Held by", "Safe", "You can", "MiB/s"] {
        assert!(words.out.contains(line), "{line}: {}", words.out);
    }
    // What is damaged does not leave as whole.
    let export = place.path("export");
    lab.fails("E-IO", 1, &[&"export", &package, &export]);

    // It is brought back as the text says.
    let copy = shelved(&prosecutor, "objects", &bytes);
    let bring_back = || {
        let _ = fs::remove_file(&object);
        fs::copy(&copy, &object).unwrap();
        fsck(&lab, 0);
        assert_eq!(doctor(&lab, "damage"), [Value::Null; 0]);
    };
    bring_back();

    // Cut short.
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::OpenOptions::new().write(true).open(&object).unwrap().set_len(5).unwrap();
    says(&damage(&lab), "found", ", 5 bytes");
    bring_back();

    // Gone.
    fs::remove_file(&object).unwrap();
    let missing = damage(&lab);
    says(&missing, "path", &below(&object));
    says(&missing, "found", "it is missing");
    assert_eq!(missing["needed_by"], json!([short]));
    says(&missing, "held_by", "prosecutor.example, by its receipt");
    bring_back();

    // Midstates follow from the bytes: they are told, and written anew.
    let midstates = shelved(&lab, "midstates", &bytes);
    let good = fs::read(&midstates).unwrap();
    flip(&midstates, 40);
    let wrong = damage(&lab);
    says(&wrong, "path", &below(&midstates));
    assert_eq!((&wrong["is_healed"], &wrong["needed_by"]), (&json!(true), &json!([short])));
    says(&wrong, "safe", "The item itself is whole");
    assert_eq!(fs::read(&midstates).unwrap(), good);
    fsck(&lab, 0);
    fs::remove_file(&midstates).unwrap();
    assert!(fsck(&lab, 0)["remarks"].to_string().contains("it was missing, and is written anew"));

    // A manifest.
    let manifest = lab.manifest(&package);
    let good = fs::read(&manifest).unwrap();
    flip(&manifest, good.len() / 2);
    let wrong = damage(&lab);
    says(&wrong, "path", &below(&manifest));
    says(&wrong, "expected", &format!("root {package}"));
    says(&wrong, "held_by", "prosecutor.example, by its receipt");
    fs::remove_file(&manifest).unwrap();
    says(&damage(&lab), "found", "it is missing");
    fs::write(&manifest, good).unwrap();
    fsck(&lab, 0);

    // The other side asks the one who gave it.
    flip(&copy, 7);
    says(&damage(&prosecutor), "held_by", "lab.example, who gave it by release");
}

#[test]
fn nothing_checked_is_a_failure_and_strangers_are_remarks() {
    let place = Place::new();
    let (lab, other) = (place.found("lab.example"), place.found("other.example"));
    let checked = answer(&lab, 1, &["ledger", "fsck", "--bytes"]);
    assert!(checked["errors"].to_string().contains("no object was checked"), "{checked}");
    answer(&lab, 0, &["ledger", "fsck"]);
    lab.seals(&place.source(1, 10));
    let package = other.seals(&place.source(2, 10));
    let name = format!("manifests/{}/{package}.jsonl", &package[..2]);
    fs::create_dir_all(lab.home.join(&name).parent().unwrap()).unwrap();
    fs::copy(other.home.join(&name), lab.home.join(&name)).unwrap();
    fs::write(lab.home.join("objects/stray"), b"").unwrap();
    let remarks = fsck(&lab, 0)["remarks"].to_string();
    assert!(remarks.contains(&format!("{name}: no statement names it")), "{remarks}");
    assert!(remarks.contains("objects/stray: a stray file"), "{remarks}");
    assert_eq!(run(lab.command(&[&"ledger", &"fsck", &"--from-start"])).exit, Some(2), "it goes with --bytes alone");
}

/// Interrupts a check once it has read something; says how long it took to end.
#[track_caller]
fn interrupt(of: &Authority) -> Duration {
    let command = of.command(&[&"--json", &"ledger", &"fsck", &"--bytes"]);
    let cursor = of.home.join("desk/fsck");
    let before = fs::read(&cursor).ok();
    let checking = Running::start(command);
    until("the check has read something", || fs::read(&cursor).ok().filter(|now| Some(now) != before.as_ref()));
    let began = Instant::now();
    kill_process(Pid::from_raw(checking.pid().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let ended = checking.end();
    let took = began.elapsed();
    ended.failure("E-INTERRUPTED", 130).says("found", "checked").says("place", "objects/, after ");
    took
}

#[test]
fn an_interrupted_check_goes_on_where_it_was() {
    const FILES: u64 = 96;
    const SIZE: usize = 6 * MIB;
    let place = Place::new();
    let lab = place.found("lab.example");
    for number in 0..FILES {
        place.file(&format!("source/{number}.raw"), &noise(number, SIZE));
    }
    // One core, so that there is something to interrupt.
    let config = lab.home.join("custodia.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("# cores = 2", "cores = 1")).unwrap();
    lab.seals(&place.path("source"));
    let all = FILES * SIZE as u64;

    let took = interrupt(&lab);
    println!("a check in this process ended {took:?} after Ctrl-C");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The same over the socket of a running node, which goes on where the first one was.
    let serving = lab.serves();
    let took = interrupt(&lab);
    println!("a check in the running node ended {took:?} after Ctrl-C");
    assert!(took < Duration::from_secs(1), "{took:?}");

    let checked = answer(&lab, 0, &["ledger", "fsck", "--bytes"])["content"].clone();
    let before = checked["resumed"]["bytes"].as_u64().unwrap();
    assert!((1..all).contains(&before), "{checked}");
    assert_eq!((checked["objects"].as_u64(), checked["bytes"].as_u64()), (Some(FILES), Some(all)), "{checked}");
    let read = checked["bytes_read"].as_u64().unwrap();
    assert!(read >= all - before && read < all, "{checked}");
    // A check that came to its end leaves no place to go on from, and one can begin anew at any time.
    let whole = answer(&lab, 0, &["ledger", "fsck", "--bytes"])["content"].clone();
    assert_eq!((whole["objects"].as_u64(), &whole["resumed"]), (Some(FILES), &Value::Null), "{whole}");
    interrupt(&lab);
    assert_eq!(fsck(&lab, 0)["resumed"], Value::Null);
    serving.stop();
}

#[test]
fn the_scrub_finds_damage_by_itself_and_sees_when_it_is_over() {
    let place = Place::new();
    let lab = place.found("lab.example");
    // A round takes about a second: this part of a day.
    let config = lab.home.join("custodia.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\nscrub_days = 30\n"), "{text}");
    fs::write(&config, text.replace("scrub_days = 30", "scrub_days = 0.00001")).unwrap();
    lab.seals(&place.source(1, 2 * MIB));
    let (object, aside) = (shelved(&lab, "objects", &noise(1, 2 * MIB)), place.path("aside"));
    assert!(doctor(&lab, "scrub")[0]["seen"].as_str().unwrap().contains("no full round has ended yet"));

    let serving = lab.serves();
    let round = |words: &str| {
        until(&format!("a round ended with {words}"), || {
            doctor(&lab, "scrub")[0]["seen"].as_str().unwrap().contains(words).then_some(())
        });
    };
    round("2 objects, 2 MiB, 2 manifests, all whole");
    fs::copy(&object, &aside).unwrap();
    flip(&object, MIB + 3);
    let told = until("the scrub finds it", || doctor(&lab, "damage").pop());
    let seen = told["seen"].as_str().unwrap();
    assert!(told["ok"] == false && seen.contains("number 1, from 0") && seen.contains("needed by"), "{told}");
    round("1 damaged");
    fs::remove_file(&object).unwrap();
    until("the scrub misses it", || {
        let told = doctor(&lab, "damage").pop()?;
        told["seen"].as_str().unwrap().contains("it is missing").then_some(())
    });
    fs::rename(&aside, &object).unwrap();
    until("the scrub sees it whole again", || doctor(&lab, "damage").is_empty().then_some(()));
    round("all whole");
    serving.stop();

    // What was read is known after a restart too, also where nothing is read any more.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("scrub_days = 0.00001", "scrub_days = 0")).unwrap();
    let seen = doctor(&lab, "scrub")[0]["seen"].as_str().unwrap().to_owned();
    assert!(seen.contains("off") && seen.contains("the last full round ended"), "{seen}");
    // A disk that rots leaves the time of the file alone: then it is known when it was last read whole.
    let written = fs::metadata(&object).unwrap().modified().unwrap();
    flip(&object, 9);
    fs::OpenOptions::new().write(true).open(&object).unwrap().set_modified(written).unwrap();
    let ended = seen.split("ended ").nth(1).unwrap().split(": ").next().unwrap();
    says(&damage(&lab), "last_whole", ended);
}

#[test]
fn a_damaged_object_is_not_delivered() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 3 * MIB));
    let object = shelved(&lab, "objects", &noise(1, 3 * MIB));
    let good = fs::read(&object).unwrap();
    flip(&object, MIB + 1);
    let serving = prosecutor.serves();
    let refused = lab.fails_changing("E-PEER-REFUSED", 21, &Authority::sends(&package, &prosecutor));
    refused.says("found", "does not prove").says("safe", "Nothing counts as received");
    assert_eq!(prosecutor.received()["receipt"], Value::Null);
    assert!(!shelved(&prosecutor, "objects", &noise(1, 3 * MIB)).exists());
    // Once it is whole again, only the rest travels.
    fs::write(&object, good).unwrap();
    let delivered = lab.asks(&Authority::sends(&package, &prosecutor));
    assert_eq!(delivered["transfer"]["state"], "received");
    assert_eq!(prosecutor.received()["carried"]["again"], 0);
    serving.stop();
}
