//! `custodia verify`, as a court runs it: on a machine without any network, with files that may have been tampered with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Authority, Ended, Failure, Place, custodia_under, run, tool};

fn world(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/world").join(name)
}

/// Runs `custodia verify` in a network namespace in which nothing is, not even a loopback that is up.
fn verify(words: &[&dyn AsRef<OsStr>]) -> Ended {
    let mut command = custodia_under(&["unshare", "--net"]);
    command.arg("verify").args(words);
    let ended = run(command);
    assert!(
        !ended.err.contains("unshare"),
        "this test needs network namespaces, and the right to make one (root): {}",
        ended.err
    );
    ended
}

/// The verdict on a proof: its exit code, and the codes of its findings.
fn verdict(words: &[&dyn AsRef<OsStr>]) -> (i32, Vec<String>) {
    let words: Vec<&dyn AsRef<OsStr>> = words.iter().copied().chain([&"--json" as &dyn AsRef<OsStr>]).collect();
    let ended = verify(&words);
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let findings = report["report"]["findings"].as_array().unwrap().iter();
    let mut codes: Vec<String> = findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes.dedup();
    (ended.exit.unwrap(), codes)
}

/// A package that was handed over, accepted, proven and exported, and whom its reader believes.
struct Handed {
    place: Place,
    proof: PathBuf,
    export: PathBuf,
    trust: PathBuf,
}

fn handed() -> Handed {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 3 << 20));
    let serving = prosecutor.serves();
    lab.asks(&Authority::sends(&package, &prosecutor));
    serving.stop();
    let (proof, export) = (place.path("proof.json"), place.path("export"));
    lab.asks(&[&"prove", &package, &"--out", &proof]);
    lab.asks(&[&"export", &package, &export]);
    let trust = place.file("trust", lab.says(&["trust", "export"]).as_bytes());
    Handed { place, proof, export, trust }
}

#[test]
fn the_network_that_a_court_has_is_none() {
    let place = Place::new();
    let seen = place.path("seen");
    // `ip` in the same kind of namespace shows one interface, and that it is down.
    let script = format!("ip -oneline link > {}", seen.display());
    tool(
        "unshare",
        &["--net".as_ref(), "sh".as_ref(), "-c".as_ref(), script.as_ref()],
        "looks into a network namespace",
    );
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.lines().all(|line| line.contains("state DOWN")), "{seen}");
}

#[test]
fn every_prepared_deviation_is_found_and_named() {
    let index: Value = serde_json::from_slice(&fs::read(world("tampered/index.json")).unwrap()).unwrap();
    let cases = index.as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let given = |member: &str| case[member].as_str().map(|file| world("tampered").join(file));
        let proof = world(&format!("tampered/{name}.proof.json"));
        let trust = given("trust").unwrap_or_else(|| world("trust"));
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&proof];
        let content = given("content");
        words.extend(content.as_ref().map(|content| content as &dyn AsRef<OsStr>));
        words.extend([&"--trust" as &dyn AsRef<OsStr>, &trust]);
        let (exit, findings) = verdict(&words);
        let finding = case["finding"].as_str().unwrap();
        assert_eq!(exit.to_string(), case["exit"].as_str().unwrap(), "{name}: {findings:?}");
        assert!(findings.iter().any(|code| code == finding), "{name}: {finding} is not among {findings:?}");
        // Strict changes nothing but a clean end with remarks.
        let strict = verify(&words.iter().copied().chain([&"--strict" as &dyn AsRef<OsStr>]).collect::<Vec<_>>());
        assert_eq!(strict.exit, Some(if exit == 0 { 13 } else { exit }), "{name}");
    }
}

#[test]
fn what_was_signed_wrongly_is_told_in_words() {
    for (name, mark, words) in [
        ("no-officer", "[XX]", "wrong-signers"),
        ("key-not-canonical", "[XX]", "unknown-key"),
        ("signature", "[XX]", "bad-signature"),
        ("two-roots", "[XX]", "ledger-fork"),
        ("nobody-took-it", "[??]", "one-sided-handover"),
        ("no-proof", "[??]", "no-proof"),
    ] {
        let ended = verify(&[&world(&format!("tampered/{name}.proof.json")), &"--trust", &world("trust")]);
        assert!(ended.out.starts_with(mark), "{name}: {}", ended.out);
        assert!(ended.out.contains(&format!("  {mark} {words}: ")), "{name}: {}", ended.out);
        for forbidden in ["authentic", "genuine", "admissible", "guaranteed"] {
            assert!(!ended.out.to_lowercase().contains(forbidden), "{name} says {forbidden}");
        }
    }
}

#[test]
fn a_proof_of_our_own_is_unchanged_with_its_files_and_without() {
    let Handed { proof, export, trust, place } = handed();
    let told = verify(&[&proof, &export, &"--trust", &trust]);
    assert_eq!(told.exit, Some(0), "{told:?}");
    assert!(told.out.contains("UNCHANGED") && told.out.contains("2 of 2 files checked and unchanged"), "{}", told.out);
    assert_eq!(verdict(&[&proof, &"--trust", &trust]), (0, vec!["not-given".to_owned()]));
    assert_eq!(verify(&[&proof, &"--trust", &trust, &"--strict"]).exit, Some(13));
    // The items alone, and the export with its own proof, are the same to it.
    assert_eq!(verify(&[&proof, &export.join("items"), &"--trust", &trust]).exit, Some(0));
    assert_eq!(verify(&[&export.join("proof.json"), &export, &"--trust", &trust]).exit, Some(0));

    // Without trust, or with a trust file that names nobody in it, the reader alone is missing.
    assert_eq!(verify(&[&proof]).exit, Some(12));
    let stranger = place.found("stranger.example");
    let other = place.file("other.trust", stranger.says(&["trust", "export"]).as_bytes());
    let (exit, findings) = verdict(&[&proof, &export, &"--trust", &other]);
    assert_eq!((exit, findings), (12, vec!["untrusted-authority".to_owned()]));
}

#[test]
fn files_that_are_missing_extra_or_changed_are_told_apart() {
    let Handed { proof, export, trust, place: _place } = handed();
    let items = export.join("items");
    let (note, photo) = (items.join("note.txt"), items.join("photos/1.raw"));
    let judged = || verdict(&[&proof, &export, &"--trust", &trust]);
    let codes = |codes: &[&str]| codes.iter().map(ToString::to_string).collect::<Vec<_>>();

    let right = fs::read(&note).unwrap();
    fs::remove_file(&note).unwrap();
    assert_eq!(judged(), (11, codes(&["missing"])));
    fs::write(&note, &right).unwrap();

    fs::write(items.join("planted.txt"), "never sealed").unwrap();
    assert_eq!(judged(), (0, codes(&["extra"])));
    assert_eq!(verify(&[&proof, &export, &"--trust", &trust, &"--strict"]).exit, Some(13));
    fs::remove_file(items.join("planted.txt")).unwrap();

    // One bit in each MiB of a file, and its length.
    let sealed = fs::read(&photo).unwrap();
    let mut changed: Vec<Vec<u8>> = [0, 1 << 20, (2 << 20) + 12_345, sealed.len() - 1]
        .map(|place| {
            let mut bytes = sealed.clone();
            bytes[place] ^= 1;
            bytes
        })
        .into();
    changed.push(sealed[..sealed.len() - 1].to_vec());
    changed.push([&sealed[..], b"x"].concat());
    changed.push(Vec::new());
    for bytes in changed {
        fs::write(&photo, &bytes).unwrap();
        let (exit, findings) = judged();
        assert_eq!(exit, 10, "{findings:?}");
        assert!(findings.contains(&"bytes".to_owned()), "{findings:?}");
        let told = verify(&[&proof, &export, &"--trust", &trust]);
        assert!(told.out.starts_with("[XX] CHANGED") && told.out.contains("photos/1.raw"), "{}", told.out);
    }
    fs::write(&photo, &sealed).unwrap();

    // A link to the right bytes is not the file.
    fs::rename(&photo, export.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(export.join("elsewhere"), &photo).unwrap();
    assert_eq!(judged(), (11, codes(&["missing"])));
    fs::remove_file(&photo).unwrap();
    fs::rename(export.join("elsewhere"), &photo).unwrap();
    assert_eq!(judged(), (0, Vec::new()));
}

#[test]
fn a_proof_that_was_touched_anywhere_is_never_unchanged() {
    let Handed { proof, trust, place, .. } = handed();
    let right = fs::read(&proof).unwrap();
    let touched = place.path("touched.json");
    let judge = |what: &str, bytes: &[u8]| {
        fs::write(&touched, bytes).unwrap();
        let (exit, findings) = verdict(&[&touched, &"--trust", &trust]);
        assert!([10, 11].contains(&exit), "{what}: {exit} {findings:?}");
        (exit, findings)
    };
    let malformed = || (10, vec!["malformed".to_owned()]);
    let no_proof = || (11, vec!["no-proof".to_owned()]);

    // Cut short: before it says what it is, and after.
    for length in [0, 1, 10] {
        assert_eq!(judge("cut", &right[..length]), no_proof());
    }
    for length in [40, 500, right.len() / 2, right.len() - 2] {
        assert_eq!(judge("cut", &right[..length]), malformed());
    }
    // One byte, at places all over it.
    let from = b"{\"type\":\"custodia/proof/v1\",".len();
    for place in (from..right.len()).step_by(right.len() / 40) {
        let mut bytes = right.clone();
        bytes[place] ^= 1;
        let (exit, findings) = judge(&format!("byte {place}"), &bytes);
        assert_eq!(exit, 10, "byte {place}: {findings:?}");
    }
    // A member twice, first or last, and its name spelled in another way.
    let text = String::from_utf8(right.clone()).unwrap();
    let package = text.split("\"package\":").nth(1).unwrap().split(',').next().unwrap();
    let member = format!("\"package\":{package},");
    assert_eq!(judge("twice", text.replacen(&member, &member.repeat(2), 1).as_bytes()), malformed());
    let spelled = member.replacen("package", "p\\u0061ckage", 1);
    assert_eq!(judge("twice", text.replacen(&member, &(spelled + &member), 1).as_bytes()), malformed());
    // A surplus space, a BOM, a second document, an invalid byte.
    assert_eq!(judge("space", text.replacen("\",", "\", ", 1).as_bytes()), malformed());
    assert_eq!(judge("BOM", &[b"\xef\xbb\xbf", &right[..]].concat()), malformed());
    assert_eq!(judge("twice", &[&right[..], &right[..]].concat()), malformed());
    let mut bytes = right.clone();
    bytes[right.len() / 2] = 0xff;
    assert_eq!(judge("no UTF-8", &bytes), malformed());
    // A signature less: the envelope is not the one that was logged.
    let first = text.find("{\\\"keyid\\\"").or_else(|| text.find("\"keyid\"")).expect("envelopes have signatures");
    let stripped = format!("{}{}", &text[..first], &text[first + 1..]);
    assert_eq!(judge("stripped", stripped.as_bytes()).0, 10);

    // Other files are no proofs.
    let photo = place.path("source-1/photos/1.raw");
    for other in [&photo, &trust, &world("manifest.jsonl"), &world("tampered/index.json")] {
        assert_eq!(verdict(&[other, &"--trust", &trust]), no_proof(), "{}", other.display());
    }
}

#[test]
fn what_the_reader_gave_wrongly_is_told_and_nothing_is_judged() {
    let place = Place::new();
    let proof = world("full.proof.json");
    let nowhere = place.path("nowhere");
    let fails = |code: &str, words: &[&dyn AsRef<OsStr>]| -> Failure {
        let words: Vec<&dyn AsRef<OsStr>> = words.iter().copied().chain([&"--json" as &dyn AsRef<OsStr>]).collect();
        let failure = verify(&words).failure(code, 1);
        failure.says("safe", "Nothing was judged");
        failure
    };
    let missing = nowhere.display().to_string();
    fails("E-IO", &[&nowhere]).says("place", &missing).says("next", "name a file that is there");
    fails("E-IO", &[&proof, &nowhere]).says("place", &missing);
    fails("E-IO", &[&proof, &"--trust", &nowhere]).says("place", &missing);
    fails("E-IO", &[&proof, &world("trust")]).says("what", "not a directory");

    let right = fs::read_to_string(world("trust")).unwrap();
    for (wrong, line) in [
        (right.replace("trust/v1", "trust/v2"), "line 1"),
        (right.replacen("authority", "autority", 1), "line 2"),
        (right.replacen("in-person", "rumour", 1), "line 2"),
        (right.replace("prosecutor.example", "forensics.example"), "line 3"),
        (right.replace("quorum 1", "quorum one"), "line 4"),
        (right.trim_end().to_owned(), ""),
        (right.replace('\n', "\r\n"), ""),
        (String::new(), ""),
    ] {
        let trust = place.file("wrong.trust", wrong.as_bytes());
        let failure = fails("E-MALFORMED", &[&proof, &"--trust", &trust]);
        failure
            .says("place", &trust.display().to_string())
            .says("place", line)
            .says("next", "ask whoever gave you the trust file");
        assert!(!failure.text("expected").is_empty(), "{failure:?}");
        let told = verify(&[&proof, &"--trust", &trust]);
        assert!(told.exit == Some(1) && told.out.is_empty() && told.err.starts_with("[XX] E-MALFORMED  "), "{told:?}");
    }
    assert_eq!(verify(&[]).exit, Some(2));
}
