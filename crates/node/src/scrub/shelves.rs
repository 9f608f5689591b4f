//! What must lie here, which packages need it, and who else holds it. All of it follows from the statements of the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::kind::Kind;
use custodia_format::ranges::Items;
use custodia_format::record::FileItem;
use custodia_index::Row;
use custodia_vault::ItemError;

use super::record::Scrubbed;
use crate::desk::moment;
use crate::failure::Failure;
use crate::operations::answers::Damaged;
use crate::{Node, author, edge, history, packages};

/// Characters by which a digest is told; enough to name it to any command.
const SHORT: usize = 16;
/// Packages that are named of those that need a file; the rest is counted.
const PACKAGES_NAMED: usize = 8;

/// What the statements of the ledger name.
#[derive(Debug, Default)]
pub(super) struct Named {
    roots: HashMap<Hash, Root>,
    /// Objects and manifests that are gone by order.
    erased: HashSet<Hash>,
}

/// A manifest or an annex that a statement names.
#[derive(Debug)]
struct Root {
    records: u64,
    /// The records whose items this node has taken over; none, and its manifest may still be on its way.
    held: Vec<Items>,
    is_annex: bool,
    /// Ours, so that it must be here.
    is_held: bool,
}

/// An object that is looked into.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) sha256: Hash,
    pub(super) wrong: Wrong,
}

/// What is wrong with an object.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Its bytes.
    Bytes { found: Hash, size: u64, chunk: Option<u64> },
    /// It cannot be read.
    Unreadable { why: String },
    /// It is not here.
    Missing,
    /// Its midstates were not what its bytes give. They are now.
    Midstates,
}

impl Wrong {
    /// What a vault says of an item; none when it is only gone.
    pub(super) fn of(error: &ItemError, size: u64) -> Self {
        match error {
            ItemError::Damaged { found, chunk, .. } => Self::Bytes { found: *found, size, chunk: *chunk },
            ItemError::Missing { .. } => Self::Missing,
            other => Self::Unreadable { why: other.to_string() },
        }
    }
}

/// Who needs an object.
#[derive(Debug, Default)]
pub(super) struct Need {
    packages: Vec<(Hash, u64)>,
    size: u64,
}

/// What the manifests turned out to be.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Manifests and annexes that were read to their end or found damaged.
    pub(super) manifests: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    pub(super) damage: Vec<Damaged>,
    pub(super) remarks: Vec<String>,
    /// Who needs the objects that were asked for, and those that are missing.
    pub(super) needs: BTreeMap<Hash, Need>,
    /// Objects that must be here and are not.
    pub(super) missing: Vec<Hash>,
}

impl Named {
    /// Reads every statement of the ledger.
    pub(super) fn of(node: &Node, goes_on: &dyn Fn() -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut named = Self::default();
        for row in node.index().all()? {
            goes_on()?;
            named.take(node, &row);
        }
        Ok(named)
    }

    fn take(&mut self, node: &Node, row: &Row) {
        // A statement that is absent or damaged is told by the check of the ledger.
        let Ok(Some(statement)) = author::statement(node, &row.digest) else { return };
        let is_own = author::is_own(node, row);
        if let Some(package) = statement.head.package {
            let root = self.root(package.root, package.records, false);
            match &statement.body {
                Body::Seal(_) if is_own => root.hold(Items::All),
                Body::Receipt(receipt) if is_own => root.hold(receipt.items.clone()),
                _ => {}
            }
        }
        if let Some(annex) = statement.head.annex {
            let root = self.root(annex.root, annex.records, true);
            root.is_held |= is_own;
        }
        if let Body::Erasure(erasure) = &statement.body {
            self.erased.extend(erasure.objects.iter().chain(&erasure.manifest));
        }
    }

    fn root(&mut self, root: Hash, records: u64, is_annex: bool) -> &mut Root {
        let new = || Root { records, held: Vec::new(), is_annex, is_held: false };
        self.roots.entry(root).or_insert_with(new)
    }
}

impl Root {
    fn hold(&mut self, items: Items) {
        self.is_held = true;
        self.held.push(items);
    }

    fn holds(&self, record: u64) -> bool {
        self.held.iter().any(|items| items.contains(record))
    }
}

/// Reads every manifest and annex, and looks whether the objects that they name are here. Notes who needs the suspects.
/// `goes_on` is asked at every record.
pub(super) fn walk(
    node: &Node,
    suspects: &HashSet<Hash>,
    goes_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<Walked, Failure> {
    let mut walked = Walked::default();
    // Listed before the statements are read: a manifest is here before it is spoken of.
    let files = files(&node.home().manifests())?;
    let named = Named::of(node, goes_on)?;
    let mut present = HashSet::new();
    for path in files {
        goes_on()?;
        let Some(root) = root_of(&path) else {
            walked.remarks.push(format!("{}: a stray file", below(node, &path)));
            continue;
        };
        present.insert(root);
        walked.manifest(node, &named, suspects, &path, root, goes_on)?;
    }
    let mut absent: Vec<(&Hash, &Root)> =
        named.roots.iter().filter(|(root, held)| held.is_held && !present.contains(root)).collect();
    absent.sort_by_key(|(root, _)| **root);
    for (root, held) in absent {
        let path = node.home().manifest(root);
        // Taken in since the folder was listed.
        if path.is_file() {
            continue;
        }
        match named.erased.contains(root) {
            true => walked.remarks.push(format!("{}: erased by order", below(node, &path))),
            false => walked.damage.push(of_manifest(node, &path, root, held.is_annex, "nothing: it is missing")),
        }
    }
    walked.missing.sort_unstable();
    walked.missing.dedup();
    Ok(walked)
}

impl Walked {
    fn manifest(
        &mut self,
        node: &Node,
        named: &Named,
        suspects: &HashSet<Hash>,
        path: &Path,
        root: Hash,
        goes_on: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let known = named.roots.get(&root);
        let (mut records, mut stopped) = (0, false);
        let read = packages::read_records(path, |number, record| {
            records = number + 1;
            goes_on().inspect_err(|_| stopped = true)?;
            let Some(item) = FileItem::of(&record)? else { return Ok(()) };
            let is_held = known.is_some_and(|known| known.holds(number));
            let is_missing = is_held && !named.erased.contains(&item.sha256) && !node.vault().contains(&item.sha256)?;
            if is_missing {
                self.missing.push(item.sha256);
            }
            if is_missing || suspects.contains(&item.sha256) {
                let need = self.needs.entry(item.sha256).or_default();
                need.size = item.size;
                need.packages.push((root, number));
            }
            Ok(())
        });
        self.manifests += 1;
        self.bytes += fs::metadata(path).map_or(0, |metadata| metadata.len());
        let is_annex = known.is_some_and(|known| known.is_annex);
        let wrong = match (read, known) {
            (Err(failure), _) if stopped => return Err(failure),
            (Err(failure), _) => {
                let found = failure.found.map(|found| format!(" ({found})")).unwrap_or_default();
                Some(format!("{}{found}", failure.what))
            }
            (Ok(found), _) if found != root => Some(format!("records that close to {found}")),
            (Ok(_), Some(known)) if known.records != records => {
                Some(format!("{records} records, while its statements speak of {}", known.records))
            }
            (Ok(_), Some(_)) => None,
            (Ok(_), None) => {
                self.remarks.push(format!("{}: no statement names it", below(node, path)));
                None
            }
        };
        if let Some(found) = wrong {
            self.damage.push(of_manifest(node, path, &root, is_annex, &found));
        }
        Ok(())
    }
}

/// What is said of a manifest or an annex.
fn of_manifest(node: &Node, path: &Path, root: &Hash, is_annex: bool, found: &str) -> Damaged {
    let path = below(node, path);
    let held_by = if is_annex { Vec::new() } else { held_by(node, &[(*root, None)]) };
    let what = if is_annex { "an annex" } else { "a manifest" };
    let mut next = ask(&held_by, &path, "the manifest of this package, a file that closes to this root");
    next.push("custodia ledger fsck --bytes".to_owned());
    Damaged {
        path,
        expected: format!("{what} that closes to root {root}"),
        found: found.to_owned(),
        needed_by: if is_annex { Vec::new() } else { vec![short(root)] },
        held_by,
        safe: "What was signed about it holds. The file was not touched, and nothing is made of it: whoever reads it \
               computes its root first. Its objects were not looked for."
            .to_owned(),
        next,
        last_whole: last_whole(node, &node.home().manifest(root)),
        found_at: edge::now().to_string(),
        is_healed: false,
    }
}

/// What is said of an object, or of its midstates.
pub(super) fn of_object(node: &Node, suspect: &Suspect, need: Option<&Need>) -> Damaged {
    let sha256 = &suspect.sha256;
    let shelf = if matches!(suspect.wrong, Wrong::Midstates) { "midstates" } else { "objects" };
    let path = format!("{shelf}/{}/{sha256}", &sha256.to_string()[..2]);
    let bytes = need.map(|need| format!(", {} bytes", need.size)).unwrap_or_default();
    let packages = need.map(|need| need.packages.as_slice()).unwrap_or_default();
    let mut roots: Vec<Hash> = packages.iter().map(|(root, _)| *root).collect();
    roots.dedup();
    let mut needed_by: Vec<String> = roots.iter().take(PACKAGES_NAMED).map(short).collect();
    if roots.len() > PACKAGES_NAMED {
        needed_by.push(format!("and {} more", roots.len() - PACKAGES_NAMED));
    }
    let damaged = Damaged {
        path: path.clone(),
        expected: format!("SHA-256 {sha256}{bytes}"),
        found: String::new(),
        needed_by,
        held_by: Vec::new(),
        safe: String::new(),
        next: Vec::new(),
        last_whole: None,
        found_at: edge::now().to_string(),
        is_healed: false,
    };
    let found = match &suspect.wrong {
        Wrong::Midstates => {
            return Damaged {
                expected: "the chaining values of the item's bytes".to_owned(),
                found: "other values".to_owned(),
                safe: "The item itself is whole, and its midstates were written anew from its bytes.".to_owned(),
                next: vec!["look at this disk: something changed a file on it".to_owned()],
                is_healed: true,
                ..damaged
            };
        }
        Wrong::Bytes { found, size, chunk } => {
            let chunk = chunk.map(|chunk| format!("; the first MiB that does not prove is number {chunk}, from 0"));
            format!("SHA-256 {found}, {size} bytes{}", chunk.unwrap_or_default())
        }
        Wrong::Unreadable { why } => format!("the system says: {why}"),
        Wrong::Missing => "nothing: it is missing".to_owned(),
    };
    let places: Vec<(Hash, Option<u64>)> = packages.iter().map(|(root, record)| (*root, Some(*record))).collect();
    let held_by = held_by(node, &places);
    let mut next = ask(&held_by, &path, &format!("the file whose sha256sum is {sha256}"));
    next.push("custodia ledger fsck --bytes".to_owned());
    Damaged {
        found,
        held_by,
        safe: "What was signed about it holds. The file was not touched, and cannot leave as whole: an export hashes \
               each file, and a peer proves each MiB before it signs."
            .to_owned(),
        next,
        last_whole: last_whole(node, &node.home().path().join(&path)),
        ..damaged
    }
}

/// How a file is brought back.
fn ask(held_by: &[String], path: &str, what: &str) -> Vec<String> {
    match held_by.first() {
        Some(holder) => vec![
            format!("ask {} for it: custodia export PACKAGE DIR there writes the files", first_word(holder)),
            format!("put {what} in its place: install -m 400 FILE {path}, in this home"),
        ],
        None => vec![format!("nobody signed for a copy: put {what}, from a backup or the source, at {path}")],
    }
}

fn first_word(text: &str) -> &str {
    text.split([' ', ',']).next().unwrap_or(text)
}

/// Who signed for these records of packages, or gave them to us, with the statement that says so.
fn held_by(node: &Node, places: &[(Hash, Option<u64>)]) -> Vec<String> {
    let mut held: Vec<String> = Vec::new();
    let mut tell = |name: String, why: String| {
        if !held.iter().any(|known| first_word(known) == name) {
            held.push(format!("{name}, {why}"));
        }
    };
    for (root, record) in places {
        for row in node.index().of_package(root).unwrap_or_default() {
            if author::is_own(node, &row) || ![Kind::Receipt, Kind::Release].map(|k| k.to_string()).contains(&row.kind)
            {
                continue;
            }
            let Ok(Some(statement)) = author::statement(node, &row.digest) else { continue };
            let covers = |items: &Items| record.is_none_or(|record| items.contains(record));
            let name = || name_of(node, &statement.head.ledger);
            match &statement.body {
                Body::Receipt(receipt) if covers(&receipt.items) => {
                    tell(name(), format!("by its receipt {}", short(&row.digest)));
                }
                body @ Body::Release(release) if history::is_to_us(node, body) && covers(&release.items) => {
                    tell(name(), format!("who gave it by release {}", short(&row.digest)));
                }
                _ => {}
            }
        }
    }
    held
}

fn name_of(node: &Node, ledger: &custodia_format::text::LedgerName) -> String {
    let peer = node.peers().all().into_iter().find(|peer| peer.ledger(ledger).is_some());
    peer.map_or_else(|| ledger.authority.to_string(), |peer| peer.name.to_string())
}

/// The end of the last round of the scrub, if it read this file and found it whole.
fn last_whole(node: &Node, path: &Path) -> Option<String> {
    let last = Scrubbed::load(node.home()).last?;
    let written = fs::metadata(path).ok()?.modified().ok()?;
    let written = written.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let was_here = i64::try_from(written).is_ok_and(|written| written < last.began);
    (last.damaged == 0 && was_here).then(|| moment(last.ended))
}

/// The root that the name of a file on this shelf claims.
fn root_of(path: &Path) -> Option<Hash> {
    let root = Hash::from_hex(path.file_name()?.to_str()?.strip_suffix(".jsonl")?)?;
    let folder = path.parent()?.file_name()?.to_str()?;
    root.to_string().starts_with(folder).then_some(root)
}

/// All files of a shelf, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = |folder: &Path| -> Result<Vec<PathBuf>, Failure> {
        let failed = |error: std::io::Error| Failure::io(&error, folder);
        let entries = fs::read_dir(folder).map_err(failed)?;
        entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
    };
    let mut all = Vec::new();
    for path in listed(folder)? {
        match path.is_dir() {
            true => all.extend(listed(&path)?),
            false => all.push(path),
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// A path as it is told: from the home.
pub(super) fn below(node: &Node, path: &Path) -> String {
    path.strip_prefix(node.home().path()).unwrap_or(path).display().to_string()
}

fn short(hash: &Hash) -> String {
    hash.to_string().chars().take(SHORT).collect()
}
