//! The algorithms of tokens: which are known, and the check of one signature.
//!
//! Known are SHA-256, SHA-384 and SHA-512 with RSA (PKCS #1 v1.5, RFC 8017 §8.2, keys of 2048 to 8192 bits) and with ECDSA
//! on P-256 and P-384 (FIPS 186-5). Anything else is not wrong, and not known: the reader cannot tell.

use custodia_format::Malformed;
use der::asn1::{BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Tag};
use rsa::BoxedUint;
use rsa::pkcs1v15;
use sha2::{Digest, Sha256, Sha384, Sha512};
use signature::hazmat::PrehashVerifier;

use super::elements::{Element, Elements};

const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const RSA_WITH: [(Hashing, ObjectIdentifier); 3] = [
    (Hashing::Sha256, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11")),
    (Hashing::Sha384, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12")),
    (Hashing::Sha512, ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13")),
];
const ECDSA_WITH: [(Hashing, ObjectIdentifier); 3] = [
    (Hashing::Sha256, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2")),
    (Hashing::Sha384, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3")),
    (Hashing::Sha512, ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4")),
];

/// Bits of an RSA key: below, it can be broken; above, one token takes too long.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// A digest of FIPS 180-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hashing {
    Sha256,
    Sha384,
    Sha512,
}

impl Hashing {
    /// The digest that is named, if it is known.
    pub(super) fn of(named: &Named<'_>) -> Option<Self> {
        let known = match named.oid {
            SHA_256 => Self::Sha256,
            SHA_384 => Self::Sha384,
            SHA_512 => Self::Sha512,
            _ => return None,
        };
        named.is_without_parameters().then_some(known)
    }

    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// An algorithm as it is named: `SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) oid: ObjectIdentifier,
    parameters: Option<Element<'a>>,
}

impl<'a> Named<'a> {
    pub(super) fn read(element: Element<'a>) -> Result<Self, Malformed> {
        let mut inside = element.elements()?;
        let oid = inside.take("algorithm", Tag::ObjectIdentifier)?.oid()?;
        let parameters = inside.take_any("parameters")?;
        inside.end()?;
        Ok(Self { oid, parameters })
    }

    /// SHA-256 itself, as a default that is left out.
    pub(super) const fn sha256() -> Self {
        Self { oid: SHA_256, parameters: None }
    }

    /// Absent parameters and NULL are the same thing, as both are in use (RFC 5754 §2).
    fn is_without_parameters(&self) -> bool {
        self.parameters.is_none_or(|parameters| parameters.whole == [0x05, 0x00])
    }
}

/// A key that can have signed tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Rsa(Box<rsa::PublicKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    /// A key of another kind, named for people.
    Unknown(String),
}

impl Key {
    /// Reads a `SubjectPublicKeyInfo`.
    pub(super) fn read(info: Element<'_>) -> Result<Self, Malformed> {
        let mut inside = info.elements()?;
        let algorithm = Named::read(inside.take("subjectPublicKeyInfo", Tag::Sequence)?)?;
        let bits = inside.take("subjectPublicKey", Tag::BitString)?;
        inside.end()?;
        let key = bits.decode::<BitStringRef<'_>>("a key")?.as_bytes().ok_or_else(|| bits.wrong("bytes", "bits"))?;
        let curve = algorithm.parameters.map(|parameters| ObjectIdentifier::from_der(parameters.whole));
        match (algorithm.oid, curve) {
            (RSA, _) => Self::rsa(key),
            (EC_PUBLIC_KEY, Some(Ok(P_256))) => p256::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .map(Self::P256)
                .map_err(|_| bits.wrong("a point of P-256", "another")),
            (EC_PUBLIC_KEY, Some(Ok(P_384))) => p384::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .map(Self::P384)
                .map_err(|_| bits.wrong("a point of P-384", "another")),
            (EC_PUBLIC_KEY, Some(Ok(curve))) => Ok(Self::Unknown(format!("an elliptic curve, {curve}"))),
            (other, _) => Ok(Self::Unknown(format!("a key of the kind {other}"))),
        }
    }

    /// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
    fn rsa(key: &[u8]) -> Result<Self, Malformed> {
        let mut inside = Elements::only("certificate", key, Tag::Sequence)?.elements()?;
        let modulus = inside.take("modulus", Tag::Integer)?;
        let exponent = inside.take("publicExponent", Tag::Integer)?;
        inside.end()?;
        let read = |element: Element<'_>| {
            let bytes = element.decode::<UintRef<'_>>("a number")?.as_bytes();
            // No key that is of use is longer; before anything is computed.
            if bytes.len() > 2 * usize::try_from(*RSA_BITS.end() / 8).unwrap_or(usize::MAX) {
                return Err(element.wrong("a number of an RSA key", format!("{} bytes", bytes.len())));
            }
            Ok(BoxedUint::from_be_slice_vartime(bytes))
        };
        let (n, e) = (read(modulus)?, read(exponent)?);
        let bits = n.bit_width_vartime();
        if !RSA_BITS.contains(&bits) {
            return Ok(Self::Unknown(format!("an RSA key of {bits} bits")));
        }
        rsa::PublicKey::new(n, e)
            .map(|key| Self::Rsa(Box::new(key)))
            .map_err(|error| modulus.wrong("an RSA key", error.to_string()))
    }

    /// Whether this key signs by the algorithm of that name, over that digest.
    ///
    /// `rsaEncryption` leaves the digest to the other field (RFC 3370 §3.2); every other name says it again, and must say
    /// the same.
    pub(super) fn knows(&self, named: &Named<'_>, hashing: Hashing) -> bool {
        let (with, is_plain) = match self {
            Self::Rsa(_) => (&RSA_WITH, named.oid == RSA),
            Self::P256(_) | Self::P384(_) => (&ECDSA_WITH, false),
            Self::Unknown(_) => return false,
        };
        let said = with.iter().find(|(_, oid)| *oid == named.oid).map(|(hashing, _)| *hashing);
        (is_plain || said == Some(hashing)) && named.is_without_parameters()
    }

    /// Whether the signature is this key's over the message.
    pub(super) fn verify(&self, hashing: Hashing, message: &[u8], signature: &[u8]) -> bool {
        let digest = hashing.digest(message);
        match self {
            Self::Rsa(key) => pkcs1v15::Signature::try_from(signature).is_ok_and(|signature| {
                let key = key.as_ref().clone();
                match hashing {
                    Hashing::Sha256 => pkcs1v15::VerifyingKey::<Sha256>::new(key).verify_prehash(&digest, &signature),
                    Hashing::Sha384 => pkcs1v15::VerifyingKey::<Sha384>::new(key).verify_prehash(&digest, &signature),
                    Hashing::Sha512 => pkcs1v15::VerifyingKey::<Sha512>::new(key).verify_prehash(&digest, &signature),
                }
                .is_ok()
            }),
            Self::P256(key) => p256::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            Self::Unknown(_) => false,
        }
    }
}
