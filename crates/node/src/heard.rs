//! Who told this process what it knows of ledgers.
//!
//! A node that was restored from an older copy has forgotten what it said and what it witnessed; its peers have not. Whoever
//! must not act before they were asked waits here.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use custodia_format::key::KeyId;

/// The authorities whose hello and notes were taken in by this process, and when last.
#[derive(Debug, Default)]
pub struct Heard {
    last: Mutex<HashMap<KeyId, Instant>>,
    more: Condvar,
}

impl Heard {
    /// An authority's hello and notes are taken in, and what counts of them is durable.
    pub(crate) fn mark(&self, peer: KeyId) {
        self.last().insert(peer, Instant::now());
        self.more.notify_all();
    }

    /// When an authority was last heard by this process.
    pub fn when(&self, peer: &KeyId) -> Option<Instant> {
        self.last().get(peer).copied()
    }

    /// Waits until all of these were heard, or the time is over; gives those who were not. It blocks its thread.
    #[must_use]
    pub fn wait(&self, peers: &[KeyId], patience: Duration) -> Vec<KeyId> {
        let missing = |last: &HashMap<KeyId, Instant>| -> Vec<KeyId> {
            peers.iter().filter(|peer| !last.contains_key(*peer)).copied().collect()
        };
        let waited = self.more.wait_timeout_while(self.last(), patience, |last| !missing(last).is_empty());
        let (last, _) = waited.unwrap_or_else(PoisonError::into_inner);
        missing(&last)
    }

    fn last(&self) -> MutexGuard<'_, HashMap<KeyId, Instant>> {
        // A map of marks is whole after any of them.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::Hash;

    #[test]
    fn who_waits_goes_on_when_all_were_heard_or_the_time_is_over() {
        let (one, other) = (KeyId(Hash::of(b"one")), KeyId(Hash::of(b"other")));
        let heard = Heard::default();
        assert_eq!(heard.wait(&[], Duration::ZERO), []);
        heard.mark(one);
        assert_eq!(heard.wait(&[one, other], Duration::from_millis(1)), [other]);
        assert!(heard.when(&one).is_some() && heard.when(&other).is_none());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| heard.wait(&[one, other], Duration::from_secs(60)));
            heard.mark(other);
            assert_eq!(waits.join().unwrap(), []);
        });
    }
}
