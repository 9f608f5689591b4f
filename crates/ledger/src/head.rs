//! The head: the signed checkpoint that counts, and which stage wrote it (docs/spec/commit.md, "Head").

use custodia_format::checkpoint::{NoteError, SignedCheckpoint};
use custodia_format::note::{Note, Vkey};
use custodia_format::{Hash, Malformed};

/// What `state/head` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// SHA-256 of the stage that this head committed.
    pub(crate) stage: Hash,
    /// The checkpoint, signed by the ledger alone.
    pub(crate) signed: SignedCheckpoint,
}

/// Why a head does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Head {
    /// Prints the file.
    pub(crate) fn print(&self) -> Vec<u8> {
        format!("custodia/head/v1\nstage {}\n\n{}", self.stage, self.signed.note().print()).into_bytes()
    }

    /// Reads the file and checks the ledger's signature.
    pub(crate) fn parse(bytes: &[u8], vkey: &Vkey) -> Result<Self, HeadError> {
        let read = || {
            let text = std::str::from_utf8(bytes).ok()?.strip_prefix("custodia/head/v1\nstage ")?;
            let (stage, note) = text.split_once("\n\n")?;
            Some((Hash::from_hex(stage)?, note))
        };
        let (stage, note) = read().ok_or_else(|| {
            let found = String::from_utf8_lossy(bytes.get(..bytes.len().min(256)).unwrap_or_default());
            Malformed::new("head", "", "a version, a stage's digest and a note", found)
        })?;
        Ok(Self { stage, signed: SignedCheckpoint::check(Note::parse(note.as_bytes())?, vkey)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use custodia_format::checkpoint::Checkpoint;
    use custodia_format::key::SigningKey;
    use custodia_format::note::KeyType;

    #[test]
    fn a_head_prints_back_and_one_deviation_is_refused() {
        let key = SigningKey::from_seed(&[1; 32]);
        let vkey = Vkey::new("a/b/1", KeyType::Ed25519, key.public()).unwrap();
        let checkpoint = Checkpoint { origin: "a/b/1".to_owned(), size: 7, root: Hash::of(b"root") };
        let signed = SignedCheckpoint::check(checkpoint.sign(&key).unwrap(), &vkey).unwrap();
        let head = Head { stage: Hash::of(b"stage"), signed };
        let bytes = head.print();
        assert_eq!(Head::parse(&bytes, &vkey).unwrap(), head);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            // Another stage's digest is another head: the stage itself tells.
            let digest = "custodia/head/v1\nstage ".len()..bytes.len() - head.signed.note().print().len() - 2;
            assert!(digest.contains(&at) || Head::parse(&bad, &vkey).is_err(), "{at}");
            assert!(Head::parse(&bytes[..at], &vkey).is_err());
        }
    }
}
