//! A folder of sheets: every row that is right, what they say of each other, and what does not fit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use custodia_format::record::{FILE, Field, Grammar, PACKAGE, PHOTO, Record, RecordType, STANDARD, Value};

use crate::columns::{file_name, is_sheet};
use crate::graph::circle;
use crate::problem::{Problem, Problems, meant};
use crate::sheet;

/// The fields that say what something was taken from or lies in.
const PARENTS: [&str; 2] = ["parents", "parent"];
/// Gaps in the numbering of frames that are named.
const GAPS_NAMED: usize = 100;

/// What the sheets of a folder say.
#[derive(Debug, Default)]
pub struct Sheets {
    rows: Vec<Row>,
    /// Rows by their codes.
    codes: HashMap<Box<str>, usize>,
    /// Rows that describe a file, by its path.
    files: HashMap<Box<str>, usize>,
    /// The row that describes the package.
    package: Option<usize>,
    /// Codes of rows that are not here because something is wrong with them: that others name them is no fault of theirs.
    at_fault: HashSet<Box<str>>,
}

/// One row, as small as it gets: there may be a million.
#[derive(Debug)]
struct Row {
    known: &'static RecordType,
    line: u64,
    code: Box<str>,
    /// As a line of a manifest.
    record: Box<str>,
}

impl Row {
    fn record(&self) -> Record {
        Record::parse(&self.record).expect("a row is what a record was printed as")
    }

    fn problem(&self, column: &str, expected: String, found: &str) -> Problem {
        Problem {
            sheet: file_name(self.known),
            line: Some(self.line),
            column: Some(column.to_owned()),
            expected,
            found: found.to_owned(),
        }
    }
}

/// What whoever seals knows, and the sheets may speak of.
pub struct Surroundings<'a> {
    /// Whether a file of this sealed path is in the source.
    pub has_file: &'a dyn Fn(&str) -> bool,
    /// The sealed path of a file that may have been meant.
    pub alike: &'a dyn Fn(&str) -> Option<String>,
    /// The record type of a code that was sealed before in the same case.
    pub sealed: &'a dyn Fn(&str) -> Option<&'static RecordType>,
}

impl Sheets {
    /// Reads all sheets of a folder: `remains.csv` for `remains/1`, and so on. Other files that are no sheets are passed over.
    ///
    /// # Errors
    /// The folder or a sheet cannot be read; which one stands in the error's text.
    pub fn read(folder: &Path, problems: &mut Problems) -> io::Result<Self> {
        let at = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| at(folder, error))? {
            let name = entry.map_err(|error| at(folder, error))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if name.to_ascii_lowercase().ends_with(".csv") && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut sheets = Self::default();
        for name in &names {
            let known = || STANDARD.iter().filter(|known| is_sheet(known));
            let Some(known) = known().find(|known| file_name(known) == *name) else {
                let all: Vec<String> = known().map(file_name).collect();
                let expected = format!("a sheet of a record type{}", meant(name, all.iter().map(String::as_str)));
                let found = name.clone();
                problems.push(|| Problem { sheet: name.clone(), line: None, column: None, expected, found });
                continue;
            };
            let path = folder.join(name);
            sheet::read(&path, name, known, problems, |row, problems| sheets.take(known, row, problems))
                .map_err(|error| at(&path, error))?;
        }
        if names.is_empty() {
            let expected = "a sheet such as remains.csv: custodia records template writes empty ones".to_owned();
            let sheet = folder.display().to_string();
            problems.push(|| Problem { sheet, line: None, column: None, expected, found: String::new() });
        }
        Ok(sheets)
    }

    fn take(&mut self, known: &'static RecordType, filled: sheet::Filled, problems: &mut Problems) {
        let record = Record(filled.values).with(known, [("type", Value::Text(known.name.to_owned()))]);
        let code = record.code().unwrap_or_default();
        if !filled.is_right {
            self.at_fault.insert(code.into());
            return;
        }
        let path = record.field(&FILE, "path").and_then(Value::as_str);
        let place = self.rows.len();
        let row = Row { known, line: filled.line, code: code.into(), record: record.print().into() };
        let before = if *known == PACKAGE {
            self.package.replace(place)
        } else {
            let by_path = path.and_then(|path| self.files.insert(path.into(), place));
            by_path.or(if code.is_empty() { None } else { self.codes.insert(code.into(), place) })
        };
        if let Some(before) = before.and_then(|before| self.rows.get(before)) {
            let (column, found) = match path {
                Some(path) if before.known == known => ("path", path),
                _ => ("code", code),
            };
            let expected = match *known == PACKAGE {
                true => format!("one row; another is line {}", before.line),
                false => format!("what no other row has; {}, line {}, has it", file_name(before.known), before.line),
            };
            problems.push(|| row.problem(column, expected, found));
        }
        self.rows.push(row);
    }

    /// Looks at everything that rows say of each other and of the source.
    pub fn check(&self, around: &Surroundings<'_>, problems: &mut Problems) {
        let mut parents: Vec<Vec<usize>> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let mut own = Vec::new();
            for (field, value) in row.known.fields.iter().zip(&row.record().0) {
                for name in value.texts() {
                    if let Some(expected) = self.unlike(row, field, name, around) {
                        problems.push(|| row.problem(field.name, expected, name));
                    }
                    own.extend(self.codes.get(name.as_str()).filter(|_| PARENTS.contains(&field.name)));
                }
            }
            parents.push(own);
        }
        let rows = circle(&parents).unwrap_or_default();
        let all: Vec<&Row> = rows.iter().filter_map(|row| self.rows.get(*row)).collect();
        if let Some(first) = all.first() {
            let codes: Vec<&str> = all.iter().chain(all.first()).map(|row| &*row.code).collect();
            problems.push(|| first.problem("parents", "parents that come to an end".to_owned(), &codes.join(" < ")));
        }
    }

    /// What was expected of a name that names nothing, or not what its field may name.
    fn unlike(&self, row: &Row, field: &Field, name: &str, around: &Surroundings<'_>) -> Option<String> {
        match field.grammar {
            Grammar::Code | Grammar::Codes => self.no_code(row, field, name, around),
            Grammar::Path | Grammar::Paths if !(around.has_file)(name) => {
                let alike = (around.alike)(name).map_or_else(String::new, |it| format!("; was {it} meant?"));
                Some(format!("a file of the source, by its sealed path{alike}"))
            }
            _ => None,
        }
    }

    fn no_code(&self, row: &Row, field: &Field, code: &str, around: &Surroundings<'_>) -> Option<String> {
        let here = self.codes.get(code).and_then(|row| self.rows.get(*row)).map(|row| row.known);
        match here.or_else(|| (around.sealed)(code)) {
            Some(known) if field.may_name(known.name) => None,
            Some(known) => Some(format!("the code of {}, and this is one of {}", field.of.join(" or "), known.name)),
            None if self.at_fault.contains(code) => None,
            None => {
                let others =
                    self.rows.iter().filter(|other| field.may_name(other.known.name) && other.code != row.code);
                let near = meant(code, others.map(|other| &*other.code));
                Some(format!("a code of these sheets, or of one sealed before in this case{near}"))
            }
        }
    }

    /// What is worth knowing and keeps nothing from being sealed: numbers of frames that a photo log leaves out.
    pub fn remarks(&self) -> Vec<String> {
        let mut rolls: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| *row.known == PHOTO) {
            let record = row.record();
            let text = |field| record.field(&PHOTO, field).and_then(Value::as_str).unwrap_or_default();
            let frame = text("frame");
            let digits = frame.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            let (before, number) = frame.split_at(digits);
            if let Ok(number) = number.parse() {
                rolls.entry(format!("{} {before}", text("roll"))).or_default().push(number);
            }
        }
        let mut remarks = Vec::new();
        for (roll, mut numbers) in rolls {
            numbers.sort_unstable();
            for pair in numbers.windows(2) {
                if let [one, next] = pair
                    && next - one > 1
                {
                    let (from, to) = (one + 1, next - 1);
                    let which =
                        if from == to { format!("frame {from} is") } else { format!("frames {from} to {to} are") };
                    let roll = if roll.trim().is_empty() { String::new() } else { format!(" ({})", roll.trim()) };
                    remarks.push(format!("photo.csv: {which} not in the log{roll}"));
                }
            }
        }
        if remarks.len() > GAPS_NAMED {
            let more = remarks.len() - GAPS_NAMED;
            remarks.truncate(GAPS_NAMED);
            remarks.push(format!("photo.csv: {more} more gaps in the numbering"));
        }
        remarks
    }

    /// How many records there are of each type, those of files that are described among them.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        self.rows.iter().for_each(|row| *counts.entry(row.known.name).or_default() += 1);
        counts
    }

    /// The records that stand by themselves, in the order of a manifest: by type, then by code.
    pub fn records(&self) -> Vec<Described<'_>> {
        let own = self.rows.iter().filter(|row| *row.known != FILE && *row.known != PACKAGE);
        let mut own: Vec<Described<'_>> = own.map(Described).collect();
        own.sort_unstable_by_key(|one| (one.0.known.name, &one.0.code));
        own
    }

    /// Whether a record here has this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.contains_key(code)
    }

    /// What the sheets say of the package itself.
    pub fn package(&self) -> Option<Described<'_>> {
        self.package.and_then(|row| self.rows.get(row)).map(Described)
    }

    /// What the sheets say of the file at a sealed path.
    pub fn file(&self, path: &str) -> Option<Described<'_>> {
        self.files.get(path).and_then(|row| self.rows.get(*row)).map(Described)
    }
}

/// A row, and the record that it makes.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a>(&'a Row);

impl Described<'_> {
    /// The name of its record type.
    pub fn type_name(&self) -> &'static str {
        self.0.known.name
    }

    /// The record, without what a seal fills: where that is nothing it is complete.
    pub fn record(&self) -> Record {
        self.0.record()
    }
}
