//! The grammar of every field, which a sealing node enforces (docs/spec/records.md, "Fields").
//!
//! Readers take any value: what was sealed otherwise still closes. What is refused here is only sealing it.

use super::{FILE, Field, Needed, Record, RecordType, Value, check_path, schema};
use crate::error::Malformed;
use crate::midstate::midstate_count;
use crate::text::{Time, Word, decimal, from_b64, from_hex, zone_seconds};
use crate::{Hash, limits};
use custodia_merkle::empty_root;

/// Characters of a line.
const LINE_CHARS: usize = 4096;
/// Strings in a list of lines or gaps.
const LIST_STRINGS: usize = 10_000;

/// What the value of a field must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// The name of the record's type.
    Type,
    /// A line that a person can read.
    Line,
    /// A text of any length.
    Text,
    /// Several lines.
    Lines,
    /// One of the field's words.
    Word,
    /// The code of another record.
    Code,
    /// The codes of other records.
    Codes,
    /// A whole number.
    Decimal,
    /// A number with a fraction.
    Number,
    /// Seconds forward or back.
    Offset,
    /// n of m.
    Part,
    /// From one whole number to another.
    Range,
    /// A SHA-256.
    Sha256,
    /// A SHA-512.
    Sha512,
    /// A sealed path.
    Path,
    /// Several sealed paths.
    Paths,
    /// A sealed path that is not UTF-8.
    PathBytes,
    /// A media type.
    MediaType,
    /// How an item is stored.
    Encoding,
    /// A time as somebody noted it.
    Moment,
    /// A device.
    Device,
    /// Coordinates.
    Place,
    /// How something was made from its parents.
    Derivation,
    /// Gaps in an item.
    Gaps,
    /// A time in UTC.
    Time,
}

impl Grammar {
    /// All of them, in the order of docs/spec/records.md.
    pub const ALL: [Self; 25] = [
        Self::Type,
        Self::Line,
        Self::Text,
        Self::Lines,
        Self::Word,
        Self::Code,
        Self::Codes,
        Self::Decimal,
        Self::Number,
        Self::Offset,
        Self::Part,
        Self::Range,
        Self::Sha256,
        Self::Sha512,
        Self::Path,
        Self::Paths,
        Self::PathBytes,
        Self::MediaType,
        Self::Encoding,
        Self::Moment,
        Self::Device,
        Self::Place,
        Self::Derivation,
        Self::Gaps,
        Self::Time,
    ];

    /// Its name, and what fits it.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Type => ("type", "the name of the record's type"),
            Self::Line => ("line", "1 to 4,096 characters, no control character"),
            Self::Text => ("text", "a string that is not empty"),
            Self::Lines => ("lines", "a list of lines"),
            Self::Word => ("word", "one of the words that are given for the field"),
            Self::Code => ("code", "a line: the `code` of another record, of one of the types that are given"),
            Self::Codes => ("codes", "a list of such codes"),
            Self::Decimal => ("decimal", "a decimal without sign or leading zero, at most 2^63 - 1"),
            Self::Number => ("number", "a decimal, then perhaps `.` and 1 to 9 digits"),
            Self::Offset => {
                ("offset", "seconds: a decimal of at most 10 digits, `-` before it where they are taken away")
            }
            Self::Part => ("part", "n, m: decimals, n from 1 to m"),
            Self::Range => ("range", "from, to: decimals, the first not the greater one"),
            Self::Sha256 => ("sha256", "64 lowercase hex digits"),
            Self::Sha512 => ("sha512", "128 lowercase hex digits"),
            Self::Path => {
                ("path", "`/`-separated, relative, no `.`, `..`, empty or NUL parts, within the [limits](limits.md)")
            }
            Self::Paths => ("paths", "a list of paths"),
            Self::PathBytes => ("path bytes", "base64 of such a path that is not UTF-8"),
            Self::MediaType => ("media type", "`type/subtype`"),
            Self::Encoding => ("encoding", "`age/1`"),
            Self::Moment => (
                "moment",
                "value, precision, zone, source: `YYYY-MM-DDTHH:MM:SS`; a word such as `second`; `Z`, `+01:00` or `none`; a line",
            ),
            Self::Device => ("device", "make, model, serial: lines"),
            Self::Place => ("place", "latitude, longitude, datum, source: decimal degrees, then lines"),
            Self::Derivation => {
                ("derivation", "method, tool, version, operator: lines; then `yes` or `no`: the full original is kept")
            }
            Self::Gaps => ("gaps", "`\"offset-length\"`, …, ascending, inside the item"),
            Self::Time => ("time", "`YYYY-MM-DDTHH:MM:SSZ`"),
        }
    }

    /// Its name in docs/spec/records.md.
    pub const fn name(self) -> &'static str {
        self.told().0
    }

    /// What fits it, as docs/spec/records.md says it.
    pub const fn what(self) -> &'static str {
        self.told().1
    }

    /// Whether a value that is not null fits, for a field with these words or types of records.
    fn fits(self, value: &Value, of: &[&str]) -> bool {
        match self {
            Self::Type => value.as_str().is_some(),
            Self::Line | Self::Code => text(value, is_line),
            Self::Text => text(value, |text| !text.is_empty()),
            Self::Lines | Self::Codes => list(value, is_line),
            Self::Word => text(value, |text| of.contains(&text)),
            Self::Decimal => text(value, |text| decimal(text).is_some()),
            Self::Number => text(value, is_number),
            Self::Offset => text(value, is_offset),
            Self::Part => strings(value, |[n, m]| ascend(n, m) && n != "0"),
            Self::Range => strings(value, |[from, to]| ascend(from, to)),
            Self::Sha256 => text(value, |text| Hash::from_hex(text).is_some()),
            Self::Sha512 => text(value, |text| from_hex::<64>(text).is_some()),
            Self::Path => text(value, is_path),
            Self::Paths => list(value, is_path),
            Self::PathBytes => text(value, is_path_bytes),
            Self::MediaType => text(value, is_media_type),
            Self::Encoding => text(value, |text| text == "age/1"),
            Self::Moment => strings(value, |[value, precision, zone, source]| {
                Time::parse(&format!("{value}Z")).is_some()
                    && Word::parse(precision).is_ok()
                    && is_zone(zone)
                    && is_line(source)
            }),
            Self::Device => strings(value, |parts: [&str; 3]| parts.into_iter().all(is_line)),
            Self::Place => strings(value, |[latitude, longitude, datum, source]| {
                is_degrees(latitude, 90) && is_degrees(longitude, 180) && is_line(datum) && is_line(source)
            }),
            Self::Derivation => strings(value, |[method, tool, version, operator, kept]| {
                [method, tool, version, operator].into_iter().all(is_line) && ["yes", "no"].contains(&kept)
            }),
            Self::Gaps => list(value, |text| gap(text).is_some()),
            Self::Time => text(value, |text| Time::parse(text).is_some()),
        }
    }
}

impl Field {
    /// What fits it, in words: its grammar, the words or types that are given for it, and whether it may be null.
    pub fn expects(&self) -> String {
        let grammar = match self.grammar {
            Grammar::Word => format!("one of {}", self.of.join(", ")),
            Grammar::Code | Grammar::Codes if self.of == ["*"] => format!("{} of any record", self.grammar.name()),
            Grammar::Code | Grammar::Codes => format!("{} of {}", self.grammar.name(), self.of.join(", ")),
            grammar => grammar.name().to_owned(),
        };
        if self.needed == Needed::Always { grammar } else { format!("{grammar}; or null") }
    }

    /// Whether its codes may name records of this type.
    pub fn may_name(&self, record_type: &str) -> bool {
        self.of == ["*"] || self.of.contains(&record_type)
    }

    /// Whether a value may stand in it.
    pub fn fits(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.needed == Needed::No,
            value => self.grammar.fits(value, self.of),
        }
    }
}

impl Record {
    /// Checks what must not be sealed otherwise: the type, the number of fields, the grammar of each, and what hangs
    /// together in a file's record.
    ///
    /// # Errors
    /// [`Malformed`], naming the field. The caller's fault; nothing is sealed.
    ///
    /// # Standard
    /// docs/spec/records.md, "Fields".
    pub fn check(&self) -> Result<(), Malformed> {
        let found = self.type_name().unwrap_or("no type");
        let known = schema(found).ok_or_else(|| Malformed::new("record", "type", "a type of the standard", found))?;
        if self.0.len() != known.fields.len() {
            let expected = format!("{} fields", known.fields.len());
            return Err(Malformed::new(known.name, "", expected, self.0.len().to_string()));
        }
        known.fields.iter().zip(&self.0).try_for_each(|(field, value)| check_field(known, field, value))?;
        if *known == FILE { check_file(self) } else { Ok(()) }
    }
}

fn check_field(known: &RecordType, field: &Field, value: &Value) -> Result<(), Malformed> {
    let printed = crate::json::print_compact(&value.to_json());
    let wrong = |expected: &str| Err(Malformed::new(known.name, field.name, expected, &printed));
    match value {
        _ if printed.len() > limits::VALUE_BYTES => wrong("at most 64 KiB"),
        value if field.fits(value) => Ok(()),
        _ => wrong(&field.expects()),
    }
}

/// One path, midstates for the size, gaps inside it, an inside with an encoding.
fn check_file(record: &Record) -> Result<(), Malformed> {
    let value = |field: &str| record.field(&FILE, field).unwrap_or(&Value::Null);
    let is_null = |field: &str| *value(field) == Value::Null;
    let text = |field: &str| value(field).as_str().unwrap_or_default();
    let wrong = |field: &str, expected: &str| Err(Malformed::new(FILE.name, field, expected, text(field)));
    if is_null("path") == is_null("path_b64") {
        return wrong("path", "either path or path_b64");
    }
    let size = decimal(text("size")).unwrap_or_default();
    if size > limits::ITEM_BYTES {
        return wrong("size", "at most 16 TiB");
    }
    let none = empty_root().to_string();
    if (midstate_count(size) == 0) != (text("midstates") == none) {
        return wrong("midstates", "the root over as many midstates as whole MiB");
    }
    if (size == 0) != (text("sha256") == none) {
        return wrong("sha256", "the SHA-256 of as many bytes");
    }
    if is_null("encoding") != is_null("inner_size") || is_null("encoding") != is_null("inner_sha256") {
        return wrong("inner_sha256", "inner size and digest with an encoding, and only with one");
    }
    let gaps: Vec<(u64, u64)> =
        value("gaps").as_list().unwrap_or_default().iter().filter_map(|text| gap(text)).collect();
    let ascend = gaps.windows(2).all(|pair| matches!(pair, [(one, length), (next, _)] if one + length <= *next));
    if !ascend || gaps.last().is_some_and(|(offset, length)| offset + length > size) {
        return wrong("gaps", "gaps that ascend inside the item");
    }
    Ok(())
}

fn text(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(fits)
}

fn list(value: &Value, fits: impl Fn(&str) -> bool) -> bool {
    value.as_list().is_some_and(|list| list.len() <= LIST_STRINGS && list.iter().all(|text| fits(text)))
}

/// A list of exactly so many strings.
fn strings<const N: usize>(value: &Value, fits: impl Fn([&str; N]) -> bool) -> bool {
    let parts: Option<Vec<&str>> = value.as_list().map(|list| list.iter().map(String::as_str).collect());
    parts.and_then(|parts| <[&str; N]>::try_from(parts).ok()).is_some_and(fits)
}

/// One line that a person can read: no control character in it.
fn is_line(text: &str) -> bool {
    let chars = text.chars().count();
    (1..=LINE_CHARS).contains(&chars) && !text.chars().any(char::is_control)
}

fn is_path(text: &str) -> bool {
    check_path(text.as_bytes()).is_ok()
}

fn is_path_bytes(text: &str) -> bool {
    from_b64(text).is_some_and(|path| check_path(&path).is_ok() && std::str::from_utf8(&path).is_err())
}

fn is_media_type(text: &str) -> bool {
    let part = |part: &str| (1..=127).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_graphic() && c != b'/');
    text.split_once('/').is_some_and(|(kind, name)| part(kind) && part(name))
}

/// `Z`, an offset such as `+01:00`, or `none` where nothing is said of it.
fn is_zone(text: &str) -> bool {
    text == "none" || zone_seconds(text).is_some()
}

fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|c| c.is_ascii_digit());
    is_fraction && decimal(whole).is_some()
}

fn is_offset(text: &str) -> bool {
    text != "-0" && decimal(text.strip_prefix('-').unwrap_or(text)).is_some_and(|seconds| seconds < 10_000_000_000)
}

/// Two decimals, the first not the greater one.
fn ascend(one: &str, other: &str) -> bool {
    matches!((decimal(one), decimal(other)), (Some(one), Some(other)) if one <= other)
}

/// Decimal degrees within bounds, such as `-13.4`.
fn is_degrees(text: &str, most: u64) -> bool {
    let (whole, fraction) =
        text.strip_prefix('-').unwrap_or(text).split_once('.').unwrap_or((text.trim_start_matches('-'), "0"));
    let is_digits = (1..=20).contains(&fraction.len()) && fraction.bytes().all(|c| c.is_ascii_digit());
    let is_zero = fraction.bytes().all(|c| c == b'0');
    is_digits && decimal(whole).is_some_and(|whole| whole < most || (whole == most && is_zero))
}

/// `offset-length`, the length at least 1, both within an item.
fn gap(text: &str) -> Option<(u64, u64)> {
    let (offset, length) = text.split_once('-')?;
    let (offset, length) = (decimal(offset)?, decimal(length)?);
    (length > 0 && offset.checked_add(length)? <= limits::ITEM_BYTES).then_some((offset, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{PHOTO, REMAINS};

    #[test]
    fn values_fit_or_are_refused() {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = |texts: &[&str]| Value::List(texts.iter().map(|text| (*text).to_owned()).collect());
        for (field, good, bad) in [
            (
                "captured",
                list(&["2026-11-12T11:02:00", "second", "none", "EXIF"]),
                list(&["2026-11-12T11:02:00Z", "second", "none", "EXIF"]),
            ),
            (
                "captured",
                list(&["2026-11-12T11:02:00", "second", "+01:00", "EXIF"]),
                list(&["2026-11-12T11:02:00", "second", "+24:00", "EXIF"]),
            ),
            ("place", list(&["-52.5", "180.0", "WGS84", "GNSS"]), list(&["90.1", "0", "WGS84", "GNSS"])),
            ("device", list(&["Example", "D-1", "0815"]), list(&["Example", "D-1"])),
            (
                "derivation",
                list(&["excerpt", "tool", "1", "O-1", "yes"]),
                list(&["excerpt", "tool", "1", "O-1", "maybe"]),
            ),
            ("gaps", list(&["0-512", "1024-512"]), list(&["0-0"])),
            ("gaps", list(&["0-512", "1024-512"]), list(&["0-1025", "1024-1"])),
            ("gaps", Value::Null, list(&["1048000-1000000"])),
            ("media_type", text("image/jpeg"), text("image")),
            ("modified", text("2026-11-12T11:02:00Z"), text("2026-11-12")),
            ("notes", text("two\nlines"), text("")),
            ("operator", text("O-1"), text("O\n1")),
            ("aliases", list(&[]), text("alias")),
            ("encoding", Value::Null, text("gzip")),
            ("sha512", Value::Null, text("00")),
        ] {
            let record = |value: Value| {
                let hex = Hash::of(b"x").to_string();
                let mut record = Record::of(
                    &FILE,
                    "C-1",
                    [
                        ("path", text("a/b")),
                        ("size", text("1048576")),
                        ("sha256", text(&hex)),
                        ("midstates", text(&hex)),
                    ],
                );
                let place = FILE.position(field).unwrap();
                record.0[place] = value;
                record
            };
            record(good).check().unwrap();
            assert!(record(bad.clone()).check().is_err(), "{field}: {bad:?}");
        }
    }

    #[test]
    fn words_codes_and_numbers_fit_or_are_refused() {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = |texts: &[&str]| Value::List(texts.iter().map(|text| (*text).to_owned()).collect());
        let remains = |field: &'static str, value: Value| {
            let needed = [("parents", list(&["GL02"])), ("class", text("body")), (field, value)];
            Record::of(&REMAINS, "GL02-018", needed).check()
        };
        for (field, good, bad) in [
            ("class", text("body-part"), text("person")),
            ("class", text("absent"), Value::Null),
            ("parents", list(&["GL02", "GL02-017"]), Value::Null),
            ("mni", text("2"), text("1.5")),
            ("bag", list(&["1", "3"]), list(&["0", "3"])),
            ("bag", list(&["3", "3"]), list(&["4", "3"])),
            ("bag", Value::Null, text("1 of 3")),
        ] {
            remains(field, good).unwrap();
            let refused = remains(field, bad.clone()).unwrap_err();
            assert!(refused.to_string().contains(field), "{field}: {bad:?}: {refused}");
        }
        let photo = |offset: &str| {
            let fields = [("frame", text("0001")), ("kind", text("photo")), ("clock_offset_s", text(offset))];
            Record::of(&PHOTO, "P-1", fields).check()
        };
        ["0", "-3612", "86400"].into_iter().for_each(|good| photo(good).unwrap());
        ["-0", "+5", "1.5", "00"].into_iter().for_each(|bad| assert!(photo(bad).is_err(), "{bad}"));
        assert!(["0", "0.5", "12.125"].into_iter().all(is_number));
        assert!(!["-1", "1.", ".5", "01", "1e3", "1,5"].into_iter().any(is_number));
    }

    #[test]
    fn what_hangs_together_in_a_file_is_checked() {
        let (none, some) = (empty_root().to_string(), Hash::of(b"x").to_string());
        let check = |path: Option<&str>, raw: Option<&str>, size: &str, sha256: &str, midstates: &str| {
            let text = |text: &str| Value::Text(text.to_owned());
            Record::of(
                &FILE,
                "C-1",
                [
                    ("path", Value::optional(path)),
                    ("path_b64", Value::optional(raw)),
                    ("size", text(size)),
                    ("sha256", text(sha256)),
                    ("midstates", text(midstates)),
                ],
            )
            .check()
        };
        check(Some("a"), None, "0", &none, &none).unwrap();
        check(None, Some("Yf8="), "5", &some, &none).unwrap();
        check(Some("a"), None, "1048576", &some, &some).unwrap();
        for bad in [
            check(None, None, "5", &some, &none),
            check(Some("a"), Some("Yf8="), "5", &some, &none),
            check(Some("../a"), None, "5", &some, &none),
            check(None, Some("YQ=="), "5", &some, &none),
            check(Some("a"), None, "5", &none, &none),
            check(Some("a"), None, "0", &some, &none),
            check(Some("a"), None, "5", &some, &some),
            check(Some("a"), None, "1048576", &some, &none),
            check(Some("a"), None, "17592186044417", &some, &some),
        ] {
            assert!(bad.is_err());
        }
    }
}
