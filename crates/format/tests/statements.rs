//! Statements as others made them: every statement of the vectors and of the small world reads, prints back to the
//! same bytes, and has the digest it is named by.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::envelope::Envelope;
use custodia_format::key::SigningKey;
use custodia_format::kind::Kind;
use custodia_format::statement::{Statement, StatementError, StatementId};
use custodia_format::text::Time;
use proptest::prelude::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");

/// Every statement at hand: (where it is from, the digest it is named by, its bytes).
fn statements() -> Vec<(String, Hash, Vec<u8>)> {
    let mut all = Vec::new();
    let text = fs::read_to_string(format!("{VECTORS}/custodia-v1.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for case in vectors["statements"].as_array().unwrap() {
        let field = |name: &str| case[name].as_str().unwrap();
        let digest = Hash::from_hex(field("digest")).unwrap();
        all.push((field("label").to_owned(), digest, field("envelope").as_bytes().to_vec()));
    }
    assert_eq!(all.len(), 12);
    for authority in ["forensics.example", "prosecutor.example"] {
        for path in files(Path::new(&format!("{VECTORS}/world/{authority}/statements"))) {
            let digest = Hash::from_hex(path.file_stem().unwrap().to_str().unwrap()).unwrap();
            all.push((path.display().to_string(), digest, fs::read(&path).unwrap()));
        }
    }
    assert!(all.len() > 20, "{} statements", all.len());
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_statement_of_the_vectors_prints_back_to_its_bytes() {
    for (label, digest, bytes) in statements() {
        let envelope = Envelope::parse(&bytes).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(envelope.print().as_bytes(), bytes, "{label}");
        assert_eq!(envelope.digest(), digest, "{label}");
        let statement = Statement::parse(&envelope).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(statement.payload(), envelope.payload(), "{label}");
        assert_eq!(statement.body.kind().as_ref(), Some(envelope.kind()), "{label}");
        assert!(statement.signers_agree(&envelope), "{label}");
        if let Body::Card(card) = &statement.body {
            card.check(&statement.head.issuer.name).unwrap_or_else(|error| panic!("{label}: {error}"));
            assert!(card.is_signed_by_own_root(&envelope), "{label}");
        }
    }
}

#[test]
fn every_statement_of_a_proof_reads() {
    let proofs = files(Path::new(&format!("{VECTORS}/world")));
    let proofs = proofs.into_iter().filter(|path| path.to_string_lossy().ends_with(".proof.json"));
    let mut seen = 0;
    for path in proofs.filter(|path| !path.to_string_lossy().contains("tampered")) {
        let proof: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for statement in proof["statements"].as_array().unwrap() {
            let Some(envelope) = statement["envelope"].as_str() else { continue };
            let envelope = Envelope::parse(envelope.as_bytes()).unwrap();
            Statement::parse(&envelope).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} statements");
}

/// Of the damaged proofs only those with a bad key inside a card have a statement that is refused here: a parser that is
/// too strict would turn other findings into `malformed`.
#[test]
fn statements_of_damaged_proofs_read_except_for_their_keys() {
    let folder = format!("{VECTORS}/world/tampered");
    let index: serde_json::Value = serde_json::from_slice(&fs::read(format!("{folder}/index.json")).unwrap()).unwrap();
    let mut refused = Vec::new();
    let mut read = 0;
    for case in index.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let Ok(bytes) = fs::read(format!("{folder}/{name}.proof.json")) else { continue };
        let Ok(proof) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
        let statements = proof["statements"].as_array().cloned().unwrap_or_default();
        for envelope in statements.iter().filter_map(|statement| statement["envelope"].as_str()) {
            let envelope = Envelope::parse(envelope.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let checked = Statement::parse(&envelope).and_then(|statement| match &statement.body {
                Body::Card(card) => card.check(&statement.head.issuer.name),
                _ => Ok(()),
            });
            match checked {
                Ok(()) => read += 1,
                Err(StatementError::RefusedKey { .. }) => refused.push(name.to_owned()),
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
    refused.dedup();
    assert_eq!(refused, ["key-not-canonical", "key-of-small-order", "key-in-two-purposes"]);
    assert!(read > 100, "{read} statements");
}

#[test]
fn a_statement_signed_again_by_the_same_keys_is_the_same() {
    let (_, _, bytes) = statements().swap_remove(6);
    let mut statement = Statement::parse(&Envelope::parse(&bytes).unwrap()).unwrap();
    statement.head.id = StatementId::new([7; 16]);
    statement.head.issued_at = Time::parse("2026-11-24T09:00:00Z").unwrap();
    let keys = [SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32])];
    let envelope = statement.sign(&[&keys[0], &keys[1]]).unwrap();
    assert_eq!(statement.sign(&[&keys[1], &keys[0]]).unwrap(), envelope);
    let read = Statement::parse(&envelope).unwrap();
    assert!(read.signers_agree(&envelope));
    assert_eq!((&read.body, read.head.id), (&statement.body, statement.head.id));
    assert!(keys.iter().all(|key| envelope.verify(&key.public()) == Some(true)));
    assert_eq!(envelope.kind(), &Kind::Seal);
}

proptest! {
    #[test]
    fn any_bytes_are_an_envelope_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(envelope) = Envelope::parse(&bytes) {
            prop_assert_eq!(envelope.print().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_changed_payload_is_refused_or_prints_as_it_stands(
        which in 0_usize..1000,
        at in 0_usize..4000,
        removed in 0_usize..3,
        put in "[ -~\n]{0,3}",
    ) {
        let all = statements();
        let (_, _, bytes) = &all[which % all.len()];
        let envelope = Envelope::parse(bytes).unwrap();
        let mut payload = envelope.payload().to_vec();
        let at = at % payload.len();
        let end = (at + removed).min(payload.len());
        payload.splice(at..end, put.bytes());
        if let Ok(statement) = Statement::parse_payload(envelope.kind(), &payload) {
            prop_assert_eq!(statement.payload(), payload);
        }
    }

    #[test]
    fn a_changed_envelope_is_refused_or_prints_as_it_stands(
        which in 0_usize..1000,
        at in 0_usize..8000,
        put in any::<u8>(),
    ) {
        let all = statements();
        let mut bytes = all[which % all.len()].2.clone();
        let at = at % bytes.len();
        bytes[at] = put;
        if let Ok(envelope) = Envelope::parse(&bytes) {
            prop_assert_eq!(envelope.print().into_bytes(), bytes);
            if let Ok(statement) = Statement::parse(&envelope) {
                prop_assert_eq!(&statement.payload()[..], envelope.payload());
            }
        }
    }
}
