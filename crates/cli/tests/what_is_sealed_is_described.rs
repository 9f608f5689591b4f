//! Sheets beside the files: sealed whole and right, or refused with every fault and its place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Authority, Place, run};

fn write(folder: &Path, sheets: &[(&str, &str)]) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in sheets {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// The records of a package's manifest, each as its values.
fn records(authority: &Authority, package: &str) -> Vec<Value> {
    fs::read_to_string(authority.manifest(package))
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_described_package_is_sealed_whole_and_its_proof_verifies() {
    let place = Place::new();
    let (lab, court) = place.pair();
    let files = place.path("photos");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("0001.jpg"), b"one").unwrap();
    fs::write(files.join("0002.jpg"), b"two").unwrap();
    let sheets = place.path("sheets");
    lab.asks(&[&"records", &"template", &sheets]);
    let templates: Vec<String> = fs::read_dir(&sheets)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["site.csv", "remains.csv", "photo.csv", "file.csv"].contains(&name.as_str()))
        .collect();
    templates.iter().for_each(|name| fs::remove_file(sheets.join(name)).unwrap());
    write(
        &sheets,
        &[
            ("site.csv", "code,kind\nGL,primary\n"),
            ("remains.csv", "code,parents,class,lifted\nGL-1,GL,body,2026-05-02\nGL-1a,GL-1,body-part,2026-05\n"),
            ("photo.csv", "code,frame,kind,file,subjects\nP-1,1,photo,0001.jpg,GL-1|GL-1a\nP-3,3,photo,,GL\n"),
            ("file.csv", "path,operator,captured,captured_zone\n0001.jpg,O-1,2026-05-02 10:15:00,+02:00\n"),
        ],
    );
    let seal: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"seal", &files, &"--case", &"GL", &"--records", &sheets];
    let would = lab.asks(&[&seal[..], &[&"--dry-run"]].concat());
    assert_eq!(would["described"]["remains/1"], 2);
    assert!(would["package"].is_null() && would["problems"].is_null(), "{would}");
    assert!(would["remarks"].to_string().contains("frame 2 is not in the log"), "{would}");
    let sealed = lab.asks(&seal);
    assert_eq!((&sealed["described"], &sealed["remarks"]), (&would["described"], &would["remarks"]));

    let package = sealed["package"].as_str().unwrap();
    let all = records(&lab, package);
    let named: Vec<(&str, &str)> = all.iter().map(|one| (one[0].as_str().unwrap(), one[1].as_str().unwrap())).collect();
    assert_eq!(
        named,
        [
            ("package/1", "GL"),
            ("file/1", "GL-2"),
            ("file/1", "GL-3"),
            ("photo/1", "P-1"),
            ("photo/1", "P-3"),
            ("remains/1", "GL-1"),
            ("remains/1", "GL-1a"),
            ("site/1", "GL"),
        ]
    );
    let file = &all[1];
    assert_eq!((&file[2], &file[15]), (&"0001.jpg".into(), &"O-1".into()), "{file}");
    assert_eq!(file[13], serde_json::json!(["2026-05-02T10:15:00", "second", "+02:00", "file.csv"]));

    let serving = court.serves();
    lab.asks(&Authority::sends(&package, &court));
    serving.stop();
    let proof = place.path("proof.json");
    lab.asks(&[&"prove", &package, &"--out", &proof]);
    let trust = place.file("trust", lab.asks(&[&"trust", &"export"])["text"].as_str().unwrap().as_bytes());
    let verified = run(lab.command(&[&"verify", &proof, &"--trust", &trust]));
    assert_eq!(verified.exit, Some(0), "{verified:?}");

    // What was sealed before in the case may be named; what was not may not.
    fs::remove_file(sheets.join("site.csv")).unwrap();
    write(
        &sheets,
        &[
            ("remains.csv", "code,parents,class\nGL-9,GL-1a,bone\n"),
            ("photo.csv", "code,frame,kind\nP-4,4,photo\n"),
            ("file.csv", "path\n0001.jpg\n"),
        ],
    );
    lab.asks(&seal);
    write(&sheets, &[("remains.csv", "code,parents,class\nGL-10,GL-1b,bone\n")]);
    lab.fails("E-RECORDS", 33, &seal).says("place", "remains.csv, line 2, parents: ");
}

#[test]
fn what_is_not_right_is_told_whole_and_nothing_is_sealed() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let source = place.source(1, 1000);
    let sheets = place.path("sheets");
    let rows: String = (0..30).map(|n| format!("R{n},GL,person,0{n}/07/2003\n")).collect();
    write(&sheets, &[("remains.csv", &format!("code,parents,class,lifted\n{rows}"))]);
    let seal: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"seal", &source, &"--case", &"GL", &"--records", &sheets];
    let failure = lab.fails("E-RECORDS", 33, &seal);
    failure
        .says("what", "things in the sheets are not right")
        .says("place", "remains.csv, line 2, class: expected one of body");
    failure.says("safe", "Nothing was sealed.");
    assert!(failure.next()[0].contains("--dry-run"), "{failure:?}");
    let dry = run(lab.command(&[&seal[..], &[&"--dry-run", &"--json"]].concat()));
    assert_eq!(dry.exit, Some(33), "{dry:?}");
    let told: Value = serde_json::from_str(&dry.out).unwrap();
    assert!(told["answer"]["problems"].as_array().unwrap().len() == 60, "{dry:?}");
    assert_eq!(lab.asks(&[&"ledger", &"list"]).as_array().unwrap().len() as u64, lab.ledger_size());

    write(&sheets, &[("remains.csv", "code,parents,class\n"), ("package.csv", "title\nA grave\n")]);
    lab.fails("E-USAGE", 2, &[&seal[..], &[&"--note", &"Another"]].concat()).says("what", "told twice");
    lab.asks(&seal);
    lab.fails("E-EXISTS", 1, &[&"records", &"template", &sheets]);
    lab.fails("E-INPUT-UNREADABLE", 33, &[&"seal", &source, &"--case", &"GL", &"--records", &place.path("none")]);
}
