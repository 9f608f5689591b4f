//! What must be so before a package is released: whoever testified consents, bag seals were found whole, and the files are here and
//! whole. What is not lets nothing out, and that is a statement of its own (docs/operate/limits.md, "Gates").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::{Body, Event as EventBody, NamedValue, Text};
use custodia_format::ranges::Items;
use custodia_format::record::{FileItem, Record, TESTIMONY, Value};
use custodia_format::statement::Package;
use custodia_format::text::{Label, Word};

use super::super::event::by_this_clock;
use super::super::{Decider, Event};
use crate::api::{Operation, Reporter};
use crate::author::{self, Draft};
use crate::failure::{Code, Failure};
use crate::{Node, keys, packages, scrub};

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Closed {
    /// Which gate: `consent`, `bag-seal`, `bytes`.
    gate: &'static str,
    /// What is not so.
    why: String,
}

/// Lets a package out to somebody, or says why not: once, as a statement, and to whoever asked. `although` is why it goes all the
/// same, which is signed too.
pub(super) fn pass(
    node: &Arc<Node>,
    package: Package,
    to: &Label,
    although: Option<&str>,
    by: &Decider,
) -> Result<(), Failure> {
    let closed: BTreeSet<Closed> =
        [consents(node, &package.root)?, bag_seals(node, &package.root)?, bytes(node, &package.root)?]
            .into_iter()
            .flatten()
            .collect();
    let Some(first) = closed.first() else { return Ok(()) };
    if let Some(although) = although {
        let event = Event {
            action: "release-although".to_owned(),
            package: package.root.to_string(),
            codes: gates(to, &closed).map(|(name, value)| format!("{name}={value}")).collect(),
            purpose: Some(although.to_owned()),
            note: Some(told(&closed)),
            by: by.clone(),
            ..Event::default()
        };
        return event.perform(node, &Reporter::silent()).map(drop);
    }
    refuse(node, package, to, &closed)?;
    Err(Failure::new(Code::Gate, "Something is not as it must be before this is released.")
        .at(first.gate)
        .instead_of("nothing that stands against it", told(&closed))
        .safe("Nothing was released. The refusal is signed, and stands in the package's chain.")
        .next("mend it: custodia event reseal, custodia ledger fsck --bytes, or seal what was found out since")
        .next("the same command with --although \"why\", which is signed before the release"))
}

/// Testimony whose witness does not consent, as it is sealed here or was sealed later in the case.
fn consents(node: &Node, root: &Hash) -> Result<BTreeSet<Closed>, Failure> {
    let mut here: BTreeMap<String, String> = BTreeMap::new();
    let consent = |record: &Record| {
        let word = record.field(&TESTIMONY, "consent").and_then(Value::as_str)?;
        Some((record.code()?.to_owned(), word.to_owned()))
    };
    packages::unclosed_records(&node.home().manifest(root), |_, _, record| {
        here.extend(consent(&record));
        Ok(())
    })?;
    if here.is_empty() {
        return Ok(BTreeSet::new());
    }
    let case = node.summaries().of(node.home(), root)?.and_then(|summary| summary.case.clone());
    for other in case.map(|case| packages::of_case(node, &case)).transpose()?.into_iter().flatten() {
        packages::unclosed_records(&node.home().manifest(&other), |_, _, record| {
            // A consent that was withdrawn anywhere is withdrawn.
            if let Some((code, word)) = consent(&record).filter(|(_, word)| word == "withdrawn")
                && let Some(known) = here.get_mut(&code)
            {
                *known = word;
            }
            Ok(())
        })?;
    }
    let closed = here.into_iter().filter(|(_, word)| word != "yes");
    Ok(closed
        .map(|(code, word)| Closed { gate: "consent", why: format!("testimony {code}: consent: {word}") })
        .collect())
}

/// Bag seals that were last found otherwise than whole, with no new one since.
fn bag_seals(node: &Node, root: &Hash) -> Result<BTreeSet<Closed>, Failure> {
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for row in author::own_rows(node, root)? {
        let Some(Body::Event(event)) = author::statement(node, &row.digest)?.map(|statement| statement.body) else {
            continue;
        };
        if event.action.as_str() == "reseal" {
            open.clear();
        }
        for code in event.codes.iter().filter(|code| code.name.as_str() == "bag-seal") {
            match code.value.as_str().rsplit_once(' ') {
                Some((_, "new")) | None => {}
                Some((number, "intact")) => drop(open.remove(number)),
                Some((number, state)) => drop(open.insert(number.to_owned(), state.to_owned())),
            }
        }
    }
    let closed = open.into_iter();
    Ok(closed.map(|(number, state)| Closed { gate: "bag-seal", why: format!("bag seal {number}: {state}") }).collect())
}

/// Files that are missing here, or known to have rotted.
fn bytes(node: &Node, root: &Hash) -> Result<BTreeSet<Closed>, Failure> {
    // Files of the home: an object's name is its digest.
    let damaged = scrub::record::damaged(node.home()).into_iter();
    let damaged: BTreeSet<String> = damaged.filter_map(|it| it.path.rsplit('/').next().map(str::to_owned)).collect();
    let mut closed = BTreeSet::new();
    packages::unclosed_records(&node.home().manifest(root), |_, _, record| {
        let Some(item) = FileItem::of(&record)? else { return Ok(()) };
        let path = || String::from_utf8_lossy(&item.path).into_owned();
        if damaged.contains(&item.sha256.to_string()) {
            closed.insert(Closed { gate: "bytes", why: format!("{} is not what was sealed", path()) });
        } else if node.vault().item(&item.sha256).is_err() {
            closed.insert(Closed { gate: "bytes", why: format!("{} is not here", path()) });
        }
        Ok(())
    })?;
    Ok(closed)
}

/// Which gates are closed, for whom.
fn gates<'a>(to: &'a Label, closed: &'a BTreeSet<Closed>) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let gates: BTreeSet<&str> = closed.iter().map(|it| it.gate).collect();
    std::iter::once(("to", to.to_string())).chain(gates.into_iter().map(|gate| ("gate", gate.to_owned())))
}

fn told(closed: &BTreeSet<Closed>) -> String {
    const LISTED: usize = 20;
    let mut told: Vec<&str> = closed.iter().take(LISTED).map(|it| it.why.as_str()).collect();
    let more = format!("and {} more", closed.len().saturating_sub(LISTED));
    if closed.len() > LISTED {
        told.push(&more);
    }
    told.join("; ")
}

/// Signs that it was refused, unless the last thing that was said of the package is just that.
fn refuse(node: &Node, package: Package, to: &Label, closed: &BTreeSet<Closed>) -> Result<(), Failure> {
    let codes =
        gates(to, closed).map(|(name, value)| Ok(NamedValue { name: Word::parse(name)?, value: Text::parse(&value)? }));
    let codes = codes.collect::<Result<Vec<_>, custodia_format::Malformed>>()?;
    let own = author::own_rows(node, &package.root)?;
    let last = own.last().map(|row| author::statement(node, &row.digest)).transpose()?.flatten();
    if matches!(last.map(|it| it.body), Some(Body::Event(it)) if it.action.as_str() == REFUSED && it.codes == codes) {
        return Ok(());
    }
    let why = packages::detail("why", &told(closed));
    let annex = packages::store_annex(node.home(), vec![why])?;
    let body = EventBody { action: Word::parse(REFUSED)?, items: Items::All, time: Some(by_this_clock(None)?), codes };
    let statement_key = keys::read(node.home(), keys::STATEMENT)?;
    let _desk = node.desk();
    let draft = Draft { package: Some(package), annex: Some(annex), ..Draft::of(Body::Event(body)) };
    author::say(node, draft, &[&statement_key]).map(drop)
}

/// The action of a release that was not made.
const REFUSED: &str = "release-refused";
