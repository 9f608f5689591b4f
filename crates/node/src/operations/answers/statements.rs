//! What was sealed, said and written out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A package after it was sealed, or as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The root of its manifest: its id. None in a dry run.
    pub package: Option<String>,
    /// The digest of the seal. None in a dry run.
    pub seal: Option<String>,
    /// The seal's place in the ledger. None in a dry run.
    pub leaf_index: Option<u64>,
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Records of its manifest. None in a dry run.
    pub records: Option<u64>,
    /// Records that describe, by their types: how many of each came from the sheets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub described: BTreeMap<String, u64>,
    /// In a dry run, what keeps this from being sealed: each thing by sheet, line and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What is worth knowing, such as files with several names.
    pub remarks: Vec<String>,
}

/// One statement, as a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Its place in this node's ledger.
    pub leaf_index: u64,
    /// Its digest.
    pub digest: String,
    /// Its kind.
    pub kind: String,
    /// What was done, where it is an event; only where one package is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The ledger of its issuer.
    pub ledger: String,
    /// Its number in its issuer's chain on the package.
    pub sequence: Option<u64>,
    /// The package.
    pub package: Option<String>,
    /// The issuer's clock: a claim.
    pub issued_at: String,
    /// Between which two times it came to be, by the clocks of others; none where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_to_be: Option<CameToBe>,
}

/// Between which two times something came to be, as far as the clocks of others bound it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameToBe {
    /// Not before; none where nothing bounds it.
    pub after: Option<Bounded>,
    /// Not after; none where nothing bounds it.
    pub before: Option<Bounded>,
}

/// One end of an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded {
    /// The time.
    pub time: String,
    /// By whose clock.
    pub by: String,
}

/// A package and all that was said of it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The package.
    pub package: String,
    /// The case that its first record names.
    pub case: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its files; none when the manifest is not here.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// The statements, in the order of this node's ledger.
    pub statements: Vec<StatementLine>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Where.
    pub path: String,
    /// Its SHA-256, for a proof.
    pub sha256: Option<String>,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The verdict of the verifier on what was written.
    pub verdict: String,
    /// The findings, as codes.
    pub findings: Vec<String>,
}

/// A text that goes to a file or to another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
}
