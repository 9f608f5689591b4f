//! Which folders' names are known to last.
//!
//! A folder that is there need not be there after a power cut: whoever made it may have been killed, or its sync may have
//! failed, before the name was on the disk. So a folder is taken for one that lasts only when this process has synced the one
//! above it since it last made something there. That is remembered, for a sync each time would be felt.

use std::collections::BTreeMap;
#[cfg(feature = "watched")]
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Folders in which folders were made or whose names were synced, each with what is known of the names in it.
static KNOWN: Mutex<BTreeMap<PathBuf, Names>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Clone, Copy, Default)]
struct Names {
    /// Folders that were made there.
    made: u64,
    /// How many had been made when the last sync began that succeeded; none: there was none.
    synced: Option<u64>,
}

fn known() -> MutexGuard<'static, BTreeMap<PathBuf, Names>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this process knows that a folder's name is on the disk. Where it does not, the folder above must be synced.
#[must_use]
pub fn lasts(folder: &Path) -> bool {
    folder.parent().is_some_and(|above| known().get(above).is_some_and(|names| names.synced == Some(names.made)))
}

/// A folder was made in this one.
pub(crate) fn made_in(folder: &Path) {
    known().entry(folder.to_owned()).or_default().made += 1;
}

/// The names in a folder are about to be synced: call what this gives when they are.
pub fn when_synced(folder: &Path) -> impl FnOnce() + use<> {
    let (folder, made) = (folder.to_owned(), known().get(folder).map_or(0, |names| names.made));
    move || known().entry(folder).or_default().synced = Some(made)
}

/// Knows nothing of what lies below a folder any more, as another process would not.
#[cfg(feature = "watched")]
pub fn forget(folder: &Path) {
    let mut known = known();
    // What is in a folder comes right after it.
    let within = known.range::<Path, _>((Bound::Included(folder), Bound::Unbounded)).map(|(path, _)| path.clone());
    let gone: Vec<PathBuf> = within.take_while(|path| path.starts_with(folder)).collect();
    gone.iter().for_each(|path| _ = known.remove(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lasts_when_the_one_above_was_synced_after_it_was_made() {
        let place = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| place.path().join(name));
        crate::make_folder(&one).unwrap();
        assert!(!lasts(&one));
        let sync_began = when_synced(place.path());
        crate::make_folder(&other).unwrap();
        sync_began();
        assert!(!lasts(&one) && !lasts(&other), "the sync may have missed what was made meanwhile");
        crate::sync_folder(place.path()).unwrap();
        assert!(lasts(&one) && lasts(&other));
        assert!(!lasts(place.path()), "of the names above nothing is known");
    }
}
