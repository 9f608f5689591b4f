//! How fast content leaves, and how much of it: one bucket and one budget for all links of an endpoint. What is said on control
//! streams is never held up.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

/// What a link that was silent may make up for.
const BURST: Duration = Duration::from_millis(100);

/// A limit on the bytes of content that leave in a second, and one on all that may leave; both can be changed at any time.
#[derive(Debug)]
pub struct Throttle {
    rate: watch::Sender<Option<NonZeroU64>>,
    /// When the bytes that were let through will have left. Who waits for it holds the lock: first come, first served.
    free_at: Mutex<Instant>,
    budget: watch::Sender<Budget>,
}

/// How much has left, and how much may.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    /// Bytes that were let through since the throttle was made.
    passed: u64,
    /// Up to which count they may be; none: as many as there are.
    until: Option<u64>,
    /// Below so many bytes that are left somebody is to be told.
    low: u64,
}

impl Budget {
    fn has_room(&self, bytes: u64) -> bool {
        self.until.is_none_or(|until| self.passed.saturating_add(bytes) <= until)
    }

    fn is_low(&self) -> bool {
        self.until.is_some_and(|until| until.saturating_sub(self.passed) < self.low)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        let free_at = Mutex::new(Instant::now());
        Self { rate: watch::Sender::new(None), free_at, budget: watch::Sender::new(Budget::default()) }
    }
}

impl Throttle {
    /// Sets the limit, in bytes a second; none lifts it. Who waits under the old one goes on under the new one.
    pub fn set(&self, rate: Option<NonZeroU64>) {
        self.rate.send_if_modified(|now| std::mem::replace(now, rate) != rate);
    }

    /// The limit now, in bytes a second.
    pub fn rate(&self) -> Option<NonZeroU64> {
        *self.rate.borrow()
    }

    /// Bytes of data streams that were let through so far: content, its midstates, documents, and what heads a stream. What of
    /// them the link has not taken when it ends is among them; what it repeats is not.
    pub fn passed(&self) -> u64 {
        self.budget.borrow().passed
    }

    /// Lets bytes through up to this count of [`Throttle::passed`], or all of them. Who waits for more goes on at once.
    /// [`Throttle::runs_low`] tells when fewer than `low` are left.
    pub fn allow(&self, until: Option<u64>, low: u64) {
        self.budget.send_modify(|budget| (budget.until, budget.low) = (until, low));
    }

    /// Waits until less is left than was said to [`Throttle::allow`].
    pub async fn runs_low(&self) {
        // The sender is ours and lives as long as we do.
        let _ = self.budget.subscribe().wait_for(Budget::is_low).await;
    }

    /// Waits until so many bytes may leave, and counts them.
    pub async fn pass(&self, bytes: usize) {
        self.wait_for_turn(bytes).await;
        let bytes = bytes as u64;
        if self.spend(bytes) {
            return;
        }
        let mut changes = self.budget.subscribe();
        loop {
            changes.borrow_and_update();
            if self.spend(bytes) {
                return;
            }
            // As above.
            let _ = changes.changed().await;
        }
    }

    /// Counts so many bytes, if they may leave.
    fn spend(&self, bytes: u64) -> bool {
        let mut has_room = false;
        self.budget.send_if_modified(|budget| {
            has_room = budget.has_room(bytes);
            if has_room {
                budget.passed = budget.passed.saturating_add(bytes);
            }
            // Nobody else waits for a budget to be spent.
            has_room && budget.is_low()
        });
        has_room
    }

    async fn wait_for_turn(&self, bytes: usize) {
        if self.rate().is_none() {
            return;
        }
        let mut free_at = self.free_at.lock().await;
        let mut changes = self.rate.subscribe();
        loop {
            let Some(rate) = *changes.borrow_and_update() else { return };
            let earliest = Instant::now().checked_sub(BURST).unwrap_or(*free_at);
            let from = (*free_at).max(earliest);
            tokio::select! {
                () = sleep_until(from) => {
                    *free_at = from + Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
                    return;
                }
                // The sender is ours and lives as long as we do.
                _ = changes.changed() => *free_at = Instant::now(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn rate(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_send_share_one_limit() {
        let throttle = Arc::new(Throttle::default());
        let began = Instant::now();
        throttle.pass(1 << 30).await;
        assert!(began.elapsed() < Duration::from_millis(1), "without a limit nobody waits");
        throttle.set(rate(100_000));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move {
                    for _ in 0..25 {
                        throttle.pass(10_000).await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        let took = began.elapsed().as_secs_f64();
        assert!((9.7..10.1).contains(&took), "a million bytes took {took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn no_byte_more_passes_than_was_allowed_however_many_send() {
        let throttle = Arc::new(Throttle::default());
        throttle.pass(7_000).await;
        throttle.allow(Some(throttle.passed() + 100_000), 50_000);
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        throttle.pass(1_500).await;
                    }
                })
            })
            .collect();
        tokio::time::timeout(Duration::from_secs(1), throttle.runs_low()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        // 66 parts fit, the next one does not.
        assert_eq!(throttle.passed(), 7_000 + 99_000);
        assert!(senders.iter().any(|sender| !sender.is_finished()));
        throttle.allow(Some(throttle.passed() + 1_499), 0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(throttle.passed(), 7_000 + 99_000, "a part passes whole or not at all");
        throttle.allow(None, 0);
        for sender in senders {
            sender.await.unwrap();
        }
        assert_eq!(throttle.passed(), 7_000 + 8 * 20 * 1_500);
        assert!(tokio::time::timeout(Duration::from_secs(1), throttle.runs_low()).await.is_err(), "nothing is bounded");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_holds_at_once_and_none_lets_everybody_go() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(rate(1));
        throttle.pass(1_000_000).await;
        let waiting = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.pass(1_000_000).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished());
        let began = Instant::now();
        throttle.set(rate(1_000_000));
        waiting.await.unwrap();
        throttle.pass(1).await;
        assert!((0.9..1.1).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
        throttle.set(None);
        throttle.pass(usize::MAX).await;
        assert_eq!(throttle.rate(), None);
    }
}
