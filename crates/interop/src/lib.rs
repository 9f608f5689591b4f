//! A package in other people's formats, for those who have none of our programs (docs/spec/interop.md).
//!
//! Everything here is written from what a reader is shown, record by record, to any writer, and nothing of it is read again: the proof is
//! what proves. This crate refuses to look at files, to judge, and to be the truth about anything.

mod bag;
mod case;
mod digests;
mod labels;
mod tables;

use custodia_format::Hash;
use custodia_format::disclosure::ShownRecord;
use custodia_format::record::Value;

pub use bag::{BagInfo, DECLARATION, bag_line};
pub use case::Graph;
pub use digests::{FtkLog, HASHDEEP_HEAD, hashdeep_line, sha256sums_line};
pub use labels::{Label, Sheet, check_character, pages};
pub use tables::{LoadFile, custody_table};

/// A file as it lies in an export.
#[derive(Debug, Clone, Copy)]
pub struct Exported<'a> {
    /// Where, below the export's folder, `/`-separated.
    pub path: &'a [u8],
    /// Bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: &'a Hash,
    /// What its record tells.
    pub record: &'a ShownRecord,
}

/// The texts of a field that is shown: one, or those of a list.
fn texts<'a>(record: &'a ShownRecord, field: &str) -> &'a [String] {
    record.field(field).map(Value::texts).unwrap_or_default()
}

/// The text of a field that is shown.
fn text<'a>(record: &'a ShownRecord, field: &str) -> &'a str {
    record.field(field).and_then(Value::as_str).unwrap_or_default()
}
