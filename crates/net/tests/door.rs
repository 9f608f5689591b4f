//! Hostile and foreign callers at the TCP port of a real endpoint: everything that is not the one way in is refused, and costs
//! nobody else their way in.

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
use std::time::Duration;

use authority::Authority;
use client::{Client, KNOWN, SERVER, Shows};
use custodia_net::{ALPN, ALPN_TCP, Endpoint, Via};
use memory::{Node, peer, transport_key};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn server() -> (Endpoint, SocketAddr) {
    let any = "127.0.0.1:0".parse().unwrap();
    client::server(|node| Endpoint::bind_with_tcp(any, transport_key(SERVER), node).unwrap())
}

fn good() -> Client {
    Client { alpn: Some(ALPN_TCP), ..Client::good(KNOWN) }
}

/// TLS alone; what the server thinks of the client's key is only known by reading.
async fn shake(client: &Client, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("somebody.invalid").unwrap();
    TlsConnector::from(std::sync::Arc::new(client.tls())).connect(name, TcpStream::connect(address).await?).await
}

/// A frame of the multiplexer: data for a stream that it opens.
fn frame(stream: u32, body: &[u8]) -> Vec<u8> {
    const SYN: [u8; 2] = [0, 1];
    let length = u32::try_from(body.len()).unwrap();
    [&[0, 0][..], &SYN, &stream.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

/// What a connection is told, up to the last word or its end.
async fn told(tls: &mut TlsStream<TcpStream>) -> std::io::Result<Vec<u8>> {
    let (mut all, mut part) = (Vec::new(), [0; 1024]);
    let patience = custodia_net::transport::HANDSHAKE + Duration::from_secs(2);
    while last_word(&all).is_none() {
        match tokio::time::timeout(patience, tls.read(&mut part)).await.unwrap() {
            Ok(0) => break,
            Ok(bytes) => all.extend_from_slice(&part[..bytes]),
            // The other side hung up.
            Err(error) if alert(&error).is_none() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// The code of the last word, which is the last frame with three bytes and the kind 2.
fn last_word(said: &[u8]) -> Option<u16> {
    let at = said.windows(7).rposition(|bytes| bytes.starts_with(&[0, 0, 0, 3, 2]))?;
    Some(u16::from_be_bytes([said[at + 5], said[at + 6]]))
}

/// The alert with which TLS was refused.
fn alert(error: &std::io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// A control stream, and as its first frame one of length 0.
async fn speaks(tls: &mut TlsStream<TcpStream>) -> std::io::Result<Vec<u8>> {
    tls.write_all(&frame(1, &[0, 0, 0, 0, 0])).await?;
    tls.flush().await?;
    told(tls).await
}

#[tokio::test]
async fn the_one_way_in_is_open_and_a_frame_that_is_none_ends_it_with_its_code() {
    let (_server, address) = server();
    let mut tls = shake(&good(), address).await.unwrap();
    assert_eq!(last_word(&speaks(&mut tls).await.unwrap()), Some(10));
}

#[tokio::test]
async fn another_protocol_name_or_none_is_refused() {
    let (_server, address) = server();
    for alpn in [ALPN, b"custodia/2+tcp", b"h2"] {
        let error = shake(&Client { alpn: Some(alpn), ..good() }, address).await.unwrap_err();
        assert_eq!(alert(&error), Some(rustls::AlertDescription::NoApplicationProtocol), "{error}");
    }
    // TLS over TCP lets a client go on that names no protocol: it hears nothing.
    let mut tls = shake(&Client { alpn: None, ..good() }, address).await.unwrap();
    assert_eq!(speaks(&mut tls).await.unwrap(), b"", "a client without a protocol was answered");
}

#[tokio::test]
async fn an_unknown_key_no_key_and_a_certificate_are_refused() {
    let (_server, address) = server();
    let unknown = Client { seed: 99, ..good() };
    let nothing = Client { shows: Shows::Nothing, ..good() };
    let x509 = Client { shows: Shows::X509, ..good() };
    for client in [unknown, nothing, x509] {
        let error = match shake(&client, address).await {
            Ok(mut tls) => speaks(&mut tls).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(alert(&error).is_some(), "{error}");
    }
}

#[tokio::test]
async fn tls_12_and_a_classical_key_exchange_are_refused() {
    let (_server, address) = server();
    let error = shake(&Client { version: &rustls::version::TLS12, ..good() }, address).await.unwrap_err();
    assert!(alert(&error).is_some(), "{error}");
    for group in [kx_group::X25519, kx_group::SECP256R1] {
        let error = shake(&Client { groups: vec![group], ..good() }, address).await.unwrap_err();
        assert_eq!(alert(&error), Some(rustls::AlertDescription::HandshakeFailure), "{error}");
    }
}

#[tokio::test]
async fn garbage_and_callers_who_say_nothing_are_let_go_and_others_get_in() {
    let (_server, address) = server();
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // This address has no place left now: the ninth is hung up on at once.
    let mut ninth = TcpStream::connect(address).await.unwrap();
    assert_eq!(ninth.read(&mut [0; 1]).await.unwrap(), 0);
    // Garbage is no TLS: its place is free at once.
    let mut garbage = silent.pop().unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: somebody.invalid\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    garbage.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(&[21, 3]), "an alert and nothing else: {answer:?}");
    drop(garbage);
    let mut tls = loop {
        match shake(&good(), address).await {
            Ok(tls) => break tls,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(last_word(&speaks(&mut tls).await.unwrap()), Some(10));
    // The others are let go when their time is over.
    let patience = custodia_net::transport::HANDSHAKE + Duration::from_secs(2);
    for mut caller in silent {
        let ended = tokio::time::timeout(patience, caller.read(&mut [0; 1])).await.unwrap();
        assert!(!ended.is_ok_and(|bytes| bytes > 0));
    }
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_or_opens_streams_without_end_is_let_go() {
    let (_server, address) = server();
    let mut quiet = shake(&good(), address).await.unwrap();
    let mut greedy = shake(&good(), address).await.unwrap();
    for stream in (1..400).step_by(2) {
        // Data streams whose headers never come.
        greedy.write_all(&frame(stream, &[1])).await.unwrap();
    }
    // The multiplexer says that it is over: a goodbye with a code (type 3).
    let mut said = [0; 12];
    let goodbye = async {
        loop {
            greedy.read_exact(&mut said).await.unwrap();
            if said[1] == 3 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), goodbye).await.unwrap();
    assert_eq!(last_word(&told(&mut quiet).await.unwrap()), Some(15));
}

#[tokio::test]
async fn a_server_that_takes_connections_and_speaks_no_tls_is_no_answer() {
    let node = Node::new(Authority::new("forensics.example", KNOWN));
    let caller = Endpoint::bind("127.0.0.1:0".parse().unwrap(), transport_key(KNOWN), node).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let _ = caller.write_all(b"220 mail.invalid ESMTP\r\n").await;
        }
    });
    let key = transport_key(SERVER);
    let error = caller.connect(peer("prosecutor.example", &key), &[key.public()], address, Via::Tcp).await.unwrap_err();
    assert!(error.to_string().contains("by TCP: who answers shakes no hands"), "{error}");
}
