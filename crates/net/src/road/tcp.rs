//! One connection of the TCP road: a task that owns the multiplexer, and handles to it (docs/spec/wire.md §8).
//!
//! Each stream begins with a byte that says what it is: control, data, or the last word, which is the code of the close.
//! The side that says the last word stays until the other has read it and hangs up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use custodia_exchange::Code;
use custodia_format::key::PublicKey;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsStream;
use yamux::Mode;

use super::Cut;
use super::pipe::{Pipe, Silence};
use super::streams::{FRAME_BYTES, RecvStream, SendStream, halves};
use crate::end::{End, end_of_tls};
use crate::transport::{BIDI_STREAMS, FRAME, IDLE, RECEIVE_WINDOW, UNI_STREAMS};

/// Streams of both sides together: data both ways, control, the last words, and some that were broken off a moment ago.
const STREAMS: usize = 48;
/// How often a connection looks whether the other side still says something. The multiplexer asks it every ten seconds.
const LOOK: Duration = Duration::from_secs(2);
/// How long the side that closes waits for the other to hang up.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Bytes that the system takes and has not sent yet: what waits there cannot be overtaken by a frame of the control stream.
const UNSENT_BYTES: u32 = 256 * 1024;

/// What a stream is, by its first byte.
const CONTROL: u8 = 0;
const CONTENT: u8 = 1;
const LAST_WORD: u8 = 2;

/// A connection by TCP.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Handles>);

struct Handles {
    peer: PublicKey,
    orders: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    closing: watch::Sender<Option<Code>>,
    control: Mutex<mpsc::Receiver<yamux::Stream>>,
    content: Mutex<mpsc::Receiver<yamux::Stream>>,
    end: watch::Receiver<Option<End>>,
    /// Data streams of ours that the other side is not done with.
    places: Arc<Semaphore>,
}

/// Sets what the system is to do with a connection.
pub(super) fn prepare(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5)).with_retries(4),
    )?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(IDLE))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    }
    Ok(())
}

impl Connection {
    /// Takes over a connection whose handshake is done, with the key that the other side has shown. `down` ends it when this
    /// node goes down. Must be called on a runtime.
    pub(super) fn start(tls: TlsStream<TcpStream>, peer: PublicKey, down: watch::Receiver<bool>) -> Self {
        let mode = if matches!(tls, TlsStream::Client(_)) { Mode::Client } else { Mode::Server };
        let mut limits = yamux::Config::default();
        // In this order: each is checked against the other.
        limits.set_max_num_streams(STREAMS);
        limits.set_max_connection_receive_window(Some(usize::try_from(RECEIVE_WINDOW).unwrap_or(usize::MAX)));
        limits.set_split_send_size(FRAME_BYTES);
        let pipe = Pipe::new(tls);
        let silence = pipe.silence();
        let streams = yamux::Connection::new(pipe, limits, mode);

        let (orders, ordered) = mpsc::channel(1);
        let (closing, closes) = watch::channel(None);
        let (control, opened_control) = mpsc::channel(usize::try_from(BIDI_STREAMS).unwrap_or(1));
        let (content, opened_content) = mpsc::channel(usize::try_from(UNI_STREAMS).unwrap_or(1));
        let (ends, end) = watch::channel(None);
        let doors = Doors { control, content };
        let task = Task { streams, silence, ordered, closes, down, doors, ends };
        tokio::spawn(task.run());
        Self(Arc::new(Handles {
            peer,
            orders,
            closing,
            control: Mutex::new(opened_control),
            content: Mutex::new(opened_content),
            end,
            places: Arc::new(Semaphore::new(usize::try_from(UNI_STREAMS).unwrap_or(1))),
        }))
    }

    pub(super) fn peer_key(&self) -> PublicKey {
        self.0.peer
    }

    pub(super) async fn open_control(&self) -> Result<(SendStream, RecvStream), End> {
        Ok(halves(self.open().await?, Some(CONTROL)))
    }

    pub(super) async fn open_data(&self) -> Result<SendStream, End> {
        // Never closed.
        let Ok(place) = self.0.places.clone().acquire_owned().await else { return Err(self.closed().await) };
        let (send, _) = halves(self.open().await?, Some(CONTENT));
        Ok(send.with_place(place))
    }

    async fn open(&self) -> Result<yamux::Stream, End> {
        let (reply, opened) = oneshot::channel();
        if self.0.orders.send(reply).await.is_ok()
            && let Ok(stream) = opened.await
        {
            return Ok(stream);
        }
        Err(self.closed().await)
    }

    pub(super) async fn accept_control(&self) -> Result<(SendStream, RecvStream), End> {
        match self.0.control.lock().await.recv().await {
            Some(stream) => Ok(halves(stream, None)),
            None => Err(self.closed().await),
        }
    }

    pub(super) async fn accept_data(&self) -> Result<RecvStream, End> {
        match self.0.content.lock().await.recv().await {
            Some(stream) => Ok(halves(stream, None).1),
            None => Err(self.closed().await),
        }
    }

    pub(super) async fn closed(&self) -> End {
        let mut end = self.0.end.clone();
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.unwrap_or_else(|| End::Lost("its task was stopped".to_owned()))
    }

    pub(super) fn close(&self, code: Code) {
        self.0.closing.send_if_modified(|closing| {
            let is_first = closing.is_none();
            closing.get_or_insert(code);
            is_first
        });
    }
}

/// Where streams of the other side come out.
#[derive(Clone)]
struct Doors {
    control: mpsc::Sender<yamux::Stream>,
    content: mpsc::Sender<yamux::Stream>,
}

/// What moves a connection's bytes, from its first to its last.
struct Task {
    streams: yamux::Connection<Pipe>,
    silence: Silence,
    ordered: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    closes: watch::Receiver<Option<Code>>,
    down: watch::Receiver<bool>,
    doors: Doors,
    ends: watch::Sender<Option<End>>,
}

impl Task {
    async fn run(mut self) {
        let mut sorting = JoinSet::new();
        let turn = self.turn(&mut sorting).await;
        let Self { streams, ends, doors, .. } = self;
        let end = match turn {
            Turn::Close(code) => {
                ends.send_replace(Some(End::ByUs(Code::Done)));
                // Nobody is to wait for a stream meanwhile.
                drop((doors, sorting));
                return say_last(streams, code).await;
            }
            Turn::Over(end) => end,
        };
        // What came in before the end can still be read, and the last word among it.
        drop(streams);
        let mut said = None;
        while let Some(sorted) = sorting.join_next().await {
            said = said.or(sorted.ok().flatten());
        }
        ends.send_replace(Some(said.map_or(end, End::ByPeer)));
        drop(doors);
    }

    async fn turn(&mut self, sorting: &mut JoinSet<Option<u64>>) -> Turn {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                opened = poll_fn(|cx| self.streams.poll_next_inbound(cx)) => match opened {
                    Some(Ok(stream)) => drop(sorting.spawn(sort(stream, self.doors.clone()))),
                    Some(Err(error)) => return Turn::Over(end_of(error)),
                    None => return Turn::Over(End::Lost("it was closed without a word".to_owned())),
                },
                Some(Ok(Some(number))) = sorting.join_next() => return Turn::Over(End::ByPeer(number)),
                order = self.ordered.recv() => match order {
                    Some(reply) => match poll_fn(|cx| self.streams.poll_new_outbound(cx)).await {
                        Ok(stream) => drop(reply.send(stream)),
                        Err(error) => return Turn::Over(end_of(error)),
                    },
                    // Nobody holds it any more.
                    None => return Turn::Close(self.closes.borrow().unwrap_or(Code::Done)),
                },
                code = asked(&mut self.closes) => return Turn::Close(code),
                () = goes_down(&mut self.down) => return Turn::Close(Code::Shutdown),
                _ = look.tick() => if self.silence.lasts() > IDLE {
                    return Turn::Over(End::Lost(format!("nothing came in for {} s", IDLE.as_secs())));
                },
            }
        }
    }
}

/// Tells the other side why it is over, and waits until it hangs up.
async fn say_last(mut streams: yamux::Connection<Pipe>, code: Code) {
    let Ok(mut stream) = poll_fn(|cx| streams.poll_new_outbound(cx)).await else { return };
    let [high, low] = code.number().to_be_bytes();
    let hung_up = async {
        // A new stream takes a frame at once.
        let _ = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &[LAST_WORD, high, low])).await;
        while let Some(Ok(_)) = poll_fn(|cx| streams.poll_next_inbound(cx)).await {}
    };
    if timeout(LAST_WORDS, hung_up).await.is_err() {
        tracing::debug!("a peer did not hang up after the last word");
    }
}

/// Waits until somebody says that the connection is to end.
async fn asked(closes: &mut watch::Receiver<Option<Code>>) -> Code {
    let code = closes.wait_for(Option::is_some).await.ok().and_then(|code| *code);
    match code {
        Some(code) => code,
        // Nobody can ask any more; that itself is seen elsewhere.
        None => std::future::pending().await,
    }
}

/// Waits until this node goes down.
async fn goes_down(down: &mut watch::Receiver<bool>) {
    let goes_down = down.wait_for(|down| *down).await.is_ok();
    if !goes_down {
        std::future::pending().await
    }
}

/// How a connection's turn ends.
enum Turn {
    /// We end it, with this code.
    Close(Code),
    /// It is over.
    Over(End),
}

/// Reads what a stream is, and passes it on; gives the number of the last word.
async fn sort(mut stream: yamux::Stream, doors: Doors) -> Option<u64> {
    let mut kind = [0; 1];
    read_exact(&mut stream, &mut kind).await.ok()?;
    match kind {
        // One is needed; more than fit are broken off.
        [CONTROL] => drop(doors.control.try_send(stream)),
        [CONTENT] => drop(doors.content.send(stream).await),
        [LAST_WORD] => {
            let mut number = [0; 2];
            read_exact(&mut stream, &mut number).await.ok()?;
            return Some(u64::from(u16::from_be_bytes(number)));
        }
        _ => {}
    }
    None
}

async fn read_exact(stream: &mut yamux::Stream, mut buffer: &mut [u8]) -> Result<(), Cut> {
    let read = async {
        while !buffer.is_empty() {
            match poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await {
                Ok(0) => return Err(Cut::new("the stream ended early")),
                Ok(bytes) => buffer = buffer.get_mut(bytes..).unwrap_or_default(),
                Err(error) => return Err(Cut::new(error)),
            }
        }
        Ok(())
    };
    timeout(FRAME, read).await.unwrap_or_else(|_| Err(Cut::new("its beginning took too long")))
}

/// Why the multiplexer gave up. A refusal in the handshake comes this way too: TLS 1.3 lets a client go on before its key is
/// judged.
fn end_of(error: yamux::ConnectionError) -> End {
    use yamux::{ConnectionError, FrameDecodeError};
    match error {
        ConnectionError::Io(error) | ConnectionError::Decode(FrameDecodeError::Io(error)) => {
            end_of_tls(&error).unwrap_or_else(|| End::Lost(error.to_string()))
        }
        ConnectionError::Closed => End::Lost("it was closed without a word".to_owned()),
        other => End::Lost(other.to_string()),
    }
}
