//! The rogue where its card says that it is, called by the node that has something for it.

use std::sync::Arc;

use custodia_exchange::Signed;
use custodia_exchange::message::Message;
use custodia_format::body::{Body, Consignment, Receipt};
use custodia_format::envelope::Envelope;
use custodia_format::kind::Kind;
use custodia_format::statement::{Head, Statement};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::caller::within;
use crate::identity::certified;
use crate::rogue::{Inside, Rogue};
use crate::support::Authority;

/// The rogue's socket.
pub struct Listener(quinn::Endpoint);

impl Listener {
    /// Takes the address of the rogue's card. The node may send so many bytes on a stream before they are read.
    pub fn of(rogue: &Rogue, authority: &Authority, window: u32) -> Self {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let key = certified(&provider, &rogue.caller().key);
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        config.alpn_protocols = vec![custodia_net::ALPN.to_vec()];
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(window)).max_concurrent_uni_streams(VarInt::from_u32(10_000));
        config.transport_config(Arc::new(transport));
        Self(quinn::Endpoint::server(config, authority.address.parse().unwrap()).unwrap())
    }

    /// Takes one call: the handshake, and not a word.
    pub async fn takes_a_call(&self) -> Connection {
        within(self.0.accept()).await.unwrap().await.unwrap()
    }

    /// Takes one call, and goes through the opening.
    pub async fn is_called(&self, rogue: &Rogue) -> Inside {
        let connection = self.takes_a_call().await;
        let (send, recv) = within(connection.accept_bi()).await.unwrap();
        rogue.opens(rogue.inside(connection, send, recv)).await
    }
}

impl Rogue {
    /// A statement of its machine that answers a release to it.
    pub fn answers(&self, release: &Signed, body: Body) -> Signed {
        let released = Statement::parse(&Envelope::parse(&release.envelope).unwrap()).unwrap();
        let (.., delegation) = self.statements().into_iter().find(|(.., it)| it.head.kind == Kind::Delegation).unwrap();
        let head = Head {
            kind: body.kind().unwrap(),
            id: self.next_id(),
            officer: None,
            signers: Vec::new(),
            in_reply_to: Some(release.digest()),
            package: released.head.package,
            sequence: Some(0),
            previous: None,
            annex: None,
            ..delegation.head
        };
        let envelope = Statement { head, body }.sign(&[&self.statement]).unwrap();
        self.logs(envelope.print().into_bytes())
    }

    pub fn consigns(&self, release: &Signed) -> Signed {
        self.answers(release, Body::Consignment(Consignment { release: release.digest() }))
    }

    pub fn receipts(&self, release: &Signed, bytes: u64) -> Signed {
        let released = Statement::parse(&Envelope::parse(&release.envelope).unwrap()).unwrap();
        let Body::Release(body) = released.body else { panic!() };
        let receipt = Receipt { release: release.digest(), items: body.items, bytes, findings: Vec::new() };
        self.answers(release, Body::Receipt(receipt))
    }
}

impl Inside {
    /// The release that the node announces.
    pub async fn is_released_to(&mut self) -> Signed {
        loop {
            match self.hears().await.unwrap() {
                Message::Statement(signed) => {
                    let statement = Statement::parse(&Envelope::parse(&signed.envelope).unwrap()).unwrap();
                    if matches!(statement.body, Body::Release(_)) {
                        return signed;
                    }
                    self.says(&Message::Kept(signed.digest())).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Takes whoever calls: it is the node that is tested.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
