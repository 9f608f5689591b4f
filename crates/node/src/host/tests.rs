//! Two nodes by hand, without a network: what each takes of the other, and what it does not.

mod answers;
mod deadlines;
mod generations;
mod gossip;
mod together;

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use custodia_exchange::{Consigned, Cursor, Document, Wanted};
use custodia_format::body::Receipt;
use custodia_format::envelope::Envelope;
use custodia_format::proof::Proof;
use custodia_format::ranges::Items;

use super::*;
use crate::api::{Operation, Reporter};
use crate::author::Draft;
use crate::init::{Founding, init};
use crate::{keys, operations as op};

/// A node, its station, and the folder that it lives in.
struct Party {
    node: Arc<Node>,
    station: Station,
    _folder: tempfile::TempDir,
}

impl Party {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = crate::home::Home::new(folder.path().join("home"));
        let founding = Founding {
            name: name.to_owned(),
            display: name.to_owned(),
            state: Some("XX".to_owned()),
            role: "lab".to_owned(),
            listen: "127.0.0.1:1".parse().unwrap(),
            addresses: vec!["127.0.0.1:1".to_owned()],
            officer: None,
            passphrase: None,
        };
        init(&home, &founding).unwrap();
        let node = Arc::new(Node::open(&home).unwrap());
        let station = Station::new(node.clone(), Arc::new(Watch::new()));
        Self { node, station, _folder: folder }
    }

    fn perform<O: Operation>(&self, operation: O) -> O::Answer {
        operation.perform(&self.node, &Reporter::silent()).unwrap()
    }

    /// This node as the other's station names it.
    fn as_peer(&self) -> Peer {
        let (_, card) = own_card(&self.node).unwrap();
        Peer { root: own_root(&card).unwrap(), name: card.head.issuer.name }
    }

    fn trusts(&self, other: &Party) {
        let card = other.perform(op::Card {}).cards;
        let (fingerprint, officer, passphrase) = (None, None, None);
        let channel = "call".to_owned();
        self.perform(op::TrustAdd { card, fingerprint, channel, officer, passphrase });
    }

    /// What a session begins with, in one direction: cards, and the checkpoint cosigned.
    fn greets(&self, other: &Party) {
        let (us, them) = (self.as_peer(), other.as_peer());
        let hello = self.station.hello(&them).unwrap();
        other.station.meet(&us, &hello).unwrap();
        let cards = self.station.cards(&them, None).unwrap();
        other.station.learn_cards(&us, &hello.card, &cards).unwrap();
        self.has_cosigned(other);
    }

    fn has_cosigned(&self, other: &Party) {
        let (us, them) = (self.as_peer(), other.as_peer());
        let checkpoint = self.station.checkpoint(&them).unwrap();
        let held = other.station.hello(&us).unwrap().held_checkpoint;
        let held = Note::parse(&held).ok();
        let held = held.and_then(|note| custodia_format::checkpoint::Checkpoint::parse_text(&note.text).ok());
        let (old, new) = (held.map_or(0, |held| held.size), self.node.ledger().size());
        let proof = if old == 0 || old == new { Vec::new() } else { self.station.consistency(old, new).unwrap() };
        let add = AddCheckpoint { old, proof, checkpoint: checkpoint.clone() };
        match other.station.witness(&us, &add) {
            Cosigned::Lines(lines) => self.station.keep_cosignatures(&them, &checkpoint, &lines).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn seals(&self, files: &[(&str, Vec<u8>)]) -> String {
        let source = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(source.path().join(name), bytes).unwrap();
        }
        let paths: Vec<PathBuf> = vec![source.path().to_owned()];
        let by = op::Decider::default();
        let sealed =
            self.perform(op::Seal { paths, case: "C-1".to_owned(), note: None, records: None, dry_run: false, by });
        sealed.package.unwrap()
    }

    fn releases(&self, package: &str, to: &Party) -> Hash {
        let by = op::Decider::default();
        let to = to.as_peer().name.to_string();
        let (purpose, legal_basis) = ("trial".to_owned(), "order".to_owned());
        let send = op::Send {
            package: package.to_owned(),
            to,
            purpose,
            legal_basis,
            wait: false,
            via: None,
            deadline: None,
            within: None,
            terms: op::Terms::default(),
            by,
        };
        Hash::from_hex(&self.perform(send).transfer.release).unwrap()
    }
}

/// A laboratory and a desk that know each other, with a package released by the one to the other.
struct Released {
    lab: Party,
    desk: Party,
    release: Hash,
    signed: Signed,
}

impl Released {
    fn new() -> Self {
        let (lab, desk) = (Party::new("lab.example"), Party::new("desk.example"));
        lab.trusts(&desk);
        desk.trusts(&lab);
        lab.greets(&desk);
        desk.greets(&lab);
        let package = lab.seals(&[("a", b"first".to_vec()), ("b", vec![7; (2 << 20) + 5]), ("empty", Vec::new())]);
        let release = lab.releases(&package, &desk);
        lab.has_cosigned(&desk);
        let signed = lab.station.statement(&desk.as_peer(), &release).unwrap();
        Self { lab, desk, release, signed }
    }

    fn consign(&self) -> Signed {
        let Consigned::Accepted { consignment, .. } =
            self.desk.station.consign(&self.lab.as_peer(), &self.signed).unwrap()
        else {
            panic!("declined")
        };
        self.desk.has_cosigned(&self.lab);
        self.lab.station.keep(&self.desk.as_peer(), &consignment, Some(&self.release)).unwrap();
        consignment
    }

    fn document(&self, document: Document) -> Vec<u8> {
        let outgoing = self.lab.station.outgoing(&self.desk.as_peer(), &self.release).unwrap();
        let (size, mut reader) = outgoing.document(document).unwrap();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, size);
        bytes
    }

    fn take(&self, document: Document, bytes: &[u8]) -> Result<(), Refused> {
        let incoming = self.desk.station.incoming(&self.lab.as_peer(), &self.release)?;
        let mut sink = incoming.document(document, bytes.len() as u64)?;
        sink.write(bytes)?;
        sink.finish()
    }

    /// Carries what is wanted, each chunk as `alter` leaves it; gives the bytes that travelled.
    fn carry(&self, alter: impl Fn(u64, &mut Vec<u8>)) -> Result<u64, Refused> {
        let outgoing = self.lab.station.outgoing(&self.desk.as_peer(), &self.release)?;
        let incoming = self.desk.station.incoming(&self.lab.as_peer(), &self.release)?;
        let mut travelled = 0;
        for wanted in incoming.wants(Cursor::default(), 1000)? {
            let Wanted { record, first_chunk, count, .. } = wanted;
            let mut item = outgoing.item(record)?;
            if wanted.midstates_bytes() > 0 {
                incoming.midstates(record, &item.midstates().unwrap())?;
            }
            for chunk in first_chunk..first_chunk + count {
                let mut bytes = vec![0; usize::try_from(wanted.chunk_bytes(chunk)).unwrap()];
                item.read_exact_at(chunk << 20, &mut bytes).unwrap();
                alter(record, &mut bytes);
                incoming.chunk(record, chunk, &bytes)?;
                travelled += bytes.len() as u64;
            }
        }
        Ok(travelled)
    }
}

#[test]
fn a_package_is_handed_over_and_every_question_has_one_answer() {
    let both = Released::new();
    let first = both.consign();
    let again = both.desk.station.consign(&both.lab.as_peer(), &both.signed).unwrap();
    assert!(matches!(again, Consigned::Accepted { consignment, .. } if consignment.envelope == first.envelope));
    both.take(Document::History, &both.document(Document::History)).unwrap();
    both.take(Document::Manifest, &both.document(Document::Manifest)).unwrap();
    assert_eq!(both.carry(|_, _| ()), Ok((2 << 20) + 10));
    assert_eq!(both.carry(|_, _| ()), Ok(0), "nothing is wanted twice");
    let receipt = both.desk.station.receipt(&both.lab.as_peer(), &both.release).unwrap();
    both.desk.has_cosigned(&both.lab);
    let size = both.desk.node.ledger().size();
    let same = both.desk.station.receipt(&both.lab.as_peer(), &both.release).unwrap();
    assert_eq!((same.envelope, both.desk.node.ledger().size()), (receipt.envelope.clone(), size));
    both.lab.station.keep(&both.desk.as_peer(), &receipt, Some(&both.release)).unwrap();
    both.lab.station.keep(&both.desk.as_peer(), &receipt, None).unwrap();
    let queue = both.lab.perform(op::Queue { now: false });
    assert_eq!(queue[0].receipt, Some(receipt.digest().to_string()));
    // What a power cut right after the receipt would have left is swept at the next start, and nothing else.
    both.desk.node.vault().transfer_folder(&both.release).unwrap();
    both.desk.node.vault().transfer_folder(&Hash::ZERO).unwrap();
    receive::sweep(&both.desk.node).unwrap();
    assert_eq!(both.desk.node.vault().transfers_on_disk().unwrap(), [Hash::ZERO]);
    let inbox = both.desk.perform(op::Inbox {});
    let carried = inbox[0].carried.unwrap();
    assert_eq!((carried.proven, carried.travelled, carried.again), (carried.bytes, carried.bytes, 0));
    assert!(both.desk.node.vault().check(NonZeroUsize::MIN, &()).unwrap().damaged.is_empty());
}

#[test]
fn a_release_that_was_altered_or_is_for_another_is_not_taken() {
    let both = Released::new();
    let before = both.desk.node.ledger().size();
    let lab = both.lab.as_peer();
    let refused = |signed: &Signed| both.desk.station.consign(&lab, signed).unwrap_err().code;
    // Another signature, another statement's proof, a statement that is no release.
    let mut envelope = Envelope::parse(&both.signed.envelope).unwrap().print().into_bytes();
    let place = envelope.windows(7).position(|window| window == b"\"sig\":\"").unwrap() + 10;
    envelope[place] = if envelope[place] == b'A' { b'B' } else { b'A' };
    assert_eq!(refused(&Signed { envelope: envelope.clone(), ..both.signed.clone() }), WireCode::Statement);
    // The same in the ledger, so that its proof closes: only the signature tells.
    let logged = custodia_ledger::Document { shelf: custodia_ledger::Shelf::Statement, bytes: envelope };
    let logged = both.lab.node.ledger().append(vec![logged]).unwrap()[0];
    both.lab.has_cosigned(&both.desk);
    crate::views::catch_up(&both.lab.node).unwrap();
    let row = author::row(&both.lab.node, &logged.digest).unwrap();
    let (signed, _) = proofs::signed(&both.lab.node, &row, &both.desk.as_peer().root).unwrap();
    assert_eq!(refused(&signed), WireCode::Statement);
    let seal = author::own_of_kind(&both.lab.node, &Kind::Seal).unwrap()[0].clone();
    let seal = both.lab.station.statement(&both.desk.as_peer(), &seal.digest).unwrap();
    assert_eq!(refused(&Signed { tlog_proof: seal.tlog_proof.clone(), ..both.signed.clone() }), WireCode::Statement);
    assert_eq!(refused(&seal), WireCode::Statement);
    // To a third authority.
    let third = Party::new("third.example");
    both.lab.trusts(&third);
    let package = both.lab.seals(&[("x", b"x".to_vec())]);
    let other = both.lab.releases(&package, &third);
    both.lab.has_cosigned(&both.desk);
    let row = author::row(&both.lab.node, &other).unwrap();
    let other = both.lab.station.send(&both.desk.as_peer(), &row).unwrap();
    assert_eq!(refused(&other), WireCode::NotForUs);
    assert_eq!(both.desk.node.ledger().size(), before, "nothing of it was logged");
    // Nobody but the recipient may fetch what a release covers.
    assert!(both.lab.station.outgoing(&third.as_peer(), &both.release).is_err());
}

#[test]
fn documents_that_do_not_close_are_not_kept() {
    let both = Released::new();
    both.consign();
    let (history, manifest) = (both.document(Document::History), both.document(Document::Manifest));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut cut = manifest.clone();
    cut.pop();
    for bad in [text(&manifest).replace("\"a\"", "\"A\"").into_bytes(), cut, b"{}\n".to_vec(), Vec::new()] {
        assert_eq!(both.take(Document::Manifest, &bad), Err(WireCode::Manifest.into()));
    }
    let opening = "\\\"sig\\\":\\\"";
    let stripped = text(&history).replacen(opening, &format!("{opening}AA"), 1);
    // It reads, and only who verifies it finds out: a statement stands where another one does.
    let mut moved = Proof::parse(&history).unwrap();
    let place = moved.statements[0].tlog_proof.as_mut().unwrap();
    place.index ^= 1;
    let moved = moved.print().into_bytes();
    assert!(Proof::parse(&moved).is_ok());
    for bad in [stripped.into_bytes(), moved, history[..history.len() / 2].to_vec(), manifest.clone()] {
        assert_eq!(both.take(Document::History, &bad), Err(WireCode::Manifest.into()));
    }
    assert_eq!(receive::needs(&both.desk.node, &both.lab.as_peer().root, &both.release, &root(&both)), (true, true));
    both.take(Document::History, &history).unwrap();
    both.take(Document::Manifest, &manifest).unwrap();
    assert_eq!(receive::needs(&both.desk.node, &both.lab.as_peer().root, &both.release, &root(&both)), (false, false));
}

#[test]
fn content_that_does_not_prove_is_never_acknowledged() {
    let both = Released::new();
    both.consign();
    both.take(Document::History, &both.document(Document::History)).unwrap();
    both.take(Document::Manifest, &both.document(Document::Manifest)).unwrap();
    let flip = |_: u64, bytes: &mut Vec<u8>| bytes[0] ^= 1;
    assert_eq!(both.carry(flip), Err(WireCode::Chunk.into()));
    let before = both.desk.node.ledger().size();
    assert!(both.desk.station.receipt(&both.lab.as_peer(), &both.release).is_err());
    assert_eq!(both.desk.node.ledger().size(), before);
    both.carry(|_, _| ()).unwrap();
    both.desk.station.receipt(&both.lab.as_peer(), &both.release).unwrap();
}

#[test]
fn a_receipt_over_other_bytes_is_not_believed() {
    let both = Released::new();
    both.consign();
    let statement = author::statement(&both.lab.node, &both.release).unwrap().unwrap();
    let lying = Receipt { release: both.release, items: Items::All, bytes: 5, findings: Vec::new() };
    let key = keys::read(both.desk.node.home(), keys::STATEMENT).unwrap();
    let draft =
        Draft { in_reply_to: Some(both.release), package: statement.head.package, ..Draft::of(Body::Receipt(lying)) };
    let said = author::say(&both.desk.node, draft, &[&key]).unwrap();
    both.desk.has_cosigned(&both.lab);
    let signed = both.desk.station.statement(&both.lab.as_peer(), &said.digest).unwrap();
    let before = both.lab.node.ledger().size();
    let refused = both.lab.station.keep(&both.desk.as_peer(), &signed, Some(&both.release));
    assert_eq!(refused, Err(WireCode::Answer.into()));
    assert_eq!(both.lab.node.ledger().size(), before);
    assert_eq!(both.lab.perform(op::Queue { now: false })[0].receipt, None);
}

#[test]
fn a_peer_with_two_histories_is_not_cosigned_and_both_are_kept() {
    let both = Released::new();
    let lab = both.lab.as_peer();
    let key = keys::read(both.lab.node.home(), keys::LEDGER).unwrap();
    let newest = both.lab.node.ledger().checkpoint().checkpoint().clone();
    let forked = custodia_format::checkpoint::Checkpoint { root: Hash::ZERO, ..newest.clone() };
    let note = forked.sign(&key).unwrap().print().into_bytes();
    let fork = AddCheckpoint { old: newest.size, proof: Vec::new(), checkpoint: note };
    let judge = |bytes: &[u8]| {
        let trust = crate::operations::authority::trust_with_us(&both.desk.node).unwrap();
        let cores = NonZeroUsize::MIN;
        custodia_verify::verify(&custodia_verify::Given {
            proof: bytes,
            trust: &trust,
            manifest: None,
            content: None,
            cores,
        })
    };
    let usual = custodia_verify::Strictness::Usual;
    // A larger one that does not continue what was cosigned: a doubt, which the ledger's owner alone can lift.
    let larger = custodia_format::checkpoint::Checkpoint { size: newest.size + 3, ..forked };
    let note = larger.sign(&key).unwrap().print().into_bytes();
    let add = AddCheckpoint { old: newest.size, proof: vec![Hash::ZERO], checkpoint: note };
    assert_eq!(both.desk.station.witness(&lab, &add), Cosigned::Refused { status: 422 });
    let doubt = evidence(&both.desk, &lab);
    assert_eq!(doubt.iter().map(|bytes| judge(bytes).exit_code(usual)).collect::<Vec<_>>(), [11]);
    both.lab.has_cosigned(&both.desk);
    // Another root at the same size: a fork.
    assert_eq!(both.desk.station.witness(&lab, &fork), Cosigned::Refused { status: 422 });
    let mut evidence = evidence(&both.desk, &lab);
    evidence.retain(|bytes| !doubt.contains(bytes));
    assert_eq!(evidence.len(), 1);
    let report = judge(&evidence[0]);
    assert_eq!(report.exit_code(usual), 40, "{}", report.to_text());
    assert!(report.to_text().contains("two roots at size"), "{}", report.to_text());
    let root = custodia_format::text::to_b64(Hash::ZERO.as_bytes());
    let forged = String::from_utf8(evidence[0].clone()).unwrap().replace(&root, &root.replacen('A', "B", 1));
    assert_eq!(judge(forged.as_bytes()).exit_code(usual), 10, "a forged one convicts nobody");
    // From then on nothing of it is cosigned, not even what was before.
    let again = both.lab.station.checkpoint(&both.desk.as_peer()).unwrap();
    let again = AddCheckpoint { old: newest.size, proof: Vec::new(), checkpoint: again };
    assert_eq!(both.desk.station.witness(&lab, &again), Cosigned::Refused { status: 422 });
    assert_eq!(self::evidence(&both.desk, &lab).len(), 2, "one fork is enough");
    // What the peer holds of us, and is ahead of us, stops our own signing.
    let size = both.lab.node.ledger().size();
    let ahead = custodia_format::checkpoint::Checkpoint { size: size + 5, ..newest };
    let hello = Hello {
        held_checkpoint: ahead.sign(&key).unwrap().print().into_bytes(),
        ..both.desk.station.hello(&lab).unwrap()
    };
    assert_eq!(both.lab.station.meet(&both.desk.as_peer(), &hello), Err(WireCode::RolledBack.into()));
    assert_eq!(both.lab.node.may_sign().unwrap_err().code, Code::RolledBack);
    assert_eq!(both.lab.perform(op::Queue { now: false }).len(), 1, "reads go on");
}

fn evidence(party: &Party, against: &Peer) -> Vec<Vec<u8>> {
    let folder = crate::evidence::folder(party.node.home(), &against.root);
    std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn root(both: &Released) -> Hash {
    author::statement(&both.lab.node, &both.release).unwrap().unwrap().head.package.unwrap().root
}
