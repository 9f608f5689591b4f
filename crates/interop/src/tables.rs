//! Tables for spreadsheets and for a court's own systems (RFC 4180). A cell that a spreadsheet would take for a formula begins with an
//! apostrophe.

use std::borrow::Cow;
use std::io::{self, Write};

use custodia_verify::Bound;
use custodia_verify::chain::{Chain, Entry};

use crate::{Exported, text, texts};

/// The columns of a custody table, those of a paper form.
const CUSTODY: [&str; 20] = [
    "no",
    "happened",
    "precision",
    "source_of_time",
    "written_down",
    "not_before",
    "not_after",
    "what",
    "records",
    "custodian",
    "released_by",
    "received_by",
    "others",
    "place",
    "purpose",
    "order",
    "bag_seals",
    "codes",
    "signed_by",
    "statement",
];

/// The columns of a load file, as e-court systems take them; the first is the slot of the number that the registry gives.
const LOAD: [&str; 20] = [
    "ERN",
    "Title",
    "Type",
    "MainDate",
    "DateEstimated",
    "Author",
    "Recipient",
    "Source",
    "ChainOfCustody",
    "OriginalLanguage",
    "TranslationOf",
    "ParentOf",
    "RelatedTo",
    "DisclosureType",
    "ConfidentialityLevel",
    "RedactionStatus",
    "ItemCode",
    "FileName",
    "SizeBytes",
    "SHA256",
];

/// A cell that no spreadsheet takes for a formula.
fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn row<W: Write>(out: &mut csv::Writer<W>, cells: &[Cow<'_, str>]) -> io::Result<()> {
    out.write_record(cells.iter().map(|it| cell(it).into_owned())).map_err(io::Error::other)
}

/// Writes a chain of custody as a table: a row for each statement, in the order in which things are said to have happened.
///
/// # Errors
/// The writer's.
pub fn custody_table(out: impl Write, chain: &Chain) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(CUSTODY).map_err(io::Error::other)?;
    for (number, entry) in (1..).zip(&chain.entries) {
        row(&mut out, &custody_row(number, entry))?;
    }
    out.flush()
}

fn custody_row(number: usize, entry: &Entry) -> [Cow<'_, str>; 20] {
    let person = |role: &str| entry.persons.iter().find(|it| it.role == role).map_or("", |it| it.name.as_str());
    let others = entry.persons.iter().filter(|it| it.role != "giver" && it.role != "receiver");
    let others = others.map(|it| format!("{}: {}", it.role, it.name)).collect::<Vec<_>>().join("; ");
    let detail = |about: &str| {
        let told = entry.details.iter().filter(|(known, _)| known == about).map(|(_, told)| told.as_str());
        told.collect::<Vec<_>>().join("; ")
    };
    let bound = |bound: &Option<Bound>| bound.as_ref().map(|it| it.time.to_string()).unwrap_or_default();
    let seals = entry.bag_seals.iter().map(|seal| format!("{} {}", seal.number, seal.state));
    let codes = entry.codes.iter().map(|(name, value)| format!("{name}: {value}"));
    let received_by = match (&entry.recipient, person("receiver")) {
        (Some(recipient), "") => recipient,
        (_, receiver) => receiver,
    };
    [
        number.to_string().into(),
        entry.told.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        entry.told.as_ref().map_or("", |told| &told.precision).into(),
        entry.told.as_ref().map_or("", |told| &told.source).into(),
        entry.recorded_at.as_str().into(),
        bound(&entry.interval.lower).into(),
        bound(&entry.interval.upper).into(),
        entry.action.as_deref().unwrap_or(&entry.kind).into(),
        entry.items.join(", ").into(),
        entry.custodian.as_str().into(),
        person("giver").into(),
        received_by.into(),
        others.into(),
        detail("place").into(),
        detail("purpose").into(),
        detail("order").into(),
        seals.collect::<Vec<_>>().join("; ").into(),
        codes.collect::<Vec<_>>().join("; ").into(),
        entry.officers.join(", ").into(),
        entry.digest.as_str().into(),
    ]
}

/// A load file: a row for each file.
#[derive(Debug)]
pub struct LoadFile<W: Write> {
    out: csv::Writer<W>,
    is_redacted: bool,
    case: String,
}

impl<W: Write> LoadFile<W> {
    /// Begins it.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(out: W, case: &str, is_redacted: bool) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(LOAD).map_err(io::Error::other)?;
        Ok(Self { out, is_redacted, case: case.to_owned() })
    }

    /// One file.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, file: &Exported<'_>) -> io::Result<()> {
        let record = file.record;
        let (date, is_estimated) = match texts(record, "captured") {
            [value, precision, ..] => (value.as_str(), precision != "second" && precision != "minute"),
            _ => ("", false),
        };
        let path = String::from_utf8_lossy(file.path);
        let name = path.rsplit('/').next().unwrap_or_default();
        let redaction = if record.withheld() > 0 || self.is_redacted { "redacted" } else { "" };
        row(
            &mut self.out,
            &[
                ern(texts(record, "aliases")).into(),
                name.into(),
                text(record, "media_type").into(),
                date.into(),
                if is_estimated { "yes" } else { "" }.into(),
                text(record, "operator").into(),
                "".into(),
                self.case.as_str().into(),
                "proof.json, custody.csv".into(),
                "".into(),
                "".into(),
                texts(record, "parents").join("; ").into(),
                "".into(),
                "".into(),
                "".into(),
                redaction.into(),
                text(record, "code").into(),
                path.as_ref().into(),
                file.size.to_string().into(),
                file.sha256.to_string().into(),
            ],
        )
    }

    /// Ends it; gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn end(self) -> io::Result<W> {
        self.out.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The number that a registry gave, where an alias has its form: `CIV-OTP-0077-0432`.
fn ern(aliases: &[String]) -> &str {
    let is_part = |part: &str, of: fn(&char) -> bool| part.len() >= 2 && part.chars().all(|c| of(&c));
    let is_one = |alias: &&String| {
        let parts: Vec<&str> = alias.split('-').collect();
        matches!(parts[..], [situation, party, one, other]
            if [situation, party].iter().all(|part| is_part(part, char::is_ascii_uppercase))
                && [one, other].iter().all(|part| part.len() == 4 && is_part(part, char::is_ascii_digit)))
    };
    aliases.iter().find(is_one).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        for (told, written) in [
            ("=cmd()", "'=cmd()"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\t=x", "'\t=x"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(cell(told), written);
        }
    }

    #[test]
    fn a_registry_s_number_is_known_by_its_form() {
        let aliases = ["lab 4711", "CIV-OTP-0077-0432"].map(str::to_owned);
        assert_eq!(ern(&aliases), "CIV-OTP-0077-0432");
        for other in ["CIV-OTP-77-0432", "civ-otp-0077-0432", "CIV-OTP-0077", "A-B-0001-0002"] {
            assert_eq!(ern(&[other.to_owned()]), "");
        }
    }
}
