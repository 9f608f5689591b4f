//! Packages on their way to us: documents checked before they are kept, chunks proven by the vault, the receipt signed
//! only when everything is durable.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use custodia_exchange::{Code as WireCode, Cursor, Document, Midstates, Refused, Wanted};
use custodia_format::body::{Body, Receipt};
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::ranges::Items;
use custodia_format::record::FileItem;
use custodia_format::statement::{Package, Statement};
use custodia_format::{Hash, limits};
use custodia_net::{DocumentSink, Incoming, Peer};
use custodia_vault::{IncomingError, ItemPlan, MidstatesHere, Missing, PlanError, Taken};

use crate::author::{self, BoundBy, Draft};
use crate::failure::{Code, Failure};
use crate::host::refused;
use crate::operations::answers::Carried;
use crate::outgoing::covered_bytes;
use crate::{Node, history, home, keys, packages};

/// A transfer to us as a session sees it.
struct Arrival {
    node: Arc<Node>,
    peer: KeyId,
    release: Hash,
    package: Package,
    items: Items,
    /// Opened when the manifest is here.
    transfer: OnceLock<Arc<custodia_vault::Incoming>>,
    /// There is a receipt: nothing is wanted any more.
    is_done: bool,
}

/// Whether the history and the manifest of a release to us are still missing.
pub(crate) fn needs(node: &Node, peer: &KeyId, release: &Hash, root: &Hash) -> (bool, bool) {
    (!history::path(node.home(), peer, release).is_file(), !node.home().manifest(root).is_file())
}

/// Opens the transfer of a release to us.
pub(crate) fn open(node: &Arc<Node>, peer: &Peer, release: &Hash) -> Result<Arc<dyn Incoming>, Failure> {
    let statement = release_to_us(node, release)?;
    let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package) else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release));
    };
    let is_done = receipt_of(node, release)?.is_some();
    Ok(Arc::new(Arrival {
        node: node.clone(),
        peer: peer.root,
        release: *release,
        package,
        items: body.items.clone(),
        transfer: OnceLock::new(),
        is_done,
    }))
}

/// A release to us that our ledger holds.
pub(crate) fn release_to_us(node: &Node, release: &Hash) -> Result<Statement, Failure> {
    author::statement(node, release)?
        .filter(|statement| history::is_to_us(node, &statement.body))
        .ok_or_else(|| Failure::new(Code::UnknownStatement, "There is no such release to this node.").at(release))
}

/// The digest of our receipt for a release.
pub(crate) fn receipt_of(node: &Node, release: &Hash) -> Result<Option<Hash>, Failure> {
    let answers = node.index().answers(release)?;
    let is_receipt = |row: &&custodia_index::Row| row.kind == Kind::Receipt.to_string() && author::is_own(node, row);
    Ok(answers.iter().find(is_receipt).map(|row| row.digest))
}

/// A transfer whose content is durable in the vault, and what its receipt is made of.
struct Arrived {
    release: Hash,
    package: Package,
    items: Items,
    bytes: u64,
    carried: Carried,
}

/// Everything of these releases is proven: makes the content durable, signs and logs the receipts in one commit. The same
/// receipts for ever. The releases are each of another package.
pub(crate) fn finish(node: &Arc<Node>, peer: &Peer, releases: &[Hash]) -> Vec<Result<Hash, Failure>> {
    let arrived = arrive_all(node, releases);
    let good: Vec<&Arrived> = arrived
        .iter()
        .filter_map(|arrival| match arrival {
            Ok(Arriving::Arrived(arrived)) => Some(arrived),
            _ => None,
        })
        .collect();
    let mut receipts = receipt(node, peer, &good).map(Vec::into_iter);
    let outcome = |arrival: Result<Arriving, Failure>| match arrival? {
        Arriving::Receipted(receipt) => Ok(receipt),
        Arriving::Arrived(arrived) => {
            let receipt = receipts.as_mut().map_err(|failure| failure.clone())?.next();
            let receipt = receipt.ok_or_else(|| Failure::new(Code::Internal, "A receipt was not made."))?;
            node.allowances().received(&peer.root, &arrived.release, arrived.bytes);
            clear_away(node, &arrived)?;
            Ok(receipt)
        }
    };
    arrived.into_iter().map(outcome).collect()
}

/// Threads that make the content of releases durable: each waits for the disk most of the time, and they share its flushes.
const ARRIVING: usize = 4;

/// How far a transfer is of which everything is proven.
enum Arriving {
    /// There is a receipt.
    Receipted(Hash),
    /// There is none yet.
    Arrived(Arrived),
}

fn arrive_all(node: &Arc<Node>, releases: &[Hash]) -> Vec<Result<Arriving, Failure>> {
    if releases.len() == 1 || custodia_disk::one_at_a_time() {
        return releases.iter().map(|release| arrive(node, release)).collect();
    }
    std::thread::scope(|scope| {
        let arrive = |part: &[Hash]| part.iter().map(|release| arrive(node, release)).collect::<Vec<_>>();
        let parts = releases.chunks(releases.len().div_ceil(ARRIVING));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || arrive(part))).collect();
        let joined = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(arrived) => arrived,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

/// Makes the content of a release durable.
fn arrive(node: &Arc<Node>, release: &Hash) -> Result<Arriving, Failure> {
    if let Some(receipt) = receipt_of(node, release)? {
        return Ok(Arriving::Receipted(receipt));
    }
    let statement = release_to_us(node, release)?;
    let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package) else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release));
    };
    let transfer = transfer(node, release, &package, &body.items)?;
    transfer.finish()?;
    // It may have been there already, named by a process that was killed before its name was on the disk.
    node.home().manifest(&package.root).parent().map_or(Ok(()), |folder| {
        home::make_folder(folder)?;
        home::sync_folder(folder)
    })?;
    let (items, carried) = (body.items.clone(), carried_of(&transfer));
    let bytes = covered_bytes(node, &package.root, &items)?;
    Ok(Arriving::Arrived(Arrived { release: *release, package, items, bytes, carried }))
}

/// Signs and logs the receipts of what has arrived, in its order; where there is one by now, that one.
fn receipt(node: &Node, peer: &Peer, arrived: &[&Arrived]) -> Result<Vec<Hash>, Failure> {
    if arrived.is_empty() {
        return Ok(Vec::new());
    }
    let key = keys::read(node.home(), keys::STATEMENT)?;
    let _desk = node.desk();
    let known = arrived.iter().map(|arrived| receipt_of(node, &arrived.release)).collect::<Result<Vec<_>, _>>()?;
    let missing = arrived.iter().zip(&known).filter(|(_, known)| known.is_none());
    let drafts: Vec<Draft> = missing
        .map(|(Arrived { release, package, items, bytes, .. }, _)| Draft {
            in_reply_to: Some(*release),
            package: Some(*package),
            bound_by: BoundBy::Reader(peer.root),
            ..Draft::of(Body::Receipt(Receipt {
                release: *release,
                items: items.clone(),
                bytes: *bytes,
                findings: Vec::new(),
            }))
        })
        .collect();
    let said = author::say_all(node, drafts, &[&key])?;
    said.iter().for_each(|_| node.meters().receipt_issued());
    let mut said = said.into_iter();
    let receipt = |known: Option<Hash>| known.or_else(|| said.next().map(|said| said.digest));
    let receipts: Option<Vec<Hash>> = known.into_iter().map(receipt).collect();
    receipts.ok_or_else(|| Failure::new(Code::Internal, "A receipt was not made."))
}

/// The receipt is in the ledger: what is left of the transfer is of no use any more.
fn clear_away(node: &Node, arrived: &Arrived) -> Result<(), Failure> {
    let written = serde_json::to_vec(&arrived.carried);
    let written = written.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    home::write_losable(&carried_path(node, &arrived.release), &written)?;
    Ok(node.vault().forget_transfer(&arrived.release)?)
}

/// Drops what a transfer left whose receipt was logged just before the power went.
pub(crate) fn sweep(node: &Node) -> Result<(), Failure> {
    for release in node.vault().transfers_on_disk()? {
        if receipt_of(node, &release)?.is_some() {
            node.vault().forget_transfer(&release)?;
        }
    }
    Ok(())
}

/// How much of a release to us has been carried. Kept after the end of the transfer too: no evidence, no case in it.
pub(crate) fn carried(
    node: &Node,
    release: &Hash,
    package: &Package,
    items: &Items,
) -> Result<Option<Carried>, Failure> {
    if let Some(bytes) = home::read_file(&carried_path(node, release), 4096)? {
        return Ok(serde_json::from_slice(&bytes).ok());
    }
    if !node.home().manifest(&package.root).is_file() || receipt_of(node, release)?.is_some() {
        return Ok(None);
    }
    transfer(node, release, package, items).map(|transfer| Some(carried_of(&transfer)))
}

fn carried_path(node: &Node, release: &Hash) -> PathBuf {
    node.home().desk().join("carried").join(format!("{release}.json"))
}

fn carried_of(transfer: &custodia_vault::Incoming) -> Carried {
    let stats = transfer.stats();
    Carried {
        bytes: stats.bytes,
        proven: stats.bytes_proven,
        travelled: stats.bytes_travelled,
        again: stats.bytes_again,
        reused: stats.bytes_reused,
    }
}

fn transfer(
    node: &Node,
    release: &Hash,
    package: &Package,
    items: &Items,
) -> Result<Arc<custodia_vault::Incoming>, Failure> {
    let plan = || {
        let mut plan = Vec::new();
        let read = packages::covered_items(node.home(), &package.root, items, |record, item| {
            plan.push(ItemPlan { record, size: item.size, sha256: item.sha256, midstates: item.midstates });
        });
        read.map(|()| plan).map_err(|failure| PlanError::Unreadable(Box::new(failure)))
    };
    Ok(node.vault().transfer(release, plan)?)
}

/// What peers bring leaves so much of the disk to what this node says: receipts, refusals, its own seals. A part of the
/// whole on a disk that is small.
const ROOM_KEPT: u64 = 64 << 20;
/// See [`ROOM_KEPT`].
const ROOM_KEPT_PART: u64 = 64;

/// Bytes that are kept for this node, and those that are free.
fn room(node: &Node) -> Result<(u64, u64), Failure> {
    let home = node.home().path();
    let disk = rustix::fs::statvfs(home).map_err(|error| Failure::io(&error.into(), home))?;
    let of = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok((ROOM_KEPT.min(of(disk.f_blocks) / ROOM_KEPT_PART), of(disk.f_bavail)))
}

/// Bytes of the disk below which nothing is taken of peers.
pub(crate) fn room_kept(node: &Node) -> Result<u64, Failure> {
    room(node).map(|(kept, _)| kept)
}

impl Arrival {
    /// Whether so much more can be written here without taking what this node needs itself.
    fn leaves_room(&self, bytes: u64) -> Result<(), Refused> {
        let home = self.node.home().path();
        let (kept, free) = room(&self.node).map_err(refused)?;
        let needed = kept.saturating_add(bytes);
        if needed <= free {
            return Ok(());
        }
        let failure =
            Failure::new(Code::DiskFull, "What a peer brings would take the last of the disk.").at(home.display());
        Err(refused(failure.instead_of(format!("{needed} bytes free"), format!("{free} bytes free"))))
    }

    fn transfer(&self) -> Result<&Arc<custodia_vault::Incoming>, Refused> {
        if let Some(transfer) = self.transfer.get() {
            return Ok(transfer);
        }
        let transfer = transfer(&self.node, &self.release, &self.package, &self.items).map_err(refused)?;
        let bytes = transfer.stats().bytes;
        self.node.allowances().may_bring(&self.node, &self.peer, &self.release, bytes)?;
        Ok(self.transfer.get_or_init(|| transfer))
    }
}

impl Incoming for Arrival {
    fn root(&self) -> Hash {
        self.package.root
    }

    fn records(&self) -> u64 {
        self.package.records
    }

    fn document(&self, document: Document, bytes: u64) -> Result<Box<dyn DocumentSink>, Refused> {
        let limit = match document {
            Document::History => history::HISTORY_BYTES,
            Document::Manifest => limits::MANIFEST_BYTES,
        };
        if bytes > limit {
            let failure = Failure::new(Code::Quota, "A peer offers a document that is longer than any.");
            return Err(refused(failure.instead_of(format!("at most {limit} bytes"), format!("{bytes} bytes"))));
        }
        self.leaves_room(bytes)?;
        let folder = self.node.vault().transfer_folder(&self.release).map_err(|error| refused(error.into()))?;
        let new = home::NewFile::inside(&folder).map_err(refused)?;
        let (node, peer, release, package) = (self.node.clone(), self.peer, self.release, self.package);
        Ok(Box::new(Sink { node, peer, release, package, document, new }))
    }

    fn wants(&self, after: Cursor, limit: usize) -> Result<Vec<Wanted>, Refused> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let missing = self.transfer()?.missing(after.record, after.chunk, limit).map_err(from_vault)?;
        Ok(missing.into_iter().map(wanted).collect())
    }

    fn proven(&self) -> Result<u64, Refused> {
        if self.is_done {
            return covered_bytes(&self.node, &self.package.root, &self.items).map_err(refused);
        }
        Ok(self.transfer()?.stats().bytes_proven)
    }

    fn midstates(&self, record: u64, midstates: &[u8]) -> Result<(), Refused> {
        self.transfer()?.take_midstates(record, midstates).map_err(from_vault)
    }

    fn chunk(&self, record: u64, chunk: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.leaves_room(bytes.len() as u64)?;
        let taken = self.transfer()?.take_chunk(record, chunk, bytes);
        match &taken {
            Ok(taken) => self.node.meters().chunk(bytes.len() as u64, *taken == Taken::Again),
            Err(IncomingError::NotProven { .. }) => self.node.meters().bad_chunk(bytes.len() as u64),
            Err(_) => {}
        }
        taken.map(drop).map_err(from_vault)
    }

    fn sync(&self) -> Result<(), Refused> {
        match self.transfer.get() {
            Some(transfer) => transfer.sync().map_err(from_vault),
            None => Ok(()),
        }
    }
}

fn wanted(missing: Missing) -> Wanted {
    Wanted {
        record: missing.record,
        size: missing.size,
        first_chunk: missing.first_chunk,
        count: missing.count,
        midstates: match missing.midstates {
            MidstatesHere::Yes => Midstates::Held,
            MidstatesHere::No => Midstates::Wanted,
        },
    }
}

/// A chunk that does not prove is the peer's and is asked for again; the rest ends the transfer.
fn from_vault(error: IncomingError) -> Refused {
    match error {
        IncomingError::NotProven { .. } | IncomingError::NotMidstates { .. } | IncomingError::MidstatesFirst { .. } => {
            tracing::warn!(%error, "content did not prove");
            WireCode::Chunk.into()
        }
        other => refused(other.into()),
    }
}

/// A document that is coming in.
struct Sink {
    node: Arc<Node>,
    peer: KeyId,
    release: Hash,
    package: Package,
    document: Document,
    new: home::NewFile,
}

impl DocumentSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let path = self.new.path().to_owned();
        self.new.file().write_all(bytes).map_err(|error| refused(Failure::io(&error, path)))
    }

    fn finish(self: Box<Self>) -> Result<(), Refused> {
        let Self { node, peer, release, package, document, new } = *self;
        let checked = match document {
            Document::History => check_history(&node, &release, &package, &new),
            Document::Manifest => check_manifest(&package, &new),
        };
        if let Err(failure) = checked {
            refused(failure);
            return Err(WireCode::Manifest.into());
        }
        let path = match document {
            Document::History => history::path(node.home(), &peer, &release),
            Document::Manifest => node.home().manifest(&package.root),
        };
        new.keep_as(&path).map_err(refused)
    }
}

/// Held while a history is read and verified: that takes several times its bytes, and several peers may send long ones.
static HISTORY: Mutex<()> = Mutex::new(());

fn check_history(node: &Node, release: &Hash, package: &Package, new: &home::NewFile) -> Result<(), Failure> {
    let _alone = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = home::read_file(new.path(), history::HISTORY_BYTES)?.unwrap_or_default();
    history::check(node, &package.root, release, &bytes)
}

/// A manifest must close to the released root, have as many records as the release says, and name items that fit.
fn check_manifest(package: &Package, new: &home::NewFile) -> Result<(), Failure> {
    let mut records = 0;
    let root = packages::read_records(new.path(), |number, record| {
        records = number + 1;
        FileItem::of(&record)?;
        Ok(())
    })?;
    if root == package.root && records == package.records {
        return Ok(());
    }
    Err(Failure::new(Code::PeerMisbehaved, "The manifest does not close to the released root.").instead_of(
        format!("{} records, root {}", package.records, package.root),
        format!("{records} records, root {root}"),
    ))
}
