//! Making a node: keys by purpose, card number 1, the first officer, all of it logged. No network.

use std::net::SocketAddr;

use custodia_format::body::{
    Address, Body, Card, CardKeys, CardLedger, Delegation, DisplayName, Holder, KeyWindow, Keys, Language, State, Text,
};
use custodia_format::key::{PublicKey, SigningKey};
use custodia_format::note::{KeyType, Vkey};
use custodia_format::text::{Code as Pseudonym, Label, LedgerName, Time, Word};
use custodia_ledger::{Folder, Ledger};
use serde::{Deserialize, Serialize};

use crate::Node;
use crate::author::{self, Draft};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::keys::{self, Passphrase};
use crate::{ask, config, edge, packages};

/// What a new node is told about itself.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The authority's name, a label.
    pub name: String,
    /// The authority's name as people write it.
    pub display: String,
    /// Two letters, or none for an international body.
    pub state: Option<String>,
    /// What it is, a word.
    pub role: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where peers reach it, HOST:PORT, best first.
    pub addresses: Vec<String>,
    /// The first officer's name.
    pub officer: Option<String>,
    /// What the root key and the officer's key lie under.
    pub passphrase: Option<String>,
}

/// A new node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The authority's name.
    pub name: String,
    /// Its folder.
    pub home: String,
    /// Its ledger.
    pub ledger: String,
    /// SHA-256 of the root key.
    pub fingerprint: String,
    /// The first officer's pseudonym.
    pub officer: Option<String>,
    /// The root key's file.
    pub root_key: String,
}

/// How long the first keys are meant to serve: three years, less than any algorithm's life.
const KEY_SECONDS: i64 = 3 * 365 * 86_400;
/// The name of an authority's first node in its ledger's name.
const FIRST_NODE: &str = "node-1";

/// Makes a node in a folder that is empty or not there.
///
/// # Errors
/// [`Code::Exists`], [`Code::Malformed`] when a name does not fit its grammar (nothing is made then), or what the disk
/// says.
pub fn init(home: &Home, founding: &Founding) -> Result<Made, Failure> {
    let name = Label::parse(&founding.name)?;
    let role = Word::parse(&founding.role)?;
    let state = founding.state.as_deref().map(State::parse).transpose()?;
    let display = DisplayName { language: Language::parse("en")?, name: Text::parse(&founding.display)? };
    let ledger = LedgerName { authority: name.clone(), node: FIRST_NODE.to_owned(), generation: 1 };
    let addresses = founding.addresses.iter().map(|address| parse_address(address)).collect::<Result<Vec<_>, _>>()?;
    let passphrase = founding.passphrase.as_deref().map(Passphrase::new).unwrap_or_default();

    home.create()?;
    let root = keys::create(home, keys::ROOT, &passphrase)?;
    let node_key = |purpose| keys::create(home, purpose, &Passphrase::default());
    let statement = node_key(keys::STATEMENT)?;
    let ledger_key = node_key(keys::LEDGER)?;
    let witness = node_key(keys::WITNESS)?;
    let transport = node_key(keys::TRANSPORT)?;

    let vkey = Vkey::new(&ledger.to_string(), KeyType::Ed25519, ledger_key.public())?;
    drop(Ledger::create(Folder::open(home.path())?, &ledger.to_string(), ledger_key)?);
    Config {
        ledger: ledger.clone(),
        listen: founding.listen,
        tcp: config::tcp_default(),
        cores: None,
        scrub: config::scrub_default(),
        witness: config::witness_default(),
        auditors: None,
        sending: None,
        peers: crate::allowance::Limits::default(),
        time_stamps: None,
    }
    .write_new(home)?;

    let from = edge::now();
    let to = Time::from_unix(from.unix().saturating_add(KEY_SECONDS)).unwrap_or(from);
    let card = Card {
        number: 1,
        previous: None,
        names: vec![display],
        state,
        role,
        keys: CardKeys {
            root: in_force(root.public(), from, to),
            statement: in_force(statement.public(), from, to),
            transport: in_force(transport.public(), from, to),
            witness: in_force(Vkey::new(name.as_str(), KeyType::Cosignature, witness.public())?, from, to),
        },
        ledgers: vec![CardLedger { origin: ledger.clone(), vkey, final_note: None }],
        addresses,
        revocations: 0,
    };
    let node = Node::open(home)?;
    let desk = node.desk();
    author::say(&node, Draft::of(Body::Card(Box::new(card))), &[&root])?;
    let person = founding.officer.as_deref().unwrap_or(&founding.display);
    let officer = delegate(&node, "O-1", person, &root, &passphrase)?;
    drop(desk);
    // Nobody has seen anything of it yet.
    ask::Record::write(home, true)?;
    Ok(Made {
        name: name.to_string(),
        home: home.path().display().to_string(),
        ledger: ledger.to_string(),
        fingerprint: root.public().key_id().to_string(),
        officer: Some(officer),
        root_key: home
            .key(keys::ROOT)
            .with_extension(if passphrase.is_none() { "" } else { "age" })
            .display()
            .to_string(),
    })
}

/// Gives an officer a key under a pseudonym; the name goes into the annex. The caller holds the desk.
pub(crate) fn delegate(
    node: &Node,
    pseudonym: &str,
    person: &str,
    root: &SigningKey,
    passphrase: &Passphrase,
) -> Result<String, Failure> {
    let key = keys::create(node.home(), &keys::officer(pseudonym), passphrase)?;
    let annex = packages::store_annex(node.home(), vec![packages::person(pseudonym, person)])?;
    let from = edge::now();
    let delegation = Delegation {
        key: key.public(),
        holder: Holder::Officer,
        pseudonym: Pseudonym::parse(pseudonym)?,
        role: Word::parse("officer")?,
        from,
        to: Time::from_unix(from.unix().saturating_add(KEY_SECONDS)).unwrap_or(from),
    };
    let draft = Draft { annex: Some(annex), ..Draft::of(Body::Delegation(delegation)) };
    author::say(node, draft, &[root])?;
    Ok(pseudonym.to_owned())
}

fn in_force<K>(key: K, from: Time, to: Time) -> Keys<K> {
    Keys { current: KeyWindow { key, from, to }, next: None }
}

fn parse_address(text: &str) -> Result<Address, Failure> {
    Address::parse(text).ok_or_else(|| {
        Failure::new(Code::Usage, "This is no address that peers could reach.")
            .instead_of("HOST:PORT", text)
            .safe("Nothing was made.")
    })
}

/// The root key of an authority, as its card shows it.
pub(crate) fn root_of(card: &Card) -> &PublicKey {
    &card.keys.root.current.key
}
