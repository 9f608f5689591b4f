//! QUIC's first packets, made by hand: any frames, from any socket, under any connection id (RFC 9000 §17.2.2, RFC 9001 §5).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{ClientConnection, Version};
use rustls::{Side, pki_types::ServerName};

use crate::caller::Caller;

/// Bytes that a first datagram has at the least.
const LEAST: usize = 1200;

/// An Initial packet with these frames, padded, in a datagram of its own.
pub fn initial(id: u64, number: u16, frames: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap();
    let keys = suite.keys(&id, Side::Client, Version::V1).local;
    let mut payload = frames.to_vec();
    payload.resize(payload.len().max(LEAST - 60), 0);
    // Long header, Initial, a packet number of two bytes; version 1; both ids; no token.
    let mut header = vec![0xc1, 0, 0, 0, 1, 8];
    header.extend_from_slice(&id);
    header.push(8);
    header.extend_from_slice(&id);
    header.push(0);
    let length = u16::try_from(payload.len() + 2 + keys.packet.tag_len()).unwrap();
    header.extend_from_slice(&(0x4000 | length).to_be_bytes());
    let at = header.len();
    header.extend_from_slice(&number.to_be_bytes());
    let tag = keys.packet.encrypt_in_place(u64::from(number), &header, &mut payload).unwrap();
    let mut packet = [header, payload, tag.as_ref().to_vec()].concat();
    let sample = packet[at + 4..at + 4 + keys.header.sample_len()].to_vec();
    let (first, rest) = packet.split_at_mut(1);
    keys.header.encrypt_in_place(&sample, &mut first[0], &mut rest[at - 1..at + 1]).unwrap();
    packet
}

/// A CRYPTO frame.
pub fn crypto(offset: u32, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&[6][..], &(0x8000_0000 | offset).to_be_bytes(), &(0x4000 | length).to_be_bytes(), bytes].concat()
}

/// A real ClientHello of this caller for a connection of this id.
pub fn client_hello(caller: &Caller, id: u64) -> Vec<u8> {
    // The transport parameter initial_source_connection_id (RFC 9000 §18.2), which must be there.
    let parameters = [&[0x0f, 8][..], &id.to_be_bytes()].concat();
    let name = ServerName::try_from("somebody.invalid").unwrap();
    let mut tls = ClientConnection::new(Arc::new(caller.tls()), Version::V1, name, parameters).unwrap();
    let mut hello = Vec::new();
    assert!(tls.write_hs(&mut hello).is_none());
    hello
}

/// A whole first flight in one datagram.
pub fn first_flight(caller: &Caller, id: u64) -> Vec<u8> {
    initial(id, 0, &crypto(0, &client_hello(caller, id)))
}

/// A socket on an address of this machine that never answers, and counts.
pub struct Mute {
    socket: UdpSocket,
    /// Bytes that it sent.
    pub sent: u64,
    /// Bytes that came back.
    pub got: u64,
    /// Datagrams that came back.
    pub datagrams: u64,
}

impl Mute {
    pub fn new(from: &str) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Self { socket, sent: 0, got: 0, datagrams: 0 }
    }

    pub fn sends(&mut self, bytes: &[u8], to: SocketAddr) {
        // A full queue of the system drops, as any network does.
        if self.socket.send_to(bytes, to).is_ok() {
            self.sent += bytes.len() as u64;
        }
    }

    /// Counts what has come.
    pub fn counts(&mut self) {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
            self.got += length as u64;
            self.datagrams += 1;
        }
    }
}
