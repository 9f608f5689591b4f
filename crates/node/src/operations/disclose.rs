//! Redacted copies: what one reader is shown of a package, reviewed, then signed.
//!
//! Asked without a digest it signs nothing and says what would be shown and withheld, and where withheld values stand all the same.
//! What is signed is what was reviewed: it is asked for again by the digest of the disclosure.

mod drawn;
mod heads;
mod hidden;
mod rules;

use std::path::PathBuf;
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::body::{Body, DisclosureStatement};
use custodia_format::record::Record;
use serde::{Deserialize, Serialize};

use super::Decider;
use super::answers::Written;
use super::export::Export;
use super::prove::{Prove, refuse_existing};
use crate::api::{Operation, Phase, Progress, Reporter};
use crate::author::{self, Draft};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::redacted::{self, Redacted};
use crate::{Node, keys, packages};
use drawn::Drawn;
pub use heads::heads;
use rules::Rules;

/// Show a reader a package in part.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Disclose {
    /// The package, by a prefix of its id.
    pub package: String,
    /// For whom: a name that stands in the statement's annex.
    pub to: String,
    /// On which order or decision.
    pub order: Option<String>,
    /// What is withheld, and under which head: `HEAD=ITEM`, `HEAD=ITEM#FIELD,FIELD`.
    pub withhold: Vec<String>,
    /// Records besides which nothing is shown.
    pub only: Vec<String>,
    /// The head under which all others are withheld then.
    pub rest: Option<String>,
    /// Statements that are withheld, by prefixes of their digests.
    pub statements: Vec<String>,
    /// Sign although withheld values stand elsewhere in what is shown.
    pub despite_echoes: bool,
    /// The disclosure that was reviewed, by a prefix of its digest; none: nothing is signed.
    pub reviewed: Option<String>,
    /// The folder for the copy, by an absolute path; it does not exist or is empty.
    pub dir: Option<PathBuf>,
    /// The file for the proof alone, by an absolute path.
    pub proof: Option<PathBuf>,
    /// Who decides.
    pub by: Decider,
}

/// A redacted copy, as it would be or as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosed {
    /// The package.
    pub package: String,
    /// For whom.
    pub to: String,
    /// SHA-256 of the disclosure: by it what was reviewed is signed.
    pub disclosure: String,
    /// The statement that declares it; none: nothing was signed.
    pub statement: Option<String>,
    /// Records of the package.
    pub records: u64,
    /// Records that are shown, whole or in part.
    pub shown: u64,
    /// Files whose bytes go along, and how many bytes.
    pub files: (u64, u64),
    /// What is withheld.
    pub withheld: Vec<WithheldLine>,
    /// The statements that are withheld.
    pub statements: Vec<String>,
    /// Where withheld values stand all the same.
    pub echoes: Vec<Echo>,
    /// What is worth knowing.
    pub remarks: Vec<String>,
    /// What was written.
    pub written: Option<Written>,
}

/// What is withheld of the records of a type under one head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldLine {
    /// The head.
    pub head: String,
    /// What it is for; none when it is not in the table.
    pub meaning: Option<String>,
    /// The type.
    pub record_type: String,
    /// The fields; none: whole records.
    pub fields: Vec<String>,
    /// Of how many records.
    pub records: u64,
}

/// A withheld value that stands in what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The record that it is withheld of.
    pub record: u64,
    /// Its code.
    pub code: String,
    /// The field.
    pub field: String,
    /// Where it stands too.
    pub stands_in: String,
}

impl Operation for Disclose {
    const NAME: &'static str = "disclose";
    type Answer = Disclosed;

    fn signs(&self) -> bool {
        self.reviewed.is_some()
    }

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Disclosed, Failure> {
        let root = packages::find(node, &self.package)?;
        let package = author::held_package(node, &root)?;
        if !node.home().manifest(&root).is_file() {
            return Err(Failure::new(Code::NotYet, "The manifest of this package is not here yet.")
                .at(root)
                .next("custodia inbox"));
        }
        for path in self.dir.iter().chain(&self.proof) {
            refuse_existing(path)?;
        }
        let statements = self.statements(node, &root)?;
        let mut drawn = Drawn::of(node, package, Rules::read(&self.withhold, &self.only, self.rest.as_deref())?)?;
        let copy = Redacted { disclosure: drawn.disclosure.clone(), statements };
        let items = if self.proof.is_some() && self.dir.is_none() { Vec::new() } else { copy.items()? };
        let draft = dossier::of(node, &root, Records::Redacted(&copy))?;
        drawn.refuse_secrets(&draft)?;
        let bytes: u64 = items.iter().map(|item| item.size).sum();
        let echoes = drawn.echoes(node, &draft, &items, |done, files| {
            reporter.progress(Progress::of(Phase::Export).bytes(done, bytes).items(files, items.len() as u64));
        })?;
        let digest = drawn.disclosure.digest().to_string();
        let mut disclosed = Disclosed {
            package: root.to_string(),
            to: self.to.clone(),
            disclosure: digest.clone(),
            statement: None,
            records: package.records,
            shown: drawn.disclosure.shown.count(),
            files: (items.len() as u64, bytes),
            withheld: drawn.told(),
            statements: copy.statements.iter().map(Hash::to_string).collect(),
            remarks: drawn.remarks(),
            echoes,
            written: None,
        };
        let Some(reviewed) = &self.reviewed else { return Ok(disclosed) };
        self.refuse_other(reviewed, &disclosed)?;

        node.may_sign()?;
        let (pseudonym, officer) = author::officer(node, &self.by)?;
        let statement_key = keys::read(node.home(), keys::STATEMENT)?;
        let annex = packages::store_annex(node.home(), self.annex())?;
        let body = DisclosureStatement {
            sha256: copy.disclosure.digest(),
            withheld: copy.statements.clone(),
            heads: copy.disclosure.heads.clone(),
        };
        let said = {
            let _desk = node.desk();
            let draft = Draft {
                package: Some(package),
                annex: Some(annex),
                officer: Some(pseudonym),
                ..Draft::of(Body::Disclosure(body))
            };
            author::say(node, draft, &[&statement_key, &officer])?
        };
        // What is written is made from the statement alone, as it will be made again in years.
        let statement = said.digest.to_string();
        let again = redacted::declared(node, &root, &statement)?;
        drawn.refuse_secrets(&dossier::of(node, &root, Records::Redacted(&again))?)?;
        disclosed.statement = Some(statement.clone());
        disclosed.written = self.write(node, &root, statement, reporter)?;
        Ok(disclosed)
    }
}

impl Disclose {
    /// The statements that are to be withheld, ascending. The seal is what all rests on, and another's word is not ours to withhold.
    fn statements(&self, node: &Node, root: &Hash) -> Result<Vec<Hash>, Failure> {
        let mut digests = Vec::new();
        for named in &self.statements {
            let row = author::own_named(node, root, named, |kind| kind != "seal")?;
            digests.push(row.map(|row| row.digest).ok_or_else(|| {
                let told = "No statement of this node on this package, but for its seal, is named by this.";
                Failure::new(Code::UnknownStatement, told)
                    .at("--withhold-statement")
                    .instead_of("the first 8 or more characters of a statement's digest", named)
                    .safe("Nothing was signed or written.")
                    .next("custodia show PACKAGE")
            })?);
        }
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }

    /// What is signed is what was reviewed, and nothing that is withheld stands in it unless that was seen.
    fn refuse_other(&self, reviewed: &str, now: &Disclosed) -> Result<(), Failure> {
        if reviewed.len() < packages::PREFIX_CHARS || !now.disclosure.starts_with(reviewed) {
            return Err(Failure::new(Code::Review, "This is not the copy that was reviewed.")
                .at("--reviewed")
                .instead_of(&now.disclosure, reviewed)
                .safe("Nothing was signed or written.")
                .next("the same command without --reviewed"));
        }
        match now.echoes.first() {
            Some(echo) if !self.despite_echoes => {
                Err(Failure::new(Code::Echo, "Something that is withheld stands elsewhere in what would be shown.")
                    .at(format!("record {} {}, {}", echo.record, echo.code, echo.field))
                    .instead_of("nowhere", format!("in {}", echo.stands_in))
                    .safe("Nothing was signed or written.")
                    .next("withhold it there too")
                    .next("the same command with --despite-echoes, where it tells the reader nothing"))
            }
            _ => Ok(()),
        }
    }

    fn annex(&self) -> Vec<Record> {
        let order = self.order.as_deref().map(|order| packages::detail("order", order));
        [packages::detail("for", &self.to)].into_iter().chain(order).collect()
    }

    fn write(
        &self,
        node: &Arc<Node>,
        root: &Hash,
        statement: String,
        reporter: &Reporter,
    ) -> Result<Option<Written>, Failure> {
        let package = root.to_string();
        if let Some(out) = &self.proof {
            let prove = Prove {
                package: package.clone(),
                out: out.clone(),
                disclosure: Some(statement.clone()),
                annexes: false,
            };
            let written = prove.perform(node, reporter)?;
            if self.dir.is_none() {
                return Ok(Some(written));
            }
        }
        let Some(dir) = &self.dir else { return Ok(None) };
        let export = Export { package, dir: dir.clone(), disclosure: Some(statement), ..Export::default() };
        export.perform(node, reporter).map(Some)
    }
}
