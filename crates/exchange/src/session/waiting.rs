//! What a session waits for, in words for a person: why, whose turn, and what comes next.

use custodia_format::Hash;

use super::opening::Opening;
use super::{Item, Pending, Session};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This node.
    Ours,
    /// The peer.
    Theirs,
    /// Nobody: nothing is under way.
    Nobodys,
}

/// Why a session is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What it is doing.
    pub why: &'static str,
    /// Who has to act.
    pub turn: Turn,
    /// What happens then.
    pub next: &'static str,
}

/// What a session waits for, and each package that is under way in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The session as a whole.
    pub session: Waiting,
    /// Digests of releases, each with what its package waits for.
    pub packages: Vec<(Hash, Waiting)>,
}

pub(super) const fn waiting(why: &'static str, turn: Turn, next: &'static str) -> Waiting {
    Waiting { why, turn, next }
}

impl Session {
    /// Why this session waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        if self.closed {
            return waiting("the session is closed", Turn::Nobodys, "a new connection");
        }
        if let Some(pending) = &self.pending {
            return on_host(pending);
        }
        match &self.opening {
            Opening::Hello => return waiting("our hello is being made", Turn::Ours, "the hellos cross"),
            Opening::AwaitHello => return waiting("the peer's hello is awaited", Turn::Theirs, "cards are exchanged"),
            Opening::AwaitCards => {
                return waiting("the peer's cards are awaited", Turn::Theirs, "notes of ledgers are exchanged");
            }
            Opening::AwaitNotes => {
                return waiting("what the peer knows of ledgers is awaited", Turn::Theirs, "checkpoints are judged");
            }
            Opening::Checkpoints { .. } => {
                return waiting("checkpoints are being cosigned", Turn::Theirs, "packages may be handed over");
            }
            Opening::TakingBack { .. } => {
                return waiting("the peer gives back what was lost here", Turn::Theirs, "the session ends");
            }
            Opening::Open => {}
        }
        if let Some((_, waiting)) = self.packages().next() {
            return waiting;
        }
        if !self.unconfirmed.is_empty() {
            return waiting("statements of ours are being kept", Turn::Theirs, "the peer confirms them");
        }
        if !self.checkpoints.none_in_flight() {
            return waiting("our checkpoint is being cosigned", Turn::Theirs, "the cosignature is kept");
        }
        waiting("nothing is under way", Turn::Nobodys, "a package or a statement, from either side")
    }

    /// Why this session waits, and each package in it.
    #[must_use]
    pub fn waits(&self) -> Waits {
        Waits { session: self.waiting(), packages: self.packages().collect() }
    }

    fn packages(&self) -> impl Iterator<Item = (Hash, Waiting)> {
        let sending = self.sending.iter().map(|sending| (sending.release, sending.stage.waiting()));
        sending.chain(self.receiving.iter().map(|receiving| (receiving.release(), receiving.waiting())))
    }
}

fn on_host(pending: &Pending) -> Waiting {
    let (why, next) = match pending {
        Pending::OurHello => ("our hello is being made", "the hellos cross"),
        Pending::Meet | Pending::Cards | Pending::Learn => {
            ("cards are being verified", "notes of ledgers are exchanged")
        }
        Pending::GiveBack => ("what the peer has lost is being read", "it is given back"),
        Pending::TakeBack { .. } => ("what was lost here is being kept", "more is asked for, or the session ends"),
        Pending::Notes => ("what we know of ledgers is being read", "it is passed on"),
        Pending::Hear => ("what the peer knows of ledgers is being judged", "checkpoints are judged"),
        Pending::Newest | Pending::Consistency { .. } => ("our checkpoint is being proven", "the peer cosigns it"),
        Pending::Witness => ("the peer's checkpoint is being judged", "it is cosigned"),
        Pending::KeepCosignatures { .. } => ("a cosignature is being stored", "packages may be handed over"),
        Pending::Owed | Pending::Push { .. } => ("what the peer is owed is being read", "it is sent"),
        Pending::Release { .. } => ("the release is read from the store", "it is announced"),
        Pending::Take { items } => match items.first() {
            Some(Item::Release { .. }) => ("the release is being judged and logged", "the consignment goes back"),
            Some(Item::Answer { .. }) => {
                ("the peer's answer is verified and logged", "the peer is told that it is kept")
            }
            Some(Item::Other { .. }) | None => {
                ("a statement is verified and logged", "the peer is told that it is kept")
            }
        },
        Pending::Receipts { .. } => ("content is made durable and the receipt logged", "the receipt goes back"),
        Pending::Settled { .. } => ("a confirmation is being stored", "nothing: it is settled"),
    };
    waiting(why, Turn::Ours, next)
}
