//! Which checkpoints are to be stamped: those under which proofs will show what this node said.
//!
//! A proof shows each statement under the earliest checkpoint that a peer has cosigned, so a token is of use over exactly
//! these. What no cosigned checkpoint covers yet is shown under the earliest own one that was stamped, so the newest own one
//! is stamped for it. Where nothing was said since, there is nothing to stamp: tokens are entries too, and are not stamped for
//! their own sake.

use std::collections::BTreeSet;

use custodia_format::note::Note;

use super::record::Asked;
use crate::failure::Failure;
use crate::{Node, author, witness};

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
pub(super) fn of(node: &Node, asked: &Asked) -> Result<Vec<Due>, Failure> {
    let mut cosigned = witness::ours(node.home());
    cosigned.retain(|note| note.size <= node.ledger().size());
    cosigned.dedup_by_key(|note| note.size);
    let (from, own_from) = (asked.cosigned.unwrap_or(0), asked.own.unwrap_or(0));

    let (mut wanted, mut is_uncovered) = (BTreeSet::new(), false);
    for row in node.index().since(from.min(own_from))? {
        if !author::is_own(node, &row) {
            continue;
        }
        match cosigned.get(cosigned.partition_point(|note| note.size <= row.leaf_index)) {
            Some(note) if row.leaf_index >= from => drop(wanted.insert(note.clone())),
            Some(_) => {}
            None => is_uncovered |= row.leaf_index >= own_from,
        }
    }
    if asked.cosigned.is_none() {
        // A service that was never asked is asked about the newest, and not about years that are gone.
        wanted = wanted.pop_last().into_iter().collect();
    }
    let mut due = Vec::new();
    for note in wanted {
        due.push(Due { size: note.size, note: note.read()?, seen: Seen::ByPeer });
    }
    if is_uncovered {
        let newest = node.ledger().checkpoint();
        due.push(Due { size: newest.checkpoint().size, note: newest.note().clone(), seen: Seen::ByNobody });
    }
    Ok(due)
}
