//! A connection to one peer, as its user holds it.

use std::sync::Arc;
use std::time::Duration;

use custodia_exchange::{Phase, Refused};
use custodia_format::Hash;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::end::End;
use crate::host::Peer;
use crate::road::{Connection, Detour, Via};

/// How long hardly anything leaves before nothing does: longer than a round trip by satellite.
const SILENCE: Duration = Duration::from_secs(1);
/// How long what was handed to a link may take to leave, at most. A reader lets go of one that carries nothing after a minute.
const LEAVES: Duration = Duration::from_secs(50);
/// Fewer frames than these are what is said, not what is sent.
const HARDLY: u64 = 8;

/// What a link's user tells the driver.
pub(crate) enum Command {
    Deliver {
        release: Hash,
        reply: oneshot::Sender<(Phase, u64)>,
    },
    Withdraw {
        release: Hash,
    },
    Push {
        digest: Hash,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    Close,
    HangUp,
    /// This machine's address is another one, and the road does not follow.
    Moved,
}

/// A connection to a peer whose hello was read.
///
/// Cheap to clone. Packages that are asked for at the same time are announced in order and travel beside each other. When the last clone is gone the connection is closed
/// as soon as nothing is under way.
#[derive(Debug, Clone)]
pub struct Link {
    peer: Arc<Peer>,
    commands: mpsc::Sender<Command>,
    end: watch::Receiver<Option<End>>,
    via: Via,
    detour: Option<Arc<Detour>>,
    /// The road, where it says how much leaves.
    road: Option<quinn::Connection>,
}

/// A package that the peer holds: its receipt is on our disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Digest of the release.
    pub release: Hash,
    /// Digest of the receipt.
    pub receipt: Hash,
    /// Bytes of content that this connection carried for it, repeats included.
    pub bytes: u64,
}

/// Why a package is not delivered, or a statement not settled. What is proven at the peer stays proven; the same may
/// be asked again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The peer declined, by a signed refusal that our ledger holds.
    #[error("the peer declined; its refusal is {refusal}")]
    Declined {
        /// Digest of the refusal.
        refusal: Hash,
    },
    /// One side refused this transfer or statement; nothing was acknowledged.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// The connection is over.
    #[error(transparent)]
    Ended(#[from] End),
}

impl Link {
    pub(crate) fn new(peer: Peer, commands: mpsc::Sender<Command>, end: watch::Receiver<Option<End>>) -> Self {
        Self { peer: Arc::new(peer), commands, end, via: Via::Udp, detour: None, road: None }
    }

    pub(crate) fn by(mut self, road: &Connection, detour: Option<Detour>) -> Self {
        (self.via, self.road) = match road {
            Connection::Quic(connection) => (Via::Udp, Some(connection.clone())),
            Connection::Tcp(_) => (Via::Tcp, None),
        };
        self.detour = detour.map(Arc::new);
        self
    }

    /// Waits until what data streams were handed has left, while nothing more is: when hardly a frame leaves in a second. A
    /// session in which we also fetch says little; then it is waited for 50 s and no longer.
    pub async fn falls_silent(&self) {
        let Some(road) = &self.road else { return sleep(SILENCE).await };
        let frames = || road.stats().frame_tx.stream;
        let until = Instant::now() + LEAVES;
        let mut before = frames();
        while Instant::now() < until && !self.has_ended() {
            sleep(SILENCE).await;
            let now = frames();
            if now.saturating_sub(std::mem::replace(&mut before, now)) < HARDLY {
                return;
            }
        }
    }

    /// The road that it goes by: [`Via::Udp`] or [`Via::Tcp`].
    pub fn via(&self) -> Via {
        self.via
    }

    /// Why it goes by TCP, where UDP was to be preferred.
    pub fn detour(&self) -> Option<&Detour> {
        self.detour.as_deref()
    }

    /// Whether the connection is over.
    pub fn has_ended(&self) -> bool {
        self.end.borrow().is_some() || self.commands.is_closed()
    }

    /// Whom it leads to.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Hands over the package of a release of ours: release, consignment, content, receipt. Progress goes to
    /// [`crate::Host::observe`].
    ///
    /// # Errors
    /// [`LinkError`]; after any of them the same call, on this or another link, goes on where this one stopped.
    pub async fn deliver(&self, release: Hash) -> Result<Delivered, LinkError> {
        let (reply, outcome) = oneshot::channel();
        self.tell(Command::Deliver { release, reply }).await?;
        match outcome.await {
            Ok((Phase::Receipted { receipt }, bytes)) => Ok(Delivered { release, receipt, bytes }),
            Ok((Phase::Declined { refusal }, _)) => Err(LinkError::Declined { refusal }),
            Ok((Phase::Failed(refused), _)) => Err(refused.into()),
            Ok(_) | Err(_) => Err(self.ended().await.into()),
        }
    }

    /// Lets a package wait whose [`Link::deliver`] has not ended: it ends with a refusal of ours, and the peer keeps what is
    /// proven. What else is under way goes on.
    ///
    /// # Errors
    /// [`LinkError::Ended`].
    pub async fn withdraw(&self, release: Hash) -> Result<(), LinkError> {
        self.tell(Command::Withdraw { release }).await
    }

    /// Sends a statement of ours and waits until the peer keeps it.
    ///
    /// # Errors
    /// [`LinkError`]; the statement stays owed.
    pub async fn push(&self, digest: Hash) -> Result<(), LinkError> {
        let (reply, outcome) = oneshot::channel();
        self.tell(Command::Push { digest, reply }).await?;
        match outcome.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(self.ended().await.into()),
        }
    }

    /// Closes the connection once nothing is under way, and says how it ended.
    pub async fn close(&self) -> End {
        // A driver that is gone has its end already.
        let _ = self.commands.send(Command::Close).await;
        self.ended().await
    }

    /// Closes the connection now, whatever is under way. What is proven at the peer stays proven.
    pub async fn hang_up(&self) -> End {
        let _ = self.commands.send(Command::HangUp).await;
        self.ended().await
    }

    /// Waits for the end of the connection, whoever brings it about.
    pub async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or_else(gone),
            Err(_) => gone(),
        }
    }

    async fn tell(&self, command: Command) -> Result<(), LinkError> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await.into()),
        }
    }
}

fn gone() -> End {
    End::Lost("its task was stopped".to_owned())
}
