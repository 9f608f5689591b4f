//! Redacted copies: what of a package a reader is shown, as a signed `disclosure` statement declares it.
//!
//! Nothing but that statement is kept of one: what it withholds, and under which head, stands in it, and from that and the manifest
//! the same disclosure is made again, byte for byte, for as long as the package lasts.

use std::collections::BTreeMap;

use custodia_format::Hash;
use custodia_format::body::{Body, DisclosureStatement};
use custodia_format::disclosure::{Disclosure, Redaction, ShownRecord, Subject, Withheld};
use custodia_format::manifest::Header;
use custodia_format::record::{FILE, Record, Value, check_path};
use custodia_format::statement::Package;
use custodia_format::text::{decimal, from_b64};

use crate::failure::{Code, Failure};
use crate::{Node, author, packages};

/// What is shown of a package.
#[derive(Debug, Clone)]
pub(crate) struct Redacted {
    /// Its records.
    pub(crate) disclosure: Disclosure,
    /// The digests of the statements that are withheld, ascending.
    pub(crate) statements: Vec<Hash>,
}

/// An item that leaves with a copy.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// The path under which it was sealed; where that is withheld, its digest.
    pub(crate) path: Vec<u8>,
    /// Bytes.
    pub(crate) size: u64,
    /// Their SHA-256.
    pub(crate) sha256: Hash,
}

impl Leaving {
    /// The file that a record tells of, where that can be checked: its size and digest are shown.
    pub(crate) fn of(record: &ShownRecord) -> Option<Self> {
        if record.type_name() != Some(FILE.name) {
            return None;
        }
        let text = |name: &str| record.field(name).and_then(Value::as_str);
        let sha256 = Hash::from_hex(text("sha256")?)?;
        let path = match (text("path"), text("path_b64")) {
            (Some(path), _) => path.as_bytes().to_vec(),
            (None, Some(path)) => from_b64(path)?,
            (None, None) => sha256.to_string().into_bytes(),
        };
        check_path(&path).ok()?;
        Some(Self { path, size: decimal(text("size")?)?, sha256 })
    }
}

impl Redacted {
    /// The records that this copy shows, as far as it shows them.
    pub(crate) fn records(&self) -> Result<Vec<ShownRecord>, Failure> {
        self.disclosure.close().map_err(|error| {
            Failure::new(Code::SelfCheck, "A disclosure that was made does not close.")
                .instead_of("one that does", error.to_string())
        })
    }

    /// The files that go along.
    pub(crate) fn items(&self) -> Result<Vec<Leaving>, Failure> {
        let records = self.records()?;
        let files = records.iter().filter_map(Leaving::of);
        // Two that lie under their digest may be one.
        Ok(files.map(|item| (item.path.clone(), item)).collect::<BTreeMap<_, _>>().into_values().collect())
    }
}

/// One record of a package that is being redacted.
pub(crate) struct Open<'a> {
    /// Its number.
    pub(crate) number: u64,
    /// What it says.
    pub(crate) record: &'a Record,
    /// The names of its fields.
    pub(crate) names: &'a [String],
}

/// Makes the disclosure of a package whose manifest is here; `decide` says of each record what is withheld.
pub(crate) fn make(
    node: &Node,
    package: Package,
    mut decide: impl FnMut(&Header, &Open<'_>, &[[u8; 32]]) -> Result<Withheld, Failure>,
) -> Result<Disclosure, Failure> {
    let mut redaction = Redaction::default();
    packages::ready_records(&node.home().manifest(&package.root), node.cores(), |header, number, record, ready| {
        let names = header.fields(&record).unwrap_or_default();
        let withheld = decide(header, &Open { number, record: &record, names }, &ready.salts)?;
        Ok(redaction.push(names, ready, &withheld)?)
    })?;
    Ok(redaction.finish(Subject::Package(package))?)
}

/// The redacted copy that a statement of ours on this package declares.
pub(crate) fn declared(node: &Node, root: &Hash, digest: &str) -> Result<Redacted, Failure> {
    let unknown = |what: &str| {
        Failure::new(Code::UnknownStatement, what)
            .instead_of("the first 8 or more characters of the digest of a disclosure of this node", digest)
            .next("custodia show PACKAGE")
    };
    let row = author::own_named(node, root, digest, |kind| kind == "disclosure")?;
    let row = row.ok_or_else(|| unknown("No disclosure of this node on this package is named by this."))?;
    let statement = author::statement(node, &row.digest)?;
    let Some((Some(package), Body::Disclosure(said))) = statement.map(|it| (it.head.package, it.body)) else {
        return Err(unknown("The statement of this disclosure is not here."));
    };
    of_statement(node, package, &said)
}

/// The redacted copy that this statement declares.
fn of_statement(node: &Node, package: Package, said: &DisclosureStatement) -> Result<Redacted, Failure> {
    let disclosure = make(node, package, |_, open, _| Ok(Withheld::by(&said.heads, open.number, open.names)))?;
    if disclosure.digest() != said.sha256 {
        return Err(Failure::new(Code::SelfCheck, "What this statement declares cannot be made again.")
            .instead_of(said.sha256.to_string(), disclosure.digest().to_string())
            .safe("Nothing was written.")
            .next("custodia ledger fsck --bytes"));
    }
    Ok(Redacted { disclosure, statements: said.withheld.clone() })
}
