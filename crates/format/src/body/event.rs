//! `event`: who did what to which items, when, on whose clock (docs/spec/bodies.md).

use super::values::{Take, Text, items_json};
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::ranges::Items;
use crate::text::{Code, Word};

/// One custody event. Places and persons are in the statement's annex, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done, such as `transport`.
    pub action: Word,
    /// To which records.
    pub items: Items,
    /// When, as the source said it.
    pub time: Option<EventTime>,
    /// What belongs to the action, at most 100.
    pub codes: Vec<NamedValue>,
}

/// A time as its source gave it: never converted, for the conversion would be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTime {
    /// The time as it was read.
    pub value: Text,
    /// How exact it is, such as `minute`.
    pub precision: Word,
    /// Its zone, such as `+01:00`.
    pub zone: Code,
    /// Whose clock it was.
    pub source: Text,
}

/// A code of an action and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedValue {
    /// The code, such as `container`.
    pub name: Word,
    /// Its value.
    pub value: Text,
}

impl EventTime {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            value: members.text("value")?,
            precision: members.word("precision")?,
            zone: members.code("zone")?,
            source: members.text("source")?,
        };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([
            ("value", Json::string(&self.value)),
            ("precision", Json::string(&self.precision)),
            ("zone", Json::string(&self.zone)),
            ("source", Json::string(&self.source)),
        ])
    }
}

impl NamedValue {
    /// The most of them in one event.
    pub const MOST: usize = 100;

    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { name: members.word("name")?, value: members.text("value")? };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("name", Json::string(&self.name)), ("value", Json::string(&self.value))])
    }
}

impl Event {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            action: members.word("action")?,
            items: members.items("items")?,
            time: members.optional_object("time")?.map(EventTime::read).transpose()?,
            codes: members.objects("codes", 0, NamedValue::MOST, NamedValue::read)?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("action", Json::string(&self.action)),
            ("items", items_json(&self.items)),
            ("time", self.time.as_ref().map_or(Json::Null, EventTime::json)),
            ("codes", Json::Array(self.codes.iter().map(NamedValue::json).collect())),
        ])
    }
}
