//! Patience, and every answer of a service that does not count, by the vectors of tokens.

use std::path::Path;
use std::time::Duration;

use custodia_format::Hash;
use custodia_format::trust::TrustFile;
use custodia_verify::time_stamp::{Policy, Query};

use super::record::{Asked, Failed};
use super::service::{ANSWER, ANSWER_BYTES, certificates, judge};
use super::{FIRST_WAIT, LONGEST_WAIT, Service, TimeStamps, patience, until_next};
use crate::edge;
use crate::failure::{Code, Failure};

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/time-stamps");
    std::fs::read(folder.join(name)).unwrap()
}

fn index() -> serde_json::Value {
    serde_json::from_slice(&vector("index.json")).unwrap()
}

fn service() -> Service {
    let settings: TimeStamps = toml::from_str("services = [{ url = \"http://tsa.example/tsr\" }]").unwrap();
    settings.services.first().unwrap().clone()
}

/// The question that the vectors answer.
fn query() -> Query {
    let stamped = Hash::from_hex(index()["stamped"].as_str().unwrap()).unwrap();
    Query { nonce: vec![0x12, 0x34, 0x56, 0x78, 0x90], ..Query::new(stamped, [1; 8], None) }
}

/// An answer that grants a token.
fn granted(token: &[u8]) -> Vec<u8> {
    let body = [&[0x30, 3, 2, 1, 0], token].concat();
    [&[0x30, 0x82], u16::try_from(body.len()).unwrap().to_be_bytes().as_slice(), &body].concat()
}

fn trusting(names: &[&str]) -> TrustFile {
    TrustFile { tsas: names.iter().map(|name| vector(&format!("{name}.crt"))).collect(), ..TrustFile::default() }
}

#[track_caller]
fn refused(query: &Query, answer: &[u8]) -> Failure {
    let failure = judge(
        &service(),
        &certificates(&trusting(&["rsa", "p256", "p384", "short", "far", "alternative"])).unwrap(),
        query,
        answer,
    );
    let failure = failure.unwrap_err();
    assert_eq!(failure.code, Code::Tsa);
    assert!(failure.safe.starts_with("No token was stored."));
    failure
}

#[test]
fn a_token_is_taken_whole_or_not_at_all() {
    let good = granted(&vector("good.token"));
    let trusted = certificates(&trusting(&["p256", "rsa"])).unwrap();
    let got = judge(&service(), &trusted, &query(), &good).unwrap();
    assert_eq!((got.token, got.stamp.by.as_str()), (vector("good.token"), "CN=TSA by RSA,O=Vectors,C=XX"));
    let mut taken = 0;
    for vector_of in index()["tokens"].as_array().unwrap() {
        let name = vector_of["name"].as_str().unwrap();
        let answer = granted(&vector(&format!("{name}.token")));
        let is_good = vector_of["expected"].as_str().unwrap().starts_with("valid");
        // Those that openssl made answer another question, and two have no number.
        if is_good && !name.starts_with("openssl-") && !["no-nonce", "all-fields"].contains(&name) {
            let trusted = certificates(&trusting(&["rsa", "p256", "p384", "far", "alternative"])).unwrap();
            judge(&service(), &trusted, &query(), &answer).unwrap();
            taken += 1;
        } else if name == "another-authority" {
            let only_rsa = certificates(&trusting(&["rsa"])).unwrap();
            assert_eq!(judge(&service(), &only_rsa, &query(), &answer).unwrap_err().code, Code::Tsa);
        } else {
            refused(&query(), &answer);
        }
    }
    assert!(taken > 10, "{taken}");
}

#[test]
fn an_answer_to_another_question_is_refused_with_what_differs() {
    let good = granted(&vector("good.token"));
    let other = |change: fn(&mut Query)| {
        let mut query = query();
        change(&mut query);
        refused(&query, &good)
    };
    assert!(other(|query| query.nonce = vec![1]).expected.unwrap().contains("nonce"));
    let policy = other(|query| query.policy = Some(Policy::new_unwrap("1.2.3.4.2")));
    assert_eq!(
        (policy.expected.as_deref(), policy.found.as_deref()),
        (Some("the policy 1.2.3.4.2"), Some("1.2.3.4.1"))
    );
    assert!(other(|query| query.imprint = Hash::ZERO).found.unwrap().contains("one over"));
    let stranger = granted(&vector("another-certificate-of-the-key.token"));
    assert!(refused(&query(), &stranger).next.iter().any(|next| next.contains("custodia trust tsa")));
    assert!(refused(&query(), b"<!DOCTYPE html>").expected.unwrap().contains("RFC 3161"));
    let rejected = refused(&query(), &[0x30, 9, 0x30, 7, 2, 1, 2, 3, 2, 5, 0x20]);
    assert_eq!(rejected.found.as_deref(), Some("status 2, rejected, bad request"));
}

#[test]
fn without_a_line_of_the_trust_file_nobody_is_asked() {
    for trust in [TrustFile::default(), trusting(&["no-usage"]), trusting(&["usage-not-critical", "weak"])] {
        let failure = certificates(&trust).unwrap_err();
        assert_eq!(failure.code, Code::Tsa);
        assert!(failure.next.iter().any(|next| next.starts_with("custodia trust tsa")));
    }
    assert_eq!(certificates(&trusting(&["no-usage", "rsa"])).unwrap().len(), 1);
}

#[test]
fn patience_grows_and_never_passes_the_schedule() {
    let day = Duration::from_secs(86_400);
    assert_eq!(patience(0, day), day);
    let waits: Vec<u64> = (1..9).map(|failures| patience(failures, day).as_secs()).collect();
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    assert_eq!((FIRST_WAIT.as_secs(), patience(u32::MAX, day)), (60, LONGEST_WAIT));
    assert_eq!(patience(9, Duration::from_secs(5)), Duration::from_secs(5));
}

#[test]
fn a_restart_asks_no_earlier_and_a_clock_that_was_wrong_no_later() {
    let hour = Duration::from_secs(3600);
    let asked = |ago: i64| Asked { at: edge::now().unix() - ago, ..Asked::default() };
    assert_eq!(until_next(None, hour), Duration::ZERO);
    assert!((3580..=3590).contains(&until_next(Some(&asked(10)), hour).as_secs()));
    assert_eq!(until_next(Some(&asked(7200)), hour), Duration::ZERO);
    // Asked in the future, by a clock that has been set since.
    assert_eq!(until_next(Some(&asked(-86_400)), hour), Duration::ZERO);
    let failure = Failure::new(Code::TsaNet, "no answer");
    let failed = Asked { failed: Some(Failed { since: 0, times: 2, failure }), ..asked(10) };
    assert!((100..=110).contains(&until_next(Some(&failed), hour).as_secs()));
}

#[test]
fn the_pages_say_the_limits_of_an_answer() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/time-stamps.md"));
    assert!(
        page.contains(&format!("at most {ANSWER_BYTES} bytes"))
            && page.contains(&format!("within {} s", ANSWER.as_secs()))
    );
}
