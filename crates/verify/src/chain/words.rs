//! A chain in words: what is not whole first, then who had it, then what was done.

use std::fmt::Write;

use super::{Chain, ChainFinding, Entry, Holding};

/// Findings and holdings that are listed.
const LISTED: usize = 1000;

impl Chain {
    /// The chain for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let package = self.package.get(..16).unwrap_or(&self.package);
        let of = self.item.map_or_else(|| "all records".to_owned(), |item| format!("record {item}"));
        let mut text = format!("Chain of custody of package {package}, {of}\n");
        match self.findings.len() {
            0 => text.push_str("\nNothing is found that is not whole.\n"),
            many => {
                let _ = writeln!(text, "\nNot whole: {many}");
            }
        }
        self.findings.iter().take(LISTED).for_each(|finding| text.push_str(&finding_text(finding)));
        more(&mut text, self.findings.len());
        text.push_str("\nWho had it\n");
        self.holdings.iter().take(LISTED).for_each(|holding| text.push_str(&holding_text(holding)));
        more(&mut text, self.holdings.len());
        if self.entries.iter().all(|entry| entry.kind != "seal") {
            text.push_str("  Before the first statement that is shown: not told.\n");
        }
        text.push_str("\nWhat was done\n");
        for (number, entry) in (1..).zip(&self.entries) {
            text.push_str(&entry_text(number, entry));
        }
        text.push_str(
            "\nA time is its source's word; proven is only the window in which a statement came to be. Names are those that an \
             authority wrote down.\n",
        );
        text
    }
}

fn more(text: &mut String, all: usize) {
    if all > LISTED {
        let _ = writeln!(text, "  … and {} more", all - LISTED);
    }
}

fn finding_text(finding: &ChainFinding) -> String {
    let when = match (&finding.from, &finding.until) {
        (None, None) => String::new(),
        (Some(from), None) => format!("  {from}"),
        (from, Some(until)) => format!("  {} to {until}", from.as_deref().unwrap_or("not told")),
    };
    format!(
        "  [{}]{when}\n       {}: {} ({})\n",
        finding.code.as_str(),
        finding.place,
        finding.detail,
        records(&finding.items)
    )
}

fn holding_text(holding: &Holding) -> String {
    let until = holding.until.as_deref().unwrap_or("as far as it is shown");
    let custodian = holding.custodian.as_deref().unwrap_or("before the seal");
    format!("  {} to {until}\n       {}  {} ({})\n", holding.from, custodian, holding.holder, records(&holding.items))
}

fn entry_text(number: usize, entry: &Entry) -> String {
    let what = entry.action.as_deref().unwrap_or(&entry.kind);
    let to = entry.recipient.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
    let mut text =
        format!("{number:>4}. {}  {what}{to}  ({})  {}\n", entry.when(), records(&entry.items), entry.custodian);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "      {name:<12} {value}");
    };
    if let Some(told) = &entry.told {
        let source = if told.source == "not told" { "by whose clock is not told" } else { &told.source };
        line("told", &format!("to the {}; {source}", told.precision));
        line("written down", &entry.recorded_at);
    }
    line("came to be", &window(entry));
    if !entry.officers.is_empty() {
        line("signed by", &entry.officers.join(", "));
    }
    entry.persons.iter().for_each(|person| line(&person.role, &person.name));
    entry.bag_seals.iter().for_each(|seal| line("bag seal", &format!("{} {}", seal.number, seal.state)));
    entry.details.iter().chain(&entry.codes).for_each(|(name, value)| line(name, value));
    if entry.is_annex_withheld {
        line("annex", "withheld: persons, places and reasons are not shown");
    }
    line("statement", entry.digest.get(..16).unwrap_or(&entry.digest));
    text
}

/// Between which two times a statement came to be.
pub(super) fn window(entry: &Entry) -> String {
    let bound = |bound: &Option<crate::Bound>| {
        bound.as_ref().map_or_else(|| "not bounded".to_owned(), |bound| format!("{} by {}", bound.time, bound.by))
    };
    match (&entry.interval.lower, &entry.interval.upper) {
        (None, None) => "not bounded by anybody else's clock".to_owned(),
        (lower, upper) => format!("after {}, before {}", bound(lower), bound(upper)),
    }
}

fn records(items: &[String]) -> String {
    match items {
        [all] if all == "all" => "all records".to_owned(),
        [one] if !one.contains('-') => format!("record {one}"),
        few if few.len() <= 8 => format!("records {}", few.join(", ")),
        many => format!("records {}, … {} ranges", many.get(..8).unwrap_or_default().join(", "), many.len()),
    }
}
