//! Redacted copies: reviewed, then signed; what is withheld is nowhere in them, and the rest verifies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::disclosure::{Leaf, Node};
use custodia_format::envelope::Envelope;
use custodia_format::manifest::{Disc, Manifest, field_leaf};
use custodia_format::proof::Proof;
use custodia_format::record::Value as FieldValue;
use serde_json::{Value, json};
use support::{Authority, Place, run};

const NUMBER: &str = "+383 44 123 456";

/// A package with two photographs and the account of a witness, delivered to the court, so that it is cosigned.
fn told(place: &Place) -> (Authority, Authority, String) {
    let (lab, court) = place.pair();
    let (files, sheets) = (place.path("files"), place.path("sheets"));
    fs::create_dir_all(files.join("testimony")).unwrap();
    fs::create_dir_all(&sheets).unwrap();
    for (name, text) in [
        ("0001.jpg", "the first picture".to_owned()),
        ("0002.jpg", "the second picture".to_owned()),
        ("testimony/T-1.txt", format!("I can be reached under {NUMBER}, in the evening.")),
    ] {
        fs::write(files.join(name), text).unwrap();
    }
    for (name, text) in [
        ("pseudonym.csv", format!("code,role,notes\nO-4,worker,\nW-1,witness,{NUMBER}\n")),
        (
            "testimony.csv",
            "code,witness,kind,consent,originals,notes\nT-1,W-1,statement,yes,testimony/T-1.txt,spoke without fear\n"
                .to_owned(),
        ),
        (
            "photo.csv",
            "code,frame,kind,file,operator,device_make,device_model,device_serial\n\
             P-1,1,photo,0001.jpg,O-4,Example,D-1,0815-4711\nP-2,2,photo,0002.jpg,O-4,Example,D-1,0815-4711\n"
                .to_owned(),
        ),
    ] {
        fs::write(sheets.join(name), text).unwrap();
    }
    let sealed = lab.asks(&[&"seal", &files, &"--case", &"GL", &"--records", &sheets]);
    let package = sealed["package"].as_str().unwrap().to_owned();
    deliver(&lab, &court, &package);
    (lab, court, package)
}

fn deliver(lab: &Authority, court: &Authority, package: &str) {
    let serving = court.serves();
    lab.asks(&Authority::sends(&package, court));
    serving.stop();
}

/// Another authority cosigns the ledger as it is now: something is delivered.
fn cosigned(place: &Place, lab: &Authority, court: &Authority) {
    deliver(lab, court, &lab.seals(&place.source(7, 100)));
}

fn verified(place: &Place, lab: &Authority, proof: &Path, items: &Path) -> (i32, Value) {
    let text = lab.asks(&[&"trust", &"export"])["text"].as_str().unwrap().to_owned();
    let trust = place.path("trust");
    fs::write(&trust, text).unwrap();
    let ended = run(lab.command(&[&"verify", &proof, &items, &"--trust", &trust, &"--json"]));
    (ended.exit.unwrap(), serde_json::from_str::<Value>(&ended.out).unwrap()["report"].clone())
}

/// Every byte of a folder, and every text in its proof as it is before it was printed.
fn decoded(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            all.extend(path.to_string_lossy().bytes());
            all.extend(fs::read(&path).unwrap());
        }
    }
    let proof = Proof::parse(&fs::read(folder.join("proof.json")).unwrap()).unwrap();
    for envelope in proof.statements.iter().filter_map(|statement| statement.envelope.as_deref()) {
        all.extend(Envelope::parse(envelope.as_bytes()).unwrap().payload());
    }
    for leaf in leaves(&proof) {
        if let Leaf::Shown(text) = leaf {
            Disc::parse(&text).unwrap().value.texts().iter().for_each(|text| all.extend(text.bytes()));
        }
    }
    all
}

fn leaves(proof: &Proof) -> Vec<Leaf> {
    let nodes = proof.disclosure.as_ref().unwrap().nodes.iter();
    let leaves = nodes.filter_map(|node| if let Node::Record(leaves) = node { Some(leaves.clone()) } else { None });
    leaves.flatten().collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn what_is_withheld_is_nowhere_in_the_copy_and_the_rest_verifies() {
    let place = Place::new();
    let (lab, court, package) = told(&place);
    let rules: Vec<&dyn AsRef<OsStr>> = vec![
        &"disclose",
        &package,
        &"--to",
        &"defence of A",
        &"--order",
        &"decision 7",
        &"--withhold",
        &"B.1=pseudonym#notes",
        &"--withhold",
        &"B.2=testimony",
        &"--withhold",
        &"A.4=photo#device,operator",
    ];
    let with = |more: &[&dyn AsRef<OsStr>]| lab.asks(&[&rules[..], more].concat());

    // A review signs nothing, and finds the number in the bytes of a file that would go along, and the file's name in its record.
    let size = lab.ledger_size();
    let review = with(&[]);
    assert_eq!((lab.ledger_size(), &review["statement"]), (size, &Value::Null));
    assert_eq!((&review["records"], &review["shown"]), (&json!(9), &json!(8)));
    let counted: BTreeMap<&str, (&Value, &Value)> = review["withheld"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["head"].as_str().unwrap(), (&it["fields"], &it["records"])))
        .collect();
    let expected = [
        ("A.4", (&json!(["device", "operator"]), &json!(2))),
        ("B.1", (&json!(["notes"]), &json!(2))),
        ("B.2", (&json!([]), &json!(1))),
    ];
    assert_eq!(counted, BTreeMap::from(expected));
    let echoes = review["echoes"].as_array().unwrap();
    let told: Vec<[&str; 3]> =
        echoes.iter().map(|it| ["code", "field", "stands_in"].map(|name| it[name].as_str().unwrap())).collect();
    let expected = [["T-1", "originals", "record 3 GL-3, path"], ["W-1", "notes", "the bytes of testimony/T-1.txt"]];
    assert_eq!(told, expected);
    let digest = review["disclosure"].as_str().unwrap().to_owned();
    let copy = place.path("copy");
    let signing: [&dyn AsRef<OsStr>; 4] = [&"--reviewed", &digest, &"--dir", &copy];
    lab.fails("E-ECHO", 33, &[&rules[..], &signing[..]].concat()).says("place", "T-1, originals");
    assert!(!copy.exists() && lab.ledger_size() == size);

    // With that file withheld too it is another copy, which must be reviewed anew.
    let more: [&dyn AsRef<OsStr>; 2] = [&"--withhold", &"B.2=testimony/T-1.txt"];
    lab.fails("E-REVIEW", 2, &[&rules[..], &more[..], &signing[..]].concat());
    let review = with(&more);
    assert_eq!(review["echoes"], json!([]));
    let digest = review["disclosure"].as_str().unwrap()[..12].to_owned();
    let signing: [&dyn AsRef<OsStr>; 4] = [&"--reviewed", &digest, &"--dir", &copy];
    let signed = with(&[&more[..], &signing[..]].concat());
    let statement = signed["statement"].as_str().unwrap();
    assert_eq!(signed["disclosure"], review["disclosure"]);

    // Nobody has cosigned that yet; once somebody has, the same copy can be told as unchanged.
    assert_eq!(verified(&place, &lab, &copy.join("proof.json"), &copy.join("items")).0, 11);
    cosigned(&place, &lab, &court);
    let copy = place.path("copy-2");
    lab.asks(&[&"export", &package, &copy, &"--disclosure", &statement]);
    let (exit, report) = verified(&place, &lab, &copy.join("proof.json"), &copy.join("items"));
    assert_eq!(exit, 0, "{report}");
    assert_eq!(
        report["items"],
        json!({ "records": 9, "withheld_records": 2, "withheld_fields": 6, "files": 2, "unchanged": 2, "bytes": 35 })
    );

    let all = decoded(&copy);
    assert!(holds(&all, "0001.jpg") && holds(&all, "the first picture"));
    let key = Manifest::parse(&fs::read(lab.manifest(&package)).unwrap()).unwrap().header.key;
    let key = custodia_format::text::to_b64url(&key.0);
    for withheld in [NUMBER, "0815-4711", "spoke without", "T-1.txt", "defence of A", "decision 7", &key] {
        assert!(!holds(&all, withheld), "{withheld} is in the copy");
    }
    let manifest = fs::read(lab.manifest(&package)).unwrap();
    assert!([NUMBER, "0815-4711", "spoke without", "T-1.txt"].iter().all(|withheld| holds(&manifest, withheld)));
}

#[test]
fn a_number_that_is_withheld_cannot_be_guessed() {
    let place = Place::new();
    let (lab, _, package) = told(&place);
    let words: [&dyn AsRef<OsStr>; 7] =
        [&"disclose", &package, &"--to", &"B", &"--withhold", &"B.1=pseudonym#notes", &"--despite-echoes"];
    let digest = lab.asks(&words)["disclosure"].as_str().unwrap().to_owned();
    let out = place.path("part.json");
    lab.asks(&[&words[..], &[&"--reviewed", &digest, &"--proof", &out]].concat());
    let proof = Proof::parse(&fs::read(&out).unwrap()).unwrap();
    let leaves = leaves(&proof);
    let withheld: Vec<Hash> =
        leaves.iter().filter_map(|leaf| if let Leaf::Withheld(hash) = leaf { Some(*hash) } else { None }).collect();
    assert_eq!(withheld.len(), 2);
    let guess = |salt, number: &str| {
        let value = FieldValue::Text(number.to_owned());
        field_leaf(&Disc { salt, name: "notes".to_owned(), value }.print())
    };
    // Every number, under every salt that the reader has.
    let salts = leaves.iter().filter_map(|leaf| if let Leaf::Shown(text) = leaf { Some(text) } else { None });
    let salts: Vec<[u8; 32]> = salts.map(|text| Disc::parse(text).unwrap().salt).chain([[0; 32]]).collect();
    for number in 0..1000 {
        let number = format!("+383 44 123 {number:03}");
        assert!(!salts.iter().any(|salt| withheld.contains(&guess(*salt, &number))), "{number}");
    }
    // Whoever has the package's key can show it.
    let manifest = Manifest::parse(&fs::read(lab.manifest(&package)).unwrap()).unwrap();
    let place = |text: &str| manifest.records.iter().position(|record| record.code() == Some(text)).unwrap() as u64;
    let notes = manifest.header.types.iter().find(|(name, _)| name == "pseudonym/1").unwrap().1.len() as u16 - 1;
    assert!(withheld.contains(&guess(manifest.header.key.salt(place("W-1"), notes), NUMBER)));
}

#[test]
fn one_photograph_leaves_with_its_whole_proof_in_kilobytes() {
    let place = Place::new();
    let (lab, court, package) = told(&place);
    let only: [&dyn AsRef<OsStr>; 10] =
        [&"disclose", &package, &"--to", &"B", &"--only", &"P-1", &"--only", &"0001.jpg", &"--rest", &"B.5"];
    let review = lab.asks(&only);
    // What is not shown because it is none of those that are is not looked for: both photographs have one camera.
    assert_eq!((&review["shown"], &review["echoes"]), (&json!(2), &json!([])));
    let digest = review["disclosure"].as_str().unwrap().to_owned();
    let signed = lab.asks(&[&only[..], &[&"--reviewed", &digest]].concat());
    cosigned(&place, &lab, &court);
    let out = place.path("photo.json");
    lab.asks(&[&"prove", &package, &"--out", &out, &"--disclosure", &signed["statement"].as_str().unwrap()]);
    let size = fs::metadata(&out).unwrap().len();
    assert!(size < 60_000, "{size} bytes");
    let items = place.path("one");
    fs::create_dir(&items).unwrap();
    fs::write(items.join("0001.jpg"), "the first picture").unwrap();
    let (exit, report) = verified(&place, &lab, &out, &items);
    assert_eq!((exit, &report["items"]["unchanged"]), (0, &json!(1)), "{report}");

    // A copy from which less is withheld is of the same package.
    let less: [&dyn AsRef<OsStr>; 6] = [&"disclose", &package, &"--to", &"B", &"--withhold", &"B.5=testimony"];
    let later = lab.asks(&[&less[..], &[&"--despite-echoes"]].concat());
    assert_ne!(later["disclosure"], review["disclosure"]);
    assert_eq!(later["package"], review["package"]);
}

#[test]
fn what_is_mistyped_would_be_disclosed_and_is_refused() {
    let place = Place::new();
    let (lab, _, package) = told(&place);
    let asks = |rules: &[&'static str]| -> Vec<PathBuf> {
        ["disclose", &package, "--to", "B"].iter().chain(rules).map(PathBuf::from).collect()
    };
    for (code, exit, rules) in [
        ("E-UNKNOWN-RECORD", 2, &["--withhold", "B.2=testimonies"][..]),
        ("E-UNKNOWN-RECORD", 2, &["--withhold", "B.2=W-9"]),
        ("E-UNKNOWN-RECORD", 2, &["--withhold", "B.2=testimony#note"]),
        ("E-UNKNOWN-RECORD", 2, &["--withhold", "B.2=3-9"]),
        ("E-UNKNOWN-RECORD", 2, &["--only", "P-9", "--rest", "B.5"]),
        ("E-USAGE", 2, &["--withhold", "B.2=testimony#type"]),
        ("E-USAGE", 2, &["--withhold", "testimony"]),
        ("E-USAGE", 2, &["--withhold", "B 2=testimony"]),
        ("E-USAGE", 2, &[]),
        ("E-UNKNOWN-STATEMENT", 2, &["--withhold", "B.2=testimony", "--withhold-statement", "00000000"]),
    ] {
        let words = asks(rules);
        let words: Vec<&dyn AsRef<OsStr>> = words.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        lab.fails(code, exit, &words);
    }
}

#[test]
fn a_statement_that_is_withheld_is_shown_as_such() {
    let place = Place::new();
    let (lab, court, package) = told(&place);
    let event = lab.asks(&[&"event", &"open", &package, &"--purpose", &"to see", &"--code", &"room=the cellar"]);
    let event = event["digest"].as_str().unwrap();
    let words: [&dyn AsRef<OsStr>; 8] = [
        &"disclose",
        &package,
        &"--to",
        &"B",
        &"--withhold",
        &"B.5=pseudonym#identity",
        &"--withhold-statement",
        &&event[..10],
    ];
    // Its place must be proven to somebody else: then it can be left out.
    cosigned(&place, &lab, &court);
    let review = lab.asks(&words);
    assert_eq!(review["statements"], json!([event]));
    let digest = review["disclosure"].as_str().unwrap().to_owned();
    let signed = lab.asks(&[&words[..], &[&"--reviewed", &digest]].concat());
    cosigned(&place, &lab, &court);
    let out = place.path("part.json");
    lab.asks(&[&"prove", &package, &"--out", &out, &"--disclosure", &signed["statement"].as_str().unwrap()]);
    let (exit, report) = verified(&place, &lab, &out, &place.path("files"));
    let found: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!((exit, found), (0, vec!["declared-withheld"]), "{report}");
    let text = fs::read(&out).unwrap();
    let proof = Proof::parse(&text).unwrap();
    assert!(!proof.statements.iter().any(|it| {
        it.envelope
            .as_deref()
            .is_some_and(|text| holds(Envelope::parse(text.as_bytes()).unwrap().payload(), "the cellar"))
    }));
}
