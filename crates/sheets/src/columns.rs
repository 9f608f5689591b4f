//! The columns of a sheet: one for a field, or one for each part of a field that has parts, and how their cells make a value.

use custodia_format::json::print_compact;
use custodia_format::limits;
use custodia_format::moment;
use custodia_format::record::{By, FILE, Field, Grammar, Needed, PACKAGE, RecordType, Value};

/// Between the values of a list in one cell; a line break does as well.
const BETWEEN: [char; 2] = ['|', '\n'];
/// What is written for a part of a device that nobody noted.
const UNKNOWN: &str = "unknown";

/// A column of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What stands in the sheet's first line.
    pub name: String,
    /// The field that it belongs to; the columns of one field follow each other, part by part.
    pub field: &'static Field,
}

/// The parts of a field that has some; the first of a moment has the field's own name.
const fn parts(grammar: Grammar) -> &'static [&'static str] {
    match grammar {
        Grammar::Moment => &["", "zone", "source"],
        Grammar::Place => &["latitude", "longitude", "datum", "source"],
        Grammar::Device => &["make", "model", "serial"],
        Grammar::Derivation => &["method", "tool", "version", "operator", "original_kept"],
        _ => &[""],
    }
}

/// Whether people fill sheets of this type.
pub fn is_sheet(known: &RecordType) -> bool {
    known.fields.iter().any(|field| field.by == By::People)
}

/// The columns of a type's sheet, in the order of its fields: what people fill. A package's code is its case.
pub fn columns(known: &'static RecordType) -> Vec<Column> {
    let fields = known.fields.iter().filter(|field| field.by == By::People);
    let fields = fields.filter(|field| !(field.name == "code" && *known == PACKAGE));
    let columns = fields.flat_map(|field| {
        parts(field.grammar).iter().map(move |end| {
            let name = if end.is_empty() { field.name.to_owned() } else { format!("{}_{end}", field.name) };
            Column { name, field }
        })
    });
    columns.collect()
}

/// A type's empty sheet: its file name, and the line of its columns.
pub fn template(known: &'static RecordType) -> (String, String) {
    let names: Vec<String> = columns(known).into_iter().map(|column| column.name).collect();
    (file_name(known), names.join(",") + "\n")
}

/// `remains/1` in `remains.csv`.
pub(crate) fn file_name(known: &RecordType) -> String {
    format!("{}.csv", known.name.split('/').next().unwrap_or(known.name))
}

/// Whether a row of this type's sheet must fill a field. Files are told by their paths; their codes are given when they are sealed.
pub(crate) fn must_fill(known: &RecordType, field: &Field) -> bool {
    match field.name {
        "code" => ![FILE, PACKAGE].contains(known),
        "path" => *known == FILE,
        _ => field.needed == Needed::Always && field.by == By::People,
    }
}

/// The value that the cells of a field make, part by part; null when all of them are empty.
///
/// # Errors
/// The part that is at fault, and what was expected there.
pub(crate) fn value(field: &Field, cells: &[&str], sheet: &str) -> Result<Value, (usize, String)> {
    if cells.iter().all(|cell| cell.is_empty()) {
        return Ok(Value::Null);
    }
    let cell = |part: usize| cells.get(part).copied().unwrap_or_default();
    let text = |text: &str| text.to_owned();
    let value = match field.grammar {
        Grammar::Moment => moment_of(cells, sheet)?,
        Grammar::Place | Grammar::Derivation => {
            if let Some(part) = cells.iter().position(|cell| cell.is_empty()) {
                return Err((part, "this part too, where the others are told".to_owned()));
            }
            Value::List(cells.iter().copied().map(text).collect())
        }
        Grammar::Device => {
            let or_unknown = |cell: &&str| if cell.is_empty() { UNKNOWN.to_owned() } else { text(cell) };
            Value::List(cells.iter().map(or_unknown).collect())
        }
        Grammar::Part => Value::List(pair(cell(0), &[" of ", "/"]).ok_or((0, "n of m, such as 1 of 3".to_owned()))?),
        Grammar::Range => Value::List(pair(cell(0), &["-", "–"]).ok_or((0, "from-to, such as 20-35".to_owned()))?),
        Grammar::Lines | Grammar::Codes | Grammar::Paths if cell(0) == "[]" => Value::List(Vec::new()),
        Grammar::Lines | Grammar::Codes | Grammar::Paths => {
            let values = cell(0).split(BETWEEN).map(str::trim).filter(|value| !value.is_empty());
            Value::List(values.map(text).collect())
        }
        _ => Value::Text(text(cell(0))),
    };
    match field.grammar {
        _ if print_compact(&value.to_json()).len() > limits::VALUE_BYTES => Err((0, "at most 64 KiB".to_owned())),
        _ if field.fits(&value) => Ok(value),
        Grammar::Moment => Err((1, "Z, an offset such as +01:00, or none".to_owned())),
        Grammar::Word => Err((0, field.expects())),
        grammar => Err((0, grammar.what().to_owned())),
    }
}

/// The zone stands in the date itself or beside it, or is not told: then that is what is sealed, and none is guessed.
fn moment_of(cells: &[&str], sheet: &str) -> Result<Value, (usize, String)> {
    let [date, zone, source]: [&str; 3] = cells.try_into().unwrap_or_default();
    let read = moment::read(date).map_err(|expected| (0, expected))?;
    let zone = match (read.zone, zone) {
        (Some(inside), "") => inside,
        (Some(inside), beside) if inside == beside => inside,
        (Some(inside), _) => return Err((1, format!("{inside}, as the date itself says, or nothing"))),
        (None, "") => "none".to_owned(),
        (None, beside) => beside.to_owned(),
    };
    let source = if source.is_empty() { sheet.to_owned() } else { source.to_owned() };
    Ok(Value::List(vec![read.value, read.precision.to_owned(), zone, source]))
}

fn pair(cell: &str, between: &[&str]) -> Option<Vec<String>> {
    let (one, other) = between.iter().find_map(|between| cell.split_once(between))?;
    Some([one, other].map(|number| number.trim().to_owned()).to_vec())
}
