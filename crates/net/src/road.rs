//! The seam between a session and the road that it travels: QUIC over UDP, or TLS over TCP where a network lets no UDP
//! through (docs/spec/wire.md §8).
//!
//! Both roads show the same few things: streams both ways, streams one way, an end with a code. Whoever drives a session,
//! sends or takes content sees no more than that. Content is not copied here: QUIC is handed the buffers that were read.

mod call;
mod door;
mod heard;
mod pipe;
mod streams;
mod tcp;

use std::time::Duration;

use bytes::Bytes;
use custodia_exchange::Code;
use custodia_format::key::PublicKey;
use quinn::VarInt;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::end::End;
use crate::health::{LinkState, Packets};
use crate::tls;

pub(crate) use call::{Called, Calls};
pub use call::{Detour, NoAnswer, Tried};
pub(crate) use door::{Door, bind};
pub(crate) use heard::Heard;

/// By which road a peer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// By UDP; by TCP when nothing at all comes back by UDP.
    #[default]
    Auto,
    /// QUIC over UDP alone.
    Udp,
    /// TLS over TCP alone.
    Tcp,
}

impl Via {
    /// Reads `auto`, `udp` or `tcp`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::Udp, Self::Tcp].into_iter().find(|via| via.as_str() == text)
    }

    /// As [`Via::parse`] reads it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A connection to a peer whose key was proven in the handshake. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
    Tcp(tcp::Connection),
}

/// A stream, or the connection under it, that goes no further. For our own trace: the connection knows why it ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cut(String);

impl Cut {
    fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// The number that QUIC carries for a code.
pub(crate) fn number(code: Code) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

impl Connection {
    /// The key that the other side proved to hold.
    pub(crate) fn peer_key(&self) -> Option<PublicKey> {
        match self {
            Self::Quic(connection) => {
                let identity = connection.peer_identity()?;
                let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
                certificates.first().and_then(tls::key_of)
            }
            Self::Tcp(connection) => Some(connection.peer_key()),
        }
    }

    /// Opens the control stream. The other side sees it with its first byte.
    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), End> {
        match self {
            Self::Quic(connection) => {
                let (send, recv) = connection.open_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Self::Tcp(connection) => {
                let (send, recv) = connection.open_control().await?;
                Ok((SendStream::Tcp(send), RecvStream::Tcp(recv)))
            }
        }
    }

    /// Waits for the other side's control stream.
    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), End> {
        match self {
            Self::Quic(connection) => {
                let (send, recv) = connection.accept_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Self::Tcp(connection) => {
                let (send, recv) = connection.accept_control().await?;
                Ok((SendStream::Tcp(send), RecvStream::Tcp(recv)))
            }
        }
    }

    /// Opens a data stream, as soon as the other side has room for one.
    pub(crate) async fn open_uni(&self) -> Result<SendStream, End> {
        match self {
            Self::Quic(connection) => Ok(SendStream::Quic(connection.open_uni().await?)),
            Self::Tcp(connection) => Ok(SendStream::Tcp(connection.open_data().await?)),
        }
    }

    /// Waits for a data stream of the other side. May be given up at any time: nothing is lost.
    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, End> {
        match self {
            Self::Quic(connection) => Ok(RecvStream::Quic(connection.accept_uni().await?)),
            Self::Tcp(connection) => Ok(RecvStream::Tcp(connection.accept_data().await?)),
        }
    }

    /// Waits for the end of the connection, whoever brings it about.
    pub(crate) async fn closed(&self) -> End {
        match self {
            Self::Quic(connection) => connection.closed().await.into(),
            Self::Tcp(connection) => connection.closed().await,
        }
    }

    /// How long an answer takes on the road. The system does not show it of TCP: long, then, for nothing but courtesy
    /// depends on it.
    pub(crate) fn rtt(&self) -> Duration {
        match self {
            Self::Quic(connection) => connection.rtt(),
            Self::Tcp(_) => Duration::from_millis(300),
        }
    }

    /// How it is, for people.
    pub(crate) fn state(&self) -> LinkState {
        match self {
            Self::Quic(connection) => {
                let path = connection.stats().path;
                let packets = Packets { sent: path.sent_packets, lost: path.lost_packets };
                LinkState { via: Via::Udp, round_trip: Some(path.rtt), packets: Some(packets) }
            }
            Self::Tcp(_) => LinkState { via: Via::Tcp, round_trip: None, packets: None },
        }
    }

    /// Ends the connection now, and tells the other side this code. What was written and not yet sent may be lost.
    pub(crate) fn close(&self, code: Code) {
        match self {
            Self::Quic(connection) => connection.close(number(code), b""),
            Self::Tcp(connection) => connection.close(code),
        }
    }
}

/// The sending half of a stream.
pub(crate) enum SendStream {
    Quic(quinn::SendStream),
    Tcp(streams::SendStream),
}

impl SendStream {
    /// A stream of higher priority goes first. By TCP all streams take turns.
    pub(crate) fn set_priority(&self, priority: i32) {
        if let Self::Quic(stream) = self {
            let _ = stream.set_priority(priority);
        }
    }

    /// Writes a beginning of the bytes, and says how long it was. Given up before it is ready, it has written nothing.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<usize, Cut> {
        match self {
            Self::Quic(stream) => stream.write(bytes).await.map_err(Cut::new),
            Self::Tcp(stream) => stream.write(bytes).await,
        }
    }

    /// Writes the whole chunk. QUIC takes it as it is.
    pub(crate) async fn write_chunk(&mut self, bytes: Bytes) -> Result<(), Cut> {
        match self {
            Self::Quic(stream) => stream.write_chunk(bytes).await.map_err(Cut::new),
            Self::Tcp(stream) => stream.write_all(&bytes).await,
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) -> Result<(), Cut> {
        match self {
            Self::Quic(stream) => stream.finish().map_err(Cut::new),
            Self::Tcp(stream) => stream.finish(),
        }
    }

    /// Waits until the other side has everything up to the end, or does not want it.
    pub(crate) async fn stopped(&mut self) {
        match self {
            Self::Quic(stream) => drop(stream.stopped().await),
            Self::Tcp(stream) => stream.stopped().await,
        }
    }

    /// Breaks the stream off, so that what was written does not look like all of it.
    pub(crate) fn reset(mut self, code: Code) {
        match &mut self {
            Self::Quic(stream) => drop(stream.reset(number(code))),
            // A stream that is let go before its end is broken off.
            Self::Tcp(_) => {}
        }
    }
}

/// The receiving half of a stream.
pub(crate) enum RecvStream {
    Quic(quinn::RecvStream),
    Tcp(streams::RecvStream),
}

impl RecvStream {
    /// Reads what is here into the buffer; none at the stream's end. Given up before it is ready, it has read nothing.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Cut> {
        match self {
            Self::Quic(stream) => stream.read(buffer).await.map_err(Cut::new),
            Self::Tcp(stream) => stream.read(buffer).await,
        }
    }

    /// Fills the buffer.
    pub(crate) async fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), Cut> {
        while !buffer.is_empty() {
            let read = self.read(buffer).await?.ok_or_else(|| Cut::new("the stream ended early"))?;
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Lets go of the stream and tells the sender, who may go on with something else.
    pub(crate) fn stop(mut self, code: Code) {
        match &mut self {
            Self::Quic(stream) => drop(stream.stop(number(code))),
            // A stream that is let go before its end is broken off.
            Self::Tcp(_) => {}
        }
    }
}
