//! Calling a peer: by UDP, by TCP, or by TCP beside UDP when nothing comes back (docs/spec/wire.md §8).

use std::net::SocketAddr;
use std::pin::pin;
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
use super::heard::{Heard, Known, Listening, refused};
use super::{Connection, Via, tcp};
use crate::end::{End, end_of_tls};
use crate::endpoint::ConnectError;
use crate::host::Peer;
use crate::tls::{self, ALPN, ALPN_TCP, NO_NAME, Pin};
use crate::transport::{self, HANDSHAKE, Road};

/// How long TCP is tried only to tell a firewall from a peer that is not there.
const LOOK: Duration = Duration::from_secs(3);

/// How long UDP is called alone: what answers by it does so in a round trip, also by satellite. Then TCP is called beside it, as
/// RFC 8305 §5 does with addresses.
const HEAD_START: Duration = Duration::from_secs(3);

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
        let answer = match via {
            Via::Tcp => return self.by_tcp(address, None, self.tcp(peer, pin, address, HANDSHAKE).await),
            Via::Auto => {
                let alone = match self.heard.known(address) {
                    None => return self.by_both(peer, pin, address).await,
                    Some(Known::Answers) => HANDSHAKE,
                    Some(Known::Silent) => KNOWN_SILENCE,
                };
                return match self.by_udp(address, self.udp(peer, pin, address, alone).await) {
                    Ok(done) => done,
                    Err(answer) => self.by_tcp(address, Some(answer), self.tcp(peer, pin, address, HANDSHAKE).await),
                };
            }
            Via::Udp => match self.by_udp(address, self.udp(peer, pin, address, HANDSHAKE).await) {
                Ok(done) => return done,
                Err(answer) => answer,
            },
        };
        let tcp_answers = matches!(answer, NoAnswer::Silence(_))
            && timeout(LOOK, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok());
        Err(ConnectError::Unreachable { address, tried: vec![Tried { via: Via::Udp, answer }], tcp_answers })
    }

    /// Calls by UDP, and beside it by TCP when nothing has come back for a while. The first that answers is taken; what has begun
    /// to answer by UDP is waited for.
    async fn by_both(&self, peer: &Peer, pin: &Arc<Pin>, address: SocketAddr) -> Result<Called, ConnectError> {
        let heard = self.heard.from(address);
        let mut udp = pin!(self.udp(peer, pin, address, HANDSHAKE));
        let ended = tokio::select! {
            udp = &mut udp => Some(udp),
            () = silence(&heard, HEAD_START) => None,
        };
        if let Some(udp) = ended {
            return match self.by_udp(address, udp) {
                Ok(done) => done,
                Err(answer) => self.by_tcp(address, Some(answer), self.tcp(peer, pin, address, HANDSHAKE).await),
            };
        }
        // Where both are silent both end at the same time.
        let mut tcp = pin!(self.tcp(peer, pin, address, HANDSHAKE.saturating_sub(HEAD_START)));
        let mut shaken = None;
        let answer = loop {
            tokio::select! {
                udp = &mut udp => match self.by_udp(address, udp) {
                    Ok(done) => return done,
                    Err(answer) => break answer,
                },
                tcp = &mut tcp, if shaken.is_none() => {
                    if tcp.is_ok() && !heard.anything() {
                        return self.by_tcp(address, Some(NoAnswer::Silence(HEAD_START)), tcp);
                    }
                    shaken = Some(tcp);
                }
            }
        };
        let tcp = match shaken {
            Some(tcp) => tcp,
            None => tcp.await,
        };
        self.by_tcp(address, Some(answer), tcp)
    }

    /// What a call by UDP came to; why there was no answer, where another road may lead somewhere.
    fn by_udp(
        &self,
        address: SocketAddr,
        shaken: Result<quinn::Connection, Failed>,
    ) -> Result<Result<Called, ConnectError>, NoAnswer> {
        match shaken {
            Ok(connection) => {
                self.heard.know(address, Known::Answers);
                Ok(Ok(Called { connection: Connection::Quic(connection), detour: None }))
            }
            Err(Failed::Answered(error)) => Ok(Err(error)),
            Err(Failed::NoAnswer(answer)) => Err(answer),
        }
    }

    /// What a call by TCP came to, and what came of it by UDP where that was tried.
    fn by_tcp(
        &self,
        address: SocketAddr,
        udp: Option<NoAnswer>,
        shaken: Result<tcp::Connection, Failed>,
    ) -> Result<Called, ConnectError> {
        match shaken {
            Ok(connection) => {
                if matches!(udp, Some(NoAnswer::Silence(_))) {
                    self.heard.know(address, Known::Silent);
                }
                let detour = udp.map(|udp| Detour { address, udp });
                Ok(Called { connection: Connection::Tcp(connection), detour })
            }
            Err(Failed::Answered(error)) => Err(error),
            Err(Failed::NoAnswer(answer)) => {
                let udp = udp.map(|answer| Tried { via: Via::Udp, answer });
                let tried = udp.into_iter().chain([Tried { via: Via::Tcp, answer }]).collect();
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
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE, connecting) => shaken,
            () = silence(&heard, patience) => return Err(Failed::NoAnswer(NoAnswer::Silence(patience))),
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

    /// `patience` is for silence, as with UDP.
    async fn tcp(
        &self,
        peer: &Peer,
        pin: &Arc<Pin>,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<tcp::Connection, Failed> {
        let crypto = tls::client(self.key, pin, ALPN_TCP).map_err(ConnectError::from)?;
        let name = ServerName::try_from(NO_NAME).expect("the name is one of the DNS");
        let until = tokio::time::Instant::now() + HANDSHAKE;
        let no_answer = |answer| Err(Failed::NoAnswer(answer));
        let stream = match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return no_answer(answer_of(&error)),
            Err(_) => return no_answer(NoAnswer::Silence(patience)),
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

/// Waits so long, and for ever where something came back meanwhile.
async fn silence(heard: &Listening, patience: Duration) {
    tokio::time::sleep(patience).await;
    if heard.anything() {
        std::future::pending().await
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
