//! One sheet: a CSV file (RFC 4180) as spreadsheets write it, with commas, semicolons or tabs, with or without a byte order mark.
//!
//! It is read as a stream. What is in a row stays in memory, the sheet does not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ReaderBuilder};
use custodia_format::record::{RecordType, Value};

use crate::columns::{Column, columns};
use crate::layout::{Fault, Layout};
use crate::problem::{Problem, Problems};

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
    let wrong = |line: u64, expected: &str, found: &str| Problem {
        sheet: name.to_owned(),
        line: Some(line),
        column: None,
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let at_fault = |line: u64, fault: Fault| Problem {
        sheet: name.to_owned(),
        line: Some(line),
        column: Some(fault.column),
        expected: fault.expected,
        found: fault.found,
    };
    let begin = file.fill_buf()?;
    if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") || begin.contains(&0) {
        problems.push(|| wrong(1, "text in UTF-8: save it as CSV UTF-8", "UTF-16, or no text"));
        return Ok(());
    }
    let delimiter = delimiter(begin, &columns(known));
    // The reader ends a row with its CR and counts the line with the LF, which it finds before the next row.
    let late =
        begin.split(|byte| *byte == b'\n').next().is_some_and(|line| line.len() < begin.len() && line.ends_with(b"\r"));
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: file, read: read.clone() };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(counted);
    let mut row = ByteRecord::new();
    let mut layout: Option<Layout> = None;
    loop {
        read.store(0, Ordering::Relaxed);
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let line = row.position().map_or(1, csv::Position::line);
                    problems.push(|| wrong(line, "a row of at most 4 MiB: a quote may have no end", "a longer one"));
                    return Ok(());
                }
                csv::ErrorKind::Io(error) => return Err(error),
                other => return Err(io::Error::other(format!("{other:?}"))),
            },
        }
        let line = row.position().map_or(0, csv::Position::line) + u64::from(late && layout.is_some());
        let cells: Result<Vec<&str>, _> = row.iter().map(std::str::from_utf8).collect();
        let Ok(cells) = cells else {
            problems.push(|| wrong(line, "text in UTF-8", &String::from_utf8_lossy(row.as_slice())));
            continue;
        };
        let Some(layout) = &layout else {
            layout = Some(Layout::of(&cells, known, |fault| problems.push(|| at_fault(line, fault))));
            continue;
        };
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let more = cells.get(layout.width()..);
        if more.is_none_or(|more| more.iter().any(|cell| !cell.is_empty())) {
            problems.push(|| wrong(line, &format!("{} cells", layout.width()), &cells.len().to_string()));
            continue;
        }
        let before = problems.count();
        let values = layout.values(&cells, name, |fault| problems.push(|| at_fault(line, fault)));
        let is_right = problems.count() == before;
        each(Filled { line, values, is_right }, problems);
    }
    if layout.is_none() {
        problems.push(|| wrong(1, "a line that names the columns", ""));
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
