//! The question to a time-stamping service and the frame of its answer (RFC 3161 §2.4): bytes out, bytes in.

use custodia_format::{Hash, Malformed};
use der::asn1::{AnyRef, BitStringRef};
use der::{Encode, Tag};

use super::Policy;
use super::elements::Elements;

const WHAT: &str = "time-stamp response";
/// `AlgorithmIdentifier` of SHA-256, with the NULL that most services expect.
const SHA_256: [u8; 15] = [0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];

/// What a service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The SHA-256 that is to be stamped.
    pub imprint: Hash,
    /// A number that the answer repeats, so that it is no older one: the bytes of a positive ASN.1 integer.
    pub nonce: Vec<u8>,
    /// The policy that is asked for; the service's own where there is none.
    pub policy: Option<Policy>,
}

impl Query {
    /// A question with this nonce: eight random bytes, of which the first bit is dropped.
    pub fn new(imprint: Hash, random: [u8; 8], policy: Option<Policy>) -> Self {
        // A leading zero byte would be another spelling, and a leading one bit another sign.
        let [first, rest @ ..] = random;
        let nonce = [&[(first & 0x7f).max(1)], rest.as_slice()].concat();
        Self { imprint, nonce, policy }
    }

    /// `TimeStampReq`, which asks for the certificate to come with the token, so that other programs can check it alone.
    pub fn print(&self) -> Vec<u8> {
        let policy = self.policy.map(|policy| tlv(Tag::ObjectIdentifier, policy.as_bytes())).unwrap_or_default();
        let imprint = [SHA_256.as_slice(), &tlv(Tag::OctetString, self.imprint.as_bytes())].concat();
        let fields = [
            tlv(Tag::Integer, &[1]),
            tlv(Tag::Sequence, &imprint),
            policy,
            tlv(Tag::Integer, &self.nonce),
            tlv(Tag::Boolean, &[0xff]),
        ];
        tlv(Tag::Sequence, &fields.concat())
    }
}

fn tlv(tag: Tag, value: &[u8]) -> Vec<u8> {
    let printed = AnyRef::new(tag, value).and_then(|any| any.to_der());
    printed.expect("the parts of a question are some hundred bytes long, and DER takes 256 MiB")
}

/// What a service answered: a token, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The token as it came, if one was granted.
    pub token: Option<&'a [u8]>,
    /// What the service says of its answer, for people. Foreign text.
    pub words: String,
}

impl<'a> Reply<'a> {
    /// Reads a `TimeStampResp`. The token is not looked into.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are none, or grant what they do not hold.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Elements::only(WHAT, bytes, Tag::Sequence)?.elements()?;
        let status_info = outer.take("status", Tag::Sequence)?;
        let token = outer.take_any("timeStampToken")?.map(|token| token.whole);
        outer.end()?;
        let mut info = status_info.elements()?;
        let status: u32 = info.take("status", Tag::Integer)?.decode("a status")?;
        let mut words = format!("status {status}, {}", STATUS.get(status as usize).unwrap_or(&"unknown"));
        if let Some(texts) = info.take_if("statusString", Tag::Sequence)? {
            for text in texts.elements()?.all("statusString", Tag::Utf8String)? {
                words.push_str(": ");
                words.push_str(&String::from_utf8_lossy(text.value));
            }
        }
        if let Some(failure) = info.take_if("failInfo", Tag::BitString)? {
            let bits: BitStringRef<'_> = failure.decode("bits")?;
            for (_, name) in FAILURES.iter().filter(|(bit, _)| bits.get(*bit) == Some(true)) {
                words.push_str(", ");
                words.push_str(name);
            }
        }
        info.end()?;
        let is_granted = status <= 1;
        if is_granted && token.is_none() {
            return Err(status_info.wrong("a token with what is granted", "none"));
        }
        Ok(Self { token: token.filter(|_| is_granted), words })
    }
}

/// `PKIStatus`.
const STATUS: [&str; 6] =
    ["granted", "granted with changes", "rejected", "waiting", "revocation warning", "revocation notification"];
/// `PKIFailureInfo`.
const FAILURES: [(usize, &str); 8] = [
    (0, "unknown algorithm"),
    (2, "bad request"),
    (5, "bad data format"),
    (14, "its clock is not available"),
    (15, "it does not accept the policy"),
    (16, "it does not accept an extension"),
    (17, "it cannot tell what was asked for besides"),
    (25, "system failure"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_the_bytes_that_the_standard_says() {
        let query = Query::new(Hash::ZERO, [0xff, 0, 0, 0, 0, 0, 0, 9], Some(Policy::new_unwrap("1.2.3.4")));
        let printed = query.print();
        let head = [0x30, 72, 2, 1, 1, 0x30, 49, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 32];
        assert_eq!(printed.get(..head.len()), Some(head.as_slice()));
        assert!(printed.ends_with(&[6, 3, 0x2a, 3, 4, 2, 8, 0x7f, 0, 0, 0, 0, 0, 0, 9, 1, 1, 0xff]), "{printed:02x?}");
        assert_eq!(Query::new(Hash::ZERO, [0x80; 8], None).nonce.first(), Some(&1));
    }

    #[test]
    fn a_refusal_is_told_in_words_and_nothing_is_granted_without_a_token() {
        let words = tlv(Tag::Sequence, &tlv(Tag::Utf8String, b"no"));
        let info = [tlv(Tag::Integer, &[2]), words, tlv(Tag::BitString, &[5, 0x20])].concat();
        let refused = tlv(Tag::Sequence, &tlv(Tag::Sequence, &info));
        let reply = Reply::read(&refused).unwrap();
        assert_eq!((reply.token, reply.words.as_str()), (None, "status 2, rejected: no, bad request"));
        assert!(Reply::read(&[0x30, 5, 0x30, 3, 2, 1, 0]).is_err());
        assert!(Reply::read(&[0x30, 7, 0x30, 3, 2, 1, 0, 5, 0]).is_ok_and(|reply| reply.token == Some(&[5, 0])));
        assert!(Reply::read(&[0x30, 7, 0x30, 3, 2, 1, 2, 5, 0]).is_ok_and(|reply| reply.token.is_none()));
        assert!(Reply::read(b"<!DOCTYPE html>").is_err());
        assert!(Reply::read(&[]).is_err());
    }
}
