//! A time-stamp token as it stands (RFC 3161 §2.4.2, RFC 5652 §5): read, and nothing of it believed.

use custodia_format::text::Time;
use custodia_format::{Hash, Malformed, limits};
use der::Tag;
use der::asn1::ObjectIdentifier;

use super::Policy;
use super::algorithm::Named;
use super::certificate::Extension;
use super::elements::{Element, Elements, context, context_primitive};

const WHAT: &str = "time-stamp token";
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// A token that was read. What it says counts only once a certificate that the reader believes has been found to have
/// signed it.
#[derive(Debug, Clone)]
pub struct Token<'a> {
    pub(super) info: Info<'a>,
    pub(super) signer: Signer<'a>,
}

/// `TSTInfo`: what was signed.
#[derive(Debug, Clone)]
pub(super) struct Info<'a> {
    /// The bytes that the signature is over, by way of their digest.
    pub(super) bytes: &'a [u8],
    pub(super) policy: Policy,
    pub(super) imprint_by: Named<'a>,
    pub(super) imprint: &'a [u8],
    /// The second in which it was made, or in the middle of which: nothing that is stamped came later than its end.
    pub(super) time: Time,
    pub(super) nonce: Option<&'a [u8]>,
    /// Whom it names as its maker, a `GeneralName`.
    pub(super) tsa: Option<&'a [u8]>,
    /// An extension that must be understood, and is not.
    pub(super) critical: Option<ObjectIdentifier>,
}

/// `SignerInfo`: who signed it, and how.
#[derive(Debug, Clone)]
pub(super) struct Signer<'a> {
    pub(super) id: SignerId<'a>,
    pub(super) hashing: Named<'a>,
    /// The signed attributes as they were signed: with the tag of a SET.
    pub(super) attributes: Vec<u8>,
    pub(super) message_digest: &'a [u8],
    /// The SHA-256 of the signing certificate; none where the token names it by another digest, or only in the old way, by
    /// SHA-1.
    pub(super) certificate: Option<Hash>,
    pub(super) algorithm: Named<'a>,
    pub(super) signature: &'a [u8],
}

/// How a signer is named beside the digest of the certificate. No signature covers this.
#[derive(Debug, Clone, Copy)]
pub(super) enum SignerId<'a> {
    Issuer { issuer: &'a [u8], serial: &'a [u8] },
    Key(&'a [u8]),
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Malformed`], with the field, for anything that is not exactly the shape of docs/spec/time-stamps.md.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::token_step_1_read(bytes)
    }

    fn token_step_1_read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::TOKEN_BYTES {
            let expected = format!("at most {} bytes", limits::TOKEN_BYTES);
            return Err(Malformed::new(WHAT, "", expected, bytes.len().to_string()));
        }
        let mut outer = Elements::only(WHAT, bytes, Tag::Sequence)?.elements()?;
        is(outer.take("contentType", Tag::ObjectIdentifier)?, SIGNED_DATA)?;
        let content = outer.take("content", context(0))?.only(Tag::Sequence)?;
        outer.end()?;

        let mut data = content.elements()?;
        data.take("version", Tag::Integer)?.is_version(&[3])?;
        data.take("digestAlgorithms", Tag::Set)?;
        let mut encapsulated = data.take("encapContentInfo", Tag::Sequence)?.elements()?;
        is(encapsulated.take("eContentType", Tag::ObjectIdentifier)?, TST_INFO)?;
        let info = encapsulated.take("eContent", context(0))?.only(Tag::OctetString)?.octets()?;
        encapsulated.end()?;
        data.take_if("certificates", context(0))?;
        data.take_if("crls", context(1))?;
        let signer = data.take("signerInfos", Tag::Set)?.only(Tag::Sequence)?;
        data.end()?;
        Ok(Self { info: Info::read(info)?, signer: Signer::read(signer)? })
    }

    /// The SHA-256 that it stamps; none where it stamps another digest.
    pub fn imprint(&self) -> Option<Hash> {
        let is_sha256 = self.info.imprint_by.oid == Named::sha256().oid;
        self.info.imprint.try_into().ok().filter(|_| is_sha256).map(Hash::new)
    }

    /// The SHA-256 of the certificate that it says has signed it, where it says so by SHA-256.
    pub const fn certificate(&self) -> Option<Hash> {
        self.signer.certificate
    }

    /// The number that its asker chose, as the bytes of an ASN.1 integer.
    pub const fn nonce(&self) -> Option<&'a [u8]> {
        self.info.nonce
    }

    /// The policy under which it says that it was made.
    pub const fn policy(&self) -> Policy {
        self.info.policy
    }
}

impl<'a> Info<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Elements::only(WHAT, bytes, Tag::Sequence)?.elements()?;
        fields.take("tstInfo.version", Tag::Integer)?.is_version(&[1])?;
        let policy = fields.take("policy", Tag::ObjectIdentifier)?.oid()?;
        let mut imprint = fields.take("messageImprint", Tag::Sequence)?.elements()?;
        let imprint_by = Named::read(imprint.take("hashAlgorithm", Tag::Sequence)?)?;
        let hashed = imprint.take("hashedMessage", Tag::OctetString)?.octets()?;
        imprint.end()?;
        fields.take("serialNumber", Tag::Integer)?;
        let time = gen_time(fields.take("genTime", Tag::GeneralizedTime)?)?;
        fields.take_if("accuracy", Tag::Sequence)?;
        if let Some(ordering) = fields.take_if("ordering", Tag::Boolean)?
            && !ordering.decode::<bool>("a bool")?
        {
            return Err(ordering.wrong("a default that is left out", "FALSE"));
        }
        let nonce = fields.take_if("nonce", Tag::Integer)?.map(|nonce| nonce.value);
        let tsa = match fields.take_if("tsa", context(0))? {
            None => None,
            Some(tsa) => {
                let mut inside = tsa.elements()?;
                let name = inside.take_any("tsa")?.ok_or_else(|| tsa.wrong("a name", "the end"))?;
                inside.end()?;
                Some(name.whole)
            }
        };
        let extensions = fields.take_if("extensions", context(1))?;
        fields.end()?;
        let mut critical = None;
        for extension in extensions.iter().map(Element::elements) {
            for extension in extension?.all("extension", Tag::Sequence)? {
                let extension = Extension::read(extension)?;
                critical = critical.or(extension.is_critical.then_some(extension.oid));
            }
        }
        Ok(Self { bytes, policy, imprint_by, imprint: hashed, time, nonce, tsa, critical })
    }
}

/// `YYYYMMDDhhmmss[.f…]Z`, without zeros at the end of the fraction (RFC 3161 §2.4.2). What is stamped is not after the end
/// of this moment, so a fraction is rounded up to the next whole second.
fn gen_time(element: Element<'_>) -> Result<Time, Malformed> {
    let text = std::str::from_utf8(element.value).unwrap_or_default();
    let read = || {
        let bare = text.strip_suffix('Z')?;
        let (whole, fraction) = bare.split_once('.').map_or((bare, None), |(whole, digits)| (whole, Some(digits)));
        let is_fraction = |digits: &str| digits.bytes().all(|c| c.is_ascii_digit()) && !digits.ends_with('0');
        if whole.len() != 14 || fraction.is_some_and(|digits| digits.is_empty() || !is_fraction(digits)) {
            return None;
        }
        let part = |from, to| whole.get(from..to);
        let (date, time) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
        let time = Time::parse(&format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2))?;
        Time::from_unix(time.unix() + i64::from(fraction.is_some()))
    };
    read().ok_or_else(|| element.wrong("YYYYMMDDhhmmss[.f…]Z", text))
}

impl<'a> Signer<'a> {
    fn read(element: Element<'a>) -> Result<Self, Malformed> {
        let mut fields = element.elements()?;
        let id = match fields.take("signerInfo.version", Tag::Integer)?.is_version(&[1, 3])? {
            1 => {
                let mut id = fields.take("sid", Tag::Sequence)?.elements()?;
                let issuer = id.take("issuer", Tag::Sequence)?.whole;
                let serial = id.take("serialNumber", Tag::Integer)?.whole;
                id.end()?;
                SignerId::Issuer { issuer, serial }
            }
            _ => SignerId::Key(fields.take("sid", context_primitive(0))?.value),
        };
        let hashing = Named::read(fields.take("digestAlgorithm", Tag::Sequence)?)?;
        let attributes = fields.take("signedAttrs", context(0))?;
        let algorithm = Named::read(fields.take("signatureAlgorithm", Tag::Sequence)?)?;
        let signature = fields.take("signature", Tag::OctetString)?.octets()?;
        // Whatever stands in unsigned attributes anybody could have put there.
        fields.end()?;

        let (mut content_type, mut message_digest, mut certificate) = (None, None, None);
        let all = attributes.elements()?.all("attribute", Tag::Sequence)?;
        if !all.iter().zip(all.iter().skip(1)).all(|(one, next)| one.whole < next.whole) {
            return Err(attributes.wrong("attributes in the order of DER", "another order"));
        }
        for attribute in all {
            let mut inside = attribute.elements()?;
            let oid = inside.take("attrType", Tag::ObjectIdentifier)?.oid()?;
            let values = inside.take("attrValues", Tag::Set)?;
            inside.end()?;
            let seen = match oid {
                CONTENT_TYPE => content_type.replace(values.only(Tag::ObjectIdentifier)?).is_some(),
                MESSAGE_DIGEST => message_digest.replace(values.only(Tag::OctetString)?.octets()?).is_some(),
                SIGNING_CERTIFICATE_V2 => {
                    certificate.replace(first_certificate(values.only(Tag::Sequence)?)?).is_some()
                }
                _ => false,
            };
            if seen {
                return Err(attribute.wrong("each attribute once", oid.to_string()));
            }
        }
        let missing = |what: &str| attributes.wrong(what, "none");
        is(content_type.ok_or_else(|| missing("a content type"))?, TST_INFO)?;
        Ok(Self {
            id,
            hashing,
            attributes: as_set(attributes.whole),
            message_digest: message_digest.ok_or_else(|| missing("a message digest"))?,
            certificate: certificate.flatten(),
            algorithm,
            signature,
        })
    }
}

/// `SigningCertificateV2` (RFC 5035 §3): the first certificate in it is the one that signed. Gives its SHA-256; none where
/// it is named by another digest.
fn first_certificate(element: Element<'_>) -> Result<Option<Hash>, Malformed> {
    let mut fields = element.elements()?;
    let all = fields.take("certs", Tag::Sequence)?.elements()?.all("ESSCertIDv2", Tag::Sequence)?;
    fields.take_if("policies", Tag::Sequence)?;
    fields.end()?;
    let mut first = all.first().ok_or_else(|| element.wrong("a certificate", "none"))?.elements()?;
    let by = first.take_if("hashAlgorithm", Tag::Sequence)?.map(Named::read).transpose()?;
    let digest = first.take("certHash", Tag::OctetString)?.octets()?;
    first.take_if("issuerSerial", Tag::Sequence)?;
    first.end()?;
    let is_sha256 = by.is_none_or(|by| by.oid == Named::sha256().oid);
    Ok(digest.try_into().ok().filter(|_| is_sha256).map(Hash::new))
}

/// What is signed is the SET itself, not the field that it stands in (RFC 5652 §5.4).
fn as_set(field: &[u8]) -> Vec<u8> {
    let mut bytes = field.to_vec();
    if let Some(tag) = bytes.first_mut() {
        *tag = 0x31;
    }
    bytes
}

fn is(element: Element<'_>, expected: ObjectIdentifier) -> Result<(), Malformed> {
    let found = element.oid()?;
    if found == expected { Ok(()) } else { Err(element.wrong(&expected.to_string(), found.to_string())) }
}
