//! Hostile and foreign handshakes against a real endpoint: everything that is not the one way in is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use custodia_format::key::SigningKey;
use custodia_net::{ALPN, Endpoint};
use memory::{Node, peer, transport_key};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

const KNOWN: u8 = 1;
const SERVER: u8 = 2;

/// A server that knows one client.
fn server() -> (Endpoint, SocketAddr) {
    let node = Node::new(Authority::new("prosecutor.example", SERVER));
    let client = transport_key(KNOWN);
    node.knows(client.public(), peer("forensics.example", &client));
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), transport_key(SERVER), node).unwrap();
    let address = endpoint.local_addr().unwrap();
    let serving = endpoint.clone();
    tokio::spawn(async move { serving.serve().await });
    (endpoint, address)
}

/// What a client shows and asks for; the good one is let in.
struct Client {
    seed: u8,
    groups: Vec<&'static dyn SupportedKxGroup>,
    alpn: Option<&'static [u8]>,
    shows: Shows,
    early_data: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    RawKey,
    X509,
    Nothing,
}

impl Client {
    fn good() -> Self {
        Self {
            seed: KNOWN,
            groups: vec![kx_group::X25519MLKEM768],
            alpn: Some(ALPN),
            shows: Shows::RawKey,
            early_data: false,
        }
    }

    fn config(&self) -> quinn::ClientConfig {
        let provider = CryptoProvider { kx_groups: self.groups.clone(), ..aws_lc_rs::default_provider() };
        let provider = Arc::new(provider);
        let key = certified(&provider, &transport_key(self.seed));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(Arc::new(Resolver { key, shows: self.shows }));
        config.alpn_protocols = self.alpn.map(<[u8]>::to_vec).into_iter().collect();
        config.enable_early_data = self.early_data;
        config.resumption = Resumption::in_memory_sessions(16);
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }

    /// Connects and reads the first byte of the server's hello.
    async fn call(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = socket.connect_with(self.config(), address, "somebody.invalid").unwrap().await?;
        read_hello(&connection).await?;
        Ok(connection)
    }
}

async fn read_hello(connection: &Connection) -> Result<(), ConnectionError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // The stream exists for the server only with its first byte: a frame length that is about to be refused is enough.
    let _ = send.write_all(&[0]).await;
    let mut first = [0; 1];
    match recv.read_exact(&mut first).await {
        Ok(()) => Ok(()),
        Err(_) => Err(connection.closed().await),
    }
}

fn certified(provider: &CryptoProvider, key: &SigningKey) -> Arc<CertifiedKey> {
    let pkcs8 = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], key.seed()].concat();
    let signer = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8))).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(key.public().to_spki_der().to_vec())], signer))
}

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    shows: Shows,
}

impl std::fmt::Debug for Shows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shows")
    }
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

/// The TLS alert with which the server closed, if it was one.
fn alert(error: &ConnectionError) -> Option<u64> {
    let code = match error {
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::TransportError(error) => u64::from(error.code),
        _ => return None,
    };
    (0x100..0x200).contains(&code).then(|| code - 0x100)
}

#[tokio::test]
async fn the_one_way_in_is_open() {
    let (_server, address) = server();
    Client::good().call(address).await.unwrap();
}

#[tokio::test]
async fn a_classical_key_exchange_is_refused() {
    let (_server, address) = server();
    for group in [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1] {
        let error = Client { groups: vec![group], ..Client::good() }.call(address).await.unwrap_err();
        // handshake_failure (RFC 8446 §6.2): no group in common.
        assert_eq!(alert(&error), Some(40), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_prefers_a_classical_exchange_is_made_to_take_the_hybrid_one() {
    let (_server, address) = server();
    let groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    Client { groups, ..Client::good() }.call(address).await.unwrap();
}

#[tokio::test]
async fn another_protocol_name_or_none_is_refused() {
    let (_server, address) = server();
    for alpn in [Some(&b"custodia/2"[..]), Some(b"h3"), None] {
        let error = Client { alpn, ..Client::good() }.call(address).await.unwrap_err();
        // no_application_protocol (RFC 7301 §3.2).
        assert_eq!(alert(&error), Some(120), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_key_no_key_and_a_certificate_are_refused() {
    let (_server, address) = server();
    let unknown = Client { seed: 99, ..Client::good() };
    let nothing = Client { shows: Shows::Nothing, ..Client::good() };
    let x509 = Client { shows: Shows::X509, ..Client::good() };
    for client in [unknown, nothing, x509] {
        let error = client.call(address).await.unwrap_err();
        assert!(alert(&error).is_some(), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_left_for_a_later_connection() {
    let (_server, address) = server();
    let client = Client { early_data: true, ..Client::good() };
    let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = client.config();
    let first = socket.connect_with(config.clone(), address, "somebody.invalid").unwrap().await.unwrap();
    read_hello(&first).await.unwrap();
    // Time for a ticket that must not come.
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.close(VarInt::from_u32(0), b"");
    let second = socket.connect_with(config, address, "somebody.invalid").unwrap();
    assert!(second.into_0rtt().is_err(), "a ticket was given");
}

#[tokio::test]
async fn a_peer_that_says_nothing_after_the_handshake_is_let_go() {
    let (_server, address) = server();
    let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = Client::good().config();
    let connection = socket.connect_with(config, address, "somebody.invalid").unwrap().await.unwrap();
    let patience = custodia_net::transport::HANDSHAKE + Duration::from_secs(2);
    let error = tokio::time::timeout(patience, connection.closed()).await.unwrap();
    assert!(matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(15)));
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection_with_their_code() {
    let (_server, address) = server();
    for (bytes, code) in [
        (&[0, 0, 0, 0][..], 10),
        (&[0xff; 4][..], 10),
        (&[0, 0x10, 0, 1][..], 10),
        (&[0, 0, 0, 1, 200][..], 12),
        (&[0, 0, 0, 2, 1, 0][..], 11),
        (
            &[
                0, 0, 0, 33, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0,
            ][..],
            13,
        ),
    ] {
        let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = Client::good().config();
        let connection = socket.connect_with(config, address, "somebody.invalid").unwrap().await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let error = connection.closed().await;
        assert!(
            matches!(&error, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(code)),
            "{bytes:?}: {error}"
        );
    }
}
