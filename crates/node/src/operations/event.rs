//! A custody event: who did what to which items, when, on whose clock. What any later reader may see stands in the statement; persons,
//! places and reasons stand in its annex, where each can be withheld.

mod actions;

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_format::body::{Body, Event as EventBody, EventTime, NamedValue, Text};
use custodia_format::envelope::Envelope;
use custodia_format::key::SigningKey;
use custodia_format::ranges::{Items, Ranges};
use custodia_format::record::{Record, Value};
use custodia_format::statement::Statement;
use custodia_format::text::{Code as CodeText, Word};
use custodia_format::{Hash, Malformed, limits};
use serde::{Deserialize, Serialize};

use super::Decider;
use super::answers::StatementLine;
use super::inbox::line;
use super::which::Which;
use crate::api::{Operation, Reporter};
use crate::author::{self, Draft};
use crate::failure::{Code, Failure};
use crate::{Node, edge, history, keys, packages};
use actions::Need;
pub use actions::{ACTIONS, Action};

/// What a bag seal may have been found to be.
const SEAL_STATES: [&str; 4] = ["intact", "broken", "mismatch", "absent"];
/// Seconds by which an event may be ahead of this clock.
const AHEAD_SECONDS: i64 = 3600;

/// Sign what was done to what is in a package.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// What was done: a word.
    pub action: String,
    /// The package, by a prefix of its id.
    pub package: String,
    /// To what: codes, sealed paths, or ranges of record numbers. Nothing: to all of it.
    pub items: Vec<String>,
    /// When, with its zone where that is known; now, by this machine's clock, when left out.
    pub at: Option<String>,
    /// On whose clock.
    pub at_source: Option<String>,
    /// What belongs to it and any later reader may see: `name=value`.
    pub codes: Vec<String>,
    /// Bag seals as they were found or put on: `number=state`.
    pub bag_seals: Vec<String>,
    /// Who took part, in which role: `role=name`.
    pub persons: Vec<String>,
    /// Who did not sign, and why: `role=why`.
    pub unsigned: Vec<String>,
    /// Where.
    pub place: Option<String>,
    /// Why.
    pub purpose: Option<String>,
    /// On which order, request or consent.
    pub order: Option<String>,
    /// Anything else.
    pub note: Option<String>,
    /// The earlier event that this one corrects.
    pub corrects: Option<String>,
    /// The other side's event that this one answers.
    #[serde(default)]
    pub answers: Option<String>,
    /// A second officer who signs too.
    #[serde(default)]
    pub also: Option<Decider>,
    /// Who decides.
    pub by: Decider,
}

impl Operation for Event {
    const NAME: &'static str = "event";
    type Answer = StatementLine;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<StatementLine, Failure> {
        let root = packages::find(node, &self.package)?;
        let package = author::held_package(node, &root)?;
        let body = EventBody {
            action: Word::parse(&self.action).map_err(|error| told(error, "ACTION"))?,
            items: self.items(node, &root)?,
            time: Some(self.time()?),
            codes: self.codes()?,
        };
        self.needs(&body)?;
        let in_reply_to = match (&self.corrects, &self.answers) {
            (Some(digest), _) => Some(corrected(node, &root, digest)?),
            (None, Some(digest)) => Some(answered(node, &root, digest)?),
            (None, None) => None,
        };
        let records = self.annex()?;

        node.may_sign()?;
        let (pseudonym, officer) = author::officer(node, &self.by)?;
        let also = self.also.as_ref().map(|also| author::officer(node, also)).transpose()?;
        if also.as_ref().is_some_and(|(second, _)| *second == pseudonym) {
            return Err(unusable("One officer cannot sign twice.", "--also", "another officer", pseudonym.as_str()));
        }
        let statement_key = keys::read(node.home(), keys::STATEMENT)?;
        let annex = if records.is_empty() { None } else { Some(packages::store_annex(node.home(), records)?) };
        let _desk = node.desk();
        let draft = Draft {
            in_reply_to,
            package: Some(package),
            annex,
            officer: Some(pseudonym),
            ..Draft::of(Body::Event(body))
        };
        let second = also.as_ref().map(|(_, key)| key);
        let signing: Vec<&SigningKey> = [&statement_key, &officer].into_iter().chain(second).collect();
        let said = author::say(node, draft, &signing)?;
        Ok(line(&author::row(node, &said.digest)?))
    }
}

impl Event {
    /// What must be told of this action is told.
    fn needs(&self, body: &EventBody) -> Result<(), Failure> {
        let Some(action) = actions::action(body.action.as_str()) else { return Ok(()) };
        let has_code = |name: &str| body.codes.iter().any(|code| code.name.as_str() == name);
        let is_told = |need: &&Need| match need {
            Need::Code(name) => has_code(name),
            Need::BagSeal => !self.bag_seals.is_empty(),
            Need::Purpose => self.purpose.is_some(),
            Need::Place => self.place.is_some(),
            Need::Order => self.order.is_some(),
            Need::Person(role) => {
                self.persons.iter().any(|person| person.split_once('=').is_some_and(|(it, _)| it == *role))
            }
        };
        let missing: Vec<String> =
            action.needs.iter().filter(|need| !is_told(need)).map(|need| need.option()).collect();
        if missing.is_empty() && (action.word != "correct" || self.corrects.is_some()) {
            return Ok(());
        }
        let missing = if missing.is_empty() { vec!["--corrects STATEMENT".to_owned()] } else { missing };
        Err(Failure::new(Code::Usage, format!("More must be told of this action: {}", action.what))
            .at(action.word)
            .instead_of(missing.join(", "), "nothing")
            .safe("Nothing was signed.")
            .next(format!("custodia event {} PACKAGE with what is missing", action.word)))
    }

    /// Which records it is about.
    fn items(&self, node: &Node, root: &Hash) -> Result<Items, Failure> {
        if self.items.is_empty() {
            return Ok(Items::All);
        }
        let mut meant: Vec<(Which, bool)> = self.items.iter().map(|item| (Which::parse(item), false)).collect();
        let mut numbers = Vec::new();
        let mut count = 0;
        packages::records_of(node.home(), root, |number, record| {
            count = number + 1;
            for (_, is_met) in meant.iter_mut().filter(|(which, _)| which.is(number, &record)) {
                *is_met = true;
                numbers.push(number);
            }
            Ok(())
        })?;
        let is_wrong = |(which, is_met): &(Which, bool)| !is_met || which.last().is_some_and(|last| last >= count);
        if let Some(item) = meant.iter().position(is_wrong).and_then(|at| self.items.get(at)) {
            return Err(Failure::new(Code::UnknownRecord, "This package has no such record.")
                .at("--item")
                .instead_of(format!("a code, a sealed path, a type, or record numbers below {count}"), item)
                .safe("Nothing was signed.")
                .next("custodia records list PACKAGE"));
        }
        let ranges = Ranges::gather(numbers);
        match ranges.as_slice().len() {
            0..=limits::RANGES => Ok(Items::Some(ranges)),
            many => Err(Failure::new(Code::Usage, "One event speaks of too many separate records.")
                .at("--item")
                .instead_of(format!("at most {} ranges", limits::RANGES), many.to_string())
                .safe("Nothing was signed.")
                .next("sign several events")),
        }
    }

    /// When it was: as its source says it, never converted.
    fn time(&self) -> Result<EventTime, Failure> {
        let text = |text: &str| Text::parse(text).map_err(|error| told(error, "--at"));
        let Some(at) = self.at.as_deref() else {
            return Ok(by_this_clock(self.at_source.as_deref().map(text).transpose()?)?);
        };
        let wrong = |expected: String| unusable("This cannot be read as a time.", "--at", expected, at);
        let moment = custodia_format::moment::read(at).map_err(wrong)?;
        let zone = moment.zone.as_deref().unwrap_or("none");
        if moment.unix().is_some_and(|seconds| seconds > edge::now().unix() + AHEAD_SECONDS) {
            return Err(wrong("a time that is over, by this machine's clock".to_owned()));
        }
        Ok(EventTime {
            value: text(&moment.told)?,
            precision: Word::parse(moment.precision)?,
            zone: CodeText::parse(zone).map_err(|error| told(error, "--at"))?,
            source: text(self.at_source.as_deref().unwrap_or("not told"))?,
        })
    }

    fn codes(&self) -> Result<Vec<NamedValue>, Failure> {
        let mut codes = Vec::new();
        for (name, value) in pairs("--code", &self.codes)? {
            codes.push(NamedValue {
                name: Word::parse(name).map_err(|error| told(error, "--code"))?,
                value: Text::parse(value).map_err(|error| told(error, "--code"))?,
            });
        }
        for (number, state) in pairs("--bag-seal", &self.bag_seals)? {
            let is_new = self.action == "reseal" && state == "new";
            if !is_new && !SEAL_STATES.contains(&state) {
                let states = format!("one of {}, or new where something is sealed anew", SEAL_STATES.join(", "));
                return Err(unusable("This is no state of a bag seal.", "--bag-seal", states, state));
            }
            let value = Text::parse(&format!("{number} {state}")).map_err(|error| told(error, "--bag-seal"))?;
            codes.push(NamedValue { name: Word::parse("bag-seal")?, value });
        }
        Ok(codes)
    }

    /// What may have to be withheld.
    fn annex(&self) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        for (role, name) in pairs("--person", &self.persons)? {
            records.push(packages::person(role, name));
        }
        for (who, why) in pairs("--unsigned", &self.unsigned)? {
            records.push(packages::detail("unsigned", &format!("{who}: {why}")));
        }
        for (about, value) in
            [("place", &self.place), ("purpose", &self.purpose), ("order", &self.order), ("note", &self.note)]
        {
            records.extend(value.as_deref().map(|value| packages::detail(about, value)));
        }
        records.sort_by(|one, other| {
            one.0.iter().take(2).map(Value::as_str).cmp(other.0.iter().take(2).map(Value::as_str))
        });
        Ok(records)
    }
}

/// This moment, by this machine's clock or by whatever is said to be the source.
pub(super) fn by_this_clock(source: Option<Text>) -> Result<EventTime, Malformed> {
    let now = edge::now().to_string();
    Ok(EventTime {
        value: Text::parse(now.trim_end_matches('Z'))?,
        precision: Word::parse("second")?,
        zone: CodeText::parse("Z")?,
        source: source.map_or_else(|| Text::parse("this machine's clock"), Ok)?,
    })
}

/// `name=value`, each.
fn pairs<'a>(option: &str, all: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let pair = |text: &'a String| {
        let pair = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        pair.filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| unusable("Something is missing here.", option, "NAME=VALUE", text))
    };
    all.iter().map(pair).collect()
}

/// The event that is corrected: one of ours on this package.
fn corrected(node: &Node, root: &Hash, digest: &str) -> Result<Hash, Failure> {
    let event = author::own_named(node, root, digest, |kind| kind == "event")?;
    event.map(|row| row.digest).ok_or_else(|| {
        Failure::new(Code::UnknownStatement, "No event of this node on this package is named by this.")
            .at("--corrects")
            .instead_of("the first 8 or more characters of an event's digest", digest)
            .safe("Nothing was signed.")
            .next("custodia show PACKAGE")
    })
}

/// The event of another authority on this package, as it came with a hand-over.
fn answered(node: &Node, root: &Hash, digest: &str) -> Result<Hash, Failure> {
    let mut found = BTreeSet::new();
    for proof in history::of_package(node, root)? {
        for statement in proof.statements.iter().filter(|it| it.digest.to_string().starts_with(digest)) {
            let Some(envelope) = &statement.envelope else { continue };
            let said = Statement::parse(&Envelope::parse(envelope.as_bytes())?)?;
            if matches!(said.body, Body::Event(_)) {
                found.insert(statement.digest);
            }
        }
    }
    match found.iter().collect::<Vec<_>>()[..] {
        [one] if digest.len() >= packages::PREFIX_CHARS => Ok(*one),
        _ => Err(Failure::new(Code::UnknownStatement, "No event that came with this package is named by this.")
            .at("--answers")
            .instead_of("the first 8 or more characters of the digest of an event of whoever handed it over", digest)
            .safe("Nothing was signed.")
            .next("custodia chain PACKAGE")),
    }
}

/// An option that says something that cannot be used.
fn unusable(what: &str, option: &str, expected: impl Into<String>, found: &str) -> Failure {
    Failure::new(Code::Usage, what)
        .at(option)
        .instead_of(expected, found)
        .safe("Nothing was signed.")
        .next("custodia event --help")
}

fn told(error: Malformed, option: &str) -> Failure {
    Failure::from(error).at(option).safe("Nothing was signed.").next("custodia event --help")
}
