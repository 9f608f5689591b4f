//! Keys open for their people, one process works on a home, and a home that is not in order is not used.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{Authority, Place, address, until};

fn with_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_wrong_passphrase_signs_nothing_and_locks_nothing() {
    let place = Place::new();
    let lab = Authority { name: "lab.example".to_owned(), home: place.path("lab"), address: address() };
    let (right, wrong, empty) = (
        place.file("right", b"correct horse\nsecond line\n"),
        place.file("wrong", b"battery staple\n"),
        place.file("empty", b"\n"),
    );
    lab.init(&["--passphrase-file", &right.display().to_string()]).answer();
    let source = place.source(1, 1000);

    // What needs no key of a person needs no passphrase.
    assert!(lab.says(&["ledger", "list"]).contains("delegation"));
    let seal = |file| -> [&dyn AsRef<std::ffi::OsStr>; 6] {
        [&"seal", &source, &"--case", &"C-1", &"--passphrase-file", file]
    };
    lab.fails("E-KEYSTORE", 1, &seal(&wrong))
        .says("what", "officer-O-1")
        .says("place", "keys/officer-O-1.age")
        .says("expected", "passphrase")
        .says("found", "another one")
        .says("safe", "Nothing was signed")
        .says("next", "right passphrase");
    lab.fails("E-PASSPHRASE", 2, &[&"seal", &source, &"--case", &"C-1"])
        .says("place", "keys/officer-O-1.age")
        .says("safe", "Nothing was signed")
        .says("next", "--passphrase-file FILE");
    lab.fails("E-PASSPHRASE", 2, &seal(&empty)).says("place", "empty");
    assert_eq!(lab.asks(&seal(&right))["files"], 2);
}

#[test]
fn without_a_terminal_a_passphrase_is_a_file_or_a_decision() {
    let place = Place::new();
    let lab = Authority { name: "lab.example".to_owned(), home: place.path("lab"), address: address() };
    lab.init(&[]).failure("E-PASSPHRASE", 2).says("next", "--passphrase-file FILE").says("next", "--no-passphrase");
    assert!(!lab.home.exists(), "nothing is made before that is clear");
    lab.init(&["--no-passphrase"]).answer();
}

#[test]
fn one_process_works_on_a_home() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let source = place.source(1, 1000);
    let serving = lab.serves();

    // The second server does not ask the first: it opens the home itself.
    let pid = fs::read_to_string(lab.home.join("lock")).unwrap();
    lab.fails("E-LOCKED", 34, &[&"serve"])
        .says("found", &format!("process {}", pid.trim()))
        .says("safe", "Nothing was touched")
        .says("next", "wait until it ends");
    // Over its socket the node takes requests; without it a command finds the home locked.
    lab.asks(&[&"seal", &source, &"--case", &"C-1"]);
    let size = lab.asks(&[&"ledger", &"checkpoint"])["size"].as_u64().unwrap();
    until("what was sealed is written out", || {
        let public = fs::read_to_string(lab.home.join("ledger/checkpoint")).ok()?;
        public.lines().nth(1)?.parse().ok().filter(|written: &u64| *written == size)
    });
    fs::remove_file(lab.home.join("node.sock")).unwrap();
    lab.fails("E-LOCKED", 34, &[&"seal", &source, &"--case", &"C-2"]).says("found", pid.trim());
    lab.fails("E-LOCKED", 34, &[&"inbox"]);

    // No person unlocks anything after a crash.
    serving.kill();
    assert_eq!(lab.asks(&[&"seal", &source, &"--case", &"C-2"])["files"], 2);
    let serving = lab.serves();
    assert!(lab.says(&["doctor"]).contains("the node serves"));
    serving.stop();
    assert!(!lab.home.join("node.sock").exists());
}

#[test]
fn keys_that_others_can_read_are_not_used() {
    let place = Place::new();
    let lab = place.found("lab.example");
    for (open, right) in [("keys/statement", 0o600), ("keys/ledger", 0o600), ("keys", 0o700)] {
        let path = lab.home.join(open);
        for mode in [0o644, 0o640, 0o602] {
            with_mode(&path, mode | (right & 0o100));
            for command in ["serve", "card"] {
                lab.fails("E-PERM", 1, &[&command])
                    .says("place", &path.display().to_string())
                    .says("expected", "owner")
                    .says("found", &format!("{:03o}", mode | (right & 0o100)))
                    .says("safe", "did not start")
                    .says("next", &format!("chmod go= {}", path.display()));
            }
        }
        with_mode(&path, right);
        lab.says(&["card"]);
    }
}

#[test]
fn a_typing_error_in_the_configuration_names_its_line() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let config = lab.home.join("custodia.toml");
    let right = fs::read_to_string(&config).unwrap();
    let line = 1 + right.lines().position(|line| line.starts_with("listen")).unwrap();
    for (wrong, found) in [
        (right.replace("listen =", "lisen ="), "lisen"),
        (right.replace("listen = \"127", "listen = \"here"), "address"),
        (right.replace("listen = \"", "listen = "), ""),
    ] {
        fs::write(&config, wrong).unwrap();
        lab.fails("E-CONFIG", 1, &[&"serve"])
            .says("place", &format!("custodia.toml line {line}"))
            .says("expected", "docs/operate/configuration.md")
            .says("found", found)
            .says("safe", "nothing was changed");
        lab.fails("E-CONFIG", 1, &[&"inbox"]);
    }
    fs::write(&config, right).unwrap();
    lab.says(&["inbox"]);
}

#[test]
fn a_folder_without_a_node_is_said_to_have_none() {
    let place = Place::new();
    let nobody = Authority { name: "nobody.example".to_owned(), home: place.path("nowhere"), address: address() };
    for command in ["inbox", "serve", "doctor"] {
        nobody
            .fails("E-NO-HOME", 1, &[&command])
            .says("place", &nobody.home.display().to_string())
            .says("next", "custodia init")
            .says("next", "--home DIR");
    }
    assert!(!nobody.home.exists());
}

#[test]
fn a_node_is_made_once() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let fingerprint = lab.asks(&[&"card"])["fingerprint"].clone();
    let again = || lab.keeps(|| lab.init(&["--no-passphrase"])).failure("E-EXISTS", 1);
    again()
        .says("place", &lab.home.display().to_string())
        .says("safe", "Nothing in it was touched")
        .says("next", "another folder");
    // Also what is no node is left alone.
    let other = Authority { name: "lab.example".to_owned(), home: place.path("other"), address: address() };
    place.file("other/thesis.txt", b"three years of work");
    other.keeps(|| other.init(&["--no-passphrase"])).failure("E-EXISTS", 1);
    assert_eq!(lab.asks(&[&"card"])["fingerprint"], fingerprint);
}
