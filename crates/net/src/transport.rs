//! QUIC's limits, every one set by us: quinn's own defaults are for the open web (docs/spec/wire.md §6).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use custodia_format::Hash;
use custodia_format::key::SigningKey;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

pub use crate::gate::Rate;

/// Connections whose handshake has not begun to be served; more are dropped.
pub const MAX_INCOMING: usize = 256;
/// Bytes kept of one such connection.
pub const INCOMING_BYTES: u64 = 64 * 1024;
/// Bytes kept of all such connections.
pub const INCOMING_BYTES_TOTAL: u64 = 8 << 20;
/// Handshakes under way beyond which a client must first show that it owns its address.
pub const RETRY_ABOVE: usize = 16;
/// Handshakes without a shown address: more must show it first.
pub const HANDSHAKES_UNPROVEN: Rate = Rate { burst: 32, a_second: 8 };
/// Handshakes of one network, a /24 or a /48, whose addresses were shown: teams behind one satellite terminal share it.
pub const HANDSHAKES_PER_NETWORK: Rate = Rate { burst: 128, a_second: 16 };
/// Handshakes under way of everybody; more are dropped.
pub const HANDSHAKES: usize = 128;
/// Networks whose handshakes are counted at a time.
pub const NETWORKS: usize = 4096;
/// Connections of one peer at a time.
pub const CONNECTIONS_PER_PEER: usize = 4;
/// Connections of all peers at a time; a peer that has none gets its first one beyond that too, so that nobody is kept out
/// by others.
pub const CONNECTIONS: usize = 32;
/// Wants that are served at once over one connection, of all packages: each holds a thread that reads ahead, and the threads
/// are everybody's.
pub const READERS: usize = 16;
/// Time for a handshake, and for the peer's hello after it.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a frame that has begun to come in whole, or for [`FRAME_FLOOR_BYTES`] of it.
pub const FRAME: Duration = Duration::from_secs(15);
/// A frame may take longer than [`FRAME`] while so much of it comes in each: 1 KiB/s, the floor of content too. The notes
/// of some dozen ledgers are 100 KiB, and a telephone by satellite carries them in a minute.
pub const FRAME_FLOOR_BYTES: usize = 15 * 1024;
/// Silence after which a connection is lost.
pub const IDLE: Duration = Duration::from_secs(30);
/// How often an idle side says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// Bidirectional streams that a peer may open: the control stream needs one.
pub(crate) const BIDI_STREAMS: u32 = 4;
/// Data streams that a peer may have open: the batches under way, documents of packages that begin, and their successors.
pub(crate) const UNI_STREAMS: u32 = 32;
/// What a peer may send on one stream before we have read it.
const STREAM_WINDOW: u32 = 4 << 20;
/// What a peer may send on all streams before we have read it.
pub(crate) const RECEIVE_WINDOW: u32 = 16 << 20;
/// What we keep for repeating until it is acknowledged.
const SEND_WINDOW: u64 = 16 << 20;
/// Packets that may come in on a loopback address without being acknowledged.
const LOOPBACK_PACKETS_PER_ACK: u32 = 10;
/// What the system is asked to keep of datagrams in each direction; it may give less (Linux: net.core.rmem_max, wmem_max).
const SOCKET_BYTES: usize = 4 << 20;
/// Largest datagram that is tried: loopback and jumbo networks carry far more than Ethernet's 1,500.
const LARGEST_DATAGRAM: u16 = 16 * 1024;

/// What lies between us and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    /// Nothing but this machine's memory.
    Loopback,
    /// A network, of which nobody can say beforehand how long it is or how much it loses.
    Network,
}

impl Road {
    /// The road to an address.
    pub(crate) fn to(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Loopback } else { Self::Network }
    }

    /// How often the peer is asked to acknowledge. In this machine's memory every second packet is more than anybody needs, and
    /// each acknowledgement is a packet to make, to send and to read. Elsewhere as QUIC has it: BBR lives on them.
    fn acknowledgements(self) -> Option<AckFrequencyConfig> {
        match self {
            Self::Loopback => {
                let mut config = AckFrequencyConfig::default();
                config.ack_eliciting_threshold(VarInt::from_u32(LOOPBACK_PACKETS_PER_ACK));
                Some(config)
            }
            Self::Network => None,
        }
    }

    /// How the speed of a connection is found (docs/benchmarks.md, "Bad links"). CUBIC takes every loss for a full queue: on a
    /// satellite link that loses two packets of a hundred it falls to a fiftieth of what the link carries. BBR measures
    /// what arrives instead, and costs more work for each packet, which is felt only where nothing else is in the way.
    fn controller(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Loopback => Arc::new(CubicConfig::default()),
            Self::Network => Arc::new(BbrConfig::default()),
        }
    }
}

/// The transport of both sides.
pub(crate) fn transport(road: Road) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(LARGEST_DATAGRAM);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("30 s fit a QUIC idle timeout")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .mtu_discovery_config(Some(mtu))
        .enable_segmentation_offload(true)
        .congestion_controller_factory(road.controller())
        .ack_frequency_config(road.acknowledgements())
        .allow_spin(false);
    Arc::new(config)
}

/// Gives the socket as much room as the system lets it have: with its usual 208 KiB a burst of a fast sender is dropped
/// before a busy reader is woken, and taken for a link that is full. Without it everything works, slower.
pub(crate) fn widen(socket: &std::net::UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    for (what, result) in
        [("receive", socket.set_recv_buffer_size(SOCKET_BYTES)), ("send", socket.set_send_buffer_size(SOCKET_BYTES))]
    {
        if let Err(error) = result {
            tracing::debug!(%error, what, "the socket keeps its usual buffer");
        }
    }
}

/// What the socket takes in.
///
/// The keys of connection ids and resets follow from the transport key, so that a node that was killed and started again
/// can tell its peers at once that their connections are gone (RFC 9000 §10.3), instead of leaving them to wait for
/// [`IDLE`] in silence.
pub(crate) fn endpoint(key: &SigningKey) -> EndpointConfig {
    let derived = |purpose: &str| Hash::of(&[purpose.as_bytes(), key.seed().as_slice()].concat());
    let reset = derived("custodia/quic-reset/v1\n");
    let ids = derived("custodia/quic-ids/v1\n");
    let ids = u64::from_be_bytes(ids.as_bytes().first_chunk().copied().unwrap_or_default());
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.as_bytes())));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config.max_udp_payload_size(LARGEST_DATAGRAM).expect("16 KiB is above the protocol's least datagram");
    config
}

/// The server's side of a configuration: what a stranger may cost.
pub(crate) fn guard(config: &mut quinn::ServerConfig) {
    config
        // Content travels from whoever calls; what answers is small.
        .transport_config(transport(Road::Network))
        // A caller whose address changes is followed: it proves in the session that it is the same (RFC 9000 §9).
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    // A token for later would be a trace from one connection to the next.
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_no_network() {
        for (address, road) in [
            ("127.0.0.1", Road::Loopback),
            ("127.9.9.9", Road::Loopback),
            ("::1", Road::Loopback),
            ("::ffff:127.0.0.1", Road::Loopback),
            ("10.0.0.1", Road::Network),
            ("192.0.2.7", Road::Network),
            ("::ffff:192.0.2.7", Road::Network),
            ("fd00::1", Road::Network),
            ("2001:db8::1", Road::Network),
        ] {
            assert_eq!(Road::to(address.parse().unwrap()), road, "{address}");
        }
    }
}
