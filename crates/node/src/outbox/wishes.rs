//! What people asked of the outbox: hand-overs that are to wait, how fast content may leave and how much of it in a day, by which
//! road whom to call, until when a release is to be answered. No evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::PathBuf;

use custodia_format::Hash;
use custodia_format::key::KeyId;
use custodia_format::text::Time;
use custodia_net::Via;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::home::Home;
use crate::{amount, desk};

/// The least limit, in bytes a second: below it a peer would take a stream for one that is stuck.
pub(crate) const LEAST_LIMIT: u64 = 32 << 10;
/// The least cap of a day, in bytes: below it hardly a manifest would go.
const LEAST_CAP: u64 = 1 << 20;

/// What was asked for, as it stands in `desk/outbox.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Wishes {
    /// Releases that wait until somebody says that they go on.
    paused: BTreeSet<String>,
    /// Releases that go before the others to the same peer.
    #[serde(default)]
    first: BTreeSet<String>,
    /// A limit in place of the configured one; 0 for none at all.
    pub(crate) limit: Option<u64>,
    /// By which road an authority is called, by its root.
    #[serde(default)]
    via: BTreeMap<String, Via>,
    /// By which road one release is to go; it goes before what is said of its recipient.
    #[serde(default)]
    release_via: BTreeMap<String, Via>,
    /// Until when a release is to be answered by a receipt, `YYYY-MM-DDTHH:MM:SSZ`.
    #[serde(default)]
    deadlines: BTreeMap<String, String>,
    /// How many bytes may leave in one day; none: as many as there are.
    #[serde(default)]
    pub(crate) cap: Option<NonZeroU64>,
}

impl Wishes {
    /// What was asked for before; nothing where that cannot be read.
    pub(crate) fn of(home: &Home) -> Self {
        desk::load(&path(home)).unwrap_or_default()
    }

    pub(crate) fn save(&self, home: &Home) -> Result<(), Failure> {
        desk::save(&path(home), self)
    }

    pub(crate) fn is_paused(&self, release: &Hash) -> bool {
        self.paused.contains(&release.to_string())
    }

    pub(crate) fn is_first(&self, release: &Hash) -> bool {
        self.first.contains(&release.to_string())
    }

    pub(crate) fn pause(&mut self, release: &Hash) {
        self.first.remove(&release.to_string());
        self.paused.insert(release.to_string());
    }

    /// It goes on, in its turn.
    pub(crate) fn resume(&mut self, release: &Hash) {
        self.paused.remove(&release.to_string());
        self.first.remove(&release.to_string());
    }

    /// It goes on, before the others.
    pub(crate) fn put_first(&mut self, release: &Hash) {
        self.resume(release);
        self.first.insert(release.to_string());
    }

    /// By which road an authority is called when these releases wait for it.
    pub(crate) fn via(&self, peer: &KeyId, releases: &[Hash]) -> Via {
        let of_release = releases.iter().find_map(|release| self.release_via.get(&release.to_string()));
        of_release.or_else(|| self.via.get(&peer.to_string())).copied().unwrap_or_default()
    }

    /// An authority is called by this road from now on.
    pub(crate) fn call(&mut self, peer: &KeyId, via: Via) {
        match via {
            Via::Auto => drop(self.via.remove(&peer.to_string())),
            via => drop(self.via.insert(peer.to_string(), via)),
        }
    }

    /// Until when a release is to be answered by a receipt.
    pub(crate) fn deadline(&self, release: &Hash) -> Option<Time> {
        Time::parse(self.deadlines.get(&release.to_string())?)
    }

    /// All of them.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (Hash, Time)> {
        self.deadlines.iter().filter_map(|(release, time)| Some((Hash::from_hex(release)?, Time::parse(time)?)))
    }

    /// A release is to be answered until this moment; or there is no such moment any more.
    pub(crate) fn expect(&mut self, release: &Hash, deadline: Option<Time>) {
        match deadline {
            Some(time) => drop(self.deadlines.insert(release.to_string(), time.to_string())),
            None => drop(self.deadlines.remove(&release.to_string())),
        }
    }

    /// One release goes by this road, whatever is said of its recipient.
    pub(crate) fn send(&mut self, release: &Hash, via: Via) {
        self.release_via.insert(release.to_string(), via);
    }
}

fn path(home: &Home) -> PathBuf {
    home.desk().join("outbox.json")
}

/// Bytes a second as people write them: `256k`, `2M`, a number; `off` for no limit.
pub(crate) fn parse_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    if text == "off" {
        return Ok(None);
    }
    let bytes = amount::parse(text, &['k', 'M', 'G']);
    let bytes = bytes.filter(|bytes| *bytes >= LEAST_LIMIT).and_then(NonZeroU64::new);
    bytes
        .map(Some)
        .ok_or_else(|| format!("\"{text}\"; it is a number of bytes a second from 32k on, as 256k or 2M, or off"))
}

/// A rate in the words of [`parse_rate`].
pub(crate) fn print_rate(rate: Option<NonZeroU64>) -> String {
    rate.map_or_else(|| "off".to_owned(), |bytes| amount::print(bytes.get(), &['k', 'M', 'G']))
}

/// Bytes a day as people write them: `500M`, `2G`, a number; `off` for no cap.
pub(crate) fn parse_cap(text: &str) -> Result<Option<NonZeroU64>, String> {
    if text == "off" {
        return Ok(None);
    }
    let bytes = amount::parse(text, &CAP_UNITS).filter(|bytes| *bytes >= LEAST_CAP).and_then(NonZeroU64::new);
    bytes
        .map(Some)
        .ok_or_else(|| format!("\"{text}\"; it is a number of bytes a day from 1M on, as 500M or 2G, or off"))
}

/// A cap in the words of [`parse_cap`].
pub(crate) fn print_cap(cap: NonZeroU64) -> String {
    amount::print(cap.get(), &CAP_UNITS)
}

const CAP_UNITS: [char; 4] = ['k', 'M', 'G', 'T'];

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::key::SigningKey;

    #[test]
    fn what_is_said_of_a_release_goes_before_what_is_said_of_its_recipient() {
        let key = |seed| SigningKey::from_seed(&[seed; 32]).public().key_id();
        let (peer, other) = (key(1), key(2));
        let (one, two) = (Hash::of(b"one"), Hash::of(b"two"));
        let mut wishes = Wishes::default();
        assert_eq!(wishes.via(&peer, &[one]), Via::Auto);
        wishes.call(&peer, Via::Tcp);
        wishes.send(&two, Via::Udp);
        assert_eq!((wishes.via(&peer, &[one]), wishes.via(&other, &[one])), (Via::Tcp, Via::Auto));
        assert_eq!(wishes.via(&peer, &[one, two]), Via::Udp);
        wishes.call(&peer, Via::Auto);
        assert_eq!(wishes.via(&peer, &[one]), Via::Auto);
        let before = r#"{"paused":[],"limit":null}"#;
        assert_eq!(serde_json::from_str::<Wishes>(before).unwrap(), Wishes::default(), "an older file still reads");
    }

    #[test]
    fn rates_read_as_people_write_them() {
        for (text, bytes) in
            [("32k", 32 << 10), ("256k", 256 << 10), ("2M", 2 << 20), ("1G", 1 << 30), ("40000", 40_000)]
        {
            let rate = parse_rate(text).unwrap();
            assert_eq!(rate.map(NonZeroU64::get), Some(bytes));
            assert_eq!(print_rate(rate), text);
        }
        assert_eq!((parse_rate("off"), print_rate(None)), (Ok(None), "off".to_owned()));
        for bad in ["", "k", "0", "31k", "1.5M", "-2M", "2 M", "2m", "99999999999G", "none"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn caps_read_as_people_write_them() {
        for (text, bytes) in [
            ("1M", 1 << 20),
            ("1025k", 1025 << 10),
            ("500M", 500 << 20),
            ("2G", 2 << 30),
            ("3T", 3 << 40),
            ("5000000", 5_000_000),
        ] {
            let cap = parse_cap(text).unwrap();
            assert_eq!((cap.map(NonZeroU64::get), cap.map(print_cap).as_deref()), (Some(bytes), Some(text)));
        }
        assert_eq!(parse_cap("off"), Ok(None));
        for bad in ["", "M", "0", "1023k", "1.5G", "-2M", "2 M", "2m", "99999999T", "none", "500MB"] {
            assert!(parse_cap(bad).is_err(), "{bad}");
        }
    }
}
