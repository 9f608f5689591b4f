//! What a token proves, by the steps of docs/spec/time-stamps.md.

use custodia_format::text::Time;
use custodia_format::{Hash, Malformed};

use super::algorithm::Hashing;
use super::certificate::TsaCertificate;
use super::token::{SignerId, Token};
use crate::case::Verified;

/// A time at which a text existed, by the word of a time-stamping authority that the reader believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// Not after this.
    pub time: Time,
    /// By whose clock: the subject of the certificate. Foreign text.
    pub by: String,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is not of the shape. Its maker's fault.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It says that another certificate has signed it, or does not say so by SHA-256, or names another authority. Nobody's fault: the reader does not
    /// believe that one.
    #[error("it is signed under {found}")]
    OtherCertificate {
        /// What it names.
        found: String,
    },
    /// It uses what this program does not know. A newer program may tell.
    #[error("it uses {what}, which this program does not know")]
    UnknownAlgorithm {
        /// What that is.
        what: String,
    },
    /// It stamps another text.
    #[error("it stamps another text, of SHA-256 {found}")]
    OtherText {
        /// The digest that it stamps.
        found: Hash,
    },
    /// It is not signed by the key of the certificate, or what is signed is not what it shows.
    #[error("{what} does not verify")]
    BadSignature {
        /// Which part.
        what: &'static str,
    },
    /// Its time is none at which the certificate was valid.
    #[error("its time {time} lies outside the validity of the certificate, {not_before} to {not_after}")]
    OutsideValidity {
        /// The time of the token.
        time: Time,
        /// The certificate's first second.
        not_before: Time,
        /// The certificate's last second.
        not_after: Time,
    },
}

impl Token<'_> {
    /// Checks that the holder of this certificate stamped this SHA-256.
    ///
    /// # Errors
    /// [`TokenError`], by what is wrong.
    pub fn check(&self, certificate: &TsaCertificate, stamped: &Hash) -> Result<Verified<TimeStamp>, TokenError> {
        self.token_step_2_certificate(certificate)?;
        let hashing = self.token_step_3_algorithms(certificate)?;
        self.token_step_4_text(stamped)?;
        self.token_step_5_signature(certificate, hashing)?;
        self.token_step_6_time(certificate)
    }

    fn token_step_2_certificate(&self, certificate: &TsaCertificate) -> Result<(), TokenError> {
        match self.signer.certificate {
            Some(named) if named == certificate.fingerprint => {}
            Some(named) => return Err(TokenError::OtherCertificate { found: format!("the certificate {named}") }),
            None => {
                let found = "a certificate that it does not name by SHA-256".to_owned();
                return Err(TokenError::OtherCertificate { found });
            }
        }
        let is_named = match self.signer.id {
            SignerId::Issuer { issuer, serial } => issuer == certificate.issuer && serial == certificate.serial,
            SignerId::Key(id) => certificate.subject_key_id.as_deref() == Some(id),
        };
        if !is_named {
            let expected = "the certificate that the signed attributes name";
            return Err(Malformed::new("time-stamp token", "sid", expected, "another").into());
        }
        // A hint, which must not mislead (RFC 3161 §2.4.2).
        match self.info.tsa {
            Some(tsa) if !certificate.names.iter().any(|name| name == tsa) => {
                Err(TokenError::OtherCertificate { found: "the name of another authority".to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn token_step_3_algorithms(&self, certificate: &TsaCertificate) -> Result<Hashing, TokenError> {
        let unknown = |what: String| TokenError::UnknownAlgorithm { what };
        if let Some(extension) = self.info.critical {
            return Err(unknown(format!("the critical extension {extension}")));
        }
        if Hashing::of(&self.info.imprint_by) != Some(Hashing::Sha256) {
            return Err(unknown(format!("an imprint by {}", self.info.imprint_by.oid)));
        }
        let hashing = Hashing::of(&self.signer.hashing)
            .ok_or_else(|| unknown(format!("the digest {}", self.signer.hashing.oid)))?;
        if certificate.key.knows(&self.signer.algorithm, hashing) {
            return Ok(hashing);
        }
        Err(unknown(format!("the signature algorithm {} with this key and digest", self.signer.algorithm.oid)))
    }

    fn token_step_4_text(&self, stamped: &Hash) -> Result<(), TokenError> {
        match self.imprint() {
            Some(found) if found == *stamped => Ok(()),
            Some(found) => Err(TokenError::OtherText { found }),
            None => Err(Malformed::new("time-stamp token", "hashedMessage", "32 bytes", "another number").into()),
        }
    }

    fn token_step_5_signature(&self, certificate: &TsaCertificate, hashing: Hashing) -> Result<(), TokenError> {
        if hashing.digest(self.info.bytes) != self.signer.message_digest {
            return Err(TokenError::BadSignature { what: "the digest of what is signed" });
        }
        if certificate.key.verify(hashing, &self.signer.attributes, self.signer.signature) {
            return Ok(());
        }
        Err(TokenError::BadSignature { what: "the signature" })
    }

    fn token_step_6_time(&self, certificate: &TsaCertificate) -> Result<Verified<TimeStamp>, TokenError> {
        let (time, TsaCertificate { not_before, not_after, .. }) = (self.info.time, certificate);
        if time < *not_before || time > *not_after {
            return Err(TokenError::OutsideValidity { time, not_before: *not_before, not_after: *not_after });
        }
        Ok(Verified::new(TimeStamp { time, by: certificate.subject.clone() }))
    }
}
