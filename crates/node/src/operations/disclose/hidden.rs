//! Whether what is withheld can be found in what leaves: the key and its salts, from which withheld values could be guessed, and
//! the values themselves, which may stand elsewhere too.
//!
//! It looks at decoded bytes: the proof as it is, every payload and every shown value in it, and the bytes of every file that goes
//! along. What is packed or compressed inside a file is not unpacked.

use std::collections::HashSet;

use custodia_format::manifest::ManifestKey;

/// Bytes by which a secret is recognised: of any eight, one in 2^64 is that by chance.
const SECRET_BYTES: usize = 8;
/// Bytes of the shortest value that is looked for: shorter ones stand everywhere.
const VALUE_BYTES: usize = 6;

/// What must not be found.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// What each secret begins with, ascending once it is complete.
    secrets: Vec<u64>,
    beginnings: HashSet<u64>,
}

impl Hidden {
    /// The manifest's key must not be found.
    pub(super) fn key(&mut self, key: &ManifestKey) {
        self.secrets.extend(number(key.0.get(..SECRET_BYTES)));
    }

    /// The salt of a withheld field must not be found.
    pub(super) fn salt(&mut self, salt: &[u8; 32]) {
        self.secrets.extend(number(salt.get(..SECRET_BYTES)));
    }

    /// Nothing more is added.
    pub(super) fn complete(&mut self) {
        self.secrets.sort_unstable();
    }

    fn is_secret(&self, window: u64) -> bool {
        self.secrets.binary_search(&window).is_ok()
    }

    /// A withheld value is looked for.
    pub(super) fn value(&mut self, value: &str) {
        self.beginnings.extend(beginning(value.as_bytes()));
    }

    /// Whether the key or a hidden salt stands in a text: as bytes, in hex, or in base64 of either alphabet.
    pub(super) fn secret_in(&self, text: &[u8]) -> bool {
        let (mut raw, mut hex, mut base64) = (0_u64, 0_u64, 0_u128);
        let (mut hex_digits, mut base64_digits) = (0, 0);
        text.iter().enumerate().any(|(at, byte)| {
            raw = (raw << 8) | u64::from(*byte);
            let digit = char::from(*byte).to_digit(16);
            hex_digits = digit.map_or(0, |_| hex_digits + 1);
            hex = (hex << 4) | u64::from(digit.unwrap_or_default());
            let digit = base64_digit(*byte);
            base64_digits = digit.map_or(0, |_| base64_digits + 1);
            base64 = (base64 << 6) | u128::from(digit.unwrap_or_default());
            // Eleven digits are 66 bits: the first 64 of them.
            (at + 1 >= SECRET_BYTES && self.is_secret(raw))
                || (hex_digits >= 2 * SECRET_BYTES && self.is_secret(hex))
                || (base64_digits >= 11 && self.is_secret((base64 >> 2) as u64))
        })
    }

    /// Looks for withheld values in a text, which may come in pieces.
    pub(super) fn look<'a>(&'a self, found: &'a mut Found) -> Look<'a> {
        Look { hidden: self, found, window: 0, bytes: 0 }
    }
}

/// What some of the withheld values that were found begin with.
#[derive(Debug, Default)]
pub(super) struct Found(HashSet<u64>);

impl Found {
    /// Whether this value may be among them.
    pub(super) fn may_be(&self, value: &str) -> bool {
        beginning(value.as_bytes()).is_some_and(|it| self.0.contains(&it))
    }

    /// Whether no withheld value was found.
    pub(super) fn is_clear(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what was found elsewhere.
    pub(super) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// A look through one text.
pub(super) struct Look<'a> {
    hidden: &'a Hidden,
    found: &'a mut Found,
    window: u64,
    bytes: usize,
}

impl Look<'_> {
    /// Looks through the next piece of it.
    pub(super) fn values(&mut self, piece: &[u8]) {
        for byte in piece {
            self.window = ((self.window << 8) | u64::from(*byte)) & ((1 << (8 * VALUE_BYTES)) - 1);
            self.bytes = self.bytes.saturating_add(1);
            if self.bytes >= VALUE_BYTES && self.hidden.beginnings.contains(&self.window) {
                self.found.0.insert(self.window);
            }
        }
    }
}

fn beginning(value: &[u8]) -> Option<u64> {
    number(value.get(..VALUE_BYTES))
}

fn number(bytes: Option<&[u8]>) -> Option<u64> {
    Some(bytes?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

const fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use custodia_format::text::{to_b64, to_b64url, to_hex};

    use super::*;

    #[test]
    fn a_salt_or_the_key_is_found_in_every_spelling() {
        let salt: [u8; 32] = std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0xA5);
        let key: [u8; 32] = std::array::from_fn(|n| (n as u8).wrapping_mul(91) ^ 0x3C);
        let mut hidden = Hidden::default();
        hidden.salt(&salt);
        hidden.key(&ManifestKey(key));
        hidden.complete();
        for secret in [salt, key] {
            for spelled in [
                secret.to_vec(),
                to_hex(&secret).into_bytes(),
                to_hex(&secret).to_uppercase().into_bytes(),
                to_b64(&secret).into_bytes(),
                to_b64url(&secret).into_bytes(),
            ] {
                assert!(hidden.secret_in(&[b"some text [\"", &spelled[..], b"\", and more"].concat()));
            }
            assert!(!hidden.secret_in(&[b"x", &secret[1..]].concat()));
        }
        assert!(!hidden.secret_in(to_b64url(&[9; 32]).as_bytes()));
    }

    #[test]
    fn values_are_found_by_how_they_begin() {
        let mut hidden = Hidden::default();
        hidden.value("+383 44 123 456");
        hidden.value("short");
        let mut found = Found::default();
        // In pieces of any size.
        let mut look = hidden.look(&mut found);
        b"nobody answers under +383 44 123 456 any more, in short".chunks(5).for_each(|piece| look.values(piece));
        assert!(found.may_be("+383 44 123 456") && !found.may_be("short") && !found.may_be("nobody"));
        let mut found = Found::default();
        hidden.look(&mut found).values(b"nobody answers");
        assert!(found.is_clear());
    }
}
