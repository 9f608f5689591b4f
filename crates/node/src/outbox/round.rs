//! The witness round: peers to whom nothing is owed are called too, so that everybody who can cosigns the newest checkpoint
//! and hears what others know.
//!
//! A peer is due a while after our ledger outgrew what it cosigned, so that a hand-over is over by then and one checkpoint
//! carries all lines; and once a day in any case. It is called no more often than that, more seldom while it does not
//! answer, and few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use custodia_format::key::KeyId;
use tokio::time::Instant;

use crate::Node;
use crate::witness;

/// Peers that are called at once.
const AT_ONCE: usize = 4;
/// How long a peer may go unheard: what it knows of others may concern us.
const UNHEARD: Duration = Duration::from_secs(24 * 60 * 60);

/// Whom to call, and when.
#[derive(Debug)]
pub(super) struct Round {
    /// How long our ledger has grown before a peer is called; none: nobody is called.
    interval: Option<Duration>,
    began: std::time::Instant,
    waiting: BTreeMap<KeyId, Waiting>,
    under_way: BTreeSet<KeyId>,
}

/// A peer that has not cosigned our newest checkpoint.
#[derive(Debug)]
struct Waiting {
    not_before: Instant,
    failures: u32,
}

impl Round {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self { interval, began: std::time::Instant::now(), waiting: BTreeMap::new(), under_way: BTreeSet::new() }
    }

    /// How long nobody need look; none where this round has no wish.
    pub(super) const fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// The peers that a call would do good. Reads the disk.
    pub(super) fn lacking(node: &Node, began: std::time::Instant) -> Vec<KeyId> {
        if node.config().witness.is_none() || node.may_sign().is_err() {
            return Vec::new();
        }
        let is_lacking = |peer: &KeyId| {
            let unheard = node.heard().when(peer).unwrap_or(began).elapsed();
            !witness::has_newest(node, peer) || unheard > UNHEARD
        };
        let peers = node.peers().all();
        let called = peers.iter().filter(|peer| peer.newest().is_some()).map(|peer| peer.root);
        called.filter(is_lacking).collect()
    }

    /// When this process began to look: who was not heard yet was last heard then, if at all.
    pub(super) const fn began(&self) -> std::time::Instant {
        self.began
    }

    /// Of those who lack something, whom to call now; each must be reported by [`Round::ended`].
    pub(super) fn due(&mut self, lacking: &[KeyId], now: Instant) -> Vec<KeyId> {
        let Some(interval) = self.interval else { return Vec::new() };
        self.waiting.retain(|peer, _| lacking.contains(peer));
        let mut due = Vec::new();
        for peer in lacking {
            let first = Waiting { not_before: now + interval, failures: 0 };
            let waiting = self.waiting.entry(*peer).or_insert(first);
            let is_free = self.under_way.len() < AT_ONCE && !self.under_way.contains(peer);
            if waiting.not_before <= now && is_free {
                self.under_way.insert(*peer);
                due.push(*peer);
            }
        }
        due
    }

    /// When somebody is due next; none while only the end of a call changes anything.
    pub(super) fn next(&self) -> Option<Instant> {
        let waits = self.waiting.iter().filter(|(peer, _)| !self.under_way.contains(*peer));
        waits.map(|(_, waiting)| waiting.not_before).min().filter(|_| self.under_way.len() < AT_ONCE)
    }

    /// A call is over.
    pub(super) fn ended(&mut self, peer: &KeyId, has_come_through: bool, now: Instant) {
        self.under_way.remove(peer);
        let (Some(interval), Some(waiting)) = (self.interval, self.waiting.get_mut(peer)) else { return };
        waiting.failures = if has_come_through { 0 } else { waiting.failures.saturating_add(1) };
        let patience = Duration::from_secs(super::wait_seconds(waiting.failures));
        waiting.not_before = now + if has_come_through { interval } else { patience.max(interval) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::Hash;

    fn peer(n: u8) -> KeyId {
        KeyId(Hash::of(&[n]))
    }

    #[test]
    fn a_peer_is_called_a_while_after_the_ledger_grew_and_more_seldom_when_it_does_not_answer() {
        let minute = Duration::from_secs(60);
        let mut round = Round::new(Some(minute));
        let began = Instant::now();
        assert_eq!(round.due(&[peer(1)], began), []);
        assert_eq!(round.due(&[peer(1)], began + minute / 2), []);
        assert_eq!(round.next(), Some(began + minute));
        assert_eq!(round.due(&[peer(1)], began + minute), [peer(1)]);
        assert_eq!((round.due(&[peer(1)], began + minute), round.next()), (vec![], None), "one call at a time");
        round.ended(&peer(1), true, began + minute);
        assert_eq!(round.due(&[peer(1)], began + minute * 3 / 2), []);
        // It cosigned: nothing is left to do, and the next growth waits anew.
        assert_eq!(round.due(&[], began + minute * 5), []);
        assert_eq!(round.due(&[peer(1)], began + minute * 6), []);
        let mut now = began + minute * 7;
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(round.due(&[peer(1)], now), [peer(1)]);
            round.ended(&peer(1), false, now);
            let next = round.next().unwrap();
            waits.push(next - now);
            assert_eq!(round.due(&[peer(1)], next - Duration::from_millis(1)), []);
            now = next;
        }
        assert!(waits.iter().all(|wait| *wait >= minute) && waits[11] >= minute * 5, "{waits:?}");
    }

    #[test]
    fn few_are_called_at_a_time_and_nobody_when_it_is_off() {
        let all: Vec<KeyId> = (0..10).map(peer).collect();
        let (mut round, began) = (Round::new(Some(Duration::ZERO)), Instant::now());
        assert_eq!(round.due(&all, began).len(), AT_ONCE);
        assert_eq!((round.due(&all, began), round.next()), (vec![], None), "nothing to look for before one ends");
        round.ended(&all[0], true, began + Duration::from_secs(1));
        assert_eq!(round.due(&all, began + Duration::from_secs(1)).len(), 1);
        assert_eq!(Round::new(None).due(&all, began), []);
    }
}
