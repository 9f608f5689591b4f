//! Step 4, the tokens: what each is worth under the `tsa` lines of the trust file (docs/spec/time-stamps.md).

use std::collections::{BTreeMap, HashSet};

use custodia_format::Hash;
use custodia_format::note::Note;
use custodia_format::proof::{Proof, Token as Shown};

use crate::case::Case;
use crate::finding::FindingCode;
use crate::time_stamp::{CertificateRefused, Token, TokenError, TsaCertificate};

/// Checks every token of the proof; those that count bound, from here on, whatever stands under the text that they stamp.
pub(crate) fn step_4_tokens(case: &mut Case<'_>, proof: &Proof) {
    let texts: HashSet<Hash> = proof
        .anchors
        .iter()
        .chain(proof.statements.iter().filter_map(|s| s.tlog_proof.as_ref()).map(|proof| &proof.checkpoint))
        .map(Note::text_digest)
        .collect();
    let lines: BTreeMap<Hash, Result<TsaCertificate, CertificateRefused>> =
        case.trust.tsas.iter().map(|der| (Hash::of(der), TsaCertificate::parse(der))).collect();
    for token in &proof.tokens {
        let place = format!("token over {}", token.note);
        if texts.contains(&token.note) {
            judge(case, token, &lines, place);
        } else {
            case.find(FindingCode::Malformed, place, "no note of the proof has this text");
        }
    }
}

fn judge(
    case: &mut Case<'_>,
    shown: &Shown,
    lines: &BTreeMap<Hash, Result<TsaCertificate, CertificateRefused>>,
    place: String,
) {
    if lines.is_empty() {
        let detail = "the trust file has no tsa line; openssl ts -verify checks it by a certificate that you have";
        return case.find(FindingCode::TokenUnchecked, place, detail);
    }
    let token = match Token::read(&shown.token) {
        Ok(token) => token,
        Err(error) => return case.find(FindingCode::Malformed, place, error.to_string()),
    };
    let line = token.certificate().and_then(|named| lines.get(&named));
    let checked = match line {
        None => {
            let named = token.certificate().map_or_else(|| "none by SHA-256".to_owned(), |named| named.to_string());
            let detail = format!("no tsa line is the certificate that it names: {named}");
            return case.find(FindingCode::TokenUnchecked, place, detail);
        }
        // The reader's own line is at fault, which says nothing about what is shown.
        Some(Err(refused)) => return case.find(FindingCode::TokenUnchecked, place, refused.to_string()),
        Some(Ok(certificate)) => token.check(certificate, &shown.note),
    };
    match checked {
        Ok(stamp) => case.stamps.entry(shown.note).or_default().push(stamp),
        Err(error) => {
            let code = match error {
                TokenError::Malformed(_) => FindingCode::Malformed,
                TokenError::UnknownAlgorithm { .. } => FindingCode::UnknownAlgorithm,
                TokenError::OtherText { .. } | TokenError::BadSignature { .. } => FindingCode::BadSignature,
                TokenError::OtherCertificate { .. } | TokenError::OutsideValidity { .. } => FindingCode::TokenUnchecked,
            };
            case.find(code, place, error.to_string());
        }
    }
}
