//! By which road a peer is called, and what is said of it when it was not the one that was to be preferred.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use custodia_format::key::KeyId;
use custodia_net::{ConnectError, Link, Via};

use super::Online;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::peers::Authority;
use crate::watch::News;
use crate::{desk, edge};

/// Why the last session with each peer went by TCP, where UDP was tried first.
#[derive(Debug)]
pub(super) struct Detours {
    why: Mutex<HashMap<KeyId, String>>,
    /// `desk/silent.json`: the addresses where UDP met silence, so that the next process need not find out again.
    path: PathBuf,
    /// What stands there.
    saved: Mutex<Vec<SocketAddr>>,
}

impl Detours {
    /// What was found out before; nothing where that cannot be read.
    pub(super) fn of(home: &Home) -> Self {
        let path = home.desk().join("silent.json");
        let saved: Vec<SocketAddr> = desk::load(&path).unwrap_or_default();
        Self { why: Mutex::default(), path, saved: Mutex::new(saved) }
    }

    pub(super) fn saved(&self) -> Vec<SocketAddr> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<KeyId, String>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down where there is silence, if that has changed.
    async fn save(&self, silent: Vec<SocketAddr>) {
        let before = std::mem::replace(&mut *self.saved.lock().unwrap_or_else(PoisonError::into_inner), silent.clone());
        if before == silent {
            return;
        }
        let path = self.path.clone();
        let saved = tokio::task::spawn_blocking(move || desk::save(&path, &silent)).await;
        if let Ok(Err(failure)) = saved {
            tracing::debug!(code = failure.code.as_str(), "where UDP meets silence was not written down");
        }
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
    let peer = authority.as_peer();
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
                    online.detours.save(online.endpoint.silent()).await;
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
