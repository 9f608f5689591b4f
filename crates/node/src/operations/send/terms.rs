//! Under which limits a package goes to somebody: those that its giver set, repeated or narrowed and never widened, and those of
//! everything that it was made from (docs/operate/limits.md).

use std::collections::BTreeSet;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::{Body, Limits, Onward, Originator, Release, Text};
use custodia_format::kind::Kind;
use custodia_format::record::{Record, schema};
use custodia_format::statement::Statement;
use custodia_format::text::{Label, Time};
use serde::{Deserialize, Serialize};

use super::super::{Decider, Event};
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::peers::Authority;
use crate::{Node, author, host, packages, receive};

/// What is asked for of a release's limits. Nothing: those that hold anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The use that it is given for; the purpose when absent.
    pub use_: Option<String>,
    /// To whom it may go on: `none`, `consent`, or names with commas between them.
    pub onward: Option<String>,
    /// It may lead to evidence and may not be evidence.
    pub lead_only: bool,
    /// It must be given back.
    pub return_: bool,
    /// Until when it may be kept: a day, or a moment in UTC.
    pub retain_until: Option<String>,
    /// Where its originator consented to this hand-over, where that was asked for.
    pub consent: Option<String>,
    /// Why it must be shown to an accused person whatever its limits: it may exculpate.
    pub exculpatory: Option<String>,
    /// Why it goes although a gate is closed.
    pub although: Option<String>,
}

/// The limits of a release, and what must be said before it.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    pub(super) limits: Limits,
    pub(super) originator: Option<Originator>,
    /// An event that says why it may go: its action, and where that is written.
    pub(super) because: Option<(&'static str, String)>,
}

/// Limits that bind, and whose they are.
#[derive(Debug, Clone)]
struct Bound {
    limits: Limits,
    originator: Option<Originator>,
    /// Who gave it.
    giver: Label,
    giver_root: Option<custodia_format::key::KeyId>,
}

impl Terms {
    /// Whether limits of its own are asked for.
    pub(super) fn sets_limits(&self) -> bool {
        let Self { use_, onward, lead_only, return_, retain_until, .. } = self;
        use_.is_some() || onward.is_some() || *lead_only || *return_ || retain_until.is_some()
    }

    /// Under which limits a package goes to this authority, or why it may not.
    pub(super) fn agree(&self, node: &Node, root: &Hash, peer: &Authority, purpose: &Text) -> Result<Agreed, Failure> {
        let Some(bound) = bound(node, root)? else {
            let own = Limits {
                use_: self.use_.as_deref().map(|text| parsed(text, "--use")).transpose()?.unwrap_or(purpose.clone()),
                onward: self.onward()?.unwrap_or(Onward::Consent),
                lead_only: self.lead_only,
                return_: self.return_,
                retain_until: self.retain_until()?,
            };
            return Ok(Agreed { limits: own, originator: None, because: None });
        };
        let limits = self.narrowed(&bound)?;
        let goes_back =
            bound.giver_root == Some(peer.root) || bound.originator.as_ref().is_some_and(|it| it.root == peer.root);
        let because = match (&bound.limits.onward, &self.consent, &self.exculpatory) {
            _ if goes_back => None,
            (Onward::List(names), ..) if names.contains(&peer.name) => None,
            (_, _, Some(why)) => Some(("exculpatory-notice", why.clone())),
            (Onward::Consent, Some(consent), None) => Some(("consent", consent.clone())),
            (onward, consent, None) => return Err(bound.forbids(onward, consent.is_some(), &peer.name)),
        };
        Ok(Agreed { limits, originator: bound.origin(), because })
    }

    /// Signs what must be said before the release.
    pub(super) fn say(
        node: &Arc<Node>,
        root: &Hash,
        to: &Label,
        because: (&str, String),
        by: &Decider,
    ) -> Result<(), Failure> {
        let (action, why) = because;
        let event = Event {
            action: action.to_owned(),
            package: root.to_string(),
            codes: vec![format!("to={to}")],
            order: Some(why),
            by: by.clone(),
            ..Event::default()
        };
        event.perform(node, &Reporter::silent()).map(drop)
    }

    /// What is asked for, within what binds.
    fn narrowed(&self, bound: &Bound) -> Result<Limits, Failure> {
        let old = &bound.limits;
        let wider = |option: &str, holds: String, asked: &str| {
            Err(bound.lifted_by(
                Failure::new(Code::Handling, "This would allow more than the limits under which it was given.")
                    .at(option)
                    .instead_of(holds, asked),
            ))
        };
        let mut new = old.clone();
        if let Some(use_) = self.use_.as_deref().filter(|text| *text != old.use_.as_str()) {
            return wider("--use", old.use_.to_string(), use_);
        }
        if let Some(onward) = self.onward()? {
            new.onward = onward;
        }
        new.lead_only |= self.lead_only;
        new.return_ |= self.return_;
        if let Some(time) = self.retain_until()? {
            new.retain_until = Some(time);
        }
        // As whoever verifies it will ask, of a recipient that it may go to.
        let reader = match &old.onward {
            Onward::List(names) => names.first().cloned(),
            _ => None,
        };
        if old.onward != Onward::None && new.widen(old, &reader.unwrap_or_else(|| bound.giver.clone())) {
            return wider("--onward, --retain-until", words(old), &words(&new));
        }
        if old.onward == Onward::None {
            new.onward = Onward::None;
        }
        Ok(new)
    }

    fn onward(&self) -> Result<Option<Onward>, Failure> {
        let names = |text: &str| {
            let names = text.split(',').map(|name| {
                Label::parse(name.trim())
                    .map_err(|error| Failure::from(error).at("--onward").safe("Nothing was signed or sent."))
            });
            names.collect::<Result<_, _>>().map(Onward::List)
        };
        Ok(match self.onward.as_deref() {
            None => None,
            Some("none") => Some(Onward::None),
            Some("consent") => Some(Onward::Consent),
            Some(text) => Some(names(text)?),
        })
    }

    fn retain_until(&self) -> Result<Option<Time>, Failure> {
        let Some(text) = self.retain_until.as_deref() else { return Ok(None) };
        let time = Time::parse(text).or_else(|| Time::parse(&format!("{text}T23:59:59Z")));
        time.map(Some).ok_or_else(|| {
            Failure::new(Code::Usage, "This cannot be read as a time.")
                .at("--retain-until")
                .instead_of("a day such as 2036-12-31, or 2036-12-31T12:00:00Z", text)
                .safe("Nothing was signed or sent.")
        })
    }
}

impl Bound {
    /// Whose material it is.
    fn origin(&self) -> Option<Originator> {
        let giver = self.giver_root.map(|root| Originator { name: self.giver.clone(), root });
        self.originator.clone().or(giver)
    }

    fn forbids(&self, onward: &Onward, has_consent: bool, to: &Label) -> Failure {
        let allowed = match onward {
            Onward::None => "onward to nobody".to_owned(),
            Onward::Consent => "onward with consent".to_owned(),
            Onward::List(names) => {
                format!("onward to {}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        };
        let failure =
            Failure::new(Code::Handling, "The limits under which this was given forbid handing it on to them.")
                .at(format!("the release by {}", self.giver))
                .instead_of(allowed, to.as_str());
        let failure = match (onward, has_consent) {
            (Onward::Consent, _) => {
                let origin = self.origin().map_or(self.giver.clone(), |it| it.name);
                failure.next(format!("the same command with --consent \"where {origin} consented\""))
            }
            _ => failure,
        };
        self.lifted_by(failure)
    }

    /// Whose word lifts a limit, and what no limit stops.
    fn lifted_by(&self, failure: Failure) -> Failure {
        let origin = self.origin().map_or(self.giver.clone(), |it| it.name);
        failure
            .safe("Nothing was signed or sent.")
            .next(format!("ask {origin} for a release to you with other limits: it replaces these"))
            .next("where it may exculpate an accused person: --exculpatory \"why\", which no limit stops")
    }
}

/// The limits that bind a package here: of the release that our custody stands on, and of everything that it was made from.
fn bound(node: &Node, root: &Hash) -> Result<Option<Bound>, Failure> {
    let mut all: Vec<Bound> = stands_on(node, root)?.into_iter().collect();
    for parent in parents(node, root)? {
        all.extend(stands_on(node, &parent)?);
    }
    Ok(all.into_iter().reduce(union))
}

/// What two limits allow together: only what both allow.
fn union(one: Bound, other: Bound) -> Bound {
    let (first, second) = (one.limits, other.limits);
    let use_ = if first.use_ == second.use_ {
        first.use_
    } else {
        Text::parse(&format!("{} and {}", first.use_, second.use_)).unwrap_or(first.use_)
    };
    let onward = match (first.onward, second.onward) {
        (Onward::None, _) | (_, Onward::None) => Onward::None,
        (Onward::Consent, Onward::Consent) => Onward::Consent,
        (Onward::Consent, Onward::List(names)) | (Onward::List(names), Onward::Consent) => Onward::List(names),
        (Onward::List(names), Onward::List(others)) => {
            let both: Vec<Label> = names.into_iter().filter(|name| others.contains(name)).collect();
            if both.is_empty() { Onward::None } else { Onward::List(both) }
        }
    };
    let limits = Limits {
        use_,
        onward,
        lead_only: first.lead_only || second.lead_only,
        return_: first.return_ || second.return_,
        retain_until: [first.retain_until, second.retain_until].into_iter().flatten().min(),
    };
    Bound { limits, originator: one.originator, giver: one.giver, giver_root: one.giver_root }
}

/// The release that our custody of a package stands on: that of our latest consignment.
fn stands_on(node: &Node, root: &Hash) -> Result<Option<Bound>, Failure> {
    let rows = author::own_rows(node, root)?;
    let consignment = rows.iter().rev().find(|row| row.kind == Kind::Consignment.to_string());
    let Some(release) = consignment.and_then(|row| row.in_reply_to) else { return Ok(None) };
    let statement = receive::release_to_us(node, &release)?;
    let Statement { head, body: Body::Release(body) } = statement else { return Ok(None) };
    // What came back to its originator binds it no more than before.
    let us = host::us(node)?;
    if body.originator.as_ref().is_some_and(|originator| originator.root == us) {
        return Ok(None);
    }
    let giver = node.peers().all().into_iter().find(|known| known.ledger(&head.ledger).is_some());
    let Release { limits, originator, .. } = *body;
    Ok(Some(Bound { limits, originator, giver: head.issuer.name, giver_root: giver.map(|giver| giver.root) }))
}

/// The packages of the same case that hold what records of this one name as what they were made from.
fn parents(node: &Node, root: &Hash) -> Result<Vec<Hash>, Failure> {
    let path = node.home().manifest(root);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let (mut own, mut named) = (BTreeSet::new(), BTreeSet::new());
    packages::unclosed_records(&path, |_, _, record| {
        own.extend(record.code().map(str::to_owned));
        named.extend(made_from(&record));
        Ok(())
    })?;
    let missing: BTreeSet<String> = named.difference(&own).cloned().collect();
    let case = node.summaries().of(node.home(), root)?.and_then(|summary| summary.case.clone());
    let (false, Some(case)) = (missing.is_empty(), case) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for other in packages::of_case(node, &case)?.into_iter().filter(|other| other != root) {
        let mut is_parent = false;
        packages::unclosed_records(&node.home().manifest(&other), |_, _, record| {
            is_parent |= record.code().is_some_and(|code| missing.contains(code));
            Ok(())
        })?;
        found.extend(is_parent.then_some(other));
    }
    Ok(found)
}

/// The codes of what a record was made from.
fn made_from(record: &Record) -> Vec<String> {
    let Some(known) = record.type_name().and_then(schema) else { return Vec::new() };
    let parents = known.fields.iter().zip(&record.0).filter(|(field, _)| field.name == "parents");
    parents.flat_map(|(_, value)| value.texts().to_vec()).collect()
}

/// Limits in a line.
pub(crate) fn words(limits: &Limits) -> String {
    let mut told = vec![format!("use: {}", limits.use_)];
    told.push(match &limits.onward {
        Onward::None => "onward to nobody".to_owned(),
        Onward::Consent => "onward with consent".to_owned(),
        Onward::List(names) => {
            format!("onward to {}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    });
    if limits.lead_only {
        told.push("as a lead only".to_owned());
    }
    if limits.return_ {
        told.push("to be given back".to_owned());
    }
    told.extend(limits.retain_until.map(|time| format!("kept until {time}")));
    told.join("; ")
}

fn parsed(text: &str, option: &str) -> Result<Text, Failure> {
    Text::parse(text).map_err(|error| Failure::from(error).at(option).safe("Nothing was signed or sent."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(use_: &str, onward: Onward, lead_only: bool, until: Option<i64>) -> Bound {
        let retain_until = until.and_then(Time::from_unix);
        let limits = Limits { use_: Text::parse(use_).unwrap(), onward, lead_only, return_: false, retain_until };
        Bound { limits, originator: None, giver: Label::parse("giver.example").unwrap(), giver_root: None }
    }

    fn list(names: &[&str]) -> Onward {
        Onward::List(names.iter().map(|name| Label::parse(name).unwrap()).collect())
    }

    #[test]
    fn what_was_made_from_two_has_the_limits_of_both() {
        let both = union(
            bound("case 1", list(&["a", "b"]), false, Some(900)),
            bound("case 2", list(&["b", "c"]), true, Some(800)),
        );
        assert_eq!(
            words(&both.limits),
            "use: case 1 and case 2; onward to b; as a lead only; kept until 1970-01-01T00:13:20Z"
        );
        let none = union(bound("x", list(&["a"]), false, None), bound("x", list(&["b"]), false, None));
        assert_eq!(none.limits.onward, Onward::None);
        let some = union(bound("x", Onward::Consent, false, None), bound("x", list(&["b"]), false, None));
        assert_eq!(some.limits.onward, list(&["b"]));
    }

    #[test]
    fn limits_are_narrowed_and_never_widened() {
        let old = bound("case 1", list(&["a.example", "b.example"]), true, Some(4_000_000_000));
        let asks = |change: fn(&mut Terms)| {
            let mut terms = Terms::default();
            change(&mut terms);
            terms.narrowed(&old)
        };
        assert_eq!(asks(|_| {}).unwrap(), old.limits);
        let narrower = asks(|terms| {
            terms.onward = Some("a.example".to_owned());
            terms.return_ = true;
            terms.retain_until = Some("2036-12-31".to_owned());
        });
        assert!(!narrower.unwrap().widen(&old.limits, &Label::parse("a.example").unwrap()));
        for wider in [
            (|terms| terms.use_ = Some("case 2".to_owned())) as fn(&mut Terms),
            |terms| terms.onward = Some("consent".to_owned()),
            |terms| terms.onward = Some("c.example".to_owned()),
            |terms| terms.retain_until = Some("2999-12-31".to_owned()),
        ] {
            assert_eq!(asks(wider).unwrap_err().code, Code::Handling);
        }
        let nobody = bound("case 1", Onward::None, false, None);
        let terms = Terms { onward: Some("consent".to_owned()), ..Terms::default() };
        assert_eq!(terms.narrowed(&nobody).unwrap().onward, Onward::None);
    }
}
