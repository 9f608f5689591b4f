//! Streams of the TCP road: halves of the multiplexer's streams, with the ends that a session needs (docs/spec/wire.md §8).
//!
//! The multiplexer knows an end for each direction and a break-off. Whoever reads the end of a stream ends its own
//! direction too: that tells the sender that everything arrived. A stream that is let go before is broken off.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::Cut;
use super::pipe::{HEADER_BYTES, RECORD_BYTES};

/// Bytes of one frame: with its header one TLS record.
pub(super) const FRAME_BYTES: usize = RECORD_BYTES - HEADER_BYTES;

/// One stream of the multiplexer, shared by its halves.
#[derive(Clone)]
struct Shared(Arc<Mutex<yamux::Stream>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, yamux::Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both halves of a stream; the sender opens it with this byte.
pub(super) fn halves(stream: yamux::Stream, opens_with: Option<u8>) -> (SendStream, RecvStream) {
    let shared = Shared(Arc::new(Mutex::new(stream)));
    let send = SendStream { stream: shared.clone(), opens_with, place: None, finished: None };
    (send, RecvStream { stream: shared, has_ended: false })
}

/// The sending half.
pub(crate) struct SendStream {
    stream: Shared,
    /// What tells the other side what kind of stream it is; none once it was sent.
    opens_with: Option<u8>,
    /// Its place among the data streams that may be open; given back when the other side is done with it.
    place: Option<OwnedSemaphorePermit>,
    finished: Option<JoinHandle<()>>,
}

impl SendStream {
    pub(super) fn with_place(mut self, place: OwnedSemaphorePermit) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize, Cut> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // The first byte and what follows are one frame: in a new stream there is room for both.
        let first = self.opens_with.map(|kind| {
            let rest = bytes.get(..bytes.len().min(FRAME_BYTES - 1)).unwrap_or_default();
            [&[kind], rest].concat()
        });
        let stream = &self.stream;
        let written = poll_fn(|cx| {
            let mut stream = stream.lock();
            Pin::new(&mut *stream).poll_write(cx, first.as_deref().unwrap_or(bytes))
        });
        let written = written.await.map_err(Cut::new)?;
        Ok(if self.opens_with.take().is_some() { written.saturating_sub(1) } else { written })
    }

    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// The end goes out behind what was written; a task waits until the other side has read it.
    pub(super) fn finish(&mut self) -> Result<(), Cut> {
        if self.finished.is_some() {
            return Err(Cut::new("it was finished before"));
        }
        let (stream, place) = (self.stream.clone(), self.place.take());
        self.finished = Some(tokio::spawn(async move {
            let closed = poll_fn(|cx| Pin::new(&mut *stream.lock()).poll_close(cx)).await;
            let mut rest = [0; 256];
            while closed.is_ok() {
                let read = poll_fn(|cx| Pin::new(&mut *stream.lock()).poll_read(cx, &mut rest)).await;
                if !read.is_ok_and(|bytes| bytes > 0) {
                    break;
                }
            }
            drop(place);
        }));
        Ok(())
    }

    pub(super) async fn stopped(&mut self) {
        if let Some(finished) = &mut self.finished {
            // The task cannot fail, and with the connection it ends.
            let _ = finished.await;
        }
    }
}

/// The receiving half.
pub(crate) struct RecvStream {
    stream: Shared,
    has_ended: bool,
}

impl RecvStream {
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Cut> {
        if self.has_ended {
            return Ok(None);
        }
        let stream = &self.stream;
        let (read, is_broken) = poll_fn(|cx| {
            let mut stream = stream.lock();
            let read = std::task::ready!(Pin::new(&mut *stream).poll_read(cx, buffer));
            let is_end = matches!(read, Ok(0));
            // Both directions at once are only closed when it was broken off.
            let is_broken = is_end && stream.is_closed();
            if is_end && !is_broken {
                // The other side learns that its end was read. What it waits for is told by nothing else.
                let _ = Pin::new(&mut *stream).poll_close(cx);
            }
            std::task::Poll::Ready((read, is_broken))
        })
        .await;
        match read {
            Ok(0) if is_broken => Err(Cut::new("the stream was broken off")),
            Ok(0) => {
                self.has_ended = true;
                Ok(None)
            }
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(Cut::new(error)),
        }
    }
}
