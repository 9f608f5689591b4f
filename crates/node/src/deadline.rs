//! Until when a release is to be answered by a receipt, and the statement that it was not (docs/spec/bodies.md, "event").
//!
//! - It is never said while the recipient's receipt or refusal is here.
//! - It is said once for each release and deadline: what was said stands in the ledger, and is looked for there.
//! - It ends nothing: the delivery goes on, and a receipt that comes later stands beside it.

use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::{Body, Event, EventTime, NamedValue, Text};
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_format::text::{Code as Zone, Time, Word};

use crate::author::{self, Draft};
use crate::failure::{Code, Failure};
use crate::outbox::{Attempts, Wishes, is_answered};
use crate::{Node, ask, edge, keys, proofs};

/// What the event's `action` says.
const ACTION: &str = "not-received";
/// The code that names the deadline.
const DEADLINE: &str = "deadline";

/// A statement of ours that a release was not answered by a receipt in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    /// By when.
    pub(crate) deadline: String,
    /// The statement's digest.
    pub(crate) statement: Hash,
}

/// What is known of why there is no receipt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    /// What was tried; none where nothing was.
    pub(crate) attempts: Option<Attempts>,
    /// Why it was held back here, if it was: `paused` or `cap`.
    pub(crate) held_back: Option<&'static str>,
}

/// A moment as people write it: `2026-12-24T12:00Z`, with seconds or without.
pub(crate) fn parse_moment(text: &str) -> Option<Time> {
    let whole = text.strip_suffix('Z').map(|minutes| format!("{minutes}:00Z"));
    Time::parse(text).or_else(|| Time::parse(&whole?))
}

/// The moment after so long: `90s`, `30m`, `72h`, `14d`.
pub(crate) fn parse_within(text: &str, now: Time) -> Option<Time> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let (number, seconds) = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let after = number.parse::<i64>().ok()?.checked_mul(seconds)?;
    Time::from_unix(now.unix().checked_add(after)?)
}

/// A deadline that lies ahead, by either of these ways of writing; none where nothing was written.
pub(crate) fn parse(deadline: Option<&str>, within: Option<&str>) -> Result<Option<Time>, Failure> {
    let now = edge::now();
    let wrong = |expected: &str, found: &str, next: &str| {
        Failure::new(Code::Usage, "This is no deadline.").instead_of(expected, found).next(next)
    };
    let moment = match (deadline, within) {
        (None, None) => return Ok(None),
        (Some(text), _) => parse_moment(text)
            .ok_or_else(|| wrong("a moment in UTC, as 2026-12-24T12:00Z", text, "--deadline 2026-12-24T12:00Z"))?,
        (None, Some(text)) => parse_within(text, now)
            .ok_or_else(|| wrong("a time from now on, as 90m, 72h or 14d", text, "--within 72h"))?,
    };
    if moment <= now {
        return Err(wrong("a moment that lies ahead", &moment.to_string(), "--within 72h"));
    }
    Ok(Some(moment))
}

/// Says of every release whose deadline has passed that it was not answered, where that was not said yet. Gives the next
/// deadline. A fault is told and ends nothing: it is tried again at the next look. Blocks; the thread belongs to a runtime.
pub(crate) fn tell_missed(
    node: &Arc<Node>,
    wishes: &Wishes,
    now: Time,
    circumstances: impl Fn(&Hash) -> Circumstances,
) -> Option<Time> {
    let mut next: Option<Time> = None;
    for (release, deadline) in wishes.deadlines() {
        if deadline > now {
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
        } else if edge::is_of_a_set_clock(now) {
            match tell(node, &release, deadline, &circumstances(&release)) {
                Ok(Some(statement)) => tracing::warn!(%statement, "a release was not answered by its deadline"),
                Ok(None) => {}
                Err(failure) => tracing::error!(%failure, "that a deadline was missed cannot be said"),
            }
        }
    }
    next
}

/// Signs and logs that a release has no receipt; none where there is nothing to say, or it was said.
fn tell(
    node: &Arc<Node>,
    release: &Hash,
    deadline: Time,
    circumstances: &Circumstances,
) -> Result<Option<Hash>, Failure> {
    let is_to_say = || -> Result<bool, Failure> {
        let Some(row) = node.index().row(release)? else { return Ok(false) };
        let is_said = missed(node, release)?.iter().any(|missed| missed.deadline == deadline.to_string());
        Ok(!is_said && !is_answered(node, release)? && !proofs::is_lost(node, &row)?)
    };
    if !is_to_say()? {
        return Ok(None);
    }
    ask::before_signing(node)?;
    let key = keys::read(node.home(), keys::STATEMENT)?;
    let _desk = node.desk();
    // A receipt is kept by whoever holds the desk: what is looked at now stays so until it is said.
    if !is_to_say()? {
        return Ok(None);
    }
    let Some(statement) = author::statement(node, release)? else { return Ok(None) };
    let Some(body) = body(node, release, &statement, deadline, circumstances)? else { return Ok(None) };
    let package = statement.head.package;
    let draft = Draft { in_reply_to: Some(*release), package, ..Draft::of(Body::Event(body)) };
    Ok(Some(author::say(node, draft, &[&key])?.digest))
}

fn body(
    node: &Node,
    release: &Hash,
    statement: &Statement,
    deadline: Time,
    circumstances: &Circumstances,
) -> Result<Option<Event>, Failure> {
    let Body::Release(released) = &statement.body else { return Ok(None) };
    let answers = node.index().answers(release)?;
    let consignment = author::of_peer(node, &answers, &Kind::Consignment);
    let mut codes = vec![
        named(DEADLINE, &deadline.to_string())?,
        named("answer", if consignment.is_some() { "consignment" } else { "none" })?,
    ];
    if let Some(row) = consignment {
        codes.push(named("consignment", &row.digest.to_string())?);
    }
    match &circumstances.attempts {
        None => codes.push(named("attempts", "0")?),
        Some(attempts) => {
            codes.push(named("attempts", &attempts.count.to_string())?);
            codes.push(named("first-attempt", &attempts.first)?);
            codes.push(named("last-attempt", &attempts.last)?);
            if let Some(code) = &attempts.code {
                codes.push(named("last-code", code)?);
            }
        }
    }
    if let Some(why) = circumstances.held_back {
        codes.push(named("held-back", why)?);
    }
    let time = EventTime {
        value: Text::parse(&deadline.to_string())?,
        precision: Word::parse("second")?,
        zone: Zone::parse("Z")?,
        source: Text::parse("the clock of the node that signs")?,
    };
    let (action, items) = (Word::parse(ACTION)?, released.items.clone());
    Ok(Some(Event { action, items, time: Some(time), codes }))
}

fn named(name: &str, value: &str) -> Result<NamedValue, Failure> {
    Ok(NamedValue { name: Word::parse(name)?, value: Text::parse(value)? })
}

/// The deadlines of a release that passed without a receipt, as it was said in our ledger.
pub(crate) fn missed(node: &Node, release: &Hash) -> Result<Vec<Missed>, Failure> {
    let mut found = Vec::new();
    for row in node.index().answers(release)? {
        if row.kind != Kind::Event.to_string() || !author::is_own(node, &row) {
            continue;
        }
        let statement = author::statement(node, &row.digest)?;
        let Some(Body::Event(event)) = statement.map(|statement| statement.body) else { continue };
        let deadline = event.codes.iter().find(|code| code.name.as_str() == DEADLINE);
        if let Some(deadline) = deadline.filter(|_| event.action.as_str() == ACTION) {
            found.push(Missed { deadline: deadline.value.to_string(), statement: row.digest });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn deadlines_read_as_people_write_them() {
        assert_eq!(parse_moment("2026-12-24T12:00Z"), Some(at("2026-12-24T12:00:00Z")));
        assert_eq!(parse_moment("2026-12-24T12:00:05Z"), Some(at("2026-12-24T12:00:05Z")));
        let now = at("2026-12-24T12:00:00Z");
        for (text, then) in [
            ("5s", "2026-12-24T12:00:05Z"),
            ("90m", "2026-12-24T13:30:00Z"),
            ("72h", "2026-12-27T12:00:00Z"),
            ("14d", "2027-01-07T12:00:00Z"),
        ] {
            assert_eq!(parse_within(text, now), Some(at(then)), "{text}");
        }
        for bad in ["2026-12-24", "2026-12-24T12:00", "2026-02-30T12:00Z", "12:00Z", "72h", "", "Z", "2026-12-24T12Z"] {
            assert_eq!(parse_moment(bad), None, "{bad}");
        }
        for bad in ["", "h", "-1h", "+1h", "1.5h", "72", "1w", "99999999999999999999d", "9999999999999999d", "1 h"] {
            assert_eq!(parse_within(bad, now), None, "{bad}");
        }
        assert_eq!(parse(None, Some("0s")).unwrap_err().code, Code::Usage, "it is over");
        assert_eq!(parse(Some("2020-01-01T00:00Z"), None).unwrap_err().code, Code::Usage);
    }
}
