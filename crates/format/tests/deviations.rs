//! One deviation each: a statement that differs from a good one in a single place is refused, and by the right name.
//!
//! Each row puts one text in place of another in a payload that reads. The payloads are the examples of
//! docs/spec/bodies.md under a head of their kind.

#![allow(clippy::unwrap_used, reason = "a test that cannot make its payload has failed")]

use std::collections::BTreeMap;

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::checkpoint::Checkpoint;
use custodia_format::envelope::Envelope;
use custodia_format::key::{KeyId, SigningKey};
use custodia_format::kind::{Kind, PackageRule, Purpose};
use custodia_format::note::{KeyType, Vkey};
use custodia_format::statement::{Head, Issuer, KeyFault, Package, Statement, StatementError, StatementId};
use custodia_format::text::{Code, Label, LedgerName, Time};

const BODIES: &str = include_str!("../../../docs/spec/bodies.md");

/// A statement of this kind, with the example of the page as its body.
fn example(kind: &Kind) -> Statement {
    let fence = format!("```json {}\n", kind.name());
    let body = BODIES.split(&fence).nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let package = Package { records: 9, root: Hash::of(b"manifest") };
    let package = (kind.package() != PackageRule::Never).then_some(package);
    let head = Head {
        kind: kind.clone(),
        id: StatementId::new([5; 16]),
        issuer: Issuer {
            name: Label::parse("forensics.example").unwrap(),
            card: (*kind != Kind::Card).then_some(Hash::of(b"card")),
        },
        ledger: LedgerName::parse("forensics.example/lab-1/1").unwrap(),
        officer: Some(Code::parse("O-17").unwrap()),
        signers: vec![KeyId(Hash::ZERO), KeyId(Hash::of(b"a key"))],
        issued_at: Time::parse("2026-11-23T16:00:00Z").unwrap(),
        not_before: None,
        in_reply_to: None,
        package,
        sequence: package.map(|_| 4),
        previous: package.map(|_| Hash::of(b"link")),
        annex: None,
    };
    Statement { head, body: Body::parse(kind, body.as_bytes()).unwrap() }
}

fn text(statement: &Statement) -> String {
    String::from_utf8(statement.payload()).unwrap()
}

fn parse(kind: &Kind, payload: &str) -> Result<Statement, StatementError> {
    Statement::parse_payload(kind, payload.as_bytes())
}

#[test]
fn the_payloads_to_deviate_from_are_good() {
    for kind in Kind::known() {
        let statement = example(&kind);
        assert_eq!(parse(&kind, &text(&statement)).unwrap(), statement, "{kind}");
    }
}

/// `(kind, what stands in the payload, what is put there instead)`; the first occurrence is replaced.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    // The print.
    ("seal", "{\n  \"type\"", "{ \n  \"type\""),
    ("seal", "\"officer\": \"O-17\"", "\"officer\":\"O-17\""),
    ("seal", "\"officer\": \"O-17\"", "\"officer\": \"O\\u002d17\""),
    ("seal", "\"custodia\"", "\"custodia\" "),
    ("seal", "\"findings\": []", "\"findings\": [\n    ]"),
    ("seal", "{\n  \"type\"", "\u{feff}{\n  \"type\""),
    ("seal", "}\n}\n", "}\n}"),
    ("seal", "}\n}\n", "}\n}\n\n"),
    ("seal", "}\n}\n", "}\r\n}\n"),
    // Members: extra, missing, repeated, displaced, of another type.
    ("seal", "  \"annex\": null,\n", "  \"annex\": null,\n  \"more\": null,\n"),
    ("seal", "  \"annex\": null,\n", ""),
    ("seal", "  \"annex\": null,\n", "  \"annex\": null,\n  \"annex\": null,\n"),
    (
        "seal",
        "  \"not_before\": null,\n  \"in_reply_to\": null,\n",
        "  \"in_reply_to\": null,\n  \"not_before\": null,\n",
    ),
    ("seal", "    \"answers\": null,\n", "    \"answers\": null,\n    \"more\": null,\n"),
    ("seal", "    \"answers\": null,\n", ""),
    (
        "seal",
        "    \"answers\": null,\n    \"program\"",
        "    \"program\": \"x\",\n    \"answers\": null,\n    \"program\"",
    ),
    ("seal", "\"annex\": null", "\"annex\": []"),
    ("seal", "\"annex\": null", "\"annex\": false"),
    ("seal", "\"sequence\": \"4\"", "\"sequence\": 4"),
    ("seal", "\"count\": \"3\"", "\"count\": 3"),
    ("seal", "\"version\": \"1.0.0\"", "\"version\": null"),
    ("seal", "\"name\": \"forensics.example\",\n", "\"name\": \"forensics.example\",\n    \"more\": null,\n"),
    ("seal", "\"records\": \"9\",\n", "\"records\": \"9\",\n    \"more\": null,\n"),
    // The head's values.
    ("seal", "custodia/seal/v1", "custodia/event/v1"),
    ("seal", "custodia/seal/v1", "custodia/seal/v2"),
    ("seal", "custodia/seal/v1", "custodia/seal/1"),
    ("seal", "BQUFBQUFBQUFBQUFBQUFBQ", "BQUFBQUFBQUFBQUFBQUFBR"),
    ("seal", "BQUFBQUFBQUFBQUFBQUFBQ", "BQUFBQUFBQUFBQUFBQUF"),
    ("seal", "\"name\": \"forensics.example\"", "\"name\": \"forensics/example\""),
    ("seal", "\"name\": \"forensics.example\"", "\"name\": \"Forensics.example\""),
    ("seal", "\"name\": \"forensics.example\"", "\"name\": \"-forensics\""),
    ("seal", "forensics.example/lab-1/1", "forensics.example/lab-1/0"),
    ("seal", "forensics.example/lab-1/1", "forensics.example/lab-1/01"),
    ("seal", "forensics.example/lab-1/1", "forensics.example/lab-1"),
    ("seal", "forensics.example/lab-1/1", "forensics.example/lab/1/1"),
    ("seal", "forensics.example/lab-1/1", "forensics.example/Lab-1/1"),
    ("seal", "\"O-17\"", "\"O 17\""),
    ("seal", "\"O-17\"", "\"\""),
    ("seal", "\"O-17\"", "\"Ö-17\""),
    ("seal", "2026-11-23T16:00:00Z", "2026-02-30T16:00:00Z"),
    ("seal", "2026-11-23T16:00:00Z", "2026-11-23T16:00:60Z"),
    ("seal", "2026-11-23T16:00:00Z", "2026-11-23T16:00:00+00:00"),
    ("seal", "2026-11-23T16:00:00Z", "2026-11-23T16:00:00.5Z"),
    ("seal", "\"not_before\": null", "\"not_before\": \"00\""),
    ("seal", "\"in_reply_to\": null", "\"in_reply_to\": \"\""),
    ("seal", "custodia/manifest/v1", "custodia/manifest/v2"),
    ("seal", "\"records\": \"9\"", "\"records\": \"09\""),
    ("seal", "\"records\": \"9\"", "\"records\": \"0\""),
    ("seal", "\"records\": \"9\"", "\"records\": \"1000001\""),
    ("seal", "\"records\": \"9\"", "\"records\": \"-9\""),
    ("seal", "\"sequence\": \"4\"", "\"sequence\": \"9223372036854775808\""),
    ("seal", "\"sequence\": \"4\"", "\"sequence\": null"),
    ("seal", "\"sequence\": \"4\"", "\"sequence\": \"0\""),
    ("meeting", "\"sequence\": null", "\"sequence\": \"0\""),
    ("seal", "\"card\": \"", "\"card\": \"A"),
    // The bodies' values.
    ("card", "\"number\": \"1\"", "\"number\": \"0\""),
    ("card", "\"number\": \"1\"", "\"number\": \"2\""),
    ("card", "\"language\": \"en\"", "\"language\": \"EN\""),
    ("card", "\"name\": \"Forensics\"", "\"name\": \"\""),
    ("card", "\"state\": \"DE\"", "\"state\": \"de\""),
    ("card", "\"role\": \"laboratory\"", "\"role\": \"Laboratory\""),
    ("card", "2028-12-31T23:59:59Z", "2025-12-31T23:59:59Z"),
    ("card", "2026-01-01T00:00:00Z", "2026-02-29T00:00:00Z"),
    ("card", "MCowBQYDK2VwAyEA", "MCowBQYDK2VuAyEA"),
    ("delegation", "78zI=", "78zI"),
    ("card", "forensics.example+b1dd0cb4", "forensics.example+b1dd0cb5"),
    ("card", "\"final\": null", "\"final\": \"\""),
    ("card", "\"final\": null", "\"final\": \"a note\\n\""),
    ("card", "custody.forensics.example:4433", "custody.forensics.example"),
    ("card", "custody.forensics.example:4433", "custody.forensics.example:0"),
    ("card", "custody.forensics.example:4433", "custody.forensics.example:04433"),
    ("card", "custody.forensics.example:4433", "custody.forensics.example:65536"),
    ("card", "custody.forensics.example:4433", "https://custody.forensics.example:4433"),
    ("card", "\"revocations\": \"0\"", "\"revocations\": null"),
    ("delegation", "\"holder\": \"officer\"", "\"holder\": \"person\""),
    ("delegation", "\"pseudonym\": \"O-17\"", "\"pseudonym\": null"),
    ("delegation", "2028-12-31T23:59:59Z", "2025-12-31T23:59:59Z"),
    ("revocation", "\"number\": \"1\"", "\"number\": \"0\""),
    ("revocation", "\"reason\": \"compromised\"", "\"reason\": \"9lost\""),
    ("revocation", "2026-11-23T09:00:00Z", "2026-11-31T09:00:00Z"),
    ("meeting", "\"how\": \"in-person\"", "\"how\": \"dream\""),
    ("meeting", "prosecutor.example", "prosecutor/example"),
    ("meeting", "\"by\": null", "\"by\": true"),
    ("seal", "\"program\": \"custodia\"", "\"program\": \"our program\""),
    ("seal", "\"code\": \"permission\"", "\"code\": \"Permission\""),
    ("event", "\"0-3\"", "\"3-0\""),
    ("event", "\"0-3\"", "\"0-7\""),
    ("event", "\"0-3\"", "\"0-6\""),
    ("event", "\"0-3\"", "\"3-3\""),
    ("event", "\"0-3\"", "\"00-3\""),
    ("event", "\"0-3\"", "\"8\""),
    ("event", "\"7\"", "\"9\""),
    ("event", "\"7\"", "\"7-1000000\""),
    ("event", "\"7\"", "\"all\""),
    ("event", "\"7\"", "null"),
    ("event", "[\n      \"0-3\",\n      \"7\"\n    ]", "[]"),
    ("event", "[\n      \"0-3\",\n      \"7\"\n    ]", "\"none\""),
    ("event", "\"precision\": \"minute\"", "\"precision\": \"A minute\""),
    ("event", "\"zone\": \"+01:00\"", "\"zone\": \"\""),
    ("event", "\"value\": \"BX-12\"", "\"value\": null"),
    ("release", "\"items\": \"all\"", "\"items\": \"All\""),
    ("release", "\"onward\": \"none\"", "\"onward\": \"all\""),
    ("release", "\"onward\": \"none\"", "\"onward\": []"),
    ("release", "\"onward\": \"none\"", "\"onward\": [\n        \"a/b\"\n      ]"),
    ("release", "\"lead_only\": false", "\"lead_only\": \"false\""),
    ("release", "\"return\": false", "\"return\": null"),
    ("release", "2036-12-31T23:59:59Z", "2036-12-31"),
    ("release", "\"originator\": null", "\"originator\": {}"),
    ("release", "prosecutor.example/desk-1/1", "prosecutor.example"),
    ("consignment", "\"release\": \"", "\"release\": \"0"),
    ("receipt", "\"bytes\": \"2621464\"", "\"bytes\": \"2621464.0\""),
    ("refusal", "\"reasons\": [", "\"reasons\": [\n      null,"),
    ("refusal", "\"code\": \"bytes\"", "\"code\": \"the bytes\""),
    ("refusal", "\"text\": null", "\"text\": \"\""),
    ("acceptance", "\"state\": \"intact\"", "\"state\": \"\""),
    ("acceptance", "\"conditions\": []", "\"conditions\": null"),
    ("disclosure", "\"records\": \"1\"", "\"records\": \"1,2\""),
    ("disclosure", "\"fields\": \"*\"", "\"fields\": \"\""),
    ("disclosure", "\"head\": \"B.2\"", "\"head\": \"B 2\""),
    ("erasure", "\"by\": \"Amtsgericht Beispiel\"", "\"by\": null"),
    ("erasure", "\"manifest\": null", "\"manifest\": \"all\""),
];

#[test]
fn one_deviation_each_is_malformed() {
    let good: BTreeMap<String, String> =
        Kind::known().map(|kind| (kind.name().to_owned(), text(&example(&kind)))).collect();
    for (name, from, to) in DEVIATIONS {
        let kind = Kind::new(name, 1).unwrap();
        let payload = good[*name].replacen(from, to, 1);
        assert_ne!(payload, good[*name], "{name}: {from} is not in the payload");
        match parse(&kind, &payload) {
            Err(StatementError::Malformed(_)) => {}
            other => panic!("{name}: {from} → {to} gives {other:?}"),
        }
    }
}

#[test]
fn lists_have_their_limits() {
    let good = text(&example(&Kind::Seal));
    let unread = |count: usize| {
        let one = "{\n        \"code\": \"permission\",\n        \"count\": \"3\"\n      }";
        good.replace(one, &vec![one; count].join(",\n      "))
    };
    assert!(parse(&Kind::Seal, &unread(100)).is_ok());
    assert!(parse(&Kind::Seal, &unread(101)).is_err());
    let signers = |count: u8| {
        let mut statement = example(&Kind::Seal);
        statement.head.signers = (0..count).map(|n| KeyId(Hash::new([n; 32]))).collect();
        parse(&Kind::Seal, &text(&statement))
    };
    assert!(signers(1).is_ok() && signers(8).is_ok());
    assert!(signers(0).is_err() && signers(9).is_err());
    let mut descending = example(&Kind::Seal);
    descending.head.signers.reverse();
    assert!(parse(&Kind::Seal, &text(&descending)).is_err());
    let mut twice = example(&Kind::Erasure);
    let Body::Erasure(erasure) = &mut twice.body else { panic!("an erasure") };
    erasure.objects.push(erasure.objects[0]);
    assert!(parse(&Kind::Erasure, &text(&twice)).is_err());
    let long = good.replace("\"custodia\"", &format!("\"{}\"", "c".repeat(64)));
    assert!(parse(&Kind::Seal, &long).is_ok());
    assert!(parse(&Kind::Seal, &good.replace("\"custodia\"", &format!("\"{}\"", "c".repeat(65)))).is_err());
    let event = text(&example(&Kind::Event));
    assert!(parse(&Kind::Event, &event.replace("BX-12", &"é".repeat(4096))).is_ok());
    assert!(parse(&Kind::Event, &event.replace("BX-12", &"é".repeat(4097))).is_err());
}

#[test]
fn a_package_stands_where_the_kind_has_one() {
    for kind in Kind::known() {
        let mut statement = example(&kind);
        let (package, sequence, previous) = (statement.head.package, statement.head.sequence, statement.head.previous);
        if package.is_some() {
            (statement.head.package, statement.head.sequence, statement.head.previous) = (None, None, None);
        } else {
            statement.head.package = Some(Package { records: 1, root: Hash::ZERO });
            statement.head.sequence = Some(0);
        }
        let refused = parse(&kind, &text(&statement)).is_err();
        assert_eq!(refused, kind.package() != PackageRule::Either, "{kind}");
        statement = example(&kind);
        assert_eq!(
            (statement.head.package, statement.head.sequence, statement.head.previous),
            (package, sequence, previous)
        );
        statement.head.previous = match previous {
            Some(_) => None,
            None => Some(Hash::ZERO),
        };
        assert!(parse(&kind, &text(&statement)).is_err(), "{kind}");
    }
}

#[test]
fn only_a_first_card_names_no_card() {
    for kind in Kind::known() {
        let mut statement = example(&kind);
        statement.head.issuer.card = if kind == Kind::Card { Some(Hash::of(b"card")) } else { None };
        assert!(parse(&kind, &text(&statement)).is_err(), "{kind}");
    }
    let mut second = example(&Kind::Card);
    let Body::Card(card) = &mut second.body else { panic!("a card") };
    (card.number, card.previous) = (2, Some(Hash::of(b"one")));
    second.head.issuer.card = Some(Hash::of(b"one"));
    assert!(parse(&Kind::Card, &text(&second)).is_ok());
    second.head.issuer.card = Some(Hash::of(b"another"));
    assert!(parse(&Kind::Card, &text(&second)).is_err());
}

#[test]
fn a_kind_of_the_future_keeps_its_head() {
    let good = text(&example(&Kind::Event));
    let kind = Kind::new("event", 2).unwrap();
    let head = good.split("\"body\": ").next().unwrap().replace("event/v1", "event/v2");
    let payload = |body: &str| format!("{head}\"body\": {body}\n}}\n");
    let statement = parse(&kind, &payload("{\n    \"whatever\": [\n      true\n    ]\n  }")).unwrap();
    assert!(matches!(statement.body, Body::Unknown(_)));
    assert_eq!(statement.payload(), payload("{\n    \"whatever\": [\n      true\n    ]\n  }").as_bytes());
    assert!(parse(&kind, &payload("{}")).is_ok());
    for body in ["[]", "null", "\"text\"", "true", "{\n    \"n\": 1\n  }", "{\n    \"a\": null,\n    \"a\": null\n  }"]
    {
        assert!(parse(&kind, &payload(body)).is_err(), "{body}");
    }
    assert!(parse(&kind, &payload("{}").replace("\"sequence\": \"4\"", "\"sequence\": null")).is_err());
    assert!(parse(&kind, &payload("{}").replace("\"O-17\"", "\"O 17\"")).is_err());
    assert!(statement.permits(&[Purpose::Device]));
}

#[test]
fn refused_keys_have_their_own_name() {
    let vectors = include_str!("../../../tests/vectors/custodia-v1.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    for name in ["delegation", "card"] {
        let kind = Kind::new(name, 1).unwrap();
        let good = text(&example(&kind));
        let at = good.find("MCowBQYDK2VwAyEA").unwrap();
        let put = |spki: &str| parse(&kind, &good.replace(&good[at..at + 60], spki));
        for case in vectors["keys_refused"].as_array().unwrap() {
            match put(case["spki"].as_str().unwrap()) {
                Err(StatementError::RefusedKey { fault: KeyFault::Refused(_), place }) => {
                    assert!(place.starts_with("body."), "{place}");
                }
                other => panic!("{case} gives {other:?}"),
            }
        }
        assert!(put(vectors["keys_accepted"][0]["spki"].as_str().unwrap()).is_ok());
        assert!(matches!(put("MCowBQYDK2VwAyEA"), Err(StatementError::Malformed(_))));
    }
}

/// A card of which all keys are ours, and its root.
fn own_card() -> (Statement, SigningKey) {
    let mut statement = example(&Kind::Card);
    let keys: Vec<SigningKey> = (1..=5).map(|n| SigningKey::from_seed(&[n; 32])).collect();
    let Body::Card(card) = &mut statement.body else { panic!("a card") };
    card.keys.root.current.key = keys[0].public();
    card.keys.statement.current.key = keys[1].public();
    card.keys.transport.current.key = keys[2].public();
    card.keys.witness.current.key = Vkey::new("forensics.example", KeyType::Cosignature, keys[3].public()).unwrap();
    let origin = card.ledgers[0].origin.to_string();
    card.ledgers[0].vkey = Vkey::new(&origin, KeyType::Ed25519, keys[4].public()).unwrap();
    (statement, SigningKey::from_seed(&[1; 32]))
}

#[test]
fn a_card_shows_its_own_root() {
    let (statement, root) = own_card();
    let envelope = statement.sign(&[&root]).unwrap();
    let Body::Card(card) = &statement.body else { panic!("a card") };
    assert!(card.is_signed_by_own_root(&envelope));
    let stranger = statement.sign(&[&SigningKey::from_seed(&[9; 32])]).unwrap();
    assert!(!card.is_signed_by_own_root(&stranger));
    assert!(!Statement::parse(&envelope).unwrap().signers_agree(&stranger));
    assert_eq!(Envelope::parse(envelope.print().as_bytes()).unwrap(), envelope);
}

#[test]
fn one_raw_key_stands_at_one_place() {
    let shared: [fn(&mut custodia_format::body::Card); 5] = [
        |card| card.keys.statement.current.key = card.keys.root.current.key,
        |card| card.keys.transport.current.key = card.keys.statement.current.key,
        |card| card.keys.root.next = Some(card.keys.root.current.clone()),
        |card| {
            let key = card.keys.root.current.key;
            card.keys.witness.current.key = Vkey::new("w", KeyType::Cosignature, key).unwrap();
        },
        |card| {
            let origin = card.ledgers[0].origin.to_string();
            card.ledgers[0].vkey = Vkey::new(&origin, KeyType::Ed25519, *card.keys.witness.current.key.key()).unwrap();
        },
    ];
    for (place, share) in shared.into_iter().enumerate() {
        let (mut statement, root) = own_card();
        let Body::Card(card) = &mut statement.body else { panic!("a card") };
        share(card);
        let refused = card.check(&statement.head.issuer.name);
        assert!(
            matches!(refused, Err(StatementError::RefusedKey { fault: KeyFault::Reused { .. }, .. })),
            "sharing {place}: {refused:?}"
        );
        assert!(statement.sign(&[&root]).is_err());
        assert!(parse(&Kind::Card, &text(&statement)).is_ok(), "what a card holds by itself is asked apart");
    }
}

#[test]
fn a_card_vouches_for_its_own_ledgers_only() {
    let ledger_key = SigningKey::from_seed(&[5; 32]);
    let checked = |change: &dyn Fn(&mut custodia_format::body::CardLedger)| {
        let (mut statement, _) = own_card();
        let Body::Card(card) = &mut statement.body else { panic!("a card") };
        change(&mut card.ledgers[0]);
        card.check(&statement.head.issuer.name)
    };
    let malformed = |result| matches!(result, Err(StatementError::Malformed(_)));
    let final_of = |origin: &str, key: &SigningKey| {
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: 7, root: Hash::ZERO };
        checkpoint.sign(key).unwrap()
    };
    assert!(checked(&|_| {}).is_ok());
    assert!(checked(&|one| one.final_note = Some(final_of("forensics.example/lab-1/1", &ledger_key))).is_ok());
    assert!(malformed(checked(&|one| {
        one.final_note = Some(final_of("forensics.example/lab-1/1", &SigningKey::from_seed(&[6; 32])));
    })));
    assert!(malformed(checked(&|one| one.final_note = Some(final_of("forensics.example/lab-1/2", &ledger_key)))));
    assert!(malformed(checked(&|one| {
        one.vkey = Vkey::new("forensics.example/lab-1/2", KeyType::Ed25519, ledger_key.public()).unwrap();
    })));
    assert!(malformed(checked(&|one| {
        one.origin = LedgerName::parse("prosecutor.example/lab-1/1").unwrap();
        one.vkey = Vkey::new("prosecutor.example/lab-1/1", KeyType::Ed25519, ledger_key.public()).unwrap();
    })));
    let (mut statement, _) = own_card();
    let Body::Card(card) = &mut statement.body else { panic!("a card") };
    card.ledgers.push(card.ledgers[0].clone());
    assert!(malformed(card.check(&statement.head.issuer.name)));
    // A generation that keeps the key of the one before is still one purpose.
    card.ledgers[1].origin = LedgerName::parse("forensics.example/lab-1/2").unwrap();
    card.ledgers[1].vkey = Vkey::new("forensics.example/lab-1/2", KeyType::Ed25519, ledger_key.public()).unwrap();
    assert!(card.check(&statement.head.issuer.name).is_ok());
}

#[test]
fn a_machine_refuses_for_its_own_reasons_only() {
    let mut statement = example(&Kind::Refusal);
    assert!(!statement.permits(&[Purpose::Statement]));
    assert!(statement.permits(&[Purpose::Statement, Purpose::Officer]));
    let Body::Refusal(refusal) = &mut statement.body else { panic!("a refusal") };
    refusal.reasons.remove(0);
    assert!(statement.permits(&[Purpose::Statement]));
    assert!(!statement.permits(&[Purpose::Officer]));
}
