//! The bytes of a TCP connection on their way between TLS and the multiplexer: gathered into whole TLS records, watched
//! for silence, and held to a bound on small frames.
//!
//! The multiplexer keeps each data frame that nobody has read yet as an allocation of its own. Within the window of a
//! stream a peer could so make us keep sixty bytes for each one that it sends; here such a peer is cut off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsStream;

/// Bytes that leave together: one full TLS record (RFC 8446 §5.1).
pub(super) const RECORD_BYTES: usize = 16 * 1024;
/// Bytes of a frame's header: version, type, flags, stream, length (yamux's specification).
pub(super) const HEADER_BYTES: usize = 12;
/// The type of frames that carry data.
const DATA: u8 = 0;
/// A data frame below so many bytes is a small one.
const SMALL_BYTES: u32 = 256;
/// Small frames that may come on top of what larger ones make good.
const SMALL_FRAMES: u32 = 64 * 1024;
/// Bytes in larger frames that make one small frame good.
const BYTES_FOR_ONE: u32 = 1024;

/// TLS over TCP, as the multiplexer sees it.
pub(super) struct Pipe {
    tls: TlsStream<TcpStream>,
    /// Of what leaves together, `sent` bytes have left.
    out: Vec<u8>,
    sent: usize,
    frames: Frames,
    silence: Silence,
}

/// How long nothing has come in. Shared with the task that looks after the connection.
#[derive(Clone)]
pub(super) struct Silence {
    began: Instant,
    /// Milliseconds from `began` to the last byte.
    last: Arc<AtomicU64>,
}

impl Silence {
    fn new() -> Self {
        Self { began: Instant::now(), last: Arc::default() }
    }

    fn broken(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Since when nothing has come in.
    pub(super) fn lasts(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

impl Pipe {
    pub(super) fn new(tls: TlsStream<TcpStream>) -> Self {
        let out = Vec::with_capacity(RECORD_BYTES);
        Self { tls, out, sent: 0, frames: Frames::default(), silence: Silence::new() }
    }

    pub(super) fn silence(&self) -> Silence {
        self.silence.clone()
    }

    /// Hands what was gathered to TLS.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.tls).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.tls).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if !read.is_empty() {
            self.silence.broken();
            self.frames.pass(read)?;
        }
        Poll::Ready(Ok(read.len()))
    }
}

impl futures_io::AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.out.len() >= RECORD_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        let taken = bytes.len().min(RECORD_BYTES - self.out.len());
        self.out.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// Follows the frames that come in, and counts the small ones.
struct Frames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are here.
    have: usize,
    /// Bytes of the body that are still to come.
    body: u32,
    /// Small frames that may still come.
    small_left: u32,
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; HEADER_BYTES], have: 0, body: 0, small_left: SMALL_FRAMES }
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let passed = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
                self.body -= u32::try_from(passed).unwrap_or(self.body);
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.have));
            if let Some(place) = self.header.get_mut(self.have..self.have + now.len()) {
                place.copy_from_slice(now);
            }
            self.have += now.len();
            bytes = rest;
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.begins()?;
            }
        }
        Ok(())
    }

    /// A header is here.
    fn begins(&mut self) -> io::Result<()> {
        let [_, kind, _, _, _, _, _, _, length @ ..] = self.header;
        if kind != DATA {
            return Ok(());
        }
        self.body = u32::from_be_bytes(length);
        match self.body {
            0 => {}
            small if small < SMALL_BYTES => {
                self.small_left =
                    self.small_left.checked_sub(1).ok_or_else(|| io::Error::other("too many small frames"))?;
            }
            large => self.small_left = self.small_left.saturating_add(large / BYTES_FOR_ONE).min(SMALL_FRAMES),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let body = if kind == DATA { length as usize } else { 0 };
        [&[0, kind, 0, 0, 0, 0, 0, 1][..], &length.to_be_bytes(), &vec![7; body]].concat()
    }

    #[test]
    fn small_frames_have_an_end_and_content_makes_them_good() {
        let mut frames = Frames::default();
        for _ in 0..SMALL_FRAMES {
            frames.pass(&frame(DATA, 1)).unwrap();
        }
        for _ in 0..3 {
            // Empty ones keep nothing, and other kinds neither.
            frames.pass(&frame(DATA, 0)).unwrap();
            frames.pass(&frame(2, u32::MAX)).unwrap();
        }
        frames.pass(&frame(DATA, 2 * BYTES_FOR_ONE)).unwrap();
        frames.pass(&frame(DATA, 255)).unwrap();
        frames.pass(&frame(DATA, 1)).unwrap();
        assert!(frames.pass(&frame(DATA, 1)).is_err());
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let all = [frame(DATA, 300), frame(1, 4096), frame(DATA, 3), frame(DATA, 70_000), frame(DATA, 9)].concat();
        for cut in [1, 5, 12, 13, 4096, all.len()] {
            let mut frames = Frames { small_left: 2, ..Frames::default() };
            for part in all.chunks(cut) {
                frames.pass(part).unwrap();
            }
            assert_eq!((frames.body, frames.have), (0, 0), "cut after {cut}");
            assert_eq!(frames.small_left, 1 + 70_000 / BYTES_FOR_ONE - 1, "cut after {cut}");
        }
    }
}
