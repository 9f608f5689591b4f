//! How fast content leaves: one bucket for all links of an endpoint. What is said on control streams is never held up.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

/// What a link that was silent may make up for.
const BURST: Duration = Duration::from_millis(100);

/// A limit on the bytes of content that leave in a second, which can be changed at any time.
#[derive(Debug)]
pub struct Throttle {
    rate: watch::Sender<Option<NonZeroU64>>,
    /// When the bytes that were let through will have left. Who waits for it holds the lock: first come, first served.
    free_at: Mutex<Instant>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { rate: watch::Sender::new(None), free_at: Mutex::new(Instant::now()) }
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

    /// Waits until so many bytes may leave.
    pub(crate) async fn pass(&self, bytes: usize) {
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
