//! From a medium: each volume by itself, whatever became of the others. What proves is kept, what does not is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custodia_exchange::message::{Follows, Message, More, WantRange};
use custodia_exchange::{AddCheckpoint, Code as WireCode, Cosigned, Cursor, Document, Hello};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::key::KeyId;
use custodia_format::midstate::CHUNK_BYTES;
use custodia_net::{Host, Incoming, Peer};

use super::volume::{Block, PLAIN, Reader, SEALED};
use super::{FOLDER, Onto, failure, write};
use crate::api::{Phase, Progress, Reporter};
use crate::failure::{Code, Failure};
use crate::host::{Station, us};
use crate::keys::Passphrase;
use crate::operations::answers::{UsbProblem, UsbRead, UsbReceived};
use crate::{Node, gossip, home, receive};

/// Problems that are named; there may be more.
const PROBLEMS: usize = 64;
/// Bytes of all cards of one authority.
const CARDS_BYTES: usize = 64 << 20;

/// Reads all volumes for this node, and writes back what their senders are owed.
pub(super) fn read(
    node: &Arc<Node>,
    dir: &Path,
    passphrase: &Passphrase,
    reporter: &Reporter,
) -> Result<UsbRead, Failure> {
    let us = us(node)?;
    let mut reading = Reading {
        node,
        station: Station::of_medium(node.clone()),
        reporter,
        arrivals: BTreeMap::new(),
        answer: UsbRead::default(),
    };
    let mut senders: BTreeMap<KeyId, bool> = BTreeMap::new();
    let paths = volumes(dir)?;
    if paths.is_empty() {
        return Err(Failure::new(Code::Empty, "There is nothing of custodia on this medium.")
            .at(dir.join(FOLDER).display())
            .instead_of("files that custodia usb write has written", "none")
            .next("name the folder where the medium is mounted"));
    }
    for path in paths {
        let mut volume = match Reader::open(&path, passphrase) {
            Ok(volume) => volume,
            Err(failure) if failure.code == Code::Malformed => {
                reading.problem(&path, failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if volume.address.from == us {
            continue;
        }
        if volume.address.to != us {
            reading.answer.for_others += 1;
            continue;
        }
        let Some(sender) = node.peers().rooted(&volume.address.from) else {
            return Err(Failure::new(Code::UnknownPeer, "This medium is from somebody whom this node does not know.")
                .at(path.display())
                .instead_of("an authority of the trust file", volume.address.from.to_string())
                .safe("Nothing of it was taken.")
                .next("custodia trust add CARD"));
        };
        let peer = sender.as_peer();
        let is_sealed = path.extension().is_some_and(|ending| ending == SEALED);
        *senders.entry(peer.root).or_default() |= is_sealed;
        reading.answer.volumes += 1;
        if let Err(failure) = reading.volume(&path, &mut volume, &peer) {
            reading.refused(&path, failure)?;
        }
    }
    reading.finish()?;
    let mut answer = reading.answer;
    answer.senders = senders.keys().filter_map(|root| Some(node.peers().rooted(root)?.name.to_string())).collect();
    for (root, is_sealed) in senders {
        let Some(sender) = node.peers().rooted(&root) else { continue };
        let passphrase = if is_sealed { passphrase } else { &Passphrase::default() };
        let onto = Onto { dir, passphrase, content: false, again: false };
        match write::write(node, &sender, &onto, reporter) {
            Ok(written) => answer.statements_back += written.statements,
            // It may be full, or locked against writing: the answers travel by any other way.
            Err(failure) => answer.not_written_back = Some(failure.what),
        }
    }
    Ok(answer)
}

/// Every volume below a folder, of one writing after the other.
fn volumes(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_volume = |path: &PathBuf| path.extension().is_some_and(|ending| ending == PLAIN || ending == SEALED);
    let mut found = Vec::new();
    for folder in home::list(&dir.join(FOLDER))? {
        if folder.is_dir() {
            found.extend(home::list(&folder)?.into_iter().filter(is_volume));
        }
    }
    Ok(found)
}

/// A release to us of which the medium holds something.
struct Arrival {
    peer: Peer,
    /// Opened when the release is in our ledger.
    incoming: Arc<dyn Incoming>,
    /// Nothing more is taken of it.
    is_stopped: bool,
}

/// A reading that runs.
struct Reading<'a> {
    node: &'a Arc<Node>,
    station: Station,
    reporter: &'a Reporter,
    arrivals: BTreeMap<Hash, Arrival>,
    answer: UsbRead,
}

impl Reading<'_> {
    /// What is wrong with the medium is named, and the rest is read; what is wrong with this node ends the reading.
    fn refused(&mut self, place: &Path, failure: Failure) -> Result<(), Failure> {
        match failure.code {
            Code::DiskFull | Code::Poisoned | Code::RolledBack | Code::Internal => Err(failure),
            _ => {
                self.problem(place, failure);
                Ok(())
            }
        }
    }

    fn problem(&mut self, place: &Path, failure: Failure) {
        if self.answer.problems.len() >= PROBLEMS {
            return;
        }
        let what = match failure.place {
            Some(at) if at != place.display().to_string() => format!("{} ({at})", failure.what),
            _ => failure.what,
        };
        self.answer.problems.push(UsbProblem { place: place.display().to_string(), what });
    }

    /// Takes a volume, block after block, as far as it can be read. A block that is not taken leaves the others as they are.
    fn volume(&mut self, path: &Path, volume: &mut Reader, peer: &Peer) -> Result<(), Failure> {
        let (mut hello, mut cards): (Option<Hello>, Vec<Vec<u8>>) = (None, Vec::new());
        while let Some(block) = volume.next()? {
            let taken = match block {
                Block::Chunks { release, range, midstates, bytes } => self.chunks(&release, range, &midstates, &bytes),
                Block::Message(message) => match *message {
                    // The bytes of a document follow: where they are not read, nothing after them can be.
                    Message::Follows(follows) => {
                        self.document(volume, peer, &follows)?;
                        Ok(())
                    }
                    Message::Hello(said) => {
                        let met = self.station.meet(peer, &said).map_err(failure);
                        hello = Some(said);
                        met
                    }
                    Message::Cards(more) => {
                        cards.extend(more.envelopes);
                        if cards.iter().map(Vec::len).sum::<usize>() > CARDS_BYTES {
                            return Err(failure(WireCode::Quota.into()));
                        }
                        match (more.more, &hello) {
                            (More::No, Some(hello)) => self.cards(peer, &hello.card, &std::mem::take(&mut cards)),
                            _ => Ok(()),
                        }
                    }
                    Message::Notes(notes) => gossip::take_in(self.node, peer, &notes).map_err(failure),
                    Message::AddCheckpoint(add) => self.checkpoint(peer, &add),
                    Message::Statement(signed) => self.statement(peer, &signed),
                    // Questions and answers of a link mean nothing here.
                    _ => Ok(()),
                },
            };
            if let Err(failure) = taken {
                self.refused(path, failure)?;
            }
        }
        Ok(())
    }

    /// Cards, delegations and revocations, of which a medium may hold fewer than are known here.
    fn cards(&self, peer: &Peer, newest: &Hash, cards: &[Vec<u8>]) -> Result<(), Failure> {
        let authority = self.node.peers().rooted(&peer.root);
        let known = authority.as_ref().filter(|authority| authority.knows(newest)).and_then(|known| known.newest());
        let newest = known.map_or(*newest, |(digest, _)| *digest);
        self.station.learn_cards(peer, &newest, cards).map_err(failure)
    }

    /// Cosigns the sender's checkpoint. One that is older than what was cosigned before is nothing new.
    fn checkpoint(&self, peer: &Peer, add: &AddCheckpoint) -> Result<(), Failure> {
        match self.station.witness(peer, add) {
            Cosigned::Lines(_) | Cosigned::Conflict { .. } => Ok(()),
            Cosigned::Refused { status } => {
                Err(Failure::new(Code::PeerMisbehaved, "The sender's checkpoint was not cosigned.")
                    .instead_of("one that continues what was seen before", format!("status {status}")))
            }
        }
    }

    fn statement(&mut self, peer: &Peer, signed: &custodia_exchange::Signed) -> Result<(), Failure> {
        let authority = self.node.peers().rooted(&peer.root);
        let said = authority.ok_or_else(|| failure(WireCode::UnknownPeer.into()))?.check(&signed.envelope)?;
        let digest = signed.digest();
        let is_new = self.node.index().row(&digest)?.is_none();
        if let Body::Release(_) = said.body {
            self.station.consign(peer, signed).map_err(failure)?;
            let incoming = self.station.incoming(peer, &digest).map_err(failure)?;
            let arrival = Arrival { peer: peer.clone(), incoming, is_stopped: false };
            self.arrivals.entry(digest).or_insert(arrival);
        } else {
            self.station.keep(peer, signed, None).map_err(failure)?;
        }
        self.answer.statements += u64::from(is_new);
        Ok(())
    }

    fn document(&mut self, volume: &mut Reader, peer: &Peer, follows: &Follows) -> Result<(), Failure> {
        let Follows { release, document, bytes } = follows;
        let skip = |volume: &mut Reader| volume.document(*bytes, |_| Ok(()));
        let Some(arrival) = self.arrivals.get(release) else { return skip(volume) };
        let (history, manifest) = receive::needs(self.node, &peer.root, release, &arrival.incoming.root());
        let is_needed = match document {
            Document::History => history,
            Document::Manifest => manifest,
        };
        if !is_needed {
            return skip(volume);
        }
        let mut sink = arrival.incoming.document(*document, *bytes).map_err(failure)?;
        volume.document(*bytes, |part| sink.write(part).map_err(failure))?;
        sink.finish().map_err(failure)
    }

    /// Takes chunks that are not proven yet. One that does not prove is dropped and named; what is proven stays.
    fn chunks(&mut self, release: &Hash, range: WantRange, midstates: &[u8], bytes: &[u8]) -> Result<(), Failure> {
        let Some(arrival) = self.arrivals.get_mut(release).filter(|arrival| !arrival.is_stopped) else { return Ok(()) };
        if receive::receipt_of(self.node, release)?.is_some() {
            arrival.is_stopped = true;
            return Ok(());
        }
        if !self.node.home().manifest(&arrival.incoming.root()).is_file() {
            arrival.is_stopped = true;
            return Err(Failure::new(Code::NotYet, "The content of this medium needs what lies on an earlier one.")
                .next("read the first medium, then this one again"));
        }
        if !midstates.is_empty() {
            arrival.incoming.midstates(range.record, midstates).map_err(failure)?;
        }
        for (chunk, part) in (range.first_chunk..).zip(bytes.chunks(CHUNK_BYTES as usize)) {
            arrival.incoming.chunk(range.record, chunk, part).map_err(failure)?;
        }
        self.answer.bytes += bytes.len() as u64;
        self.reporter.progress(Progress::of(Phase::Read).bytes(self.answer.bytes, 0));
        Ok(())
    }

    /// What is whole gets its receipt; of the rest everything proven is made durable.
    fn finish(&mut self) -> Result<(), Failure> {
        for (release, Arrival { peer, incoming, .. }) in std::mem::take(&mut self.arrivals) {
            let root = incoming.root();
            let (history, manifest) = receive::needs(self.node, &peer.root, &release, &root);
            let is_whole = || Ok::<_, Failure>(incoming.wants(Cursor::default(), 1).map_err(failure)?.is_empty());
            let before = receive::receipt_of(self.node, &release)?;
            if before.is_some() || !history && !manifest && is_whole()? {
                self.station.receipt(&peer, &release).map_err(failure)?;
            } else if !manifest {
                incoming.sync().map_err(failure)?;
            }
            let receipt = receive::receipt_of(self.node, &release)?;
            self.answer.packages.push(UsbReceived {
                package: root.to_string(),
                from: peer.name.to_string(),
                receipt: receipt.map(|receipt| receipt.to_string()),
                is_new: before.is_none(),
            });
        }
        Ok(())
    }
}
