//! Calling a peer: by UDP, by TCP, or by TCP after nothing came back by UDP (docs/spec/wire.md §8).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use custodia_format::key::SigningKey;
use quinn::ConnectionError;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};

use super::door::finished;
use super::heard::{Heard, refused};
use super::{Connection, Via, tcp};
use crate::end::{End, end_of_tls};
use crate::endpoint::ConnectError;
use crate::host::Peer;
use crate::tls::{self, ALPN, ALPN_TCP, NO_NAME, Pin};
use crate::transport::{self, HANDSHAKE, Road};

/// How long TCP is tried only to tell a firewall from a peer that is not there.
const LOOK: Duration = Duration::from_secs(3);

/// How long silence is listened to where there was nothing but silence the last time, and TCP led on.
const KNOWN_SILENCE: Duration = Duration::from_secs(2);

/// Why one road led to nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// Nothing at all came back.
    #[error("nothing came back in {} s", .0.as_secs())]
    Silence(Duration),
    /// The machine is there, and says that nobody listens.
    #[error("refused: nobody listens there")]
    Refused,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// One road that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// [`Via::Udp`] or [`Via::Tcp`].
    pub via: Via,
    /// What came of it.
    pub answer: NoAnswer,
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "by {}: {}", if self.via == Via::Tcp { "TCP" } else { "UDP" }, self.answer)
    }
}

/// Why a session goes by TCP that was to go by UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    /// The address that was called.
    pub address: SocketAddr,
    /// What came of it by UDP.
    pub udp: NoAnswer,
}

impl std::fmt::Display for Detour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.address;
        match &self.udp {
            NoAnswer::Silence(waited) => {
                let seconds = waited.as_secs();
                write!(
                    f,
                    "nothing came back by UDP from {address} in {seconds} s; a firewall may drop it; going by TCP"
                )
            }
            NoAnswer::Refused => write!(f, "nobody listens by UDP at {address}; going by TCP"),
            NoAnswer::Other(why) => write!(f, "{address} cannot be reached by UDP: {why}; going by TCP"),
        }
    }
}

/// A peer that answered.
pub(crate) struct Called {
    pub(crate) connection: Connection,
    /// Why it did so by TCP, where UDP was to be preferred.
    pub(crate) detour: Option<Detour>,
}

/// What calls are made with.
pub(crate) struct Calls<'a> {
    pub(crate) socket: &'a quinn::Endpoint,
    pub(crate) heard: &'a Heard,
    pub(crate) key: &'a SigningKey,
    pub(crate) down: watch::Receiver<bool>,
}

/// Why a road led nowhere.
enum Failed {
    /// The other road may lead somewhere.
    NoAnswer(NoAnswer),
    /// Somebody answered: no other road is any better.
    Answered(ConnectError),
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Failed::Answered(error)
    }
}

impl Calls<'_> {
    /// Calls a peer that must show one of the pinned keys. The handshake is done then, and the peer's hello not yet read.
    pub(crate) async fn call(
        &self,
        peer: &Peer,
        pin: &Arc<Pin>,
        address: SocketAddr,
        via: Via,
    ) -> Result<Called, ConnectError> {
        let mut tried = Vec::new();
        if via != Via::Tcp {
            let is_known = via == Via::Auto && self.heard.expects_silence(address);
            match self.udp(peer, pin, address, if is_known { KNOWN_SILENCE } else { HANDSHAKE }).await {
                Ok(connection) => {
                    self.heard.expect_silence(address, false);
                    return Ok(Called { connection: Connection::Quic(connection), detour: None });
                }
                Err(Failed::Answered(error)) => return Err(error),
                Err(Failed::NoAnswer(answer)) => tried.push(Tried { via: Via::Udp, answer }),
            }
        }
        if via == Via::Udp {
            let tcp_answers = tried.iter().any(|tried| matches!(tried.answer, NoAnswer::Silence(_)))
                && timeout(LOOK, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok());
            return Err(ConnectError::Unreachable { address, tried, tcp_answers });
        }
        match self.tcp(peer, pin, address).await {
            Ok(connection) => {
                let detour = tried.pop().map(|tried| Detour { address, udp: tried.answer });
                if detour.as_ref().is_some_and(|detour| matches!(detour.udp, NoAnswer::Silence(_))) {
                    self.heard.expect_silence(address, true);
                }
                Ok(Called { connection: Connection::Tcp(connection), detour })
            }
            Err(Failed::Answered(error)) => Err(error),
            Err(Failed::NoAnswer(answer)) => {
                tried.push(Tried { via: Via::Tcp, answer });
                Err(ConnectError::Unreachable { address, tried, tcp_answers: false })
            }
        }
    }

    /// `patience` is for silence; what has begun to answer has the time of a handshake.
    async fn udp(
        &self,
        peer: &Peer,
        pin: &Arc<Pin>,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<quinn::Connection, Failed> {
        let crypto = tls::client(self.key, pin, ALPN).map_err(ConnectError::from)?;
        let crypto = QuicClientConfig::try_from(crypto).expect("AES-128-GCM, which QUIC begins with, is configured");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport::transport(Road::to(address.ip())));
        let heard = self.heard.from(address);
        let connecting = self.socket.connect_with(config, address, NO_NAME);
        let connecting = connecting.map_err(|error| Failed::NoAnswer(NoAnswer::Other(error.to_string())))?;
        let silence = async {
            tokio::time::sleep(patience).await;
            if heard.anything() {
                std::future::pending().await
            }
        };
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE, connecting) => shaken,
            () = silence => return Err(Failed::NoAnswer(NoAnswer::Silence(patience))),
            error = refused(address) => return Err(Failed::NoAnswer(answer_of(&error))),
        };
        match shaken {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(refine(error, pin, peer, address)),
            Err(_) if heard.anything() => Err(ConnectError::Unreachable {
                address,
                tried: vec![Tried { via: Via::Udp, answer: NoAnswer::Other(half_heard()) }],
                tcp_answers: false,
            }
            .into()),
            Err(_) => Err(Failed::NoAnswer(NoAnswer::Silence(HANDSHAKE))),
        }
    }

    async fn tcp(&self, peer: &Peer, pin: &Arc<Pin>, address: SocketAddr) -> Result<tcp::Connection, Failed> {
        let crypto = tls::client(self.key, pin, ALPN_TCP).map_err(ConnectError::from)?;
        let name = ServerName::try_from(NO_NAME).expect("the name is one of the DNS");
        let until = tokio::time::Instant::now() + HANDSHAKE;
        let no_answer = |answer| Err(Failed::NoAnswer(answer));
        let stream = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return no_answer(answer_of(&error)),
            Err(_) => return no_answer(NoAnswer::Silence(HANDSHAKE)),
        };
        if let Err(error) = tcp::prepare(&stream) {
            return no_answer(answer_of(&error));
        }
        let connector = TlsConnector::from(Arc::new(crypto));
        let shaken = match timeout_at(until, connector.connect(name, stream)).await {
            Ok(shaken) => shaken,
            Err(_) => return no_answer(NoAnswer::Other(half_heard())),
        };
        let connected = shaken.and_then(|tls| finished(TlsStream::Client(tls), self.down.clone()));
        connected.map_err(|error| match (pin.stranger(), end_of_tls(&error)) {
            (Some(shown), _) => {
                ConnectError::IdentityChanged { peer: peer.name.to_string(), shown: shown.key_id() }.into()
            }
            (None, Some(end)) => Failed::Answered(end.into()),
            (None, None) => Failed::NoAnswer(NoAnswer::Other(format!("who answers shakes no hands: {error}"))),
        })
    }
}

fn half_heard() -> String {
    format!("something answers, and no handshake came about in {} s", HANDSHAKE.as_secs())
}

fn answer_of(error: &std::io::Error) -> NoAnswer {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => NoAnswer::Refused,
        _ => NoAnswer::Other(error.to_string()),
    }
}

fn refine(error: ConnectionError, pin: &Pin, peer: &Peer, address: SocketAddr) -> Failed {
    if let Some(key) = pin.stranger() {
        return ConnectError::IdentityChanged { peer: peer.name.to_string(), shown: key.key_id() }.into();
    }
    match End::from(error) {
        End::Lost(why) => {
            let tried = vec![Tried { via: Via::Udp, answer: NoAnswer::Other(why) }];
            ConnectError::Unreachable { address, tried, tcp_answers: false }.into()
        }
        end => Failed::Answered(end.into()),
    }
}
