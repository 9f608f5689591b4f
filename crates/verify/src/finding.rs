//! Findings: what a check has to say, each under a stable code with one class (docs/spec/proof.md, "Findings").

use serde::Serialize;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Worth knowing; takes nothing away from what is proven.
    Remark,
    /// Something is missing that would decide.
    CannotTell,
    /// What is shown contradicts what was signed.
    Changed,
}

/// Declares the codes with their classes and words.
macro_rules! findings {
    ($($name:ident $text:literal $class:ident $words:literal;)*) => {
        /// The stable name of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[non_exhaustive]
        pub enum FindingCode {
            $(#[doc = $words] #[serde(rename = $text)] $name,)*
        }

        impl FindingCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its text, such as `undeclared-gap`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class),* }
            }

            /// Whether it says that clocks disagree, and nothing of signatures, ledgers, trees or bytes.
            pub const fn is_of_clocks(self) -> bool {
                matches!(self, Self::IntervalInverted | Self::ClockSkew | Self::ClockClaim | Self::ClockInverted)
            }

            /// What it says, for people.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words),* }
            }
        }
    };
}

findings! {
    NoProof "no-proof" CannotTell "This file is no proof.";
    NewerVersion "newer-version" CannotTell "This is of a newer version than this program reads.";
    Malformed "malformed" Changed "The proof is not what its format prescribes.";
    CardFork "card-fork" Changed "Two different cards, or revocations, claim one number under one root.";
    CardGap "card-gap" CannotTell "A card is shown without the one before it.";
    UntrustedAuthority "untrusted-authority" CannotTell "An authority is not in the trust file, or outside its dates.";
    BadSignature "bad-signature" Changed "A signature does not verify.";
    WrongSigners "wrong-signers" Changed "Not those signed who had to.";
    UnknownKey "unknown-key" Changed "A key that signed is refused, or was not the signer's for this purpose at this time.";
    UnknownKind "unknown-kind" CannotTell "A statement of a kind that this program does not know: its head and signatures are checked, its body is not.";
    NotIncluded "not-included" Changed "A statement is not in the ledger that its proof names.";
    NotLogged "not-logged" CannotTell "A statement is shown without proof that a ledger holds it.";
    Unwitnessed "unwitnessed" CannotTell "Too few other authorities have cosigned the ledger.";
    LedgerFork "ledger-fork" Changed "A ledger shows two histories that cannot both be true.";
    HistoryUnproven "history-unproven" CannotTell "Two checkpoints of a ledger are shown without proof that they belong to one history.";
    UnknownLine "unknown-line" Remark "A note bears a line by a key that this reader does not know.";
    IntervalInverted "interval-inverted" Changed "A statement would have to be earlier than what it names.";
    ClockSkew "clock-skew" Remark "Two authorities' clocks differ a little.";
    TimeUnbounded "time-unbounded" CannotTell "Nothing bounds the time of a statement.";
    ClockClaim "clock-claim" Remark "The issuer's clock lies outside the proven time.";
    KeyTime "key-time" CannotTell "It cannot be decided whether a key was still good when it signed.";
    TokenUnchecked "token-unchecked" Remark "A time-stamp token is shown that the trust file does not vouch for; it bounds nothing.";
    UnknownAlgorithm "unknown-algorithm" CannotTell "A time-stamp token uses what this program does not know.";
    UndeclaredGap "undeclared-gap" CannotTell "Statements are missing from a chain, and nobody declared why.";
    ChainFork "chain-fork" Changed "The links of a chain do not close.";
    OneSidedHandover "one-sided-handover" CannotTell "A hand-over has one side only.";
    DeclaredWithheld "declared-withheld" Remark "A statement is withheld, and that is declared.";
    ErasedByOrder "erased-by-order" Remark "Something was destroyed by order; the proof closes without it.";
    ClockInverted "clock-inverted" Remark "A later statement claims an earlier time.";
    LimitsWidened "limits-widened" Remark "An onward release allows more than the release it stands on.";
    NoSeal "no-seal" CannotTell "No seal of the package is shown.";
    Resealed "resealed" Remark "The same records were sealed twice in one ledger.";
    Manifest "manifest" Changed "The records are not those that were sealed.";
    UndeclaredWithholding "undeclared-withholding" CannotTell "Something is withheld without a signed declaration.";
    UnknownRecordType "unknown-record-type" CannotTell "A record is of a type that this program does not know.";
    Bytes "bytes" Changed "A file is not the file that was sealed.";
    Missing "missing" CannotTell "A file or the records are not here.";
    NotGiven "not-given" Remark "No files were given to check.";
    Extra "extra" Remark "A file lies there that the records do not name.";
    Moved "moved" Remark "A file was found under another name.";
    RecordedGap "recorded-gap" Remark "The sealer recorded parts of a file that could not be read.";
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Its weight.
    pub class: Class,
    /// Its name.
    pub code: FindingCode,
    /// What it is about: a statement, a file, an authority. Foreign text in it is escaped.
    pub place: String,
    /// What was expected and found, or who could help.
    pub detail: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.code.as_str(), self.place, self.detail)
    }
}
