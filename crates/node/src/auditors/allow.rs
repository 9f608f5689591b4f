//! Whom the node answers as auditors: the section of the configuration, and networks of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;

/// The section `[auditors]` of `custodia.toml`. Without it nothing is served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auditors {
    /// Where the node listens for them, TCP.
    pub listen: SocketAddr,
    /// Whom it answers; this machine alone where nothing is said.
    #[serde(default = "this_machine")]
    pub allow: Vec<Network>,
}

/// The addresses that begin with the same bits: `192.0.2.7` or `198.51.100.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

fn this_machine() -> Vec<Network> {
    let loopback = |address, bits| Network { address, bits };
    vec![loopback(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8), loopback(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)]
}

impl Network {
    /// Reads an address, or an address and how many of its bits count; the others must be 0, so that nobody writes one
    /// network and means another. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let width = width_of(address);
        let bits = match bits {
            None => width,
            Some(bits) => custodia_format::text::decimal(bits)?.try_into().ok().filter(|bits| *bits <= width)?,
        };
        // Addresses are compared in their plain form; one that is written otherwise would never match.
        let network = Self { address, bits };
        (address.to_canonical() == address && network.bits_of(address) == Some(number_of(address))).then_some(network)
    }

    /// Whether an address in its plain form, not one of IPv4 inside IPv6, belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.bits_of(address) == Some(number_of(self.address))
    }

    /// The address with the bits that count, as a number; none when it is of the other protocol.
    fn bits_of(&self, address: IpAddr) -> Option<u128> {
        let (width, ours) = (width_of(address), width_of(self.address));
        let rest = u32::from(ours - self.bits);
        let cut = number_of(address).checked_shr(rest).and_then(|kept| kept.checked_shl(rest)).unwrap_or(0);
        (width == ours).then_some(cut)
    }
}

const fn width_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.bits == width_of(self.address) { Ok(()) } else { write!(f, "/{}", self.bits) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no address, and no network such as 198.51.100.0/24"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_its_bits_and_has_one_spelling() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("198.51.100.0/24", "198.51.100.255") && !holds("198.51.100.0/24", "198.51.101.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("::/0", "::1") && !holds("::/0", "127.0.0.1"));
        for text in ["192.0.2.7", "198.51.100.0/24", "::1", "2001:db8::/32", "0.0.0.0/0"] {
            assert_eq!(Network::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "198.51.100.7/24",
            "192.0.2.7/33",
            "192.0.2.7/",
            "192.0.2/24",
            "192.0.2.0/024",
            "192.0.2.0/-1",
            "2001:db8::1/32",
            "::/129",
            "::ffff:192.0.2.7",
            "lab.example",
            "",
            "192.0.2.7 ",
            "*",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_machine_alone_is_answered_where_nothing_is_said() {
        let allowed = |address: &str| this_machine().iter().any(|network| network.contains(address.parse().unwrap()));
        assert!(allowed("127.0.0.1") && allowed("127.9.9.9") && allowed("::1"));
        assert!(!allowed("192.0.2.7") && !allowed("::2") && !allowed("0.0.0.0"));
    }
}
