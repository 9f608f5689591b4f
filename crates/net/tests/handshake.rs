//! Hostile and foreign handshakes against a real endpoint: everything that is not the one way in is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../exchange/tests/support/authority.rs"]
mod authority;
#[path = "support/client.rs"]
mod client;
#[path = "support/identity.rs"]
mod identity;
#[path = "support/memory.rs"]
mod memory;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, KNOWN, SERVER, Shows};
use custodia_net::Endpoint;
use memory::transport_key;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, VarInt};
use rustls::crypto::aws_lc_rs::kx_group;

fn server() -> (Endpoint, SocketAddr) {
    let any = "127.0.0.1:0".parse().unwrap();
    client::server(|node| Endpoint::bind(any, transport_key(SERVER), node).unwrap())
}

/// The known client.
fn good() -> Client {
    Client::good(KNOWN)
}

fn config(client: &Client) -> quinn::ClientConfig {
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client.tls()).unwrap()))
}

/// Connects and reads the first byte of the server's hello.
async fn call(client: &Client, address: SocketAddr) -> Result<Connection, ConnectionError> {
    let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = socket.connect_with(config(client), address, "somebody.invalid").unwrap().await?;
    read_hello(&connection).await?;
    Ok(connection)
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
    call(&good(), address).await.unwrap();
}

#[tokio::test]
async fn a_classical_key_exchange_is_refused() {
    let (_server, address) = server();
    for group in [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1] {
        let error = call(&Client { groups: vec![group], ..good() }, address).await.unwrap_err();
        // handshake_failure (RFC 8446 §6.2): no group in common.
        assert_eq!(alert(&error), Some(40), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_prefers_a_classical_exchange_is_made_to_take_the_hybrid_one() {
    let (_server, address) = server();
    let groups = vec![kx_group::X25519, kx_group::X25519MLKEM768];
    call(&Client { groups, ..good() }, address).await.unwrap();
}

#[tokio::test]
async fn another_protocol_name_or_none_is_refused() {
    let (_server, address) = server();
    for alpn in [Some(&b"custodia/2"[..]), Some(b"h3"), None] {
        let error = call(&Client { alpn, ..good() }, address).await.unwrap_err();
        // no_application_protocol (RFC 7301 §3.2).
        assert_eq!(alert(&error), Some(120), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_key_no_key_and_a_certificate_are_refused() {
    let (_server, address) = server();
    let unknown = Client { seed: 99, ..good() };
    let nothing = Client { shows: Shows::Nothing, ..good() };
    let x509 = Client { shows: Shows::X509, ..good() };
    for client in [unknown, nothing, x509] {
        let error = call(&client, address).await.unwrap_err();
        assert!(alert(&error).is_some(), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_left_for_a_later_connection() {
    let (_server, address) = server();
    let client = Client { early_data: true, ..good() };
    let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = config(&client);
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
    let config = config(&good());
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
        let config = config(&good());
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
