//! Labels: for what is in a package, and blank ones whose numbers are never given twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;

use serde_json::json;
use support::Place;

#[test]
fn what_is_in_a_package_has_a_label_for_the_outside_and_the_inside() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let (files, sheets) = (place.path("files"), place.path("sheets"));
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(&sheets).unwrap();
    fs::write(files.join("1.jpg"), "a picture").unwrap();
    for (name, text) in [
        ("site.csv", "code,kind,notes\nGL,primary,a name that nobody should read\n"),
        (
            "remains.csv",
            "code,parents,class,lifted,lifted_zone,notes\nGL-1,GL,body,2026-05-02,+02:00,<told> to nobody\n",
        ),
    ] {
        fs::write(sheets.join(name), text).unwrap();
    }
    let sealed = lab.asks(&[&"seal", &files, &"--case", &"GL", &"--records", &sheets]);
    let package = sealed["package"].as_str().unwrap();
    let dir = place.path("labels");
    let printed = lab.asks(&[&"label", &package, &"--dir", &dir]);
    assert_eq!((&printed["labels"], &printed["pages"]), (&json!(1), &json!(1)));
    let page = fs::read_to_string(dir.join("labels-0001.svg")).unwrap();
    let number = printed["numbers"][0].as_str().unwrap();
    assert!(number.starts_with("GL-1-") && page.matches(number).count() == 2, "{number}");
    for told in ["outside", "inside", "remains", "from GL", "lifted 2026-05-02"] {
        assert!(page.contains(told), "{told}");
    }
    assert!(!page.contains("nobody"));
    lab.fails("E-EXISTS", 1, &[&"label", &package, &"--dir", &dir]);
    let other = place.path("other");
    lab.fails("E-UNKNOWN-RECORD", 2, &[&"label", &package, &"--dir", &other, &"--item", &"GL-9"]);
    lab.fails("E-USAGE", 2, &[&"label", &package, &"--dir", &other, &"--sheet", &"a5"]);
    let printed = lab.asks(&[&"label", &package, &"--dir", &other, &"--item", &"file", &"--sheet", &"62mm"]);
    assert_eq!((&printed["labels"], &printed["pages"]), (&json!(1), &json!(2)));
}

#[test]
fn a_blank_number_is_never_given_twice() {
    let place = Place::new();
    let lab = place.found("lab.example");
    let blank = |dir: &str, prefix: &str| {
        let dir = place.path(dir);
        lab.asks(&[&"label", &"--blank", &"30", &"--prefix", &prefix, &"--dir", &dir])["numbers"].clone()
    };
    let number = |told: &serde_json::Value| told.as_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
    let (one, two, other) = (blank("a", "D1"), blank("b", "D1"), blank("c", "D2"));
    assert_eq!([number(&one[0]), number(&one[1])], ["D1-00001", "D1-00030"]);
    assert_eq!([number(&two[0]), number(&two[1])], ["D1-00031", "D1-00060"]);
    assert_eq!(number(&other[0]), "D2-00001");
    let dir = place.path("d");
    lab.fails("E-USAGE", 2, &[&"label", &"--blank", &"1", &"--prefix", &"d1", &"--dir", &dir]);
    lab.fails("E-USAGE", 2, &[&"label", &"--blank", &"0", &"--prefix", &"D1", &"--dir", &dir]);
}
