//! The program as a court runs it: files in, words and an exit code out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn world(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/world").join(name)
}

/// Runs the program where there is no network interface at all. Making such a place needs rights.
fn run(arguments: &[&Path], options: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_custodia-verify");
    let output = Command::new("unshare").args(["--net", program]).args(arguments).args(options).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.starts_with("unshare:"), "these tests need the right to make a network namespace: {told}");
    output
}

fn trusting() -> Vec<String> {
    vec!["--trust".to_owned(), world("trust").display().to_string()]
}

fn exit(proof: &str, dir: Option<&str>, options: &[&str]) -> i32 {
    let (proof, dir) = (world(proof), dir.map(world));
    let arguments: Vec<&Path> = std::iter::once(proof.as_path()).chain(dir.as_deref()).collect();
    let trust = trusting();
    let all: Vec<&str> = trust.iter().map(String::as_str).chain(options.iter().copied()).collect();
    run(&arguments, &all).status.code().unwrap()
}

#[test]
fn each_verdict_has_its_exit_code() {
    assert_eq!(exit("full.proof.json", Some("content"), &[]), 0);
    assert_eq!(exit("full.proof.json", None, &["--strict"]), 13);
    assert_eq!(exit("tampered/byte.proof.json", Some("tampered/byte.content"), &[]), 10);
    assert_eq!(exit("tampered/file-missing.proof.json", Some("tampered/file-missing.content"), &[]), 11);
    assert_eq!(exit("tampered/two-roots.proof.json", None, &[]), 40);
    assert_eq!(run(&[&world("full.proof.json")], &[]).status.code(), Some(12));
    assert_eq!(run(&[], &[]).status.code(), Some(2));
}

#[test]
fn files_that_cannot_be_read_are_told_and_nothing_is_judged() {
    for (proof, trust) in [("no-such-file", "trust"), ("full.proof.json", "no-such-file"), ("full.proof.json", "vkeys")]
    {
        let output = run(&[&world(proof)], &["--trust", &world(trust).display().to_string()]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("E-") && text.contains("Safe:") && text.contains("You can:"), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_link_is_not_the_file_that_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("notes")).unwrap();
    std::os::unix::fs::symlink(world("content/images"), folder.path().join("images")).unwrap();
    let note = "notes/Ermittlungsakte-é.txt";
    std::os::unix::fs::symlink(world("content").join(note), folder.path().join(note)).unwrap();
    let trust = trusting();
    let options: Vec<&str> = trust.iter().map(String::as_str).collect();
    let output = run(&[&world("full.proof.json"), folder.path()], &options);
    assert_eq!(output.status.code(), Some(11), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_report_is_one_json_document() {
    let trust = trusting();
    let options: Vec<&str> = trust.iter().map(String::as_str).chain(["--json"]).collect();
    let output = run(&[&world("full.proof.json"), &world("content")], &options);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("{\"report\":{") || text.starts_with("{\"schema\":"), "{text}");
    assert_eq!(text.matches('\n').count(), 1);
}
