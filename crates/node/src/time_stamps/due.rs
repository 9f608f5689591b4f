//! Which checkpoints are to be stamped: those under which proofs will show what this node said.
//!
//! A proof shows each statement under the earliest checkpoint that enough peers have cosigned, so a token is of use over exactly
//! these: the choice is made by the code of proofs. What no cosigned checkpoint covers yet is shown under the earliest own one
//! that was stamped, so the newest own one is stamped for it. Where nothing was said since, there is nothing to stamp: tokens
//! are entries too, and are not stamped for their own sake.

use std::collections::BTreeSet;

use custodia_format::note::Note;

use super::record::Asked;
use crate::failure::Failure;
use crate::{Node, proofs, witness};

/// A checkpoint that is to be stamped.
#[derive(Debug, Clone)]
pub(super) struct Due {
    /// Entries that it covers.
    pub(super) size: u64,
    /// The signed checkpoint.
    pub(super) note: Note,
    /// Who has seen it.
    pub(super) seen: Seen,
}

/// Who has seen a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A peer has cosigned it; its note is kept with what is known of the peer.
    ByPeer,
    /// Nobody else; its note is logged with the token, so that a proof can be made under it later.
    ByNobody,
}

/// What a service has yet to stamp, from the smallest.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    /// The checkpoints.
    pub(super) due: Vec<Due>,
    /// The first statement whose checkpoint it has not stamped, or may have to stamp another one for, by its place in the
    /// ledger: where to look from the next time.
    pub(super) from: u64,
}

impl Work {
    /// Finds out what is to be done by a service that has done this much.
    pub(super) fn of(node: &Node, asked: &Asked) -> Result<Self, Failure> {
        let ours = node.config().ledger.to_string();
        let asked = asked.clone().of_ledger(&ours);
        // A service that was never asked is asked about the newest statement, and not about years that are gone.
        let from = match asked.from {
            Some(from) => from,
            None => match node.index().newest_first().find(|row| row.as_ref().map_or(true, |row| row.ledger == ours)) {
                Some(newest) => newest?.leaf_index,
                None => return Ok(Self::default()),
            },
        };
        let (notes, peers) = (node.notes().ours(), node.peers().all().len() as u64);
        let quorum = node.trust()?.quorum;
        let generation = node.config().ledger.generation;
        let mut work = Self { due: Vec::new(), from };
        let (mut wanted, mut is_uncovered, mut all_settled) = (BTreeSet::new(), false, true);
        for row in node.index().since(from)?.into_iter().filter(|row| row.ledger == ours) {
            let covering: Vec<_> = proofs::covering(&notes, node.ledger(), generation, row.leaf_index).collect();
            let is_settled = match proofs::earliest(&covering, quorum) {
                Some((at, cosigners)) => {
                    let is_stamped = asked.stamped.contains(&at.size);
                    if !is_stamped {
                        wanted.insert(at);
                    }
                    is_stamped && cosigners >= quorum.min(peers)
                }
                None => {
                    is_uncovered |= asked.stamped.range(row.leaf_index.saturating_add(1)..).next().is_none();
                    false
                }
            };
            all_settled &= is_settled;
            if all_settled {
                work.from = row.leaf_index.saturating_add(1);
            }
        }
        for at in wanted {
            if let Some(note) = witness::joined(&notes, at, node.ledger_vkey())? {
                work.due.push(Due { size: at.size, note, seen: Seen::ByPeer });
            }
        }
        if is_uncovered {
            let newest = node.ledger().checkpoint();
            let (size, note) = (newest.checkpoint().size, newest.note().clone());
            work.due.push(Due { size, note, seen: Seen::ByNobody });
        }
        Ok(work)
    }
}
