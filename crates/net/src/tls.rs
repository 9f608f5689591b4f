//! The handshake: TLS 1.3 alone, raw public keys on both sides, one key exchange (docs/spec/wire.md §2).
//!
//! A peer is the Ed25519 key that its card names: there are no certificates, no names and no authorities to trust. What
//! could carry state from one connection into the next (tickets, 0-RTT) or tell an onlooker whom we call (the server's
//! name) is off.
//!
//! # Standard
//! RFC 8446, RFC 7250, draft-ietf-tls-ecdhe-mlkem (X25519MLKEM768), RFC 8410 for the keys.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use custodia_format::key::{PublicKey, SigningKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

/// The protocol's name in the handshake; another version is another name.
pub const ALPN: &[u8] = b"custodia/1";

/// The same protocol over TCP, where streams are framed otherwise (docs/spec/wire.md §8).
pub const ALPN_TCP: &[u8] = b"custodia/1+tcp";

/// A neutral name for the API's sake: it is never sent.
pub(crate) const NO_NAME: &str = "custodia.invalid";

/// DER that precedes the 32 seed bytes in an Ed25519 PKCS#8 version 1 (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Decides in the handshake whether a client's key is anybody's.
pub(crate) type KnowsKey = Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>;

/// Our side's TLS could not be set up. Our own fault: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the transport key or its configuration: {0}")]
pub struct TlsSetup(#[from] Error);

/// Everything that a handshake may use, and nothing else.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

/// The server's side: any key that `knows` calls somebody's. Both roads have the same, but for the protocol's name.
pub(crate) fn server(key: &SigningKey, knows: KnowsKey, alpn: &[u8]) -> Result<ServerConfig, TlsSetup> {
    let provider = Arc::new(provider());
    let certified = certified(&provider, key)?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(KnownClients { knows, provider }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The client's side: only the keys that the peer's card gives. What else was shown is left in the [`Pin`].
pub(crate) fn client(key: &SigningKey, pin: &Arc<Pin>, alpn: &[u8]) -> Result<ClientConfig, TlsSetup> {
    let provider = Arc::new(provider());
    let certified = certified(&provider, key)?;
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServer { pin: pin.clone(), provider }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// The key pair as rustls takes it: for raw public keys the "certificate" is the SubjectPublicKeyInfo.
fn certified(provider: &CryptoProvider, key: &SigningKey) -> Result<Arc<CertifiedKey>, TlsSetup> {
    let mut pkcs8 = PKCS8_PREFIX.to_vec();
    pkcs8.extend_from_slice(key.seed());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let signer = provider.key_provider.load_private_key(private)?;
    let spki = CertificateDer::from(key.public().to_spki_der().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![spki], signer)))
}

/// The one key of a raw-public-key identity.
pub(crate) fn key_of(identity: &CertificateDer<'_>) -> Option<PublicKey> {
    PublicKey::from_spki_der(identity).ok()
}

/// The keys that a peer's card gives it, and the strange one that was shown instead.
#[derive(Debug)]
pub(crate) struct Pin {
    expected: BTreeSet<PublicKey>,
    shown: Mutex<Option<PublicKey>>,
}

impl Pin {
    pub(crate) fn new(expected: impl IntoIterator<Item = PublicKey>) -> Arc<Self> {
        Arc::new(Self { expected: expected.into_iter().collect(), shown: Mutex::new(None) })
    }

    /// The key that was shown and is none of the card's, after a handshake that failed for it.
    pub(crate) fn stranger(&self) -> Option<PublicKey> {
        *self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn admits(&self, key: PublicKey) -> bool {
        if self.expected.contains(&key) {
            return true;
        }
        *self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(key);
        false
    }
}

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    identity: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(identity.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signed, &provider.signature_verification_algorithms)
}

/// Admits the one peer that is being called.
struct PinnedServer {
    pin: Arc<Pin>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for PinnedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedServer").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let admitted = key_of(end_entity).is_some_and(|key| self.pin.admits(key));
        if admitted { Ok(ServerCertVerified::assertion()) } else { Err(refused()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _identity: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        identity: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, identity, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Admits whom the host knows.
struct KnownClients {
    knows: KnowsKey,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for KnownClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownClients").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for KnownClients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = key_of(end_entity).is_some_and(|key| (self.knows)(&key));
        if known { Ok(ClientCertVerified::assertion()) } else { Err(refused()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _identity: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        identity: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, identity, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, NamedGroup, ProtocolVersion, ServerConnection};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn connections(pinned: u8, known: u8) -> (ClientConnection, ServerConnection) {
        let pin = Pin::new([key(pinned).public()]);
        let known = key(known).public();
        let client = client(&key(1), &pin, ALPN).unwrap();
        let server = server(&key(2), Arc::new(move |key| *key == known), ALPN).unwrap();
        let name = ServerName::try_from(NO_NAME).unwrap();
        (ClientConnection::new(Arc::new(client), name).unwrap(), ServerConnection::new(Arc::new(server)).unwrap())
    }

    /// Moves bytes until both are done, or one refuses. Returns what the client sent first too.
    fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<Vec<u8>, Error> {
        let mut first = Vec::new();
        while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            client.write_tls(&mut to_server).unwrap();
            if first.is_empty() {
                first.clone_from(&to_server);
            }
            let mut bytes = to_server.as_slice();
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets()?;
            }
            server.write_tls(&mut to_client).unwrap();
            let mut bytes = to_client.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(first)
    }

    #[test]
    fn both_sides_agree_on_tls_13_and_the_hybrid_exchange_with_raw_keys() {
        let (mut client, mut server) = connections(2, 1);
        shake(&mut client, &mut server).unwrap();
        for group in [client.negotiated_key_exchange_group(), server.negotiated_key_exchange_group()] {
            assert_eq!(group.unwrap().name(), NamedGroup::X25519MLKEM768);
        }
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(server.alpn_protocol(), Some(ALPN));
        assert_eq!(key_of(&server.peer_certificates().unwrap()[0]), Some(key(1).public()));
        assert_eq!(key_of(&client.peer_certificates().unwrap()[0]), Some(key(2).public()));
    }

    #[test]
    fn the_first_flight_names_nobody() {
        let (mut client, mut server) = connections(2, 1);
        let first = shake(&mut client, &mut server).unwrap();
        assert!(!first.windows(NO_NAME.len()).any(|window| window == NO_NAME.as_bytes()));
        assert_eq!(server.server_name(), None);
    }

    #[test]
    fn a_server_with_another_key_is_refused_and_its_key_is_told() {
        let pin = Pin::new([key(3).public()]);
        assert!(pin.stranger().is_none());
        let config = client(&key(1), &pin, ALPN).unwrap();
        let name = ServerName::try_from(NO_NAME).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let (_, mut server) = connections(2, 1);
        shake(&mut client, &mut server).unwrap_err();
        assert_eq!(pin.stranger(), Some(key(2).public()));
    }

    #[test]
    fn an_unknown_client_is_refused() {
        let (mut client, mut server) = connections(2, 9);
        assert_eq!(shake(&mut client, &mut server).unwrap_err(), refused());
    }

    #[test]
    fn no_session_is_kept_and_no_early_data_taken() {
        let known = key(1).public();
        let config = server(&key(2), Arc::new(move |key| *key == known), ALPN).unwrap();
        assert_eq!((config.max_early_data_size, config.send_tls13_tickets), (0, 0));
        assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
        let pin = Pin::new([key(2).public()]);
        let config = client(&key(1), &pin, ALPN).unwrap();
        assert!(!config.enable_early_data && !config.enable_sni);
    }

    #[test]
    fn tls_12_is_refused() {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = PinnedServer { pin: Pin::new([key(2).public()]), provider: provider.clone() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = ServerName::try_from(NO_NAME).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let (_, mut server) = connections(2, 1);
        assert!(shake(&mut client, &mut server).is_err());
    }
}
