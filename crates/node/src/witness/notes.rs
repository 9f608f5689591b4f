//! The cosigned notes on file, and the list of them in memory.
//!
//! Each is kept as the very bytes that statements name, under the peer's folder: `cosigned/` holds notes of our ledger with
//! that peer's line, `witnessed/` notes of the peer's ledger with ours. A name is
//! `<generation, 9 digits>-<size, 20 digits>-<SHA-256 of the note>`, so that a listing is a history. Every statement that comes
//! or goes asks for one of them; a folder is listed once, and from then on what is kept joins its list.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custodia_format::checkpoint::Checkpoint;
use custodia_format::key::KeyId;
use custodia_format::note::Note;
use custodia_format::text::LedgerName;
use custodia_format::{Hash, limits};

use crate::failure::Failure;
use crate::home::{self, Home};

/// Which of the two folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// Notes of our ledger that the peer cosigned.
    Ours,
    /// Notes of the peer's ledger that we cosigned.
    Theirs,
}

/// Which checkpoint of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    /// The generation in the ledger's name.
    pub(crate) generation: u32,
    /// Entries that it covers.
    pub(crate) size: u64,
}

impl At {
    /// That of a note.
    pub(crate) fn of(note: &Note) -> Result<Self, Failure> {
        let Checkpoint { origin, size, .. } = Checkpoint::parse_text(&note.text)?;
        Ok(Self { generation: LedgerName::parse(&origin)?.generation, size })
    }
}

/// A note on file: which checkpoint it is, its digest, and in whose folder it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filed {
    /// The generation and size of its checkpoint.
    pub(crate) at: At,
    /// SHA-256 of the whole note.
    pub(crate) digest: Hash,
    /// The authority whose cosignature it carries, or whose ledger it is of.
    pub(crate) by: KeyId,
    folder: Arc<Path>,
}

impl Filed {
    /// Reads the note.
    pub(crate) fn read(&self) -> Result<Note, Failure> {
        let bytes = home::read_file(&self.path(), limits::NOTE_BYTES as u64)?.unwrap_or_default();
        Ok(Note::parse(&bytes)?)
    }

    fn path(&self) -> PathBuf {
        let At { generation, size } = self.at;
        self.folder.join(format!("{generation:09}-{size:020}-{}", self.digest))
    }

    fn named(name: &str, by: KeyId, folder: &Arc<Path>) -> Option<Self> {
        let mut parts = name.splitn(3, '-');
        let at = At { generation: parts.next()?.parse().ok()?, size: parts.next()?.parse().ok()? };
        Some(Self { at, digest: Hash::from_hex(parts.next()?)?, by, folder: folder.clone() })
    }
}

/// Notes by generation, size and digest.
pub(crate) type List = Arc<Vec<Filed>>;

/// All that is on file.
#[derive(Debug)]
pub(crate) struct Notes {
    home: Home,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    folders: HashMap<(KeyId, Whose), List>,
    /// Those of our ledger in all folders.
    ours: Option<List>,
    /// Folders of which every name that we listed is durable.
    lasting: HashSet<(KeyId, Whose)>,
}

impl Notes {
    /// Those of a home; nothing is read yet.
    pub(crate) fn of(home: &Home) -> Self {
        Self { home: home.clone(), lists: Mutex::default() }
    }

    /// The notes that one peer and we share.
    pub(crate) fn of_peer(&self, peer: &KeyId, whose: Whose) -> List {
        self.list(&mut self.lists(), peer, whose)
    }

    /// The notes of our ledger that anybody cosigned.
    pub(crate) fn ours(&self) -> List {
        let mut lists = self.lists();
        if let Some(ours) = &lists.ours {
            return ours.clone();
        }
        let peers = peers(&self.home);
        let of_peer = |peer| self.list(&mut lists, peer, Whose::Ours).to_vec();
        let mut ours: Vec<Filed> = peers.iter().flat_map(of_peer).collect();
        ours.sort();
        let ours = Arc::new(ours);
        // A folder that could not be listed is listed again next time.
        if peers.iter().all(|peer| lists.folders.contains_key(&(*peer, Whose::Ours))) {
            lists.ours = Some(ours.clone());
        }
        ours
    }

    /// Keeps a note durably; keeping it again changes nothing.
    pub(crate) fn keep(&self, peer: &KeyId, whose: Whose, note: &Note) -> Result<(), Failure> {
        let filed = Filed { at: At::of(note)?, digest: note.digest(), by: *peer, folder: self.folder(peer, whose) };
        if self.of_peer(peer, whose).binary_search(&filed).is_ok() {
            return self.make_names_last(peer, whose);
        }
        // There may be a file of this name, of an attempt whose sync failed: it is written anew.
        home::write_durably(&filed.path(), note.print().as_bytes())?;
        let mut lists = self.lists();
        lists.lasting.insert((*peer, whose));
        if let Some(list) = lists.folders.get_mut(&(*peer, whose)) {
            join(list, &filed);
        }
        if let Some(ours) = lists.ours.as_mut().filter(|_| whose == Whose::Ours) {
            join(ours, &filed);
        }
        Ok(())
    }

    /// Who wrote what lies in this folder may have been killed before its name was durable.
    fn make_names_last(&self, peer: &KeyId, whose: Whose) -> Result<(), Failure> {
        if !self.lists().lasting.contains(&(*peer, whose)) {
            home::sync_folder(&self.folder(peer, whose))?;
            self.lists().lasting.insert((*peer, whose));
        }
        Ok(())
    }

    /// Knows nothing, as after a start: somebody has changed the files.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        *self.lists() = Lists::default();
    }

    fn list(&self, lists: &mut Lists, peer: &KeyId, whose: Whose) -> List {
        if let Some(list) = lists.folders.get(&(*peer, whose)) {
            return list.clone();
        }
        let folder = self.folder(peer, whose);
        let Ok(paths) = home::list(&folder) else { return List::default() };
        let named = |path: &PathBuf| Filed::named(path.file_name()?.to_str()?, *peer, &folder);
        let mut list: Vec<Filed> = paths.iter().filter_map(named).collect();
        list.sort();
        let list = Arc::new(list);
        lists.folders.insert((*peer, whose), list.clone());
        list
    }

    fn folder(&self, peer: &KeyId, whose: Whose) -> Arc<Path> {
        let folder = self.home.peer(peer).join(match whose {
            Whose::Ours => "cosigned",
            Whose::Theirs => "witnessed",
        });
        folder.into()
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everybody who has a folder.
pub(crate) fn peers(home: &Home) -> Vec<KeyId> {
    let mut peers: Vec<KeyId> = std::fs::read_dir(home.path().join("peers"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(Hash::from_hex).map(KeyId))
        .collect();
    peers.sort();
    peers
}

fn join(list: &mut List, filed: &Filed) {
    if let Err(place) = list.binary_search(filed) {
        Arc::make_mut(list).insert(place, filed.clone());
    }
}
