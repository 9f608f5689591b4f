//! How connections are and how they end, and how many were not let in: for whoever looks after a node. Nothing is decided here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use custodia_exchange::Code;

use crate::end::End;
use crate::road::Via;

/// What becomes of a connection whose peer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// It is there.
    Begun,
    /// It is like this now.
    Is(LinkState),
    /// It is over.
    Ended(End),
}

/// How a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// The road: [`Via::Udp`] or [`Via::Tcp`].
    pub via: Via,
    /// How long an answer takes; none where the road does not show it.
    pub round_trip: Option<Duration>,
    /// Packets that were sent and that were lost of them, since it began; none where the road does not show it.
    pub packets: Option<Packets>,
}

/// Packets of ours on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packets {
    /// Sent.
    pub sent: u64,
    /// Of those, lost.
    pub lost: u64,
}

/// Why a caller was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many handshakes at a time, or of this network: nothing was answered.
    Flood,
    /// The address was not shown to be the caller's yet: it was asked to show it, once for each attempt.
    Unproven,
    /// The handshake failed: another protocol, or a key that nobody here knows.
    Failed,
    /// The handshake, or the first stream after it, took too long.
    Slow,
    /// The key is of nobody whom this node knows.
    UnknownPeer,
    /// A known peer has all of its connections already.
    Busy,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Flood, Self::Unproven, Self::Failed, Self::Slow, Self::UnknownPeer, Self::Busy];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Unproven => "address-not-shown",
            Self::Failed => "handshake-failed",
            Self::Slow => "too-slow",
            Self::UnknownPeer => "unknown-peer",
            Self::Busy => "busy",
        }
    }
}

/// How many callers were not let in, since the socket was taken.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, refusal: Refusal) {
        if let Some(counter) = self.0.get(refusal as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn of(&self, refusal: Refusal) -> u64 {
        self.0.get(refusal as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

impl End {
    /// Which side ended it, and with which code, as few words as a counter has.
    pub fn label(&self) -> (&'static str, String) {
        let name = |number: u64| match u16::try_from(number).ok().and_then(Code::from_number) {
            Some(code) => format!("{code:?}"),
            None => "unknown".to_owned(),
        };
        match self {
            Self::ByUs(code) => ("us", format!("{code:?}")),
            Self::ByPeer(number) => ("peer", name(*number)),
            Self::Misbehaved(fault) => ("us", format!("{:?}", fault.code())),
            Self::NotKnownThere => ("peer", "UnknownPeer".to_owned()),
            Self::OtherProtocol => ("peer", "OtherProtocol".to_owned()),
            Self::Lost(_) => ("link", "Lost".to_owned()),
            Self::Moved => ("link", "Moved".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_counter_and_name() {
        let refusals = Refusals::default();
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            (0..=place).for_each(|_| refusals.count(refusal));
        }
        let counts: Vec<u64> = Refusal::ALL.into_iter().map(|refusal| refusals.of(refusal)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
        let names: std::collections::BTreeSet<&str> = Refusal::ALL.into_iter().map(Refusal::as_str).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }

    #[test]
    fn an_end_is_told_by_who_ended_it_and_its_code() {
        let label = |end: End| {
            let (by, code) = end.label();
            format!("{by} {code}")
        };
        assert_eq!(label(End::ByUs(Code::TooSlow)), "us TooSlow");
        assert_eq!(label(End::ByPeer(0)), "peer Done");
        assert_eq!(label(End::ByPeer(77)), "peer unknown", "a number of a peer is no label of ours");
        assert_eq!(label(End::Lost("silence".to_owned())), "link Lost");
    }
}
