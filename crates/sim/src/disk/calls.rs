//! What becomes of each call, and what it does to what is durable.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use custodia_disk::watch::{Call, Verdict, Watcher};

use super::inode::{Change, Inode, Synced};
use super::{Disk, Entry, GivenError, NameChange, State, below, is_ours};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Watcher for Disk {
    fn before(&self, call: &Call<'_>) -> Verdict {
        let mut state = self.state();
        let (word, path) = named(call);
        let Ok(path) = path.strip_prefix(&self.root) else { return Verdict::Go };
        if !is_ours(path) {
            return Verdict::Go;
        }
        if state.is_down {
            return Verdict::Fail(io::Error::other("the machine is down"));
        }
        state.calls += 1;
        let calls = state.calls;
        state.log.push(format!("{word} {}", path.display()));
        if state.trouble.power_cut.as_mut().is_some_and(|cut| cut.comes_before(word, path)) {
            state.is_down = true;
            return Verdict::Fail(io::Error::other("the machine is down"));
        }
        if state.trouble.is_full && needs_room(call) {
            state.injected.full += 1;
            return Verdict::Fail(io::Error::from_raw_os_error(ENOSPC));
        }
        let fails = state.trouble.errors > 0 && state.trouble.errors_from.is_some_and(|from| calls >= from);
        if fails {
            state.trouble.errors -= 1;
            state.injected.errors += 1;
            state.given.push(GivenError { call: word, path: path.to_owned() });
            if let Call::Sync { file, .. } = call
                && let Some(inode) = state.of_file(file).filter(|inode| !inode.is_synced())
            {
                inode.stick(&self.root);
            }
            return Verdict::Fail(io::Error::from_raw_os_error(EIO));
        }
        // What the call destroys is kept: it may come back when the power goes.
        match call {
            Call::Open { cuts: true, .. } => {
                if let Some(Entry::File(id)) = state.live.get(path).copied()
                    && let Some(inode) = state.inodes.get_mut(id as usize)
                {
                    inode.begin_change(&self.root, &Change::Length(0));
                }
            }
            Call::Write { file, .. } | Call::SetLength { file, .. } | Call::Punch { file, .. } => {
                if let (Some(inode), Some(change)) = (state.of_file(file), change_of(call)) {
                    inode.begin_change(&self.root, &change);
                }
            }
            Call::SetMode { .. } => {
                if let Some(Entry::File(id)) = state.live.get(path).copied()
                    && let Some(inode) = state.inodes.get_mut(id as usize)
                {
                    inode.is_touched = true;
                }
            }
            Call::Rename { to, .. } => {
                if let Ok(to) = to.strip_prefix(&self.root) {
                    state.hold(&self.root, to);
                }
            }
            Call::RemoveFile { .. } => state.hold(&self.root, path),
            Call::RemoveFolder { .. } => {
                let below: Vec<PathBuf> = below(&state.live, path).map(|(it, _)| it.clone()).collect();
                below.iter().for_each(|it| state.hold(&self.root, it));
            }
            _ => {}
        }
        Verdict::Go
    }

    fn after(&self, call: &Call<'_>) {
        let mut state = self.state();
        let state = &mut *state;
        let home = |path: &Path| path.strip_prefix(&self.root).ok().filter(|path| is_ours(path)).map(Path::to_owned);
        match call {
            Call::Open { path, cuts } => {
                let Some(within) = home(path) else { return };
                let id = match state.live.get(&within).copied() {
                    Some(Entry::File(id)) => id,
                    _ => {
                        let id = state.add(within.clone());
                        state.pending.push(NameChange::Made(within, Entry::File(id)));
                        if let Some(inode) = state.inodes.get_mut(id as usize) {
                            inode.synced = Synced::Bytes(Vec::new());
                        }
                        id
                    }
                };
                if let Ok(metadata) = fs::metadata(path) {
                    state.numbers.insert(metadata.ino(), id);
                }
                if let Some(inode) = state.inodes.get_mut(id as usize).filter(|_| *cuts) {
                    inode.changed(Change::Length(0));
                    // What is written from here on is new to the system, whatever became of what was there.
                    inode.is_stuck = false;
                }
            }
            Call::Write { file, .. } | Call::SetLength { file, .. } | Call::Punch { file, .. } => {
                if let (Some(inode), Some(change)) = (state.of_file(file), change_of(call)) {
                    inode.changed(change);
                }
            }
            Call::Sync { file, path } => {
                if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                    if let Some(folder) = home(path) {
                        state.sync_names(&folder);
                    }
                } else if let Some(inode) = state.of_file(file) {
                    inode.sync();
                }
            }
            Call::SyncEverything { .. } => {
                state.inodes.iter_mut().for_each(Inode::sync);
                for change in std::mem::take(&mut state.pending) {
                    State::apply_name(&mut state.durable, &change);
                }
            }
            Call::Rename { from, to } => {
                let (Some(from), Some(to)) = (home(from), home(to)) else { return };
                let Some(Entry::File(id)) = state.live.remove(&from) else { return };
                state.live.insert(to.clone(), Entry::File(id));
                if let Some(inode) = state.inodes.get_mut(id as usize) {
                    inode.path = Some(to.clone());
                }
                state.pending.push(NameChange::Renamed { from, to, file: id });
            }
            Call::RemoveFile { path } => {
                let Some(path) = home(path) else { return };
                state.live.remove(&path);
                state.pending.push(NameChange::Removed(path));
            }
            Call::RemoveFolder { path } => {
                let Some(path) = home(path) else { return };
                // One by one, the innermost first, as the system removes them.
                let below: Vec<PathBuf> = below(&state.live, &path).map(|(it, _)| it.clone()).collect();
                for one in below.into_iter().rev() {
                    state.live.remove(&one);
                    state.pending.push(NameChange::Removed(one));
                }
            }
            Call::MakeFolder { path } => {
                let Some(path) = home(path) else { return };
                state.live.insert(path.clone(), Entry::Folder);
                state.pending.push(NameChange::Made(path, Entry::Folder));
            }
            _ => {}
        }
    }
}

/// What a call does to the bytes of its file.
fn change_of(call: &Call<'_>) -> Option<Change> {
    match *call {
        Call::Write { offset, bytes, .. } => Some(Change::Write { offset, bytes: bytes.to_vec() }),
        Call::SetLength { length, .. } => Some(Change::Length(length)),
        Call::Punch { offset, length, .. } => Some(Change::Zeros { offset, length }),
        _ => None,
    }
}

/// The word of a call, and the path that it concerns.
fn named<'a>(call: &Call<'a>) -> (&'static str, &'a Path) {
    match *call {
        Call::Open { path, .. } => ("open", path),
        Call::Write { path, .. } => ("write", path),
        Call::SetLength { path, .. } => ("length", path),
        Call::Punch { path, .. } => ("punch", path),
        Call::Sync { path, .. } => ("sync", path),
        Call::SyncEverything { path } => ("sync all", path),
        Call::Rename { to, .. } => ("rename", to),
        Call::RemoveFile { path } => ("remove", path),
        Call::RemoveFolder { path } => ("remove all", path),
        Call::MakeFolder { path } => ("make folder", path),
        Call::SetMode { path } => ("mode", path),
        _ => ("call", Path::new("")),
    }
}

fn needs_room(call: &Call<'_>) -> bool {
    match call {
        Call::Open { path, .. } => !path.exists(),
        Call::Write { file, offset, bytes, .. } => {
            file.metadata().is_ok_and(|metadata| offset + bytes.len() as u64 > metadata.len())
        }
        Call::MakeFolder { .. } => true,
        _ => false,
    }
}
