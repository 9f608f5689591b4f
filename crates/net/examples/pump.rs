//! What quinn alone carries on this machine: one connection, one stream, bytes from memory, hashed once where they arrive, and
//! nothing else: no file, no proof, no ledger. The measure beside which `tests/bench/run` puts a delivery.
//!
//!     pump serve 127.0.0.1:4433            takes one stream and answers with its SHA-256
//!     pump send 127.0.0.1:4433 MIB         sends so much, waits for the answer, prints the seconds from call to answer
//!
//! CUBIC, windows and datagrams as between nodes on one machine; nobody's key is checked.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use custodia_format::key::SigningKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::AlwaysResolvesServerRawPublicKeys;

#[path = "../tests/support/identity.rs"]
mod identity;
use identity::Shows;

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
    let key = identity::certified(&provider::default_provider(), &key());
    let mut tls = tls.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
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
    let mut tls = identity::tls(provider::default_provider(), &rustls::version::TLS13, &key(), Shows::Nothing);
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

/// A key that stands for nobody.
fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}
