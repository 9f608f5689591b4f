//! The JSON of signed texts: no numbers, no repeated members, one spelling.
//!
//! Two prints exist. *Exact*: two spaces, one member or element a line, a final LF, what
//! `JSON.stringify(v, null, 2) + "\n"` gives. *Compact*: no whitespace. Strings are escaped as in RFC 8785 §3.2.2.2.
//! A text is taken only if printing what was read gives the same bytes (docs/spec/statement.md, "Payload").

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::error::Malformed;
use crate::limits;

/// A JSON value without numbers. Members keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A string of Unicode scalar values.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; names differ from one another.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A string value.
    pub fn string(text: impl fmt::Display) -> Self {
        Self::String(text.to_string())
    }

    /// A string value, or null.
    pub fn optional(text: Option<impl fmt::Display>) -> Self {
        text.map_or(Self::Null, Self::string)
    }

    /// An array of string values.
    pub fn strings(texts: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        Self::Array(texts.into_iter().map(Self::string).collect())
    }

    /// An object with these members in this order; the names are ours and differ.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    /// What kind of value it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Prints with two spaces, one member or element a line, and a final LF.
pub fn print_exact(value: &Json) -> String {
    printed_exact(value, 0)
}

fn printed_exact(value: &Json, about: usize) -> String {
    let mut text = String::with_capacity(about);
    exact(value, 0, &mut text);
    text.push('\n');
    text
}

/// Prints without whitespace.
pub fn print_compact(value: &Json) -> String {
    printed_compact(value, 0)
}

fn printed_compact(value: &Json, about: usize) -> String {
    let mut text = String::with_capacity(about);
    compact(value, &mut text);
    text
}

/// Reads an exact print.
///
/// # Errors
/// [`Malformed`] for anything that is not UTF-8 JSON, has a number, a repeated member or more than
/// [`limits::JSON_DEPTH`] containers inside one another, or would print otherwise.
pub fn parse_exact(what: &'static str, bytes: &[u8]) -> Result<Json, Malformed> {
    parse(what, bytes, printed_exact)
}

/// Reads a compact print.
///
/// # Errors
/// As [`parse_exact`].
pub fn parse_compact(what: &'static str, bytes: &[u8]) -> Result<Json, Malformed> {
    parse(what, bytes, printed_compact)
}

fn parse(what: &'static str, bytes: &[u8], print: fn(&Json, usize) -> String) -> Result<Json, Malformed> {
    let deep = nesting(bytes);
    if deep > limits::JSON_DEPTH {
        let expected = format!("at most {} containers inside one another", limits::JSON_DEPTH);
        return Err(Malformed::new(what, "nesting", expected, deep.to_string()));
    }
    let value: Json = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Malformed::new(what, place, "strict JSON without numbers", error.to_string())
    })?;
    let printed = print(&value, bytes.len());
    if printed.as_bytes() == bytes {
        return Ok(value);
    }
    let at = printed.bytes().zip(bytes).take_while(|(ours, theirs)| ours == *theirs).count();
    let around = bytes.get(at.saturating_sub(8)..bytes.len().min(at + 24)).unwrap_or_default();
    Err(Malformed::new(what, format!("byte {at}"), "the one spelling of this value", String::from_utf8_lossy(around)))
}

/// The deepest nesting of containers, found without building anything, so that hostile depth costs no stack.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn exact(value: &Json, depth: usize, text: &mut String) {
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push_str("  "));
    };
    match value {
        Json::Array(elements) if !elements.is_empty() => {
            for (place, element) in elements.iter().enumerate() {
                text.push(if place == 0 { '[' } else { ',' });
                line(text, depth + 1);
                exact(element, depth + 1, text);
            }
            line(text, depth);
            text.push(']');
        }
        Json::Object(members) if !members.is_empty() => {
            for (place, (name, member)) in members.iter().enumerate() {
                text.push(if place == 0 { '{' } else { ',' });
                line(text, depth + 1);
                quote(name, text);
                text.push_str(": ");
                exact(member, depth + 1, text);
            }
            line(text, depth);
            text.push('}');
        }
        flat => compact(flat, text),
    }
}

fn compact(value: &Json, text: &mut String) {
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(true) => text.push_str("true"),
        Json::Bool(false) => text.push_str("false"),
        Json::String(string) => quote(string, text),
        Json::Array(elements) => {
            text.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                compact(element, text);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (place, (name, member)) in members.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                quote(name, text);
                text.push(':');
                compact(member, text);
            }
            text.push('}');
        }
    }
}

/// Escapes as RFC 8785 §3.2.2.2: short forms where JSON has them, `\u00xx` for other controls, all else raw.
pub(crate) fn quote(string: &str, text: &mut String) {
    use fmt::Write;
    text.push('"');
    let mut rest = string;
    // What needs no escape is copied in one piece.
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let (plain, from_here) = rest.split_at(at);
        text.push_str(plain);
        let mut chars = from_here.chars();
        match chars.next() {
            Some('"') => text.push_str("\\\""),
            Some('\\') => text.push_str("\\\\"),
            Some('\u{8}') => text.push_str("\\b"),
            Some('\t') => text.push_str("\\t"),
            Some('\n') => text.push_str("\\n"),
            Some('\u{c}') => text.push_str("\\f"),
            Some('\r') => text.push_str("\\r"),
            Some(control) => {
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text.push('"');
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// Members up to which an object is looked through for one of the same name.
const FEW: usize = 16;

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a string, an array or an object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        // Only of objects that have many members: the others are looked through.
        let mut names = std::collections::HashSet::new();
        while let Some((name, member)) = map.next_entry::<String, Json>()? {
            let stands = match members.len() {
                0..FEW => members.iter().any(|(known, _)| *known == name),
                FEW => {
                    names.extend(members.iter().map(|(known, _)| known.clone()));
                    !names.insert(name.clone())
                }
                _ => !names.insert(name.clone()),
            };
            if stands {
                return Err(de::Error::custom(format!("the member {name:?} stands twice")));
            }
            members.push((name, member));
        }
        Ok(Json::Object(members))
    }
}

/// Takes the members of an object in their order, and knows where it stands in the text.
///
/// ```
/// # use custodia_format::json::{parse_compact, Members};
/// let value = parse_compact("example", br#"{"by":"O-17","at":null}"#)?;
/// let mut members = Members::of(value, "example", "order")?;
/// assert_eq!(members.string("by")?, "O-17");
/// assert_eq!(members.optional_string("at")?, None);
/// members.end()?;
/// # Ok::<(), custodia_format::Malformed>(())
/// ```
#[derive(Debug)]
pub struct Members {
    what: &'static str,
    place: String,
    rest: std::vec::IntoIter<(String, Json)>,
}

impl Members {
    /// Opens an object. `what` names the format, `place` where in it the object stands ("" for the outermost).
    ///
    /// # Errors
    /// [`Malformed`] when it is no object.
    pub fn of(value: Json, what: &'static str, place: impl Into<String>) -> Result<Self, Malformed> {
        let place = place.into();
        match value {
            Json::Object(members) => Ok(Self { what, place, rest: members.into_iter() }),
            other => Err(Malformed::new(what, place, "an object", other.kind())),
        }
    }

    /// Takes the next member, which has this name.
    ///
    /// # Errors
    /// [`Malformed`] when another member, or none, comes next.
    pub fn take(&mut self, name: &str) -> Result<Json, Malformed> {
        match self.rest.next() {
            Some((found, value)) if found == name => Ok(value),
            Some((found, _)) => Err(Malformed::new(self.what, &self.place, format!("member {name}"), found)),
            None => Err(Malformed::new(self.what, &self.place, format!("member {name}"), "the end of the object")),
        }
    }

    /// Takes the next member as a string.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member or no string.
    pub fn string(&mut self, name: &str) -> Result<String, Malformed> {
        match self.take(name)? {
            Json::String(text) => Ok(text),
            other => Err(self.wrong(name, "a string", other.kind())),
        }
    }

    /// Takes the next member as a string or null.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member or another value.
    pub fn optional_string(&mut self, name: &str) -> Result<Option<String>, Malformed> {
        match self.take(name)? {
            Json::Null => Ok(None),
            Json::String(text) => Ok(Some(text)),
            other => Err(self.wrong(name, "a string or null", other.kind())),
        }
    }

    /// Takes the next member as a string that `read` understands; `expected` says what that is.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member, no string, or `read` gives none.
    pub fn read<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformed> {
        let text = self.string(name)?;
        read(&text).ok_or_else(|| self.wrong(name, expected, &text))
    }

    /// As [`Members::read`], with null for none.
    ///
    /// # Errors
    /// As [`Members::read`].
    pub fn read_optional<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Malformed> {
        match self.optional_string(name)? {
            None => Ok(None),
            Some(text) => read(&text).map(Some).ok_or_else(|| self.wrong(name, expected, &text)),
        }
    }

    /// Takes the next member as an array with `least` to `most` elements.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member, no array, or has another count.
    pub fn array(&mut self, name: &str, least: usize, most: usize) -> Result<Vec<Json>, Malformed> {
        match self.take(name)? {
            Json::Array(elements) if (least..=most).contains(&elements.len()) => Ok(elements),
            Json::Array(elements) => {
                Err(self.wrong(name, &format!("{least} to {most} elements"), &elements.len().to_string()))
            }
            other => Err(self.wrong(name, "an array", other.kind())),
        }
    }

    /// Takes the next member as a boolean.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member or no boolean.
    pub fn bool(&mut self, name: &str) -> Result<bool, Malformed> {
        match self.take(name)? {
            Json::Bool(value) => Ok(value),
            other => Err(self.wrong(name, "true or false", other.kind())),
        }
    }

    /// Takes the next member as an object.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member or no object.
    pub fn object(&mut self, name: &str) -> Result<Self, Malformed> {
        let value = self.take(name)?;
        Self::of(value, self.what, self.path(name))
    }

    /// Takes the next member as an object or null.
    ///
    /// # Errors
    /// [`Malformed`] when it is another member or another value.
    pub fn optional_object(&mut self, name: &str) -> Result<Option<Self>, Malformed> {
        match self.take(name)? {
            Json::Null => Ok(None),
            value => Self::of(value, self.what, self.path(name)).map(Some),
        }
    }

    /// Ends the object.
    ///
    /// # Errors
    /// [`Malformed`] when a member is left.
    pub fn end(mut self) -> Result<(), Malformed> {
        match self.rest.next() {
            None => Ok(()),
            Some((found, _)) => Err(Malformed::new(self.what, &self.place, "no further member", found)),
        }
    }

    /// A deviation at this member.
    pub fn wrong(&self, name: &str, expected: &str, found: &str) -> Malformed {
        Malformed::new(self.what, self.path(name), expected, found)
    }

    /// Where a member of this object stands: `outer.name`.
    pub fn path(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// The format that is being read.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_print_is_what_json_stringify_prints() {
        let value = Json::object([
            ("a", Json::strings(["x", "y"])),
            ("b", Json::Array(vec![])),
            ("c", Json::object([])),
            ("d", Json::object([("e", Json::Null)])),
            ("f", Json::Bool(true)),
            ("g", Json::string("é\u{7f}\u{2028}\u{1}\n\"\\/")),
        ]);
        let text = print_exact(&value);
        assert_eq!(
            text,
            "{\n  \"a\": [\n    \"x\",\n    \"y\"\n  ],\n  \"b\": [],\n  \"c\": {},\n  \"d\": {\n    \"e\": null\n  },\n  \
             \"f\": true,\n  \"g\": \"é\u{7f}\u{2028}\\u0001\\n\\\"\\\\/\"\n}\n"
        );
        assert_eq!(parse_exact("test", text.as_bytes()).unwrap(), value);
        assert_eq!(parse_compact("test", print_compact(&value).as_bytes()).unwrap(), value);
    }

    #[test]
    fn one_deviation_each_is_refused() {
        for bad in [
            r#"{"a":"1","a":"2"}"#,
            r#"{"a":1}"#,
            r#"[1.0]"#,
            r#"[-0]"#,
            r#"[1e400]"#,
            r#"[NaN]"#,
            r#"["\u0061"]"#,
            r#"["\/"]"#,
            r#"["\ud800"]"#,
            r#"["a" ]"#,
            r#"["a"]x"#,
            r#"["a",]"#,
            "['a']",
            "\u{feff}[]",
            "[] ",
            "",
            r#"["\u000A"]"#,
            r#"["\u001F"]"#,
            "[/**/]",
            "[\"\u{1}\"]",
        ] {
            assert!(parse_compact("test", bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse_compact("test", b"[\"\xff\"]").is_err());
        assert!(parse_compact("test", b"[\"\xed\xa0\x80\"]").is_err());
    }

    #[test]
    fn a_member_that_stands_twice_is_found_in_small_objects_and_in_large_ones() {
        let object = |names: &mut dyn Iterator<Item = usize>| {
            let members: Vec<String> = names.map(|n| format!("\"m{n}\":null")).collect();
            format!("{{{}}}", members.join(","))
        };
        for count in [1, FEW - 1, FEW, FEW + 1, 3 * FEW] {
            assert!(parse_compact("test", object(&mut (0..count)).as_bytes()).is_ok(), "{count}");
            for again in [0, count / 2, count - 1] {
                let twice = object(&mut (0..count).chain([again]));
                assert!(parse_compact("test", twice.as_bytes()).is_err(), "{again} after {count}");
            }
        }
    }

    #[test]
    fn depth_is_counted_before_anything_is_built() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse_compact("test", nested(32).as_bytes()).is_ok());
        assert!(parse_compact("test", nested(33).as_bytes()).is_err());
        assert!(parse_compact("test", nested(1_000_000).as_bytes()).is_err());
        assert!(parse_compact("test", br#"["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]"#).is_ok());
    }
}
