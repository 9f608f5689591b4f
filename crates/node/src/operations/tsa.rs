//! Which time-stamping authorities this node believes.

use std::sync::Arc;

use custodia_format::text::from_b64;
use custodia_verify::time_stamp::{CertificateRefused, TsaCertificate};
use serde::{Deserialize, Serialize};

use super::answers::TrustedTsa;
use super::authority::check_fingerprint;
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::{Node, home};

/// Believe the time-stamping authority of this certificate from now on.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrustTsa {
    /// The bytes of the certificate's file, PEM or DER, in base64.
    pub certificate: String,
    /// The fingerprint that the authority published or told over another channel: hex, spaces and colons allowed.
    pub fingerprint: Option<String>,
}

impl Operation for TrustTsa {
    const NAME: &'static str = "trust/tsa";
    type Answer = TrustedTsa;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<TrustedTsa, Failure> {
        let file = from_b64(&self.certificate).unwrap_or_default();
        let der = TsaCertificate::der_of_file(&file)?;
        let certificate = TsaCertificate::parse(&der)?;
        let shown = certificate.fingerprint.to_string();
        check_fingerprint(self.fingerprint.as_deref(), &shown, "This certificate is not the one of the fingerprint.")?;
        // Two at once would each write a file without the other's line.
        let desk = node.desk();
        let mut trust = node.trust()?;
        if !trust.tsas.contains(&der) {
            trust.tsas.push(der);
            home::write_durably(&node.home().trust(), trust.print().as_bytes())?;
        }
        drop(desk);
        Ok(TrustedTsa {
            subject: certificate.subject,
            fingerprint: shown,
            not_before: certificate.not_before.to_string(),
            not_after: certificate.not_after.to_string(),
        })
    }
}

impl From<CertificateRefused> for Failure {
    fn from(refused: CertificateRefused) -> Self {
        match refused {
            CertificateRefused::Malformed(malformed) => malformed.into(),
            other => Self::new(Code::Tsa, "No token can count under this certificate.")
                .instead_of("a certificate for time-stamping alone, with an RSA, P-256 or P-384 key", other.to_string())
                .safe("Nobody is trusted who was not trusted before.")
                .next("ask the authority for the certificate that signs its tokens"),
        }
    }
}
