//! How a connection ends, and the one function that turns an end into a QUIC close code (docs/spec/wire.md §7).

use custodia_exchange::{Code, PeerFault};
use quinn::{ConnectionError, VarInt};

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum End {
    /// We closed it, with this code.
    #[error("closed by us: {0}")]
    ByUs(Code),
    /// The peer closed it. The number may be newer than this program; what it says about us is a claim.
    #[error("closed by the peer: {}", words(*.0))]
    ByPeer(u64),
    /// The peer broke the protocol, and was told so.
    #[error("the peer misbehaved: {0}")]
    Misbehaved(#[from] PeerFault),
    /// The peer did not take our key in the handshake: it does not know us, or not under this key.
    #[error("the peer does not know our key")]
    NotKnownThere,
    /// The peer speaks another version of the protocol, or another protocol.
    #[error("the peer speaks another protocol version")]
    OtherProtocol,
    /// The link was lost: silence, or a network that refuses. What is proven is kept; try again.
    #[error("the link was lost: {0}")]
    Lost(String),
}

fn words(number: u64) -> String {
    let code = u16::try_from(number).ok().and_then(Code::from_number);
    code.map_or_else(|| format!("code {number}"), |code| code.to_string())
}

/// TLS alerts that mean "your key", as QUIC carries them: 0x100 plus the alert (RFC 9001 §4.8).
const KEY_ALERTS: [u64; 6] = [0x100 + 42, 0x100 + 43, 0x100 + 46, 0x100 + 48, 0x100 + 49, 0x100 + 116];
/// The alert `no_application_protocol` (RFC 7301 §3.2).
const NO_PROTOCOL_ALERT: u64 = 0x100 + 120;

impl End {
    /// The number that our side closes the connection with.
    pub(crate) fn close_code(&self) -> VarInt {
        let code = match self {
            End::ByUs(code) => *code,
            End::Misbehaved(fault) => fault.code(),
            End::ByPeer(_) | End::NotKnownThere | End::OtherProtocol | End::Lost(_) => Code::Done,
        };
        VarInt::from_u32(u32::from(code.number()))
    }

    /// Whether it ended in good order.
    pub fn is_orderly(&self) -> bool {
        matches!(self, End::ByUs(Code::Done) | End::ByPeer(0))
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => End::ByPeer(close.error_code.into_inner()),
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                NO_PROTOCOL_ALERT => End::OtherProtocol,
                alert if KEY_ALERTS.contains(&alert) => End::NotKnownThere,
                _ => End::Lost(close.to_string()),
            },
            ConnectionError::TransportError(error) if u64::from(error.code) == NO_PROTOCOL_ALERT => End::OtherProtocol,
            ConnectionError::VersionMismatch => End::OtherProtocol,
            ConnectionError::LocallyClosed => End::ByUs(Code::Done),
            other => End::Lost(other.to_string()),
        }
    }
}
