//! Keys and signatures that were checked before, and texts that were read before, for a simulator, which sees the same ones
//! in thousands of runs.
//!
//! Whether a signature is a key's over a message is for ever so: what was found once is true of the same key, message and
//! signature, which their SHA-256 stands for; so is what an envelope, a statement or a note says in these bytes. Only what
//! was found good is remembered; all else is checked each time.
//! Nothing is remembered before [`remember`] was called, and never in the shipped program, which has no such feature.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};

use crate::envelope::Envelope;
use crate::key::{KeyRefused, PublicKey, Signature};
use crate::note::Note;
use crate::statement::Statement;

/// How many keys and signatures are remembered; then it begins anew.
const MOST: usize = 1 << 18;
/// How many texts of each kind.
const MOST_TEXTS: usize = 1 << 14;

static REMEMBERS: AtomicBool = AtomicBool::new(false);
static KEYS: RwLock<BTreeMap<[u8; 32], PublicKey>> = RwLock::new(BTreeMap::new());
static SIGNATURES: RwLock<Option<HashSet<[u8; 32]>>> = RwLock::new(None);

/// What texts say, by their SHA-256.
pub(crate) type Texts<T> = RwLock<Option<HashMap<[u8; 32], T>>>;

pub(crate) static ENVELOPES: Texts<Envelope> = RwLock::new(None);
pub(crate) static STATEMENTS: Texts<Statement> = RwLock::new(None);
pub(crate) static NOTES: Texts<Note> = RwLock::new(None);

/// From now on this process remembers.
pub fn remember() {
    REMEMBERS.store(true, Ordering::Release);
}

/// A key, checked or remembered.
pub(crate) fn key(
    raw: &[u8; 32],
    check: impl FnOnce() -> Result<PublicKey, KeyRefused>,
) -> Result<PublicKey, KeyRefused> {
    if !REMEMBERS.load(Ordering::Acquire) {
        return check();
    }
    if let Some(known) = KEYS.read().unwrap_or_else(PoisonError::into_inner).get(raw) {
        return Ok(*known);
    }
    let key = check()?;
    let mut keys = KEYS.write().unwrap_or_else(PoisonError::into_inner);
    if keys.len() >= MOST {
        keys.clear();
    }
    keys.insert(*raw, key);
    Ok(key)
}

/// Whether this is the key's signature over the message, checked or remembered.
pub(crate) fn signature(key: &PublicKey, message: &[u8], signature: &Signature, check: impl FnOnce() -> bool) -> bool {
    if !REMEMBERS.load(Ordering::Acquire) {
        return check();
    }
    // Key and signature have their lengths, so the message begins where they end.
    let name = Sha256::new().chain_update(key.raw()).chain_update(signature.0).chain_update(message).finalize();
    let name: [u8; 32] = name.into();
    let is_known = |known: &HashSet<_>| known.contains(&name);
    if SIGNATURES.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_known) {
        return true;
    }
    let verifies = check();
    if verifies {
        let mut signatures = SIGNATURES.write().unwrap_or_else(PoisonError::into_inner);
        let known = signatures.get_or_insert_default();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name);
    }
    verifies
}

/// What a text says, read or remembered; `parts` are all that this depends on, and only the last may be of any length.
pub(crate) fn text<T: Clone, E>(
    texts: &Texts<T>,
    parts: &[&[u8]],
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !REMEMBERS.load(Ordering::Acquire) {
        return read();
    }
    let name: [u8; 32] = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into();
    let known = texts.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|it| it.get(&name).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    let found = read()?;
    let mut texts = texts.write().unwrap_or_else(PoisonError::into_inner);
    let known = texts.get_or_insert_default();
    if known.len() >= MOST_TEXTS {
        known.clear();
    }
    known.insert(name, found.clone());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    #[test]
    fn what_is_remembered_is_what_was_found_good_and_nothing_beside_it() {
        remember();
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let good = key.sign(b"message");
        for _ in 0..2 {
            assert!(key.public().verify(b"message", &good));
            assert!(!key.public().verify(b"massage", &good));
            assert!(!other.public().verify(b"message", &good));
            let mut bad = good;
            bad.0[63] ^= 1;
            assert!(!key.public().verify(b"message", &bad));
            assert_eq!(PublicKey::from_raw(key.public().raw()), Ok(key.public()));
            assert!(PublicKey::from_raw(&[0xff; 32]).is_err());
        }
    }
}
