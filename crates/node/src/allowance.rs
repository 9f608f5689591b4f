//! What one peer may make this node keep: statements in its ledger, hand-overs that do not end, bytes.
//!
//! A peer is an authority that was met, and may still flood: its node may be broken into, or broken. What it costs is then
//! bounded, and what others hand over goes on. What was logged in a day lives in memory: a node that starts anew counts
//! anew. What is unfinished, and how much was received, follows from the ledger.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use custodia_exchange::Refused;
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::text::LedgerName;
use serde::{Deserialize, Deserializer};

use crate::failure::{Code, Failure};
use crate::host::refused;
use crate::peers::Authority;
use crate::{Node, amount, author};

/// The section `[peers]` of `custodia.toml`: what one peer may make this node keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Statements that its messages add to our ledger in a day, our answers included.
    pub statements_a_day: NonZeroU64,
    /// Hand-overs to us that we consigned and that neither a receipt nor a refusal has ended.
    pub unfinished: NonZeroU64,
    /// Bytes of content, as the manifests give them, received and under way; no limit but the disk's when absent.
    #[serde(deserialize_with = "bytes")]
    pub bytes: Option<NonZeroU64>,
}

impl Default for Limits {
    /// A hand-over takes two or three statements here: these are a day of one every half minute, and some weeks of days on
    /// which each of a hundred teams began one and was cut off.
    fn default() -> Self {
        let of = |number| NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN);
        Self { statements_a_day: of(10_000), unfinished: of(1000), bytes: None }
    }
}

/// Cards, delegations and revocations of one authority that are kept: those of decades, and read at each start.
pub(crate) const CARDS: u64 = 4096;

const DAY_SECONDS: f64 = 86_400.0;

/// `500G`.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_bytes(&text).map(Some).map_err(serde::de::Error::custom)
}

fn parse_bytes(text: &str) -> Result<NonZeroU64, String> {
    let bytes = amount::parse(text, &['M', 'G', 'T']).and_then(NonZeroU64::new);
    bytes.ok_or_else(|| format!("\"{text}\"; it is a number of bytes above 0, as 500M, 500G or 2T"))
}

/// What all peers have used up.
#[derive(Debug, Default)]
pub(crate) struct Allowances(Mutex<HashMap<KeyId, Used>>);

/// What one peer has used up.
#[derive(Debug)]
struct Used {
    /// Statements of the last day, as far as they are not made up for by the time since, and when that was reckoned.
    statements: f64,
    at: Instant,
    unfinished: BTreeSet<Hash>,
    received: u64,
    /// Bytes of the transfers that were opened and have not ended, by release.
    under_way: HashMap<Hash, u64>,
}

impl Allowances {
    /// Whether a peer may make us log so many statements more; they are charged to it.
    ///
    /// # Errors
    /// `Code::Quota`, with the time after which it may.
    pub(crate) fn may_say(&self, node: &Node, peer: &Authority, count: u32) -> Result<(), Refused> {
        let limit = node.config().peers.statements_a_day.get();
        self.with(node, peer, |used| used.charge(count, limit, Instant::now()))?
    }

    /// Whether a peer may begin one more hand-over to us.
    ///
    /// # Errors
    /// `Code::Quota`.
    pub(crate) fn may_release(&self, node: &Node, peer: &Authority) -> Result<(), Refused> {
        let limit = node.config().peers.unfinished.get();
        self.with(node, peer, |used| {
            if (used.unfinished.len() as u64) < limit {
                return Ok(());
            }
            // A person may have refused some of them.
            used.unfinished = unfinished(node, peer).map_err(refused)?;
            match used.unfinished.len() as u64 {
                few if few < limit => Ok(()),
                all => Err(over("This peer has too many hand-overs that have not ended.", limit, all, 1_u64, 3600)),
            }
        })?
    }

    /// A release of a peer will be logged and consigned.
    pub(crate) fn released(&self, peer: &KeyId, release: Hash) {
        self.known(peer, |used| {
            used.unfinished.insert(release);
        });
    }

    /// Whether content of so many bytes may come with this release.
    ///
    /// # Errors
    /// `Code::Quota`.
    pub(crate) fn may_bring(&self, node: &Node, peer: &KeyId, release: &Hash, bytes: u64) -> Result<(), Refused> {
        let Some(limit) = node.config().peers.bytes.map(NonZeroU64::get) else { return Ok(()) };
        let Some(peer) = node.peers().rooted(peer) else { return Ok(()) };
        self.with(node, &peer, |used| {
            if used.bytes_beside(release).saturating_add(bytes) > limit {
                // A person may have refused some of what is under way.
                let unfinished = unfinished(node, &peer).map_err(refused)?;
                used.under_way.retain(|it, _| unfinished.contains(it));
            }
            let before = used.bytes_beside(release);
            if before.saturating_add(bytes) > limit {
                return Err(over("This peer may not make this node keep so many bytes.", limit, before, bytes, 0));
            }
            used.under_way.insert(*release, bytes);
            Ok(())
        })?
    }

    /// The receipt of a release is logged.
    pub(crate) fn received(&self, peer: &KeyId, release: &Hash, bytes: u64) {
        self.known(peer, |used| {
            used.unfinished.remove(release);
            used.under_way.remove(release);
            used.received = used.received.saturating_add(bytes);
        });
    }

    fn with<T>(&self, node: &Node, peer: &Authority, act: impl FnOnce(&mut Used) -> T) -> Result<T, Refused> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = match all.entry(peer.root) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(Used::of(node, peer).map_err(refused)?),
        };
        Ok(act(used))
    }

    /// What is not reckoned yet will be, with this in it.
    fn known(&self, peer: &KeyId, act: impl FnOnce(&mut Used)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = all.get_mut(peer) {
            act(used);
        }
    }
}

impl Used {
    /// As the ledger has it.
    fn of(node: &Node, peer: &Authority) -> Result<Self, Failure> {
        let received = if node.config().peers.bytes.is_some() { received(node, peer)? } else { 0 };
        let unfinished = unfinished(node, peer)?;
        Ok(Self { statements: 0.0, at: Instant::now(), unfinished, received, under_way: HashMap::new() })
    }

    /// Bytes that were received, and that come with other releases.
    fn bytes_beside(&self, release: &Hash) -> u64 {
        let others = self.under_way.iter().filter(|(it, _)| *it != release).map(|(_, bytes)| *bytes);
        others.fold(self.received, u64::saturating_add)
    }

    fn charge(&mut self, count: u32, limit: u64, now: Instant) -> Result<(), Refused> {
        let a_second = limit as f64 / DAY_SECONDS;
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.statements = (self.statements - since * a_second).max(0.0);
        self.at = now;
        let asked = self.statements + f64::from(count);
        if asked > limit as f64 {
            let seconds = ((asked - limit as f64) / a_second).ceil().clamp(1.0, DAY_SECONDS) as u32;
            let used = self.statements.ceil();
            return Err(over("This peer has made this node log too much in a day.", limit, used, count, seconds));
        }
        self.statements = asked;
        Ok(())
    }
}

/// The refusal, with its numbers in our own trace.
fn over(what: &str, limit: u64, used: impl Display, asked: impl Display, seconds: u32) -> Refused {
    let failure =
        Failure::new(Code::Quota, what).instead_of(format!("at most {limit}"), format!("{used}, and {asked} more"));
    Refused { retry_after_seconds: seconds, ..refused(failure) }
}

/// The releases of a peer in our ledger.
fn releases(node: &Node, peer: &Authority) -> Result<Vec<Hash>, Failure> {
    let rows = node.index().of_kind(&Kind::Release.to_string())?;
    let is_theirs = |ledger: &str| LedgerName::parse(ledger).is_ok_and(|ledger| peer.ledger(&ledger).is_some());
    Ok(rows.into_iter().filter(|row| is_theirs(&row.ledger)).map(|row| row.digest).collect())
}

fn unfinished(node: &Node, peer: &Authority) -> Result<BTreeSet<Hash>, Failure> {
    let mut open = BTreeSet::new();
    for release in releases(node, peer)? {
        if !author::ends_of(node, &release)?.iter().any(|row| author::is_own(node, row)) {
            open.insert(release);
        }
    }
    Ok(open)
}

/// Bytes that our receipts to a peer name.
fn received(node: &Node, peer: &Authority) -> Result<u64, Failure> {
    let mut bytes = 0_u64;
    for release in releases(node, peer)? {
        if let Some(receipt) = crate::receive::receipt_of(node, &release)?
            && let Some(Body::Receipt(receipt)) = author::statement(node, &receipt)?.map(|statement| statement.body)
        {
            bytes = bytes.saturating_add(receipt.bytes);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_exchange::Code as WireCode;
    use std::time::Duration;

    #[test]
    fn a_day_of_statements_is_made_up_for_by_time_and_the_refusal_says_by_how_much() {
        let began = Instant::now();
        let (statements, unfinished, under_way) = (0.0, BTreeSet::new(), HashMap::new());
        let mut used = Used { statements, at: began, unfinished, received: 0, under_way };
        for _ in 0..5 {
            used.charge(2, 10, began).unwrap();
        }
        let refused = used.charge(2, 10, began).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (WireCode::Quota, 86_400 / 5));
        let again = began + Duration::from_secs(u64::from(refused.retry_after_seconds));
        assert!(used.charge(2, 10, again - Duration::from_secs(60)).is_err());
        used.charge(2, 10, again).unwrap();
        assert!(used.charge(1, 10, again).is_err());
        used.charge(10, 10, again + Duration::from_secs(86_400)).unwrap();
    }

    #[test]
    fn bytes_read_as_people_write_them() {
        for (text, bytes) in [("1", 1), ("500M", 500 << 20), ("500G", 500 << 30), ("2T", 2 << 40)] {
            assert_eq!(parse_bytes(text).map(NonZeroU64::get), Ok(bytes));
        }
        for bad in ["", "0", "0G", "G", "1.5T", "-1", "1 G", "1g", "99999999T"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
