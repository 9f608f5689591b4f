//! Where the cells of each field stand in the rows of one sheet, as its first line says.

use custodia_format::record::{Field, RecordType, Value};

use crate::columns::{columns, must_fill, value};
use crate::problem::meant;

/// The columns of one sheet.
pub(crate) struct Layout {
    /// Cells of a row.
    width: usize,
    fields: Vec<Cells>,
}

/// The cells of one field.
struct Cells {
    field: &'static Field,
    must_fill: bool,
    /// A column's name, and its place in a row where the sheet has it, for each part.
    parts: Vec<(String, Option<usize>)>,
}

/// Something wrong in a column.
pub(crate) struct Fault {
    pub(crate) column: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Fault {
    fn new(column: &str, expected: impl Into<String>, found: &str) -> Self {
        Self { column: column.to_owned(), expected: expected.into(), found: found.to_owned() }
    }
}

impl Layout {
    /// Reads a sheet's first line.
    pub(crate) fn of(first: &[&str], known: &'static RecordType, mut wrong: impl FnMut(Fault)) -> Self {
        let mut fields: Vec<Cells> = known
            .fields
            .iter()
            .map(|field| Cells { field, must_fill: must_fill(known, field), parts: Vec::new() })
            .collect();
        let all = columns(known);
        for column in &all {
            let place = first.iter().position(|name| name.trim() == column.name);
            if let Some(cells) = fields.iter_mut().find(|cells| cells.field == column.field) {
                cells.parts.push((column.name.clone(), place));
            }
        }
        // Empty names at the end are what a spreadsheet leaves of columns that were deleted.
        let width = first.len() - first.iter().rev().take_while(|name| name.trim().is_empty()).count();
        for (place, name) in first.iter().map(|name| name.trim()).enumerate().filter(|(_, name)| !name.is_empty()) {
            if !all.iter().any(|column| column.name == name) {
                let meant = meant(name, all.iter().map(|column| column.name.as_str()));
                wrong(Fault::new(name, format!("a column of a sheet of {}{meant}", known.name), name));
            } else if first.iter().position(|other| other.trim() == name) != Some(place) {
                wrong(Fault::new(name, "each column once", "a second one"));
            }
        }
        for cells in fields.iter().filter(|cells| cells.must_fill) {
            if let Some((name, None)) = cells.parts.first() {
                wrong(Fault::new(name, "this column: it must be filled", ""));
            }
        }
        Self { width, fields }
    }

    /// Cells that a row must have; what follows them is empty.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// A row's values, one for each field of the type: null for those that a seal fills, and for those that are at fault.
    pub(crate) fn values(&self, row: &[&str], sheet: &str, mut wrong: impl FnMut(Fault)) -> Vec<Value> {
        let mut values = Vec::with_capacity(self.fields.len());
        for cells in &self.fields {
            let cell = |place: &Option<usize>| place.and_then(|place| row.get(place)).map_or("", |cell| cell.trim());
            let parts: Vec<&str> = cells.parts.iter().map(|(_, place)| cell(place)).collect();
            let name = |part: usize| cells.parts.get(part).map_or(cells.field.name, |(name, _)| name);
            // That a column is not there at all was told once.
            let must_fill = cells.must_fill && cells.parts.first().is_some_and(|(_, place)| place.is_some());
            values.push(match value(cells.field, &parts, sheet) {
                Ok(Value::Null) if must_fill => {
                    wrong(Fault::new(name(0), "something", ""));
                    Value::Null
                }
                Ok(value) => value,
                Err((part, expected)) => {
                    wrong(Fault::new(name(part), expected, parts.get(part).copied().unwrap_or_default()));
                    Value::Null
                }
            });
        }
        values
    }
}
