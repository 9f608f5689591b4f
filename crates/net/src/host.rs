//! What the network needs from the node: one trait, with all of its promises.
//!
//! Every method may block: it is called on a thread where that is allowed, never on the runtime's own threads, except
//! [`Host::peer_of`]. Methods are called from several threads at once. Nothing is called in parallel for one session
//! except the content methods of [`Outgoing`] and [`Incoming`].
//!
//! # Durability
//! A method that says *durable* returns only after what it took cannot be lost by a crash. The session sends nothing
//! that depends on it earlier.
//!
//! # Idempotence
//! Links break after any step, so everything is asked again: the same release gives the same consignment and the same
//! receipt, byte for byte, from the store, and a statement that is already kept is kept by doing nothing.

use std::io::Read;
use std::sync::Arc;

use custodia_exchange::{
    AddCheckpoint, Cosigned, Cursor, Document, Event, GivenBack, Hello, Received, Refused, Signed, Taken, Waits, Wanted,
};
use custodia_format::Hash;
use custodia_format::key::{KeyId, PublicKey};
use custodia_format::text::Label;

use crate::health::LinkNews;
use crate::link::Link;

/// Another authority's node, as the trust file and the cards name it. Never a name that came over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Key id of the authority's root key: its identity.
    pub root: KeyId,
    /// The name that our trust file gives it.
    pub name: Label,
}

/// What a node does for its sessions.
///
/// The detail of a fault belongs into the host's own trace; the peer is told the [`Refused`] code and no more.
pub trait Host: Send + Sync + 'static {
    /// Whose transport key this is: the authority on whose newest card, under a trusted root, it stands and is valid
    /// now; `None` refuses the handshake. Called in the handshake on the runtime's thread: memory only, no disk.
    fn peer_of(&self, key: &PublicKey) -> Option<Peer>;

    /// Our hello to this peer: newest card, newest durable checkpoint, and what we hold of the peer.
    ///
    /// # Errors
    /// A refusal ends the session, as with every method until `owed`.
    fn hello(&self, peer: &Peer) -> Result<Hello, Refused>;

    /// Reads the peer's hello. `held_checkpoint` is a note of *our* ledger that the peer cosigned: if our own signature
    /// on it verifies and it is ahead of ours, or of equal size with another root, we are rolled back: sign nothing more
    /// and answer `Code::RolledBack`.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn meet(&self, peer: &Peer, hello: &Hello) -> Result<(), Refused>;

    /// Our cards after `held`, delegations and revocations that this peer may lack; raw envelopes in reading order.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn cards(&self, peer: &Peer, held: Option<Hash>) -> Result<Vec<Vec<u8>>, Refused>;

    /// Verifies and stores the peer's cards, delegations and revocations. Durable. `newest` must be known afterwards.
    ///
    /// # Errors
    /// `Code::Cards` when the newest card is missing or does not follow from the trusted root.
    fn learn_cards(&self, peer: &Peer, newest: &Hash, envelopes: &[Vec<u8>]) -> Result<(), Refused>;

    /// What we know of ledgers and this peer may need, the most useful first: notes of its ledger, of ours, of others', each
    /// with all lines known for its text.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn notes(&self, peer: &Peer) -> Result<Vec<Vec<u8>>, Refused>;

    /// What the peer knows of ledgers. Only what the ledger's own key signed counts; what counts is durable when this
    /// returns, and nothing is cosigned in this session before. A note of *our* ledger that is ahead of ours says that we
    /// are rolled back, as in [`Host::meet`].
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn hear(&self, peer: &Peer, notes: &[Vec<u8>]) -> Result<(), Refused>;

    /// What this peer, who has lost a part of its history, asks back, from this document on: its own statements and those of
    /// ours to it, each with its proof, and the notes that these name. No more than one frame holds.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn give_back(&self, peer: &Peer, from: u64) -> Result<GivenBack, Refused>;

    /// What the peer gives back to us. What verifies is kept, durable; what does not is dropped.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn take_back(&self, peer: &Peer, given: &GivenBack) -> Result<(), Refused>;

    /// Our newest durable checkpoint: a whole note.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn checkpoint(&self, peer: &Peer) -> Result<Vec<u8>, Refused>;

    /// Consistency proof of our ledger between two sizes, `0 < old <= new <=` ours.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Refused>;

    /// Witnesses the peer's checkpoint (C2SP tlog-witness): check and store are one atomic step, durable. A status of
    /// 422 ends the session after it is sent; evidence of two histories is for the host to store.
    fn witness(&self, peer: &Peer, add: &AddCheckpoint) -> Cosigned;

    /// Verifies and stores cosignature lines under our checkpoint. Durable. Lines by unknown keys are dropped.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn keep_cosignatures(&self, peer: &Peer, checkpoint: &[u8], lines: &[u8]) -> Result<(), Refused>;

    /// Digests of our statements that this peer must still get (acceptances, refusals, unconfirmed receipts), oldest
    /// first. Asked once per session; each is sent, and [`Host::settled`] is told when the peer keeps it.
    fn owed(&self, peer: &Peer) -> Vec<Hash>;

    /// A statement of ours from the store, with a tlog-proof under a published checkpoint. Asked for releases too.
    ///
    /// # Errors
    /// `Code::NotHere`, if there is none that this peer may see.
    fn statement(&self, peer: &Peer, digest: &Hash) -> Result<Signed, Refused>;

    /// Statements of the peer, in the order in which they came; as many answers, durable. What is answered stands, as far as
    /// it is new, under one checkpoint.
    ///
    /// A release to us: verify (its issuer is this peer), log it, log our answer, the same for ever. `Err` ends this
    /// transfer, not the session: `Code::Busy`, `Code::NotForUs`, ….
    ///
    /// Any other: verify its signatures, its inclusion proof and that it is addressed to us; log it. Its `release` is the
    /// release of ours that it answers when that one is under way: for a receipt this is the moment of delivery. `Err` is
    /// told to the peer; it ends the transfer that the statement belongs to.
    fn take(&self, peer: &Peer, statements: &[Received]) -> Vec<Result<Taken, Refused>>;

    /// Every chunk of these releases, each of another package, is proven: make the content durable, log the receipts.
    /// Durable; for each release the same bytes for ever. `Err` ends that transfer, not the session.
    fn receipts(&self, peer: &Peer, releases: &[Hash]) -> Vec<Result<Signed, Refused>>;

    /// The peer confirms that it keeps our statement.
    ///
    /// # Errors
    /// [`Refused`], which ends the session.
    fn settled(&self, peer: &Peer, digest: &Hash) -> Result<(), Refused>;

    /// Opens what a release of ours covers, to be read by this peer. Asked once the consignment is kept.
    ///
    /// # Errors
    /// A refusal ends this transfer.
    fn outgoing(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Outgoing>, Refused>;

    /// Opens the transfer of a release to us, fresh or resumed. Asked once the consignment is durable.
    ///
    /// # Errors
    /// A refusal ends this transfer.
    fn incoming(&self, peer: &Peer, release: &Hash) -> Result<Arc<dyn Incoming>, Refused>;

    /// A peer has called, and its hello was read: what waits for it can go over this link, which ends when the caller ends it.
    /// Must not block.
    fn called(&self, link: Link) {
        let _ = link;
    }

    /// Told what the session with this peer waits for, and each package in it, whenever that changes; none when the session is over. Must not block.
    fn waits(&self, peer: &Peer, waits: Option<&Waits>) {
        let _ = (peer, waits);
    }

    /// Told about the connection under a session with this peer: that it is there, how it is, some times a second, and how it
    /// ended. Must not block.
    fn link(&self, peer: &Peer, news: &LinkNews) {
        let _ = (peer, news);
    }

    /// Told about progress, at most some hundred times a second. Must not block for long.
    fn observe(&self, peer: &Peer, event: &Event) {
        let _ = (peer, event);
    }
}

/// The content of a release of ours. Shared by the threads that read for one peer.
pub trait Outgoing: Send + Sync {
    /// Manifest root of the package: data streams name it.
    fn root(&self) -> Hash;

    /// A document from its first byte, and its length.
    ///
    /// # Errors
    /// `Code::NotHere`, if it is gone.
    fn document(&self, document: Document) -> Result<(u64, Box<dyn Read + Send>), Refused>;

    /// The item of a `file` record that the release covers.
    ///
    /// # Errors
    /// `Code::NotHere`: no such record, not released, erased, or not in the vault.
    fn item(&self, record: u64) -> Result<Box<dyn ItemBytes>, Refused>;
}

/// The bytes of one item.
pub trait ItemBytes: Send {
    /// Bytes as stored and carried.
    fn size(&self) -> u64;

    /// Its midstates, 32 bytes for each whole MiB, in order.
    ///
    /// # Errors
    /// What the file system says.
    fn midstates(&self) -> std::io::Result<Vec<u8>>;

    /// Fills the whole buffer from this offset; the caller never asks beyond the size.
    ///
    /// # Errors
    /// What the file system says; `UnexpectedEof` if the file is shorter than its size.
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()>;
}

/// A transfer to us. Shared by the threads that prove and write its chunks.
pub trait Incoming: Send + Sync {
    /// Manifest root of the package, from the verified release.
    fn root(&self) -> Hash;

    /// Records of the package, from the verified release.
    fn records(&self) -> u64;

    /// Where a document is to be written, `bytes` long; a shorter or longer one never reaches `finish`.
    ///
    /// # Errors
    /// `Code::Quota` or `Code::Storage`.
    fn document(&self, document: Document, bytes: u64) -> Result<Box<dyn DocumentSink>, Refused>;

    /// Chunks that are not yet proven, after the cursor in (record, chunk) order, at most `limit` ranges: a snapshot,
    /// without regard to what is under way. Empty items are never wanted. Only asked once the manifest is here.
    ///
    /// # Errors
    /// What the store says.
    fn wants(&self, after: Cursor, limit: usize) -> Result<Vec<Wanted>, Refused>;

    /// The midstates of a record, 32 bytes for each whole MiB: checked against the manifest, then kept.
    ///
    /// # Errors
    /// `Code::Chunk` if they do not close to the manifest's `midstates`; `Code::Storage`.
    fn midstates(&self, record: u64, midstates: &[u8]) -> Result<(), Refused>;

    /// One chunk, whole: proven against its midstates, then written. A chunk that is already proven is dropped.
    ///
    /// # Errors
    /// `Code::Chunk` if it does not prove (nothing is written; it will be asked for again); `Code::Storage`.
    fn chunk(&self, record: u64, chunk: u64, bytes: &[u8]) -> Result<(), Refused>;

    /// Bytes of the content that are proven here already, from earlier sessions and other packages. Only asked once the
    /// manifest is here.
    ///
    /// # Errors
    /// What the store says.
    fn proven(&self) -> Result<u64, Refused>;

    /// Records durably what is proven so far, so that it never travels again. Called when a link is lost and when the
    /// transfer pauses; between these the store syncs by itself, every 64 MiB or 5 s.
    ///
    /// # Errors
    /// `Code::Storage`.
    fn sync(&self) -> Result<(), Refused>;
}

/// Takes one document.
pub trait DocumentSink: Send {
    /// The next bytes.
    ///
    /// # Errors
    /// `Code::Storage`, `Code::Manifest` as soon as it is clear that it will not close.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused>;

    /// All bytes are here: verify that they close to the released root. Durable.
    ///
    /// # Errors
    /// `Code::Manifest` if they do not.
    fn finish(self: Box<Self>) -> Result<(), Refused>;
}
