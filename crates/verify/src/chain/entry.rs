//! One line of a chain: a statement, as a form of custody has it.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use custodia_format::body::{Body, Event};
use custodia_format::moment;
use custodia_format::ranges::Items;
use custodia_format::record::{DETAIL, PERSON, Value};
use custodia_format::statement::Statement;
use custodia_format::text::{Time, escape_untrusted};
use serde::Serialize;

use super::{ChainCode, ChainFinding};
use crate::case::{Case, Shown};
use crate::interval::Interval;

/// Seconds by which a clock may be wrong before that is said.
const CLOCK_SECONDS: i64 = 3600;
/// Hours by which a time without a zone may lie elsewhere: from UTC-12 to UTC+14.
const ZONES_SECONDS: (i64, i64) = (14 * 3600, 12 * 3600);

/// When something is said to have happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// As its source says it.
    pub value: String,
    /// How exact that is: `day`, `minute`.
    pub precision: String,
    /// Its zone; `none` where it has none.
    pub zone: String,
    /// On whose clock, or by whose word.
    pub source: String,
    #[serde(skip)]
    span: Option<(i64, i64)>,
}

impl Told {
    pub(crate) fn of(value: &str, precision: &str, zone: &str, source: &str) -> Self {
        let is_told = zone != "none";
        let read = moment::read(&if is_told { format!("{value}{zone}") } else { value.to_owned() })
            .or_else(|_| moment::read(value));
        let at =
            read.ok().and_then(|read| read.unix().or_else(|| Some(Time::parse(&format!("{}Z", read.value))?.unix())));
        let seconds = match precision {
            "year" => 366 * 86_400,
            "month" => 31 * 86_400,
            "day" => 86_400,
            "minute" => 60,
            _ => 1,
        };
        let (before, after) = if is_told { (0, 0) } else { ZONES_SECONDS };
        Self {
            value: escape_untrusted(value),
            precision: escape_untrusted(precision),
            zone: escape_untrusted(zone),
            source: escape_untrusted(source),
            span: at.map(|at| (at - before, at + seconds - 1 + after)),
        }
    }

    /// The earliest and the latest that it can mean, in seconds since 1970; none where it cannot be read.
    pub(super) const fn span(&self) -> Option<(i64, i64)> {
        self.span
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was filled in to make a whole time of it is not told.
        let chars = match self.precision.as_str() {
            "year" => 4,
            "month" => 7,
            "day" => 10,
            "minute" => 16,
            _ => usize::MAX,
        };
        let value = self.value.get(..chars.min(self.value.len())).unwrap_or(&self.value);
        match self.zone.as_str() {
            "none" => write!(f, "{value} (no zone told)"),
            "Z" => write!(f, "{value}Z"),
            zone => write!(f, "{value} {zone}"),
        }
    }
}

/// Somebody who took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// As what: `giver`, `receiver`, `witness`.
    pub role: String,
    /// Who.
    pub name: String,
}

/// A bag seal, as it was found or put on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BagSeal {
    /// Its number.
    pub number: String,
    /// How it was found; `new` where it was put on.
    pub state: String,
}

/// A line of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The statement's digest.
    pub digest: String,
    /// Which statement it answers or corrects.
    pub in_reply_to: Option<String>,
    /// The statement's kind.
    pub kind: String,
    /// What was done, where it is an event.
    pub action: Option<String>,
    /// To whom, where it is a release.
    pub recipient: Option<String>,
    /// Which records: ranges, or `all`.
    pub items: Vec<String>,
    /// In whose ledger it stands, as `authority/node`.
    pub custodian: String,
    /// Its number in that chain.
    pub sequence: Option<u64>,
    /// When it is said to have happened; none: when it was written down.
    pub told: Option<Told>,
    /// When it was written down, by the issuer's clock: a claim.
    pub recorded_at: String,
    /// The same in seconds since 1970.
    #[serde(skip)]
    pub(crate) recorded: i64,
    /// Between which two times the statement came to be, by the clocks of others.
    pub interval: Interval,
    /// The officers who signed.
    pub officers: Vec<String>,
    /// Who took part, as far as the annex is shown.
    pub persons: Vec<Person>,
    /// Where, why, on which order, and what else the annex tells: name and text.
    pub details: Vec<(String, String)>,
    /// Whether there is an annex that is not shown.
    pub is_annex_withheld: bool,
    /// Bag seals.
    pub bag_seals: Vec<BagSeal>,
    /// What else belongs to it: name and value.
    pub codes: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn of(case: &Case<'_>, shown: &Shown, statement: &Statement, body: &Body) -> Self {
        let head = &statement.head;
        let signed = shown.signed.iter().flat_map(|signed| signed.get());
        let annex = head.annex.as_ref().map(|annex| case.annexes.get(&annex.root));
        let mut entry = Self {
            digest: shown.digest.to_string(),
            in_reply_to: head.in_reply_to.map(|digest| digest.to_string()),
            kind: head.kind.to_string(),
            action: None,
            recipient: None,
            items: vec!["all".to_owned()],
            custodian: head.ledger.custodian(),
            sequence: head.sequence,
            told: None,
            recorded_at: head.issued_at.to_string(),
            recorded: head.issued_at.unix(),
            interval: shown.interval.clone(),
            officers: signed
                .filter_map(|by| by.pseudonym.as_deref())
                .map(escape_untrusted)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            persons: Vec::new(),
            details: Vec::new(),
            is_annex_withheld: annex.is_some_and(|annex| annex.is_none()),
            bag_seals: Vec::new(),
            codes: Vec::new(),
        };
        for record in annex.flatten().into_iter().flatten() {
            let text = |field| record.field(field).and_then(Value::as_str).unwrap_or_default();
            match record.type_name() {
                Some(name) if name == PERSON.name => {
                    let (role, name) = (escape_untrusted(text("code")), escape_untrusted(text("name")));
                    entry.persons.push(Person { role, name });
                }
                Some(name) if name == DETAIL.name => {
                    entry.details.push((escape_untrusted(text("about")), escape_untrusted(text("value"))));
                }
                _ => {}
            }
        }
        match body {
            Body::Event(event) => entry.take_event(event),
            Body::Release(release) => {
                entry.recipient = Some(release.recipient.ledger.custodian());
                entry.items = ranges(&release.items);
            }
            Body::Receipt(receipt) => entry.items = ranges(&receipt.items),
            Body::Refusal(refusal) => entry.items = ranges(&refusal.items),
            Body::Acceptance(acceptance) => {
                entry.items = ranges(&acceptance.items);
                let seal = |seal: &custodia_format::body::BagSeal| BagSeal {
                    number: escape_untrusted(seal.number.as_str()),
                    state: seal.state.to_string(),
                };
                entry.bag_seals = acceptance.seals.iter().map(seal).collect();
            }
            _ => {}
        }
        entry
    }

    fn take_event(&mut self, event: &Event) {
        self.action = Some(event.action.to_string());
        self.items = ranges(&event.items);
        self.told = event.time.as_ref().map(|time| {
            Told::of(time.value.as_str(), time.precision.as_str(), time.zone.as_str(), time.source.as_str())
        });
        for code in &event.codes {
            let (name, value) = (code.name.to_string(), code.value.as_str());
            match value.rsplit_once(' ') {
                Some((number, state)) if name == "bag-seal" => {
                    self.bag_seals.push(BagSeal { number: escape_untrusted(number), state: escape_untrusted(state) })
                }
                _ => self.codes.push((name, escape_untrusted(value))),
            }
        }
    }

    /// Whether this was done.
    pub(super) fn is(&self, action: &str) -> bool {
        self.action.as_deref() == Some(action)
    }

    /// Who took part as this.
    pub(super) fn person(&self, role: &str) -> Option<&str> {
        self.persons.iter().find(|person| person.role == role).map(|person| person.name.as_str())
    }

    /// What the annex tells of this.
    pub(super) fn detail(&self, about: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| known == about).map(|(_, text)| text.as_str())
    }

    /// When it happened, as it is told.
    pub(super) fn when(&self) -> String {
        self.told.as_ref().map_or_else(|| self.recorded_at.clone(), ToString::to_string)
    }

    /// The same in seconds since 1970: of the earliest that it can mean, and when it was written down where that cannot be read.
    pub(super) fn at(&self) -> i64 {
        let told = self.told.as_ref().and_then(Told::span);
        told.map_or(self.recorded, |(earliest, _)| earliest)
    }

    /// What comes before what: by the time told, then as it was written down.
    pub(super) fn order(&self) -> (i64, i64, &str, Option<u64>) {
        (self.at(), self.recorded, &self.custodian, self.sequence)
    }

    /// How findings name it.
    pub(super) fn place(&self) -> String {
        let what = self.action.as_deref().unwrap_or(&self.kind);
        format!("{what} {}", self.digest.get(..16).unwrap_or(&self.digest))
    }

    /// A finding that this line shows.
    pub(super) fn shows(&self, code: ChainCode, detail: impl Into<String>) -> ChainFinding {
        ChainFinding {
            from: Some(self.when()),
            until: None,
            code,
            items: self.items.clone(),
            place: self.place(),
            detail: detail.into(),
            at: Some((self.at(), Some(self.at()))),
        }
    }
}

fn ranges(items: &Items) -> Vec<String> {
    match items {
        Items::All => vec!["all".to_owned()],
        Items::Some(ranges) => ranges.as_slice().iter().map(ToString::to_string).collect(),
    }
}

/// What is told of a time after it was written down.
pub(super) fn clocks<'a>(entries: impl Iterator<Item = &'a Entry> + 'a) -> impl Iterator<Item = ChainFinding> + 'a {
    entries.filter_map(|entry| {
        let (earliest, _) = entry.told.as_ref()?.span()?;
        (earliest > entry.recorded.saturating_add(CLOCK_SECONDS)).then(|| {
            entry.shows(ChainCode::InvertedClock, format!("it was written down before, at {}", entry.recorded_at))
        })
    })
}

/// Bag seals that were not found as they were put on. `known` are the numbers that records name.
pub(super) fn bag_seals<'a>(entries: impl Iterator<Item = &'a Entry>, mut known: HashSet<String>) -> Vec<ChainFinding> {
    let mut found = Vec::new();
    for entry in entries {
        for seal in &entry.bag_seals {
            let number = &seal.number;
            match seal.state.as_str() {
                "new" => drop(known.insert(number.clone())),
                "intact" if known.is_empty() || known.contains(number) => {}
                "intact" => {
                    let detail = format!("no bag seal of the number {number} was put on before");
                    found.push(entry.shows(ChainCode::BrokenSeal, detail));
                }
                state => found.push(entry.shows(ChainCode::BrokenSeal, format!("bag seal {number}: {state}"))),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_wide_as_it_is_told() {
        let width = |told: &Told| told.span().map(|(earliest, latest)| latest - earliest);
        let day = Told::of("2026-06-02T00:00:00", "day", "+02:00", "a watch");
        assert_eq!(width(&day), Some(86_399));
        let minute = Told::of("2026-06-02 10:15", "minute", "none", "a watch");
        assert_eq!(width(&minute), Some(59 + 26 * 3600));
        assert_eq!(width(&Told::of("in spring", "season", "none", "hearsay")), None);
        assert_eq!(
            (day.to_string(), minute.to_string()),
            ("2026-06-02 +02:00".to_owned(), "2026-06-02 10:15 (no zone told)".to_owned())
        );
    }
}
