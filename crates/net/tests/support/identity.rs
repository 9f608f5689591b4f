//! What a caller shows as its identity, and one that believes whoever answers: the node that it calls is what is tested.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

use std::sync::Arc;

use custodia_format::key::SigningKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};

/// How a caller shows its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    RawKey,
    X509,
    Nothing,
}

/// The TLS of a caller with this key, that keeps whatever sessions it is offered. It names no protocol yet.
pub fn tls(
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
    key: &SigningKey,
    shows: Shows,
) -> ClientConfig {
    let provider = Arc::new(provider);
    let key = certified(&provider, key);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_cert_resolver(Arc::new(Resolver { key, shows }));
    config.resumption = Resumption::in_memory_sessions(16);
    config
}

/// A key as rustls takes it where it stands for itself.
pub fn certified(provider: &CryptoProvider, key: &SigningKey) -> Arc<CertifiedKey> {
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8 = PrivatePkcs8KeyDer::from([&prefix[..], key.seed()].concat());
    let signer = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(pkcs8)).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(key.public().to_spki_der().to_vec())], signer))
}

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    shows: Shows,
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        (self.shows != Shows::Nothing).then(|| self.key.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        self.shows == Shows::RawKey
    }

    fn has_certs(&self) -> bool {
        self.shows != Shows::Nothing
    }
}

/// Believes whoever answers: it is the node that is tested.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
