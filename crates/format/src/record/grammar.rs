//! The grammar of every field, which a sealing node enforces (docs/spec/records.md, "Fields").
//!
//! Readers take any value: what was sealed otherwise still closes. What is refused here is only sealing it.

use super::{FILE, Record, RecordType, Value, check_path, schema};
use crate::error::Malformed;
use crate::midstate::midstate_count;
use crate::text::{Time, Word, decimal, from_b64, from_hex};
use crate::{Hash, limits};
use custodia_merkle::empty_root;

/// Characters of a line.
const LINE_CHARS: usize = 4096;
/// Strings in a list of lines or gaps.
const LIST_STRINGS: usize = 10_000;

/// A grammar: its name in docs/spec/records.md, and whether a value fits it.
type Grammar = (&'static str, fn(&Value) -> bool);

const TYPE: Grammar = ("type", |value| value.as_str().is_some());
const LINE: Grammar = ("line", |value| text(value, is_line));
const TEXT: Grammar = ("text", |value| text(value, |text| !text.is_empty()));
const LINES: Grammar = ("lines", |value| list(value, is_line));
const DECIMAL: Grammar = ("decimal", |value| text(value, |text| decimal(text).is_some()));
const SHA256: Grammar = ("sha256", |value| text(value, |text| Hash::from_hex(text).is_some()));
const SHA512: Grammar = ("sha512", |value| text(value, |text| from_hex::<64>(text).is_some()));
const PATH: Grammar = ("path", |value| text(value, |text| check_path(text.as_bytes()).is_ok()));
const PATH_BYTES: Grammar = ("path bytes", |value| text(value, is_path_bytes));
const MEDIA_TYPE: Grammar = ("media type", |value| text(value, is_media_type));
const ENCODING: Grammar = ("encoding", |value| text(value, |text| text == "age/1"));
const MOMENT: Grammar = ("moment", |value| {
    strings(value, |[value, precision, zone, source]| {
        Time::parse(&format!("{value}Z")).is_some()
            && Word::parse(precision).is_ok()
            && is_zone(zone)
            && is_line(source)
    })
});
const DEVICE: Grammar = ("device", |value| strings(value, |parts: [&str; 3]| parts.into_iter().all(is_line)));
const PLACE: Grammar = ("place", |value| {
    strings(value, |[latitude, longitude, datum, source]| {
        is_degrees(latitude, 90) && is_degrees(longitude, 180) && is_line(datum) && is_line(source)
    })
});
const DERIVATION: Grammar = ("derivation", |value| {
    strings(value, |[method, tool, version, operator, kept]| {
        [method, tool, version, operator].into_iter().all(is_line) && ["yes", "no"].contains(&kept)
    })
});
const GAPS: Grammar = ("gaps", |value| list(value, |text| gap(text).is_some()));
const TIME: Grammar = ("time", |value| text(value, |text| Time::parse(text).is_some()));

/// Whether a field may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Null {
    Allowed,
    Never,
}

/// What a field of a standard type may hold; none for fields that no type has.
fn of_field(field: &str) -> Option<(Grammar, Null)> {
    Some(match field {
        "type" => (TYPE, Null::Never),
        "code" => (LINE, Null::Never),
        "size" => (DECIMAL, Null::Never),
        "sha256" | "midstates" => (SHA256, Null::Never),
        "case" | "title" | "originator" | "program" | "operator" | "name" | "office" | "about" => (LINE, Null::Allowed),
        "summary" | "mandate" | "readback" | "notes" | "contact" | "value" => (TEXT, Null::Allowed),
        "collectors" | "findings" | "aliases" | "foreign_digests" | "parents" => (LINES, Null::Allowed),
        "path" => (PATH, Null::Allowed),
        "path_b64" => (PATH_BYTES, Null::Allowed),
        "sha512" => (SHA512, Null::Allowed),
        "media_type" => (MEDIA_TYPE, Null::Allowed),
        "encoding" => (ENCODING, Null::Allowed),
        "inner_size" => (DECIMAL, Null::Allowed),
        "inner_sha256" => (SHA256, Null::Allowed),
        "captured" | "collected" => (MOMENT, Null::Allowed),
        "device" => (DEVICE, Null::Allowed),
        "place" => (PLACE, Null::Allowed),
        "derivation" => (DERIVATION, Null::Allowed),
        "gaps" => (GAPS, Null::Allowed),
        "modified" => (TIME, Null::Allowed),
        _ => return None,
    })
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

fn check_field(known: &RecordType, field: &str, value: &Value) -> Result<(), Malformed> {
    let printed = crate::json::print_compact(&value.to_json());
    let wrong = |expected: &str| Malformed::new(known.name, field, expected, &printed);
    let ((name, fits), null) = of_field(field).ok_or_else(|| wrong("a field with a grammar"))?;
    if printed.len() > limits::VALUE_BYTES {
        return Err(wrong("at most 64 KiB"));
    }
    let is_good = match value {
        Value::Null => null == Null::Allowed,
        value => fits(value),
    };
    if is_good { Ok(()) } else { Err(wrong(name)) }
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

fn is_path_bytes(text: &str) -> bool {
    from_b64(text).is_some_and(|path| check_path(&path).is_ok() && std::str::from_utf8(&path).is_err())
}

fn is_media_type(text: &str) -> bool {
    let part = |part: &str| (1..=127).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_graphic() && c != b'/');
    text.split_once('/').is_some_and(|(kind, name)| part(kind) && part(name))
}

/// `Z`, an offset such as `+01:00`, or `none` where nothing is said of it.
fn is_zone(text: &str) -> bool {
    let two = |text: &str, most: u64| {
        text.len() == 2 && decimal(text.strip_prefix('0').unwrap_or(text)).is_some_and(|n| n <= most)
    };
    let offset = text.strip_prefix(['+', '-']).and_then(|text| text.split_once(':'));
    ["Z", "none"].contains(&text) || offset.is_some_and(|(hours, minutes)| two(hours, 23) && two(minutes, 59))
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
    use crate::record::{DETAIL, PACKAGE, PERSON};

    #[test]
    fn every_field_has_a_grammar_and_the_page_tells_it() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/records.md"));
        for known in [PACKAGE, FILE, PERSON, DETAIL] {
            let section = page.split(&format!("### `{}`", known.name)).nth(1).unwrap();
            let rows: Vec<Vec<&str>> = section
                .lines()
                .skip_while(|line| !line.starts_with("| `type`"))
                .take_while(|line| line.starts_with('|'))
                .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
                .collect();
            let named: Vec<&str> = rows.iter().map(|row| row[0]).collect();
            assert_eq!(named, known.fields);
            for row in rows {
                let ((name, _), null) = of_field(row[0]).unwrap();
                let told = if null == Null::Allowed { format!("{name} or null") } else { name.to_owned() };
                assert_eq!(row[1], told, "{} of {}", row[0], known.name);
            }
        }
    }

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
