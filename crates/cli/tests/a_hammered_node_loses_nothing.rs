//! The hammer: it ends without a failure, touches nothing but its folder, and sees when something acknowledged is gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Ended, Place, custodia, run};

/// `custodia hammer` with these words, where a home is named that it must not touch.
fn hammer(place: &Place, words: &[&str]) -> Ended {
    let mut command = custodia();
    command.env("CUSTODIA_HOME", place.path("real-home")).args(["--json", "hammer"]).args(words);
    let ended = run(command);
    assert!(!place.path("real-home").exists(), "{ended:?}");
    ended
}

/// What it told, whatever its exit code.
fn told(ended: &Ended) -> Value {
    let document: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!(document["schema"], "custodia.answer/1", "{ended:?}");
    document["answer"].clone()
}

/// The check of the folder fails, says so with 1, and names this.
#[track_caller]
fn check_fails(place: &Place, folder: &Path, names: &str) {
    let ended = hammer(place, &["--check", folder.to_str().unwrap()]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    let told = told(&ended);
    let failures = told["failures"].as_array().unwrap();
    assert!(failures.iter().any(|failure| failure.as_str().unwrap().contains(names)), "{names}: {told}");
    assert_eq!(told["left"], folder.to_str().unwrap());
    assert!(folder.is_dir());
}

#[test]
fn nothing_acknowledged_is_lost_and_what_is_taken_away_is_missed() {
    let place = Place::new();
    let folder = place.path("hammered");
    let kept = folder.to_str().unwrap();
    let ended = hammer(&place, &["--seconds", "8", "--seed", "11", "--keep", kept]);
    assert_eq!(ended.exit, Some(0), "{ended:?}");
    let run = told(&ended);
    println!("{run}");
    assert_eq!((run["seed"].as_u64(), &run["failures"]), (Some(11), &Value::Array(Vec::new())), "{run}");
    for (name, least) in [("rounds", 2), ("kills", 2), ("operations", 10), ("acknowledged", 12), ("delivered", 1)] {
        assert!(run[name].as_u64().unwrap() >= least, "{name}: {run}");
    }

    // What it left is sound, and stays so when it is checked.
    let again = hammer(&place, &["--check", kept]);
    assert_eq!(again.exit, Some(0), "{again:?}");
    assert_eq!(
        (told(&again)["acknowledged"].as_u64(), &told(&again)["failures"]),
        (run["acknowledged"].as_u64(), &run["failures"])
    );

    // A statement is removed behind its back; that of the newest commit would be written anew.
    let book = fs::read_to_string(folder.join("told.jsonl")).unwrap();
    let lines: Vec<Value> = book.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statement = lines.iter().find(|line| line["statement"]["at"] == 0).unwrap();
    let digest = statement["statement"]["digest"].as_str().unwrap();
    let (first, aside) = (folder.join("first.example"), place.path("aside"));
    let path = first.join(format!("statements/{}/{digest}.json", &digest[..2]));
    fs::rename(&path, &aside).unwrap();
    check_fails(&place, &folder, digest);
    fs::rename(&aside, &path).unwrap();

    // A file of a delivered package, at the recipient.
    let delivered =
        lines.iter().find(|line| line["delivered"]["from"] == 0).expect("the first has delivered something");
    let package = delivered["delivered"]["delivered"]["package"].as_str().unwrap();
    let sealed = lines.iter().find(|line| line["sealed"]["package"]["id"] == package).unwrap();
    let sha256 = sealed["sealed"]["package"]["files"][0][0].as_str().unwrap();
    let path = folder.join(format!("second.example/objects/{}/{sha256}", &sha256[..2]));
    fs::rename(&path, &aside).unwrap();
    check_fails(&place, &folder, sha256);
    fs::rename(&aside, &path).unwrap();

    // A checkpoint was seen that this ledger does not continue, or one that is ahead of it.
    let seen = lines.iter().find(|line| line["checkpoint"]["at"] == 0).unwrap()["checkpoint"].clone();
    let other = book.replacen(seen["root"].as_str().unwrap(), &"0".repeat(64), 1);
    fs::write(folder.join("told.jsonl"), other).unwrap();
    check_fails(&place, &folder, "is no beginning of this ledger");
    let ahead = format!("{book}{{\"checkpoint\":{{\"at\":0,\"size\":100000,\"root\":\"{}\"}}}}\n", "0".repeat(64));
    fs::write(folder.join("told.jsonl"), ahead).unwrap();
    check_fails(&place, &folder, "the checkpoint went back");
}

#[test]
fn a_folder_that_it_did_not_make_is_left_alone() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let home = lab.home.to_str().unwrap();
    lab.keeps(|| {
        hammer(&place, &["--keep", home]).failure("E-EXISTS", 1).says("safe", "Nothing in it was touched");
        hammer(&place, &["--check", home]).failure("E-USAGE", 2).says("next", "custodia hammer --keep");
    });
    // A run with nothing in its book has checked nothing.
    let empty = place.file("empty/told.jsonl", b"{\"seed\":1}\n");
    let ended = hammer(&place, &["--check", empty.parent().unwrap().to_str().unwrap()]);
    assert_eq!(ended.exit, Some(1), "{ended:?}");
    assert!(told(&ended)["failures"].to_string().contains("nothing was checked"), "{ended:?}");
}
