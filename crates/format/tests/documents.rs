//! The pages of statements, bodies and trust say what the code does: their examples read, their table of signers is the
//! table of the code.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its pages has failed")]

use custodia_format::body::Body;
use custodia_format::kind::{Kind, MACHINE_REASONS, PackageRule, Signers};
use custodia_format::statement::Statement;
use custodia_format::text::Label;
use custodia_format::trust::TrustFile;

const STATEMENT: &str = include_str!("../../../docs/spec/statement.md");
const BODIES: &str = include_str!("../../../docs/spec/bodies.md");
const TRUST: &str = include_str!("../../../docs/spec/trust.md");

/// Fenced blocks: (what stands after the fence, the block with its final LF).
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            found.push((info.to_owned(), block.fold(String::new(), |text, line| text + line + "\n")));
        }
    }
    found
}

#[test]
fn there_is_one_example_of_each_kind_and_it_reads() {
    let blocks = blocks(BODIES);
    let names: Vec<&str> = blocks.iter().filter_map(|(info, _)| info.strip_prefix("json ")).collect();
    assert_eq!(names, Kind::known().map(|kind| kind.name().to_owned()).collect::<Vec<_>>());
    for ((_, block), kind) in blocks.iter().zip(Kind::known()) {
        let body = Body::parse(&kind, block.as_bytes()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(body.kind(), Some(kind));
        if let Body::Card(card) = body {
            card.check(&Label::parse("forensics.example").unwrap()).unwrap();
        }
    }
}

#[test]
fn the_example_of_a_statement_reads() {
    let payload = blocks(STATEMENT).into_iter().find(|(info, _)| info == "json statement").unwrap().1;
    let statement = Statement::parse_payload(&Kind::Seal, payload.as_bytes()).unwrap();
    assert_eq!(statement.payload(), payload.as_bytes());
}

#[test]
fn the_example_of_a_trust_file_reads() {
    let text = blocks(TRUST).into_iter().find(|(info, _)| info == "text trust").unwrap().1;
    assert_eq!(TrustFile::parse(text.as_bytes()).unwrap().print(), text);
}

#[test]
fn the_page_and_the_code_have_one_table_of_signers() {
    let mut rows = 0;
    for line in STATEMENT.lines() {
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
        let (Some(name), Some(signers), Some(package)) = (cells.first(), cells.get(1), cells.get(2)) else { continue };
        let kind = if *name == "any other" { Kind::new("notice", 1) } else { Kind::new(name, 1) };
        let Some(kind) = kind.filter(|kind| *name == "any other" || kind.is_known()) else { continue };
        let told = match kind.signers() {
            Signers::Root => "root",
            Signers::StatementAndOfficer => "statement and officer",
            Signers::StatementOnly => "statement only",
            Signers::StatementOfficerAllowed => "statement, officer allowed",
            Signers::AnyKnown => "any known key",
        };
        assert_eq!(*signers, told, "{kind}");
        let told = match kind.package() {
            PackageRule::Never => "never",
            PackageRule::Always => "always",
            PackageRule::Either => "either",
        };
        assert_eq!(*package, told, "{kind}");
        rows += 1;
    }
    assert_eq!(rows, Kind::known().count() + 1);
    for reason in MACHINE_REASONS {
        assert!(STATEMENT.contains(&format!("`{reason}`")), "{reason}");
    }
}
