//! Content on its way out: one data stream for one want (docs/spec/wire.md §5).
//!
//! A blocking thread reads ahead, the runtime writes; between them at most [`READ_AHEAD`] buffers. Nothing is copied
//! after the read, and a buffer that was acknowledged is read into again.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use custodia_exchange::message::WantRange;
use custodia_exchange::stream::{First, StreamHeader};
use custodia_exchange::{CHUNK_BYTES, Code, Document, Midstates, Refused, Wanted};
use custodia_format::midstate::chunk_count;
use tokio::sync::{Semaphore, mpsc};

use crate::host::{ItemBytes, Outgoing};
use crate::pace::{Floor, Pace, TooSlow};
use crate::road::{Connection, SendStream};
use crate::throttle::Throttle;

/// Buffers of a stream that are read and not yet written.
const READ_AHEAD: usize = 2;
/// Bytes of a buffer: a chunk. Small items are gathered into one.
const BUFFER_BYTES: usize = CHUNK_BYTES as usize;
/// Bytes that are handed to the link at a time.
const PART_BYTES: usize = 64 * 1024;

/// Why a want was not served to its end.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// Told to the peer by an error frame; ends the transfer.
    Refused(Refused),
    /// The peer does not want the stream any more, or the connection is over: nothing to tell.
    Gone,
}

/// The way to a peer, shared by all that travels on it.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) connection: Connection,
    /// Shared by all connections.
    pub(crate) throttle: Arc<Throttle>,
    /// What this connection took of all data streams.
    pub(crate) pace: Arc<Pace>,
    /// How many more wants of this peer may be served now.
    pub(crate) readers: Arc<Semaphore>,
}

/// Sends what is wanted on a stream of its own. `sent` counts bytes of content, and of midstates.
pub(crate) async fn serve_ranges(
    way: Way,
    outgoing: Arc<dyn Outgoing>,
    ranges: Vec<WantRange>,
    sent: Arc<AtomicU64>,
) -> Result<(), ServeError> {
    let Some(first) = ranges.first() else { return Ok(()) };
    let first = First::Chunks { record: first.record, first_chunk: first.first_chunk, count: first.count };
    let header = StreamHeader { root: outgoing.root(), first };
    pump(way, header, sent, move |out| read_ranges(&*outgoing, &ranges, out)).await
}

/// Sends a document, already opened, on a stream of its own.
pub(crate) async fn serve_document(
    way: Way,
    root: custodia_format::Hash,
    document: Document,
    bytes: u64,
    reader: Box<dyn Read + Send>,
) -> Result<(), ServeError> {
    let header = StreamHeader { root, first: First::Document(document) };
    pump(way, header, Arc::default(), move |out| read_document(reader, bytes, out)).await
}

/// Opens a document on a blocking thread.
pub(crate) async fn open_document(
    outgoing: Arc<dyn Outgoing>,
    document: Document,
) -> Result<(u64, Box<dyn Read + Send>), Refused> {
    tokio::task::spawn_blocking(move || outgoing.document(document)).await.unwrap_or(Err(Code::Internal.into()))
}

async fn pump(
    way: Way,
    header: StreamHeader,
    sent: Arc<AtomicU64>,
    read: impl FnOnce(&mut Buffers) -> Result<(), ServeError> + Send + 'static,
) -> Result<(), ServeError> {
    let Way { connection, throttle, pace, readers } = way;
    // A peer that asks for much and takes little waits for itself: its readers hold threads that all share.
    let _reader = readers.acquire().await.map_err(|_| ServeError::Gone)?;
    let mut stream = connection.open_uni().await.map_err(|_| ServeError::Gone)?;
    let (sender, mut buffers) = mpsc::channel::<Bytes>(READ_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let mut out = Buffers { sender, free: Arc::default(), buffer: Vec::new(), filled: 0 };
        read(&mut out)?;
        out.flush()
    });
    let mut floor = Floor::new(pace);
    write(&mut stream, &throttle, &mut floor, header.to_bytes().to_vec().into(), &AtomicU64::new(0)).await?;
    while let Some(buffer) = buffers.recv().await {
        write(&mut stream, &throttle, &mut floor, buffer, &sent).await?;
    }
    let read = reader.await.unwrap_or(Err(ServeError::Refused(Code::Internal.into())));
    match &read {
        Ok(()) => stream.finish().map_err(|_| ServeError::Gone)?,
        // A stream that ends early must not look like one that ended.
        Err(ServeError::Refused(refused)) => stream.reset(refused.code),
        Err(ServeError::Gone) => {}
    }
    read
}

async fn write(
    stream: &mut SendStream,
    throttle: &Throttle,
    floor: &mut Floor,
    mut bytes: Bytes,
    sent: &AtomicU64,
) -> Result<(), ServeError> {
    while !bytes.is_empty() {
        let part = bytes.split_to(bytes.len().min(PART_BYTES));
        let length = part.len() as u64;
        throttle.pass(part.len()).await;
        match floor.hold(stream.write_chunk(part)).await {
            Ok(Ok(())) => sent.fetch_add(length, Ordering::Relaxed),
            Ok(Err(_)) => return Err(ServeError::Gone),
            Err(TooSlow) => return Err(ServeError::Refused(Refused::retry(Code::TooSlow, 60))),
        };
        floor.moved(usize::try_from(length).unwrap_or_default());
    }
    Ok(())
}

/// Buffers of one stream that nobody needs any more.
type Free = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer on its way; what is acknowledged goes back, as touching fresh memory costs as much as encrypting it.
struct Lent {
    buffer: Vec<u8>,
    free: Free,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.buffer));
    }
}

/// Gathers what is read into buffers and hands them over.
struct Buffers {
    sender: mpsc::Sender<Bytes>,
    free: Free,
    /// As long as it was ever filled, so that it is cleared once, and only where it is needed; empty when there is none.
    buffer: Vec<u8>,
    filled: usize,
}

impl Buffers {
    /// Room for so many bytes more, a buffer's length at the most, which the caller fills.
    fn room(&mut self, bytes: usize) -> Result<&mut [u8], ServeError> {
        if self.filled + bytes > BUFFER_BYTES {
            self.flush()?;
        }
        if self.buffer.is_empty() {
            let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            self.buffer = free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        }
        let start = self.filled;
        self.filled += bytes;
        if self.buffer.len() < self.filled {
            self.buffer.resize(self.filled, 0);
        }
        self.buffer.get_mut(start..self.filled).ok_or(ServeError::Gone)
    }

    fn flush(&mut self) -> Result<(), ServeError> {
        if self.filled == 0 {
            return Ok(());
        }
        let lent = Lent { buffer: std::mem::take(&mut self.buffer), free: self.free.clone() };
        let filled = Bytes::from_owner(lent).slice(..std::mem::take(&mut self.filled));
        self.sender.blocking_send(filled).map_err(|_| ServeError::Gone)
    }
}

fn read_ranges(outgoing: &dyn Outgoing, ranges: &[WantRange], out: &mut Buffers) -> Result<(), ServeError> {
    let mut open: Option<(u64, Box<dyn ItemBytes>)> = None;
    for range in ranges {
        let item = match &mut open {
            Some((record, item)) if *record == range.record => item,
            place => &mut place.insert((range.record, outgoing.item(range.record).map_err(ServeError::Refused)?)).1,
        };
        read_range(&mut **item, range, out)?;
    }
    Ok(())
}

fn read_range(item: &mut dyn ItemBytes, range: &WantRange, out: &mut Buffers) -> Result<(), ServeError> {
    let piece = Wanted {
        record: range.record,
        size: item.size(),
        first_chunk: range.first_chunk,
        count: u64::from(range.count),
        midstates: if range.midstates { Midstates::Wanted } else { Midstates::Held },
    };
    let end = piece.first_chunk.saturating_add(piece.count);
    if end > chunk_count(piece.size) {
        return Err(ServeError::Refused(Code::NotHere.into()));
    }
    if piece.midstates_bytes() > 0 {
        let midstates = item.midstates().map_err(|error| storage(&error))?;
        if midstates.len() as u64 != piece.midstates_bytes() {
            tracing::error!(record = piece.record, "midstates of the wrong length in the vault");
            return Err(ServeError::Refused(Code::Storage.into()));
        }
        for part in midstates.chunks(BUFFER_BYTES) {
            out.room(part.len())?.copy_from_slice(part);
        }
    }
    for chunk in piece.first_chunk..end {
        let bytes = usize::try_from(piece.chunk_bytes(chunk)).map_err(|_| ServeError::Gone)?;
        let buffer = out.room(bytes)?;
        item.read_exact_at(chunk * CHUNK_BYTES, buffer).map_err(|error| storage(&error))?;
    }
    Ok(())
}

fn read_document(mut reader: Box<dyn Read + Send>, bytes: u64, out: &mut Buffers) -> Result<(), ServeError> {
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left.min(CHUNK_BYTES)).map_err(|_| ServeError::Gone)?;
        let buffer = out.room(part)?;
        reader.read_exact(buffer).map_err(|error| storage(&error))?;
        left -= part as u64;
    }
    Ok(())
}

fn storage(error: &std::io::Error) -> ServeError {
    tracing::error!(%error, "reading content that was to be sent");
    ServeError::Refused(Code::Storage.into())
}
