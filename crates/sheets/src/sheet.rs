//! One sheet: a CSV file (RFC 4180) as spreadsheets write it, with commas, semicolons or tabs, with or without a byte order mark.
//!
//! It is read as a stream. What is in a row stays in memory, the sheet does not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ReaderBuilder};
use custodia_format::record::{Field, RecordType, Value};

use crate::columns::{Column, columns, must_fill, value};
use crate::problem::{Problem, Problems, meant};

const MARK: &[u8] = b"\xef\xbb\xbf";
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// Bytes of the first line.
const FIRST_LINE_BYTES: usize = 64 << 10;
/// Bytes of a row: a quote that is never closed would take the rest of the sheet into it.
const ROW_BYTES: u64 = 4 << 20;

/// A row.
pub(crate) struct Filled {
    /// The line at which it begins.
    pub(crate) line: u64,
    /// A value for each field of the type, null for those that a seal fills and those that are at fault.
    pub(crate) values: Vec<Value>,
    /// Whether all of it is right.
    pub(crate) is_right: bool,
}

/// Reads a sheet, row by row.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(
    path: &Path,
    name: &str,
    known: &'static RecordType,
    problems: &mut Problems,
    mut each: impl FnMut(Filled, &mut Problems),
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(FIRST_LINE_BYTES, File::open(path)?);
    if file.fill_buf()?.starts_with(MARK) {
        file.consume(MARK.len());
    }
    let wrong = |line: u64, column: Option<&str>, expected: String, found: &str| Problem {
        sheet: name.to_owned(),
        line: Some(line),
        column: column.map(ToOwned::to_owned),
        expected,
        found: found.to_owned(),
    };
    let begin = file.fill_buf()?;
    if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") || begin.contains(&0) {
        problems.push(|| wrong(1, None, "text in UTF-8: save it as CSV UTF-8".to_owned(), "UTF-16, or no text"));
        return Ok(());
    }
    let all = columns(known);
    let delimiter = delimiter(begin, &all);
    // The reader ends a row with its CR and counts the line with the LF, which it finds before the next row.
    let late =
        begin.split(|byte| *byte == b'\n').next().is_some_and(|line| line.len() < begin.len() && line.ends_with(b"\r"));
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: file, read: read.clone() };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(counted);
    let mut row = ByteRecord::new();
    let mut places: Option<Vec<Option<usize>>> = None;
    loop {
        read.store(0, Ordering::Relaxed);
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let line = row.position().map_or(1, csv::Position::line);
                    let expected = "a row of at most 4 MiB: a quote may have no end".to_owned();
                    problems.push(|| wrong(line, None, expected, "a longer one"));
                    return Ok(());
                }
                csv::ErrorKind::Io(error) => return Err(error),
                other => return Err(io::Error::other(format!("{other:?}"))),
            },
        }
        let line = row.position().map_or(0, csv::Position::line) + u64::from(late && places.is_some());
        let cells: Result<Vec<&str>, _> = row.iter().map(std::str::from_utf8).collect();
        let Ok(cells) = cells else {
            problems.push(|| wrong(line, None, "text in UTF-8".to_owned(), &String::from_utf8_lossy(row.as_slice())));
            continue;
        };
        let Some(places) = &places else {
            places = Some(places_of(&cells, &all, known, |column, expected, found| {
                problems.push(|| wrong(line, Some(column), expected, found));
            }));
            continue;
        };
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let more = cells.get(places.len()..).unwrap_or_default();
        if cells.len() < places.len() || more.iter().any(|cell| !cell.is_empty()) {
            let (expected, found) = (format!("{} cells", places.len()), cells.len().to_string());
            problems.push(|| wrong(line, None, expected, &found));
            continue;
        }
        let before = problems.count();
        let values = values_of(&cells, places, &all, known, name, |column, expected, found| {
            problems.push(|| wrong(line, Some(column), expected, found));
        });
        let is_right = problems.count() == before;
        each(Filled { line, values, is_right }, problems);
    }
    if places.is_none() {
        problems.push(|| wrong(1, None, "a line that names the columns".to_owned(), ""));
    }
    Ok(())
}

/// What separates the cells: that by which most columns are known.
fn delimiter(begin: &[u8], all: &[Column]) -> u8 {
    let known = |delimiter: &u8| {
        let mut reader = ReaderBuilder::new().delimiter(*delimiter).has_headers(false).from_reader(begin);
        let mut row = ByteRecord::new();
        let _ = reader.read_byte_record(&mut row);
        row.iter().filter(|cell| all.iter().any(|column| column.name.as_bytes() == cell.trim_ascii())).count()
    };
    // The last of those that know most is taken; a comma where they know nothing or the same.
    DELIMITERS.into_iter().rev().max_by_key(known).unwrap_or(b',')
}

/// For each cell of a row, the column that it belongs to.
fn places_of(
    cells: &[&str],
    all: &[Column],
    known: &RecordType,
    mut wrong: impl FnMut(&str, String, &str),
) -> Vec<Option<usize>> {
    let mut places: Vec<Option<usize>> = Vec::new();
    for cell in cells {
        let cell = cell.trim();
        let place = all.iter().position(|column| column.name == cell);
        match place {
            _ if cell.is_empty() => {}
            None => {
                let names = all.iter().map(|column| column.name.as_str());
                let expected = format!("a column of a sheet of {}{}", known.name, meant(cell, names));
                wrong(cell, expected, cell);
            }
            Some(_) if places.contains(&place) => wrong(cell, "each column once".to_owned(), "a second one"),
            Some(_) => {}
        }
        places.push(place);
    }
    // Empty names at the end are what a spreadsheet leaves of columns that were deleted.
    while places.last().is_some_and(Option::is_none)
        && cells.get(places.len() - 1).is_some_and(|it| it.trim().is_empty())
    {
        places.pop();
    }
    for field in known.fields.iter().filter(|field| must_fill(known, field)) {
        let first = all.iter().position(|column| column.field.name == field.name);
        if let Some(first) = first.filter(|first| !places.contains(&Some(*first))) {
            let name = all.get(first).map_or("", |column| column.name.as_str());
            wrong(name, "this column: it must be filled".to_owned(), "");
        }
    }
    places
}

fn values_of(
    cells: &[&str],
    places: &[Option<usize>],
    all: &[Column],
    known: &RecordType,
    sheet: &str,
    mut wrong: impl FnMut(&str, String, &str),
) -> Vec<Value> {
    let cell = |column: usize| {
        let place = places.iter().position(|place| *place == Some(column));
        place.and_then(|place| cells.get(place)).map_or("", |cell| cell.trim())
    };
    let value_of = |field: &Field| {
        let own: Vec<usize> =
            (0..all.len()).filter(|at| all.get(*at).is_some_and(|it| it.field.name == field.name)).collect();
        let parts: Vec<&str> = own.iter().map(|column| cell(*column)).collect();
        let told = value(field, &parts, sheet).map_err(|(part, expected)| (part, expected, parts.get(part).copied()));
        match told {
            Ok(Value::Null) if must_fill(known, field) => Err((0, "something".to_owned(), None)),
            told => told,
        }
        .map_err(|(part, expected, found)| {
            let column = own.get(part).and_then(|column| all.get(*column));
            (
                column.map_or(field.name, |column| column.name.as_str()).to_owned(),
                expected,
                found.unwrap_or_default().to_owned(),
            )
        })
    };
    let values = known.fields.iter().map(|field| match value_of(field) {
        Ok(value) => value,
        Err((column, expected, found)) => {
            wrong(&column, expected, &found);
            Value::Null
        }
    });
    values.collect()
}

/// Counts what is read, and ends a row that has no end.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if self.read.fetch_add(read as u64, Ordering::Relaxed) > ROW_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(read)
    }
}
