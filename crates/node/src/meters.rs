//! What a node has done since its process began, as counters for whoever looks after it. What is true at a moment, such as
//! the length of the queue, is looked up when it is asked for ([`crate::operations::Metrics`]).
//!
//! A counter names no case, no package and no file. Labels are from closed lists, but for the names of peers, which stand only
//! where a link or a witness is meant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use custodia_exchange::{Event, Phase};
use custodia_format::Hash;
use custodia_net::LinkNews;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::progress::{Direction, Ended};

/// Labels with their values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Hand-overs whose counts are kept while they are not received: a release that was cut off goes on later.
const KEPT: usize = 4096;

/// Seconds of a commit that are told apart: from a disk that has its own battery to one that is about to fail.
const COMMIT_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The counters.
#[derive(Debug)]
pub(crate) struct Meters {
    sent: Counter,
    sent_again: Counter,
    proven_by_peers: Counter,
    received: Counter,
    received_again: Counter,
    not_proven: Counter,
    sessions: Counter,
    sessions_ended: Family<Labels, Counter>,
    transfers_ended: Family<Labels, Counter>,
    not_taken: Family<Labels, Counter>,
    receipts_issued: Counter,
    receipts_stored: Counter,
    commits: Histogram,
    sending: Mutex<HashMap<Hash, Sending>>,
}

/// What was counted of one release of ours. All in bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Sending {
    /// In this session.
    sent: u64,
    /// In the sessions before.
    sent_before: u64,
    /// Whether the peer has said in this session what it has.
    has_spoken: bool,
    /// What the peer had proven when this process first heard of it, and has now.
    first: Option<u64>,
    proven: u64,
    /// Sent in vain, as far as it was counted.
    again: u64,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            sent: Counter::default(),
            sent_again: Counter::default(),
            proven_by_peers: Counter::default(),
            received: Counter::default(),
            received_again: Counter::default(),
            not_proven: Counter::default(),
            sessions: Counter::default(),
            sessions_ended: Family::default(),
            transfers_ended: Family::default(),
            not_taken: Family::default(),
            receipts_issued: Counter::default(),
            receipts_stored: Counter::default(),
            commits: Histogram::new(COMMIT_SECONDS),
            sending: Mutex::default(),
        }
    }
}

impl Meters {
    /// Something happened in a session.
    pub(crate) fn handle(&self, event: &Event) {
        if let Event::NotTaken { refused, .. } = event {
            self.not_taken.get_or_create(&vec![("code", format!("{:?}", refused.code))]).inc();
        }
        let Some((direction, release, phase)) = Direction::of(event) else { return };
        if direction == Direction::Out {
            self.count_sending(release, phase);
        }
        if let Some(ended) = Ended::of(phase) {
            self.count_end(direction, ended);
        }
    }

    fn count_sending(&self, release: &Hash, phase: &Phase) {
        let mut all = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        match phase {
            Phase::Announced => {
                if all.len() >= KEPT {
                    all.clear();
                }
                let it = all.entry(*release).or_default();
                it.sent_before += std::mem::take(&mut it.sent);
                it.has_spoken = false;
            }
            Phase::Content { bytes, proven, .. } => {
                let it = all.entry(*release).or_default();
                self.sent.inc_by(bytes.saturating_sub(it.sent));
                it.sent = *bytes;
                let Some(proven) = *proven else { return };
                let first = *it.first.get_or_insert(proven);
                self.proven_by_peers.inc_by(proven.saturating_sub(it.proven.max(first)));
                it.proven = it.proven.max(proven);
                if !std::mem::replace(&mut it.has_spoken, true) {
                    // What went out before and was not proven when this session began went out in vain.
                    let in_vain = first.saturating_add(it.sent_before).saturating_sub(proven);
                    self.sent_again.inc_by(in_vain.saturating_sub(it.again));
                    it.again = it.again.max(in_vain);
                }
            }
            Phase::Receipted { .. } | Phase::Declined { .. } => drop(all.remove(release)),
            _ => {}
        }
    }

    fn count_end(&self, direction: Direction, ended: Ended) {
        let (outcome, code) = (ended.outcome.as_str().to_owned(), ended.code.unwrap_or_default());
        let labels = vec![("direction", direction.as_str().to_owned()), ("outcome", outcome), ("code", code)];
        self.transfers_ended.get_or_create(&labels).inc();
    }

    /// Something became of a connection.
    pub(crate) fn link(&self, news: &LinkNews) {
        match news {
            LinkNews::Begun => drop(self.sessions.inc()),
            LinkNews::Is(_) => {}
            LinkNews::Ended(end) => {
                let (by, code) = end.label();
                self.sessions_ended.get_or_create(&vec![("by", by.to_owned()), ("code", code)]).inc();
            }
        }
    }

    /// A chunk came in and was proven; it was here already, or it was not.
    pub(crate) fn chunk(&self, bytes: u64, was_here: bool) {
        self.received.inc_by(bytes);
        if was_here {
            self.received_again.inc_by(bytes);
        }
    }

    /// A chunk came in that does not prove.
    pub(crate) fn bad_chunk(&self, bytes: u64) {
        self.received.inc_by(bytes);
        self.not_proven.inc_by(bytes);
    }

    /// A receipt of ours is in our ledger.
    pub(crate) fn receipt_issued(&self) {
        self.receipts_issued.inc();
    }

    /// A receipt of a peer is in our ledger.
    pub(crate) fn receipt_stored(&self) {
        self.receipts_stored.inc();
    }

    /// A statement became durable in so long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// Names all of it. What is registered goes on counting.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut bytes = |name: &str, help: &str, counter: &Counter| {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        };
        bytes("content_sent", "Bytes of content and midstates that were handed to links", &self.sent);
        bytes(
            "content_sent_again",
            "Bytes of these that went out in vain: a link broke before they were proven",
            &self.sent_again,
        );
        bytes("content_proven_by_peers", "Bytes of content that peers say they have proven", &self.proven_by_peers);
        bytes("content_received", "Bytes of content that came in, by links and on media", &self.received);
        bytes("content_received_again", "Bytes of these that were here already", &self.received_again);
        bytes("content_not_proven", "Bytes of these that did not prove", &self.not_proven);
        registry.register("sessions", "Sessions with peers that began", self.sessions.clone());
        registry.register(
            "sessions_ended",
            "Sessions that ended, by who ended them and why",
            self.sessions_ended.clone(),
        );
        registry.register("transfers_ended", "Hand-overs that ended in a session", self.transfers_ended.clone());
        registry.register(
            "statements_not_taken",
            "Statements of ours that a peer did not take",
            self.not_taken.clone(),
        );
        registry.register("receipts_issued", "Receipts that this node signed and logged", self.receipts_issued.clone());
        registry.register(
            "receipts_stored",
            "Receipts of peers that this node verified and logged",
            self.receipts_stored.clone(),
        );
        let help = "Time in which statements became durable in the ledger";
        registry.register_with_unit("commit", help, Unit::Seconds, self.commits.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: u64, proven: Option<u64>) -> Phase {
        Phase::Content { bytes, wasted: 0, proven }
    }

    /// Sent, sent in vain, proven by peers.
    fn after(phases: &[Phase]) -> (u64, u64, u64) {
        let meters = Meters::default();
        for phase in phases {
            meters.handle(&Event::Sending { release: Hash::ZERO, phase: phase.clone() });
        }
        (meters.sent.get(), meters.sent_again.get(), meters.proven_by_peers.get())
    }

    #[test]
    fn a_hand_over_in_one_session_counts_each_byte_once() {
        let whole = [Phase::Announced, content(400, Some(0)), content(1000, Some(300)), content(1000, Some(1000))];
        assert_eq!(after(&whole), (1000, 0, 1000));
        // What the peer had before is not counted as if it had been proven now.
        assert_eq!(after(&[Phase::Announced, content(100, Some(600)), content(400, Some(1000))]), (400, 0, 400));
    }

    #[test]
    fn what_was_on_its_way_when_a_link_broke_is_counted_as_sent_in_vain() {
        let first = [Phase::Announced, content(0, Some(0)), content(700, Some(400))];
        let second = [Phase::Announced, content(0, Some(500)), content(500, Some(1000))];
        let all = [first.as_slice(), &second].concat();
        assert_eq!(after(&all), (1200, 200, 1000), "500 of 700 were proven");
        let third = [Phase::Announced, content(0, Some(1000))];
        assert_eq!(after(&[all.as_slice(), &third].concat()), (1200, 200, 1000));
    }

    #[test]
    fn each_end_is_counted_with_its_reason() {
        let meters = Meters::default();
        let busy = custodia_exchange::Refused::new(custodia_exchange::Code::Busy);
        meters.handle(&Event::Receiving { release: Hash::ZERO, phase: Phase::Failed(busy) });
        meters.handle(&Event::Receiving { release: Hash::ZERO, phase: Phase::Receipted { receipt: Hash::ZERO } });
        meters.link(&LinkNews::Ended(custodia_net::End::ByPeer(0)));
        let mut registry = Registry::with_prefix("custodia");
        meters.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"custodia_transfers_ended_total{direction="in",outcome="stopped",code="Busy"} 1"#,
            r#"custodia_transfers_ended_total{direction="in",outcome="received",code=""} 1"#,
            r#"custodia_sessions_ended_total{by="peer",code="Done"} 1"#,
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
