//! A client that shows and asks for what a test wants, in place of our own.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

use std::sync::Arc;

use custodia_format::key::SigningKey;
use custodia_net::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};

use crate::memory::transport_key;

/// What a client shows and asks for; the good one is let in.
pub struct Client {
    pub seed: u8,
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    pub alpn: Option<&'static [u8]>,
    pub shows: Shows,
    pub early_data: bool,
    pub version: &'static SupportedProtocolVersion,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    RawKey,
    X509,
    Nothing,
}

impl Client {
    /// The one that is let in, where this seed's key is known.
    pub fn good(seed: u8) -> Self {
        Self {
            seed,
            groups: vec![kx_group::X25519MLKEM768],
            alpn: Some(ALPN),
            shows: Shows::RawKey,
            early_data: false,
            version: &rustls::version::TLS13,
        }
    }

    /// The TLS that it speaks.
    pub fn tls(&self) -> ClientConfig {
        let provider = CryptoProvider { kx_groups: self.groups.clone(), ..aws_lc_rs::default_provider() };
        let provider = Arc::new(provider);
        let key = certified(&provider, &transport_key(self.seed));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(Arc::new(Resolver { key, shows: self.shows }));
        config.alpn_protocols = self.alpn.map(<[u8]>::to_vec).into_iter().collect();
        config.enable_early_data = self.early_data;
        config.resumption = Resumption::in_memory_sessions(16);
        config
    }
}

fn certified(provider: &CryptoProvider, key: &SigningKey) -> Arc<CertifiedKey> {
    let pkcs8 = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], key.seed()].concat();
    let signer = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8))).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(key.public().to_spki_der().to_vec())], signer))
}

#[derive(Debug)]
struct Resolver {
    key: Arc<CertifiedKey>,
    shows: Shows,
}

impl std::fmt::Debug for Shows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shows")
    }
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
