//! How a connection ends, and the one function that turns an end into a close code (docs/spec/wire.md §7).

use custodia_exchange::{Code, PeerFault};
use quinn::ConnectionError;
use rustls::AlertDescription;

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
    /// This machine reaches the peer from another address, to which this road does not follow. What is proven is kept; try again
    /// at once.
    #[error("the link was lost: this machine is in another network now")]
    Moved,
    /// The link was lost: silence, or a network that refuses. What is proven is kept; try again.
    #[error("the link was lost: {0}")]
    Lost(String),
}

fn words(number: u64) -> String {
    let code = u16::try_from(number).ok().and_then(Code::from_number);
    code.map_or_else(|| format!("code {number}"), |code| code.to_string())
}

/// TLS alerts that mean "your key".
const KEY_ALERTS: [AlertDescription; 6] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];

/// What the other side's alert says of us, if it is one of those.
fn end_of_alert(alert: AlertDescription) -> Option<End> {
    match alert {
        AlertDescription::NoApplicationProtocol => Some(End::OtherProtocol),
        alert if KEY_ALERTS.contains(&alert) => Some(End::NotKnownThere),
        _ => None,
    }
}

/// The alert in a QUIC error code: 0x100 plus the alert (RFC 9001 §4.8).
fn alert_of(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// The end that an alert brought about by which TLS over TCP failed.
pub(crate) fn end_of_tls(error: &std::io::Error) -> Option<End> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => end_of_alert(*alert),
        rustls::Error::NoApplicationProtocol => Some(End::OtherProtocol),
        _ => None,
    }
}

impl End {
    /// The number that our side closes the connection with.
    pub(crate) fn close_code(&self) -> Code {
        match self {
            End::ByUs(code) => *code,
            End::Misbehaved(fault) => fault.code(),
            End::ByPeer(_) | End::NotKnownThere | End::OtherProtocol | End::Moved | End::Lost(_) => Code::Done,
        }
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
            ConnectionError::ConnectionClosed(close) => {
                alert_of(close.error_code.into()).and_then(end_of_alert).unwrap_or_else(|| End::Lost(close.to_string()))
            }
            ConnectionError::TransportError(error)
                if alert_of(error.code.into()) == Some(AlertDescription::NoApplicationProtocol) =>
            {
                End::OtherProtocol
            }
            ConnectionError::VersionMismatch => End::OtherProtocol,
            ConnectionError::LocallyClosed => End::ByUs(Code::Done),
            other => End::Lost(other.to_string()),
        }
    }
}
