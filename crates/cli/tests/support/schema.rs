//! As much of JSON Schema (2020-12) as docs/spec/events.schema.json uses. A keyword that is not checked here is refused, so that
//! nothing in the schema looks enforced and is not.

#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

pub struct Schema(Value);

impl Schema {
    /// The one that is published.
    pub fn of_events() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/events.schema.json");
        let schema = Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
        assert_eq!(schema.0["$schema"], "https://json-schema.org/draft/2020-12/schema");
        schema
    }

    /// The types of events that it knows.
    pub fn types(&self) -> Vec<String> {
        let all = self.0["oneOf"].as_array().unwrap().iter();
        all.map(|one| self.resolve(one)["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect()
    }

    /// What is wrong with a document; nothing when it fits.
    pub fn faults(&self, document: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.0, document, "", &mut faults);
        faults
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => &self.0["$defs"][name.strip_prefix("#/$defs/").unwrap()],
            None => schema,
        }
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let schema = self.resolve(schema).as_object().unwrap_or_else(|| panic!("{place}: no such schema"));
        let mut wrong = |what: String| faults.push(format!("{place}: {what}, not {value}"));
        for (keyword, wanted) in schema {
            match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "required" | "additionalProperties" => {}
                "const" if wanted != value => wrong(format!("{wanted}")),
                "enum" if !wanted.as_array().unwrap().contains(value) => wrong(format!("one of {wanted}")),
                "type" if !is_of_type(wanted.as_str().unwrap(), value) => wrong(format!("a {wanted}")),
                "minimum" if value.as_i64() < wanted.as_i64() => wrong(format!("at least {wanted}")),
                "maximum" if value.as_i64() > wanted.as_i64() => wrong(format!("at most {wanted}")),
                "minItems" if (value.as_array().map_or(0, Vec::len) as u64) < wanted.as_u64().unwrap() => {
                    wrong(format!("at least {wanted} items"));
                }
                "pattern" if !matches(wanted.as_str().unwrap(), value.as_str().unwrap_or_default()) => {
                    wrong(format!("text like {wanted}"));
                }
                "const" | "enum" | "type" | "minimum" | "maximum" | "minItems" | "pattern" => {}
                "oneOf" | "properties" | "items" => {}
                other => panic!("the schema uses `{other}`, which this check does not know"),
            }
        }
        if let Some(members) = value.as_object() {
            self.check_members(schema, members, place, faults);
        }
        for (n, item) in value.as_array().into_iter().flatten().enumerate() {
            if let Some(items) = schema.get("items") {
                self.check(items, item, &format!("{place}/{n}"), faults);
            }
        }
        if let Some(all) = schema.get("oneOf") {
            let all: Vec<Vec<String>> = all.as_array().unwrap().iter().map(|one| self.faults_of(one, value)).collect();
            if all.iter().filter(|faults| faults.is_empty()).count() != 1 {
                // The nearest is what was meant.
                faults.extend(all.into_iter().min_by_key(Vec::len).unwrap_or_default());
                faults.push(format!("{place}: not exactly one of the types"));
            }
        }
    }

    fn faults_of(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults
    }

    fn check_members(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        place: &str,
        faults: &mut Vec<String>,
    ) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                faults.push(format!("{place}: {name} is missing"));
            }
        }
        let known = schema.get("properties").and_then(Value::as_object);
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, value) in members {
            match known.and_then(|known| known.get(name)) {
                Some(schema) => self.check(schema, value, &format!("{place}/{name}"), faults),
                None if is_closed => faults.push(format!("{place}/{name} is not known")),
                None => {}
            }
        }
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema uses the type `{other}`, which this check does not know"),
    }
}

/// Whether a text is like a pattern of this shape: `^`, then characters or `[classes]`, each as often as `{n}` or `+` says, `$`.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).expect("an anchored pattern");
    let mut rest = text.chars().peekable();
    let mut parts = pattern.chars().peekable();
    while let Some(part) = parts.next() {
        let class: Vec<char> = match part {
            '[' => parts.by_ref().take_while(|char| *char != ']').collect(),
            '\\' => vec![parts.next().unwrap()],
            other => vec![other],
        };
        let (least, most) = match parts.peek() {
            Some('+') => {
                parts.next();
                (1, usize::MAX)
            }
            Some('{') => {
                let count: String = parts.by_ref().skip(1).take_while(|char| *char != '}').collect();
                let count = count.parse().unwrap();
                (count, count)
            }
            _ => (1, 1),
        };
        let mut found = 0;
        while found < most && rest.peek().is_some_and(|char| is_in(&class, *char)) {
            rest.next();
            found += 1;
        }
        if found < least {
            return false;
        }
    }
    rest.next().is_none()
}

/// Whether a class such as `a-z/` holds a character.
fn is_in(class: &[char], char: char) -> bool {
    let mut place = 0;
    while let Some(first) = class.get(place) {
        match (class.get(place + 1), class.get(place + 2)) {
            (Some('-'), Some(last)) => {
                if (*first..=*last).contains(&char) {
                    return true;
                }
                place += 3;
            }
            _ => {
                if *first == char {
                    return true;
                }
                place += 1;
            }
        }
    }
    false
}

#[test]
fn the_check_of_the_schema_finds_what_does_not_fit() {
    let schema = Schema::of_events();
    let good = serde_json::json!({
        "schema": "custodia.event/1", "type": "note", "at": "2026-11-14T13:05:11.204Z", "op": "queue/watch",
        "phase": "send", "note": "A word.",
    });
    assert_eq!(schema.faults(&good), Vec::<String>::new());
    let with = |name: &str, value: Value| {
        let mut bad = good.clone();
        bad[name] = value;
        bad
    };
    for bad in [
        with("type", "rumour".into()),
        with("schema", "custodia.event/2".into()),
        with("at", "2026-11-14T13:05:11Z".into()),
        with("at", "x2026-11-14T13:05:11.204Z".into()),
        with("phase", "nap".into()),
        with("note", 1.into()),
        with("surplus", 1.into()),
        with("package", "9F".into()),
        serde_json::json!({ "schema": "custodia.event/1", "type": "note" }),
        Value::Null,
    ] {
        assert!(!schema.faults(&bad).is_empty(), "{bad} was let through");
    }
}
