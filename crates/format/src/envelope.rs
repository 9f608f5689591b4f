//! The envelope: DSSE in a strict profile, the signed bytes of every statement (docs/spec/statement.md, "Envelope").
//!
//! Owns the one spelling of an envelope, the bytes that are signed, and the digest by which statements name one
//! another. Refuses to judge: which keys count is the verifier's question. Follows DSSE v1 (secure-systems-lab).

use std::fmt::Write;

use crate::error::Malformed;
use crate::json::{Json, Members, parse_compact};
use crate::key::{KeyId, PublicKey, Signature, SigningKey};
use crate::kind::Kind;
use crate::text::{from_b64, to_b64};
use crate::{Hash, limits};

/// What errors of this file name.
const WHAT: &str = "envelope";

/// A payload, what it is, and 1 to 8 signatures over both.
///
/// Printed as `{"payload":"<b64>","payloadType":"…","signatures":[{"keyid":"<64 hex>","sig":"<b64>"},…]}` without
/// whitespace, signatures ascending by key id, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    kind: Kind,
    signatures: Vec<(KeyId, Signature)>,
}

impl Envelope {
    /// Reads an envelope of at most [`limits::ENVELOPE_BYTES`].
    ///
    /// # Errors
    /// [`Malformed`] for anything that this type would not print.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        #[cfg(feature = "remembered")]
        return crate::remembered::text(&crate::remembered::ENVELOPES, &[bytes], || Self::read(bytes));
        #[cfg(not(feature = "remembered"))]
        Self::read(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::ENVELOPE_BYTES {
            let expected = format!("at most {} bytes", limits::ENVELOPE_BYTES);
            return Err(Malformed::new(WHAT, "", expected, bytes.len().to_string()));
        }
        let mut members = Members::of(parse_compact(WHAT, bytes)?, WHAT, "")?;
        let payload = members.read("payload", "padded base64", from_b64)?;
        let kind =
            members.read("payloadType", "application/vnd.custodia.<kind>.v<version>+json", Kind::from_payload_type)?;
        let signatures = members
            .array("signatures", 1, limits::ENVELOPE_SIGNATURES)?
            .into_iter()
            .enumerate()
            .map(|(place, element)| parse_signature(place, element))
            .collect::<Result<Vec<_>, _>>()?;
        members.end()?;
        Self::checked(kind, payload, signatures)
    }

    /// Signs a payload with 1 to 8 keys, no key twice; their order is of no account.
    ///
    /// # Errors
    /// [`Malformed`] when the payload is longer than [`limits::PAYLOAD_BYTES`] or the keys are none, more than eight or
    /// not distinct. The caller's fault: nothing was signed.
    pub fn sign(kind: &Kind, payload: Vec<u8>, keys: &[&SigningKey]) -> Result<Self, Malformed> {
        if !(1..=limits::ENVELOPE_SIGNATURES).contains(&keys.len()) {
            return Err(Malformed::new(WHAT, "signatures", "1 to 8 keys", keys.len().to_string()));
        }
        let signed = pae(&kind.payload_type(), &payload);
        let mut signatures: Vec<_> = keys.iter().map(|key| (key.public().key_id(), key.sign(&signed))).collect();
        signatures.sort_by_key(|(key_id, _)| *key_id);
        Self::checked(kind.clone(), payload, signatures)
    }

    /// The rules that hold for a parsed and for a new envelope alike.
    fn checked(kind: Kind, payload: Vec<u8>, signatures: Vec<(KeyId, Signature)>) -> Result<Self, Malformed> {
        if payload.len() > limits::PAYLOAD_BYTES {
            let expected = format!("at most {} bytes", limits::PAYLOAD_BYTES);
            return Err(Malformed::new(WHAT, "payload", expected, payload.len().to_string()));
        }
        let pairs = signatures.iter().zip(signatures.iter().skip(1));
        if let Some((_, (key_id, _))) = pairs.into_iter().find(|((one, _), (next, _))| one >= next) {
            return Err(Malformed::new(WHAT, "signatures", "key ids ascending, none twice", key_id.to_string()));
        }
        Ok(Self { payload, kind, signatures })
    }

    /// The payload's bytes, not yet read.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What the envelope says its payload is; signed together with it.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The DSSE payload type, such as `application/vnd.custodia.seal.v1+json`.
    pub fn payload_type(&self) -> String {
        self.kind.payload_type()
    }

    /// The signatures, ascending by key id; none of them is verified yet.
    pub fn signatures(&self) -> &[(KeyId, Signature)] {
        &self.signatures
    }

    /// The bytes that are signed: DSSE's pre-authentication encoding.
    pub fn pae(&self) -> Vec<u8> {
        pae(&self.payload_type(), &self.payload)
    }

    /// Prints the envelope; what is stored, sent, hashed and logged.
    pub fn print(&self) -> String {
        let mut text = format!(
            "{{\"payload\":\"{}\",\"payloadType\":\"{}\",\"signatures\":[",
            to_b64(&self.payload),
            self.payload_type()
        );
        for (place, (key_id, signature)) in self.signatures.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(text, "{comma}{{\"keyid\":\"{key_id}\",\"sig\":\"{}\"}}", to_b64(&signature.0));
        }
        text.push_str("]}");
        text
    }

    /// The SHA-256 of the printed bytes: the statement's name everywhere.
    pub fn digest(&self) -> Hash {
        Hash::of(self.print().as_bytes())
    }

    /// Whether this key signed, and its signature verifies. `None` when it did not sign.
    #[must_use]
    pub fn verify(&self, key: &PublicKey) -> Option<bool> {
        let key_id = key.key_id();
        let (_, signature) = self.signatures.iter().find(|(signer, _)| *signer == key_id)?;
        Some(key.verify(&self.pae(), signature))
    }
}

/// DSSE's pre-authentication encoding: `"DSSEv1" SP len(type) SP type SP len(body) SP body`.
///
/// # Standard
/// DSSE v1, protocol.md, "Signature Definition".
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

fn parse_signature(place: usize, element: Json) -> Result<(KeyId, Signature), Malformed> {
    let mut members = Members::of(element, WHAT, format!("signatures.{place}"))?;
    let key_id = members.read("keyid", "64 lowercase hex digits", Hash::from_hex)?;
    let signature = members.read("sig", "padded base64 of 64 bytes", |text| {
        from_b64(text).and_then(|bytes| <[u8; 64]>::try_from(bytes).ok())
    })?;
    members.end()?;
    Ok((KeyId(key_id), Signature(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{from_hex, to_hex};

    #[test]
    fn the_envelope_of_the_vectors() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/custodia-v1.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let field = |name: &str| vectors["dsse"][name].as_str().unwrap().to_owned();
        let key = SigningKey::from_seed(&from_hex(&field("seed_hex")).unwrap());
        let kind = Kind::new("test", 1).unwrap();
        let signed = Envelope::sign(&kind, field("payload").into_bytes(), &[&key]).unwrap();
        assert_eq!(to_hex(&signed.pae()), field("pae_hex"));
        assert_eq!(signed.print(), field("envelope"));
        assert_eq!(signed.digest().to_string(), field("envelope_sha256"));
        assert_eq!(Envelope::parse(field("envelope").as_bytes()).unwrap(), signed);
        assert_eq!(signed.verify(&key.public()), Some(true));
        assert_eq!(signed.verify(&SigningKey::from_seed(&[7; 32]).public()), None);
    }

    #[test]
    fn signatures_are_one_to_eight_sorted_and_distinct() {
        let kind = Kind::Seal;
        let keys: Vec<SigningKey> = (0..9).map(|n| SigningKey::from_seed(&[n; 32])).collect();
        let all: Vec<&SigningKey> = keys.iter().collect();
        let sign = |keys: &[&SigningKey]| Envelope::sign(&kind, b"{}\n".to_vec(), keys);
        assert!(sign(&[]).is_err());
        assert!(sign(&all).is_err());
        assert!(sign(&[&keys[0], &keys[0]]).is_err());
        let eight = sign(&all[..8]).unwrap();
        let text = eight.print();
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap(), eight);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (first, second) = (value["signatures"][0].to_string(), value["signatures"][1].to_string());
        assert!(text.contains(&format!("{first},{second}")));
        let swapped = text.replace(&format!("{first},{second}"), &format!("{second},{first}"));
        assert!(Envelope::parse(swapped.as_bytes()).is_err());
        // Each under the other's key id: it reads, and neither verifies.
        let [one, other] = [0, 1].map(|place| value["signatures"][place]["sig"].as_str().unwrap().to_owned());
        let exchanged = text.replace(&one, "-").replace(&other, &one).replace('-', &other);
        let exchanged = Envelope::parse(exchanged.as_bytes()).unwrap();
        let verified = keys.iter().filter(|key| exchanged.verify(&key.public()) == Some(true)).count();
        assert_eq!(verified, 6);
    }

    #[test]
    fn lengths_are_limited() {
        let key = SigningKey::from_seed(&[1; 32]);
        assert!(Envelope::sign(&Kind::Seal, vec![b' '; limits::PAYLOAD_BYTES], &[&key]).is_ok());
        assert!(Envelope::sign(&Kind::Seal, vec![b' '; limits::PAYLOAD_BYTES + 1], &[&key]).is_err());
        assert!(Envelope::parse(&vec![b' '; limits::ENVELOPE_BYTES + 1]).is_err());
    }

    #[test]
    fn one_deviation_each_is_refused() {
        let key = SigningKey::from_seed(&[1; 32]);
        let good = Envelope::sign(&Kind::Seal, b"{}\n".to_vec(), &[&key]).unwrap().print();
        let sig = good.split("\"sig\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let id = key.public().key_id().to_string();
        let cases = [
            ("final LF", format!("{good}\n")),
            ("space", good.replacen(':', ": ", 1)),
            ("extra member", good.replacen("\"signatures\"", "\"more\":null,\"signatures\"", 1)),
            ("member at the end", format!("{},\"more\":null}}", &good[..good.len() - 1])),
            ("missing member", good.replacen("\"payload\":\"e30K\",", "", 1)),
            (
                "repeated member",
                good.replacen("\"payload\":\"e30K\",", "\"payload\":\"e30K\",\"payload\":\"e30K\",", 1),
            ),
            ("no signature", good.split("[").next().unwrap().to_owned() + "[]}"),
            ("payload without padding", good.replacen("e30K", "e30", 1)),
            ("payload with slack bits", good.replacen("e30K", "e31=", 1)),
            ("escaped payload", good.replacen("e30K", "e30\\u004b", 1)),
            ("type", good.replacen("custodia.seal", "custodia.Seal", 1)),
            ("type without version", good.replacen(".v1+json", "+json", 1)),
            ("type with version 0", good.replacen(".v1+json", ".v0+json", 1)),
            ("another type", good.replacen("application/vnd.custodia.seal.v1+json", "text/plain", 1)),
            ("short key id", good.replacen(&id, &id[1..], 1)),
            ("capital key id", good.replacen(&id, &id.to_uppercase(), 1)),
            ("short signature", good.replacen(&sig, &to_b64(&[0; 63]), 1)),
            ("member in a signature", good.replacen("\"sig\"", "\"more\":null,\"sig\"", 1)),
            ("member at the end of a signature", good.replacen("\"}]", "\",\"more\":null}]", 1)),
            ("number", good.replacen("\"e30K\"", "1", 1)),
        ];
        assert!(Envelope::parse(good.as_bytes()).is_ok());
        for (deviation, text) in cases {
            assert_ne!(text, good, "{deviation} is no deviation");
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{deviation} is taken");
        }
    }
}
