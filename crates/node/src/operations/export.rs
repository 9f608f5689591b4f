//! Exports: a package as a folder, for people without this program.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_format::Hash;
use custodia_format::midstate::print_midstates;
use custodia_verify::Report;
use serde::{Deserialize, Serialize};

use super::answers::Written;
use super::prove::{beside, check, findings, refuse_existing};
use crate::api::{Operation, Phase, Progress, Reporter};
use crate::dossier::{self, Records};
use crate::failure::{Code, Failure};
use crate::redacted::{self, Leaving, Redacted};
use crate::{Node, home, packages};

/// Records up to which an export's proof holds them itself; with more, the manifest file lies beside it.
const RECORDS_IN_PROOF: u64 = 20_000;
/// The folder of an export with the files under their sealed names (docs/spec/proof.md, "Export").
const ITEMS: &str = "items";
/// The folder of an export with midstates.
const MIDSTATES: &str = "midstates";
/// The manifest of an export whose proof does not hold the records.
const MANIFEST: &str = "manifest.jsonl";
/// The file that says how to check an export by hand.
const HOW_TO: &str = "HOW-TO-CHECK.txt";

/// Write a package for people without this program.
#[derive(Debug, Serialize, Deserialize)]
pub struct Export {
    /// The package, by a prefix of its id.
    pub package: String,
    /// The folder, by an absolute path; it does not exist or is empty.
    pub dir: PathBuf,
    /// The redacted copy, by a prefix of the digest of the disclosure that declares it; none: everything is shown.
    #[serde(default)]
    pub disclosure: Option<String>,
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
        let mut export = Exporting { node, folder: folder.to_owned(), sums: Vec::new(), files: 0, bytes: 0 };
        let mut each = |item: &Leaving| {
            export.item(item)?;
            let progress = Progress::of(Phase::Export).bytes(export.bytes, summary.bytes);
            reporter.progress(progress.items(export.files, summary.files));
            if reporter.is_abandoned() {
                return Err(Failure::new(Code::Interrupted, "Interrupted.").safe("The unfinished folder was removed."));
            }
            Ok(())
        };
        match copy {
            Some(copy) => copy.items()?.iter().try_for_each(each)?,
            None => packages::items_of(node.home(), root, |_, item| each(&Leaving::from(item)))?,
        }
        let records = match copy {
            Some(copy) => Records::Redacted(copy),
            None if summary.files < RECORDS_IN_PROOF => Records::Shown,
            None => Records::Beside,
        };
        let report = export.proof(root, records)?;
        export.finish()?;
        Ok(Written {
            path: self.dir.display().to_string(),
            sha256: None,
            files: export.files,
            bytes: export.bytes,
            verdict: report.verdict.words().to_owned(),
            findings: findings(&report),
        })
    }
}

/// An export that is being written.
struct Exporting<'a> {
    node: &'a Node,
    folder: PathBuf,
    /// The lines of `SHA256SUMS`.
    sums: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl Exporting<'_> {
    /// One item under its sealed name; its bytes are hashed on the way.
    fn item(&mut self, item: &Leaving) -> Result<(), Failure> {
        let below = Path::new(ITEMS).join(std::ffi::OsStr::from_bytes(&item.path));
        let path = self.folder.join(&below);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::io(&error, parent))?;
        }
        self.node.vault().copy_out(&item.sha256, &path)?;
        self.sum(&item.sha256, &below);
        self.files += 1;
        self.bytes += item.size;
        let midstates = self.node.vault().midstates(&item.sha256)?;
        if midstates.is_empty() {
            return Ok(());
        }
        let hex = item.sha256.to_string();
        let below = Path::new(MIDSTATES).join(hex.get(..2).unwrap_or_default()).join(&hex);
        if self.folder.join(&below).exists() {
            return Ok(());
        }
        self.text(&below, &print_midstates(&midstates))
    }

    /// The proof, and the manifest beside it when there are many records.
    fn proof(&mut self, root: &Hash, records: Records<'_>) -> Result<Report, Failure> {
        let proof = dossier::of(self.node, root, records)?.print().into_bytes();
        let manifest = match records {
            Records::Shown | Records::Redacted(_) => None,
            Records::Beside => {
                let bytes = home::read_file(&self.node.home().manifest(root), custodia_format::limits::MANIFEST_BYTES)?;
                let bytes = bytes.unwrap_or_default();
                self.text(Path::new(MANIFEST), &bytes)?;
                Some(bytes)
            }
        };
        let report = check(self.node, &proof, manifest.as_deref())?;
        self.text(Path::new("proof.json"), &proof)?;
        Ok(report)
    }

    /// What says how to check it by hand, and the sums over all the rest; then everything is made durable.
    fn finish(&mut self) -> Result<(), Failure> {
        self.text(Path::new(HOW_TO), include_str!("how-to-check.txt").as_bytes())?;
        let sums = std::mem::take(&mut self.sums);
        write_file(&self.folder.join("SHA256SUMS"), &sums)?;
        home::sync_all(&self.folder)
    }

    /// Writes a file and its sum.
    fn text(&mut self, below: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(below);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::io(&error, parent))?;
        }
        write_file(&path, bytes)?;
        self.sum(&Hash::of(bytes), below);
        Ok(())
    }

    /// A line as `sha256sum` prints it: a name with a backslash, an LF or a CR is escaped, and the line begins with one.
    fn sum(&mut self, sha256: &Hash, below: &Path) {
        let name = below.as_os_str().as_bytes();
        if name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
            self.sums.push(b'\\');
        }
        self.sums.extend_from_slice(sha256.to_string().as_bytes());
        self.sums.extend_from_slice(b"  ");
        for byte in name {
            match byte {
                b'\\' => self.sums.extend_from_slice(b"\\\\"),
                b'\n' => self.sums.extend_from_slice(b"\\n"),
                b'\r' => self.sums.extend_from_slice(b"\\r"),
                other => self.sums.push(*other),
            }
        }
        self.sums.push(b'\n');
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let created = fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    created.map_err(|error| Failure::io(&error, path))
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
