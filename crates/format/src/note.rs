//! Signed notes and verifier keys: C2SP signed-note 1.0.0 in our strict profile (docs/spec/log-formats.md, "Notes").
//!
//! A note is a text of whole lines and signature lines under it. This file keeps unknown lines as they stand: another
//! reader may know their keys. What a text means is the checkpoint's business.

use std::fmt;

use crate::error::Malformed;
use crate::key::{KeyRefused, PublicKey};
use crate::text::{from_b64, from_hex, is_note_name, to_b64, to_hex};
use crate::{Hash, limits};

/// What a key in a note signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the text itself. A ledger's key.
    Ed25519,
    /// 0x04: Ed25519 over a time and the text, C2SP tlog-cosignature. A witness's key.
    Cosignature,
}

impl KeyType {
    /// Its byte in a verifier key.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }

    /// Bytes of a signature of this type, without the key id: 64, or 8 of time and 64.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::Cosignature => 72,
        }
    }
}

/// A verifier key: `name+<8 hex key id>+<base64 of type and key>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey {
    name: String,
    key_type: KeyType,
    key: PublicKey,
}

/// Why a text is no verifier key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VkeyError {
    /// The text is not of the form. The writer's fault.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The key in it is none.
    #[error("the key in the verifier key {name} is refused: {why}")]
    Refused {
        /// The key's name.
        name: String,
        /// What is wrong with it.
        why: KeyRefused,
    },
}

impl Vkey {
    /// The verifier key of a name, a type and a key.
    ///
    /// # Errors
    /// [`Malformed`] when the name is not one of the strict profile.
    pub fn new(name: &str, key_type: KeyType, key: PublicKey) -> Result<Self, Malformed> {
        if !is_note_name(name) {
            return Err(Malformed::new("vkey", "name", "1 to 255 of [!-~] without +", name));
        }
        Ok(Self { name: name.to_owned(), key_type, key })
    }

    /// Reads a verifier key; its key id is computed again and compared.
    ///
    /// # Errors
    /// [`VkeyError`], by what is wrong.
    pub fn parse(text: &str) -> Result<Self, VkeyError> {
        let wrong = |place, expected| Malformed::new("vkey", place, expected, text);
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("", "name+key id+key").into());
        };
        let id = from_hex::<4>(id).ok_or_else(|| wrong("key id", "8 lowercase hex"))?;
        let body = from_b64(body).ok_or_else(|| wrong("key", "padded base64"))?;
        let (key_type, raw) = body.split_first().ok_or_else(|| wrong("key", "a type and 32 bytes"))?;
        let key_type = KeyType::of(*key_type).ok_or_else(|| wrong("type", "01 or 04"))?;
        let raw = raw.try_into().map_err(|_| wrong("key", "32 bytes"))?;
        let key = PublicKey::from_raw(raw).map_err(|why| VkeyError::Refused { name: name.to_owned(), why })?;
        let vkey = Self::new(name, key_type, key)?;
        if vkey.key_id() == id { Ok(vkey) } else { Err(wrong("key id", "the key id of this name and key").into()) }
    }

    /// The name, which for a ledger's key is the ledger's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key itself.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The first four bytes of SHA-256(name, LF, type, key).
    pub fn key_id(&self) -> [u8; 4] {
        let mut bytes = self.name.clone().into_bytes();
        bytes.push(b'\n');
        bytes.push(self.key_type.byte());
        bytes.extend_from_slice(self.key.raw());
        let [a, b, c, d, ..] = *Hash::of(&bytes).as_bytes();
        [a, b, c, d]
    }

    /// Whether the line names this key.
    pub fn is_of(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.key_id == self.key_id()
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = [&[self.key_type.byte()], self.key.raw().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, to_hex(&self.key_id()), to_b64(&body))
    }
}

/// One signature under a note: `— name base64(key id, signature)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureLine {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: [u8; 4],
    /// The signature's bytes without the key id; their form is the key type's.
    pub blob: Vec<u8>,
}

impl SignatureLine {
    /// Reads one line without its LF.
    ///
    /// # Errors
    /// [`Malformed`] when it is not of the form, or not the one spelling of its bytes.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new("signature line", "", "— name base64", line);
        let (name, body) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
        let body = from_b64(body).ok_or_else(wrong)?;
        let (key_id, blob) = body.split_first_chunk::<4>().ok_or_else(wrong)?;
        if !is_note_name(name) || blob.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), key_id: *key_id, blob: blob.to_vec() })
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, to_b64(&[&self.key_id, self.blob.as_slice()].concat()))
    }
}

/// A text and the signatures under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// Whole lines, each ending in LF.
    pub text: String,
    /// At least one; the order is the writer's until [`Note::sort`].
    pub lines: Vec<SignatureLine>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`Malformed`] when a limit is passed, a character is not allowed, a line does not read, the same key signs twice,
    /// or it would print otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        #[cfg(feature = "remembered")]
        return crate::remembered::text(&crate::remembered::NOTES, &[bytes], || Self::read(bytes));
        #[cfg(not(feature = "remembered"))]
        Self::read(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |place: &str, expected: &str, found: &str| Malformed::new("note", place, expected, found);
        if bytes.len() > limits::NOTE_BYTES {
            return Err(wrong("", &format!("at most {} bytes", limits::NOTE_BYTES), &bytes.len().to_string()));
        }
        let note = std::str::from_utf8(bytes)
            .map_err(|error| wrong(&format!("byte {}", error.valid_up_to()), "UTF-8", "another byte"))?;
        if let Some(at) = note.bytes().position(|c| c < 0x20 && c != b'\n') {
            return Err(wrong(&format!("byte {at}"), "no control character but LF", "a control character"));
        }
        if note.starts_with('\u{feff}') {
            return Err(wrong("byte 0", "a text", "a byte order mark"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or_else(|| wrong("", "a text, a blank line, signatures", note))?;
        let signatures =
            signatures.strip_suffix('\n').ok_or_else(|| wrong("last line", "an LF at the end", signatures))?;
        let mut lines: Vec<SignatureLine> = Vec::new();
        for line in signatures.split('\n') {
            if lines.len() == limits::NOTE_SIGNATURES {
                return Err(wrong("signatures", &format!("at most {}", limits::NOTE_SIGNATURES), "more"));
            }
            let line = SignatureLine::parse(line)?;
            if lines.iter().any(|other| other.name == line.name && other.key_id == line.key_id) {
                return Err(wrong("signatures", "each key once", &line.name));
            }
            lines.push(line);
        }
        let note = Self { text: format!("{text}\n"), lines };
        if note.print().as_bytes() == bytes { Ok(note) } else { Err(wrong("", "the one spelling of this note", text)) }
    }

    /// Prints the note.
    pub fn print(&self) -> String {
        let signatures: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{}\n{signatures}", self.text)
    }

    /// SHA-256 of the whole note, signatures included: what `not_before` names.
    pub fn digest(&self) -> Hash {
        Hash::of(self.print().as_bytes())
    }

    /// SHA-256 of the text alone: what a time-stamp token is over.
    pub fn text_digest(&self) -> Hash {
        Hash::of(self.text.as_bytes())
    }

    /// Puts the line of this ledger's key first and the others in ascending order of name, key id and signature: the one
    /// order in which a note is stored, named and sent.
    pub fn sort(&mut self, ledger: &Vkey) {
        self.lines.sort();
        if let Some(at) = self.lines.iter().position(|line| ledger.is_of(line))
            && let Some(lines) = self.lines.get_mut(..=at)
        {
            lines.rotate_right(1);
        }
    }

    /// Whether all lines but the first ascend.
    pub fn is_sorted(&self) -> bool {
        self.lines.get(1..).is_none_or(|rest| rest.is_sorted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n— example.com/foo \
                        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn a_note_and_a_vkey_print_back() {
        assert_eq!(Note::parse(NOTE.as_bytes()).unwrap().print(), NOTE);
        let vkey = Vkey::parse(VKEY).unwrap();
        assert_eq!(vkey.to_string(), VKEY);
        assert!(vkey.is_of(&Note::parse(NOTE.as_bytes()).unwrap().lines[0]));
    }

    #[test]
    fn one_deviation_each_is_refused() {
        let twice = format!("{NOTE}{}", &NOTE[NOTE.find('—').unwrap()..]);
        let many: String = (0..65).map(|n| format!("— n{n} AAAAAAA=\n")).collect();
        for bad in [
            NOTE.replace('\n', "\r\n"),
            NOTE.replace("message", "mess\tage"),
            NOTE.trim_end().to_owned(),
            NOTE.replace("\n\n", "\n"),
            NOTE.replace("— ", "- "),
            NOTE.replace("— ", "—"),
            NOTE.replace("aQM=", "aQN="),
            NOTE.replace("aQM=", "aQM"),
            NOTE.replace("example.com/foo", "example.com+foo"),
            NOTE.replace("example.com/foo", "example.com\u{a0}foo"),
            format!("{NOTE}\n"),
            format!("\u{feff}{NOTE}"),
            format!("\u{0}{NOTE}"),
            twice,
            format!("text\n\n{many}"),
            format!("{}{NOTE}", "x".repeat(limits::NOTE_BYTES)),
            String::new(),
        ] {
            assert!(Note::parse(bad.as_bytes()).is_err(), "{:.80}", bad);
        }
        for bad in [
            VKEY.replace("530d903a", "530d903b"),
            VKEY.replace("530d903a", "530D903A"),
            VKEY.replace("+Ae", "+Be"),
            VKEY.replace("foo", "fop"),
            VKEY.replace('+', " "),
        ] {
            assert!(Vkey::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ledgers_line_stands_first_and_the_others_ascend() {
        let key = PublicKey::from_raw(crate::key::SigningKey::from_seed(&[1; 32]).public().raw()).unwrap();
        let ledger = Vkey::new("m", KeyType::Ed25519, key).unwrap();
        let line = |name: &str, key_id| SignatureLine { name: name.to_owned(), key_id, blob: vec![1] };
        let mut note = Note {
            text: "t\n".to_owned(),
            lines: vec![line("z", [0; 4]), line("m", ledger.key_id()), line("a", [9; 4]), line("m", [0; 4])],
        };
        note.sort(&ledger);
        let names: Vec<_> = note.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["m", "a", "m", "z"]);
        assert!(ledger.is_of(&note.lines[0]) && note.is_sorted());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_print_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_eq!(note.print().into_bytes(), bytes);
            }
        }

        #[test]
        fn changed_notes_are_refused_or_print_back(at in 0..NOTE.len(), byte in any::<u8>()) {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_eq!(note.print().into_bytes(), bytes);
            }
        }
    }
}
