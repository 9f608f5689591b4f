//! Copying the files of a home to another disk, so that a power cut leaves each of them whole or absent: all of a batch are
//! written, all synced, all named, the names synced.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use custodia_format::Hash;
use custodia_vault::Vault;

use crate::api::{Phase, Progress, Reporter};
use crate::failure::{Code, Failure};
use crate::home;

/// Files of a batch.
const BATCH_FILES: usize = 1000;
/// Bytes of a batch.
const BATCH_BYTES: u64 = 256 << 20;
/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = "copying";

/// When a file that is there already is copied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// When its length differs: its name says what is in it.
    OtherLength,
    /// When its bytes differ.
    OtherBytes,
}

/// Copies into one folder.
pub(crate) struct Copying<'a> {
    to: PathBuf,
    phase: Phase,
    reporter: &'a Reporter,
    /// Written and not yet named.
    batch: Vec<(PathBuf, PathBuf)>,
    batch_bytes: u64,
    /// Files that were copied.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files that were there already.
    pub(crate) there: u64,
}

impl<'a> Copying<'a> {
    /// Begins; the folder is made when it is missing.
    pub(crate) fn to(folder: &Path, phase: Phase, reporter: &'a Reporter) -> Result<Self, Failure> {
        home::make_folder(folder)?;
        let to = folder.to_owned();
        Ok(Self { to, phase, reporter, batch: Vec::new(), batch_bytes: 0, files: 0, bytes: 0, there: 0 })
    }

    /// Copies what lies below a folder of a home; what is not there is nothing to copy. Files for which `skips` says so are
    /// left out, and what has not got its name yet.
    pub(crate) fn tree(
        &mut self,
        home: &Path,
        name: &str,
        again: Again,
        skips: &dyn Fn(&Path) -> bool,
    ) -> Result<(), Failure> {
        let mut folders = vec![PathBuf::from(name)];
        while let Some(folder) = folders.pop() {
            // What cannot be looked at is not taken for absent.
            match fs::metadata(home.join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Ok(metadata) if metadata.is_dir() => {}
                _ => {
                    return Err(Failure::new(Code::Io, "A folder of the home cannot be read.")
                        .at(home.join(&folder).display())
                        .safe("What was copied so far is no backup: its mark is not there.")
                        .next("custodia ledger fsck --bytes"));
                }
            }
            home::make_folder(&self.to.join(&folder))?;
            for from in home::list(&home.join(&folder))? {
                let path = folder.join(from.file_name().unwrap_or_default());
                let metadata = match fs::symlink_metadata(&from) {
                    // One that went away meanwhile is nothing to copy.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(|error| Failure::io(&error, &from))?,
                };
                let unfinished = path.extension().is_some_and(|ending| ending == "tmp" || ending == UNFINISHED);
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() && !unfinished && !skips(&path) {
                    self.file(home, &path, again)?;
                }
            }
        }
        self.settle()
    }

    /// Copies one file of a home, by its path from there. One that went away meanwhile is nothing to copy.
    pub(crate) fn file(&mut self, home: &Path, path: &Path, again: Again) -> Result<(), Failure> {
        let (from, to) = (home.join(path), self.to.join(path));
        let metadata = match fs::metadata(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(|error| Failure::io(&error, &from))?,
        };
        if is_there(&from, metadata.len(), &to, again)? {
            self.there += 1;
            return Ok(());
        }
        let beside = self.beside(&to)?;
        // Its permissions go along: what was for its owner alone stays so.
        match fs::copy(&from, &beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            copied => drop(copied.map_err(|error| Failure::io(&error, &to))?),
        }
        self.written(beside, to, metadata.len())
    }

    /// Copies an item of the vault, hashed on the way.
    pub(crate) fn item(&mut self, vault: &Vault, sha256: &Hash, path: &Path) -> Result<(), Failure> {
        let size = vault.item(sha256)?.size();
        let to = self.to.join(path);
        if fs::metadata(&to).is_ok_and(|there| there.len() == size) {
            self.there += 1;
            return Ok(());
        }
        let beside = self.beside(&to)?;
        vault.copy_out(sha256, &beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o400)).map_err(|error| Failure::io(&error, &to))?;
        self.written(beside, to, size)
    }

    /// Where a file is written until it is whole. What an interrupted copy left there goes.
    fn beside(&self, to: &Path) -> Result<PathBuf, Failure> {
        to.parent().map_or(Ok(()), home::make_folder)?;
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{UNFINISHED}"));
        let beside = to.with_file_name(name);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::io(&error, &beside)),
            _ => Ok(beside),
        }
    }

    fn written(&mut self, beside: PathBuf, to: PathBuf, bytes: u64) -> Result<(), Failure> {
        self.batch.push((beside, to));
        self.batch_bytes += bytes;
        self.files += 1;
        self.bytes += bytes;
        self.reporter.progress(Progress::of(self.phase).bytes(self.bytes, 0).items(self.files, 0));
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES { self.settle() } else { Ok(()) }
    }

    /// Makes what was written durable under its names.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        home::sync_all(&self.to)?;
        for (beside, to) in self.batch.drain(..) {
            fs::rename(&beside, &to).map_err(|error| Failure::io(&error, &to))?;
        }
        self.batch_bytes = 0;
        home::sync_all(&self.to)
    }
}

fn is_there(from: &Path, length: u64, to: &Path, again: Again) -> Result<bool, Failure> {
    if !fs::metadata(to).is_ok_and(|there| there.is_file() && there.len() == length) {
        return Ok(false);
    }
    let read = |path: &Path| fs::read(path).map_err(|error| Failure::io(&error, path));
    Ok(again == Again::OtherLength || read(from)? == read(to)?)
}
