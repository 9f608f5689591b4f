//! Time-stamping services stamp the ledger's checkpoints: the whole way, with a service of openssl on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
#[path = "support/tsa.rs"]
mod tsa;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use custodia_format::proof::Proof;
use serde_json::Value;

use support::{Authority, Place, custodia, run, until};
use tsa::{Manner, Tsa};

/// The trust file that a court has of this authority.
fn trust(place: &Place, authority: &Authority) -> PathBuf {
    place.file(&format!("{}.trust", authority.name), authority.says(&["trust", "export"]).as_bytes())
}

/// The proof of a package as a file, and read.
fn proof(place: &Place, authority: &Authority, package: &str, name: &str) -> (PathBuf, Proof) {
    let path = place.path(name);
    authority.asks(&[&"prove", &package, &"--out", &path]);
    let read = Proof::parse(&fs::read(&path).unwrap()).unwrap();
    (path, read)
}

/// What the court's code says of a proof.
fn verified(proof: &PathBuf, trust: &PathBuf) -> Value {
    let mut command = custodia();
    command.arg("--json").arg("verify").arg(proof).arg("--trust").arg(trust);
    let ended = run(command);
    serde_json::from_str::<Value>(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))["report"].clone()
}

fn upper<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let statements = report["statements"].as_array().unwrap();
    &statements.iter().find(|one| one["kind"] == kind).unwrap()["interval"]["upper"]
}

/// Each token is over a text that the proof shows, and openssl accepts it.
fn openssl_accepts_all(tsa: &Tsa, proof: &Proof) {
    assert!(!proof.tokens.is_empty());
    let notes = proof.statements.iter().filter_map(|one| Some(&one.tlog_proof.as_ref()?.checkpoint));
    let notes: Vec<_> = notes.chain(&proof.anchors).collect();
    for token in &proof.tokens {
        let note = notes.iter().find(|note| note.text_digest() == token.note).unwrap();
        assert!(tsa.openssl_accepts(&token.token, &note.text));
        assert!(!tsa.openssl_accepts(&token.token, &format!("{}x", note.text)), "openssl looks at the text");
    }
}

fn anchors(authority: &Authority) -> usize {
    let files = authority.disk();
    files.keys().filter(|path| path.starts_with("anchors")).count()
}

#[test]
fn a_node_that_nobody_cosigns_gets_its_times_from_a_service_by_itself() {
    let place = Place::new();
    let (lab, tsa) = (place.found("lab.example"), Tsa::open(place.path("tsa")));
    tsa.serves(&lab, "0.0003");
    let package = lab.seals(&place.source(1, 100));
    let before = lab.ledger_size();
    let node = lab.serves();
    until("the service has stamped the newest checkpoint", || (anchors(&lab) == 2).then_some(()));
    let head = until("the token is told", || {
        Some(lab.asks(&[&"ledger", &"checkpoint"])).filter(|head| head["stamped"][0]["size"] == before)
    });
    assert_eq!(
        (head["size"].as_u64(), head["stamped"][0]["by"].as_str()),
        (Some(before + 2), Some("CN=Test-tsa,O=Test"))
    );
    // Nothing was said since: nobody is asked, though the time has come again and the ledger holds two entries more.
    let asked = tsa.was_asked();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((tsa.was_asked(), lab.ledger_size()), (asked, before + 2));
    node.stop();

    let (path, read) = proof(&place, &lab, &package, "proof.json");
    openssl_accepts_all(&tsa, &read);
    let report = verified(&path, &trust(&place, &lab));
    let upper = upper(&report, "seal");
    assert_eq!(
        (upper["source"].as_str(), upper["by"].as_str()),
        (Some("time-stamp"), Some("CN=Test-tsa,O=Test")),
        "{report}"
    );
    let mut words = custodia();
    words.arg("verify").arg(&path).arg("--trust").arg(trust(&place, &lab));
    assert!(run(words).out.contains(" by the clock of CN=Test-tsa,O=Test (its own clock said "));
    // A court that does not believe the service is told, and has no bound by it.
    let stranger = fs::read_to_string(trust(&place, &lab)).unwrap();
    let stranger: String =
        stranger.lines().filter(|line| !line.starts_with("tsa ")).map(|line| format!("{line}\n")).collect();
    let report = verified(&path, &place.file("stranger.trust", stranger.as_bytes()));
    assert!(
        report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "token-unchecked"),
        "{report}"
    );
    assert_eq!(self::upper(&report, "seal"), &Value::Null);

    // The index is a view: without it the same proof is made, to the byte.
    fs::remove_dir_all(lab.home.join("index")).unwrap();
    proof(&place, &lab, &package, "again.json");
    assert_eq!(fs::read(&path).unwrap(), fs::read(place.path("again.json")).unwrap());
    lab.is_sound();
}

#[test]
fn tokens_stand_over_the_very_checkpoints_that_proofs_show_and_travel_with_them() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let tribunal = place.found("tribunal.example");
    place.meet(&prosecutor, &tribunal);
    let tsa = Tsa::open(place.path("tsa"));
    tsa.serves(&lab, "8000");
    tsa.serves(&prosecutor, "8000");
    // So that nothing but the question below asks, each has asked just now.
    for authority in [&lab, &prosecutor] {
        authority.asks(&[&"ledger", &"timestamp"]);
    }
    let package = lab.seals(&place.source(2, 100));
    // While nobody has cosigned the seal, it stands under a checkpoint of which the service is the only witness.
    assert_eq!(lab.asks(&[&"ledger", &"timestamp"])[0]["tokens"].as_array().map(Vec::len), Some(1));
    let nodes = (lab.serves(), prosecutor.serves(), tribunal.serves());
    lab.asks(&Authority::sends(&package, &prosecutor));
    prosecutor.asks(&[&"accept", &package]);
    let stamped = lab.asks(&[&"ledger", &"timestamp"]);
    assert_eq!(stamped[0]["failure"], Value::Null, "{stamped}");
    let again = lab.asks(&[&"ledger", &"timestamp"]);
    assert_eq!(again[0]["tokens"].as_array().map(Vec::len), Some(0), "nothing new: {again}");

    let (_, read) = proof(&place, &lab, &package, "lab.json");
    openssl_accepts_all(&tsa, &read);
    let stands = |read: &Proof, ledger: &str| {
        let of_ledger = read
            .statements
            .iter()
            .filter_map(|one| one.tlog_proof.as_ref())
            .filter(|proof| proof.checkpoint.text.starts_with(ledger));
        of_ledger
            .map(|proof| read.tokens.iter().any(|token| token.note == proof.checkpoint.text_digest()))
            .collect::<Vec<_>>()
    };
    let lab_stands = stands(&read, "lab.example/");
    assert!(lab_stands.len() > 2 && lab_stands.iter().rev().take(2).all(|stamped| *stamped), "{lab_stands:?}");

    // The prosecutor has its own checkpoints stamped, and hands the package on: the tokens go along with the history, to
    // whoever believes the service.
    prosecutor.asks(&[&"ledger", &"timestamp"]);
    let consent: [&dyn AsRef<OsStr>; 2] = [&"--consent", &"a letter"];
    prosecutor.asks(&[&Authority::sends(&package, &tribunal)[..], &consent].concat());
    let (_, doubting) = proof(&place, &tribunal, &package, "doubting.json");
    assert!(doubting.tokens.is_empty(), "what cannot be checked is not passed on");
    tribunal.asks(&[&"trust", &"tsa", &tsa.certificate("tsa")]);
    let (path, believing) = proof(&place, &tribunal, &package, "believing.json");
    openssl_accepts_all(&tsa, &believing);
    let report = verified(&path, &trust(&place, &tribunal));
    let codes: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(!codes.contains(&"token-unchecked") && !codes.contains(&"malformed"), "{codes:?}");
    nodes.0.stop();
    nodes.1.stop();
    nodes.2.stop();
    lab.is_sound();
}

#[test]
fn an_answer_that_does_not_count_is_told_and_nothing_is_stored() {
    let place = Place::new();
    let (lab, tsa) = (place.found("lab.example"), Tsa::open(place.path("tsa")));
    tsa.serves(&lab, "8000");
    lab.seals(&place.source(3, 100));
    let size = lab.ledger_size();
    for (manner, code, expected, found) in [
        (Manner::OtherImprint, "E-TSA", "a token over", "one over"),
        (Manner::OtherNonce, "E-TSA", "the nonce", ""),
        (Manner::NotGranted, "E-TSA", "that the token is granted", "rejected"),
        (Manner::OtherCertificate, "E-TSA", "a certificate of the trust file", ""),
        (Manner::CertificateBySha1, "E-TSA", "a certificate of the trust file", "not named by SHA-256"),
        (Manner::HtmlUnderAnotherName, "E-TSA", "an answer of RFC 3161", "DER"),
        (Manner::HtmlPage, "E-TSA-NET", "application/timestamp-reply", "text/html"),
        (Manner::TenMegabytes, "E-TSA-NET", "at most", "more"),
        (Manner::Redirect, "E-TSA-NET", "status 200", "302, which is not followed"),
        (Manner::Unavailable, "E-TSA-NET", "status 200", "503"),
        (Manner::CutShort, "E-TSA-NET", "an answer over HTTP", ""),
    ] {
        tsa.answers(manner);
        let asked = tsa.was_asked();
        let mut command = lab.command(&[&"ledger", &"timestamp"]);
        command.arg("--json");
        let ended = run(command);
        assert_eq!(ended.exit, Some(if code == "E-TSA" { 21 } else { 20 }), "{manner:?}: {ended:?}");
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        let failure = &answer["answer"][0]["failure"];
        assert_eq!(failure["code"], code, "{manner:?}: {failure}");
        let says = |name: &str, words: &str| failure[name].as_str().unwrap().contains(words);
        assert!(
            says("expected", expected) && says("found", found) && says("place", &tsa.url()),
            "{manner:?}: {failure}"
        );
        assert!(says("safe", "No token was stored."), "{failure}");
        assert_eq!((tsa.was_asked(), anchors(&lab), lab.ledger_size()), (asked + 1, 0, size), "{manner:?}");
    }
    let told = run(lab.command(&[&"ledger", &"timestamp"]));
    assert!(
        told.out.contains("[!!] http://") && told.out.contains("E-TSA-NET  ") && told.out.contains("Safe: No token"),
        "{told:?}"
    );
    // The owner sees it, and how long it has been so.
    let doctor = run(lab.command(&[&"doctor"]));
    assert_eq!(doctor.exit, Some(1), "{doctor:?}");
    assert!(doctor.out.contains("[!!] time") && doctor.out.contains("asked in vain 12 times since"), "{doctor:?}");
    // It comes back: what waited is stamped, and nothing was missed.
    tsa.answers(Manner::Good);
    assert_eq!(lab.asks(&[&"ledger", &"timestamp"])[0]["tokens"][0]["size"], size);
    assert_eq!(anchors(&lab), 2);
    let doctor = run(lab.command(&[&"doctor"]));
    assert!(doctor.out.contains("[OK] time") && doctor.out.contains("by CN=Test-tsa,O=Test"), "{doctor:?}");
    lab.is_sound();
}

#[test]
fn a_service_that_is_silent_holds_nobody_up() {
    let place = Place::new();
    let (lab, tsa) = (place.found("lab.example"), Tsa::open(place.path("tsa")));
    tsa.serves(&lab, "0.0003");
    tsa.answers(Manner::Silent);
    let node = lab.serves();
    until("the service is asked", || (tsa.was_asked() > 0).then_some(()));
    let began = std::time::Instant::now();
    let package = lab.seals(&place.source(4, 100));
    proof(&place, &lab, &package, "proof.json");
    assert!(began.elapsed() < Duration::from_secs(8), "sealing and proving did not wait: {:?}", began.elapsed());
    until("the owner is told of it", || run(lab.command(&[&"doctor"])).out.contains("none in that time").then_some(()));
    // It ends at once, whatever the service does.
    let began = std::time::Instant::now();
    node.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(anchors(&lab), 0);
}

#[test]
fn a_time_stamping_authority_is_believed_by_its_own_certificate_alone() {
    let place = Place::new();
    let (lab, tsa) = (place.found("lab.example"), Tsa::open(place.path("tsa")));
    lab.fails("E-USAGE", 2, &[&"ledger", &"timestamp"]).says("place", "custodia.toml").says("next", "add the section");
    tsa.is_named_by(&lab, "1");
    let nobody = lab.fails("E-TSA", 21, &[&"ledger", &"timestamp"]);
    nobody.says("safe", "No service was asked").says("next", "custodia trust tsa");
    assert_eq!(tsa.was_asked(), 0);

    let other = tsa.fingerprint("other");
    let wrong = lab.fails("E-FINGERPRINT", 22, &[&"trust", &"tsa", &tsa.certificate("tsa"), &"--fingerprint", &other]);
    wrong.says("expected", &tsa.sha256("other"));
    for name in ["web", "ca"] {
        let refused = lab.fails("E-TSA", 21, &[&"trust", &"tsa", &tsa.certificate(name)]);
        refused.says("found", "is not for time-stamping").says("safe", "Nobody is trusted");
    }
    lab.fails("E-MALFORMED", 1, &[&"trust", &"tsa", &tsa.certificate("tsa").with_extension("key")]);
    lab.fails("E-IO", 1, &[&"trust", &"tsa", &place.path("nothing")]);

    let told = lab.says(&["trust", "tsa", tsa.certificate("tsa").to_str().unwrap()]);
    assert!(told.contains("CN=Test-tsa,O=Test") && told.contains("Fingerprint"), "{told}");
    let before = fs::read(lab.home.join("trust")).unwrap();
    let again = lab.asks(&[&"trust", &"tsa", &tsa.certificate("tsa"), &"--fingerprint", &tsa.fingerprint("tsa")]);
    assert_eq!(again["fingerprint"].as_str().unwrap(), tsa.sha256("tsa"));
    assert_eq!(fs::read(lab.home.join("trust")).unwrap(), before, "once is enough");
    assert!(String::from_utf8(before).unwrap().contains("\ntsa MII"));
}
