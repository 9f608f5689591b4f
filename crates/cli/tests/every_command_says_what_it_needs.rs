//! The command line: help, examples that parse, and packages named by the beginnings of their ids.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use custodia_format::Hash;
use custodia_format::body::{Body, Seal};
use custodia_format::kind::Kind;
use custodia_format::statement::{Head, Issuer, Package, Statement, StatementId};
use custodia_format::text::{Code, Label, LedgerName, Time};
use custodia_ledger::{Document, Shelf};
use support::{Authority, Place, Running, custodia, run};

/// The names under "Commands:" of a help text.
fn commands_of(help: &str) -> Vec<String> {
    let rest = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn help(words: &[String]) -> String {
    let mut command = custodia();
    command.args(words).arg("--help");
    let ended = run(command);
    assert_eq!(ended.exit, Some(0), "{words:?}: {ended:?}");
    assert!(ended.err.is_empty() && ended.out.contains("Usage: custodia"), "{words:?}: {ended:?}");
    ended.out
}

#[test]
fn every_command_has_help() {
    let mut seen = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        for name in commands_of(&help(&words)) {
            open.push(words.iter().cloned().chain([name]).collect());
        }
        seen.push(words.join(" "));
    }
    for name in ["init", "seal", "send", "inbox", "accept", "verify", "trust add", "ledger fsck", "demo", "explain"] {
        assert!(seen.iter().any(|words| words == name), "no help for {name}: {seen:?}");
    }
}

#[test]
fn what_is_not_understood_ends_with_2() {
    let place = Place::new();
    let lab = place.found("lab.example");
    for words in [
        &["sael", "x"][..],
        &[],
        &["seal"],
        &["seal", "x"],
        &["send", "0123456789"],
        &["trust", "ad", "x"],
        &["inbox", "--jsn"],
        &["inbox", "surplus"],
        &["ledger", "show", "one"],
        &["trust", "add", "x", "--channel", "rumour"],
    ] {
        let mut command = lab.command(&[]);
        command.args(words);
        let ended = lab.keeps(|| run(command));
        assert_eq!(ended.exit, Some(2), "{words:?}: {ended:?}");
        assert!(ended.out.is_empty() && ended.err.contains("--help"), "{words:?}: {ended:?}");
    }
    lab.fails("E-USAGE", 2, &[&"explain", &"nonsense"]).says("next", "E-LOCKED");
    assert!(lab.says(&["explain", "e-locked"]).contains("Exit code 34"));
}

/// Runs a line of a shell with our program on the path, in an empty folder and without a node; gives what it said.
fn dry(line: &str) -> String {
    let place = Place::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_custodia")).parent().unwrap();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", line])
        .current_dir(place.path(""))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("CUSTODIA_HOME", place.path("nowhere"));
    let ended = run(shell);
    assert!(!place.path("nowhere").exists(), "{line}: it did something");
    ended.err
}

#[test]
fn every_example_of_the_readme_and_of_the_help_parses() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let help = help(&[]);
    let examples: Vec<&str> = readme.lines().chain(help.lines().map(str::trim_start)).collect();
    // The demo is a minute's work and has no dry form.
    let examples: Vec<&&str> =
        examples.iter().filter(|line| line.starts_with("custodia ") && !line.starts_with("custodia demo")).collect();
    assert!(examples.len() >= 12, "{examples:?}");
    for line in examples {
        let said = dry(line);
        // The line was understood; only then does the program look for the node, the file or the passphrase. What needs none is done.
        let understood = said.is_empty()
            || ["E-NO-HOME", "E-IO", "E-PASSPHRASE"].iter().any(|code| said.starts_with(&format!("[XX] {code}  ")));
        assert!(understood, "{line}\n{said}");
    }
}

/// Logs a seal over a root of our choosing, past the node. No other way leads to two packages whose ids begin alike.
fn seal_by_hand(lab: &Authority, root: Hash) {
    let list = lab.asks(&[&"ledger", &"list"]);
    let card = Hash::from_hex(list[0]["digest"].as_str().unwrap()).unwrap();
    let head = Head {
        id: StatementId::new(root.as_bytes()[..16].try_into().unwrap()),
        issuer: Issuer { name: Label::parse(&lab.name).unwrap(), card: Some(card) },
        ledger: LedgerName::parse(&format!("{}/node-1/1", lab.name)).unwrap(),
        officer: Some(Code::parse("O-1").unwrap()),
        signers: Vec::new(),
        issued_at: Time::parse("2026-11-12T09:00:00Z").unwrap(),
        not_before: None,
        in_reply_to: None,
        package: Some(Package { records: 2, root }),
        sequence: Some(0),
        previous: None,
        annex: None,
        kind: Kind::Seal,
    };
    let seal = Seal {
        answers: None,
        program: Code::parse("custodia").unwrap(),
        version: Code::parse("0.1.0").unwrap(),
        findings: Vec::new(),
        unread: Vec::new(),
    };
    let signed =
        Statement { head, body: Body::Seal(seal) }.sign(&[&lab.key("statement"), &lab.key("officer-O-1")]).unwrap();
    let bytes = signed.print().into_bytes();
    lab.logs(vec![Document { shelf: Shelf::Statement, bytes }]);
}

#[test]
fn a_package_is_named_by_any_unique_beginning_of_its_id() {
    let place = Place::new();
    let (lab, _) = place.pair();
    let package = lab.seals(&place.source(1, 1000));
    let twins = ["aaaaaaaa1", "aaaaaaaa2"].map(|start| format!("{start}{}", "7".repeat(55)));
    for twin in &twins {
        seal_by_hand(&lab, Hash::from_hex(twin).unwrap());
    }
    assert_eq!(lab.said_of(&twins[0]), ["seal"]);

    let proof = place.path("proof.json");
    let shouted = package.to_uppercase();
    let longer = format!("{package}0");
    let (unknown, unhexed) = ("0123456789abcdef", format!("{}g", &package[..8]));
    let (short, alike, dots) = (&package[..7], &twins[0][..8], "../../x");
    let fails = |name: &str, code: &str, exit: i32| {
        lab.fails(code, exit, &[&"show", &name]);
        lab.fails(code, exit, &[&"prove", &name, &"--out", &proof]);
        lab.fails(code, exit, &[&"send", &name, &"--to", &"prosecutor.example"]);
        lab.fails(code, exit, &[&"accept", &name]);
    };
    for name in [short, &shouted, &longer, &unhexed, dots, ""] {
        fails(name, "E-USAGE", 2);
    }
    fails(unknown, "E-UNKNOWN-PACKAGE", 2);
    fails(alike, "E-AMBIGUOUS-PACKAGE", 2);
    lab.fails("E-USAGE", 2, &[&"show", &shouted])
        .says("expected", "8 or more")
        .says("expected", "lowercase")
        .says("found", &shouted);
    lab.fails("E-UNKNOWN-PACKAGE", 2, &[&"show", &unknown]).says("found", unknown).says("next", "custodia inbox");
    let ambiguous = lab.fails("E-AMBIGUOUS-PACKAGE", 2, &[&"show", &alike]);
    ambiguous.says("found", &twins[0]).says("found", &twins[1]).says("next", "more characters");
    assert!(!proof.exists());

    for name in [&package[..8], &package[..21], &package] {
        assert_eq!(lab.asks(&[&"show", &name])["package"], package.as_str());
    }
    assert_eq!(lab.asks(&[&"show", &&twins[1][..9]])["package"], twins[1].as_str());
}

#[test]
fn a_command_whose_reader_has_gone_is_no_failure() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let line =
        format!("{} --home {} ledger list | true; echo ended", env!("CARGO_BIN_EXE_custodia"), lab.home.display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &line]);
    let ended = Running::start(shell).end();
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("ended\n", ""));
}
