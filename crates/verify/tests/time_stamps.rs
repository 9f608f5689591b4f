//! Time-stamp tokens: the vectors, of which each deviates in one thing; tokens of openssl with every byte changed; and what
//! a token does to a proof.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::proof::{Proof, Token as Shown};
use custodia_format::text::Time;
use custodia_format::trust::TrustFile;
use custodia_verify::time_stamp::{CertificateRefused, TimeStamp, Token, TokenError, TsaCertificate};
use custodia_verify::{BoundSource, Given, Report, Strictness, Verdict, verify};
use proptest::prelude::*;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(vectors().join("time-stamps").join(name)).unwrap()
}

fn index() -> serde_json::Value {
    serde_json::from_slice(&file("index.json")).unwrap()
}

fn stamped() -> Hash {
    Hash::from_hex(index()["stamped"].as_str().unwrap()).unwrap()
}

fn certificate(name: &str) -> TsaCertificate {
    TsaCertificate::parse(&file(&format!("{name}.crt"))).unwrap()
}

fn check(token: &[u8], certificate: &TsaCertificate) -> Result<TimeStamp, TokenError> {
    Ok(Token::read(token)?.check(certificate, &stamped())?.get().clone())
}

#[test]
fn each_vector_comes_to_what_its_name_says() {
    let index = index();
    let made = Time::parse(index["time"].as_str().unwrap()).unwrap();
    let tokens = index["tokens"].as_array().unwrap();
    assert!(tokens.len() >= 69);
    let mut wrong = Vec::new();
    for vector in tokens {
        let (name, by) = (vector["name"].as_str().unwrap(), vector["certificate"].as_str().unwrap());
        let came_to = match check(&file(&format!("{name}.token")), &certificate(by)) {
            Ok(stamp) if name.starts_with("openssl-") || stamp.time == made => "valid",
            Ok(stamp) if stamp.time.unix() == made.unix() + 1 => "valid-next-second",
            Ok(stamp) if stamp.time < made => "valid-earlier",
            Ok(_) => "another time",
            Err(TokenError::Malformed(_)) => "malformed",
            Err(TokenError::OtherCertificate { .. }) => "other-certificate",
            Err(TokenError::UnknownAlgorithm { .. }) => "unknown-algorithm",
            Err(TokenError::OtherText { .. }) => "other-text",
            Err(TokenError::BadSignature { .. }) => "bad-signature",
            Err(TokenError::OutsideValidity { .. }) => "outside-validity",
            Err(_) => "another error",
        };
        if vector["expected"] != came_to {
            wrong.push(format!("{name}: expected {}, came to {came_to}", vector["expected"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_certificate_is_for_time_stamping_alone() {
    let rsa = certificate("rsa");
    assert_eq!(rsa.subject, "CN=TSA by RSA,O=Vectors,C=XX");
    assert_eq!((rsa.not_before.to_string(), rsa.not_after.to_string()).0, "2026-01-01T00:00:00Z");
    assert_eq!(certificate("far").not_after, Time::parse("2060-01-01T00:00:00Z").unwrap());
    for name in ["no-usage", "other-usage", "more-usages", "usage-not-critical"] {
        let refused = TsaCertificate::parse(&file(&format!("{name}.crt")));
        assert!(matches!(refused, Err(CertificateRefused::Usage { .. })), "{name}: {refused:?}");
    }
    for name in ["weak", "p521"] {
        let refused = TsaCertificate::parse(&file(&format!("{name}.crt")));
        assert!(matches!(refused, Err(CertificateRefused::Key { .. })), "{name}: {refused:?}");
    }
    let der = file("rsa.crt");
    let b64 = custodia_format::text::to_b64(&der);
    let lines: Vec<&str> = b64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    assert_eq!(TsaCertificate::der_of_file(pem.as_bytes()).unwrap(), der);
    assert_eq!(TsaCertificate::der_of_file(&der).unwrap(), der);
    for bad in [pem.repeat(2), pem.replace("-----END", "-----ENDE"), pem.replace("MII", "M!I")] {
        assert!(TsaCertificate::der_of_file(bad.as_bytes()).is_err());
    }
}

/// Whatever is changed in a token, it never says another time of this text, nor anything of another text.
#[test]
fn no_changed_byte_makes_another_time_of_a_token() {
    for (name, by) in
        [("openssl-rsa", "rsa"), ("openssl-p256", "p256"), ("openssl-p384", "p384"), ("all-fields", "rsa")]
    {
        let (good, certificate) = (file(&format!("{name}.token")), certificate(by));
        let stamp = check(&good, &certificate).unwrap();
        for at in 0..good.len() {
            for change in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= change;
                if let Ok(changed) = check(&bad, &certificate) {
                    assert_eq!(changed, stamp, "{name} byte {at}");
                }
                let another = Token::read(&bad).map(|token| token.check(&certificate, &Hash::of(b"another")));
                assert!(!matches!(another, Ok(Ok(_))), "{name} byte {at}");
            }
        }
    }
}

/// No signature covers the certificates inside a token and the list of its digests, and neither is looked at. All else is.
#[test]
fn nearly_every_changed_byte_of_a_bare_token_is_noticed() {
    let (good, certificate) = (file("without-certificates.token"), certificate("rsa"));
    let noticed = (0..good.len()).filter(|at| {
        let mut bad = good.clone();
        bad[*at] ^= 1;
        check(&bad, &certificate).is_err()
    });
    // `digestAlgorithms` of SHA-256: 15 bytes in a SET.
    assert_eq!(noticed.count() + 15, good.len());
}

#[test]
fn a_changed_certificate_is_another_one() {
    let (good, token) = (file("rsa.crt"), file("good.token"));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(certificate) = TsaCertificate::parse(&bad) {
            assert!(check(&token, &certificate).is_err(), "byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = TsaCertificate::parse(&bytes);
        if let Ok(token) = Token::read(&bytes) {
            prop_assert!(token.check(&certificate("rsa"), &stamped()).is_err());
        }
    }

    #[test]
    fn pieces_of_tokens_are_read_or_refused(from in 0_usize..1200, to in 0_usize..1200, put in prop::collection::vec(any::<u8>(), 0..9)) {
        let good = file("openssl-rsa.token");
        let (from, to) = (from.min(good.len()), to.min(good.len()));
        let bad = [&good[..from], &put, &good[to..]].concat();
        let rsa = certificate("rsa");
        if let Ok(stamp) = check(&bad, &rsa) {
            prop_assert_eq!(stamp, check(&good, &rsa).unwrap());
        }
    }
}

/// A proof of the vectors' world with this token over the checkpoint under which the package is sealed, judged by a reader
/// who believes the holders of these certificates.
fn judge_in(proof: &str, token: &[u8], tsas: &[&str], change: impl FnOnce(&mut TrustFile)) -> Report {
    let mut proof = Proof::parse(&std::fs::read(vectors().join("world").join(proof)).unwrap()).unwrap();
    proof.tokens = vec![Shown { note: stamped(), token: token.to_vec() }];
    let mut trust = TrustFile::parse(&std::fs::read(vectors().join("world/trust")).unwrap()).unwrap();
    trust.tsas = tsas.iter().map(|name| file(&format!("{name}.crt"))).collect();
    change(&mut trust);
    let bytes = proof.print().into_bytes();
    let cores = NonZeroUsize::MIN;
    verify(&Given { proof: &bytes, trust: &trust, manifest: None, content: None, cores })
}

fn judge(token: &str, tsas: &[&str]) -> Report {
    judge_in("full.proof.json", &file(&format!("{token}.token")), tsas, |_| ())
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.as_str()).filter(|code| *code != "not-given").collect()
}

fn sealed(report: &Report) -> &custodia_verify::Interval {
    &report.statements.iter().find(|one| one.kind.as_deref() == Some("seal")).unwrap().interval
}

#[test]
fn a_token_under_a_line_of_the_trust_file_is_an_upper_bound_by_its_clock() {
    let report = judge("good", &["p256", "rsa"]);
    assert_eq!(codes(&report), [""; 0], "{}", report.to_text());
    let upper = sealed(&report).upper.clone().unwrap();
    assert_eq!(upper.time, Time::parse("2026-11-23T10:03:00Z").unwrap());
    assert_eq!((upper.source, upper.by.as_str()), (BoundSource::TimeStamp, "CN=TSA by RSA,O=Vectors,C=XX"));
    let text = report.to_text();
    assert!(text.contains("before 2026-11-23T10:03:00Z by the clock of CN=TSA by RSA,O=Vectors,C=XX"), "{text}");
    assert!(report.to_json(None).contains(r#""source":"time-stamp""#));
    // The other statements stand under other checkpoints.
    assert!(text.contains("before 2026-11-23T11:06:00Z by prosecutor.example"), "{text}");
    // One that is later than the cosignature bounds nothing more.
    let later = judge("openssl-rsa", &["rsa"]);
    assert_eq!((codes(&later), sealed(&later).upper.as_ref().unwrap().source), (vec![], BoundSource::Trusted));
}

#[test]
fn a_token_that_the_trust_file_does_not_vouch_for_is_a_remark_and_bounds_nothing() {
    for (token, tsas) in [
        ("good", &[][..]),
        ("html", &[]),
        ("good", &["p256"]),
        ("another-authority", &["rsa"]),
        ("certificate-named-by-sha1", &["rsa"]),
        ("good", &["usage-not-critical", "weak"]),
        ("before-validity", &["rsa"]),
        ("after-validity", &["short"]),
    ] {
        let report = judge(token, tsas);
        assert_eq!(
            (codes(&report), report.verdict),
            (vec!["token-unchecked"], Verdict::UnchangedWithRemarks),
            "{token}"
        );
        assert_eq!(sealed(&report).upper.as_ref().unwrap().source, BoundSource::Trusted, "{token}");
    }
}

#[test]
fn a_token_that_contradicts_what_it_should_be_is_found() {
    for (token, code, exit) in [
        ("html", "malformed", 10),
        ("unsigned-attribute", "malformed", 10),
        ("signer-of-another-certificate", "malformed", 10),
        ("another-text", "bad-signature", 10),
        ("signature-changed", "bad-signature", 10),
        ("signed-by-pss", "unknown-algorithm", 11),
        ("imprint-by-sha512", "unknown-algorithm", 11),
        ("critical-extension", "unknown-algorithm", 11),
    ] {
        let report = judge(token, &["rsa"]);
        assert!(codes(&report).contains(&code), "{token}\n{}", report.to_text());
        assert_eq!(report.exit_code(Strictness::Usual), exit, "{token}");
    }
    // A token over a text that is not shown has no place in a proof.
    let mut proof = Proof::parse(&std::fs::read(vectors().join("world/full.proof.json")).unwrap()).unwrap();
    proof.tokens = vec![Shown { note: Hash::of(b"x"), token: file("good.token") }];
    let bytes = proof.print().into_bytes();
    let trust = TrustFile::default();
    let cores = NonZeroUsize::MIN;
    let report = verify(&Given { proof: &bytes, trust: &trust, manifest: None, content: None, cores });
    assert!(codes(&report).contains(&"malformed"));
}

#[test]
fn a_token_older_than_what_the_statement_names_inverts_its_interval() {
    // The seal names a checkpoint that was cosigned at 08:31; its own cannot have been stamped at midnight.
    let report = judge("stamped-too-early", &["rsa"]);
    assert_eq!(codes(&report), ["interval-inverted", "clock-claim"], "{}", report.to_text());
    assert_eq!(report.exit_code(Strictness::Usual), 10);
    // A court is told; a node takes it on its way all the same.
    assert_eq!(report.contradictions().count(), 0);
}

#[test]
fn beside_a_token_no_stranger_is_needed() {
    // Nobody but the sealer is in the trust file, and no witness is asked for: with the token the seal's upper bound rests
    // on nobody unknown.
    let only_the_sealer = |trust: &mut TrustFile| {
        trust.authorities.truncate(1);
        trust.quorum = 0;
    };
    let without = judge_in("full.proof.json", &file("good.token"), &[], only_the_sealer);
    assert_eq!(sealed(&without).upper.as_ref().unwrap().source, BoundSource::Untrusted);
    let with = judge_in("full.proof.json", &file("good.token"), &["rsa"], only_the_sealer);
    assert_eq!(sealed(&with).upper.as_ref().unwrap().source, BoundSource::TimeStamp);
    // A token is no witness: where a quorum is asked for, it does not make one.
    let asked = judge_in("full.proof.json", &file("good.token"), &["rsa"], |trust| trust.quorum = 2);
    assert!(codes(&asked).contains(&"unwitnessed"));
}
