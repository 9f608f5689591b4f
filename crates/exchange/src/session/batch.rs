//! What is asked about together: statements of the peer that came behind each other, confirmations, and content that was
//! proven meanwhile. A host that is asked about many at once makes them durable at once, and all of its answers stand under
//! one checkpoint.

use custodia_format::Hash;

use super::outgoing::Answered;
use super::{AT_ONCE, ErrorBody, Message, Pending, Phase, Question, Refused, Session};
use crate::codes::Code;
use crate::frame::FrameType;
use crate::question::{Received, Taken};

/// What was read and is not asked about yet: of one sort.
#[derive(Debug, Default)]
pub(super) struct Batch {
    statements: Vec<(Item, Received)>,
    kept: Vec<Hash>,
}

/// What a statement of the peer is to this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// A release to us, of the package with this root.
    Release { release: Hash, root: Hash },
    /// An answer to a release of ours that is under way.
    Answer { release: Hash, digest: Hash, answer: Answered },
    /// Any other.
    Other { digest: Hash },
}

impl Batch {
    pub(super) fn add(&mut self, item: Item, statement: Received) {
        self.statements.push((item, statement));
    }

    pub(super) fn add_kept(&mut self, digest: Hash) {
        self.kept.push(digest);
    }

    fn len(&self) -> usize {
        self.statements.len() + self.kept.len()
    }
}

impl Session {
    /// Asks about what was read, unless the next frame that waits is of the same kind and may join it.
    pub(super) fn ask_about_batch(&mut self, kind: FrameType) {
        let joins = self.inbox.front().is_some_and(|next| next.kind == kind) && self.batch.len() < AT_ONCE;
        if self.pending.is_some() || self.closed || joins {
            return;
        }
        let Batch { statements, kept } = std::mem::take(&mut self.batch);
        if !statements.is_empty() {
            let (items, statements) = statements.into_iter().unzip();
            self.ask(Question::Take(statements), Pending::Take { items });
        } else if !kept.is_empty() {
            self.ask(Question::Settled { digests: kept.clone() }, Pending::Settled { digests: kept });
        }
    }

    /// The host has taken a statement of the peer, or has not.
    pub(super) fn taken(&mut self, item: Item, taken: Result<Taken, Refused>) {
        match (item, taken) {
            (Item::Release { release, root }, Ok(Taken::Consigned(consigned))) => {
                self.say_consigned(release, root, consigned);
            }
            (Item::Answer { release, digest, answer }, Ok(Taken::Kept)) => self.answer_kept(release, digest, answer),
            (Item::Other { digest }, Ok(Taken::Kept)) => self.send(&Message::Kept(digest)),
            (Item::Release { release, .. }, Err(refused)) => self.refuse_transfer(release, refused),
            (Item::Answer { release, digest, .. }, Err(refused)) => {
                self.send(&Message::Error(ErrorBody::new(refused, Some(digest))));
                self.end_sending(release, Phase::Failed(refused));
            }
            (Item::Other { digest }, Err(refused)) => {
                self.send(&Message::Error(ErrorBody::new(refused, Some(digest))));
            }
            (_, Ok(_)) => self.close(Code::Internal),
        }
    }

    /// Ends a transfer to us, and tells the peer why.
    pub(super) fn refuse_transfer(&mut self, release: Hash, refused: Refused) {
        self.send(&Message::Error(ErrorBody::new(refused, Some(release))));
        self.end_receiving(release, Phase::Failed(refused));
    }
}
