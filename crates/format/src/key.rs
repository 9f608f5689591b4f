//! Ed25519 keys and signatures in our strict profile (docs/spec/statement.md, "Keys"; RFC 8032, RFC 8410).
//!
//! A public key exists only if its 32 bytes are the one encoding of a point that is not of small order: libraries let
//! most of the others pass, and two of them can be one identity. Signatures are checked by `verify_strict`.

use std::fmt;

use ed25519_dalek::{Signer, VerifyingKey};

use crate::Hash;
#[cfg(feature = "remembered")]
use crate::remembered;
use crate::text::{from_b64, to_b64};

/// The DER that precedes the 32 raw bytes in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// p = 2^255 - 19, little-endian: the first number that is no field element.
const FIELD_PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// A public key that is canonical and not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why 32 bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefused {
    /// Not base64 of an Ed25519 SubjectPublicKeyInfo. The writer's fault.
    #[error("not an Ed25519 SubjectPublicKeyInfo in base64")]
    NotSpki,
    /// Not the one encoding of a point. The writer's fault, or an attempt at two names for one key.
    #[error("not the canonical encoding of a point")]
    NotCanonical,
    /// A point of small order: anybody can sign under it.
    #[error("a point of small order")]
    SmallOrder,
}

impl PublicKey {
    /// Reads the 32 raw bytes.
    ///
    /// # Errors
    /// [`KeyRefused::NotCanonical`] or [`KeyRefused::SmallOrder`].
    pub fn from_raw(raw: &[u8; 32]) -> Result<Self, KeyRefused> {
        #[cfg(feature = "remembered")]
        return remembered::key(raw, || Self::checked(raw));
        #[cfg(not(feature = "remembered"))]
        Self::checked(raw)
    }

    fn checked(raw: &[u8; 32]) -> Result<Self, KeyRefused> {
        let mut y = *raw;
        y[31] &= 0x7f;
        if y.iter().rev().cmp(FIELD_PRIME.iter().rev()).is_ge() {
            return Err(KeyRefused::NotCanonical);
        }
        let key = VerifyingKey::from_bytes(raw).map_err(|_| KeyRefused::NotCanonical)?;
        if key.is_weak() {
            return Err(KeyRefused::SmallOrder);
        }
        // The decoder accepts a negative zero; encoding the point again does not give it back.
        let again = key.to_edwards().compress().to_bytes();
        if again == *raw { Ok(Self(key)) } else { Err(KeyRefused::NotCanonical) }
    }

    /// Reads base64 of the SubjectPublicKeyInfo, as `openssl pkey -pubout -outform DER | base64` prints it.
    ///
    /// # Errors
    /// [`KeyRefused`], by what is wrong.
    pub fn from_spki_b64(text: &str) -> Result<Self, KeyRefused> {
        let der = from_b64(text).ok_or(KeyRefused::NotSpki)?;
        Self::from_spki_der(&der)
    }

    /// Reads the DER of the SubjectPublicKeyInfo, 44 bytes.
    ///
    /// # Errors
    /// [`KeyRefused`], by what is wrong.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyRefused> {
        let raw = der.strip_prefix(&SPKI_PREFIX).ok_or(KeyRefused::NotSpki)?;
        Self::from_raw(raw.try_into().map_err(|_| KeyRefused::NotSpki)?)
    }

    /// The 32 raw bytes.
    pub fn raw(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn to_spki_der(&self) -> [u8; 44] {
        let mut der = [0; 44];
        der[..12].copy_from_slice(&SPKI_PREFIX);
        der[12..].copy_from_slice(self.raw());
        der
    }

    /// The same in base64, as cards and trust files hold it.
    pub fn to_spki_b64(&self) -> String {
        to_b64(&self.to_spki_der())
    }

    /// The name by which envelopes and people call this key.
    pub fn key_id(&self) -> KeyId {
        KeyId(Hash::of(&self.to_spki_der()))
    }

    /// Whether the signature is this key's over the message (`verify_strict`: no malleable or mixed-order forms).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        #[cfg(feature = "remembered")]
        return remembered::signature(self, message, signature, || self.is_signed(message, signature));
        #[cfg(not(feature = "remembered"))]
        self.is_signed(message, signature)
    }

    fn is_signed(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw().cmp(other.raw())
    }
}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.raw().hash(state);
    }
}

/// SHA-256 of a key's SubjectPublicKeyInfo: 64 hex, as `openssl pkey -pubin -outform DER | sha256sum` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Hash);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ed25519 signature, 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A private key. Its 32-byte seed is wiped when it is dropped, and never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a seed; whoever calls this has drawn it at random.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept under the care of the key store.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the message (RFC 8032; the same message gives the same signature).
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public().key_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn refused_and_accepted_keys_of_the_vectors() {
        let vectors = vectors();
        for case in vectors["keys_refused"].as_array().unwrap() {
            assert!(PublicKey::from_spki_b64(case["spki"].as_str().unwrap()).is_err(), "{case}");
        }
        for case in vectors["keys_accepted"].as_array().unwrap() {
            let spki = case["spki"].as_str().unwrap();
            let key = PublicKey::from_spki_b64(spki).unwrap();
            assert_eq!(key.to_spki_b64(), spki);
        }
    }

    #[test]
    fn a_key_id_is_what_openssl_and_sha256sum_print() {
        let dsse = &vectors()["dsse"];
        let seed = crate::text::from_hex::<32>(dsse["seed_hex"].as_str().unwrap()).unwrap();
        let key = SigningKey::from_seed(&seed);
        assert_eq!(key.public().key_id().to_string(), dsse["keyid"].as_str().unwrap());
        let signature = key.sign(b"message");
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"massage", &signature));
        assert!(!format!("{key:?}").contains("3333"));
    }
}
