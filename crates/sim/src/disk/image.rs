//! What is found on the disk after the power went.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::inode::{Change, Inode};
use super::{Disk, Entry, NameChange, State, Trouble, below, make_folder, reachable};
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
    /// The power goes and comes back: what is found afterwards lies in the folder, and lasts. Nothing of the node is open any
    /// more.
    ///
    /// # Errors
    /// What the system says.
    pub fn power_up(&self, how: How, random: &mut Random) -> io::Result<()> {
        let state = &mut *self.state();
        let names = names_after(state, how, random);
        let found: BTreeMap<PathBuf, Entry> =
            names.keys().filter_map(|path| Some((path.clone(), reachable(&names, path)?))).collect();
        // All of it is drawn and read before anything is moved.
        let (mut stays, mut written) = (BTreeSet::new(), Vec::new());
        for (path, entry) in &found {
            let Entry::File(id) = *entry else { continue };
            let Some(inode) = state.inode(id) else { continue };
            if inode.is_synced() && inode.held.is_none() && inode.path.as_ref() == Some(path) {
                stays.insert(path);
            } else {
                written.push((path, id, bytes_after(inode, &self.root, how, random)));
            }
        }
        for (path, entry) in state.live.iter().rev() {
            match entry {
                Entry::Folder if found.get(path) != Some(entry) => fs::remove_dir(self.root.join(path))?,
                Entry::File(_) if !stays.contains(path) => fs::remove_file(self.root.join(path))?,
                _ => {}
            }
        }
        for (path, _) in
            found.iter().filter(|(path, entry)| **entry == Entry::Folder && !state.live.contains_key(*path))
        {
            make_folder(&self.root.join(path))?;
        }
        for (path, id, bytes) in &written {
            write(&self.root.join(path), bytes)?;
            if let Some(inode) = state.inodes.get_mut(*id as usize) {
                inode.version += 1;
                inode.is_touched = true;
            }
        }
        state.inodes.iter_mut().for_each(|inode| inode.settle(None));
        for (path, entry) in &found {
            if let Entry::File(id) = entry
                && let Some(inode) = state.inodes.get_mut(*id as usize)
            {
                inode.settle(Some(path.clone()));
            }
        }
        // Numbers of files that are gone may come again.
        state.numbers.clear();
        state.pending.clear();
        state.given.clear();
        state.log.clear();
        state.trouble = Trouble::default();
        state.is_down = false;
        state.live.clone_from(&found);
        state.durable = found;
        Ok(())
    }
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
            NameChange::Removed(path) if below(&names, path).any(|(it, _)| it != path) => {
                lost.insert(path);
            }
            change => State::apply_name(&mut names, change),
        }
    }
    names
}

fn bytes_after(inode: &Inode, root: &Path, how: How, random: &mut Random) -> Vec<u8> {
    if inode.is_synced() || how == How::Kept {
        return inode.live(root).unwrap_or_default();
    }
    let mut bytes = inode.durable(root).unwrap_or_default();
    if how == How::Lost || inode.is_stuck {
        return bytes;
    }
    let mut length = bytes.len();
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
