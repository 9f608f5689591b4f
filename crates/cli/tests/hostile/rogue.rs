//! A peer that was met, with all its keys and a ledger of its own, that says whatever it likes at whatever time.

use std::net::SocketAddr;
use std::path::PathBuf;

use custodia_exchange::message::{Cards, ErrorBody, Follows, Message, More, Want, Wish};
use custodia_exchange::stream::{First, StreamHeader};
use custodia_exchange::{AddCheckpoint, Code, Cosigned, Document, FrameReader, Hello, Refused, Signed};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::checkpoint::cosign;
use custodia_format::envelope::Envelope;
use custodia_format::key::SigningKey;
use custodia_format::kind::Kind;
use custodia_format::note::Note;
use custodia_format::proof::{Proof, ProofStatement};
use custodia_format::statement::{Package, Statement, StatementId};
use custodia_format::tlog_proof::TlogProof;
use custodia_ledger::{Folder, Ledger, Shelf};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};

use crate::caller::{Caller, within};
use crate::support::Authority;

/// The rogue: its node does not run, and this test works on its home.
pub struct Rogue {
    pub name: String,
    home: PathBuf,
    ledger: Ledger,
    transport: SigningKey,
    pub statement: SigningKey,
    officer: SigningKey,
    witness: SigningKey,
    ids: std::sync::atomic::AtomicU64,
}

/// The rogue in a session.
pub struct Inside {
    pub connection: Connection,
    pub send: SendStream,
    pub recv: RecvStream,
    reader: FrameReader,
    /// Streams that stay open, and say nothing.
    kept: Vec<SendStream>,
    witness: SigningKey,
    name: String,
}

impl Rogue {
    pub fn of(authority: &Authority) -> Self {
        let public = std::fs::read_to_string(authority.home.join("ledger/checkpoint")).unwrap();
        let origin = public.lines().next().unwrap().to_owned();
        let ledger = Ledger::open(Folder::open(&authority.home).unwrap(), &origin, authority.key("ledger")).unwrap();
        Self {
            name: authority.name.clone(),
            home: authority.home.clone(),
            ledger,
            transport: authority.key("transport"),
            statement: authority.key("statement"),
            officer: authority.key("officer-O-1"),
            witness: authority.key("witness"),
            ids: std::sync::atomic::AtomicU64::new(1),
        }
    }

    /// Who calls with its key.
    pub fn caller(&self) -> Caller {
        Caller::new(SigningKey::from_seed(self.transport.seed()))
    }

    /// The statements of its ledger, in order.
    pub fn statements(&self) -> Vec<(u64, Hash, Statement)> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.join(Shelf::Statement.folder())];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                if entry.file_name().unwrap().as_encoded_bytes().starts_with(b".") {
                    // Not whole yet: the ledger writes out beside us.
                    continue;
                }
                let bytes = std::fs::read(entry).unwrap();
                let statement = Statement::parse(&Envelope::parse(&bytes).unwrap()).unwrap();
                if let Some(index) = self.ledger.index_of_digest(&Hash::of(&bytes)) {
                    found.push((index, Hash::of(&bytes), statement));
                }
            }
        }
        found.sort_by_key(|(index, ..)| *index);
        found
    }

    /// Its releases, the oldest first.
    pub fn released(&self) -> Vec<(Hash, Statement)> {
        let releases = self.statements().into_iter().filter(|(.., it)| it.head.kind == Kind::Release);
        releases.map(|(_, digest, it)| (digest, it)).collect()
    }

    /// A statement of its ledger, with the proof.
    pub fn signed(&self, digest: &Hash) -> Signed {
        let envelope = self.ledger.document(Shelf::Statement, digest).unwrap().unwrap();
        Signed { envelope, tlog_proof: self.proof(digest).print().into_bytes() }
    }

    fn proof(&self, digest: &Hash) -> TlogProof {
        let checkpoint = self.ledger.checkpoint();
        let index = self.ledger.index_of_digest(digest).unwrap();
        let hashes = self.ledger.prove(index, checkpoint.checkpoint().size).unwrap();
        TlogProof { extra: None, index, hashes, checkpoint: checkpoint.note().clone() }
    }

    /// Signs and logs another statement like this one.
    pub fn says(&self, like: &Statement, change: impl FnOnce(&mut Statement)) -> Signed {
        let envelope = self.signs(like, change);
        self.logs(envelope.print().into_bytes())
    }

    pub fn signs(&self, like: &Statement, change: impl FnOnce(&mut Statement)) -> Envelope {
        let mut statement = like.clone();
        statement.head.id = self.next_id();
        change(&mut statement);
        statement.sign(&[&self.statement, &self.officer]).unwrap()
    }

    /// The same id, and whatever else was put into it.
    pub fn signs_as_is(&self, statement: &Statement) -> Envelope {
        statement.sign(&[&self.statement, &self.officer]).unwrap()
    }

    pub fn logs(&self, bytes: Vec<u8>) -> Signed {
        let appended = self.ledger.append(vec![custodia_ledger::Document { shelf: Shelf::Statement, bytes }]).unwrap();
        self.signed(&appended[0].digest)
    }

    /// Its cards, delegations and revocations, as they travel.
    pub fn cards(&self) -> Vec<Vec<u8>> {
        let kinds = [Kind::Card, Kind::Delegation, Kind::Revocation];
        let cards = self.statements().into_iter().filter(|(.., it)| kinds.contains(&it.head.kind));
        let document = |digest| {
            let signed: Signed = self.signed(&digest);
            [&signed.envelope, b"\n".as_slice(), &signed.tlog_proof].concat()
        };
        cards.map(|(_, digest, _)| document(digest)).collect()
    }

    pub fn hello(&self) -> Hello {
        let (_, card, _) = self.statements().into_iter().rfind(|(.., it)| it.head.kind == Kind::Card).unwrap();
        let checkpoint = self.ledger.checkpoint();
        let origin = checkpoint.checkpoint().origin.clone();
        Hello { card, origin, size: checkpoint.checkpoint().size, held_card: None, held_checkpoint: Vec::new() }
    }

    /// A checkpoint to be cosigned, proven from a size on.
    pub fn add_checkpoint(&self, old: u64) -> Message {
        let checkpoint = self.ledger.checkpoint();
        let size = checkpoint.checkpoint().size;
        let proof = if old == 0 || old >= size { Vec::new() } else { self.ledger.consistency(old, size).unwrap() };
        Message::AddCheckpoint(AddCheckpoint { old, proof, checkpoint: checkpoint.note().print().into_bytes() })
    }

    /// What lies in its home of a package: the manifest's bytes.
    pub fn manifest(&self, package: &Package) -> Vec<u8> {
        let name = package.root.to_string();
        std::fs::read(self.home.join("manifests").join(&name[..2]).join(format!("{name}.jsonl"))).unwrap()
    }

    /// The history of one of its releases, as an honest node makes it: what it said of that package, and its cards.
    pub fn history(&self, package: &Package) -> Proof {
        let is_of = |it: &Statement| it.head.package.is_none_or(|of| of == *package);
        let statements = self.statements().into_iter().filter(|(.., it)| is_of(it));
        let statements = statements.map(|(_, digest, _)| ProofStatement {
            envelope: Some(String::from_utf8(self.signed(&digest).envelope).unwrap()),
            digest,
            tlog_proof: Some(self.proof(&digest)),
            entry: None,
        });
        Proof {
            package: *package,
            statements: statements.collect(),
            anchors: Vec::new(),
            tokens: Vec::new(),
            disclosure: None,
            annexes: Vec::new(),
        }
    }

    /// Shakes hands and opens the control stream, and says nothing.
    pub async fn calls(&self, node: SocketAddr) -> Inside {
        self.calls_as(&self.caller(), node).await
    }

    pub async fn calls_as(&self, caller: &Caller, node: SocketAddr) -> Inside {
        let connection = caller.connects(node).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        self.inside(connection, send, recv)
    }

    pub fn inside(&self, connection: Connection, send: SendStream, recv: RecvStream) -> Inside {
        let witness = SigningKey::from_seed(self.witness.seed());
        Inside {
            connection,
            send,
            recv,
            reader: FrameReader::new(),
            kept: Vec::new(),
            witness,
            name: self.name.clone(),
        }
    }

    /// An id that no other statement of this process has.
    pub fn next_id(&self) -> StatementId {
        let number = self.ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        StatementId::new((u128::from(number) << 64 | u128::from(std::process::id())).to_be_bytes())
    }

    /// Goes through the opening as an honest node does: from here on packages may be spoken of.
    pub async fn enters(&self, node: SocketAddr) -> Inside {
        let inside = self.calls(node).await;
        self.opens(inside).await
    }

    pub async fn opens(&self, mut inside: Inside) -> Inside {
        inside.says(&Message::Hello(self.hello())).await;
        inside.says(&Message::Cards(Cards { envelopes: self.cards(), more: More::No })).await;
        inside.says(&Message::Notes(Vec::new())).await;
        inside.says(&self.add_checkpoint(0)).await;
        let mut has_cosigned = false;
        let mut is_cosigned = false;
        while !(has_cosigned && is_cosigned) {
            match inside.next().await.unwrap() {
                Message::Cosigned(Cosigned::Lines(_)) => is_cosigned = true,
                Message::Cosigned(Cosigned::Conflict { size }) => inside.says(&self.add_checkpoint(size)).await,
                Message::Cosigned(refused) => panic!("{refused:?}"),
                Message::AddCheckpoint(add) => {
                    inside.cosigns(&add).await;
                    has_cosigned = true;
                }
                Message::Hello(_) | Message::Cards(_) | Message::Notes(_) => {}
                other => panic!("{other:?}"),
            }
        }
        inside
    }
}

impl Inside {
    pub async fn says(&mut self, message: &Message) {
        let bytes = message.to_frame().to_bytes().unwrap();
        self.says_bytes(&bytes).await;
    }

    /// A connection that is closed meanwhile is found when something is heard.
    pub async fn says_bytes(&mut self, bytes: &[u8]) {
        let _ = self.send.write_all(bytes).await;
    }

    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> Result<Message, ConnectionError> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Ok(Message::parse(&frame).unwrap());
            }
            match within(self.recv.read(&mut buffer)).await {
                Ok(Some(bytes)) => self.reader.push(&buffer[..bytes]),
                Ok(None) | Err(_) => return Err(within(self.connection.closed()).await),
            }
        }
    }

    /// The next frame that is not about checkpoints, which are cosigned, nor an answer that is owed from before.
    pub async fn hears(&mut self) -> Result<Message, ConnectionError> {
        loop {
            match self.next().await? {
                Message::AddCheckpoint(add) => self.cosigns(&add).await,
                Message::Cosigned(_) | Message::Proven(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// How the node refuses what was said last.
    pub async fn is_refused(&mut self) -> Refused {
        loop {
            match self.hears().await.unwrap() {
                Message::Error(error) => return error.refused(),
                // What it owed from before.
                Message::Statement(signed) => self.says(&Message::Kept(signed.digest())).await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// How the node ends a transfer, whatever it asks for before.
    pub async fn is_ended(&mut self) -> Code {
        loop {
            match self.hears().await.unwrap() {
                Message::Error(error) => return error.refused().code,
                Message::Statement(signed) => self.says(&Message::Kept(signed.digest())).await,
                Message::Want(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// With which number the node closes, whatever it says before.
    pub async fn is_closed(&mut self) -> Option<u64> {
        loop {
            if let Err(error) = self.hears().await {
                return crate::caller::code(&error);
            }
        }
    }

    async fn cosigns(&mut self, add: &AddCheckpoint) {
        let note = Note::parse(&add.checkpoint).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let line = cosign(&note.text, &self.name, &self.witness, now).unwrap();
        let text = note.text.clone();
        let printed = Note { text: text.clone(), lines: vec![line] }.print();
        let lines = printed.strip_prefix(&format!("{text}\n")).unwrap().as_bytes().to_vec();
        self.says(&Message::Cosigned(Cosigned::Lines(lines))).await;
    }

    /// Announces a release, and takes the consignment: from here on the node asks for what it covers.
    pub async fn releases(&mut self, release: &Signed) -> Signed {
        self.says(&Message::Statement(release.clone())).await;
        loop {
            match self.hears().await.unwrap() {
                Message::Statement(signed) => {
                    self.says(&Message::Kept(signed.digest())).await;
                    let statement = Statement::parse(&Envelope::parse(&signed.envelope).unwrap()).unwrap();
                    if statement.head.in_reply_to == Some(release.digest()) {
                        assert!(matches!(statement.body, Body::Consignment(_) | Body::Receipt(_)));
                        return signed;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next thing that the node wants.
    pub async fn is_wanted(&mut self) -> Want {
        loop {
            match self.hears().await.unwrap() {
                Message::Want(want) => return want,
                Message::Statement(signed) => self.says(&Message::Kept(signed.digest())).await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Gives the node a document that it wants.
    pub async fn gives(&mut self, release: Hash, root: Hash, document: Document, bytes: &[u8]) {
        self.follows(release, document, bytes.len() as u64).await;
        self.sends_document(root, document, bytes).await;
    }

    /// Announces a document and opens its stream, and sends nothing of it.
    pub async fn gives_nothing(&mut self, release: Hash, root: Hash, document: Document, bytes: u64) {
        self.follows(release, document, bytes).await;
        let mut stream = self.connection.open_uni().await.unwrap();
        let header = StreamHeader { root, first: First::Document(document) };
        stream.write_all(&header.to_bytes()).await.unwrap();
        self.kept.push(stream);
    }

    /// The stream of a document, however it was announced.
    pub async fn sends_document(&mut self, root: Hash, document: Document, bytes: &[u8]) {
        let header = StreamHeader { root, first: First::Document(document) };
        let mut stream = self.connection.open_uni().await.unwrap();
        // It may be stopped, when the node does not want the end of it.
        let _ = stream.write_all(&[&header.to_bytes(), bytes].concat()).await;
        let _ = stream.finish();
    }

    pub async fn follows(&mut self, release: Hash, document: Document, bytes: u64) {
        self.says(&Message::Follows(Follows { release, document, bytes })).await;
    }

    /// Waits until the node wants this document: what comes before it is asked for ends the session.
    pub async fn is_asked_for(&mut self, document: Document) {
        while self.is_wanted().await.what != Wish::Document(document) {}
    }

    /// Gives the node both documents of a release, and says what it wants of the content then.
    pub async fn gives_documents(&mut self, rogue: &Rogue, release: Hash, package: &Package) -> Want {
        loop {
            let want = self.is_wanted().await;
            match want.what {
                Wish::Document(Document::History) => {
                    let history = rogue.history(package).print().into_bytes();
                    self.gives(release, package.root, Document::History, &history).await;
                }
                Wish::Document(Document::Manifest) => {
                    self.gives(release, package.root, Document::Manifest, &rogue.manifest(package)).await;
                }
                Wish::Ranges(_) => return want,
            }
        }
    }

    /// Opens the stream that answers a want of content.
    pub async fn answers(&self, root: Hash, want: &Want) -> SendStream {
        let Wish::Ranges(ranges) = &want.what else { panic!("{want:?}") };
        let first =
            First::Chunks { record: ranges[0].record, first_chunk: ranges[0].first_chunk, count: ranges[0].count };
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(&StreamHeader { root, first }.to_bytes()).await.unwrap();
        stream
    }

    /// Ends a transfer as an honest node may.
    pub async fn cancels(&mut self, about: Hash) {
        self.says(&Message::Error(ErrorBody::new(Refused::new(Code::Internal), Some(about)))).await;
    }
}
