//! Who wants to know how deliveries go: a broadcast that forgets what a slow listener misses; and what each session waits for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use custodia_exchange::{Event, Waiting, Waits};
use custodia_format::Hash;
use custodia_format::key::KeyId;
use tokio::sync::broadcast;

use crate::failure::Failure;
use crate::progress::Journeys;

/// News that wait for a slow listener before the oldest are dropped.
const WAITING: usize = 1024;

/// Something that happened on the wire or in the outbox.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A session moved.
    Session(Event),
    /// An attempt to reach this authority came to nothing; another follows after so many seconds.
    Attempt(KeyId, Box<Failure>, u64),
    /// A session with this authority goes by TCP, and why.
    Detour(KeyId, String),
}

/// What each release in a session waits for, and since when; under none the session as a whole.
type OfSession = HashMap<Option<Hash>, (Waiting, Instant)>;

/// Where news are told and heard.
#[derive(Debug)]
pub(crate) struct Watch {
    news: broadcast::Sender<News>,
    /// What the session with each peer waits for.
    waiting: Mutex<HashMap<KeyId, OfSession>>,
    /// Where each package is that travels now.
    journeys: Mutex<Journeys>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { news: broadcast::Sender::new(WAITING), waiting: Mutex::default(), journeys: Mutex::default() }
    }

    /// Where each package is that travels now.
    pub(crate) fn journeys(&self) -> MutexGuard<'_, Journeys> {
        self.journeys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session with a peer waits for something else now, or is over.
    pub(crate) fn waits(&self, peer: KeyId, waits: Option<&Waits>) {
        let mut waiting = self.waiting();
        let before = waiting.remove(&peer).unwrap_or_default();
        let Some(waits) = waits else { return };
        let packages = waits.packages.iter().map(|(release, waiting)| (Some(*release), *waiting));
        let since = |about: Option<Hash>, now: Waiting| match before.get(&about) {
            Some((waiting, since)) if *waiting == now => (now, *since),
            _ => (now, Instant::now()),
        };
        let all = packages.chain([(None, waits.session)]).map(|(about, now)| (about, since(about, now)));
        waiting.insert(peer, all.collect());
    }

    /// What the session with a peer waits for where this release is concerned, and for how long it has; none without a
    /// session.
    pub(crate) fn waits_for(&self, peer: &KeyId, release: &Hash) -> Option<(Waiting, Duration)> {
        let waiting = self.waiting();
        let session = waiting.get(peer)?;
        let (waiting, since) = session.get(&Some(*release)).or_else(|| session.get(&None))?;
        Some((*waiting, since.elapsed()))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<KeyId, OfSession>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what a session with this peer did.
    pub(crate) fn tell(&self, peer: KeyId, event: &Event) {
        self.journeys().handle(peer, event, Instant::now());
        self.news(News::Session(event.clone()));
    }

    /// Tells it to everybody who listens; nobody is fine.
    pub(crate) fn news(&self, news: News) {
        let _ = self.news.send(news);
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}
