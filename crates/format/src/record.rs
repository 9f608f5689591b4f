//! Records: typed rows of a manifest or annex, and what their fields may hold (docs/spec/records.md).
//!
//! A record type has a fixed, ordered list of fields; position decides, never the name. `types` knows the standard's types,
//! `grammar` what a sealing node lets into their fields; a verifier closes unknown types all the same.

mod grammar;
mod types;

pub use grammar::Grammar;
pub use types::*;

use crate::Hash;
use crate::error::Malformed;
use crate::json::{Json, parse_compact, print_compact, quote};
use crate::limits;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// Nothing is said.
    #[default]
    Null,
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl Value {
    /// A text, or nothing.
    pub fn optional(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.into()))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The texts, if it is a list.
    pub fn as_list(&self) -> Option<&[String]> {
        if let Self::List(texts) = self { Some(texts) } else { None }
    }

    /// The text, or the texts of the list; none of nothing.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Null => &[],
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Text(text) => Json::string(text),
            Self::List(texts) => Json::strings(texts),
        }
    }

    /// Prints it as JSON, without whitespace.
    pub(crate) fn print(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Text(value) => quote(value, text),
            Self::List(values) => {
                text.push('[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    quote(value, text);
                }
                text.push(']');
            }
        }
    }

    /// From JSON: null, a string, or an array of strings, at most [`limits::VALUE_BYTES`] when printed.
    ///
    /// # Errors
    /// [`Malformed`] for any other value, or a longer one.
    pub fn from_json(json: Json) -> Result<Self, Malformed> {
        let printed = print_compact(&json).len();
        if printed > limits::VALUE_BYTES {
            let expected = format!("at most {} bytes", limits::VALUE_BYTES);
            return Err(Malformed::new("value", "", expected, printed.to_string()));
        }
        match json {
            Json::Null => Ok(Self::Null),
            Json::String(text) => Ok(Self::Text(text)),
            Json::Array(elements) => elements
                .into_iter()
                .map(|element| match element {
                    Json::String(text) => Ok(text),
                    other => Err(Malformed::new("value", "", "an array of strings", other.kind())),
                })
                .collect::<Result<_, _>>()
                .map(Self::List),
            other => Err(Malformed::new("value", "", "null, a string or an array of strings", other.kind())),
        }
    }
}

/// One record: its values in the order of its type's fields, the first being the type's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(pub Vec<Value>);

impl Record {
    /// A record of a standard type with these fields set; names that the type does not have are ours and a defect.
    pub fn of<const N: usize>(record_type: &RecordType, code: &str, fields: [(&str, Value); N]) -> Self {
        let values = vec![Value::Null; record_type.fields.len()];
        let all = [("type", Value::Text(record_type.name.to_owned())), ("code", Value::Text(code.to_owned()))];
        Self(values).with(record_type, all).with(record_type, fields)
    }

    /// This record with these fields set; names that the type does not have are ours and a defect.
    #[must_use]
    pub fn with<const N: usize>(mut self, record_type: &RecordType, fields: [(&str, Value); N]) -> Self {
        for (name, value) in fields {
            if let Some(place) = record_type.position(name).and_then(|place| self.0.get_mut(place)) {
                *place = value;
            }
        }
        self
    }

    /// The name of its type; none when its first value is no text.
    pub fn type_name(&self) -> Option<&str> {
        self.0.first()?.as_str()
    }

    /// Its code: the value of its second field; none when that is no text.
    pub fn code(&self) -> Option<&str> {
        self.0.get(1)?.as_str()
    }

    /// As a line of a manifest, without its LF: the array of its values.
    pub fn print(&self) -> String {
        let mut text = String::from("[");
        for (place, value) in self.0.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            value.print(&mut text);
        }
        text.push(']');
        text
    }

    /// Reads such a line.
    ///
    /// # Errors
    /// [`Malformed`] when it is no array of values.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let Json::Array(values) = parse_compact("manifest", line.as_bytes())? else {
            return Err(Malformed::new("manifest", "", "an array of values", "another value"));
        };
        values.into_iter().map(Value::from_json).collect::<Result<_, _>>().map(Self)
    }

    /// The value of a field of a standard type.
    pub fn field(&self, record_type: &RecordType, name: &str) -> Option<&Value> {
        if self.type_name() != Some(record_type.name) {
            return None;
        }
        self.0.get(record_type.position(name)?)
    }
}

/// What a `file/1` record commits to about its item's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileItem {
    /// The sealed path, `/`-separated, as raw bytes.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Hash,
    /// The root over their midstates.
    pub midstates: Hash,
}

impl FileItem {
    /// Reads a `file/1` record; none for a record of another type.
    ///
    /// # Errors
    /// [`Malformed`] when a field that ties the record to its bytes is missing or does not fit its grammar.
    pub fn of(record: &Record) -> Result<Option<Self>, Malformed> {
        if record.type_name() != Some(FILE.name) {
            return Ok(None);
        }
        let text = |name: &str| record.field(&FILE, name).and_then(Value::as_str);
        let wrong = |name: &str, expected: &str| {
            Malformed::new("file record", name, expected, text(name).unwrap_or("another value"))
        };
        let hash = |name: &str| text(name).and_then(Hash::from_hex).ok_or_else(|| wrong(name, "64 lowercase hex"));
        let path = match (text("path"), text("path_b64")) {
            (Some(path), None) => path.as_bytes().to_vec(),
            (None, Some(path)) => crate::text::from_b64(path)
                .filter(|path| std::str::from_utf8(path).is_err())
                .ok_or_else(|| wrong("path_b64", "base64 of a path that is not UTF-8"))?,
            _ => return Err(wrong("path", "a path, or path_b64 in its place")),
        };
        check_path(&path)?;
        let size = text("size").and_then(crate::text::decimal).filter(|size| *size <= limits::ITEM_BYTES);
        Ok(Some(Self {
            path,
            size: size.ok_or_else(|| wrong("size", "a decimal of at most 2^44"))?,
            sha256: hash("sha256")?,
            midstates: hash("midstates")?,
        }))
    }
}

/// Checks a sealed path: relative, `/`-separated, no `.`, `..`, empty or NUL parts, within the limits.
///
/// # Errors
/// [`Malformed`], naming what is wrong.
pub fn check_path(path: &[u8]) -> Result<(), Malformed> {
    let wrong = |expected: &str| Malformed::new("path", "", expected, String::from_utf8_lossy(path));
    if path.is_empty() || path.len() > limits::PATH_BYTES {
        return Err(wrong("1 to 4096 bytes"));
    }
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if parts.len() > limits::PATH_DEPTH {
        return Err(wrong("at most 64 parts"));
    }
    for part in parts {
        if part.is_empty() || part == b"." || part == b".." || part.contains(&0) {
            return Err(wrong("a relative path without ., .., empty or NUL parts"));
        }
        if part.len() > limits::PATH_COMPONENT_BYTES {
            return Err(wrong("parts of at most 255 bytes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b c/ü", "...", "a/..b"] {
            check_path(good.as_bytes()).unwrap();
        }
        let deep = "a/".repeat(64) + "a";
        for bad in ["", "/a", "a/", "a//b", "./a", "a/..", "a\0b", &"a".repeat(256), &"ab/".repeat(1400), &deep] {
            assert!(check_path(bad.as_bytes()).is_err(), "{bad:.20}");
        }
    }

    #[test]
    fn a_file_record_says_where_its_bytes_are() {
        let hex = Hash::ZERO.to_string();
        let record = |path, path_b64, size: &str| {
            Record::of(
                &FILE,
                "1",
                [
                    ("path", Value::optional(path)),
                    ("path_b64", Value::optional(path_b64)),
                    ("size", Value::Text(size.to_owned())),
                    ("sha256", Value::Text(hex.clone())),
                    ("midstates", Value::Text(hex.clone())),
                ],
            )
        };
        assert_eq!(FileItem::of(&record(Some("a"), None::<&str>, "7")).unwrap().unwrap().size, 7);
        let raw = crate::text::to_b64(b"a\xff");
        assert_eq!(FileItem::of(&record(None::<&str>, Some(&*raw), "0")).unwrap().unwrap().path, b"a\xff");
        let utf8 = crate::text::to_b64(b"a");
        assert!(FileItem::of(&record(None::<&str>, Some(&*utf8), "0")).is_err());
        assert!(FileItem::of(&record(Some("a"), Some(&*raw), "0")).is_err());
        assert!(FileItem::of(&record(Some("../a"), None, "0")).is_err());
        assert!(FileItem::of(&record(Some("a"), None, "07")).is_err());
        assert_eq!(FileItem::of(&Record::of(&PACKAGE, "1", [])).unwrap(), None);
    }
}
