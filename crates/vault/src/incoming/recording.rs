//! Recording what is proven, and bringing a whole transfer into the vault.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;

use custodia_disk::File;
use rustix::fs::{Advice, fadvise};

use super::IncomingError;
use super::contents::Content;
use super::have;
use super::state::{Finished, State};
use crate::item::write_read_only;
use crate::shelf::{Move, SYNC_EACH, settle};
use crate::storage::{StorageError, remove_file, sync_file_system, sync_folder, sync_path};

impl State {
    /// Syncs what was written, then writes `have`. One at a time; chunks go on arriving meanwhile.
    pub(super) fn record(&self) -> Result<(), IncomingError> {
        let finished = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        let bytes = self.begin_recording();
        // The bits first, then the list: whatever these bits speak of is on the list, or was synced before.
        let proven = self.proven.snapshot();
        let unsynced = self.take_unsynced();
        if *finished == Finished::No && !(unsynced.is_empty() && proven == self.recorded.snapshot()) {
            self.sync_contents(&unsynced).inspect_err(|error| self.raise_doubt(error))?;
            self.make_folder_last()?;
            have::write(self.files.folder(), self.contents.digest(), self.contents.chunks(), &proven)?;
            self.recorded.add(&proven);
        }
        self.end_recording(bytes);
        Ok(())
    }

    /// A record in a folder that a power cut takes would be none.
    fn make_folder_last(&self) -> Result<(), StorageError> {
        let folder = self.files.folder();
        if custodia_disk::lasts(folder) { Ok(()) } else { folder.parent().map_or(Ok(()), sync_folder) }
    }

    fn sync_contents(&self, unsynced: &[u32]) -> Result<(), StorageError> {
        if unsynced.len() > SYNC_EACH {
            return sync_file_system(self.files.folder());
        }
        for content in unsynced.iter().filter_map(|number| self.contents.get(*number)) {
            let path = self.files.path(&content.sha256);
            let file = File::open_to_sync(&path).map_err(|error| StorageError::at(&path, error))?;
            file.sync_all().map_err(|error| StorageError::at(&path, error))?;
            if content.has_midstates() {
                // What is on the disk need not stay in memory: a long transfer would push everything else out of it.
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
                sync_path(&self.files.midstates_path(&content.sha256))?;
            }
        }
        sync_folder(self.files.folder())
    }

    /// Names everything that arrived. The transfer's folder keeps what else is in it until it is forgotten.
    pub(super) fn finish(&self) -> Result<(), IncomingError> {
        if *self.recording.lock().unwrap_or_else(PoisonError::into_inner) == Finished::Yes {
            return self.check_usable();
        }
        // A transfer lasts for days, and a receipt speaks of the day that it is signed: what the vault held when this began may
        // have been erased since, or have rotted, and so may what an earlier process recorded. Then it must travel after all.
        self.contents.iter().try_for_each(|(number, content)| self.reuses_still(number, content).map(drop))?;
        if self.missing().0 == 0 {
            let _nobody_records = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
            self.prove_inherited()?;
        }
        // What arrived is recorded before it is named, so that a crash meanwhile loses nothing. Of a transfer that came in so
        // quickly that nothing of it was recorded yet, a crash may cost all: then the names are its record.
        if self.missing().0 > 0 || !self.fits_one_recording() {
            self.record()?;
        }
        let mut finished = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        if *finished == Finished::Yes {
            return Ok(());
        }
        let (chunks, bytes) = self.missing();
        if chunks > 0 {
            return Err(IncomingError::Incomplete { chunks, bytes });
        }
        match self.make_reused_last().and_then(|()| self.name_all()) {
            Ok(()) => {}
            // Nothing that was synced is lost: with more room it can be done again.
            Err(error @ StorageError::Full { .. }) => return Err(error.into()),
            Err(error) => {
                self.raise_doubt(&error);
                return Err(error.into());
            }
        }
        self.recorded.add(&self.proven.snapshot());
        *finished = Finished::Yes;
        Ok(())
    }

    /// Makes the names of what lay in the vault before durable: who named it may have been killed before that, or may have
    /// failed.
    fn make_reused_last(&self) -> Result<(), StorageError> {
        let reused = self.contents.iter().filter(|(number, _)| self.is_reused(*number));
        let paths = reused.flat_map(|(_, content)| {
            let midstates = content.has_midstates().then(|| self.midstates.path(&content.sha256));
            [Some(self.objects.path(&content.sha256)), midstates].into_iter().flatten()
        });
        let mut folders = BTreeSet::new();
        for path in paths {
            let Some(folder) = path.parent().filter(|folder| folder.is_dir()) else { continue };
            folders.extend(folder.parent().filter(|_| !custodia_disk::lasts(folder)).map(Path::to_owned));
            folders.insert(folder.to_owned());
        }
        if folders.len() > SYNC_EACH {
            return sync_file_system(self.files.folder());
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    fn name_all(&self) -> Result<(), StorageError> {
        self.files.close();
        let mut count = 0;
        for (_, content) in self.arrived() {
            let path = self.files.path(&content.sha256);
            if content.size == 0 {
                remove_file(&path)?;
                write_read_only(&path, &[])?;
            }
            make_read_only(&path)?;
            count += 1;
            if content.has_midstates() {
                let path = self.files.midstates_path(&content.sha256);
                if path.exists() {
                    make_read_only(&path)?;
                    count += 1;
                }
            }
        }
        settle(count, self.files.folder(), || {
            self.arrived().flat_map(|(_, content)| {
                let sha256 = content.sha256;
                let midstates = self.files.midstates_path(&sha256);
                let one = Move { shelf: &self.midstates, from: midstates, sha256 };
                let midstates = Some(one).filter(|one| content.has_midstates() && one.from.exists());
                midstates.into_iter().chain([Move { shelf: &self.objects, from: self.files.path(&sha256), sha256 }])
            })
        })
    }

    /// What did not lie in the vault before.
    fn arrived(&self) -> impl Iterator<Item = (u32, &Content)> {
        self.contents.iter().filter(|(number, _)| !self.is_reused(*number))
    }
}

/// Nobody may change an item; until here it had to be written to.
fn make_read_only(path: &Path) -> Result<(), StorageError> {
    custodia_disk::set_mode(path, 0o400).map_err(|error| StorageError::at(path, error))
}
