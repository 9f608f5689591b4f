//! Onto a medium: everything that waits for one peer, volume after volume, until it is full.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_exchange::message::{CARDS_PER_FRAME, Cards, Follows, Message, More, WantRange};
use custodia_exchange::{AddCheckpoint, Document, FRAME_BYTES, Signed};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::midstate::{CHUNK_BYTES, chunk_count};
use custodia_net::{Host, Outgoing, Peer};
use serde::{Deserialize, Serialize};

use super::volume::{Address, BLOCK_CHUNKS, PLAIN, SEALED, Writer};
use super::{FOLDER, Onto, failure};
use crate::api::{Phase, Progress, Reporter};
use crate::failure::{Code, Failure};
use crate::host::{Station, owed, us};
use crate::keys::Passphrase;
use crate::peers::Authority;
use crate::watch::Watch;
use crate::witness::Whose;
use crate::{Node, author, desk, edge, home, outbox, packages};

/// Bytes of a volume, at most: a file that every file system can hold, and what a medium that is pulled too early may lose.
const VOLUME_BYTES: u64 = 1 << 30;
/// Bytes that are left free for what the other side writes back.
const KEPT_FREE: u64 = 1 << 20;
/// Bytes around a block: its frame, two lengths, and what encryption adds to it.
const AROUND: u64 = 16 << 10;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) volumes: u64,
    pub(super) bytes: u64,
    pub(super) statements: u64,
    /// Bytes of content that no medium holds yet.
    pub(super) left: u64,
}

/// How far a release has been written, onto all media together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Place {
    /// Whether history and manifest are.
    documents: bool,
    /// The first record that is not whole.
    record: u64,
    /// The first chunk of it that is not.
    chunk: u64,
}

/// Places by release.
type Places = BTreeMap<String, Place>;

/// What is remembered of all media for one peer: no evidence.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    places: Places,
    /// Our ledger, and the sizes of its checkpoints that went onto media. The peer has cosigned one of them, or what is on file.
    ledger: String,
    sizes: BTreeSet<u64>,
}

/// Sizes that are remembered; a peer that has not cosigned for so many media asks over a link.
const SIZES: usize = 16;

/// Writes what waits for a peer. What fits on no medium any more is left for the next one.
pub(super) fn write(
    node: &Arc<Node>,
    peer: &Authority,
    onto: &Onto<'_>,
    reporter: &Reporter,
) -> Result<Written, Failure> {
    node.may_sign()?;
    let memory = node.home().desk().join("stick").join(format!("{}.json", peer.root));
    let mut record = remembered(node, &memory);
    let writing = Writing::of(node, peer, onto, &record, reporter)?;
    if onto.again {
        record.places.clear();
    }
    if onto.content {
        // What was answered meanwhile is over.
        record.places.retain(|digest, _| writing.releases.iter().any(|release| release.digest.to_string() == *digest));
    }
    record.sizes.insert(node.ledger().size());
    while record.sizes.len() > SIZES {
        record.sizes.pop_first();
    }
    let mut written = Written { statements: writing.letters.statements, ..Written::default() };
    let folder = onto.dir.join(FOLDER).join(name()?);
    loop {
        let mut places = record.places.clone();
        let path = folder.join(format!("{:04}.{}", written.volumes + 1, onto.ending()));
        match writing.volume(path, &mut places, written.bytes) {
            Ok(bytes) => {
                written.volumes += 1;
                written.bytes += bytes;
            }
            // The medium is full: of this volume nothing stays, what was written before does.
            Err(failure) if failure.code == Code::DiskFull && written.volumes > 0 => break,
            Err(failure) => {
                let _ = std::fs::remove_dir(&folder);
                return Err(failure);
            }
        }
        let goes_on = places != record.places;
        record.places = places;
        desk::save(&memory, &record)?;
        written.left = writing.left(&record.places);
        if written.left == 0 || !goes_on || reporter.is_abandoned() {
            break;
        }
    }
    home::sync_all(onto.dir)?;
    Ok(written)
}

/// What is remembered of earlier media.
fn remembered(node: &Node, path: &Path) -> Record {
    let ledger = node.config().ledger.to_string();
    match desk::load::<Record>(path) {
        Some(record) if record.ledger == ledger => record,
        record => Record { places: record.unwrap_or_default().places, ledger, sizes: BTreeSet::new() },
    }
}

/// A name that says nothing of whose it is.
fn name() -> Result<String, Failure> {
    let random = edge::random::<8>()?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Onto<'_> {
    fn ending(&self) -> &'static str {
        if self.passphrase.is_none() { PLAIN } else { SEALED }
    }
}

/// What every volume begins with, so that each can be read by itself.
struct Letters {
    messages: Vec<Message>,
    statements: u64,
}

/// A release that waits, with what it covers.
struct Waiting {
    digest: Hash,
    outgoing: Arc<dyn Outgoing>,
    /// Record and size of each item, ascending.
    items: Vec<(u64, u64)>,
}

/// A writing that runs.
struct Writing<'a> {
    address: Address,
    letters: Letters,
    releases: Vec<Waiting>,
    dir: &'a Path,
    passphrase: &'a Passphrase,
    reporter: &'a Reporter,
}

impl<'a> Writing<'a> {
    fn of(
        node: &Arc<Node>,
        peer: &Authority,
        onto: &Onto<'a>,
        record: &Record,
        reporter: &'a Reporter,
    ) -> Result<Self, Failure> {
        let station = Station::new(node.clone(), Arc::new(Watch::new()));
        let to = peer.as_peer();
        let from = us(node)?;
        let releases = if onto.content { outbox::open_releases(node)?.remove(&peer.root) } else { None };
        let releases = releases.unwrap_or_default();
        let letters = letters(node, &station, &to, &releases, &record.sizes)?;
        let waiting = |digest: Hash| {
            let outgoing = station.outgoing(&to, &digest).map_err(failure)?;
            Ok(Waiting { digest, outgoing, items: items(node, &digest)? })
        };
        Ok(Self {
            address: Address { from, to: peer.root },
            letters,
            releases: releases.into_iter().map(waiting).collect::<Result<Vec<_>, Failure>>()?,
            dir: onto.dir,
            passphrase: onto.passphrase,
            reporter,
        })
    }

    /// Bytes of content that no medium holds yet.
    fn left(&self, places: &Places) -> u64 {
        let mut left = 0;
        for release in &self.releases {
            let place = places.get(&release.digest.to_string()).copied().unwrap_or_default();
            for (record, size) in release.items.iter().filter(|(record, _)| *record >= place.record) {
                let held = if *record == place.record { place.chunk.saturating_mul(CHUNK_BYTES).min(*size) } else { 0 };
                left += size - held;
            }
        }
        left
    }

    /// Writes one volume; says how many bytes it is.
    fn volume(&self, path: PathBuf, places: &mut Places, before: u64) -> Result<u64, Failure> {
        let room = free(self.dir)?;
        let room = room.saturating_sub(room / 64).saturating_sub(KEPT_FREE).min(VOLUME_BYTES);
        if let Some(folder) = path.parent() {
            home::make_folder(folder)?;
        }
        let mut volume = Writer::begin(path, self.address, self.passphrase)?;
        match self.fill(&mut volume, room, places, before) {
            Ok(()) => volume.end(),
            Err(failure) => {
                volume.abandon();
                Err(failure)
            }
        }
    }

    fn fill(&self, volume: &mut Writer, room: u64, places: &mut Places, before: u64) -> Result<(), Failure> {
        for message in &self.letters.messages {
            volume.message(message)?;
        }
        if volume.bytes > room {
            let needed = format!("{} bytes", volume.bytes + KEPT_FREE);
            return Err(full(self.dir).instead_of(needed, format!("{room} bytes")));
        }
        let had = volume.bytes;
        for release in &self.releases {
            let place = places.entry(release.digest.to_string()).or_default();
            if !self.content(volume, room, release, place, before)? {
                // Who has room for nothing more than the letters gains nothing by one more volume.
                return if volume.bytes > had { Ok(()) } else { Err(full(self.dir)) };
            }
        }
        Ok(())
    }

    /// Writes as much of a release as there is room for; says whether that is all of it.
    fn content(
        &self,
        volume: &mut Writer,
        room: u64,
        release: &Waiting,
        place: &mut Place,
        before: u64,
    ) -> Result<bool, Failure> {
        if !place.documents {
            let documents = [Document::History, Document::Manifest];
            let opened = documents.map(|document| release.outgoing.document(document));
            let [Ok((history, mut of_history)), Ok((manifest, mut of_manifest))] = opened else {
                return Err(
                    Failure::new(Code::Io, "History or manifest of a package cannot be read.").at(release.digest)
                );
            };
            if volume.bytes + history + manifest + 2 * AROUND > room {
                return Ok(false);
            }
            let follows = |document, bytes| Follows { release: release.digest, document, bytes };
            volume.document(follows(Document::History, history), &mut of_history)?;
            volume.document(follows(Document::Manifest, manifest), &mut of_manifest)?;
            place.documents = true;
        }
        let begun = *place;
        for (record, size) in release.items.iter().filter(|(record, size)| *record >= begun.record && *size > 0) {
            let first = if *record == begun.record { begun.chunk } else { 0 };
            let chunks = chunk_count(*size);
            let mut item = release.outgoing.item(*record).map_err(failure)?;
            let mut midstates = item.midstates().map_err(|error| Failure::io(&error, "the midstates of an item"))?;
            *place = Place { record: *record, chunk: first, ..*place };
            while place.chunk < chunks {
                let around = AROUND + midstates.len() as u64;
                let fit = room.saturating_sub(volume.bytes + around) / CHUNK_BYTES;
                let rest = size - place.chunk * CHUNK_BYTES;
                let count = u64::from(BLOCK_CHUNKS).min(chunks - place.chunk);
                // The last chunk may be short.
                let count = if volume.bytes + around + rest <= room { count } else { count.min(fit) };
                let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else { return Ok(false) };
                let bytes = (u64::from(count) * CHUNK_BYTES).min(rest);
                let mut buffer = vec![0; usize::try_from(bytes).unwrap_or_default()];
                item.read_exact_at(place.chunk * CHUNK_BYTES, &mut buffer)
                    .map_err(|error| Failure::io(&error, "an item of the package"))?;
                let range =
                    WantRange { record: *record, first_chunk: place.chunk, count, midstates: !midstates.is_empty() };
                volume.chunks(release.digest, range, &midstates, &buffer)?;
                midstates.clear();
                place.chunk += u64::from(count);
                self.reporter.progress(Progress::of(Phase::Write).bytes(before + volume.bytes, 0));
            }
            *place = Place { record: record + 1, chunk: 0, ..*place };
        }
        Ok(true)
    }
}

fn full(dir: &Path) -> Failure {
    Failure::new(Code::DiskFull, "There is no room on this medium.")
        .at(dir.display())
        .safe("Nothing was lost; what is queued stays queued.")
        .next("make room on it, or use another one")
}

/// Bytes that can be written below a folder.
fn free(folder: &Path) -> Result<u64, Failure> {
    let stat = rustix::fs::statvfs(folder).map_err(|error| Failure::io(&error.into(), folder))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The items that a release covers.
fn items(node: &Node, release: &Hash) -> Result<Vec<(u64, u64)>, Failure> {
    let statement = author::statement(node, release)?;
    let Some((Body::Release(body), Some(package))) = statement.map(|said| (said.body, said.head.package)) else {
        return Err(Failure::new(Code::Internal, "A release is no release.").at(release));
    };
    let mut items = Vec::new();
    packages::covered_items(node.home(), &package.root, &body.items, |record, item| {
        items.push((record, item.size));
    })?;
    Ok(items)
}

/// What a session would say before content travels, in its order: who we are, what we know of ledgers, our newest
/// checkpoint with its proof from what the peer cosigned last, what the peer is owed, what is released to it.
fn letters(
    node: &Node,
    station: &Station,
    to: &Peer,
    releases: &[Hash],
    sizes: &BTreeSet<u64>,
) -> Result<Letters, Failure> {
    let mut messages = vec![Message::Hello(station.hello(to).map_err(failure)?)];
    let cards = station.cards(to, None).map_err(failure)?;
    let frames: Vec<&[Vec<u8>]> = cards.chunks(CARDS_PER_FRAME).collect();
    for (n, envelopes) in frames.iter().enumerate() {
        let more = if n + 1 < frames.len() { More::Yes } else { More::No };
        messages.push(Message::Cards(Cards { envelopes: envelopes.to_vec(), more }));
    }
    let mut bytes = 0;
    let notes = station.notes(to).map_err(failure)?.into_iter().take_while(|note| {
        bytes += note.len() + 8;
        bytes < FRAME_BYTES / 2
    });
    messages.push(Message::Notes(notes.collect()));
    messages.extend(checkpoints(node, to, sizes)?.into_iter().map(Message::AddCheckpoint));
    let mut statements = owed(node, to)?;
    statements.extend(releases);
    for digest in &statements {
        let signed: Signed = station.statement(to, digest).map_err(failure)?;
        messages.push(Message::Statement(signed));
    }
    Ok(Letters { messages, statements: statements.len() as u64 })
}

/// Our newest checkpoint, with its proof from each size that the peer may have cosigned last: one that is on file, one that
/// went to it on a medium, or none. The one that fits is cosigned, the others are nothing to it.
fn checkpoints(node: &Node, to: &Peer, sizes: &BTreeSet<u64>) -> Result<Vec<AddCheckpoint>, Failure> {
    let newest = node.ledger().checkpoint();
    let size = newest.checkpoint().size;
    let generation = node.config().ledger.generation;
    let cosigned = node.notes().of_peer(&to.root, Whose::Ours);
    let held = cosigned.iter().rev().map(|note| note.at).find(|at| at.generation == generation);
    let least = held.map_or(0, |at| at.size);
    let olds: BTreeSet<u64> = sizes.iter().copied().filter(|old| *old > least).chain([least]).collect();
    let add = |old| {
        let proof = if old == 0 || old == size { Vec::new() } else { node.ledger().consistency(old, size)? };
        Ok(AddCheckpoint { old, proof, checkpoint: newest.note().print().into_bytes() })
    };
    olds.into_iter().filter(|old| *old <= size).map(add).collect()
}
