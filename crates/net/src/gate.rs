//! Who may begin a handshake now: what strangers may cost before they have shown anything.
//!
//! A handshake costs us a key exchange, a signature and some kilobytes, and the caller one datagram under an address that
//! need not be its own. So a few a second are let in as they come; more must first show that they own their address
//! (QUIC's Retry, which keeps no state here), and then each network may begin so many. What is over that is dropped, and a
//! caller in good faith repeats its datagram after a second. An address that was not shown is charged to nobody: otherwise
//! a stranger could lock out whom it names.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::transport::{HANDSHAKES, HANDSHAKES_PER_NETWORK, HANDSHAKES_UNPROVEN, NETWORKS, RETRY_ABOVE};

/// So many at once, and so many a second from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once, after a silence.
    pub burst: u32,
    /// A second.
    pub a_second: u32,
}

/// The gate of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    unproven: Bucket,
    networks: HashMap<Network, Bucket>,
}

/// What is to be done with an attempt.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Begin; the place is given back when this is dropped.
    Shake(UnderWay),
    /// Let it show that it owns its address.
    ShowAddress,
    /// Say nothing.
    Drop,
}

/// A handshake that is under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Gate>);

/// Those who are likely one and the same: a /24 of IPv4, a /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

/// What was used up of a [`Rate`], and when that was reckoned. A new one is unused.
#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    used: f64,
    at: Option<Instant>,
}

impl Gate {
    /// Judges an attempt from this address, which was shown to be the caller's or not.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr, is_shown: bool, now: Instant) -> Admission {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.under_way >= HANDSHAKES {
            return Admission::Drop;
        }
        if is_shown {
            if !state.of_network(from, now).take(HANDSHAKES_PER_NETWORK, now) {
                return Admission::Drop;
            }
        } else if state.under_way >= RETRY_ABOVE || !state.unproven.take(HANDSHAKES_UNPROVEN, now) {
            return Admission::ShowAddress;
        }
        state.under_way += 1;
        Admission::Shake(UnderWay(self.clone()))
    }
}

impl State {
    fn of_network(&mut self, from: IpAddr, now: Instant) -> &mut Bucket {
        let network = Network::of(from);
        if self.networks.len() >= NETWORKS && !self.networks.contains_key(&network) {
            self.networks.retain(|_, bucket| bucket.is_used(HANDSHAKES_PER_NETWORK, now));
            if self.networks.len() >= NETWORKS {
                // So many networks at once are one attacker's: forgetting them costs less than remembering them.
                self.networks.clear();
            }
        }
        self.networks.entry(network).or_default()
    }
}

impl Bucket {
    /// Takes one, if one is left.
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let used = self.used_now(rate, now);
        let is_left = used + 1.0 <= f64::from(rate.burst);
        *self = Self { used: if is_left { used + 1.0 } else { used }, at: Some(now) };
        is_left
    }

    fn is_used(&self, rate: Rate, now: Instant) -> bool {
        self.used_now(rate, now) > 0.0
    }

    fn used_now(&self, rate: Rate, now: Instant) -> f64 {
        let since = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (self.used - since * f64::from(rate.a_second)).max(0.0)
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self(gate) = self;
        let mut state = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.under_way = state.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn gate() -> Arc<Gate> {
        Arc::default()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many attempts are let in, each over at once.
    fn admitted(gate: &Arc<Gate>, from: &str, is_shown: bool, attempts: u32, now: Instant) -> u32 {
        let shaken = (0..attempts).filter(|_| matches!(gate.admit(address(from), is_shown, now), Admission::Shake(_)));
        u32::try_from(shaken.count()).unwrap()
    }

    #[test]
    fn a_few_are_let_in_as_they_come_and_then_all_must_show_their_address() {
        let (gate, now) = (gate(), Instant::now());
        assert_eq!(admitted(&gate, "192.0.2.1", false, 1000, now), HANDSHAKES_UNPROVEN.burst);
        assert!(matches!(gate.admit(address("198.51.100.1"), false, now), Admission::ShowAddress));
        let second = now + Duration::from_secs(1);
        assert_eq!(admitted(&gate, "192.0.2.1", false, 1000, second), HANDSHAKES_UNPROVEN.a_second);
    }

    #[test]
    fn a_network_has_its_share_and_whoever_names_it_falsely_does_not_use_it_up() {
        let (gate, now) = (gate(), Instant::now());
        admitted(&gate, "192.0.2.1", false, 1000, now);
        for from in ["192.0.2.7", "2001:db8:1::1", "::ffff:198.51.100.9"] {
            assert_eq!(admitted(&gate, from, true, 1000, now), HANDSHAKES_PER_NETWORK.burst, "{from}");
        }
        for same in ["192.0.2.250", "2001:db8:1:ffff::2", "198.51.100.1"] {
            assert_eq!(admitted(&gate, same, true, 10, now), 0, "{same}");
        }
        assert!(matches!(gate.admit(address("192.0.2.9"), true, now), Admission::Drop));
        assert_eq!(admitted(&gate, "192.0.3.1", true, 1, now), 1);
        let later = now + Duration::from_secs(2);
        assert_eq!(admitted(&gate, "192.0.2.9", true, 1000, later), 2 * HANDSHAKES_PER_NETWORK.a_second);
    }

    #[test]
    fn what_is_under_way_is_bounded_and_given_back() {
        let (gate, now) = (gate(), Instant::now());
        let mut under_way = Vec::new();
        for n in 0..HANDSHAKES {
            let from = format!("10.{}.0.1", n % 250);
            let Admission::Shake(one) = gate.admit(address(&from), true, now) else { panic!("{n}") };
            under_way.push(one);
        }
        assert!(matches!(gate.admit(address("192.0.2.1"), true, now), Admission::Drop));
        under_way.truncate(RETRY_ABOVE);
        assert!(matches!(gate.admit(address("192.0.2.1"), false, now), Admission::ShowAddress));
        under_way.clear();
        assert!(matches!(gate.admit(address("192.0.2.1"), false, now), Admission::Shake(_)));
    }

    #[test]
    fn networks_without_end_take_no_memory_without_end() {
        let (gate, now) = (gate(), Instant::now());
        for n in 0..3 * NETWORKS as u32 {
            let [_, b, c, d] = n.to_be_bytes();
            gate.admit(IpAddr::from([10 + b, c, d, 1]), true, now);
        }
        assert!(gate.0.lock().unwrap().networks.len() <= NETWORKS);
    }
}
