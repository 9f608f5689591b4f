//! A backup of the whole home on another disk, and a home made of one.
//!
//! A backup has the shape of a home, so that `ls` and `sha256sum` read it; a file `backup` says that it is none. It is made
//! beside a running node, and brought up to date by doing it again: what is named by its digest is copied once. The two files
//! that say how far the ledger goes come last, so that one that was cut off is the backup that it was before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use custodia_vault::Found;
use serde::{Deserialize, Serialize};

use super::answers::{BackedUp, Restored, Standing};
use super::ledger::LedgerFsck;
use crate::api::{Operation, Phase, Progress, Reporter};
use crate::copying::{Again, Copying};
use crate::failure::{Code, Failure};
use crate::home::{self, Home};
use crate::{Node, ask, edge};

/// Folders whose files are named by what is in them.
const NAMED_BY_CONTENT: [&str; 5] = ["statements", "manifests", "anchors", "midstates", "past"];
/// What a backup says of itself.
const HEADER: &str = "custodia/backup/v1";
/// Bytes of that.
const MARK_BYTES: u64 = 1024;
/// Of `desk/`, what is only true of this disk or this process.
const OF_THIS_DISK: [&str; 3] = ["desk/asked", "desk/fsck", "desk/scrub"];

/// Copy the whole home to another disk, or bring such a copy up to date.
#[derive(Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Where to, by an absolute path: a folder that does not exist, is empty, or holds an earlier backup of this node.
    pub dir: PathBuf,
    /// Leave the private keys out.
    pub without_keys: bool,
}

impl Operation for Backup {
    const NAME: &'static str = "backup";
    type Answer = BackedUp;

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<BackedUp, Failure> {
        let began = Instant::now();
        let (home, to) = (node.home().path(), self.dir.as_path());
        let custodian = node.config().ledger.custodian();
        refuse_other(home, to, &custodian)?;
        // How far the ledger goes is read first: all that it needs is written out by now.
        let (journal, checkpoint) = node.ledger().journal_of_copy()?;
        let size = checkpoint.checkpoint().size;

        let mut copying = Copying::to(to, Phase::Backup, reporter)?;
        let nothing = |_: &Path| false;
        for folder in NAMED_BY_CONTENT {
            copying.tree(home, folder, Again::OtherLength, &nothing)?;
        }
        for found in node.vault().items() {
            // What else lies among them is no item, and stays where it is.
            let Found::Item { sha256, .. } = found? else { continue };
            let hex = sha256.to_string();
            let path = Path::new("objects").join(hex.get(..2).unwrap_or_default()).join(&hex);
            copying.item(node.vault(), &sha256, &path)?;
        }
        copying.settle()?;
        for folder in ["peers", "desk"] {
            let skips = |path: &Path| OF_THIS_DISK.iter().any(|left_out| path == Path::new(left_out));
            copying.tree(home, folder, Again::OtherBytes, &skips)?;
        }
        if !self.without_keys {
            copying.tree(home, "keys", Again::OtherBytes, &nothing)?;
        }
        copying.tree(home, "ledger/tile", Again::OtherLength, &nothing)?;
        for name in ["trust", "custodia.toml"] {
            copying.file(home, Path::new(name), Again::OtherBytes)?;
        }
        copying.settle()?;
        let Copying { files, bytes, there, .. } = copying;
        // From here on it is this backup and no longer the one before.
        home::write_durably(&to.join("state/journal"), &journal)?;
        home::write_durably(&to.join("ledger/checkpoint"), checkpoint.note().print().as_bytes())?;
        let keys = if self.without_keys { "no" } else { "yes" };
        let mark = format!("{HEADER}\nof {custodian}\nentries {size}\nkeys {keys}\nat {}\n", edge::now());
        home::write_durably(&Home::new(to).backup(), mark.as_bytes())?;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (dir, ledger) = (to.display().to_string(), node.config().ledger.to_string());
        Ok(BackedUp { dir, ledger, entries: size, files, bytes, there, keys: !self.without_keys, took_ms })
    }
}

/// The custodian whose backup lies in a folder; none where there is none.
fn is_of(folder: &Path) -> Result<Option<String>, Failure> {
    let Some(bytes) = home::read_file(&Home::new(folder).backup(), MARK_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let of = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix("\nof "));
    match of.and_then(|rest| rest.split_once('\n')) {
        Some((of, _)) => Ok(Some(of.to_owned())),
        None => Err(Failure::new(Code::Malformed, "What this folder says of its backup does not parse.")
            .at(Home::new(folder).backup().display())
            .instead_of(HEADER, text)),
    }
}

/// Refuses a folder in which something else lies, and one inside the home.
fn refuse_other(home: &Path, to: &Path, custodian: &str) -> Result<(), Failure> {
    let inside = fs::canonicalize(to).or_else(|_| fs::canonicalize(to.parent().unwrap_or(to)));
    if inside.is_ok_and(|to| fs::canonicalize(home).is_ok_and(|home| to.starts_with(home))) {
        return Err(Failure::new(
            Code::Usage,
            "This folder lies in the home itself; a backup belongs on another disk.",
        )
        .at(to.display())
        .next("name a folder on another disk"));
    }
    let empty = match fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(Failure::io(&error, to)),
    };
    // The mark comes last: what a first backup that was cut off left begins like one, and is gone on with.
    let found = is_of(to)?.or_else(|| begun(to, custodian).then(|| custodian.to_owned()));
    match found {
        _ if empty => Ok(()),
        Some(of) if of == custodian => Ok(()),
        found => Err(Failure::new(Code::Exists, "Something else lies in this folder.")
            .at(to.display())
            .instead_of(
                format!("nothing, or a backup of {custodian}"),
                found.unwrap_or_else(|| "other files".to_owned()),
            )
            .safe("Nothing in it was touched.")
            .next("name another folder")),
    }
}

/// Whether a folder holds nothing but what a backup of this node begins with.
fn begun(to: &Path, custodian: &str) -> bool {
    let entries = fs::read_dir(to).into_iter().flatten().flatten();
    let known = ["objects", "peers", "desk", "keys", "ledger", "state", "trust", "custodia.toml"];
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let of_us = crate::config::Config::read_of(to).is_none_or(|config| config.ledger.custodian() == custodian);
    of_us && names.iter().all(|name| known.contains(&name.as_str()) || NAMED_BY_CONTENT.contains(&name.as_str()))
}

/// A home made of a backup: copied, checked to the last byte, and held against what the peers saw. Blocks; the thread belongs to
/// a runtime.
///
/// # Errors
/// [`Code::Exists`] when the home is not empty, [`Code::NoHome`] when there is no backup, or what the disk says. A home that was
/// not copied wholly has no configuration, and is no home.
pub fn restore(backup: &Path, home: &Home, reporter: &Reporter) -> Result<Restored, Failure> {
    let began = Instant::now();
    if is_of(backup)?.is_none() {
        return Err(Failure::new(Code::NoHome, "There is no backup in this folder.")
            .at(backup.display())
            .instead_of("a folder that custodia backup has written to its end", "another one")
            .safe("Nothing was made."));
    }
    home.create()?;
    let mut copying = Copying::to(home.path(), Phase::Restore, reporter)?;
    let nothing = |_: &Path| false;
    for folder in ["objects", "peers", "desk", "keys", "ledger", "state"].iter().chain(&NAMED_BY_CONTENT) {
        copying.tree(backup, folder, Again::OtherBytes, &nothing)?;
    }
    copying.file(backup, Path::new("trust"), Again::OtherBytes)?;
    copying.settle()?;
    // What makes it a home comes last.
    copying.file(backup, Path::new("custodia.toml"), Again::OtherBytes)?;
    copying.settle()?;
    let Copying { files, bytes, .. } = copying;

    let node = Arc::new(Node::open(home)?);
    let any = node.vault().items().any(|found| matches!(found, Ok(Found::Item { .. })));
    reporter.progress(Progress::note(Phase::Check, "reading everything back"));
    let checked = LedgerFsck { bytes: any, from_start: true }.perform(&node, reporter)?;
    reporter.progress(Progress::note(Phase::Ask, "asking the peers what they saw of this ledger"));
    ask::before_signing(&node)?;
    let heard = node.peers().all().iter().filter(|peer| node.heard().when(&peer.root).is_some()).count();
    let standing = match (node.may_sign(), heard, node.peers().all().len()) {
        (Err(failure), _, _) => Standing::Behind { why: failure.place.unwrap_or(failure.what) },
        (Ok(()), heard, all) if heard == all => Standing::Confirmed,
        (Ok(()), heard, all) => Standing::Unconfirmed { heard: heard as u64, peers: all as u64 },
    };
    Ok(Restored {
        home: home.path().display().to_string(),
        ledger: node.config().ledger.to_string(),
        entries: node.ledger().size(),
        files,
        bytes,
        errors: checked.errors,
        standing,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}
