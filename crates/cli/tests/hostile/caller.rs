//! A caller at the level of QUIC: whatever key, protocol and limits it likes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use custodia_format::key::SigningKey;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, TransportConfig, VarInt};
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;

pub use crate::identity::Shows;
use crate::identity::tls;

/// How long anything on the wire may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A caller. With a key that the node knows, and nothing else changed, it is let in.
#[derive(Debug)]
pub struct Caller {
    pub key: SigningKey,
    pub alpn: Vec<u8>,
    pub shows: Shows,
    pub early_data: bool,
    /// Bytes that the node may send before they are read: on a stream, and on all.
    pub windows: (u32, u32),
    /// Where it calls from.
    pub from: IpAddr,
}

impl Caller {
    pub fn new(key: SigningKey) -> Self {
        let from = Ipv4Addr::LOCALHOST.into();
        let alpn = custodia_net::ALPN.to_vec();
        Self { key, alpn, shows: Shows::RawKey, early_data: false, windows: (4 << 20, 16 << 20), from }
    }

    /// Somebody whom nobody has met.
    pub fn stranger() -> Self {
        Self::new(SigningKey::from_seed(&[0x5a; 32]))
    }

    pub fn tls(&self) -> ClientConfig {
        let mut config = tls(aws_lc_rs::default_provider(), &rustls::version::TLS13, &self.key, self.shows);
        config.alpn_protocols = vec![self.alpn.clone()];
        config.enable_early_data = self.early_data;
        config
    }

    pub fn config(&self) -> quinn::ClientConfig {
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls()).unwrap()));
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(self.windows.0))
            .receive_window(VarInt::from_u32(self.windows.1))
            .max_concurrent_uni_streams(VarInt::from_u32(10_000))
            .keep_alive_interval(Some(Duration::from_secs(5)));
        config.transport_config(Arc::new(transport));
        config
    }

    pub fn socket(&self) -> quinn::Endpoint {
        quinn::Endpoint::client(SocketAddr::new(self.from, 0)).unwrap()
    }

    /// Shakes hands. That it works says nothing: the node may refuse the key after that.
    pub async fn connects(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        let connecting = self.socket().connect_with(self.config(), address, "somebody.invalid").unwrap();
        within(connecting).await
    }

    /// Calls, and waits for the first byte that the node says on the control stream.
    pub async fn is_heard(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        let connection = self.connects(address).await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        // The stream exists for the node only with its first byte.
        let _ = send.write_all(&[0]).await;
        match within(recv.read_exact(&mut [0])).await {
            Ok(()) => Ok(connection),
            Err(_) => Err(within(connection.closed()).await),
        }
    }
}

/// Waits, and fails the test rather than for ever.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("the node says something in time")
}

/// Runs what calls, on a runtime of its own.
pub fn on_network<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(what)
}

/// The number with which the node closed a connection: of the protocol, or a TLS alert with 0x100 added.
pub fn code(error: &ConnectionError) -> Option<u64> {
    match error {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        ConnectionError::TransportError(error) => Some(u64::from(error.code)),
        _ => None,
    }
}

/// The TLS alert with which the node closed, if it was one.
pub fn alert(error: &ConnectionError) -> Option<u64> {
    code(error).filter(|code| (0x100..0x200).contains(code)).map(|code| code - 0x100)
}
