//! By which road a peer is called, and what is said of it when it was not the one that was to be preferred.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custodia_format::key::KeyId;
use custodia_net::{ConnectError, Link, Peer, Via};

use super::Online;
use crate::edge;
use crate::failure::{Code, Failure};
use crate::peers::Authority;
use crate::watch::News;

/// Why the last session with each peer went by TCP, where UDP was tried first.
#[derive(Debug, Default)]
pub(super) struct Detours(Mutex<HashMap<KeyId, String>>);

impl Detours {
    fn all(&self) -> MutexGuard<'_, HashMap<KeyId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Online {
    /// Why the last session with a peer went by TCP; none when it went as it was to go.
    pub(crate) fn detour(&self, peer: &KeyId) -> Option<String> {
        self.detours.all().get(peer).cloned()
    }

    fn goes(&self, link: &Link) {
        let peer = link.peer();
        match link.detour().map(ToString::to_string) {
            Some(why) => {
                tracing::warn!(peer = %peer.name, "{why}");
                self.detours.all().insert(peer.root, why.clone());
                self.watch.news(News::Detour(peer.root, why));
            }
            None => drop(self.detours.all().remove(&peer.root)),
        }
    }
}

/// Calls an authority at its addresses, the best first.
pub(super) async fn connect(online: &Online, authority: &Authority, via: Via) -> Result<Link, Failure> {
    let peer = Peer { root: authority.root, name: authority.name.clone() };
    let keys = authority.transport_keys(edge::now());
    let mut failure = Failure::new(Code::PeerUnreachable, "The peer's card gives no address.")
        .at(&authority.name)
        .safe("Everything is queued here; it goes when the peer calls.")
        .next("ask for their newest card");
    for address in &authority.card()?.addresses {
        let text = address.to_string();
        let found = tokio::net::lookup_host(text.as_str()).await.map(|found| found.collect::<Vec<_>>());
        let found = found.unwrap_or_else(|error| {
            failure = Failure::new(Code::PeerUnreachable, "The peer's address is not known to this network.")
                .at(&text)
                .instead_of("an address", error.to_string())
                .safe("Everything is queued here; what the peer has proven is not sent again.");
            Vec::new()
        });
        for address in found {
            match online.endpoint.connect(peer.clone(), &keys, address, via).await {
                Ok(link) => {
                    online.goes(&link);
                    return Ok(link);
                }
                // Somebody else answers there: that is told, and no other address is tried in its place.
                Err(error @ ConnectError::IdentityChanged { .. }) => return Err(error.into()),
                Err(error) => failure = error.into(),
            }
        }
    }
    Err(failure)
}
