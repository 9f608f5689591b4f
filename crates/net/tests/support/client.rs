//! A client that shows and asks for what a test wants, in place of our own.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

use std::net::SocketAddr;
use std::sync::Arc;

use custodia_net::{ALPN, Endpoint};
use rustls::SupportedProtocolVersion;
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};

use crate::authority::Authority;
pub use crate::identity::Shows;
use crate::identity::tls;
use crate::memory::{Node, peer, transport_key};

/// Seed of the client that a server of these tests knows.
pub const KNOWN: u8 = 1;
/// Seed of the server.
pub const SERVER: u8 = 2;

/// A node that knows one client, taking calls; `bind` opens its endpoint.
pub fn server(bind: impl FnOnce(Arc<Node>) -> Endpoint) -> (Endpoint, SocketAddr) {
    let node = Node::new(Authority::new("prosecutor.example", SERVER));
    let client = transport_key(KNOWN);
    node.knows(client.public(), peer("forensics.example", &client));
    let endpoint = bind(node);
    let address = endpoint.local_addr().unwrap();
    let serving = endpoint.clone();
    tokio::spawn(async move { serving.serve().await });
    (endpoint, address)
}

/// What a client shows and asks for; the good one is let in.
pub struct Client {
    pub seed: u8,
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    pub alpn: Option<&'static [u8]>,
    pub shows: Shows,
    pub early_data: bool,
    pub version: &'static SupportedProtocolVersion,
}

impl Client {
    /// The one that is let in, where this seed's key is known.
    pub fn good(seed: u8) -> Self {
        Self {
            seed,
            groups: vec![kx_group::X25519MLKEM768],
            alpn: Some(ALPN),
            shows: Shows::RawKey,
            early_data: false,
            version: &rustls::version::TLS13,
        }
    }

    /// The TLS that it speaks.
    pub fn tls(&self) -> ClientConfig {
        let provider = CryptoProvider { kx_groups: self.groups.clone(), ..aws_lc_rs::default_provider() };
        let mut config = tls(provider, self.version, &transport_key(self.seed), self.shows);
        config.alpn_protocols = self.alpn.map(<[u8]>::to_vec).into_iter().collect();
        config.enable_early_data = self.early_data;
        config
    }
}
