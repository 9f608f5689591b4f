//! What quinn alone carries on this machine: one connection, one stream, bytes from memory, hashed once where they arrive, and
//! nothing else: no file, no proof, no ledger. The measure beside which `tests/bench/run` puts a delivery.
//!
//!     pump serve 127.0.0.1:4433            takes one stream and answers with its SHA-256
//!     pump send 127.0.0.1:4433 MIB         sends so much, waits for the answer, prints the seconds from call to answer
//!
//! CUBIC, windows and datagrams as between nodes on one machine; the keys are made for the run and nobody is checked.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PROTOCOL: &[u8] = b"pump";
const MIB: usize = 1 << 20;
/// As the nodes have it (transport.rs).
const LARGEST_DATAGRAM: u16 = 16 * 1024;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Outcome<()> {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", address] => serve(address.parse()?).await,
        ["send", address, mib] => send(address.parse()?, mib.parse()?).await,
        _ => Err("pump serve ADDRESS | pump send ADDRESS MIB".into()),
    }
}

async fn serve(address: SocketAddr) -> Outcome<()> {
    let tls = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    let mut tls = tls.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity()?)));
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    let endpoint = endpoint(address, Some(config))?;
    println!("listening");
    let connection = endpoint.accept().await.ok_or("closed")?.await?;
    let (mut answer, mut stream) = connection.accept_bi().await?;
    let mut hasher = Context::new(&SHA256);
    while let Some(chunk) = stream.read_chunk(MIB, true).await? {
        hasher.update(&chunk.bytes);
    }
    answer.write_all(hasher.finish().as_ref()).await?;
    answer.finish()?;
    connection.closed().await;
    Ok(())
}

async fn send(address: SocketAddr, mib: usize) -> Outcome<()> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let mut endpoint = endpoint(SocketAddr::new(address.ip(), 0), None)?;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    endpoint.set_default_client_config(config);

    let mut bytes = vec![0; MIB];
    aws_lc_rs::rand::fill(&mut bytes)?;
    let bytes = Bytes::from(bytes);
    let mut whole = Context::new(&SHA256);
    (0..mib).for_each(|_| whole.update(&bytes));

    let began = Instant::now();
    let connection = endpoint.connect(address, "pump.invalid")?.await?;
    let (mut stream, mut answer) = connection.open_bi().await?;
    for _ in 0..mib {
        stream.write_chunk(bytes.clone()).await?;
    }
    stream.finish()?;
    let hashed = answer.read_to_end(64).await?;
    let seconds = began.elapsed().as_secs_f64();
    if hashed != whole.finish().as_ref() {
        return Err("other bytes arrived than were sent".into());
    }
    println!("{seconds:.3}");
    connection.close(0u8.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

/// Windows that are never in the way, and datagrams as large as the loopback interface takes well.
fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(10u32.into());
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_DATAGRAM);
    config
        .stream_receive_window((16u32 << 20).into())
        .receive_window((16u32 << 20).into())
        .send_window(16 << 20)
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(Some(mtu));
    Arc::new(config)
}

fn endpoint(address: SocketAddr, server: Option<quinn::ServerConfig>) -> Outcome<quinn::Endpoint> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(LARGEST_DATAGRAM)?;
    let socket = std::net::UdpSocket::bind(address)?;
    let room = socket2::SockRef::from(&socket);
    room.set_recv_buffer_size(4 << 20)?;
    room.set_send_buffer_size(4 << 20)?;
    Ok(quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime))?)
}

/// A key made for this run, shown as a raw public key (RFC 7250).
fn identity() -> Outcome<Arc<CertifiedKey>> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::generate()?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    let private = PrivateKeyDer::Pkcs8(pair.to_pkcs8v1()?.as_ref().to_vec().into());
    let key = provider::default_provider().key_provider.load_private_key(private)?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public.as_ref().to_vec())], key)))
}

/// Takes whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 alone".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
