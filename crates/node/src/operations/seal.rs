//! Sealing: a folder into the vault, its records into a manifest, the manifest's root under signatures.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use custodia_format::body::{Body, Seal as SealBody};
use custodia_format::record::{FILE, PACKAGE, Record, Value};
use custodia_format::text::{Code as CodeText, Time, to_b64};
use custodia_sheets::{Described, Sheets};
use custodia_vault::{ImportedFile, Plan};
use serde::{Deserialize, Serialize};

use super::Decider;
use super::answers::Sealed;
use super::sheets::{Description, FileCodes};
use crate::api::{Operation, Phase, Progress, Reporter};
use crate::author::{self, Draft};
use crate::convert::unsealable;
use crate::failure::{Code, Failure};
use crate::keys;
use crate::{Node, packages};

/// Seal a package.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seal {
    /// Files and folders, by absolute paths.
    pub paths: Vec<PathBuf>,
    /// The case.
    pub case: String,
    /// What it is, in a sentence.
    pub note: Option<String>,
    /// A folder of sheets that describe it, by its absolute path.
    #[serde(default)]
    pub records: Option<PathBuf>,
    /// Only say what would be sealed.
    pub dry_run: bool,
    /// Who seals.
    pub by: Decider,
}

impl Operation for Seal {
    const NAME: &'static str = "seal";
    type Answer = Sealed;

    fn signs(&self) -> bool {
        !self.dry_run
    }

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Sealed, Failure> {
        let case = CodeText::parse(&self.case).map_err(|error| {
            Failure::from(error).at("--case").next("name the case by 1 to 64 visible characters without spaces")
        })?;
        self.refuse_own_home(node)?;
        let plan = Plan::of(&self.paths);
        if !plan.problems.is_empty() {
            return Err(unsealable(&plan.problems));
        }
        if plan.files.is_empty() {
            return Err(Failure::new(Code::Empty, "There is no file to seal.")
                .instead_of("at least one file", "0 files")
                .safe("Nothing was sealed."));
        }
        let (files, bytes) = (plan.files.len() as u64, plan.bytes());
        let described = match &self.records {
            Some(folder) => Description::read(node, folder, &case, &plan)?,
            None => Description::default(),
        };
        described.refuse_second_title(self.note.as_deref())?;
        let mut remarks: Vec<String> = plan.remarks.iter().map(ToString::to_string).collect();
        remarks.extend(described.sheets.remarks());
        let would = Sealed {
            package: None,
            seal: None,
            leaf_index: None,
            files,
            bytes,
            records: None,
            described: described.sheets.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            problems: Vec::new(),
            remarks,
        };
        if self.dry_run {
            return Ok(Sealed { problems: described.told(), ..would });
        }
        described.refuse_problems()?;
        // Before anything long begins: the node may sign, and the officer's key opens.
        node.may_sign()?;
        let (pseudonym, officer) = author::officer(node, &self.by)?;
        let statement_key = keys::read(node.home(), keys::STATEMENT)?;
        let watching = Watching::new(reporter, files, bytes);
        let imported = node.vault().import(&plan, node.cores(), &watching)?;
        drop(plan);

        let own = described.sheets.records();
        let (before, after) = own.split_at(own.partition_point(|one| one.type_name() < FILE.name));
        let count = (1 + own.len() + imported.files.len()) as u64;
        let first = package_record(&case, self.note.as_deref(), &described.sheets);
        let mut codes = FileCodes::new(&case, &described.sheets);
        let files_of = imported.files.iter().map(|file| file_record(&mut codes, file, &described.sheets));
        let types = [PACKAGE.name].into_iter();
        let types = types.chain(before.iter().map(Described::type_name)).chain([FILE.name]);
        let types = types.chain(after.iter().map(Described::type_name));
        let records = std::iter::once(first).chain(before.iter().map(Described::record)).chain(files_of);
        let records = records.chain(after.iter().map(Described::record));
        let package = packages::store(node.home(), types, count, records)?;
        let body = SealBody {
            answers: None,
            program: CodeText::parse("custodia")?,
            version: CodeText::parse(env!("CARGO_PKG_VERSION"))?,
            findings: Vec::new(),
            unread: Vec::new(),
        };
        let _desk = node.desk();
        let draft = Draft { package: Some(package), officer: Some(pseudonym), ..Draft::of(Body::Seal(body)) };
        let said = author::say(node, draft, &[&statement_key, &officer])?;
        Ok(Sealed {
            package: Some(package.root.to_string()),
            seal: Some(said.digest.to_string()),
            leaf_index: Some(said.leaf_index),
            records: Some(count),
            ..would
        })
    }
}

impl Seal {
    /// A node cannot seal the folder that it is writing to.
    fn refuse_own_home(&self, node: &Node) -> Result<(), Failure> {
        let home = node.home().path().canonicalize().unwrap_or_else(|_| node.home().path().to_owned());
        for path in &self.paths {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if home.starts_with(&real) || real.starts_with(&home) {
                return Err(Failure::new(
                    Code::InputUnreadable,
                    "The node's own home lies in the source, or the source in it.",
                )
                .at(path.display())
                .instead_of("a source outside the home", home.display().to_string())
                .safe("Nothing was sealed.")
                .next("name the folders beside the home one by one"));
            }
        }
        Ok(())
    }
}

/// The package's own record.
fn package_record(case: &CodeText, title: Option<&str>, sheets: &Sheets) -> Record {
    let program = format!("custodia {}", env!("CARGO_PKG_VERSION"));
    let described = sheets.package().map(|described| described.record());
    let record = described.unwrap_or_else(|| Record::of(&PACKAGE, case.as_str(), []));
    let record = match title {
        Some(title) => record.with(&PACKAGE, [("title", Value::Text(title.to_owned()))]),
        None => record,
    };
    let text = |text: &str| Value::Text(text.to_owned());
    record.with(&PACKAGE, [("code", text(case.as_str())), ("case", text(case.as_str())), ("program", text(&program))])
}

/// One file's record.
fn file_record(codes: &mut FileCodes<'_>, file: &ImportedFile, sheets: &Sheets) -> Record {
    let path = std::str::from_utf8(&file.path).ok();
    let raw = if path.is_none() { Some(to_b64(&file.path)) } else { None };
    let modified = Time::from_unix(file.modified.seconds).map(|time| time.to_string());
    let described = path.and_then(|path| sheets.file(path)).map(|described| described.record());
    let record = described.unwrap_or_else(|| Record::of(&FILE, "", []));
    let has_code = record.field(&FILE, "code").and_then(Value::as_str).is_some_and(|code| !code.is_empty());
    let code = if has_code { None } else { codes.next() };
    let record = match code {
        Some(code) => record.with(&FILE, [("code", Value::Text(code))]),
        None => record,
    };
    record.with(
        &FILE,
        [
            ("path", Value::optional(path)),
            ("path_b64", Value::optional(raw)),
            ("size", Value::Text(file.size.to_string())),
            ("sha256", Value::Text(file.sha256.to_string())),
            ("midstates", Value::Text(file.midstates_root.to_string())),
            ("modified", Value::optional(modified)),
        ],
    )
}

/// Tells a reporter how far an import is.
struct Watching<'a> {
    reporter: &'a Reporter,
    files: u64,
    bytes: u64,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    told: AtomicU64,
    is_syncing: AtomicBool,
}

/// Bytes after which an import tells again how far it is.
const TELL_EVERY: u64 = 32 << 20;

impl<'a> Watching<'a> {
    fn new(reporter: &'a Reporter, files: u64, bytes: u64) -> Self {
        Self {
            reporter,
            files,
            bytes,
            files_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            told: AtomicU64::new(0),
            is_syncing: AtomicBool::new(false),
        }
    }

    fn tell(&self) {
        let phase = if self.is_syncing.load(Ordering::Relaxed) { Phase::Store } else { Phase::Hash };
        let (bytes, files) = (self.bytes_done.load(Ordering::Relaxed), self.files_done.load(Ordering::Relaxed));
        self.reporter.progress(Progress::of(phase).bytes(bytes, self.bytes).items(files, self.files));
    }
}

impl custodia_vault::Progress for Watching<'_> {
    fn bytes(&self, bytes: u64) {
        let done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let step = done / TELL_EVERY;
        if self.told.fetch_max(step, Ordering::Relaxed) < step {
            self.tell();
        }
    }

    fn file(&self) {
        let done = self.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(256) || done == self.files {
            self.tell();
        }
    }

    fn syncing(&self) {
        self.is_syncing.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn cancelled(&self) -> bool {
        self.reporter.is_abandoned()
    }
}
