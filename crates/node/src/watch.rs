//! Who wants to know how deliveries go: a broadcast that forgets what a slow listener misses.

use custodia_exchange::Event;
use custodia_format::key::KeyId;
use tokio::sync::broadcast;

use crate::failure::Failure;

/// News that wait for a slow listener before the oldest are dropped.
const WAITING: usize = 1024;

/// Something that happened on the wire or in the outbox.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// A session moved.
    Session(Event),
    /// An attempt to reach this authority came to nothing; another follows after so many seconds.
    Attempt(KeyId, Box<Failure>, u64),
}

/// Where news are told and heard.
#[derive(Debug)]
pub(crate) struct Watch(broadcast::Sender<News>);

impl Watch {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }

    /// Tells what a session did.
    pub(crate) fn tell(&self, event: &Event) {
        self.news(News::Session(event.clone()));
    }

    /// Tells it to everybody who listens; nobody is fine.
    pub(crate) fn news(&self, news: News) {
        let _ = self.0.send(news);
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<News> {
        self.0.subscribe()
    }
}
