//! `release`: "I hand this to B, for this purpose and within these limits" (docs/spec/bodies.md).

use super::values::{Take, Text, items_json};
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::KeyId;
use crate::ranges::Items;
use crate::text::{Label, LedgerName, Time};

/// A hand-over as the giver decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// To whom.
    pub recipient: Recipient,
    /// Which records.
    pub items: Items,
    /// For what.
    pub purpose: Text,
    /// On what ground.
    pub legal_basis: Text,
    /// What the recipient may do.
    pub limits: Limits,
    /// From whom the material comes; null: from the issuer.
    pub originator: Option<Originator>,
}

/// Who receives: an authority and the ledger in which it takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its name.
    pub name: Label,
    /// Its root key, which is its identity.
    pub root: KeyId,
    /// The ledger that will hold the consignment.
    pub ledger: LedgerName,
}

/// Where material comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Originator {
    /// The authority's name.
    pub name: Label,
    /// Its root key.
    pub root: KeyId,
}

/// What a recipient may do with what it gets. Onward releases repeat them and do not widen them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The use it is given for.
    pub use_: Text,
    /// To whom it may go on.
    pub onward: Onward,
    /// It may lead to evidence and may not be evidence.
    pub lead_only: bool,
    /// It must be given back.
    pub return_: bool,
    /// Until when it may be kept; null: without end.
    pub retain_until: Option<Time>,
}

/// To whom a package may be released further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// To nobody.
    None,
    /// To whomever the giver consents to.
    Consent,
    /// To these, 1 to 100.
    List(Vec<Label>),
}

impl Onward {
    /// The most names in a list.
    pub const MOST: usize = 100;

    fn read(members: &mut Members, name: &str) -> Result<Self, Malformed> {
        let expected = "none, consent or 1 to 100 labels";
        match members.take(name)? {
            Json::String(text) if text == "none" => Ok(Self::None),
            Json::String(text) if text == "consent" => Ok(Self::Consent),
            Json::Array(elements) if (1..=Self::MOST).contains(&elements.len()) => {
                let labels = elements.iter().map(|element| {
                    let text = element.as_str().unwrap_or(element.kind());
                    Label::parse(text).map_err(|_| members.wrong(name, expected, text))
                });
                labels.collect::<Result<_, _>>().map(Self::List)
            }
            Json::String(text) => Err(members.wrong(name, expected, &text)),
            other => Err(members.wrong(name, expected, other.kind())),
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::None => Json::string("none"),
            Self::Consent => Json::string("consent"),
            Self::List(labels) => Json::strings(labels),
        }
    }

    /// Whether everything that this permits, `old` permitted too. A list is not within consent: it needs no asking.
    fn is_within(&self, old: &Self) -> bool {
        match (self, old) {
            (Self::None, _) | (Self::Consent, Self::Consent) => true,
            (Self::List(new), Self::List(old)) => new.iter().all(|label| old.contains(label)),
            (Self::Consent | Self::List(_), _) => false,
        }
    }

    /// Whether it permits a release to this authority at all, asked or unasked.
    fn permits(&self, recipient: &Label) -> bool {
        match self {
            Self::None => false,
            Self::Consent => true,
            Self::List(labels) => labels.contains(recipient),
        }
    }
}

impl Limits {
    /// Whether a release to `recipient` under these limits goes beyond the limits of the release it stands on.
    ///
    /// Another use, a recipient that was not allowed, further onward releases, a dropped duty, or a longer time.
    #[must_use]
    pub fn widen(&self, old: &Self, recipient: &Label) -> bool {
        let longer = match (self.retain_until, old.retain_until) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(new), Some(old)) => new > old,
        };
        self.use_ != old.use_
            || !old.onward.permits(recipient)
            || !self.onward.is_within(&old.onward)
            || (old.lead_only && !self.lead_only)
            || (old.return_ && !self.return_)
            || longer
    }

    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            use_: members.text("use")?,
            onward: Onward::read(&mut members, "onward")?,
            lead_only: members.bool("lead_only")?,
            return_: members.bool("return")?,
            retain_until: members.optional_time("retain_until")?,
        };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([
            ("use", Json::string(&self.use_)),
            ("onward", self.onward.json()),
            ("lead_only", Json::Bool(self.lead_only)),
            ("return", Json::Bool(self.return_)),
            ("retain_until", Json::optional(self.retain_until)),
        ])
    }
}

impl Recipient {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            name: members.label("name")?,
            root: KeyId(members.hash("root")?),
            ledger: members.ledger("ledger")?,
        };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([
            ("name", Json::string(&self.name)),
            ("root", Json::string(self.root)),
            ("ledger", Json::string(&self.ledger)),
        ])
    }
}

impl Originator {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self { name: members.label("name")?, root: KeyId(members.hash("root")?) };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("name", Json::string(&self.name)), ("root", Json::string(self.root))])
    }
}

impl Release {
    pub(crate) fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            recipient: Recipient::read(members.object("recipient")?)?,
            items: members.items("items")?,
            purpose: members.text("purpose")?,
            legal_basis: members.text("legal_basis")?,
            limits: Limits::read(members.object("limits")?)?,
            originator: members.optional_object("originator")?.map(Originator::read).transpose()?,
        };
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("recipient", self.recipient.json()),
            ("items", items_json(&self.items)),
            ("purpose", Json::string(&self.purpose)),
            ("legal_basis", Json::string(&self.legal_basis)),
            ("limits", self.limits.json()),
            ("originator", self.originator.as_ref().map_or(Json::Null, Originator::json)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits {
            use_: Text::parse("case 12/26").unwrap(),
            onward: Onward::List(vec![label("b"), label("c")]),
            lead_only: true,
            return_: true,
            retain_until: Time::from_unix(1000),
        };
        change(&mut limits);
        limits
    }

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    #[test]
    fn one_widening_each_is_found() {
        let old = limits(|_| {});
        let narrower = limits(|new| {
            new.onward = Onward::List(vec![label("c")]);
            new.retain_until = Time::from_unix(999);
        });
        assert!(!old.widen(&old, &label("b")));
        assert!(!narrower.widen(&old, &label("b")));
        assert!(old.widen(&narrower, &label("b")));
        assert!(old.widen(&old, &label("d")));
        let deviations: [fn(&mut Limits); 8] = [
            |new| new.use_ = Text::parse("case 13/26").unwrap(),
            |new| new.onward = Onward::Consent,
            |new| new.onward = Onward::List(vec![label("b"), label("d")]),
            |new| new.lead_only = false,
            |new| new.return_ = false,
            |new| new.retain_until = Time::from_unix(1001),
            |new| new.retain_until = None,
            |new| new.onward = Onward::List(vec![label("x")]),
        ];
        for (place, deviation) in deviations.into_iter().enumerate() {
            assert!(limits(deviation).widen(&old, &label("b")), "deviation {place}");
        }
        let closed = limits(|limits| limits.onward = Onward::None);
        assert!(closed.widen(&closed, &label("b")));
        let asked = limits(|limits| limits.onward = Onward::Consent);
        assert!(!asked.widen(&asked, &label("b")));
        assert!(old.widen(&asked, &label("b")));
    }
}
