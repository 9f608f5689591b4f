//! A node in a simulator's hands: the same node, without its sockets, with somebody else's clock and entropy.
//!
//! Nothing here decides anything: each function hands out what the node's own runtime uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::key::KeyId;
use custodia_index::Row;
use custodia_ledger::{AppendError, Ledger};
use custodia_net::{Host, Peer};

use crate::failure::Failure;
use crate::host::{self, Station};
use crate::operations::own_card;
use crate::watch::Watch;
use crate::{Node, edge, outbox, receive};

/// Sets the clock of this thread, in seconds since 1970, and the seed of what it draws from now on.
pub fn set_edge(unix: i64, seed: u64) {
    edge::watched::set(unix, seed);
}

/// The node as its sessions see it.
#[must_use]
pub fn host(node: &Arc<Node>) -> Arc<dyn Host> {
    Arc::new(Station::new(node.clone(), Arc::new(Watch::new())))
}

/// The node as the stations of others name it.
///
/// # Errors
/// [`Failure`] when its card cannot be read.
pub fn as_peer(node: &Node) -> Result<Peer, Failure> {
    let (_, card) = own_card(node)?;
    let name = card.head.issuer.name.clone();
    Ok(Peer { root: host::us(node)?, name })
}

/// Its releases that nobody has answered for good, by recipient, oldest first: what its outbox hands over.
///
/// # Errors
/// [`Failure`] when they cannot be listed.
pub fn open_releases(node: &Node) -> Result<BTreeMap<KeyId, Vec<Hash>>, Failure> {
    outbox::open_releases(node)
}

/// Its answers that this peer has not confirmed.
///
/// # Errors
/// [`Failure`] when they cannot be listed.
pub fn owed(node: &Node, peer: &Peer) -> Result<Vec<Hash>, Failure> {
    host::owed(node, peer)
}

/// Its own receipt for a release to it.
///
/// # Errors
/// [`Failure`] when its views cannot be read.
pub fn receipt_of(node: &Node, release: &Hash) -> Result<Option<Hash>, Failure> {
    receive::receipt_of(node, release)
}

/// Its ledger.
#[must_use]
pub fn ledger(node: &Node) -> &Ledger {
    node.ledger()
}

/// All rows of its views, in the order of the ledger.
///
/// # Errors
/// [`Failure`] when they cannot be read.
pub fn rows(node: &Node) -> Result<Vec<Row>, Failure> {
    Ok(node.index().all()?)
}

/// Writes out what its ledger has committed, as it does by itself when nobody asks.
///
/// # Errors
/// What the ledger says.
pub fn write_out(node: &Node) -> Result<(), AppendError> {
    node.ledger().publish()
}

/// Takes it that the node has asked its peers what they saw of its ledger, and that nobody answered in time.
pub fn nobody_answered(node: &Node) {
    *node.asked() = true;
}
