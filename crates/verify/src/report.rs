//! The report: verdict, findings, who, when, which files. What people and programs get.

use custodia_format::text::escape_untrusted;
use serde::Serialize;

use crate::case::{Chain as CardChain, Shown};
use crate::chain::Chain;
use crate::finding::{Class, Finding};
use crate::interval::Interval;

/// What is proven, in one of four words. Never more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[must_use]
pub enum Verdict {
    /// Everything that was checked is as it was signed.
    Unchanged,
    /// The same, and something is worth knowing.
    UnchangedWithRemarks,
    /// Something is missing that would decide.
    CannotTell,
    /// Something is not what was signed.
    Changed,
}

impl Verdict {
    /// The verdict as it is printed: a shape and a word.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unchanged => "[OK] UNCHANGED",
            Self::UnchangedWithRemarks => "[OK*] UNCHANGED, WITH REMARKS",
            Self::CannotTell => "[??] CANNOT TELL",
            Self::Changed => "[XX] CHANGED",
        }
    }
}

/// Whether remarks change the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// They do not.
    Usual,
    /// They do: 13.
    Strict,
}

/// What a judgement came to.
#[derive(Debug, Clone, Serialize)]
#[must_use]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// The package, as the root of its manifest.
    pub package: Option<String>,
    /// All findings, the heaviest first.
    pub findings: Vec<Finding>,
    /// The authorities whose cards are shown.
    pub authorities: Vec<AuthorityLine>,
    /// The statements, in the order of the proof.
    pub statements: Vec<StatementLine>,
    /// The ledgers.
    pub ledgers: Vec<LedgerLine>,
    /// The records and files.
    pub items: ItemCounts,
    /// The trust file alone is why it cannot be told.
    pub only_trust: bool,
    /// A ledger shows two histories.
    pub fork: bool,
}

impl Report {
    /// The exit code of a program that prints this: 0 unchanged, 10 changed, 11 cannot tell, 12 cannot tell only because
    /// of the trust file, 13 remarks under strictness, 40 a fork.
    #[must_use]
    pub const fn exit_code(&self, strictness: Strictness) -> u8 {
        match (self.verdict, strictness) {
            _ if self.fork => 40,
            (Verdict::Changed, _) => 10,
            (Verdict::CannotTell, _) if self.only_trust => 12,
            (Verdict::CannotTell, _) => 11,
            (Verdict::UnchangedWithRemarks, Strictness::Strict) => 13,
            (Verdict::UnchangedWithRemarks | Verdict::Unchanged, _) => 0,
        }
    }

    /// The findings by which something that is shown is not what was signed, whatever the clocks say: what a node must not
    /// make and does not take. A witness whose clock is wrong makes `interval-inverted`, which a court is shown as changed;
    /// it must not be able to stop evidence on its way (docs/spec/proof.md, step 5).
    pub fn contradictions(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.code.class() == Class::Changed && !finding.code.is_of_clocks())
    }

    /// The report as one JSON document, with the chain of custody where that was asked for.
    #[must_use]
    pub fn to_json(&self, chain: Option<&Chain>) -> String {
        let mut value = serde_json::json!({ "schema": "custodia.report/1", "report": self });
        if let (Some(chain), Some(document)) = (chain, value.as_object_mut()) {
            document.insert("chain".to_owned(), serde_json::json!(chain));
        }
        format!("{value}\n")
    }
}

/// One authority.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorityLine {
    /// The name: the trust file's where it has one.
    pub name: String,
    /// SHA-256 of the root key: what to compare with the authority's own word.
    pub root: String,
    /// How its key was met, by the trust file; none when it is not in it.
    pub met: Option<String>,
    /// The newest card that is shown: revocations are known up to it.
    pub newest_card: u64,
}

impl AuthorityLine {
    pub(crate) fn of(chain: &CardChain<'_>) -> Self {
        Self {
            name: escape_untrusted(&chain.shown_name()),
            root: chain.root.key_id().to_string(),
            met: chain.trusted.map(|line| line.channel.as_str().to_owned()),
            newest_card: chain.cards.last().map_or(0, |(_, card)| card.get().number),
        }
    }
}

/// One statement.
#[derive(Debug, Clone, Serialize)]
pub struct StatementLine {
    /// Its digest.
    pub digest: String,
    /// Its kind; none when it is withheld.
    pub kind: Option<String>,
    /// Who issued it.
    pub issuer: String,
    /// The officer who signed, or who is claimed to have decided.
    pub officer: Option<String>,
    /// Its number in its issuer's chain on the package.
    pub sequence: Option<u64>,
    /// The issuer's clock: a claim.
    pub issued_at: Option<String>,
    /// Whether its signatures were verified.
    pub signed: bool,
    /// Its place in its ledger, where that was verified.
    pub leaf_index: Option<u64>,
    /// Between which two times it came to be.
    pub interval: Interval,
}

impl StatementLine {
    pub(crate) fn of(shown: &Shown, chain: Option<&CardChain<'_>>) -> Self {
        let head = shown.statement.as_ref().map(|statement| &statement.head);
        let officer = head.and_then(|head| head.officer.as_ref()).map(|officer| {
            let signed = shown
                .signed
                .iter()
                .flat_map(|signed| signed.get())
                .any(|by| by.pseudonym.as_deref() == Some(officer.as_str()));
            if signed { officer.to_string() } else { format!("{officer} (claimed)") }
        });
        Self {
            digest: shown.digest.to_string(),
            kind: head.map(|head| head.kind.to_string()),
            issuer: chain.map(|chain| escape_untrusted(&chain.shown_name())).unwrap_or_default(),
            officer: officer.map(|officer| escape_untrusted(&officer)),
            sequence: head.and_then(|head| head.sequence),
            issued_at: head.map(|head| head.issued_at.to_string()),
            signed: shown.is_signed(),
            leaf_index: shown.included.as_ref().map(|index| *index.get()),
            interval: shown.interval.clone(),
        }
    }
}

/// One ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerLine {
    /// Its name.
    pub origin: String,
    /// The newest number of the package's chain that is shown.
    pub shown_up_to: Option<u64>,
    /// The size of the largest checkpoint that is shown.
    pub checkpoint_size: u64,
}

/// How many records and files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ItemCounts {
    /// Records of the package.
    pub records: u64,
    /// Records that are withheld.
    pub withheld_records: u64,
    /// Fields of shown records that are withheld.
    pub withheld_fields: u64,
    /// Files that the shown records name.
    pub files: u64,
    /// Files whose bytes are those that were sealed.
    pub unchanged: u64,
    /// Their bytes.
    pub bytes: u64,
}
