//! `card`: an authority's keys by purpose, its names, ledgers and addresses (docs/spec/bodies.md).
//!
//! Whoever controls the root key can make cards; a card's root is inside it, so that it is read before its signature is
//! checked. What needs the card before it (whose root signs too) is the verifier's.

use std::collections::BTreeMap;
use std::fmt;

use super::values::{Take, Text, take_key};
use super::words::{Language, State};
use crate::Hash;
use crate::checkpoint::check_ledger_signature;
use crate::envelope::Envelope;
use crate::error::Malformed;
use crate::json::{Json, Members};
use crate::key::PublicKey;
use crate::note::{KeyType, Note, Vkey, VkeyError};
use crate::statement::{KeyFault, StatementError};
use crate::text::{Label, LedgerName, Time, Word, decimal};

/// What an authority says of itself, numbered from 1; the newest card counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// 1 for the first, one more for each that follows.
    pub number: u64,
    /// The digest of the card before; `None` exactly in number 1.
    pub previous: Option<Hash>,
    /// Names for people, by language, 1 to 40.
    pub names: Vec<DisplayName>,
    /// Of which State; `None` for a body of no State.
    pub state: Option<State>,
    /// What it does, such as `laboratory`.
    pub role: Word,
    /// Its keys.
    pub keys: CardKeys,
    /// Its ledgers, 1 to 100, newest last.
    pub ledgers: Vec<CardLedger>,
    /// Where its nodes answer, at most 8, best first.
    pub addresses: Vec<Address>,
    /// How many revocations this chain of cards has issued: a left-out one shows.
    pub revocations: u64,
}

/// A name in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName {
    /// The language.
    pub language: Language,
    /// The name.
    pub name: Text,
}

/// The keys of an authority, by purpose. No raw key stands in two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardKeys {
    /// Signs cards, delegations, revocations and meetings. `root.current` is the root in force.
    pub root: Keys<PublicKey>,
    /// Signs what the node says.
    pub statement: Keys<PublicKey>,
    /// Proves the node to its peers.
    pub transport: Keys<PublicKey>,
    /// Cosigns other ledgers' checkpoints.
    pub witness: Keys<Vkey>,
}

/// The key of one purpose, and the one that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys<K> {
    /// The key in use.
    pub current: KeyWindow<K>,
    /// The next one, if it is already known.
    pub next: Option<KeyWindow<K>>,
}

/// A key and when it is good, by the card's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWindow<K> {
    /// The key.
    pub key: K,
    /// Its first second.
    pub from: Time,
    /// Its last second, never before `from`.
    pub to: Time,
}

/// A ledger of the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardLedger {
    /// Its name, which begins with the issuer's.
    pub origin: LedgerName,
    /// The key that signs its checkpoints; its name is the origin.
    pub vkey: Vkey,
    /// The last checkpoint of a ledger that has ended.
    pub final_note: Option<Note>,
}

/// Where a node answers: `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The UDP port, from 1.
    pub port: u16,
}

impl Card {
    /// The most names.
    pub const NAMES_MOST: usize = 40;
    /// The most ledgers.
    pub const LEDGERS_MOST: usize = 100;
    /// The most addresses.
    pub const ADDRESSES_MOST: usize = 8;

    pub(crate) fn read(mut members: Members) -> Result<Self, StatementError> {
        let value = Self {
            number: members.read("number", "a number from 1", |text| decimal(text).filter(|n| *n >= 1))?,
            previous: members.optional_hash("previous")?,
            names: members.objects("names", 1, Self::NAMES_MOST, DisplayName::read)?,
            state: members.read_optional("state", State::GRAMMAR, |text| State::parse(text).ok())?,
            role: members.word("role")?,
            keys: CardKeys::read(members.object("keys")?)?,
            ledgers: members.objects("ledgers", 1, Self::LEDGERS_MOST, CardLedger::read)?,
            addresses: members.strings("addresses", 0, Self::ADDRESSES_MOST, "host:port", Address::parse)?,
            revocations: members.decimal("revocations")?,
        };
        if value.previous.is_none() != (value.number == 1) {
            return Err(members.wrong("previous", "null exactly in number 1", &value.number.to_string()).into());
        }
        members.end()?;
        Ok(value)
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("number", Json::string(self.number)),
            ("previous", Json::optional(self.previous)),
            ("names", Json::Array(self.names.iter().map(DisplayName::json).collect())),
            ("state", Json::optional(self.state.as_ref())),
            ("role", Json::string(&self.role)),
            ("keys", self.keys.json()),
            ("ledgers", Json::Array(self.ledgers.iter().map(CardLedger::json).collect())),
            ("addresses", Json::strings(&self.addresses)),
            ("revocations", Json::string(self.revocations)),
        ])
    }

    /// Checks what a card must hold by itself, for the name of its issuer.
    ///
    /// # Errors
    /// [`StatementError::Malformed`] when a ledger is not the issuer's, stands twice, has a key of another name, or a
    /// final checkpoint that is of another origin or badly signed; [`StatementError::RefusedKey`] when one raw key
    /// stands at two places. Ledgers may share a key with one another, and with nothing else.
    pub fn check(&self, issuer: &Label) -> Result<(), StatementError> {
        self.check_distinct_keys()?;
        let mut origins = std::collections::BTreeSet::new();
        for (place, ledger) in self.ledgers.iter().enumerate() {
            let refuse = |member: &str, expected: String, found: &str| {
                Malformed::new("statement", format!("body.ledgers.{place}.{member}"), expected, found)
            };
            let origin = ledger.origin.to_string();
            if ledger.origin.authority != *issuer {
                return Err(refuse("origin", format!("a name that begins with {issuer}/"), &origin).into());
            }
            if !origins.insert(&ledger.origin) {
                return Err(refuse("origin", "each ledger once".to_owned(), &origin).into());
            }
            if ledger.vkey.name() != origin {
                return Err(refuse("vkey", format!("the key name {origin}"), ledger.vkey.name()).into());
            }
            if let Some(note) = &ledger.final_note {
                let signed = check_ledger_signature(note, &ledger.vkey);
                let checkpoint = signed.map_err(|error| {
                    refuse("final", "a note signed by the ledger's key".to_owned(), &error.to_string())
                })?;
                if checkpoint.origin != origin {
                    return Err(refuse("final", format!("a checkpoint of {origin}"), &checkpoint.origin).into());
                }
            }
        }
        Ok(())
    }

    /// Every key of the card with its place, ledgers last.
    pub fn all_keys(&self) -> Vec<(String, PublicKey)> {
        let mut all = Vec::new();
        let purposes =
            [("root", &self.keys.root), ("statement", &self.keys.statement), ("transport", &self.keys.transport)];
        for (purpose, keys) in purposes {
            all.extend(keys.iter().enumerate().map(|(place, one)| (format!("body.keys.{purpose}.{place}"), one.key)));
        }
        let witness = self.keys.witness.iter().enumerate();
        all.extend(witness.map(|(place, one)| (format!("body.keys.witness.{place}"), *one.key.key())));
        let ledgers = self.ledgers.iter().enumerate();
        all.extend(ledgers.map(|(place, one)| (format!("body.ledgers.{place}"), *one.vkey.key())));
        all
    }

    fn check_distinct_keys(&self) -> Result<(), StatementError> {
        let mut seen: BTreeMap<PublicKey, String> = BTreeMap::new();
        for (place, key) in self.all_keys() {
            let ledger = "body.ledgers.";
            match seen.get(&key) {
                Some(with) if !(with.starts_with(ledger) && place.starts_with(ledger)) => {
                    let fault = KeyFault::Reused { with: with.clone() };
                    return Err(StatementError::RefusedKey { place, fault });
                }
                _ => seen.insert(key, place),
            };
        }
        Ok(())
    }

    /// Whether the card's own root signed this envelope, which is the card's.
    ///
    /// All that a card alone can show: that the root of the card before signed too is another question.
    #[must_use]
    pub fn is_signed_by_own_root(&self, envelope: &Envelope) -> bool {
        envelope.verify(&self.keys.root.current.key) == Some(true)
    }

    /// The ledger of this name, if it is the authority's.
    pub fn ledger(&self, origin: &LedgerName) -> Option<&CardLedger> {
        self.ledgers.iter().find(|ledger| ledger.origin == *origin)
    }
}

impl CardKeys {
    fn read(mut members: Members) -> Result<Self, StatementError> {
        let value = Self {
            root: Keys::read(&mut members, "root", take_key)?,
            statement: Keys::read(&mut members, "statement", take_key)?,
            transport: Keys::read(&mut members, "transport", take_key)?,
            witness: Keys::read(&mut members, "witness", |members, name| {
                take_vkey(members, name, KeyType::Cosignature)
            })?,
        };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([
            ("root", self.root.json(PublicKey::to_spki_b64)),
            ("statement", self.statement.json(PublicKey::to_spki_b64)),
            ("transport", self.transport.json(PublicKey::to_spki_b64)),
            ("witness", self.witness.json(Vkey::to_string)),
        ])
    }
}

impl<K> Keys<K> {
    /// The current key, then the next.
    pub fn iter(&self) -> impl Iterator<Item = &KeyWindow<K>> {
        std::iter::once(&self.current).chain(&self.next)
    }

    fn read(
        members: &mut Members,
        name: &str,
        take: impl Fn(&mut Members, &str) -> Result<K, StatementError>,
    ) -> Result<Self, StatementError> {
        let windows = members.objects(name, 1, 2, |mut one| {
            let window = KeyWindow { key: take(&mut one, "key")?, from: one.time("from")?, to: one.time("to")? };
            if window.from > window.to {
                return Err(one.wrong("to", "a time not before from", &window.to.to_string()).into());
            }
            one.end()?;
            Ok::<_, StatementError>(window)
        })?;
        let mut windows = windows.into_iter();
        let current = windows.next().ok_or_else(|| members.wrong(name, "1 or 2 keys", "none"))?;
        Ok(Self { current, next: windows.next() })
    }

    fn json(&self, print: impl Fn(&K) -> String) -> Json {
        let each = self.iter().map(|one| {
            Json::object([
                ("key", Json::String(print(&one.key))),
                ("from", Json::string(one.from)),
                ("to", Json::string(one.to)),
            ])
        });
        Json::Array(each.collect())
    }
}

impl<K> KeyWindow<K> {
    /// Whether the time is within the window, both ends included.
    pub fn holds(&self, time: Time) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

impl DisplayName {
    fn read(mut members: Members) -> Result<Self, Malformed> {
        let value = Self {
            language: members.read("language", Language::GRAMMAR, |text| Language::parse(text).ok())?,
            name: members.text("name")?,
        };
        members.end()?;
        Ok(value)
    }

    fn json(&self) -> Json {
        Json::object([("language", Json::string(&self.language)), ("name", Json::string(&self.name))])
    }
}

impl CardLedger {
    fn read(mut members: Members) -> Result<Self, StatementError> {
        let origin = members.ledger("origin")?;
        let vkey = take_vkey(&mut members, "vkey", KeyType::Ed25519)?;
        let text = members.optional_string("final")?;
        let note = text.map(|text| Note::parse(text.as_bytes()));
        let final_note = note.transpose().map_err(|error| error.within(members.path("final")))?;
        members.end()?;
        Ok(Self { origin, vkey, final_note })
    }

    fn json(&self) -> Json {
        Json::object([
            ("origin", Json::string(&self.origin)),
            ("vkey", Json::string(&self.vkey)),
            ("final", Json::optional(self.final_note.as_ref().map(Note::print))),
        ])
    }
}

impl Address {
    /// Reads `host:port`: a host of 1 to 255 letters, digits, `.`, `-`, `_`, or the same with `:` in brackets; a port
    /// from 1 to 65535.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = decimal(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = match inside {
            Some(inside) => {
                !inside.is_empty() && inside.bytes().all(|c| c.is_ascii_hexdigit() || c == b':' || c == b'.')
            }
            None => !host.is_empty() && host.bytes().all(plain),
        };
        (fits && host.len() <= 255).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Takes a vkey of one type. A refused key has a name of its own; all else that is wrong is malformed.
fn take_vkey(members: &mut Members, name: &str, key_type: KeyType) -> Result<Vkey, StatementError> {
    let text = members.string(name)?;
    let vkey = Vkey::parse(&text).map_err(|error| match error {
        VkeyError::Refused { why, .. } => StatementError::RefusedKey { place: members.path(name), fault: why.into() },
        VkeyError::Malformed(error) => error.within(members.path(name)).into(),
    })?;
    if vkey.key_type() != key_type {
        let expected = format!("a vkey of type {:02x}", key_type.byte());
        return Err(members.wrong(name, &expected, &text).into());
    }
    Ok(vkey)
}
