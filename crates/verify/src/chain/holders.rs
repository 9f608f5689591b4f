//! Who held what: one lane for each custodian and each set of records with one history.

use std::collections::{HashMap, HashSet};

use super::entry::Entry;
use super::{ChainCode, ChainFinding, Holding};

/// What a lane has of one set of records.
pub(super) struct Lane<'a> {
    custodian: &'a str,
    items: &'a [String],
    now: Option<Now<'a>>,
    /// Persons who held it before.
    past: HashSet<&'a str>,
    holdings: Vec<Holding>,
    findings: Vec<ChainFinding>,
}

/// Who has it now.
struct Now<'a> {
    who: Who<'a>,
    since: &'a Entry,
}

#[derive(Clone, Copy, PartialEq)]
enum Who<'a> {
    /// The authority itself: whoever gives it away does so for the authority.
    Authority,
    /// A person; none where the annex that names the person is withheld.
    Person(Option<&'a str>),
    /// It is not told, and that is declared.
    Withheld,
    /// Nobody: it is lost.
    Nobody,
    /// It was destroyed.
    Gone,
}

impl<'a> Lane<'a> {
    pub(super) fn of(custodian: &'a str, items: &'a [String]) -> Self {
        Self { custodian, items, now: None, past: HashSet::new(), holdings: Vec::new(), findings: Vec::new() }
    }

    /// Takes the next line, in the order in which it is said to have happened.
    pub(super) fn take(&mut self, entry: &'a Entry) {
        match (entry.kind.as_str(), entry.action.as_deref()) {
            ("seal" | "receipt", _) if self.now.is_none() => self.pass(Who::Authority, entry),
            (_, Some("hand-over" | "return")) => {
                if let Some(giver) = entry.person("giver") {
                    self.check_giver(giver, entry);
                }
                self.refuse_nobody(entry);
                self.pass(Who::Person(entry.person("receiver")), entry);
            }
            (_, Some("lose")) => self.pass(Who::Nobody, entry),
            (_, Some("find")) => {
                self.refuse_nobody(entry);
                self.pass(Who::Authority, entry);
            }
            (_, Some("destroy")) => self.pass(Who::Gone, entry),
            (_, Some("withheld-segment")) => {
                let holder = entry.codes.iter().find(|(name, _)| name == "holder").map_or("somebody", |(_, it)| it);
                let detail = format!("{holder} knows it{}", because(entry.detail("purpose")));
                self.find(ChainCode::WithheldSegment, Some(entry), None, entry, detail);
                self.pass(Who::Withheld, entry);
            }
            _ => {}
        }
    }

    /// What the lane came to.
    pub(super) fn end(mut self) -> (Vec<Holding>, Vec<ChainFinding>) {
        if let Some(Now { who: Who::Nobody, since }) = self.now {
            self.find(ChainCode::Gap, Some(since), None, since, "it is missing, and was not found again".to_owned());
        }
        self.close(None);
        (self.holdings, self.findings)
    }

    /// Whoever gives it away is whoever had it.
    fn check_giver(&mut self, giver: &str, entry: &'a Entry) {
        let Some(Now { who: Who::Person(Some(holder)), since }) = self.now else { return };
        if holder == giver {
            return;
        }
        if self.past.contains(giver) {
            let detail =
                format!("{giver} gave it to {holder} before, and gives it away again: both are said to have it");
            self.find(ChainCode::Overlap, Some(since), Some(entry), entry, detail);
        } else {
            let detail = format!(
                "{holder} had it last, and {giver} gives it away: how it went from one to the other is not told"
            );
            self.find(ChainCode::Gap, Some(since), Some(entry), entry, detail);
        }
    }

    /// Something that is lost or destroyed is in nobody's hands.
    fn refuse_nobody(&mut self, entry: &'a Entry) {
        match self.now {
            Some(Now { who: Who::Nobody, since }) => {
                self.find(ChainCode::Gap, Some(since), Some(entry), entry, "it was missing meanwhile".to_owned());
            }
            Some(Now { who: Who::Gone, since }) => {
                self.find(ChainCode::Gap, Some(since), Some(entry), entry, "it was said to be destroyed".to_owned());
            }
            _ => {}
        }
    }

    fn pass(&mut self, who: Who<'a>, entry: &'a Entry) {
        self.close(Some(entry));
        self.now = Some(Now { who, since: entry });
    }

    fn close(&mut self, end: Option<&'a Entry>) {
        let Some(Now { who, since }) = self.now.take() else { return };
        let holder = match who {
            Who::Authority => "the authority".to_owned(),
            Who::Person(Some(name)) => {
                self.past.insert(name);
                name.to_owned()
            }
            Who::Person(None) => "a person whose name is withheld".to_owned(),
            Who::Withheld => "withheld".to_owned(),
            Who::Nobody => "nobody: it is missing".to_owned(),
            Who::Gone => return,
        };
        self.holdings.push(Holding {
            items: self.items.to_vec(),
            custodian: Some(self.custodian.to_owned()),
            holder,
            from: since.when(),
            until: end.map(Entry::when),
            at: (since.at(), end.map(Entry::at)),
        });
    }

    fn find(&mut self, code: ChainCode, from: Option<&Entry>, until: Option<&Entry>, shows: &Entry, detail: String) {
        self.findings.push(ChainFinding {
            from: from.map(Entry::when),
            until: until.map(Entry::when),
            code,
            items: self.items.to_vec(),
            place: shows.place(),
            detail,
            at: from.map(|from| (from.at(), until.map(Entry::at))),
        });
    }
}

/// Hand-overs between persons that one side alone signed: two officers sign one statement, or the other side's own statement answers it.
pub(super) fn one_sided<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Vec<ChainFinding> {
    let is_one = |entry: &&Entry| entry.is("hand-over") || entry.is("return");
    let given: HashMap<&str, &Entry> =
        entries.clone().filter(is_one).map(|entry| (entry.digest.as_str(), entry)).collect();
    let answered: HashSet<&str> = entries
        .clone()
        .filter(is_one)
        .filter_map(|entry| Some((entry, *given.get(entry.in_reply_to.as_deref()?)?)))
        .filter(|(entry, answers)| entry.custodian != answers.custodian || entry.officers != answers.officers)
        .flat_map(|(entry, answers)| [entry.digest.as_str(), answers.digest.as_str()])
        .collect();
    entries
        .filter(is_one)
        .filter(|entry| entry.officers.len() < 2 && !answered.contains(entry.digest.as_str()))
        .map(|entry| {
            let signed = entry.officers.first().map_or("nobody", String::as_str);
            let why: Vec<&str> =
                entry.details.iter().filter(|(about, _)| about == "unsigned").map(|(_, why)| why.as_str()).collect();
            let why = if why.is_empty() { "why the other side did not is not told".to_owned() } else { why.join("; ") };
            entry.shows(ChainCode::OneSidedHandover, format!("{signed} alone signed; {why}"))
        })
        .collect()
}

fn because(why: Option<&str>) -> String {
    why.map_or_else(String::new, |why| format!("; {why}"))
}
