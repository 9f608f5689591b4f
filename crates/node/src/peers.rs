//! The authorities that this node believes: their cards, their officers, and the check of what they sign.
//!
//! Identity is the root key; the name is our trust file's. Cards and delegations lie in `peers/<root key id>/` as the
//! envelopes they are, each file named by its digest.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use custodia_format::body::{Body, Card, CardLedger};
use custodia_format::envelope::Envelope;
use custodia_format::key::{KeyId, PublicKey};
use custodia_format::kind::{Kind, Purpose};
use custodia_format::note::{Note, Vkey};
use custodia_format::statement::Statement;
use custodia_format::text::{Label, LedgerName, Time};
use custodia_format::trust::TrustFile;
use custodia_format::{Hash, limits};
use custodia_net::Peer;

use crate::failure::{Code, Failure};
use crate::home::{self, Home};

/// One authority, as far as its cards go.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// The key id of the root key that the trust file names.
    pub(crate) root: KeyId,
    /// The name that the trust file gives it.
    pub(crate) name: Label,
    /// Its cards from number 1 on, with their digests.
    cards: Vec<(Hash, Card)>,
    /// Keys of cards and delegations, by key id.
    keys: HashMap<KeyId, (PublicKey, Purpose)>,
    /// Digests of the cards, delegations and revocations that are here.
    known: Vec<Hash>,
}

/// All authorities of the trust file.
#[derive(Debug)]
pub(crate) struct Peers(RwLock<Vec<Arc<Authority>>>);

impl Peers {
    /// Reads them from the home.
    pub(crate) fn open(home: &Home, trust: &TrustFile) -> Result<Self, Failure> {
        let peers = Self(RwLock::new(Vec::new()));
        peers.read_again(home, trust)?;
        Ok(peers)
    }

    /// Reads them again after something was learned.
    pub(crate) fn read_again(&self, home: &Home, trust: &TrustFile) -> Result<(), Failure> {
        let mut all = Vec::new();
        for authority in &trust.authorities {
            all.push(Arc::new(Authority::read(home, authority.root, authority.name.clone())?));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// All of them, in the order of the trust file.
    pub(crate) fn all(&self) -> Vec<Arc<Authority>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Authority>, Failure> {
        self.all().into_iter().find(|peer| peer.name.as_str() == name).ok_or_else(|| {
            let known = self.all().iter().map(|peer| peer.name.to_string()).collect::<Vec<_>>().join(", ");
            Failure::new(Code::UnknownPeer, "No authority of that name is trusted here.")
                .instead_of(
                    if known.is_empty() { "an authority that was met".to_owned() } else { format!("one of {known}") },
                    name,
                )
                .safe("Nothing was signed or sent.")
                .next("custodia trust add CARD --fingerprint F")
        })
    }

    /// The one with this root.
    pub(crate) fn rooted(&self, root: &KeyId) -> Option<Arc<Authority>> {
        self.all().into_iter().find(|peer| peer.root == *root)
    }
}

impl Authority {
    /// Who it is on the wire.
    pub(crate) fn as_peer(&self) -> Peer {
        Peer { root: self.root, name: self.name.clone() }
    }

    /// An authority whose root key is believed, and of which nothing else is known.
    pub(crate) fn new(root: PublicKey, name: Label) -> Self {
        let root_id = root.key_id();
        let keys = HashMap::from([(root_id, (root, Purpose::Root))]);
        Self { root: root_id, name, cards: Vec::new(), keys, known: Vec::new() }
    }

    fn read(home: &Home, root: PublicKey, name: Label) -> Result<Self, Failure> {
        let mut authority = Self::new(root, name);
        let mut envelopes = Vec::new();
        for entry in std::fs::read_dir(home.peer(&authority.root)).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "json") {
                envelopes.extend(home::read_file(&entry.path(), limits::ENVELOPE_BYTES as u64)?);
            }
        }
        authority.learn(envelopes);
        Ok(authority)
    }

    /// Takes what follows from what is known, in whatever order it comes; gives back the digests that were new.
    ///
    /// What does not verify under the root is left out: a stranger's card in the folder gives no key.
    pub(crate) fn learn(&mut self, envelopes: Vec<Vec<u8>>) -> Vec<Hash> {
        let mut rest: Vec<(Hash, Envelope, Statement)> = envelopes
            .iter()
            .filter_map(|bytes| {
                let envelope = Envelope::parse(bytes).ok()?;
                let statement = Statement::parse(&envelope).ok()?;
                Some((Hash::of(bytes), envelope, statement))
            })
            .collect();
        let mut learned = Vec::new();
        // Each round takes the card after the newest, then what stands under the cards so far.
        loop {
            let before = rest.len();
            rest.retain(|(digest, envelope, statement)| {
                let taken = self.known.contains(digest) || self.take(*digest, envelope, statement);
                if taken && !self.known.contains(digest) {
                    self.known.push(*digest);
                    learned.push(*digest);
                }
                !taken
            });
            if rest.len() == before {
                return learned;
            }
        }
    }

    fn take(&mut self, digest: Hash, envelope: &Envelope, statement: &Statement) -> bool {
        match &statement.body {
            Body::Card(card) => self.take_card(digest, envelope, statement, card),
            Body::Delegation(delegation) => {
                let valid = self.check_signatures(envelope, statement).is_ok();
                if valid {
                    let purpose = match delegation.holder {
                        custodia_format::body::Holder::Officer => Purpose::Officer,
                        custodia_format::body::Holder::Device => Purpose::Device,
                    };
                    self.keys.entry(delegation.key.key_id()).or_insert((delegation.key, purpose));
                }
                valid
            }
            Body::Revocation(_) => self.check_signatures(envelope, statement).is_ok(),
            _ => false,
        }
    }

    fn take_card(&mut self, digest: Hash, envelope: &Envelope, statement: &Statement, card: &Card) -> bool {
        let follows = match self.cards.last() {
            None => card.number == 1 && card.keys.root.current.key.key_id() == self.root,
            Some((newest, previous)) => card.number == previous.number + 1 && card.previous == Some(*newest),
        };
        let signed = self
            .cards
            .last()
            .is_none_or(|(_, previous)| envelope.verify(&previous.keys.root.current.key) == Some(true));
        if !follows
            || !signed
            || !card.is_signed_by_own_root(envelope)
            || card.check(&statement.head.issuer.name).is_err()
        {
            return false;
        }
        let keys = card
            .keys
            .root
            .iter()
            .map(|window| (window.key, Purpose::Root))
            .chain(card.keys.statement.iter().map(|window| (window.key, Purpose::Statement)))
            .chain(card.keys.transport.iter().map(|window| (window.key, Purpose::Transport)));
        for (key, purpose) in keys {
            self.keys.entry(key.key_id()).or_insert((key, purpose));
        }
        self.cards.push((digest, card.clone()));
        true
    }

    /// The digests of its cards, from number 1 on.
    pub(crate) fn card_digests(&self) -> impl Iterator<Item = &Hash> {
        self.cards.iter().map(|(digest, _)| digest)
    }

    /// Its newest card; none before one was learned.
    pub(crate) fn newest(&self) -> Option<&(Hash, Card)> {
        self.cards.last()
    }

    /// Its newest card, or the word that it has none.
    pub(crate) fn card(&self) -> Result<&Card, Failure> {
        self.newest().map(|(_, card)| card).ok_or_else(|| {
            Failure::new(Code::UnknownPeer, format!("No card of {} is here.", self.name))
                .next("custodia trust add CARD")
        })
    }

    /// Whether this digest is one of its cards, delegations or revocations.
    pub(crate) fn knows(&self, digest: &Hash) -> bool {
        self.known.contains(digest)
    }

    /// The digests of its cards, delegations and revocations.
    pub(crate) fn known(&self) -> &[Hash] {
        &self.known
    }

    /// The key of one of its ledgers, by any of its cards.
    pub(crate) fn ledger(&self, origin: &LedgerName) -> Option<&Vkey> {
        self.cards.iter().rev().find_map(|(_, card)| card.ledger(origin)).map(|ledger| &ledger.vkey)
    }

    /// Where its cards say that one of its ledgers ended.
    pub(crate) fn finals(&self) -> impl Iterator<Item = (&CardLedger, &Note)> {
        let ledgers = self.cards.iter().flat_map(|(_, card)| &card.ledgers);
        ledgers.filter_map(|ledger| Some((ledger, ledger.final_note.as_ref()?)))
    }

    /// Whether one of its ledgers ended, and a next generation goes on.
    pub(crate) fn has_ended(&self, origin: &LedgerName) -> bool {
        self.finals().any(|(ledger, _)| ledger.origin == *origin)
    }

    /// The keys of its ledgers, by its newest card.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = &Vkey> {
        self.cards.last().into_iter().flat_map(|(_, card)| card.ledgers.iter().map(|ledger| &ledger.vkey))
    }

    /// Its witness keys, by any of its cards.
    pub(crate) fn witness_keys(&self) -> impl Iterator<Item = &Vkey> {
        self.cards.iter().flat_map(|(_, card)| card.keys.witness.iter().map(|window| &window.key))
    }

    /// Its transport keys that are in force at this time.
    pub(crate) fn transport_keys(&self, now: Time) -> Vec<PublicKey> {
        let newest = self.cards.last();
        newest
            .into_iter()
            .flat_map(|(_, card)| card.keys.transport.iter())
            .filter(|window| window.holds(now))
            .map(|window| window.key)
            .collect()
    }

    /// Reads a statement of this authority, and checks that those signed it whom its kind asks for.
    ///
    /// # Errors
    /// [`Code::Malformed`] or [`Code::Signature`], naming what is wrong.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<Statement, Failure> {
        let envelope = Envelope::parse(bytes)?;
        let statement = Statement::parse(&envelope)?;
        self.check_signatures(&envelope, &statement)?;
        Ok(statement)
    }

    fn check_signatures(&self, envelope: &Envelope, statement: &Statement) -> Result<(), Failure> {
        let refuse = |what: &str, expected: String, found: String| {
            Err(Failure::new(Code::Signature, what)
                .at(format!("statement {}", envelope.digest()))
                .instead_of(expected, found))
        };
        let head = &statement.head;
        if !statement.signers_agree(envelope) {
            return refuse(
                "The signatures are not those that the statement names.",
                format!("{} signers", head.signers.len()),
                format!("{} signatures", envelope.signatures().len()),
            );
        }
        if head.kind != Kind::Card
            && !head.issuer.card.is_some_and(|card| self.cards.iter().any(|(known, _)| *known == card))
        {
            return refuse(
                "The statement stands under a card that is not known.",
                "a card of this authority".to_owned(),
                head.issuer.card.map_or_else(|| "none".to_owned(), |card| card.to_string()),
            );
        }
        let mut purposes = Vec::new();
        for (key_id, _) in envelope.signatures() {
            let Some((key, purpose)) = self.keys.get(key_id) else {
                return refuse(
                    "A key that signed is not one of this authority.",
                    format!("a key of {}", self.name),
                    key_id.to_string(),
                );
            };
            if envelope.verify(key) != Some(true) {
                return refuse(
                    "A signature does not verify.",
                    "a signature of this key".to_owned(),
                    key_id.to_string(),
                );
            }
            purposes.push(*purpose);
        }
        if statement.permits(&purposes) {
            return Ok(());
        }
        refuse(
            "Not those signed whom this kind asks for.",
            format!("{:?}", head.kind.signers()),
            format!("{purposes:?}"),
        )
    }
}
