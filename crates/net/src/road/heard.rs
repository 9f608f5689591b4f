//! Whether anything at all comes back by UDP from an address that is called: silence is a firewall's way to say no, an
//! answer is the peer's. And whether the system says that nobody is there.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::net::UdpSocket;

/// How long a call goes on before the system is asked whether somebody refuses it.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// What came in from addresses that are being called. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Ear>);

#[derive(Debug, Default)]
struct Ear {
    /// Calls under way; while there are none nothing is looked up.
    calls: AtomicUsize,
    from: Mutex<HashMap<SocketAddr, Calls>>,
    /// What came of UDP where a call led to somebody the last time.
    known: Mutex<BTreeMap<SocketAddr, Known>>,
}

/// What is known of an address, from the last call that led to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It answers by UDP: silence is a link that is cut, more likely than a firewall.
    Answers,
    /// Nothing came back by UDP, and somebody answered by TCP.
    Silent,
}

#[derive(Debug, Default)]
struct Calls {
    under_way: usize,
    datagrams: u64,
}

impl Ear {
    fn from(&self) -> MutexGuard<'_, HashMap<SocketAddr, Calls>> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, meta: &[RecvMeta]) {
        if self.calls.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut from = self.from();
        for one in meta {
            if let Some(calls) = from.get_mut(&canonical(one.addr)) {
                calls.datagrams += 1;
            }
        }
    }
}

/// An IPv4 address is one and the same, however the socket writes it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Heard {
    /// The socket, with an ear.
    pub(crate) fn on(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(Socket { socket, ear: self.0.clone() })
    }

    /// Where nothing came back by UDP the last time, and somebody answered by TCP.
    pub(crate) fn silent(&self) -> Vec<SocketAddr> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, known)| **known == Known::Silent).map(|(address, _)| *address).collect()
    }

    /// What is known of an address.
    pub(super) fn known(&self, address: SocketAddr) -> Option<Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).get(&canonical(address)).copied()
    }

    /// That is so of this address from now on.
    pub(super) fn know(&self, address: SocketAddr, known: Known) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).insert(canonical(address), known);
    }

    /// Nothing is expected to come back by UDP from this address, until something does.
    pub(crate) fn expect_silence(&self, address: SocketAddr) {
        self.know(address, Known::Silent);
    }

    /// Listens for what comes from an address, from now on.
    pub(super) fn from(&self, address: SocketAddr) -> Listening {
        let address = canonical(address);
        let datagrams = {
            let mut from = self.0.from();
            let calls = from.entry(address).or_default();
            calls.under_way += 1;
            calls.datagrams
        };
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Listening { ear: self.0.clone(), address, before: datagrams }
    }
}

/// One call's ear.
pub(super) struct Listening {
    ear: Arc<Ear>,
    address: SocketAddr,
    before: u64,
}

impl Listening {
    /// Whether anything came.
    pub(super) fn anything(&self) -> bool {
        self.ear.from().get(&self.address).is_some_and(|calls| calls.datagrams > self.before)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ear.calls.fetch_sub(1, Ordering::Relaxed);
        let mut from = self.ear.from();
        if let Some(calls) = from.get_mut(&self.address) {
            calls.under_way = calls.under_way.saturating_sub(1);
            if calls.under_way == 0 {
                from.remove(&self.address);
            }
        }
    }
}

/// A socket that tells the ear from where something came; else as it was.
#[derive(Debug)]
struct Socket {
    socket: Arc<dyn AsyncUdpSocket>,
    ear: Arc<Ear>,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = &received {
            self.ear.note(meta.get(..*count).unwrap_or_default());
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Waits until the system says that nobody takes datagrams at an address (ICMP's port unreachable, no route), and gives what
/// it says. Where it says nothing, waits for ever.
///
/// A socket that calls many is not told; one that is bound to a single address is. The byte that it sends is no QUIC packet
/// (RFC 9000 §17), and nobody answers it.
pub(super) async fn refused(address: SocketAddr) -> io::Error {
    tokio::time::sleep(ASK_AFTER).await;
    match ask(address).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

async fn ask(address: SocketAddr) -> io::Result<std::convert::Infallible> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&[0]).await?;
    let mut buffer = [0; 1];
    loop {
        // What comes is nobody's answer.
        socket.recv(&mut buffer).await?;
    }
}
