//! A node's place on the network: one UDP socket, for calling and for being called, and where it is wanted a TCP socket at the
//! same port, for being called.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use custodia_format::key::{KeyId, PublicKey, SigningKey};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{ConnectionError, Incoming};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use custodia_exchange::Code;

use crate::driver::{Driver, Side};
use crate::end::End;
use crate::gate::{Admission, Gate};
use crate::health::{Refusal, Refusals};
use crate::host::{Host, Peer};
use crate::link::{Command, Link};
use crate::places::Places;
use crate::road::{self, Called, Calls, Connection, Door, Heard, Tried, Via, number};
use crate::roam;
use crate::throttle::Throttle;
use crate::tls::{self, ALPN, ALPN_TCP, Pin, TlsSetup};
use crate::transport::{self, CONNECTIONS, CONNECTIONS_PER_PEER, HANDSHAKE};

/// How long a socket stays to say once more that its connections are closed. It was said at once; where that was lost, and this
/// too, the peer finds out by silence.
const GOODBYE: Duration = Duration::from_millis(500);

/// A node's socket. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    socket: quinn::Endpoint,
    /// The same socket, to be taken up anew when this machine's address changes.
    udp: std::net::UdpSocket,
    host: Arc<dyn Host>,
    key: SigningKey,
    gate: Arc<Gate>,
    /// Connections under way that peers made.
    places: Arc<Places<KeyId>>,
    throttle: Arc<Throttle>,
    refusals: Refusals,
    heard: Heard,
    /// Where calls by TCP are taken.
    door: Option<Door>,
    /// Tells connections by TCP that this node goes down; each holds a receiver as long as it lives.
    down: watch::Sender<bool>,
}

/// The socket could not be had. Our own side's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Socket {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The transport key does not work.
    #[error(transparent)]
    Tls(#[from] TlsSetup),
}

/// Why there is no link. Nothing was handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Who answers has another key than the peer's card gives: an old card, or somebody in between.
    #[error("{peer} answered with the key {shown}, which is not on its card")]
    IdentityChanged {
        /// The name of the peer in our trust file.
        peer: String,
        /// The key that was shown.
        shown: KeyId,
    },
    /// Nobody answers at this address, or not in time.
    #[error("nobody answers at {address}: {}", list(.tried))]
    Unreachable {
        /// The address that was called.
        address: SocketAddr,
        /// What happened on each road that was tried.
        tried: Vec<Tried>,
        /// Whether TCP, by which nothing was to be sent, leads to somebody where UDP met silence.
        tcp_answers: bool,
    },
    /// The connection ended before the peer's hello was read.
    #[error(transparent)]
    Ended(#[from] End),
    /// Our own configuration.
    #[error(transparent)]
    Tls(#[from] TlsSetup),
}

impl Endpoint {
    /// Takes the socket, UDP. Calls can be made at once; calls are taken by [`Endpoint::serve`]. Must be called on a tokio
    /// runtime with IO and time.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: SocketAddr, key: SigningKey, host: Arc<dyn Host>) -> Result<Self, BindError> {
        let failed = |source| BindError::Socket { address, source };
        Self::on(address, std::net::UdpSocket::bind(address).map_err(failed)?, None, key, host)
    }

    /// As [`Endpoint::bind`], and takes the same port for TCP too, by which those may call whose network drops UDP.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind_with_tcp(address: SocketAddr, key: SigningKey, host: Arc<dyn Host>) -> Result<Self, BindError> {
        let (udp, tcp) = road::bind(address).map_err(|source| BindError::Socket { address, source })?;
        Self::on(address, udp, Some(tcp), key, host)
    }

    fn on(
        address: SocketAddr,
        udp: std::net::UdpSocket,
        tcp: Option<std::net::TcpListener>,
        key: SigningKey,
        host: Arc<dyn Host>,
    ) -> Result<Self, BindError> {
        let knows = {
            let host = host.clone();
            Arc::new(move |key: &PublicKey| {
                // This is called under quinn's own locks, where a panic would take the whole process with it.
                catch_unwind(AssertUnwindSafe(|| host.peer_of(key).is_some())).unwrap_or_else(|_| {
                    tracing::error!("the host failed to tell whose key this is");
                    false
                })
            })
        };
        let crypto = tls::server(&key, knows.clone(), ALPN)?;
        let crypto = QuicServerConfig::try_from(crypto).expect("AES-128-GCM, which QUIC begins with, is configured");
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        transport::guard(&mut server);
        let failed = |source| BindError::Socket { address, source };
        transport::widen(&udp);
        let runtime = runtime().map_err(failed)?;
        let heard = Heard::default();
        let wrapped = udp.try_clone().and_then(|udp| runtime.wrap_udp_socket(udp)).map_err(failed)?;
        let wrapped = heard.on(wrapped);
        let socket =
            quinn::Endpoint::new_with_abstract_socket(transport::endpoint(&key), Some(server), wrapped, runtime)
                .map_err(failed)?;
        let down = watch::Sender::new(false);
        let door = match tcp {
            Some(tcp) => Some(Door::new(tcp, tls::server(&key, knows, ALPN_TCP)?, down.clone()).map_err(failed)?),
            None => None,
        };
        let (gate, places, throttle) = (Arc::default(), Arc::default(), Arc::default());
        let refusals = Refusals::default();
        let inner = Inner { socket, udp, host, key, gate, places, throttle, refusals, heard, door, down };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The address that was taken, with its port.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.socket.local_addr()
    }

    /// Where nothing came back by UDP the last time, and somebody answered by TCP: there UDP is not waited for as long.
    pub fn silent(&self) -> Vec<SocketAddr> {
        self.inner.heard.silent()
    }

    /// Takes up what [`Endpoint::silent`] gave before.
    pub fn expect_silence(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        for address in addresses {
            self.inner.heard.expect_silence(address);
        }
    }

    /// How fast content leaves, on all links together.
    pub fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    /// How many callers were not let in by UDP, and of those who were let in by either road and then turned away, since the
    /// socket was taken.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.inner.refusals.of(refusal)
    }

    /// Takes calls until the endpoint is closed. Each connection runs in a task of its own.
    pub async fn serve(&self) {
        tokio::select! {
            () = self.serve_udp() => {}
            () = self.serve_tcp() => {}
        }
    }

    /// Where nobody is to call by TCP, waits for ever.
    async fn serve_tcp(&self) {
        let Some(door) = &self.inner.door else { return std::future::pending().await };
        let inner = self.inner.clone();
        door.serve(move |connection| {
            let inner = inner.clone();
            async move { inner.take(connection).await }
        })
        .await;
    }

    async fn serve_udp(&self) {
        while let Some(incoming) = self.inner.socket.accept().await {
            let (from, is_shown) = (incoming.remote_address().ip(), incoming.remote_address_validated());
            let under_way = match self.inner.gate.admit(from, is_shown, Instant::now()) {
                Admission::Shake(under_way) => under_way,
                Admission::ShowAddress if incoming.may_retry() => {
                    // Costs a stranger a round trip and us nothing.
                    self.inner.refusals.count(Refusal::Unproven);
                    let _ = incoming.retry();
                    continue;
                }
                Admission::ShowAddress | Admission::Drop => {
                    self.inner.refusals.count(Refusal::Flood);
                    incoming.ignore();
                    continue;
                }
            };
            let inner = self.inner.clone();
            tokio::spawn(async move {
                let shaken = timeout(HANDSHAKE, shake(incoming)).await;
                drop(under_way);
                match shaken {
                    Ok(Ok(connection)) => inner.take(Connection::Quic(connection)).await,
                    Ok(Err(error)) => {
                        inner.refusals.count(Refusal::Failed);
                        tracing::debug!(%error, "a handshake failed");
                    }
                    Err(_) => {
                        inner.refusals.count(Refusal::Slow);
                        tracing::debug!("a handshake took too long");
                    }
                }
            });
        }
    }

    /// Calls a peer, which must show one of `keys`, those of its newest card. The link is there when the peer's hello
    /// was read: a handshake alone can seem to succeed with a peer that refuses us.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        peer: Peer,
        keys: &[PublicKey],
        address: SocketAddr,
        via: Via,
    ) -> Result<Link, ConnectError> {
        let pin = Pin::new(keys.iter().copied());
        let Inner { socket, heard, key, down, .. } = &*self.inner;
        let calls = Calls { socket, heard, key, down: down.subscribe() };
        let Called { connection, detour } = calls.call(&peer, &pin, address, via).await?;
        drop(calls);
        let control = connection.open_bi().await?;
        let (connected, hello_read) = oneshot::channel();
        let (commands, told) = mpsc::channel(16);
        let (ended, end) = watch::channel(None);
        let weak = commands.downgrade();
        let link = Link::new(peer.clone(), commands, end).by(&connection, detour);
        let driver = Driver::new(
            connection,
            self.inner.host.clone(),
            peer,
            Side::Caller,
            connected,
            self.inner.throttle.clone(),
        );
        let moving = Moving { inner: Arc::downgrade(&self.inner), commands: weak, to: address, via: link.via() };
        tokio::spawn(async move {
            let end = tokio::select! {
                end = driver.run(control, told) => end,
                never = moving.follow() => match never {},
            };
            let _ = ended.send(Some(end));
        });
        match hello_read.await {
            Ok(()) => Ok(link),
            Err(_) => Err(link.ended().await.into()),
        }
    }

    /// Lets every peer that is spoken to by QUIC hear from this machine now, under another connection id, so that they follow when
    /// its address has become another. The port stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn renew(&self) -> std::io::Result<()> {
        self.inner.renew()
    }

    /// Closes every connection now, telling the peers that this node goes down, and frees the socket.
    pub async fn close(&self) {
        self.inner.socket.close(number(Code::Shutdown), b"");
        self.inner.down.send_replace(true);
        let all_gone = async {
            self.inner.socket.wait_idle().await;
            self.inner.down.closed().await;
        };
        let _ = timeout(GOODBYE, all_gone).await;
    }
}

/// Whoever watches from which address a peer is reached.
struct Moving {
    inner: Weak<Inner>,
    commands: mpsc::WeakSender<Command>,
    to: SocketAddr,
    via: Via,
}

impl Moving {
    /// Lets a session by QUIC be followed to each new address, and breaks one by TCP off. Never ends by itself.
    async fn follow(self) -> Infallible {
        let mut from = roam::source(self.to);
        loop {
            from = Some(roam::moves(from, || roam::source(self.to)).await);
            tracing::info!("this machine reaches a peer from another address");
            match self.via {
                Via::Tcp => {
                    if let Some(commands) = self.commands.upgrade() {
                        let _ = commands.send(Command::Moved).await;
                    }
                }
                _ => {
                    if let Some(Err(error)) = self.inner.upgrade().map(|inner| inner.renew()) {
                        tracing::warn!(%error, "the socket cannot be taken up anew");
                    }
                }
            }
        }
    }
}

fn runtime() -> std::io::Result<Arc<dyn quinn::Runtime>> {
    quinn::default_runtime().ok_or_else(|| std::io::Error::other("no runtime"))
}

impl Inner {
    fn renew(&self) -> std::io::Result<()> {
        let wrapped = runtime()?.wrap_udp_socket(self.udp.try_clone()?)?;
        self.socket.rebind_abstract(self.heard.on(wrapped))
    }

    /// Serves one connection to its end.
    async fn take(&self, connection: Connection) {
        let close = |code: Code, refusal| {
            self.refusals.count(refusal);
            connection.close(code);
        };
        let Some(peer) = connection.peer_key().and_then(|key| self.host.peer_of(&key)) else {
            return close(Code::UnknownPeer, Refusal::UnknownPeer);
        };
        let Some(_place) = self.places.take(peer.root, has_a_place) else {
            return close(Code::Busy, Refusal::Busy);
        };
        let Ok(Ok(control)) = timeout(HANDSHAKE, connection.accept_bi()).await else {
            return close(Code::TooSlow, Refusal::Slow);
        };
        let (connected, hello_read) = oneshot::channel();
        let (commands, told) = mpsc::channel(16);
        let (ended, end) = watch::channel(None);
        let link = Link::new(peer.clone(), commands, end).by(&connection, None);
        let driver = Driver::new(connection, self.host.clone(), peer, Side::Called, connected, self.throttle.clone());
        let host = self.host.clone();
        tokio::spawn(async move {
            if hello_read.await.is_ok() {
                host.called(link);
            }
        });
        let _ = ended.send(Some(driver.run(control, told).await));
    }
}

async fn shake(incoming: Incoming) -> Result<quinn::Connection, ConnectionError> {
    incoming.accept()?.await
}

fn list(tried: &[Tried]) -> String {
    tried.iter().map(Tried::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether a peer with so many connections, where all have so many, may have one more: nobody is kept out by others.
fn has_a_place(of_peer: usize, all: usize) -> bool {
    of_peer < CONNECTIONS_PER_PEER && (of_peer == 0 || all < CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Peer {
        let root = SigningKey::from_seed(&[n; 32]).public().key_id();
        Peer { root, name: custodia_format::text::Label::parse("lab.example").unwrap() }
    }

    #[test]
    fn a_peer_has_few_places_and_nobody_is_kept_out_by_others() {
        let places = Arc::new(Places::default());
        let take = |n: u8| places.take(peer(n).root, has_a_place);
        let mut taken = Vec::new();
        for n in 0..CONNECTIONS / CONNECTIONS_PER_PEER {
            taken.extend((0..100).filter_map(|_| take(n as u8)));
        }
        assert_eq!(taken.len(), CONNECTIONS, "each peer has its four");
        taken.push(take(99).expect("the first of a peer that has none"));
        assert!(take(99).is_none(), "one, while the others have all");
        taken.clear();
        assert!(places.are_free());
        assert_eq!((0..100).filter_map(|_| take(1).map(std::mem::forget)).count(), CONNECTIONS_PER_PEER);
    }
}
