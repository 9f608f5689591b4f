//! The certificate of a time-stamping authority: what of X.509 (RFC 5280) a token needs, and no more.

use std::fmt::Write;

use custodia_format::text::{Time, from_b64};
use custodia_format::{Hash, Malformed};
use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Encode, Tag};

use super::algorithm::Key;
use super::elements::{Element, Elements, context, context_primitive};

const WHAT: &str = "certificate";
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// How the parts of a name are called that people know (RFC 4514 §3).
const NAMES: [(ObjectIdentifier, &str); 8] = [
    (ObjectIdentifier::new_unwrap("2.5.4.3"), "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "SERIALNUMBER"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.97"), "ORGID"),
];

/// The signing certificate of a time-stamping authority, as a `tsa` line of a trust file has it.
///
/// It is believed because it stands there, so its issuer's signature on it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsaCertificate {
    /// SHA-256 of the certificate's DER: its fingerprint, and how a token names it.
    pub fingerprint: Hash,
    /// Whom it names, as RFC 4514 writes names: `CN=…,O=…,C=…`. Foreign text.
    pub subject: String,
    /// The first second for which it is valid.
    pub not_before: Time,
    /// The last second for which it is valid.
    pub not_after: Time,
    pub(super) key: Key,
    /// The issuer's name and the serial number, as a token may name the certificate beside its digest.
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    /// Its names, each as a `GeneralName`: the subject, and the alternative ones.
    pub(super) names: Vec<Vec<u8>>,
}

/// Why a certificate cannot be that of a time-stamping authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRefused {
    /// The bytes are no certificate.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is for something else (RFC 3161 §2.3: the extended key usage is critical, and names time-stamping alone).
    #[error("the certificate of {subject} is not for time-stamping: {found}")]
    Usage {
        /// Whom it names.
        subject: String,
        /// What it says of its usage.
        found: String,
    },
    /// Its key is of a kind that this program does not know.
    #[error("the certificate of {subject} has {found}, which this program does not know")]
    Key {
        /// Whom it names.
        subject: String,
        /// What key it has.
        found: String,
    },
}

impl TsaCertificate {
    /// Reads a certificate from a file: DER, or the one block of a PEM text. Gives its DER.
    ///
    /// # Errors
    /// [`Malformed`] when it is neither.
    pub fn der_of_file(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN)) else {
            return Ok(bytes.to_vec());
        };
        let wrong = |found: &str| Malformed::new(WHAT, "", "one certificate, as DER or as a PEM block", found);
        if text.matches(BEGIN).count() > 1 {
            return Err(wrong("several: name the one that signs tokens"));
        }
        let block = text.split(BEGIN).nth(1).and_then(|rest| rest.split_once(END)).map(|(block, _)| block);
        let block: String = block.ok_or_else(|| wrong("a block without an end"))?.split_whitespace().collect();
        from_b64(&block).ok_or_else(|| wrong("a block that is no base64"))
    }

    /// Reads a certificate, and refuses one by which no token can count.
    ///
    /// # Errors
    /// [`CertificateRefused`], by what is wrong with it.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateRefused> {
        let mut outer = Elements::only(WHAT, der, Tag::Sequence)?.elements()?;
        let signed = outer.take("tbsCertificate", Tag::Sequence)?;
        outer.take("signatureAlgorithm", Tag::Sequence)?;
        outer.take("signature", Tag::BitString)?;
        outer.end()?;

        let mut fields = signed.elements()?;
        fields.take("version", context(0))?.only(Tag::Integer)?.is_version(&[2])?;
        let serial = fields.take("serialNumber", Tag::Integer)?.whole.to_vec();
        fields.take("signature", Tag::Sequence)?;
        let issuer = fields.take("issuer", Tag::Sequence)?.whole.to_vec();
        let (not_before, not_after) = validity(fields.take("validity", Tag::Sequence)?)?;
        let subject_name = fields.take("subject", Tag::Sequence)?;
        let subject = name(subject_name)?;
        let key = Key::read(fields.take("subjectPublicKeyInfo", Tag::Sequence)?)?;
        fields.take_if("issuerUniqueID", context_primitive(1))?;
        fields.take_if("subjectUniqueID", context_primitive(2))?;
        let extensions = fields.take_if("extensions", context(3))?;
        fields.end()?;

        let mut usage = None;
        let mut subject_key_id = None;
        let mut alternative = None;
        if let Some(extensions) = extensions {
            for extension in extensions.only(Tag::Sequence)?.elements()?.all("extension", Tag::Sequence)? {
                let extension = Extension::read(extension)?;
                let seen = match extension.oid {
                    EXTENDED_KEY_USAGE => usage.replace(purposes(&extension)?).is_some(),
                    SUBJECT_KEY_IDENTIFIER => {
                        let id = Elements::only(WHAT, extension.value, Tag::OctetString)?.octets()?.to_vec();
                        subject_key_id.replace(id).is_some()
                    }
                    SUBJECT_ALTERNATIVE_NAME => alternative.replace(extension.value).is_some(),
                    _ => false,
                };
                if seen {
                    return Err(Malformed::new(WHAT, "extensions", "each once", extension.oid.to_string()).into());
                }
            }
        }
        let refused = |found: &str| CertificateRefused::Usage { subject: subject.clone(), found: found.to_owned() };
        match usage {
            None => return Err(refused("it has no extended key usage")),
            Some((_, false)) => return Err(refused("its extended key usage names something else")),
            Some((false, true)) => return Err(refused("its extended key usage is not critical")),
            Some((true, true)) => {}
        }
        if let Key::Unknown(found) = &key {
            return Err(CertificateRefused::Key { subject, found: found.clone() });
        }
        let mut names = vec![directory_name(subject_name.whole)];
        if let Some(alternative) = alternative {
            let mut all = Elements::only(WHAT, alternative, Tag::Sequence)?.elements()?;
            while let Some(name) = all.take_any("subjectAltName")? {
                names.push(name.whole.to_vec());
            }
        }
        let fingerprint = Hash::of(der);
        Ok(Self { fingerprint, subject, not_before, not_after, key, issuer, serial, subject_key_id, names })
    }
}

/// A name as the choice `directoryName` of a `GeneralName`.
fn directory_name(name: &[u8]) -> Vec<u8> {
    let printed = AnyRef::new(context(4), name).and_then(|any| any.to_der());
    printed.expect("a name came from a certificate that was read, and DER takes 256 MiB")
}

/// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`.
pub(super) struct Extension<'a> {
    pub(super) oid: ObjectIdentifier,
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

impl<'a> Extension<'a> {
    pub(super) fn read(element: Element<'a>) -> Result<Self, Malformed> {
        let mut inside = element.elements()?;
        let oid = inside.take("extnID", Tag::ObjectIdentifier)?.oid()?;
        let critical =
            inside.take_if("critical", Tag::Boolean)?.map(|bool| bool.decode::<bool>("a bool")).transpose()?;
        let value = inside.take("extnValue", Tag::OctetString)?.octets()?;
        inside.end()?;
        if critical == Some(false) {
            return Err(element.wrong("a default that is left out", "critical FALSE"));
        }
        Ok(Self { oid, is_critical: critical.is_some(), value })
    }
}

/// Whether the extended key usage is critical, and whether it names time-stamping alone.
fn purposes(extension: &Extension<'_>) -> Result<(bool, bool), Malformed> {
    let purposes = Elements::only(WHAT, extension.value, Tag::Sequence)?.elements()?;
    let purposes = purposes.all("purpose", Tag::ObjectIdentifier)?;
    let purposes = purposes.iter().map(Element::oid).collect::<Result<Vec<_>, _>>()?;
    Ok((extension.is_critical, purposes == [TIME_STAMPING]))
}

fn validity(element: Element<'_>) -> Result<(Time, Time), Malformed> {
    let mut inside = element.elements()?;
    let mut time = |place| {
        let element = inside.take_any(place)?.ok_or_else(|| element.wrong("two times", "the end"))?;
        let since_1970 = match element.tag {
            Tag::UtcTime => element.decode::<UtcTime>("a time")?.to_unix_duration(),
            _ => element.decode::<GeneralizedTime>("a time")?.to_unix_duration(),
        };
        let seconds = i64::try_from(since_1970.as_secs()).ok();
        seconds.and_then(Time::from_unix).ok_or_else(|| element.wrong("a time of the years up to 9999", "a later one"))
    };
    let (not_before, not_after) = (time("notBefore")?, time("notAfter")?);
    inside.end()?;
    Ok((not_before, not_after))
}

/// A name as RFC 4514 writes it: the last part first. A part of an unknown kind has its object identifier; what is no text
/// has its bytes.
fn name(element: Element<'_>) -> Result<String, Malformed> {
    let mut parts = Vec::new();
    for set in element.elements()?.all("name", Tag::Set)? {
        let mut part = String::new();
        for attribute in set.elements()?.all("attribute", Tag::Sequence)? {
            let mut inside = attribute.elements()?;
            let oid = inside.take("type", Tag::ObjectIdentifier)?.oid()?;
            let value = inside.take_any("value")?.ok_or_else(|| attribute.wrong("a value", "the end"))?;
            inside.end()?;
            let known = NAMES.iter().find(|(known, _)| *known == oid).map(|(_, name)| (*name).to_owned());
            let text = match value.tag {
                Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => std::str::from_utf8(value.value).ok(),
                _ => None,
            };
            let text = text.map_or_else(|| format!("#{}", custodia_format::text::to_hex(value.whole)), escaped);
            let separator = if part.is_empty() { "" } else { "+" };
            let _ = write!(part, "{separator}{}={text}", known.unwrap_or_else(|| oid.to_string()));
        }
        parts.push(part);
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// A value in which nothing reads like the start of the next part.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}
