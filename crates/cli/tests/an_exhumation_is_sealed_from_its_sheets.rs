//! A whole exhumation (tests/exhumation) as its team brings it: photographs by the day and fifteen sheets, sealed by the documented
//! commands alone, delivered, and what is found out later appended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Authority, Place, run, tool};

#[test]
fn from_the_ground_to_the_prosecutor_and_what_is_found_out_later() {
    let place = Place::new();
    let (lab, court) = place.pair();
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/exhumation/make");
    let made = place.path("exhumation");
    tool("python3", &[make.as_os_str(), made.as_os_str()], "the exhumation is made by a program in Python");

    let seal = |files: &str, sheets: &str| {
        let (files, sheets) = (made.join(files), made.join(sheets));
        lab.asks(&[&"seal", &files, &"--case", &"KV", &"--records", &sheets])
    };
    let sealed = seal("files", "sheets");
    let described: BTreeMap<String, u64> = serde_json::from_value(sealed["described"].clone()).unwrap();
    for (name, count) in [
        ("site/1", 1),
        ("grave/1", 3),
        ("remains/1", 40),
        ("sample/1", 120),
        ("photo/1", 900),
        ("file/1", 898),
        ("testimony/1", 2),
    ] {
        assert_eq!(described.get(name), Some(&count), "{name}: {described:?}");
    }
    assert_eq!((&sealed["files"], &sealed["remarks"]), (&json!(900), &json!([])));
    let package = sealed["package"].as_str().unwrap();

    let serving = court.serves();
    lab.asks(&Authority::sends(&package, &court));
    serving.stop();
    let received = court.asks(&[&"show", &package]);
    assert_eq!(received["title"], "Exhumation at the quarry, May 2026");

    // The two that were lifted apart belong together, and one presumption does not hold: that is said beside what was sealed.
    let later = seal("report", "later");
    assert_ne!(later["package"], sealed["package"]);
    let manifest = |package: &Value| fs::read_to_string(lab.manifest(package.as_str().unwrap())).unwrap();
    assert!(manifest(&later["package"]).contains("\"de-identification\""));
    assert!(!manifest(&sealed["package"]).contains("\"de-identification\""));

    // Whoever asks about a unit is told of both, of its samples and of its pictures, and of nothing else.
    let about = lab.asks(&[&"records", &"about", &"KV", &"KV-022"]);
    let all: Vec<(&str, &str)> = about
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["record_type"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .filter(|(name, _)| !["photo/1", "file/1"].contains(name))
        .collect();
    let expected = [
        ("remains/1", "KV-022"),
        ("examination/1", "E-022"),
        ("identification/1", "ID-2"),
        ("identification/1", "ID-4"),
        ("sample/1", "KV-022a"),
        ("sample/1", "KV-022b"),
        ("sample/1", "KV-022c"),
    ];
    assert_eq!((all[0], BTreeSet::from_iter(all)), (expected[0], BTreeSet::from(expected)));
    let page = court.asks(&[&"records", &"list", &package, &"--type", &"photo"]);
    assert_eq!((&page["counts"]["photo/1"], page["records"].as_array().unwrap().len()), (&json!(900), 900));
    let told = court.says(&["records", "list", package, "--type", "grave/1"]);
    assert!(told.contains("KV-G3  grave/1") && told.contains("like soil, halves of one ligature"), "{told}");
    court.fails("E-UNKNOWN-RECORD", 2, &[&"records", &"about", &"KV", &"KV-999"]);

    // Without the first package, of which it speaks, it says nothing that could be sealed.
    let (files, sheets) = (made.join("report"), made.join("later"));
    let alone: [&dyn AsRef<OsStr>; 6] = [&"seal", &files, &"--case", &"KV-2", &"--records", &sheets];
    lab.fails("E-RECORDS", 33, &alone)
        .says("place", "identification.csv, line 2, subjects: expected a code of these sheets");

    let (proof, trust) =
        (place.path("proof.json"), lab.asks(&[&"trust", &"export"])["text"].as_str().unwrap().to_owned());
    lab.asks(&[&"prove", &package, &"--out", &proof]);
    let trust = place.file("trust", trust.as_bytes());
    let verified = run(lab.command(&[&"verify", &proof, &"--trust", &trust]));
    assert_eq!(verified.exit, Some(0), "{verified:?}");
}
