//! The state of one judgement: what was read, what has been verified, what was found.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use custodia_format::Hash;
use custodia_format::body::{Body, Card, Revocation};
use custodia_format::disclosure::ShownRecord;
use custodia_format::entry::Entry;
use custodia_format::envelope::Envelope;
use custodia_format::key::{KeyId, PublicKey};
use custodia_format::kind::Purpose;
use custodia_format::note::{Note, Vkey};
use custodia_format::statement::{Package, Statement};
use custodia_format::text::{Label, LedgerName, Time, escape_untrusted};
use custodia_format::tlog_proof::TlogProof;
use custodia_format::trust::{TrustFile, TrustedAuthority};

use crate::finding::{Finding, FindingCode};
use crate::interval::{Bound, BoundSource, Interval};
use crate::report::ItemCounts;
use crate::time_stamp::TimeStamp;

/// Something that this crate has verified. Nobody else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Called where a check has just succeeded, and only there.
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// What was verified.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

/// A chain of cards: one authority. Its number is its place in [`Case::chains`].
#[derive(Debug)]
pub(crate) struct Chain<'t> {
    /// The root key of its first shown card: its identity.
    pub(crate) root: PublicKey,
    /// The name in its cards.
    pub(crate) name: Label,
    /// Its verified cards, by number.
    pub(crate) cards: Vec<(Hash, Verified<Card>)>,
    /// The line of the trust file that names one of its roots.
    pub(crate) trusted: Option<&'t TrustedAuthority>,
    /// Officers' and devices' keys, by verified delegations.
    pub(crate) delegated: HashMap<KeyId, Delegated>,
    /// Verified revocations, with the issuer's time of each.
    pub(crate) revocations: Vec<(Revocation, Time)>,
    /// Whether its cosignatures were needed because nobody believed gave one.
    pub(crate) used_untrusted: bool,
}

/// A delegated key.
#[derive(Debug, Clone)]
pub(crate) struct Delegated {
    pub(crate) key: PublicKey,
    pub(crate) purpose: Purpose,
    pub(crate) pseudonym: String,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

impl Chain<'_> {
    /// The name to show: the trust file's where there is one, else the chain's own word.
    pub(crate) fn shown_name(&self) -> String {
        match self.trusted {
            Some(line) => line.name.to_string(),
            None => format!("{} (not in the trust file)", self.name),
        }
    }

    /// The key of one of its ledgers, by any of its cards.
    pub(crate) fn ledger(&self, origin: &LedgerName) -> Option<&Vkey> {
        self.cards.iter().find_map(|(_, card)| card.get().ledger(origin)).map(|ledger| &ledger.vkey)
    }

    /// The last size of a ledger that a card has ended.
    pub(crate) fn final_size(&self, origin: &LedgerName) -> Option<u64> {
        let finals = self.cards.iter().filter_map(|(_, card)| card.get().ledger(origin)?.final_note.as_ref());
        finals
            .filter_map(|note| custodia_format::checkpoint::Checkpoint::parse_text(&note.text).ok())
            .map(|c| c.size)
            .min()
    }

    /// When a key stopped being good, by the revocations that are shown.
    pub(crate) fn revoked(&self, key: &KeyId) -> Option<Time> {
        let of_key = self.revocations.iter().filter(|(revocation, _)| revocation.key_id == *key);
        of_key.map(|(revocation, issued)| revocation.compromised_since.unwrap_or(*issued)).min()
    }
}

/// One statement of the proof.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) digest: Hash,
    pub(crate) envelope: Option<Envelope>,
    /// What it says; none when it is withheld.
    pub(crate) statement: Option<Statement>,
    pub(crate) entry: Entry,
    pub(crate) tlog_proof: Option<TlogProof>,
    /// The authority that issued it, or, of a withheld one, whose ledger it is in.
    pub(crate) chain: Option<usize>,
    /// Its signatures were verified (step 3): key, purpose, and its window.
    pub(crate) signed: Option<Verified<Vec<SignedBy>>>,
    /// It was verified to stand in its ledger (step 4).
    pub(crate) included: Option<Verified<u64>>,
    /// Step 4 refused it: it takes no part in steps 5 and 6.
    pub(crate) excluded: bool,
    /// Step 5.
    pub(crate) interval: Interval,
}

/// A signature that verified.
#[derive(Debug, Clone)]
pub(crate) struct SignedBy {
    pub(crate) key: KeyId,
    pub(crate) purpose: Purpose,
    pub(crate) pseudonym: Option<String>,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

impl Shown {
    /// Whether it is shown and well signed.
    pub(crate) fn is_signed(&self) -> bool {
        self.signed.is_some()
    }

    /// The ledger that it stands in: by its head, or by its proof where the head is withheld.
    pub(crate) fn ledger(&self) -> Option<LedgerName> {
        match (&self.statement, &self.tlog_proof) {
            (Some(statement), _) => Some(statement.head.ledger.clone()),
            (None, Some(proof)) => LedgerName::parse(proof.checkpoint.text.lines().next()?).ok(),
            (None, None) => None,
        }
    }

    /// Its place in the ledger, by its proof.
    pub(crate) fn leaf_index(&self) -> Option<u64> {
        self.tlog_proof.as_ref().map(|proof| proof.index)
    }

    /// Whether it speaks of this package.
    pub(crate) fn is_on(&self, package: &Package) -> bool {
        self.statement.as_ref().is_some_and(|statement| statement.head.package.as_ref() == Some(package))
    }

    /// How findings name it.
    pub(crate) fn place(&self) -> String {
        let kind = self.statement.as_ref().map_or_else(|| "withheld".to_owned(), |s| s.head.kind.to_string());
        let digest = self.digest.to_string();
        format!("{kind} {}", digest.get(..16).unwrap_or(&digest))
    }
}

/// Who cosigned a note, when, and how the reader stands to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cosigner {
    /// The authority; none for an independent witness of the trust file.
    pub(crate) chain: Option<usize>,
    /// Their name.
    pub(crate) name: String,
    pub(crate) time: Time,
    pub(crate) trusted: bool,
}

impl Cosigner {
    /// Whether it is another than the issuer of what it cosigned.
    pub(crate) fn counts_for(&self, issuer: Option<usize>) -> bool {
        self.chain.is_none() || self.chain != issuer
    }
}

impl From<Cosigner> for Bound {
    fn from(cosigner: Cosigner) -> Self {
        let source = if cosigner.trusted { BoundSource::Trusted } else { BoundSource::Untrusted };
        Self { time: cosigner.time, by: cosigner.name, source }
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Case<'t> {
    pub(crate) trust: &'t TrustFile,
    pub(crate) package: Option<Package>,
    pub(crate) statements: Vec<Shown>,
    pub(crate) anchors: Vec<Note>,
    pub(crate) chains: Vec<Chain<'t>>,
    /// Card digest → chain.
    pub(crate) card_of: HashMap<Hash, usize>,
    /// A note's text → who cosigned it, over all notes with that text.
    pub(crate) cosigners: HashMap<String, Vec<Cosigner>>,
    /// A note's digest → who cosigned that very note.
    pub(crate) note_cosigners: HashMap<Hash, Vec<Cosigner>>,
    /// SHA-256 of a note's text → the time-stamp tokens over it that count.
    pub(crate) stamps: HashMap<Hash, Vec<Verified<TimeStamp>>>,
    pub(crate) findings: BTreeSet<Finding>,
    pub(crate) items: ItemCounts,
    /// Annexes that are shown and closed, by their roots.
    pub(crate) annexes: HashMap<Hash, Vec<ShownRecord>>,
    /// The package's own record, where it is shown.
    pub(crate) package_record: Option<ShownRecord>,
    /// Bag seals that shown records of containers name.
    pub(crate) bag_seals: Vec<String>,
    /// For each ledger: number shown up to, checkpoint size.
    pub(crate) ledgers: BTreeMap<String, (Option<u64>, u64)>,
    /// A malformed text or a refused key was found.
    over: bool,
}

impl<'t> Case<'t> {
    pub(crate) fn new(trust: &'t TrustFile) -> Self {
        Self {
            trust,
            package: None,
            statements: Vec::new(),
            anchors: Vec::new(),
            chains: Vec::new(),
            card_of: HashMap::new(),
            cosigners: HashMap::new(),
            note_cosigners: HashMap::new(),
            stamps: HashMap::new(),
            findings: BTreeSet::new(),
            items: ItemCounts::default(),
            annexes: HashMap::new(),
            package_record: None,
            bag_seals: Vec::new(),
            ledgers: BTreeMap::new(),
            over: false,
        }
    }

    /// Notes a finding. Foreign text in it becomes visible.
    pub(crate) fn find(&mut self, code: FindingCode, place: impl AsRef<str>, detail: impl AsRef<str>) {
        self.over |= code == FindingCode::Malformed;
        self.findings.insert(Finding {
            class: code.class(),
            code,
            place: escape_untrusted(place.as_ref()),
            detail: escape_untrusted(detail.as_ref()),
        });
    }

    /// A refused public key ends the walk as a malformed text does.
    pub(crate) fn refuse_key(&mut self, place: impl AsRef<str>, detail: impl AsRef<str>) {
        self.find(FindingCode::UnknownKey, place, detail);
        self.over = true;
    }

    /// Whether the walk ends with this step.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// The revocations, erasures and other statements of a kind that are shown and well signed.
    pub(crate) fn signed_bodies(&self) -> impl Iterator<Item = (&Shown, &Statement, &Body)> {
        self.statements.iter().filter(|shown| shown.is_signed()).filter_map(|shown| {
            let statement = shown.statement.as_ref()?;
            Some((shown, statement, &statement.body))
        })
    }
}
