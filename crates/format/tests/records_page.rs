//! docs/spec/records.md says what the table of record types says. `CUSTODIA_WRITE_PAGES=1` writes its tables anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use custodia_format::record::{Grammar, STANDARD};

/// The heads after which the page is made from the table.
const GRAMMAR: &str = "| name | what fits it |\n| --- | --- |\n";
const FIELDS: &str = "## Fields\n";

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/records.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, after) = page.split_once(GRAMMAR).unwrap();
    let between = after.split_once("\n\n").unwrap().1.split_once(FIELDS).unwrap().0;
    let grammars: String = Grammar::ALL.iter().map(|it| format!("| {} | {} |\n", it.name(), it.what())).collect();
    let types: String = STANDARD
        .iter()
        .map(|known| {
            let row = |field: &custodia_format::record::Field| {
                let what = if field.name == "type" { "the type, which carries its version" } else { field.what };
                format!("| `{}` | {} | {what} |\n", field.name, field.expects())
            };
            let rows: String = known.fields.iter().map(row).collect();
            let what = known.what;
            format!("\n### `{}`: {what}\n\n| field | grammar | what |\n| --- | --- | --- |\n{rows}", known.name)
        })
        .collect();
    let expected = format!("{before}{GRAMMAR}{grammars}\n{between}{FIELDS}{types}");
    if std::env::var_os("CUSTODIA_WRITE_PAGES").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(page == expected, "they differ; with CUSTODIA_WRITE_PAGES=1 this test writes the page anew");
}
