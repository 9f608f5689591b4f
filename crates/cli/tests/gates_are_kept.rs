//! What must be so before a release: consent, bag seals, files. What is not lets nothing out, and that is signed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};
use support::{Authority, Place};

fn sends<'a>(package: &'a dyn AsRef<OsStr>, to: &'a Authority) -> [&'a dyn AsRef<OsStr>; 4] {
    [&"send", package, &"--to", &to.name]
}

/// What was done to a package, as its chain has it.
fn done(lab: &Authority, package: &str) -> Vec<Value> {
    let shown = lab.asks(&[&"chain", &package]);
    shown["chain"]["entries"].as_array().unwrap().clone()
}

#[test]
fn testimony_without_consent_stays_and_the_refusal_is_signed_once() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let (files, sheets) = (place.path("files"), place.path("sheets"));
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(&sheets).unwrap();
    fs::write(files.join("T-1.txt"), "an account").unwrap();
    fs::write(sheets.join("pseudonym.csv"), "code,role\nW-1,witness\n").unwrap();
    let testimony = |consent: &str, file: &str| {
        let text = format!("code,witness,kind,consent,originals\nT-1,W-1,statement,{consent},{file}\n");
        fs::write(sheets.join("testimony.csv"), text).unwrap();
    };
    testimony("yes", "T-1.txt");
    let seal = |files: &std::path::Path| {
        let sealed = lab.asks(&[&"seal", &files, &"--case", &"GL", &"--records", &sheets]);
        sealed["package"].as_str().unwrap().to_owned()
    };
    let package = seal(&files);
    // Consent is withdrawn: that is sealed later, of the same code.
    let later = place.path("later");
    fs::create_dir_all(&later).unwrap();
    fs::write(later.join("letter.txt"), "I withdraw").unwrap();
    fs::remove_file(sheets.join("pseudonym.csv")).unwrap();
    testimony("withdrawn", "letter.txt");
    seal(&later);

    let before = lab.ledger_size();
    let failure = lab.fails_changing("E-GATE", 35, &sends(&package, &prosecutor));
    failure.says("place", "consent").says("found", "testimony T-1: consent: withdrawn");
    lab.fails("E-GATE", 35, &sends(&package, &prosecutor));
    assert_eq!(lab.ledger_size(), before + 1);
    let refused = &done(&lab, &package)[1];
    assert_eq!(
        (&refused["action"], &refused["codes"]),
        (&json!("release-refused"), &json!([["to", "prosecutor.example"], ["gate", "consent"]]))
    );
    assert!(lab.asks(&[&"queue"]).as_array().unwrap().is_empty());

    let although: [&dyn AsRef<OsStr>; 2] = [&"--although", &"order of the court of 3 May"];
    lab.asks(&[&sends(&package, &prosecutor)[..], &although].concat());
    let done = done(&lab, &package);
    assert_eq!((&done[2]["action"], &done[3]["kind"]), (&json!("release-although"), &json!("release")));
    assert!(done[2]["details"].to_string().contains("order of the court of 3 May"));
}

#[test]
fn a_broken_seal_and_a_missing_file_stop_a_release_until_they_are_mended() {
    let place = Place::new();
    let (lab, prosecutor) = place.pair();
    let package = lab.seals(&place.source(1, 300));
    lab.asks(&[&"event", &"open", &package, &"--purpose", &"to see", &"--bag-seal", &"S-1=broken"]);
    lab.fails_changing("E-GATE", 35, &sends(&package, &prosecutor)).says("found", "bag seal S-1: broken");
    lab.asks(&[&"event", &"reseal", &package, &"--purpose", &"seen", &"--bag-seal", &"S-2=new"]);

    let object = lab.asks(&[&"records", &"list", &package, &"--type", &"file"])["records"][0]["fields"].clone();
    let fields = object.as_array().unwrap();
    let sha256 =
        fields.iter().find(|field| field["name"] == "sha256").unwrap()["values"][0].as_str().unwrap().to_owned();
    let path = lab.home.join(format!("objects/{}/{sha256}", &sha256[..2]));
    let kept = place.path("kept");
    fs::rename(&path, &kept).unwrap();
    lab.fails_changing("E-GATE", 35, &sends(&package, &prosecutor)).says("found", "is not here");
    fs::rename(&kept, &path).unwrap();
    lab.asks(&sends(&package, &prosecutor));
}
