//! The least that a connection must carry, so that a peer does not hold a place for nothing (docs/spec/wire.md §5).
//!
//! It is counted for the connection in each direction and not for a stream: where many streams share a slow link each of
//! them gets little, and all together get what the link has.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// Least bytes in [`WINDOW`]: below 1 KiB/s a peer only holds a place.
const FLOOR_BYTES: u64 = 60 * 1024;
/// See [`FLOOR_BYTES`].
const WINDOW: Duration = Duration::from_secs(60);

/// Bytes that data streams of one connection moved in one direction.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// So many more.
    pub(crate) fn moved(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One stream's patience with its connection.
#[derive(Debug)]
pub(crate) struct Floor {
    pace: Arc<Pace>,
    /// When the window ends, and what had moved when it began.
    window: (Instant, u64),
}

/// The connection carries less than the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl Floor {
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        let window = (Instant::now() + WINDOW, pace.total());
        Self { pace, window }
    }

    /// Waits for something to be read or written, for as long as the connection carries enough. It may be called for one
    /// part of a stream after the other: a window goes on across them.
    pub(crate) async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout_at(self.window.0, &mut work).await {
                return Ok(done);
            }
            let total = self.pace.total();
            if total - self.window.1 < FLOOR_BYTES {
                return Err(TooSlow);
            }
            self.window = (Instant::now() + WINDOW, total);
        }
    }

    /// So many bytes of this stream moved.
    pub(crate) fn moved(&self, bytes: usize) {
        self.pace.moved(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one byte after the other, with a pause before each; says after how many it was told to end.
    async fn drip(pace: &Arc<Pace>, pause: Duration, bytes: usize, times: usize) -> usize {
        let mut floor = Floor::new(pace.clone());
        for time in 0..times {
            if floor.hold(tokio::time::sleep(pause)).await.is_err() {
                return time;
            }
            floor.moved(bytes);
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_only_holds_a_place() {
        let pace = Arc::new(Pace::default());
        assert_eq!(drip(&pace, Duration::from_secs(7), 1, 1000).await, 8);
        assert_eq!(drip(&pace, Duration::from_secs(61), 1, 1000).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_link_is_no_fault_however_many_streams_share_it() {
        let pace = Arc::new(Pace::default());
        assert_eq!(drip(&pace, Duration::from_secs(1), 1100, 1000).await, 1000);
        let streams = (0..40).map(|_| {
            let pace = pace.clone();
            tokio::spawn(async move { drip(&pace, Duration::from_secs(50), 2000, 20).await })
        });
        for stream in streams.collect::<Vec<_>>() {
            assert_eq!(stream.await.unwrap(), 20, "40 bytes a second each");
        }
    }
}
