//! Content on its way in: reads one data stream and has each chunk proven and written (docs/spec/wire.md §5).
//!
//! The runtime reads into whole buffers, a blocking thread proves and writes them; between them at most [`AHEAD`]
//! buffers, which go back and forth. So several streams are proven on several cores, and a slow disk slows the peer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use custodia_exchange::fetch::Batch;
use custodia_exchange::{CHUNK_BYTES, Code, PeerFault, Refused};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::host::{DocumentSink, Incoming};
use crate::pace::{Floor, Pace, TooSlow};
use crate::road::{Cut, RecvStream};

/// Buffers of a stream that are read and not yet proven.
const AHEAD: usize = 2;
/// Bytes of a buffer: a chunk, or many small items.
const BUFFER_BYTES: usize = CHUNK_BYTES as usize;
/// How long a whole chunk may wait for its buffer to fill: on a slow link what has come in must be proven, and recorded.
const LINGER: Duration = Duration::from_secs(1);
/// Parts of a buffer: many tiny items must not make the list longer than what it lists.
const PARTS: usize = 4096;

/// How a stream ended before its time.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// The peer's fault: the connection ends.
    Fault(PeerFault),
    /// Ends this transfer.
    Refused(Refused),
    /// The stream was reset or the connection is over: what is missing is asked for again, or an error frame says why.
    Cut,
}

impl From<TooSlow> for ReceiveError {
    fn from(TooSlow: TooSlow) -> Self {
        ReceiveError::Refused(Refused::retry(Code::TooSlow, 60))
    }
}

impl From<PeerFault> for ReceiveError {
    fn from(fault: PeerFault) -> Self {
        ReceiveError::Fault(fault)
    }
}

/// Bytes of content of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Proven before this session, once that is known.
    pub(crate) held: OnceLock<u64>,
    /// Proven and written.
    pub(crate) proven: AtomicU64,
    /// Read from the link and not proven.
    pub(crate) wasted: AtomicU64,
}

impl Tally {
    /// What is proven from all sessions; none before content may travel.
    pub(crate) fn in_all(&self) -> Option<u64> {
        self.held.get().map(|held| held.saturating_add(self.proven.load(Ordering::Relaxed)))
    }
}

/// What the proving thread is given.
enum Load {
    /// Midstates of an item.
    Midstates { record: u64, bytes: Vec<u8> },
    /// Chunks that lie one behind the other in a buffer.
    Chunks { bytes: Vec<u8>, parts: Vec<Part> },
}

struct Part {
    record: u64,
    chunk: u64,
    length: usize,
}

/// Reads the stream of a batch to its end. `kept` is told of items whose midstates are kept.
pub(crate) async fn receive_batch(
    stream: RecvStream,
    batch: Batch,
    incoming: Arc<dyn Incoming>,
    tally: Arc<Tally>,
    pace: Arc<Pace>,
    kept: impl Fn(u64) + Send + 'static,
) -> Result<(), ReceiveError> {
    let (loads, to_prove) = mpsc::channel(AHEAD);
    let (give_back, mut free) = mpsc::channel(AHEAD + 2);
    let prover = tokio::task::spawn_blocking(move || prove(&*incoming, to_prove, &give_back, &tally, kept));
    let mut gathered = Gathered::default();
    let mut source = Source { stream, floor: Floor::new(pace) };
    let read = read_batch(&mut source, &batch, &loads, &mut free, &mut gathered).await;
    // What came in whole counts, however the stream ended. Nobody to take it: the prover says why itself.
    let _ = gathered.flush(&loads).await;
    drop(loads);
    let proven = prover.await.unwrap_or(Err(Code::Internal.into()));
    match (read, proven) {
        (_, Err(refused)) => {
            source.stream.stop(refused.code);
            Err(ReceiveError::Refused(refused))
        }
        (read, Ok(())) => read,
    }
}

async fn read_batch(
    source: &mut Source,
    batch: &Batch,
    loads: &mpsc::Sender<Load>,
    free: &mut mpsc::Receiver<Vec<u8>>,
    gathered: &mut Gathered,
) -> Result<(), ReceiveError> {
    let mut flushed = Instant::now();
    for piece in &batch.pieces {
        let midstates = piece.midstates_bytes();
        if midstates > 0 {
            gathered.flush(loads).await?;
            let mut bytes = vec![0; length(midstates)?];
            source.read(&mut bytes).await?;
            hand_over(loads, Load::Midstates { record: piece.record, bytes }).await?;
        }
        for chunk in piece.first_chunk..piece.first_chunk.saturating_add(piece.count) {
            let bytes = length(piece.chunk_bytes(chunk))?;
            if !gathered.has_room(bytes) || flushed.elapsed() >= LINGER {
                gathered.flush(loads).await?;
                flushed = Instant::now();
            }
            source.read(gathered.room(bytes, free)).await?;
            gathered.took(Part { record: piece.record, chunk, length: bytes });
        }
    }
    gathered.flush(loads).await?;
    source.end().await
}

/// Chunks that came in whole and wait to be proven together.
#[derive(Default)]
struct Gathered {
    /// As long as it was ever filled, so that it is cleared once, and only where it is needed; empty when there is none.
    buffer: Vec<u8>,
    filled: usize,
    parts: Vec<Part>,
}

impl Gathered {
    fn has_room(&self, bytes: usize) -> bool {
        self.filled + bytes <= BUFFER_BYTES && self.parts.len() < PARTS
    }

    /// The place of the next chunk.
    fn room(&mut self, bytes: usize, free: &mut mpsc::Receiver<Vec<u8>>) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = free.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER_BYTES));
            self.filled = 0;
        }
        if self.buffer.len() < self.filled + bytes {
            self.buffer.resize(self.filled + bytes, 0);
        }
        self.buffer.get_mut(self.filled..self.filled + bytes).unwrap_or_default()
    }

    /// The chunk in that place is whole.
    fn took(&mut self, part: Part) {
        self.filled += part.length;
        self.parts.push(part);
    }

    /// Hands over what is whole.
    async fn flush(&mut self, loads: &mpsc::Sender<Load>) -> Result<(), ReceiveError> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let load = Load::Chunks { bytes: std::mem::take(&mut self.buffer), parts: std::mem::take(&mut self.parts) };
        self.filled = 0;
        hand_over(loads, load).await
    }
}

fn length(bytes: u64) -> Result<usize, ReceiveError> {
    usize::try_from(bytes).map_err(|_| ReceiveError::Refused(Code::Storage.into()))
}

async fn hand_over(loads: &mpsc::Sender<Load>, load: Load) -> Result<(), ReceiveError> {
    // The prover has gone: it says why itself.
    loads.send(load).await.map_err(|_| ReceiveError::Cut)
}

/// Proves and writes until the reader has no more. A chunk that does not prove is counted and left for the next pass.
fn prove(
    incoming: &dyn Incoming,
    mut loads: mpsc::Receiver<Load>,
    give_back: &mpsc::Sender<Vec<u8>>,
    tally: &Tally,
    kept: impl Fn(u64),
) -> Result<(), Refused> {
    while let Some(load) = loads.blocking_recv() {
        match load {
            Load::Midstates { record, bytes } => match incoming.midstates(record, &bytes) {
                Ok(()) => kept(record),
                Err(refused) => count_waste(refused, bytes.len(), tally)?,
            },
            Load::Chunks { bytes, parts } => {
                let mut rest = bytes.as_slice();
                for part in parts {
                    let Some((chunk, after)) = rest.split_at_checked(part.length) else { break };
                    rest = after;
                    match incoming.chunk(part.record, part.chunk, chunk) {
                        Ok(()) => drop(tally.proven.fetch_add(part.length as u64, Ordering::Relaxed)),
                        Err(refused) => count_waste(refused, part.length, tally)?,
                    }
                }
                let _ = give_back.try_send(bytes);
            }
        }
    }
    Ok(())
}

fn count_waste(refused: Refused, bytes: usize, tally: &Tally) -> Result<(), Refused> {
    if refused.code != Code::Chunk {
        return Err(refused);
    }
    tally.wasted.fetch_add(bytes as u64, Ordering::Relaxed);
    Ok(())
}

/// Reads the stream of a document to its end and has it checked.
pub(crate) async fn receive_document(
    stream: RecvStream,
    bytes: u64,
    pace: Arc<Pace>,
    sink: Box<dyn DocumentSink>,
) -> Result<(), ReceiveError> {
    let (parts, mut to_write) = mpsc::channel::<Vec<u8>>(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let mut sink = sink;
        let mut left = bytes;
        while let Some(part) = to_write.blocking_recv() {
            left = left.saturating_sub(part.len() as u64);
            sink.write(&part)?;
        }
        // What was cut short is never judged.
        if left == 0 { sink.finish() } else { Ok(()) }
    });
    let mut source = Source { stream, floor: Floor::new(pace) };
    let read = read_document(&mut source, bytes, &parts).await;
    drop(parts);
    let written = writer.await.unwrap_or(Err(Code::Internal.into()));
    match (read, written) {
        (_, Err(refused)) => Err(ReceiveError::Refused(refused)),
        (read, Ok(())) => read,
    }
}

async fn read_document(source: &mut Source, bytes: u64, parts: &mpsc::Sender<Vec<u8>>) -> Result<(), ReceiveError> {
    let mut left = bytes;
    while left > 0 {
        let mut part = vec![0; length(left.min(CHUNK_BYTES))?];
        source.read(&mut part).await?;
        left -= part.len() as u64;
        if left == 0 {
            // The end must be seen before the last bytes are judged.
            source.end().await?;
        }
        parts.send(part).await.map_err(|_| ReceiveError::Cut)?;
    }
    Ok(())
}

/// A stream that is read exactly, and not slower than its connection must be.
struct Source {
    stream: RecvStream,
    floor: Floor,
}

impl Source {
    async fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), ReceiveError> {
        while !buffer.is_empty() {
            match self.floor.hold(self.stream.read(buffer)).await? {
                Ok(Some(bytes)) => {
                    self.floor.moved(bytes);
                    buffer = buffer.get_mut(bytes..).unwrap_or_default();
                }
                Ok(None) => return Err(PeerFault::Stream("it ends early").into()),
                Err(error) => return Err(cut(&error)),
            }
        }
        Ok(())
    }

    /// The stream must end here.
    async fn end(&mut self) -> Result<(), ReceiveError> {
        let mut more = [0; 1];
        match self.floor.hold(self.stream.read(&mut more)).await? {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(PeerFault::Stream("it goes on beyond what was wanted").into()),
            Err(error) => Err(cut(&error)),
        }
    }
}

fn cut(error: &Cut) -> ReceiveError {
    tracing::debug!(%error, "a data stream was cut");
    ReceiveError::Cut
}
