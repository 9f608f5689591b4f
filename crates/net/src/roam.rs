//! Whether this machine reaches a peer from another address than before: a laptop that changes its network in the middle of a
//! session. QUIC carries the session on when the peer hears from the new address (RFC 9000 §9); TCP cannot.
//!
//! The system is asked, and nothing is sent: a UDP socket that is connected knows from which address it would send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::sleep;

/// How often the system is asked.
const LOOK: Duration = Duration::from_secs(1);

/// From which address the system would send to this one; none while there is no way there.
pub(crate) fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Waits until there is a way from another address than `from`, and gives that address. While there is none nothing has changed:
/// a network that comes back as it was carries on what it carried.
pub(crate) async fn moves(from: Option<IpAddr>, source: impl Fn() -> Option<IpAddr>) -> IpAddr {
    loop {
        sleep(LOOK).await;
        match source() {
            Some(now) if Some(now) != from => return now,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_system_says_from_where_it_would_send() {
        assert_eq!(source("127.0.0.1:9".parse().unwrap()), Some("127.0.0.1".parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_another_address_is_a_move_and_an_outage_is_none() {
        let (home, cafe): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "198.51.100.9".parse().unwrap());
        let shown = Mutex::new(vec![Some(cafe), Some(home), None, None, Some(home)]);
        let source = || shown.lock().unwrap().pop().flatten();
        assert_eq!(moves(Some(home), source).await, cafe);
        assert!(shown.lock().unwrap().is_empty(), "not before it was shown");
    }
}
