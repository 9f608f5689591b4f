//! Turns records.tsv, the table of record types, into the constants of `record::types`.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

const HEAD: &str = "type\tfield\tgrammar\tneeded\tby\tof\twhat";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=records.tsv");
    let table = fs::read_to_string("records.tsv")?;
    let mut lines = table.lines();
    if lines.next() != Some(HEAD) {
        return Err("records.tsv: another head line".into());
    }
    let mut types: Vec<(&str, Vec<[&str; 6]>)> = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, field @ ..]: [&str; 7] = cells.try_into().map_err(|_| format!("records.tsv: {line}"))?;
        match types.last_mut().filter(|(last, _)| *last == name) {
            Some((_, fields)) => fields.push(field),
            None => types.push((name, vec![field])),
        }
    }
    let mut code = String::new();
    for (name, fields) in &types {
        let what = fields.first().map_or("", |field| field[5]);
        write!(code, "/// {}.\npub const {}: RecordType = RecordType {{\n", capital(what), constant(name))?;
        writeln!(code, "    name: {name:?},\n    what: {what:?},\n    fields: &[")?;
        for [field, grammar, needed, by, of, what] in fields {
            let of: Vec<&str> = of.split_whitespace().collect();
            let needed = if *needed == "yes" { "Needed::Always" } else { "Needed::No" };
            let grammar: String = grammar.split(' ').map(capital).collect();
            write!(code, "        Field {{ name: {field:?}, grammar: Grammar::{grammar}, needed: {needed}, ")?;
            let by = capital(by);
            writeln!(code, "by: By::{by}, of: &{of:?}, what: {what:?} }},")?;
        }
        code.push_str("    ],\n};\n");
    }
    let names: Vec<String> = types.iter().map(|(name, _)| constant(name)).collect();
    writeln!(
        code,
        "/// The record types of this version.\npub const STANDARD: &[RecordType] = &[{}];",
        names.join(", ")
    )?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("record_types.rs"), code)?;
    Ok(())
}

/// `legal-basis/1` as `LEGAL_BASIS`.
fn constant(name: &str) -> String {
    name.split('/').next().unwrap_or(name).replace('-', "_").to_uppercase()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
