//! One question to one service, and the check of all that it answers (RFC 3161 §2.2, §3.4).
//!
//! What answers is believed in nothing: time and length are limited, nothing is followed elsewhere, and a token counts only
//! when every part of it is what was asked for and a certificate of the trust file has signed it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use axum::http::{Request, StatusCode};
use custodia_format::trust::TrustFile;
use custodia_format::{Hash, limits};
use custodia_verify::time_stamp::{Query, Reply, TimeStamp, Token, TokenError, TsaCertificate};
use http_body_util::BodyExt;

use super::Service;
use crate::edge;
use crate::failure::{Code, Failure};

/// How long a service may take for its whole answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer: a token, and what the service says of it.
pub(super) const ANSWER_BYTES: usize = limits::TOKEN_BYTES + 4096;
/// Seconds by which a token's time may differ from this machine's before that is remarked.
const CLOCK_SLACK: u64 = 300;
/// What is said wherever a service fails: nothing depends on it.
const SAFE: &str = "No token was stored. Nothing waits for one: what was signed and received is as safe as before.";

/// The certificates of the trust file under which a token can count, by fingerprint.
pub(crate) type Certificates = BTreeMap<Hash, TsaCertificate>;

/// Reads the `tsa` lines.
pub(crate) fn certificates(trust: &TrustFile) -> Result<Certificates, Failure> {
    let mut known = Certificates::new();
    let mut refused = None;
    for der in &trust.tsas {
        match TsaCertificate::parse(der) {
            Ok(certificate) => drop(known.insert(certificate.fingerprint, certificate)),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    if !known.is_empty() {
        return Ok(known);
    }
    Err(Failure::new(Code::Tsa, "No time-stamping authority is trusted here, so no token would count.")
        .instead_of("a tsa line in the trust file", refused.unwrap_or_else(|| "none".to_owned()))
        .safe("No service was asked.")
        .next("custodia trust tsa CERTIFICATE --fingerprint F"))
}

/// A token that counts.
#[derive(Debug, Clone)]
pub(super) struct Got {
    /// Its bytes.
    pub(super) token: Vec<u8>,
    /// What it says.
    pub(super) stamp: TimeStamp,
    /// What is odd about its time.
    pub(super) remark: Option<String>,
}

/// Asks for a token over this SHA-256.
///
/// # Errors
/// [`Code::TsaNet`] when no answer came that can be looked at, [`Code::Tsa`] when one came that does not count.
pub(super) async fn ask(service: &Service, trusted: &Certificates, stamped: &Hash) -> Result<Got, Failure> {
    let query = Query::new(*stamped, *edge::random::<8>()?, service.policy);
    let answer = tokio::time::timeout(ANSWER, exchange(service, &query)).await;
    let answer = answer.unwrap_or_else(|_| Err(no_answer(service, "an answer within 10 s", "none in that time")))?;
    let got = judge(service, trusted, &query, &answer)?;
    Ok(Got { remark: remark(&got.stamp), ..got })
}

async fn exchange(service: &Service, query: &Query) -> Result<Vec<u8>, Failure> {
    let broken = |error: &dyn Display| no_answer(service, "an answer over HTTP", error);
    let request = Request::post(&service.place.path)
        .header(HOST, &service.place.host)
        .header(CONTENT_TYPE, "application/timestamp-query")
        .header(ACCEPT, "application/timestamp-reply")
        .header(CONNECTION, "close")
        .body(Body::from(query.print()))
        .map_err(|error| broken(&error))?;
    let mut sender = service.place.connect().await.map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        let followed = if response.status().is_redirection() { ", which is not followed" } else { "" };
        return Err(no_answer(service, "status 200", format!("{status}{followed}")));
    }
    let said = response.headers().get(CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or("none").to_owned();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/timestamp-reply") {
        return Err(no_answer(service, "the content type application/timestamp-reply", &said));
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        if bytes.len() > ANSWER_BYTES {
            return Err(no_answer(service, format!("at most {ANSWER_BYTES} bytes"), "more"));
        }
    }
    Ok(bytes)
}

/// Holds an answer against what was asked.
pub(super) fn judge(service: &Service, trusted: &Certificates, query: &Query, answer: &[u8]) -> Result<Got, Failure> {
    let reply = Reply::read(answer).map_err(|error| refused(service, "an answer of RFC 3161", error))?;
    let bytes = reply.token.ok_or_else(|| refused(service, "that the token is granted", &reply.words))?;
    let token = Token::read(bytes).map_err(|error| refused(service, "a token of RFC 3161", error))?;
    let shown = |nonce: Option<&[u8]>| nonce.map_or("none".to_owned(), custodia_format::text::to_hex);
    if token.nonce() != Some(query.nonce.as_slice()) {
        let expected = format!("the nonce {}", shown(Some(&query.nonce)));
        return Err(refused(service, expected, shown(token.nonce())));
    }
    if let Some(policy) = query.policy.filter(|policy| *policy != token.policy()) {
        return Err(refused(service, format!("the policy {policy}"), token.policy()));
    }
    let certificate = token.certificate().and_then(|named| trusted.get(&named)).ok_or_else(|| {
        let expected = trusted.values().map(|one| format!("{} ({})", one.fingerprint, one.subject)).collect::<Vec<_>>();
        let found =
            token.certificate().map_or("one that is not named by SHA-256".to_owned(), |named| named.to_string());
        let failure = refused(service, format!("a certificate of the trust file: {}", expected.join(", ")), found);
        failure.next("ask the authority for its new certificate, then custodia trust tsa CERTIFICATE --fingerprint F")
    })?;
    match token.check(certificate, &query.imprint) {
        Ok(stamp) => Ok(Got { token: bytes.to_vec(), stamp: stamp.get().clone(), remark: None }),
        Err(TokenError::OtherText { found }) => {
            Err(refused(service, format!("a token over {}", query.imprint), format!("one over {found}")))
        }
        Err(error) => Err(refused(service, format!("a token of {}", certificate.subject), error)),
    }
}

/// A service is believed in its time, which is what it is for; that ours is another is worth a word.
fn remark(stamp: &TimeStamp) -> Option<String> {
    let ahead = stamp.time.unix() - edge::now().unix();
    let (by, how) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
    (by > CLOCK_SLACK).then(|| format!("its clock is {by} s {how} this machine's"))
}

fn no_answer(service: &Service, expected: impl Into<String>, found: impl Display) -> Failure {
    Failure::new(Code::TsaNet, "The time-stamping service does not answer as it must.")
        .at(service)
        .instead_of(expected, cut(found))
        .safe(SAFE)
        .next("nothing: it is asked again by itself while the node serves")
        .next("or look at the address in the section [time-stamps] of custodia.toml, then custodia ledger timestamp")
}

fn refused(service: &Service, expected: impl Into<String>, found: impl Display) -> Failure {
    Failure::new(Code::Tsa, "The time-stamping service gave no token that counts.")
        .at(service)
        .instead_of(expected, cut(found))
        .safe(SAFE)
        .next("ask whoever runs the service, or name another one in the section [time-stamps] of custodia.toml")
}

/// Foreign words, as many as a person reads.
fn cut(found: impl Display) -> String {
    found.to_string().chars().take(300).collect()
}
