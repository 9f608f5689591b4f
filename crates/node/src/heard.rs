//! Who told this process what it knows of ledgers.
//!
//! A node that was restored from an older copy has forgotten what it said and what it witnessed; its peers have not. Whoever
//! must not act before they were asked waits here.

use std::collections::HashMap;
use std::time::Instant;

use custodia_format::key::KeyId;
use tokio::sync::watch;

/// The authorities whose hello and notes were taken in by this process, and when last.
#[derive(Debug, Default)]
pub struct Heard(watch::Sender<HashMap<KeyId, Instant>>);

impl Heard {
    /// An authority's hello and notes are taken in, and what counts of them is durable.
    pub(crate) fn mark(&self, peer: KeyId) {
        self.0.send_modify(|last| _ = last.insert(peer, Instant::now()));
    }

    /// When an authority was last heard by this process.
    pub fn when(&self, peer: &KeyId) -> Option<Instant> {
        self.0.borrow().get(peer).copied()
    }

    /// Waits until an authority was heard.
    pub(crate) async fn heard(&self, peer: &KeyId) {
        // The sender is ours, and lives as long as we do.
        let _ = self.0.subscribe().wait_for(|last| last.contains_key(peer)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::Hash;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn who_waits_goes_on_when_the_one_was_heard_and_no_sooner() {
        let (one, other) = (KeyId(Hash::of(b"one")), KeyId(Hash::of(b"other")));
        let heard = Arc::new(Heard::default());
        let waits = tokio::spawn({
            let heard = heard.clone();
            async move { heard.heard(&one).await }
        });
        heard.mark(other);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waits.is_finished() && heard.when(&one).is_none() && heard.when(&other).is_some());
        heard.mark(one);
        waits.await.unwrap();
        heard.heard(&one).await;
    }
}
