//! What this node has witnessed: per peer and origin the last checkpoint that it was about to cosign
//! (docs/spec/log-formats.md, "Witness messages").
//!
//! The file stands before the cosignature leaves, so that no crash makes this node cosign two histories. Cosigning
//! itself, with its clock, is the caller's.

use std::sync::{Arc, Mutex, PoisonError};

use custodia_format::checkpoint::{Checkpoint, NoteError, SignedCheckpoint};
use custodia_format::key::KeyId;
use custodia_format::note::{Note, Vkey};
use custodia_format::{Hash, limits};
use custodia_merkle::verify_consistency;

use crate::storage::{NewFile, Storage, StorageError};

/// The checkpoints of others that this node has cosigned.
#[derive(Debug)]
pub struct WitnessMemory {
    storage: Arc<dyn Storage>,
    /// Held from reading what is stored until its successor is durable: check and store are one step.
    one_at_a_time: Mutex<()>,
}

/// Why a checkpoint is not cosigned. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The old size is above the checkpoint's. The peer's fault; tlog-witness 400.
    #[error("old size {old} is above the checkpoint's {size}")]
    OldAhead {
        /// The old size that was named.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The note is not a checkpoint that this key signed. The peer's fault; tlog-witness 403.
    #[error(transparent)]
    BadSignature(NoteError),
    /// The old size is not the stored one. The peer asks again from there; tlog-witness 409.
    #[error("the last checkpoint that we cosigned has size {stored}")]
    Conflict {
        /// The size that is stored; 0 when there is none.
        stored: u64,
    },
    /// The proof does not lead from the stored root to this one. The peer's fault, and evidence if it stays so: the
    /// stored note and this one cannot both be true. tlog-witness 422.
    #[error("it does not continue the checkpoint of size {stored} that we cosigned: {why}")]
    Unprocessable {
        /// The size that is stored; 0 when there is none.
        stored: u64,
        /// What does not close.
        why: String,
    },
    /// What is stored cannot be read: nothing more of this origin is cosigned until a person has looked.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a note under our own cosignature told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relearned {
    /// Nothing: as much was stored.
    Nothing,
    /// We had forgotten it; it is stored now.
    Ahead {
        /// The size that was stored before; 0 when there was none.
        stored: u64,
    },
}

/// Whether a consistency proof leads from an earlier checkpoint of a ledger, above size 0, to a later one.
///
/// # Errors
/// What does not close, in words.
pub fn continues(earlier: &Checkpoint, later: &Checkpoint, proof: &[Hash]) -> Result<(), String> {
    verify_consistency(earlier.size, later.size, &earlier.root, &later.root, proof).map_err(|error| error.to_string())
}

impl WitnessMemory {
    /// Uses the `peers/` folder of a home.
    pub fn new(storage: impl Storage + 'static) -> Self {
        Self { storage: Arc::new(storage), one_at_a_time: Mutex::new(()) }
    }

    /// Checks that the checkpoint is signed by `ledger`, the key of that origin by the peer's card, and continues the
    /// last one that was stored; then stores it. When this returns, it is durable and may be cosigned.
    ///
    /// `peer` is the key id of the peer's root. With `old_size` 0 the proof is empty.
    ///
    /// # Errors
    /// [`WitnessError`], by the replies of C2SP tlog-witness.
    pub fn check_and_store(
        &self,
        peer: &KeyId,
        ledger: &Vkey,
        old_size: u64,
        note: Note,
        proof: &[Hash],
    ) -> Result<SignedCheckpoint, WitnessError> {
        let signed = SignedCheckpoint::check(note, ledger).map_err(WitnessError::BadSignature)?;
        let _one_at_a_time = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let new = signed.checkpoint();
        if old_size > new.size {
            return Err(WitnessError::OldAhead { old: old_size, size: new.size });
        }
        let last = self.last(peer, ledger)?;
        let stored = last.as_ref().map_or(0, |last| last.checkpoint().size);
        if stored != old_size {
            return Err(WitnessError::Conflict { stored });
        }
        let unprocessable = |why: String| WitnessError::Unprocessable { stored, why };
        if old_size == 0 {
            // No earlier view, or the empty one: there is nothing that a proof could lead from.
            if !proof.is_empty() {
                return Err(unprocessable("a proof from size 0".to_owned()));
            }
        } else if let Some(last) = &last {
            continues(last.checkpoint(), new, proof).map_err(unprocessable)?;
        }
        if last.as_ref().map(SignedCheckpoint::checkpoint) != Some(new) {
            self.put(peer, ledger, &signed)?;
        }
        Ok(signed)
    }

    /// Takes up again what was witnessed and is not stored any more: a note that the caller found under this node's own
    /// cosignature. It needs no proof, for this node has vouched for it; only one that is ahead of what is stored changes
    /// anything. When this returns, it is durable.
    ///
    /// # Errors
    /// [`WitnessError::BadSignature`], [`WitnessError::Damaged`] or [`WitnessError::Storage`].
    pub fn relearn(&self, peer: &KeyId, ledger: &Vkey, note: Note) -> Result<Relearned, WitnessError> {
        let signed = SignedCheckpoint::check(note, ledger).map_err(WitnessError::BadSignature)?;
        let _one_at_a_time = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.last(peer, ledger)?.map_or(0, |last| last.checkpoint().size);
        if signed.checkpoint().size <= stored {
            return Ok(Relearned::Nothing);
        }
        self.put(peer, ledger, &signed)?;
        Ok(Relearned::Ahead { stored })
    }

    fn put(&self, peer: &KeyId, ledger: &Vkey, signed: &SignedCheckpoint) -> Result<(), StorageError> {
        // Only the ledger's own line: cosignatures of others come and go, and a stored note stays small.
        let lines = signed.note().lines.iter().filter(|line| ledger.is_of(line)).cloned().collect();
        let note = Note { text: signed.note().text.clone(), lines };
        let path = path(peer, ledger.name());
        self.storage.put(&[NewFile { path: &path, bytes: note.print().as_bytes() }])
    }

    /// The last checkpoint of this ledger that was stored, its signature checked again.
    ///
    /// # Errors
    /// [`WitnessError::Damaged`] or [`WitnessError::Storage`].
    pub fn last(&self, peer: &KeyId, ledger: &Vkey) -> Result<Option<SignedCheckpoint>, WitnessError> {
        let path = path(peer, ledger.name());
        let bytes = match self.storage.read(&path, limits::NOTE_BYTES as u64) {
            Err(StorageError::NotFound { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let note = Note::parse(&bytes).map_err(|error| error.to_string());
        let signed = note.and_then(|note| SignedCheckpoint::check(note, ledger).map_err(|error| error.to_string()));
        signed.map(Some).map_err(|what| WitnessError::Damaged { path, what })
    }
}

/// `peers/<root key id>/witnessed/<hex of SHA-256 of the origin>`.
fn path(peer: &KeyId, origin: &str) -> String {
    format!("peers/{peer}/witnessed/{}", Hash::of(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;
    use custodia_format::checkpoint::Checkpoint;
    use custodia_format::key::SigningKey;
    use custodia_format::note::KeyType;
    use custodia_merkle::{Leaves, empty_root, prove_consistency, root};

    struct Peer {
        key: SigningKey,
        vkey: Vkey,
        leaves: Vec<Hash>,
    }

    impl Peer {
        fn new() -> Self {
            let key = SigningKey::from_seed(&[7; 32]);
            let vkey = Vkey::new("b/lab/1", KeyType::Ed25519, key.public()).unwrap();
            Self { key, vkey, leaves: (0..60_u8).map(|n| Hash::of(&[n])).collect() }
        }

        fn id(&self) -> KeyId {
            self.key.public().key_id()
        }

        fn note(&self, size: usize) -> Note {
            self.signed(size as u64, root(&self.leaves[..size]))
        }

        fn signed(&self, size: u64, root: Hash) -> Note {
            Checkpoint { origin: "b/lab/1".to_owned(), size, root }.sign(&self.key).unwrap()
        }

        fn proof(&self, old: u64, new: u64) -> Vec<Hash> {
            prove_consistency(&Leaves(&self.leaves), old, new).unwrap()
        }
    }

    #[test]
    fn a_checkpoint_is_stored_only_when_it_continues_the_last() {
        let home = tempfile::tempdir().unwrap();
        let memory = WitnessMemory::new(Folder::open(home.path()).unwrap());
        let peer = Peer::new();
        let store =
            |old, note, proof: &[Hash]| memory.check_and_store(&peer.id(), &peer.vkey, old, note, proof).map(drop);
        let last = || memory.last(&peer.id(), &peer.vkey).unwrap().map_or(0, |last| last.checkpoint().size);

        assert_eq!(store(3, peer.note(5), &[]), Err(WitnessError::Conflict { stored: 0 }));
        assert!(matches!(store(0, peer.note(5), &[Hash::ZERO]), Err(WitnessError::Unprocessable { .. })));
        store(0, peer.note(5), &[]).unwrap();
        assert_eq!(last(), 5);
        assert_eq!(store(0, peer.note(9), &[]), Err(WitnessError::Conflict { stored: 5 }));
        assert_eq!(store(6, peer.note(5), &[]), Err(WitnessError::OldAhead { old: 6, size: 5 }));
        assert_eq!(store(4, peer.note(9), &peer.proof(4, 9)), Err(WitnessError::Conflict { stored: 5 }));
        // The same again is fine; the same size with another root is not.
        store(5, peer.note(5), &[]).unwrap();
        assert!(matches!(
            store(5, peer.signed(5, Hash::ZERO), &[]),
            Err(WitnessError::Unprocessable { stored: 5, .. })
        ));
        // A fork, a proof with a bit flipped, one too long, none at all.
        let mut proof = peer.proof(5, 9);
        assert!(matches!(store(5, peer.signed(9, Hash::ZERO), &proof), Err(WitnessError::Unprocessable { .. })));
        assert!(matches!(store(5, peer.note(9), &[]), Err(WitnessError::Unprocessable { .. })));
        proof.push(Hash::ZERO);
        assert!(matches!(store(5, peer.note(9), &proof), Err(WitnessError::Unprocessable { .. })));
        let mut unsigned = peer.note(9);
        unsigned.lines[0].blob[0] ^= 1;
        assert!(matches!(store(5, unsigned, &peer.proof(5, 9)), Err(WitnessError::BadSignature(_))));
        assert_eq!(last(), 5);
        store(5, peer.note(9), &peer.proof(5, 9)).unwrap();
        assert_eq!(last(), 9);

        // Persisted: another process knows it too, and a damaged file stops cosigning instead of beginning anew.
        let again = WitnessMemory::new(Folder::open(home.path()).unwrap());
        let stale = again.check_and_store(&peer.id(), &peer.vkey, 5, peer.note(12), &peer.proof(5, 12));
        assert_eq!(stale, Err(WitnessError::Conflict { stored: 9 }));
        std::fs::write(home.path().join(path(&peer.id(), "b/lab/1")), b"").unwrap();
        let damaged = again.check_and_store(&peer.id(), &peer.vkey, 0, peer.note(12), &[]);
        assert!(matches!(damaged, Err(WitnessError::Damaged { .. })));
    }

    #[test]
    fn what_was_forgotten_is_taken_up_again_and_never_goes_back() {
        let home = tempfile::tempdir().unwrap();
        let memory = WitnessMemory::new(Folder::open(home.path()).unwrap());
        let peer = Peer::new();
        let relearn = |note| memory.relearn(&peer.id(), &peer.vkey, note);
        let last = || memory.last(&peer.id(), &peer.vkey).unwrap().map_or(0, |last| last.checkpoint().size);
        assert_eq!(relearn(peer.note(5)), Ok(Relearned::Ahead { stored: 0 }));
        assert_eq!(relearn(peer.note(9)), Ok(Relearned::Ahead { stored: 5 }));
        for older in [peer.note(9), peer.note(5), peer.signed(9, Hash::ZERO), peer.signed(7, Hash::ZERO)] {
            assert_eq!(relearn(older), Ok(Relearned::Nothing));
        }
        let mut unsigned = peer.note(12);
        unsigned.lines[0].blob[0] ^= 1;
        assert!(matches!(relearn(unsigned), Err(WitnessError::BadSignature(_))));
        assert_eq!(last(), 9);
        // What follows must continue it.
        let stale = memory.check_and_store(&peer.id(), &peer.vkey, 5, peer.note(12), &peer.proof(5, 12));
        assert_eq!(stale, Err(WitnessError::Conflict { stored: 9 }));
        memory.check_and_store(&peer.id(), &peer.vkey, 9, peer.note(12), &peer.proof(9, 12)).unwrap();
        assert_eq!(last(), 12);
    }

    #[test]
    fn of_two_at_once_one_meets_a_conflict() {
        let home = tempfile::tempdir().unwrap();
        let memory = WitnessMemory::new(Folder::open(home.path()).unwrap());
        let peer = Peer::new();
        memory.check_and_store(&peer.id(), &peer.vkey, 0, peer.signed(0, empty_root()), &[]).unwrap();
        memory.check_and_store(&peer.id(), &peer.vkey, 0, peer.note(1), &[]).unwrap();
        let last = || memory.last(&peer.id(), &peer.vkey).unwrap().unwrap().checkpoint().size;
        // Several times, all at once: what is only nearly one step does not get through all of them.
        for _ in 0..8 {
            let (before, start) = (last(), std::sync::Barrier::new(6));
            let sizes = before as usize + 1..before as usize + 7;
            let stored: Vec<u64> = std::thread::scope(|scope| {
                let threads: Vec<_> = sizes
                    .map(|size| {
                        let (memory, peer, start) = (&memory, &peer, &start);
                        scope.spawn(move || {
                            let (note, proof) = (peer.note(size), peer.proof(before, size as u64));
                            start.wait();
                            memory.check_and_store(&peer.id(), &peer.vkey, before, note, &proof).map(|_| size as u64)
                        })
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
            });
            assert_eq!(stored, [last()], "one of them, and that one stays");
        }
    }
}
