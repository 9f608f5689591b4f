//! What is found on the disk after the power went.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Change, Disk, Entry, Inode, NameChange, State, reachable};
use crate::random::Random;

/// Bytes that a file system writes at once.
const BLOCK: usize = 4096;
/// Bytes that a device writes at once.
const SECTOR: usize = 512;

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// All of it is lost.
    Lost,
    /// None of it is.
    Kept,
    /// Names as far as the journal of the file system had come, bytes block by block.
    InOrder,
    /// Any part of it, in any order that keeps each name's own.
    Torn,
}

impl Disk {
    /// Lays what is found after a power cut into a new folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn lay_out(&self, to: &Path, how: How, random: &mut Random) -> io::Result<()> {
        let state = self.state();
        let names = names_after(&state, how, random);
        for (path, entry) in names.iter().filter(|(path, _)| reachable(&names, path).is_some()) {
            let place = to.join(path);
            match entry {
                Entry::Folder => make_folder(&place)?,
                Entry::File(id) => {
                    let Some(inode) = state.inode(*id) else { continue };
                    match (&inode.synced, &inode.path) {
                        (None, Some(live)) if inode.held.is_none() => fs::hard_link(self.root.join(live), &place)?,
                        _ => write(&place, &bytes_after(inode, &self.root, how, random))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Lays out copies of what would be found in some folders if everything un-synced were lost.
    ///
    /// # Errors
    /// What the system says.
    pub fn lay_out_worst(&self, to: &Path, folders: &[&str]) -> io::Result<()> {
        let state = self.state();
        make_folder(to)?;
        for (path, entry) in &state.durable {
            let is_wanted = folders.iter().any(|folder| path.starts_with(folder));
            if !is_wanted || reachable(&state.durable, path).is_none() {
                continue;
            }
            match entry {
                Entry::Folder => make_folder(&to.join(path))?,
                Entry::File(id) => {
                    let bytes = state.inode(*id).and_then(|inode| inode.durable(&self.root));
                    write(&to.join(path), &bytes.unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

fn names_after(state: &State, how: How, random: &mut Random) -> BTreeMap<PathBuf, Entry> {
    let mut names = state.durable.clone();
    let journalled = match how {
        How::Lost => 0,
        How::Kept | How::Torn => state.pending.len(),
        How::InOrder => random.place(state.pending.len() + 1),
    };
    let mut lost: BTreeSet<&Path> = BTreeSet::new();
    for change in state.pending.iter().take(journalled) {
        let paths = || change.paths().into_iter().flatten();
        if how == How::Torn && (random.permille(500) || paths().any(|path| lost.contains(path))) {
            lost.extend(paths());
            continue;
        }
        match change {
            // A folder goes only when nothing is in it.
            NameChange::Removed(path) if names.keys().any(|it| it != path && it.starts_with(path)) => {
                lost.insert(path);
            }
            change => State::apply_name(&mut names, change),
        }
    }
    names
}

fn bytes_after(inode: &Inode, root: &Path, how: How, random: &mut Random) -> Vec<u8> {
    let Some(synced) = &inode.synced else { return inode.live(root).unwrap_or_default() };
    match how {
        How::Kept => return inode.live(root).unwrap_or_default(),
        How::Lost => return synced.clone(),
        How::InOrder | How::Torn if inode.is_stuck => return synced.clone(),
        How::InOrder | How::Torn => {}
    }
    let (mut bytes, mut length) = (synced.clone(), synced.len());
    for change in &inode.changes {
        match change {
            Change::Length(new) => {
                if random.permille(500) {
                    length = usize::try_from(*new).unwrap_or(length);
                    bytes.truncate(length);
                }
            }
            Change::Write { offset, bytes: new } => {
                let at = usize::try_from(*offset).unwrap_or(0);
                bytes.resize(bytes.len().max(at + new.len()), 0);
                write_some(&mut bytes, at, new, random);
                // Its length is metadata: it may last without its bytes, which are zeros then.
                if at + new.len() > length && random.permille(500) {
                    length = at + new.len();
                }
            }
            Change::Zeros { offset, length } => {
                let at = usize::try_from(*offset).unwrap_or(0);
                let end = at.saturating_add(usize::try_from(*length).unwrap_or(0)).min(bytes.len());
                if let Some(part) = bytes.get_mut(at..end).filter(|_| random.permille(500)) {
                    part.fill(0);
                }
            }
        }
    }
    bytes.resize(length, 0);
    bytes
}

/// All of a write, none of it, or some of its blocks, a few of them torn between sectors.
fn write_some(bytes: &mut [u8], at: usize, new: &[u8], random: &mut Random) {
    let mode = random.below(3);
    for (n, block) in new.chunks(BLOCK).enumerate() {
        let keeps = mode == 0 || mode == 2 && random.permille(500);
        let is_torn = mode == 2 && random.permille(100);
        let count = if is_torn { SECTOR * random.place(block.len() / SECTOR + 1) } else { block.len() };
        let from = at + n * BLOCK;
        if let (true, Some(to), Some(part)) = (keeps, bytes.get_mut(from..from + count), block.get(..count)) {
            to.copy_from_slice(part);
        }
    }
}
