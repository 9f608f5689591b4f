//! Checkpoints and cosignatures: C2SP tlog-checkpoint 1.0.0 without extensions, tlog-cosignature 1.0.1 with Ed25519
//! (docs/spec/log-formats.md, "Checkpoints" and "Cosignatures").

use crate::error::Malformed;
use crate::key::{Signature, SigningKey};
use crate::note::{KeyType, Note, SignatureLine, Vkey};
use crate::text::{decimal, from_b64, is_note_name, to_b64};
use crate::{Hash, limits};

/// What a ledger says of itself: its name, how many entries it has, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The ledger's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root of the tree over them; SHA-256 of nothing when there are none.
    pub root: Hash,
}

/// Why a checkpoint does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The text is no checkpoint. The writer's fault.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The checkpoint is of another ledger than the key.
    #[error("the checkpoint is of {found}, not of {expected}")]
    Origin {
        /// The ledger whose key was to be checked.
        expected: String,
        /// The ledger that the checkpoint names.
        found: String,
    },
    /// The key did not sign it.
    #[error("{name} did not sign it")]
    Unsigned {
        /// The key's name.
        name: String,
    },
    /// The key's line does not verify: the whole note is worth nothing.
    #[error("the signature of {name} does not verify")]
    BadSignature {
        /// The key's name.
        name: String,
    },
}

impl Checkpoint {
    /// The note's text: origin, size, root, a line each.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, to_b64(self.root.as_bytes()))
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`Malformed`] when it has other lines than these three, or another spelling.
    pub fn parse_text(text: &str) -> Result<Self, Malformed> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let root = <[u8; 32]>::try_from(from_b64(root)?).ok()?;
            let whole = lines.next().is_none() && is_note_name(origin);
            whole.then_some(Self { origin: origin.to_owned(), size: decimal(size)?, root: Hash::new(root) })
        };
        let empty = |checkpoint: &Self| checkpoint.size > 0 || checkpoint.root == custodia_merkle::empty_root();
        read().filter(empty).ok_or_else(|| Malformed::new("checkpoint", "", "origin, size and root, a line each", text))
    }

    /// Signs it with its ledger's key, whose name is the origin.
    ///
    /// The key has no prefix in what it signs, so it must sign nothing but checkpoints that this program made itself.
    ///
    /// # Errors
    /// [`Malformed`] when the origin is no name.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, Malformed> {
        let vkey = Vkey::new(&self.origin, KeyType::Ed25519, key.public())?;
        let text = self.text();
        let line = SignatureLine {
            name: self.origin.clone(),
            key_id: vkey.key_id(),
            blob: key.sign(text.as_bytes()).0.to_vec(),
        };
        Ok(Note { text, lines: vec![line] })
    }
}

/// Checks that the ledger of this key signed the note, and reads the checkpoint.
///
/// # Errors
/// [`NoteError`], by what is wrong.
pub fn check_ledger_signature(note: &Note, ledger: &Vkey) -> Result<Checkpoint, NoteError> {
    let checkpoint = Checkpoint::parse_text(&note.text)?;
    if checkpoint.origin != ledger.name() || ledger.key_type() != KeyType::Ed25519 {
        return Err(NoteError::Origin { expected: ledger.name().to_owned(), found: checkpoint.origin });
    }
    let name = || ledger.name().to_owned();
    let line = note.lines.iter().find(|line| ledger.is_of(line)).ok_or_else(|| NoteError::Unsigned { name: name() })?;
    let signature = <[u8; 64]>::try_from(line.blob.as_slice()).map(Signature);
    match signature {
        Ok(signature) if ledger.key().verify(note.text.as_bytes(), &signature) => Ok(checkpoint),
        _ => Err(NoteError::BadSignature { name: name() }),
    }
}

/// Cosigns a checkpoint's text at a time, which the caller's clock claims and which is not 0.
///
/// # Errors
/// [`Malformed`] when the name is none, or the time is 0 or above [`limits::DECIMAL_MAX`].
pub fn cosign(text: &str, name: &str, key: &SigningKey, unix_seconds: u64) -> Result<SignatureLine, Malformed> {
    if unix_seconds == 0 || unix_seconds > limits::DECIMAL_MAX {
        return Err(Malformed::new("cosignature", "time", "1 to 2^63 - 1", unix_seconds.to_string()));
    }
    let vkey = Vkey::new(name, KeyType::Cosignature, key.public())?;
    let signature = key.sign(cosigned(text, unix_seconds).as_bytes());
    let blob = [unix_seconds.to_be_bytes().as_slice(), &signature.0].concat();
    Ok(SignatureLine { name: name.to_owned(), key_id: vkey.key_id(), blob })
}

/// The time of this witness's cosignature on the note; none when it did not cosign.
///
/// # Errors
/// [`NoteError::BadSignature`] when its line does not verify, has another length, or the time 0.
pub fn cosignature_time(note: &Note, witness: &Vkey) -> Result<Option<u64>, NoteError> {
    let Some(line) = note.lines.iter().find(|line| witness.is_of(line)) else { return Ok(None) };
    let read = || {
        let (time, signature) = line.blob.split_first_chunk::<8>()?;
        let signature = Signature(<[u8; 64]>::try_from(signature).ok()?);
        let time = u64::from_be_bytes(*time);
        let counts = witness.key_type() == KeyType::Cosignature
            && (1..=limits::DECIMAL_MAX).contains(&time)
            && witness.key().verify(cosigned(&note.text, time).as_bytes(), &signature);
        counts.then_some(time)
    };
    read().map(Some).ok_or_else(|| NoteError::BadSignature { name: witness.name().to_owned() })
}

/// What a witness signs.
fn cosigned(text: &str, unix_seconds: u64) -> String {
    format!("cosignature/v1\ntime {unix_seconds}\n{text}")
}

/// A checkpoint and the note that carries it, checked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Checks the ledger's signature on a note.
    ///
    /// # Errors
    /// As [`check_ledger_signature`].
    pub fn check(note: Note, ledger: &Vkey) -> Result<Self, NoteError> {
        let checkpoint = check_ledger_signature(&note, ledger)?;
        Ok(Self { note, checkpoint })
    }

    /// The note.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        serde_json::from_str(text).unwrap()
    }

    fn key(vectors: &serde_json::Value, name: &str) -> SigningKey {
        SigningKey::from_seed(&crate::text::from_hex(vectors["keys"][name].as_str().unwrap()).unwrap())
    }

    #[test]
    fn checkpoint_and_cosignature_of_the_vectors() {
        let vectors = vectors();
        let of = |name: &str| vectors["checkpoint_size8"][name].as_str().unwrap();
        let ledger = Vkey::parse(vectors["keys"]["log_vkey"].as_str().unwrap()).unwrap();
        let witness = Vkey::parse(vectors["keys"]["witness_vkey"].as_str().unwrap()).unwrap();
        let checkpoint = Checkpoint::parse_text(of("body")).unwrap();
        assert_eq!(checkpoint.text(), of("body"));
        let mut note = checkpoint.sign(&key(&vectors, "log_ed25519_seed_hex")).unwrap();
        assert_eq!(format!("{}\n", note.lines[0]), of("log_sig_line"));
        assert_eq!(check_ledger_signature(&note, &ledger), Ok(checkpoint));
        assert_eq!(cosignature_time(&note, &witness), Ok(None));

        let time = vectors["checkpoint_size8"]["cosig_time"].as_u64().unwrap();
        let line = cosign(of("body"), witness.name(), &key(&vectors, "witness_ed25519_seed_hex"), time).unwrap();
        assert_eq!(format!("{line}\n"), of("witness_cosig_line"));
        note.lines.push(line);
        assert_eq!(cosignature_time(&note, &witness), Ok(Some(time)));

        // Grease: a line of a type that we do not know stands beside ours and is ignored.
        note.lines.push(SignatureLine::parse(of("mldsa_sig_line").trim_end()).unwrap());
        assert!(check_ledger_signature(&note, &ledger).is_ok());
        assert!(Note::parse(note.print().as_bytes()).is_ok());

        note.lines[1].blob[0] ^= 1;
        assert!(matches!(cosignature_time(&note, &witness), Err(NoteError::BadSignature { .. })));
        note.lines[0].blob[63] ^= 1;
        assert!(matches!(check_ledger_signature(&note, &ledger), Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn notes_of_others_verify() {
        for case in vectors()["foreign_notes"].as_array().unwrap() {
            let vkey = Vkey::parse(case["vkey"].as_str().unwrap()).unwrap();
            let text = case["text"].as_str().unwrap();
            let line = case["line"].as_str().unwrap();
            let note = Note::parse(format!("{text}\n{line}\n").as_bytes()).unwrap();
            match case["time"].as_u64() {
                Some(time) => assert_eq!(cosignature_time(&note, &vkey), Ok(Some(time))),
                None => {
                    let signature = Signature(note.lines[0].blob.clone().try_into().unwrap());
                    assert!(vkey.key().verify(text.as_bytes(), &signature), "{case}");
                }
            }
        }
    }

    #[test]
    fn texts_have_one_spelling() {
        let good = "a\n8\nO4WpYmwcy2TGuV7H+mSIje/izxLjnnfhCBLOX8uctY4=\n";
        assert!(Checkpoint::parse_text(good).is_ok());
        for bad in [
            good.replace("8", "08"),
            good.replace("8", "+8"),
            good.replace("8", "9223372036854775808"),
            good.replace("8", "0"),
            good.replace("=\n", "=\nextension\n"),
            good.replace("=\n", "=\n\n"),
            good.replace("=\n", "="),
            good.replace("tY4=", "tY5="),
            good.replace("a\n", "\n"),
            good.replace("a\n", "a b\n"),
            good.replace("a\n", "a\na\n"),
            good.replace('\n', "\r\n"),
        ] {
            assert!(Checkpoint::parse_text(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_of_one_type_does_not_count_as_the_other() {
        let key = SigningKey::from_seed(&[3; 32]);
        let checkpoint = Checkpoint { origin: "a".to_owned(), size: 1, root: Hash::ZERO };
        let mut note = checkpoint.sign(&key).unwrap();
        note.lines.push(cosign(&note.text, "a", &key, 7).unwrap());
        let ledger = Vkey::new("a", KeyType::Ed25519, key.public()).unwrap();
        let witness = Vkey::new("a", KeyType::Cosignature, key.public()).unwrap();
        assert!(check_ledger_signature(&note, &witness).is_err());
        assert!(cosignature_time(&note, &ledger).is_err());
        assert!(cosign(&note.text, "a", &key, 0).is_err());
    }

    /// A key id has four bytes: a key with the id of another is soon found.
    #[test]
    fn a_line_belongs_to_a_key_by_name_and_key_id_together() {
        let key = SigningKey::from_seed(&[3; 32]);
        let note = Checkpoint { origin: "a".to_owned(), size: 1, root: Hash::ZERO }.sign(&key).unwrap();
        let ledger = Vkey::new("a", KeyType::Ed25519, key.public()).unwrap();
        let own = note.lines[0].clone();
        let renamed = SignatureLine { name: "b".to_owned(), ..own.clone() };
        let renumbered = SignatureLine { key_id: [0; 4], ..own.clone() };
        for mut stranger in [renamed, renumbered] {
            let alone = Note { lines: vec![stranger.clone()], ..note.clone() };
            assert_eq!(check_ledger_signature(&alone, &ledger), Err(NoteError::Unsigned { name: "a".to_owned() }));
            // Wrong, and before the ledger's own: nobody looks at it.
            stranger.blob[0] ^= 1;
            let beside = Note { lines: vec![stranger, own.clone()], ..note.clone() };
            assert!(check_ledger_signature(&beside, &ledger).is_ok());
        }
    }
}
