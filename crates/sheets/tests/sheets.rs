//! Sheets as people save them, right and wrong: every fault by sheet, line and column, and nothing guessed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use custodia_format::record::{CONTAINER, FILE, REMAINS, Record, RecordType, STANDARD, Value};
use custodia_sheets::{Problems, Sheets, Surroundings, columns, is_sheet, template};

const SITE: &str =
    "code,kind,place_latitude,place_longitude,place_datum,place_source\nGL,primary,44.1,18.5,WGS84,GNSS\n";
const GRAVE: &str = "code,site,kind\nGL02,GL,grave\n";

/// Reads these sheets, in a source that has `a.jpg` and a case in which C-1 is a container; gives what is wrong.
fn read(sheets: &[(&str, &[u8])]) -> (Sheets, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in sheets {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut problems = Problems::default();
    let sheets = Sheets::read(folder.path(), &mut problems).unwrap();
    let around = Surroundings {
        has_file: &|path| path == "a.jpg",
        alike: &|path| path.ends_with("/a.jpg").then(|| "a.jpg".to_owned()),
        sealed: &|code| (code == "C-1").then_some(&CONTAINER),
    };
    sheets.check(&around, &mut problems);
    let told: Vec<String> = problems.named().iter().map(ToString::to_string).collect();
    assert_eq!(problems.count(), told.len() as u64);
    (sheets, told)
}

/// One sheet beside a site and a grave.
fn one(name: &str, text: &str) -> Vec<String> {
    read(&[("site.csv", SITE.as_bytes()), ("grave.csv", GRAVE.as_bytes()), (name, text.as_bytes())]).1
}

#[track_caller]
fn refused(name: &str, text: &str, tells: &[&str]) {
    let told = one(name, text);
    assert_eq!(told.len(), tells.len(), "{told:#?}");
    for (told, tells) in told.iter().zip(tells) {
        assert!(told.contains(tells), "{told}\n{tells}");
    }
}

fn text(record: &Record, known: &RecordType, field: &str) -> Value {
    record.field(known, field).unwrap().clone()
}

#[test]
fn sheets_become_records_in_the_order_of_a_manifest() {
    let remains = "code,parents,class,lifted,lifted_zone,lifted_source,bag,container,mni\n\
        GL02-2,GL02|GL02-1,body-part,2026-05-03,,,,,\n\
        GL02-1,GL02,body,2026-05-02 10:15,+02:00,field book p. 7,1 of 3,C-1,1\n";
    let (sheets, told) =
        read(&[("remains.csv", remains.as_bytes()), ("grave.csv", GRAVE.as_bytes()), ("site.csv", SITE.as_bytes())]);
    assert_eq!(told, Vec::<String>::new());
    let records: Vec<Record> = sheets.records().iter().map(|one| one.record()).collect();
    let codes: Vec<&str> = records.iter().map(|record| record.0[1].as_str().unwrap()).collect();
    assert_eq!(codes, ["GL02", "GL02-1", "GL02-2", "GL"]);
    records.iter().for_each(|record| record.check().unwrap());
    let list = |texts: &[&str]| Value::List(texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(
        text(&records[1], &REMAINS, "lifted"),
        list(&["2026-05-02T10:15:00", "minute", "+02:00", "field book p. 7"])
    );
    // What was not told is not made up.
    assert_eq!(text(&records[2], &REMAINS, "lifted"), list(&["2026-05-03T00:00:00", "day", "none", "remains.csv"]));
    assert_eq!(text(&records[1], &REMAINS, "bag"), list(&["1", "3"]));
    assert_eq!(text(&records[2], &REMAINS, "parents"), list(&["GL02", "GL02-1"]));
    assert_eq!(sheets.counts().into_iter().collect::<Vec<_>>(), [("grave/1", 1), ("remains/1", 2), ("site/1", 1)]);
}

#[test]
fn spreadsheets_save_with_marks_semicolons_and_lines_in_quotes() {
    let marked =
        "\u{feff}code;parents;class;restraints\r\nGL02-1;\"GL02\";body;\"wire; blindfold\nat \"\"B\"\"\"\r\n;;;\r\n";
    let tabbed = marked.replace("wire; blindfold", "wire, blindfold").replace(';', "\t");
    for (sheet, restraints) in [(marked.to_owned(), "wire; blindfold\nat \"B\""), (tabbed, "wire, blindfold\nat \"B\"")]
    {
        let (sheets, told) =
            read(&[("site.csv", SITE.as_bytes()), ("grave.csv", GRAVE.as_bytes()), ("remains.csv", sheet.as_bytes())]);
        assert_eq!(told, Vec::<String>::new(), "{sheet}");
        let record = sheets.records()[1].record();
        assert_eq!(text(&record, &REMAINS, "restraints"), Value::Text(restraints.to_owned()));
    }
}

#[test]
fn every_fault_is_told_with_its_place() {
    refused(
        "remains.csv",
        "code,parents,klass\nR1,GL02,body\n",
        &[
            "remains.csv, line 1, klass: expected a column of a sheet of remains/1; was class meant?, found klass",
            "remains.csv, line 1, class: expected this column: it must be filled, found nothing",
        ],
    );
    refused(
        "remains.csv",
        "code,parents,class,lifted\nR1,GL02,body,08/07/2003\n",
        &[
            "line 2, lifted: expected 2003-07-08 if it is 8 July 2003, or 2003-08-07 if it is 7 August 2003, found 08/07/2003",
        ],
    );
    refused(
        "remains.csv",
        "code,parents,class\nR1,GL02,person\nR1,GL03,body\n",
        &[
            "line 2, class: expected one of body, body-part",
            "line 3, parents: expected a code of these sheets, or of one sealed before in this case; was GL02 meant?, found GL03",
        ],
    );
    refused(
        "remains.csv",
        "code,parents,class\nR1,GL02,body\nR2,R1,body\nR1,GL02,bone\n",
        &["line 4, code: expected what no other row has; remains.csv, line 2, has it, found R1"],
    );
    refused(
        "remains.csv",
        "code,parents,class\nGL,GL02,body\n",
        &["site.csv, line 2, code: expected what no other row has; remains.csv, line 2"],
    );
    refused(
        "remains.csv",
        "code,parents,class\nR1,R3,body\nR2,R1,body\nR3,R2,body\n",
        &["expected parents that come to an end"],
    );
    refused("remains.csv", "code,parents,class\nR1,C-1,body\nR2,GL,body\n", &[]);
    refused("sample.csv", "code,parents,kind\nS1,C-1,bone\n", &["expected the code of remains/1 or artefact/1"]);
    refused(
        "sample.csv",
        "code,parents,kind,mass_g\nS1,GL,soil,\"1,5\"\n",
        &["line 2, mass_g: expected a decimal, then perhaps"],
    );
    refused("remains.csv", "code,parents,class\nR1,GL02\n", &["line 2: expected 3 cells, found 2"]);
    refused("remains.csv", "code,parents,class\nR1,GL02,body,more\n", &["line 2: expected 3 cells, found 4"]);
    refused("remains.csv", "code,code,parents,class\n", &["line 1, code: expected each column once"]);
    refused("remains.csv", "", &["line 1: expected a line that names the columns, found nothing"]);
    refused("remain.csv", "code\n", &["remain.csv: expected a sheet of a record type; was remains.csv meant?"]);
    refused("package.csv", "title\none\ntwo\n", &["line 3, code: expected one row; another is line 2"]);
    refused(
        "photo.csv",
        "code,frame,kind,file\nP1,1,photo,card/a.jpg\n",
        &["line 2, file: expected a file of the source, by its sealed path; was a.jpg meant?, found card/a.jpg"],
    );
    refused(
        "file.csv",
        "path,operator\na.jpg,O-1\na.jpg,O-2\nb.jpg,O-1\n",
        &[
            "line 3, path: expected what no other row has; file.csv, line 2, has it, found a.jpg",
            "line 4, path: expected a file of the source",
        ],
    );
    refused("file.csv", "path,sha256\na.jpg,00\n", &["line 1, sha256: expected a column of a sheet of file/1"]);
    refused(
        "container.csv",
        "code,kind,sealed,sealed_zone\nB,bag,2026-05-03 10:00Z,+02:00\n",
        &["sealed_zone: expected Z, as the date itself says"],
    );
    refused(
        "container.csv",
        "code,kind,sealed,sealed_zone\nB,bag,2026-05-03 10:00,CET\n",
        &["sealed_zone: expected Z, an offset such as +01:00, or none, found CET"],
    );
    refused(
        "site.csv",
        "code,kind,place_latitude,place_longitude\nGL,primary,44.1,18.5\n",
        &["place_datum: expected this part too"],
    );
    let told = read(&[("remains.csv", b"code,parents,class\nR\xff,GL02,body\n")]).1;
    assert!(told[0].contains("line 2: expected text in UTF-8"), "{told:?}");
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("code,class\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(read(&[("remains.csv", &utf16)]).1[0].contains("save it as CSV UTF-8"));
    assert!(read(&[]).1[0].contains("custodia records template"));
}

#[test]
fn a_cell_that_no_record_can_hold_is_refused_and_not_left_out() {
    let notes = |bytes: usize| one("container.csv", &format!("code,kind,notes\nB,bag,{}\n", "x".repeat(bytes)));
    assert_eq!(notes((64 << 10) - 2), Vec::<String>::new());
    let told = notes((64 << 10) - 1);
    assert!(
        told.len() == 1 && told[0].starts_with("container.csv, line 2, notes: expected at most 64 KiB"),
        "{told:?}"
    );
}

#[test]
fn a_quote_without_end_and_a_million_bad_rows_cost_little() {
    let mut sheet = b"code,parents,class\nR1,\"GL02,body\n".to_vec();
    sheet.resize(16 << 20, b'x');
    let told = read(&[("remains.csv", &sheet)]).1;
    assert!(told[0].contains("expected a row of at most 4 MiB"), "{told:?}");

    let folder = tempfile::tempdir().unwrap();
    let rows = "R1,GL02,person\n".repeat(1_000_000);
    fs::write(folder.path().join("remains.csv"), "code,parents,class\n".to_owned() + &rows).unwrap();
    let mut problems = Problems::default();
    Sheets::read(folder.path(), &mut problems).unwrap();
    assert_eq!((problems.count(), problems.named().len()), (1_000_000, 1000));
}

#[test]
fn a_photo_log_tells_which_frames_are_not_in_it() {
    let sheet = "code,frame,kind,roll,missing\nP1,IMG_0001,photo,card 1,\nP2,IMG_0002,photo,card 1,deleted\n\
        P5,IMG_0005,photo,card 1,\nP7,IMG_0007,photo,card 1,\nQ9,IMG_0009,photo,card 2,\n";
    let (sheets, told) = read(&[("photo.csv", sheet.as_bytes())]);
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(
        sheets.remarks(),
        [
            "photo.csv: frames 3 to 4 are not in the log (card 1 IMG_)",
            "photo.csv: frame 6 is not in the log (card 1 IMG_)",
        ]
    );
}

#[test]
fn templates_have_a_column_for_all_that_people_fill_and_are_read_again() {
    let sheets: Vec<&RecordType> = STANDARD.iter().filter(|known| is_sheet(known)).collect();
    assert!(sheets.len() >= 14);
    let templates: Vec<(String, String)> = STANDARD.iter().filter(|known| is_sheet(known)).map(template).collect();
    let files: Vec<(&str, &[u8])> = templates.iter().map(|(name, text)| (&**name, text.as_bytes())).collect();
    let (sheets, told) = read(&files);
    assert_eq!((told, sheets.counts().len()), (Vec::new(), 0));
    let names: Vec<String> = columns(&FILE).into_iter().map(|column| column.name).collect();
    assert!(
        ["path", "captured", "captured_zone", "device_serial"].iter().all(|name| names.iter().any(|it| it == name))
    );
    assert!(!names.iter().any(|name| ["type", "sha256", "size", "modified"].contains(&&**name)), "{names:?}");
}
