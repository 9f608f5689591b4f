//! Exports: a package as a folder, for people without this program.

mod listing;
mod lists;

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::disclosure::ShownRecord;
use custodia_format::midstate::print_midstates;
use custodia_interop::{BagInfo, DECLARATION, Exported, bag_line, sha256sums_line};
use custodia_verify::Report;
use custodia_verify::chain::Chain;
use serde::{Deserialize, Serialize};

use super::answers::Written;
use super::prove::{beside, check_custody, findings, refuse_existing};
use crate::api::{Operation, Phase, Progress, Reporter};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::redacted::{self, Leaving, Redacted};
use crate::{Node, home, packages};
use listing::Listing;
use lists::Lists;

/// Records up to which an export's proof holds them itself; with more, the manifest file lies beside it.
const RECORDS_IN_PROOF: u64 = 20_000;
/// The folder of an export with the files under their sealed names (docs/spec/proof.md, "Export").
const ITEMS: &str = "items";
/// The same in a bag (RFC 8493, 2.1.2).
const DATA: &str = "data";
/// The folder of an export with midstates.
const MIDSTATES: &str = "midstates";
/// The manifest of an export whose proof does not hold the records.
const MANIFEST: &str = "manifest.jsonl";
/// The file that says how to check an export by hand.
const HOW_TO: &str = "HOW-TO-CHECK.txt";

/// Write a package for people without this program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Export {
    /// The package, by a prefix of its id.
    pub package: String,
    /// The folder, by an absolute path; it does not exist or is empty.
    pub dir: PathBuf,
    /// The redacted copy, by a prefix of the digest of the disclosure that declares it; none: everything is shown.
    #[serde(default)]
    pub disclosure: Option<String>,
    /// Whether the annexes of statements are shown too: persons, places, reasons.
    #[serde(default)]
    pub annexes: bool,
    /// Whether it is a bag.
    #[serde(default)]
    pub bag: bool,
}

impl Operation for Export {
    const NAME: &'static str = "export";
    type Answer = Written;

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Written, Failure> {
        let root = packages::find(node, &self.package)?;
        let copy = self.disclosure.as_deref().map(|digest| redacted::declared(node, &root, digest)).transpose()?;
        let is_empty = fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        if !is_empty {
            refuse_existing(&self.dir)?;
        }
        let summary = node.summaries().of(node.home(), &root)?.ok_or_else(|| {
            Failure::new(Code::NotYet, "The manifest of this package is not here yet.").at(root).next("custodia inbox")
        })?;
        let unfinished = Unfinished::beside(&self.dir)?;
        let written = self.write(node, &root, &summary, copy.as_ref(), unfinished.path(), reporter);
        let written = written.map_err(|failure| failure.seen_from(unfinished.path(), &self.dir))?;
        unfinished.keep_as(&self.dir)?;
        Ok(written)
    }
}

impl Export {
    /// Fills the folder.
    fn write(
        &self,
        node: &Node,
        root: &Hash,
        summary: &packages::Summary,
        copy: Option<&Redacted>,
        folder: &Path,
        reporter: &Reporter,
    ) -> Result<Written, Failure> {
        let mut export = Exporting::begin(node, folder, root, summary, copy.is_some(), self.bag)?;
        let mut each = |record: &ShownRecord| {
            export.record(record)?;
            let progress = Progress::of(Phase::Export).bytes(export.bytes, summary.bytes);
            reporter.progress(progress.items(export.files, summary.files));
            if reporter.is_abandoned() {
                return Err(Failure::new(Code::Interrupted, "Interrupted.").safe("The unfinished folder was removed."));
            }
            Ok(())
        };
        match copy {
            Some(copy) => copy.records()?.iter().try_for_each(each)?,
            None => packages::unclosed_records(&node.home().manifest(root), |header, number, record| {
                each(&ShownRecord::of(header, number, record))
            })?,
        }
        let records = match copy {
            Some(copy) => Records::Redacted(copy),
            None if summary.files < RECORDS_IN_PROOF => Records::Shown,
            None => Records::Beside,
        };
        // The verifier closes the records that were just written out: a manifest that was changed stops here.
        let (report, chain) = export.proof(root, records, self.annexes)?;
        let (files, bytes) = (export.files, export.bytes);
        export.finish(&chain, node, summary)?;
        Ok(Written {
            path: self.dir.display().to_string(),
            sha256: None,
            files,
            bytes,
            verdict: report.verdict.words().to_owned(),
            findings: findings(&report),
        })
    }
}

/// An export that is being written.
struct Exporting<'a> {
    node: &'a Node,
    folder: PathBuf,
    /// The folder of the files, below it.
    payload: &'static str,
    sums: Listing,
    /// A bag's manifest.
    bag: Option<Listing>,
    /// Everything but the payload, with its digest: a bag's tag files.
    tags: Vec<(PathBuf, Hash)>,
    lists: Lists,
    root: Hash,
    files: u64,
    bytes: u64,
}

impl<'a> Exporting<'a> {
    fn begin(
        node: &'a Node,
        folder: &Path,
        root: &Hash,
        summary: &packages::Summary,
        is_redacted: bool,
        is_bag: bool,
    ) -> Result<Self, Failure> {
        let payload = if is_bag { DATA } else { ITEMS };
        let path = folder.join(payload);
        fs::create_dir(&path).map_err(|error| Failure::io(&error, &path))?;
        Ok(Self {
            node,
            folder: folder.to_owned(),
            payload,
            sums: Listing::create(folder.join("SHA256SUMS"))?,
            bag: is_bag.then(|| Listing::create(folder.join("manifest-sha256.txt"))).transpose()?,
            tags: Vec::new(),
            lists: Lists::begin(folder, root, summary, is_redacted)?,
            root: *root,
            files: 0,
            bytes: 0,
        })
    }

    /// One record: a file that can go along does, everything else is told of.
    fn record(&mut self, record: &ShownRecord) -> Result<(), Failure> {
        let Some(item) = Leaving::of(record) else {
            return self.lists.record(record).map_err(|error| Failure::io(&error, &self.folder));
        };
        // A bag's manifest is UTF-8: what is not lies under its digest, where a verifier finds it.
        let is_text = std::str::from_utf8(&item.path).is_ok();
        let name = if is_text || self.bag.is_none() { item.path.clone() } else { item.sha256.to_string().into_bytes() };
        let below = Path::new(self.payload).join(std::ffi::OsStr::from_bytes(&name));
        let path = self.folder.join(&below);
        let below = below.as_os_str().as_bytes();
        // Two files that lie under their digest may be one.
        let is_there = name == item.sha256.to_string().into_bytes() && path.symlink_metadata().is_ok();
        if !is_there {
            self.item(&item, &path)?;
            let failed = |error: std::io::Error| Failure::io(&error, &self.folder);
            sha256sums_line(&mut self.sums, &item.sha256, below).map_err(failed)?;
            if let Some(bag) = &mut self.bag {
                bag_line(bag, &item.sha256, below).map_err(failed)?;
            }
        }
        let exported = Exported { path: below, size: item.size, sha256: &item.sha256, record };
        self.lists.file(&exported).map_err(|error| Failure::io(&error, &self.folder))
    }

    /// The bytes of an item, hashed on the way; and its midstates.
    fn item(&mut self, item: &Leaving, path: &Path) -> Result<(), Failure> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::io(&error, parent))?;
        }
        self.node.vault().copy_out(&item.sha256, path)?;
        self.files += 1;
        self.bytes += item.size;
        let midstates = self.node.vault().midstates(&item.sha256)?;
        let hex = item.sha256.to_string();
        let below = Path::new(MIDSTATES).join(hex.get(..2).unwrap_or_default()).join(&hex);
        if midstates.is_empty() || self.folder.join(&below).exists() {
            return Ok(());
        }
        self.text(below, &print_midstates(&midstates))
    }

    /// The proof, and the manifest beside it when there are many records.
    fn proof(&mut self, root: &Hash, records: Records<'_>, annexes: bool) -> Result<(Report, Chain), Failure> {
        let proof = dossier::of(self.node, root, records)?;
        let proof = if annexes { dossier::with_annexes(self.node, proof)? } else { proof };
        let proof = proof.print().into_bytes();
        let manifest = match records {
            Records::Shown | Records::Redacted(_) => None,
            Records::Beside => {
                let bytes = home::read_file(&self.node.home().manifest(root), custodia_format::limits::MANIFEST_BYTES)?;
                let bytes = bytes.unwrap_or_default();
                self.text(PathBuf::from(MANIFEST), &bytes)?;
                Some(bytes)
            }
        };
        let judged = check_custody(self.node, &proof, manifest.as_deref())?;
        self.text(PathBuf::from("proof.json"), &proof)?;
        Ok(judged)
    }

    /// The lists, what says how to check it by hand, and the sums over all the rest; then everything is made durable.
    fn finish(mut self, chain: &Chain, node: &Node, summary: &packages::Summary) -> Result<(), Failure> {
        let how_to = include_str!("how-to-check.txt").replace("{PAYLOAD}", self.payload);
        self.text(PathBuf::from(HOW_TO), how_to.as_bytes())?;
        if let Some(bag) = self.bag.take() {
            let manifest = (PathBuf::from("manifest-sha256.txt"), bag.end()?);
            self.tags.push(manifest);
            let info = BagInfo {
                organization: node.config().ledger.authority.as_str(),
                identifier: self.root.to_string(),
                description: [&summary.case, &summary.title].map(|it| it.as_deref().unwrap_or_default()).join(" "),
                oxum: (self.bytes, self.files),
            };
            self.text(PathBuf::from("bagit.txt"), DECLARATION.as_bytes())?;
            self.text(PathBuf::from("bag-info.txt"), info.print().as_bytes())?;
        }
        let is_bag = self.payload == DATA;
        let Self { folder, mut sums, mut tags, lists, .. } = self;
        tags.extend(lists.end(chain)?);
        let failed = |error: std::io::Error| Failure::io(&error, &folder);
        for (below, sha256) in &tags {
            sha256sums_line(&mut sums, sha256, below.as_os_str().as_bytes()).map_err(failed)?;
        }
        tags.push((PathBuf::from("SHA256SUMS"), sums.end()?));
        if is_bag {
            let mut manifest = Listing::create(folder.join("tagmanifest-sha256.txt"))?;
            for (below, sha256) in &tags {
                bag_line(&mut manifest, sha256, below.as_os_str().as_bytes()).map_err(failed)?;
            }
            manifest.end()?;
        }
        home::sync_all(&folder)
    }

    /// Writes a file, and remembers its digest.
    fn text(&mut self, below: PathBuf, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(&below);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::io(&error, parent))?;
        }
        let created = fs::File::create_new(&path).and_then(|mut file| file.write_all(bytes));
        created.map_err(|error| Failure::io(&error, &path))?;
        self.tags.push((below, Hash::of(bytes)));
        Ok(())
    }
}

/// A folder that is being filled beside the place where it belongs; it goes away unless it is kept.
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(dir: &Path) -> Result<Self, Failure> {
        let path = beside(dir)?;
        fs::create_dir(&path).map_err(|error| Failure::io(&error, &path))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its name: where an empty folder stands, it takes its place.
    fn keep_as(self, dir: &Path) -> Result<(), Failure> {
        fs::rename(&self.0, dir).map_err(|error| Failure::io(&error, dir))?;
        match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => home::sync_folder(parent),
            None => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After it was kept there is nothing under this name.
        let _ = fs::remove_dir_all(&self.0);
    }
}
