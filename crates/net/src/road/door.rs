//! Where a node is called by TCP: the same port as by UDP, the same TLS, and as narrow a door for strangers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::tcp::{self, Connection};
use crate::places::Places;
use crate::tls::{self, ALPN_TCP};
use crate::transport::HANDSHAKE;

/// Handshakes by TCP at a time, of everybody; whoever comes beyond them is hung up on.
const HANDSHAKES: usize = 64;
/// The same, of one address: an IPv4 address, or the 64-bit network of an IPv6 address.
const HANDSHAKES_PER_ADDRESS: usize = 8;
/// How long a caller who was refused has for reading why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes that are read and dropped meanwhile.
const FAREWELL_BYTES: usize = 64 * 1024;
/// Pause after the system had no connection to give: it has too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a pair of free ports is looked for where any will do.
const PORTS_TRIED: usize = 16;

/// A place to be called by TCP.
pub(crate) struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    /// Handshakes under way, by network.
    handshakes: Arc<Places<IpAddr>>,
    down: watch::Sender<bool>,
}

/// Takes an address for UDP and for TCP: the same port for both.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut tried = 0;
    loop {
        let udp = std::net::UdpSocket::bind(address)?;
        tried += 1;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            // The port was the system's choice, and is taken for TCP.
            Err(_) if address.port() == 0 && tried < PORTS_TRIED => {}
            Err(error) => return Err(std::io::Error::new(error.kind(), format!("by TCP: {error}"))),
        }
    }
}

impl Door {
    /// Must be called on a runtime.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        tls: rustls::ServerConfig,
        down: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls)), handshakes: Arc::default(), down })
    }

    /// Takes calls for ever; `take` is run for each whose handshake was good, in a task of its own.
    pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        take: impl Fn(super::Connection) -> F + Clone + Send + 'static,
    ) {
        loop {
            let (tcp, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "no call could be taken by TCP");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.handshakes.take(network(from.ip()), may_shake) else { continue };
            let (acceptor, down, take) = (self.acceptor.clone(), self.down.subscribe(), take.clone());
            tokio::spawn(async move {
                let shaken = timeout(HANDSHAKE, shake(tcp, acceptor, down)).await;
                drop(place);
                match shaken {
                    Ok(Ok(connection)) => take(super::Connection::Tcp(connection)).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a handshake by TCP failed"),
                    Err(_) => tracing::debug!("a handshake by TCP took too long"),
                }
            });
        }
    }
}

async fn shake(tcp: TcpStream, acceptor: TlsAcceptor, down: watch::Receiver<bool>) -> std::io::Result<Connection> {
    tcp::prepare(&tcp)?;
    let tls = match acceptor.accept(tcp).into_fallible().await {
        Ok(tls) => tls,
        Err((error, tcp)) => {
            farewell(tcp).await;
            return Err(error);
        }
    };
    finished(TlsStream::Server(tls), down)
}

/// A connection whose handshake is done. Over TCP, TLS lets a side go on that named no protocol: it is let go here.
pub(super) fn finished(tls: TlsStream<TcpStream>, down: watch::Receiver<bool>) -> std::io::Result<Connection> {
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN_TCP) {
        return Err(std::io::Error::other(rustls::Error::NoApplicationProtocol));
    }
    let key = session.peer_certificates().and_then(<[_]>::first).and_then(tls::key_of);
    let key = key.ok_or_else(|| std::io::Error::other(rustls::Error::NoCertificatesPresented))?;
    Ok(Connection::start(tls, key, down))
}

/// Lets the other side read why it was refused: a socket that is closed over unread bytes takes back what it sent.
async fn farewell(mut tcp: TcpStream) {
    let read = async {
        tcp.shutdown().await?;
        let mut buffer = [0; 4096];
        let mut read = 0;
        while read < FAREWELL_BYTES {
            match tcp.read(&mut buffer).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        std::io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, read).await;
}

/// Whether a network with so many handshakes under way, where all have so many, may begin one more.
fn may_shake(of_network: usize, all: usize) -> bool {
    all < HANDSHAKES && of_network < HANDSHAKES_PER_ADDRESS
}

/// What counts as one address: whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_handshakes_and_everybody_so_many() {
        let handshakes = Arc::new(Places::default());
        let take = |address| handshakes.take(network(address), may_shake);
        let address = |n: usize| format!("2001:db8:0:{n:x}::1").parse().unwrap();
        let mut places: Vec<_> = (0..HANDSHAKES_PER_ADDRESS).map(|_| take(address(0))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(take("2001:db8::2".parse().unwrap()).is_none(), "the same network");
        places.extend((1..=HANDSHAKES - HANDSHAKES_PER_ADDRESS).map(|n| take(address(n))));
        assert!(places.iter().all(Option::is_some));
        assert!(take("192.0.2.1".parse().unwrap()).is_none(), "no place is left");
        places.clear();
        assert!(handshakes.are_free(), "every place was given back");
        let (one, same) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(network(one), network(same));
    }

    #[test]
    fn both_roads_have_one_port() {
        let (udp, tcp) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let address = udp.local_addr().unwrap();
        assert!(bind(address).is_err(), "an address that was asked for is not exchanged");
        drop(udp);
        let error = bind(address).unwrap_err();
        assert!(error.to_string().starts_with("by TCP: "), "{error}");
        drop(tcp);
    }
}
