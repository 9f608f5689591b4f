//! What people say of what they found: the sheets that they fill, read into the records of a package (docs/spec/records.md,
//! docs/operate/records.md).
//!
//! A folder holds a sheet, a CSV file, for each record type that is used; its columns follow from the table of record types.
//! What is read here is either right in every cell or refused with all of its faults, each by sheet, line and column. This crate
//! refuses to guess, to sign, to hash, and to look at the files that the sheets speak of: whoever seals tells it which there are.

mod columns;
mod folder;
mod graph;
mod layout;
mod problem;
mod sheet;

pub use columns::{Column, columns, is_sheet, template};
pub use folder::{Described, Sheets, Surroundings};
pub use problem::{Problem, Problems};
