//! The custody chain of a package, or of one of its records: who had it from when to when, what was done, and every place where that
//! is not whole, under a name (docs/operate/custody.md, "The chain").
//!
//! It is drawn from statements that were verified, and says what they say. What is told and not proven is told as such: an event's own
//! time is its source's word, a person's name that of whoever wrote the annex.

mod drawing;
mod entry;
mod holders;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use custodia_format::body::Body;
use custodia_format::ranges::{Items, Range};
use custodia_format::record::Value;
use custodia_format::text::escape_untrusted;
use serde::Serialize;

use crate::case::Case;
use crate::finding::FindingCode;

pub use entry::{BagSeal, Entry, Person, Told};
use holders::Lane;

/// Sets of records with different histories that are told apart; the rest is told together.
const CLASSES_MOST: usize = 1000;

/// What is not whole in a chain of custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainCode {
    /// From one holder to the next nothing is told, or something was lost, or statements are missing.
    Gap,
    /// Two are said to have held it at one time.
    Overlap,
    /// A hand-over that one side alone signed.
    OneSidedHandover,
    /// Something is told of a time after it was written down, or a later statement claims an earlier time.
    InvertedClock,
    /// A bag seal was not found as it was put on.
    BrokenSeal,
    /// A part of the chain is known, and lawfully withheld.
    WithheldSegment,
}

impl ChainCode {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Gap,
        Self::Overlap,
        Self::OneSidedHandover,
        Self::InvertedClock,
        Self::BrokenSeal,
        Self::WithheldSegment,
    ];

    /// Its text, such as `broken-seal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Overlap => "overlap",
            Self::OneSidedHandover => "one-sided-handover",
            Self::InvertedClock => "inverted-clock",
            Self::BrokenSeal => "broken-seal",
            Self::WithheldSegment => "withheld-segment",
        }
    }
}

/// One place where a chain is not whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChainFinding {
    /// From when, as told; none where that is not told.
    pub from: Option<String>,
    /// Until when; none where that is not told, or it goes on.
    pub until: Option<String>,
    /// What it is.
    pub code: ChainCode,
    /// Which records: ranges, or `all`.
    pub items: Vec<String>,
    /// Which statement shows it, by the beginning of its digest.
    pub place: String,
    /// What was expected and found.
    pub detail: String,
    /// Seconds since 1970 of both ends, for a drawing; none where they are not told.
    #[serde(skip)]
    pub(crate) at: Option<(i64, Option<i64>)>,
}

/// Who had something for a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holding {
    /// Which records: ranges, or `all`.
    pub items: Vec<String>,
    /// In whose custody, as `authority/node`; none before the seal.
    pub custodian: Option<String>,
    /// Who held it.
    pub holder: String,
    /// From when, as told.
    pub from: String,
    /// Until when; none: as far as the statements go.
    pub until: Option<String>,
    /// Seconds since 1970 of both, for a drawing.
    #[serde(skip)]
    pub(crate) at: (i64, Option<i64>),
}

/// A chain of custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Chain {
    /// The package, as the root of its manifest.
    pub package: String,
    /// The record, where it is the chain of one.
    pub item: Option<u64>,
    /// Records of the package.
    pub records: u64,
    /// What was done, in the order in which it is said to have happened.
    pub entries: Vec<Entry>,
    /// Who had it.
    pub holdings: Vec<Holding>,
    /// Where that is not whole.
    pub findings: Vec<ChainFinding>,
}

impl Chain {
    /// Draws it from what was verified; none when the package itself is not known.
    pub(crate) fn of(case: &Case<'_>, item: Option<u64>) -> Option<Self> {
        let package = case.package?;
        let about = |items: Option<&Items>| match (items, item) {
            (Some(items), Some(record)) => items.contains(record),
            _ => true,
        };
        let mut told: Vec<(Entry, Items)> = case
            .signed_bodies()
            .filter(|(shown, ..)| shown.is_on(&package))
            .filter_map(|(shown, statement, body)| {
                let items = match body {
                    Body::Event(event) => Some(&event.items),
                    Body::Release(release) => Some(&release.items),
                    Body::Receipt(receipt) => Some(&receipt.items),
                    Body::Acceptance(acceptance) => Some(&acceptance.items),
                    Body::Refusal(refusal) => Some(&refusal.items),
                    _ => None,
                };
                let entry = about(items).then(|| Entry::of(case, shown, statement, body))?;
                Some((entry, items.cloned().unwrap_or(Items::All)))
            })
            .collect();
        told.sort_by(|(one, _), (other, _)| one.order().cmp(&other.order()));

        let mut findings: BTreeSet<ChainFinding> = of_report(case).collect();
        let known: HashSet<String> = case.bag_seals.iter().cloned().collect();
        findings.extend(entry::clocks(told.iter().map(|(entry, _)| entry)));
        findings.extend(entry::bag_seals(told.iter().map(|(entry, _)| entry), known));
        findings.extend(holders::one_sided(told.iter().map(|(entry, _)| entry)));
        let mut holdings: Vec<Holding> = before_the_seal(case, &told).into_iter().collect();
        let mut in_lanes = Vec::new();
        for (items, entries) in classes(&told, item, package.records) {
            let mut by_custodian: BTreeMap<&str, Lane<'_>> = BTreeMap::new();
            for entry in entries {
                by_custodian.entry(&entry.custodian).or_insert_with(|| Lane::of(&entry.custodian, &items)).take(entry);
            }
            for lane in by_custodian.into_values() {
                let (held, found) = lane.end();
                holdings.extend(held);
                in_lanes.extend(found);
            }
        }
        findings.extend(together(in_lanes, package.records, |finding| &mut finding.items));
        let mut holdings = together(holdings, package.records, |holding| &mut holding.items);
        holdings.sort_by(|one, other| one.at.cmp(&other.at).then_with(|| one.cmp(other)));
        Some(Self {
            package: package.root.to_string(),
            item,
            records: package.records,
            entries: told.into_iter().map(|(entry, _)| entry).collect(),
            holdings,
            findings: findings.into_iter().collect(),
        })
    }
}

/// What the verifier found in the chains of statements, under the names that a chain of custody has for it.
fn of_report<'a>(case: &'a Case<'_>) -> impl Iterator<Item = ChainFinding> + 'a {
    case.findings.iter().filter_map(|finding| {
        let code = match finding.code {
            FindingCode::UndeclaredGap => ChainCode::Gap,
            FindingCode::OneSidedHandover => ChainCode::OneSidedHandover,
            FindingCode::ClockInverted => ChainCode::InvertedClock,
            FindingCode::DeclaredWithheld => ChainCode::WithheldSegment,
            _ => return None,
        };
        let items = vec!["all".to_owned()];
        let (place, detail) = (finding.place.clone(), finding.detail.clone());
        Some(ChainFinding { from: None, until: None, code, items, place, detail, at: None })
    })
}

/// Before the seal there is the package's own word.
fn before_the_seal(case: &Case<'_>, told: &[(Entry, Items)]) -> Option<Holding> {
    let record = case.package_record.as_ref()?;
    let (seal, _) = told.iter().find(|(entry, _)| entry.kind == "seal")?;
    let [value, precision, zone, source] = record.field("collected")?.as_list()? else { return None };
    let collected = Told::of(value, precision, zone, source);
    let collectors = record.field("collectors").map(Value::texts).unwrap_or_default();
    let who = if collectors.is_empty() { "not told".to_owned() } else { collectors.join(", ") };
    Some(Holding {
        items: vec!["all".to_owned()],
        custodian: None,
        holder: format!("{} (by the package's own record)", escape_untrusted(&who)),
        from: collected.to_string(),
        until: Some(seal.recorded_at.clone()),
        at: (collected.span()?.0, Some(seal.recorded)),
    })
}

/// What is the same of several sets of records, told once of all of them.
fn together<T: Ord + Clone>(all: Vec<T>, records: u64, items: impl Fn(&mut T) -> &mut Vec<String>) -> Vec<T> {
    let mut by_what: BTreeMap<T, Vec<String>> = BTreeMap::new();
    for mut one in all {
        let of = std::mem::take(items(&mut one));
        by_what.entry(one).or_default().extend(of);
    }
    by_what
        .into_iter()
        .map(|(mut one, of)| {
            let mut spans: Vec<Range> = of.iter().filter_map(|text| Range::parse(text).ok()).collect();
            spans.sort_by_key(|range| range.first);
            let mut joined: Vec<Range> = Vec::new();
            for span in spans {
                match joined.last_mut() {
                    Some(last) if span.first <= last.last + 1 => last.last = last.last.max(span.last),
                    _ => joined.push(span),
                }
            }
            let is_whole =
                of.iter().any(|text| text == "all") || joined.iter().map(Range::count).sum::<u64>() == records;
            let told = || joined.iter().map(Range::to_string).collect();
            *items(&mut one) = if is_whole { vec!["all".to_owned()] } else { told() };
            one
        })
        .collect()
}

/// Records with one history, each set with what was done to it. A record's number is in one set.
fn classes<'a>(told: &'a [(Entry, Items)], item: Option<u64>, records: u64) -> Vec<(Vec<String>, Vec<&'a Entry>)> {
    let all = || told.iter().map(|(entry, _)| entry).collect();
    if let Some(record) = item {
        return vec![(vec![record.to_string()], all())];
    }
    // Where something begins or ends to be meant.
    let mut edges: BTreeSet<u64> = BTreeSet::from([0]);
    for (_, items) in told {
        let Items::Some(ranges) = items else { continue };
        edges.extend(ranges.as_slice().iter().flat_map(|range| [range.first, range.last + 1]));
    }
    edges.retain(|edge| *edge < records);
    let mut opens: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut closes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, (_, items)) in told.iter().enumerate() {
        if let Items::Some(ranges) = items {
            for range in ranges.as_slice() {
                opens.entry(range.first).or_default().push(number);
                closes.entry(range.last + 1).or_default().push(number);
            }
        }
    }
    let mut meant: BTreeSet<usize> = BTreeSet::new();
    let mut sets: BTreeMap<Vec<usize>, Vec<(u64, u64)>> = BTreeMap::new();
    let ends = edges.iter().skip(1).copied().chain([records]);
    for (first, end) in edges.iter().copied().zip(ends) {
        let ended: BTreeSet<usize> = closes.get(&first).into_iter().flatten().copied().collect();
        meant.retain(|number| !ended.contains(number));
        meant.extend(opens.get(&first).into_iter().flatten());
        sets.entry(meant.iter().copied().collect()).or_default().push((first, end));
        if sets.len() > CLASSES_MOST {
            return vec![(vec!["all".to_owned()], all())];
        }
    }
    sets.into_iter()
        .map(|(numbers, spans)| {
            let of_set = |(number, (entry, items)): (usize, &'a (Entry, Items))| {
                (*items == Items::All || numbers.binary_search(&number).is_ok()).then_some(entry)
            };
            let entries = told.iter().enumerate().filter_map(of_set).collect();
            let range = |(first, end): &(u64, u64)| Range { first: *first, last: end - 1 }.to_string();
            let items = spans.iter().map(range).collect();
            (items, entries)
        })
        .collect()
}
