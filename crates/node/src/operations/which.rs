//! Which records somebody means.

use custodia_format::ranges::Range;
use custodia_format::record::{FILE, Record, STANDARD, Value};

/// What people call records by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// Their numbers: `7`, `3-7`.
    Numbers(Range),
    /// All of a type: `photo`, `photo/1`.
    Type(&'static str),
    /// A code, or a file's sealed path.
    Name(String),
}

impl Which {
    /// Reads it. Whatever is no number and no type is a name.
    pub(super) fn parse(text: &str) -> Self {
        let named = |name: &str| name == text || name.split_once('/').is_some_and(|(short, _)| short == text);
        match (Range::parse(text), STANDARD.iter().find(|known| named(known.name))) {
            (Ok(range), _) => Self::Numbers(range),
            (_, Some(known)) => Self::Type(known.name),
            _ => Self::Name(text.to_owned()),
        }
    }

    /// Whether this record is meant.
    pub(super) fn is(&self, number: u64, record: &Record) -> bool {
        match self {
            Self::Numbers(range) => (range.first..=range.last).contains(&number),
            Self::Type(name) => record.type_name() == Some(name),
            Self::Name(name) => {
                let path = record.field(&FILE, "path").and_then(Value::as_str);
                [record.code(), path].contains(&Some(name))
            }
        }
    }

    /// The record number that it ends with, where it names numbers.
    pub(super) fn last(&self) -> Option<u64> {
        if let Self::Numbers(range) = self { Some(range.last) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_a_type_and_a_name() {
        let record = Record::of(&FILE, "KV-12", [("path", Value::Text("day 1/a.jpg".to_owned()))]);
        for (text, is) in [
            ("7", true),
            ("3-9", true),
            ("8", false),
            ("file", true),
            ("file/1", true),
            ("photo", false),
            ("KV-12", true),
            ("day 1/a.jpg", true),
            ("KV-1", false),
        ] {
            assert_eq!(Which::parse(text).is(7, &record), is, "{text}");
        }
    }
}
