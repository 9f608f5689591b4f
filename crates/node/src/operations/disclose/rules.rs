//! What somebody wants to withhold, as it was asked for, and what that means for each record.

use custodia_format::disclosure::Withheld;
use custodia_format::text::Code as Head;

use super::super::which::Which;
use crate::failure::{Code, Failure};
use crate::redacted::Open;

/// All that was asked for.
#[derive(Debug)]
pub(super) struct Rules {
    withhold: Vec<Rule>,
    /// Records besides which nothing is shown; none: all others are shown.
    only: Vec<Rule>,
    /// The head under which all others are withheld then.
    rest: Option<Head>,
}

#[derive(Debug)]
struct Rule {
    /// As it was asked for.
    told: String,
    head: Option<Head>,
    which: Which,
    /// Names of fields; none for whole records.
    fields: Option<Vec<String>>,
    /// Whether it met anything.
    is_met: bool,
}

impl Rules {
    /// Reads `--withhold HEAD=ITEM[#FIELD,…]`, `--only ITEM` and `--rest HEAD`.
    pub(super) fn read(withhold: &[String], only: &[String], rest: Option<&str>) -> Result<Self, Failure> {
        let rest = rest.map(|rest| head(rest, "--rest")).transpose()?;
        if only.is_empty() != rest.is_none() {
            return Err(unusable("One is of no use without the other.", "--only, --rest", "both or neither", "one"));
        }
        if withhold.is_empty() && only.is_empty() {
            return Err(unusable(
                "Nothing is to be withheld: that is no redacted copy.",
                "--withhold",
                "HEAD=ITEM",
                "nothing",
            )
            .next("custodia prove PACKAGE"));
        }
        Ok(Self {
            withhold: withhold.iter().map(|told| Rule::withhold(told)).collect::<Result<_, _>>()?,
            only: only.iter().map(|told| Rule::of(told, None, told, None)).collect(),
            rest,
        })
    }

    /// What is withheld of a record, and whether only because it is none of those that are to be shown.
    pub(super) fn decide(&mut self, open: &Open<'_>) -> (Withheld, bool) {
        let mut places: Vec<(usize, Head)> = Vec::new();
        for rule in self.withhold.iter_mut().filter(|rule| rule.which.is(open.number, open.record)) {
            let Some(head) = &rule.head else { continue };
            let Some(fields) = &rule.fields else {
                rule.is_met = true;
                return (Withheld::Record(head.clone()), false);
            };
            for field in fields {
                let Some(place) = open.names.iter().position(|name| name == field) else { continue };
                rule.is_met = true;
                if !places.iter().any(|(known, _)| *known == place) {
                    places.push((place, head.clone()));
                }
            }
        }
        let mut is_wanted = self.rest.is_none();
        for rule in self.only.iter_mut().filter(|rule| rule.which.is(open.number, open.record)) {
            rule.is_met = true;
            is_wanted = true;
        }
        match &self.rest {
            Some(rest) if !is_wanted => (Withheld::Record(rest.clone()), true),
            _ if places.is_empty() => (Withheld::Nothing, false),
            _ => {
                places.sort_by_key(|(place, _)| *place);
                (Withheld::Fields(places), false)
            }
        }
    }

    /// Whoever asks to withhold what is not there has mistyped, and would disclose it.
    pub(super) fn refuse_unmet(&self, records: u64) -> Result<(), Failure> {
        let Some(rule) = self
            .withhold
            .iter()
            .chain(&self.only)
            .find(|rule| !rule.is_met || rule.which.last().is_some_and(|last| last >= records))
        else {
            return Ok(());
        };
        let option = if rule.head.is_some() { "--withhold" } else { "--only" };
        let expected =
            format!("a type, a code, a sealed path or numbers below {records}, and fields that such records have");
        Err(Failure::new(Code::UnknownRecord, "This package has nothing that this names.")
            .at(option)
            .instead_of(expected, &rule.told)
            .safe("Nothing was signed or written.")
            .next("custodia records list PACKAGE"))
    }
}

impl Rule {
    fn of(told: &str, head: Option<Head>, which: &str, fields: Option<Vec<String>>) -> Self {
        Self { told: told.to_owned(), head, which: Which::parse(which), fields, is_met: false }
    }

    fn withhold(told: &str) -> Result<Self, Failure> {
        let wrong = || {
            unusable("This does not say what is withheld.", "--withhold", "HEAD=ITEM or HEAD=ITEM#FIELD,FIELD", told)
        };
        let (word, what) = told.split_once('=').ok_or_else(wrong)?;
        let head = head(word, "--withhold")?;
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
        };
        let (which, fields) = match what.rsplit_once('#') {
            Some((which, fields)) if fields.split(',').all(is_name) => {
                (which, Some(fields.split(',').map(str::to_owned).collect::<Vec<_>>()))
            }
            _ => (what, None),
        };
        if which.is_empty() {
            return Err(wrong());
        }
        if fields.as_ref().is_some_and(|fields| fields.iter().any(|field| field == "type")) {
            let expected = "the whole record: without its type nothing of it can be shown";
            return Err(unusable("A record's type cannot be withheld alone.", "--withhold", expected, told));
        }
        Ok(Self::of(told, Some(head), which, fields))
    }
}

fn head(text: &str, option: &str) -> Result<Head, Failure> {
    Head::parse(text).map_err(|_| unusable("This is no head.", option, "1 to 64 visible characters, such as B.2", text))
}

fn unusable(what: &str, option: &str, expected: &str, found: &str) -> Failure {
    Failure::new(Code::Usage, what)
        .at(option)
        .instead_of(expected, found)
        .safe("Nothing was signed or written.")
        .next("custodia disclose --help")
}
