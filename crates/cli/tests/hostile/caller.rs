//! A caller at the level of QUIC: whatever key, protocol and limits it likes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use custodia_format::key::SigningKey;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// How long anything on the wire may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a caller shows as its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    RawKey,
    X509,
    Nothing,
}

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
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = certified(&provider, &self.key);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(Arc::new(Resolver { key, shows: self.shows }));
        config.alpn_protocols = vec![self.alpn.clone()];
        config.enable_early_data = self.early_data;
        config.resumption = Resumption::in_memory_sessions(16);
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

/// A key as rustls takes it where it stands for itself.
pub fn certified(provider: &CryptoProvider, key: &SigningKey) -> Arc<CertifiedKey> {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8 = PrivatePkcs8KeyDer::from([&prefix[..], key.seed()].concat());
    let signer = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(pkcs8)).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(key.public().to_spki_der().to_vec())], signer))
}

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    shows: Shows,
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        (self.shows != Shows::Nothing).then(|| self.key.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        self.shows == Shows::RawKey
    }

    fn has_certs(&self) -> bool {
        self.shows != Shows::Nothing
    }
}

/// Believes whoever answers: it is the node that is tested.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
