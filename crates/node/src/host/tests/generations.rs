//! Two nodes by hand: how one follows the other into its next generation, and what it takes back when it has lost something.

use custodia_format::body::{CardLedger, Consignment};
use custodia_format::checkpoint::Checkpoint;
use custodia_format::entry::Entry;
use custodia_format::key::SigningKey;
use custodia_format::note::{KeyType, Vkey};
use custodia_format::tlog_proof::TlogProof;

use super::*;
use crate::author::Heading;
use crate::generations;

fn next_key() -> SigningKey {
    SigningKey::from_seed(&[44; 32])
}

/// The card that ends the laboratory's ledger with this note and names the next, with its proof in that one.
fn next_card(lab: &Party, last: Note) -> Vec<u8> {
    let (envelope, statement) = own_card(&lab.node).unwrap();
    let Body::Card(mut card) = statement.body else { panic!("no card") };
    let previous = Hash::of(envelope.as_bytes());
    card.number += 1;
    card.previous = Some(previous);
    card.ledgers[0].final_note = Some(last);
    let next = generations::after(&lab.node.config().ledger);
    let vkey = Vkey::new(&next.to_string(), KeyType::Ed25519, next_key().public()).unwrap();
    card.ledgers.push(CardLedger { origin: next.clone(), vkey, final_note: None });
    let root = keys::read(lab.node.home(), keys::ROOT).unwrap();
    let heading = Heading { ledger: next.clone(), card: Some(previous) };
    let envelope = author::sign(&lab.node, Draft::of(Body::Card(card)), heading, &[&root]).unwrap().print();
    let leaf = Entry::of(envelope.as_bytes()).leaf_hash();
    let checkpoint = Checkpoint { origin: next.to_string(), size: 1, root: leaf }.sign(&next_key()).unwrap();
    let proof = TlogProof { extra: None, index: 0, hashes: Vec::new(), checkpoint };
    [envelope.as_bytes(), b"\n", proof.print().as_bytes()].concat()
}

fn signed_at(lab: &Party, size: u64, root: Hash) -> Note {
    let key = keys::read(lab.node.home(), keys::LEDGER).unwrap();
    let origin = lab.node.ledger_vkey().name().to_owned();
    Checkpoint { origin, size, root }.sign(&key).unwrap()
}

/// The card as the desk's session hands it over.
fn learns(desk: &Party, lab: &Party, card: &[u8]) -> Result<(), Refused> {
    let mut cards = lab.station.cards(&desk.as_peer(), None).unwrap();
    let newest = signed_of(card).unwrap().digest();
    cards.push(card.to_vec());
    desk.station.learn_cards(&lab.as_peer(), &newest, &cards)
}

#[test]
fn a_peer_follows_a_card_that_ends_a_ledger_where_it_saw_it_and_no_earlier() {
    let both = Released::new();
    let (lab, desk) = (&both.lab, &both.desk);
    let seen = lab.node.ledger().size();
    let before = std::fs::read_dir(desk.node.home().peer(&lab.as_peer().root)).unwrap().count();
    // Cut off before what the desk cosigned, or another history there: it would be able to prove less than before.
    for (size, root) in [(seen - 1, lab.node.ledger().root(seen - 1).unwrap()), (seen, Hash::ZERO)] {
        let card = next_card(lab, signed_at(lab, size, root));
        assert_eq!(learns(desk, lab, &card).unwrap_err().code, WireCode::Inconsistent, "{size}");
    }
    assert_eq!(std::fs::read_dir(desk.node.home().peer(&lab.as_peer().root)).unwrap().count(), before);
    assert!(!desk.station.authority(&lab.as_peer()).unwrap().has_ended(&lab.node.config().ledger));

    // Where it was seen: the desk follows, and cosigns nothing more of the old one.
    let card = next_card(lab, signed_at(lab, seen, lab.node.ledger().root(seen).unwrap()));
    learns(desk, lab, &card).unwrap();
    let grown = lab.seals(&[("more", b"of the old ledger".to_vec())]);
    assert!(!grown.is_empty());
    let size = lab.node.ledger().size();
    let proof = lab.station.consistency(seen, size).unwrap();
    let checkpoint = lab.station.checkpoint(&desk.as_peer()).unwrap();
    let add = AddCheckpoint { old: seen, proof, checkpoint };
    assert_eq!(desk.station.witness(&lab.as_peer(), &add), Cosigned::Refused { status: 403 });
    // The next one begins anew, from nothing.
    let next = Checkpoint { origin: "lab.example/node-1/2".to_owned(), size: 1, root: Hash::ZERO };
    let add = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: next.sign(&next_key()).unwrap().print().into() };
    assert!(matches!(desk.station.witness(&lab.as_peer(), &add), Cosigned::Lines(_)));
}

/// What a peer gives back, and what of it is on the shelves afterwards.
fn takes(party: &Party, from: &Party, documents: &[Vec<u8>]) -> (usize, usize) {
    let given = GivenBack { documents: documents.to_vec(), more: More::No };
    party.station.take_back(&from.as_peer(), &given).unwrap();
    // What is committed is written out a moment later.
    party.node.settle();
    let count = |folder: PathBuf| {
        let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|one| one.path());
        let below = entries(folder).map(|path| if path.is_dir() { entries(path).count() } else { 1 });
        below.sum::<usize>()
    };
    (count(party.node.home().path().join("statements")), count(party.node.home().past(1).join("proofs")))
}

#[test]
fn what_is_given_back_counts_as_ours_only_under_our_own_ledgers_key() {
    let both = Released::new();
    both.consign();
    let (lab, desk) = (&both.lab, &both.desk);
    // The laboratory without its release: the shelf lacks it.
    let page = desk.station.give_back(&lab.as_peer(), 0).unwrap();
    assert!(page.documents.iter().any(|document| document.starts_with(&both.signed.envelope)));
    let said = author::statement(&lab.node, &both.release).unwrap().unwrap();
    let key = keys::read(lab.node.home(), keys::STATEMENT).unwrap();
    let heading = Heading { ledger: lab.node.config().ledger.clone(), card: said.head.issuer.card };
    let body = Body::Consignment(Consignment { release: both.release });
    let draft = Draft { in_reply_to: Some(both.release), package: said.head.package, ..Draft::of(body) };
    let never = author::sign(&lab.node, draft, heading, &[&key]).unwrap().print();
    let release = lab.node.home().statement(&both.release);
    lab.node.ledger().publish().unwrap();
    std::fs::remove_file(&release).unwrap();
    let (shelved, _) = takes(lab, desk, &[]);

    let honest = page.documents.iter().find(|document| document.starts_with(&both.signed.envelope)).unwrap();
    let changed = |at: usize| {
        let mut bad = honest.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        bad
    };
    let end = honest.iter().position(|byte| *byte == b'\n').unwrap();
    // A statement that our ledger never held, under the proof of another one; a proof that does not close; no proof at all.
    let never = [never.as_bytes(), &honest[end..]].concat();
    // The whole proof again, but for the key that signed its checkpoint.
    let mut proof = TlogProof::parse(&honest[end + 1..]).unwrap();
    let checkpoint = Checkpoint::parse_text(&proof.checkpoint.text).unwrap();
    proof.checkpoint = checkpoint.sign(&next_key()).unwrap();
    let other_key = [&honest[..=end], proof.print().as_bytes()].concat();
    let bad = [never, changed(end + 60), honest[..end].to_vec(), other_key, b"{}\n".to_vec(), b"\n".to_vec()];
    for document in bad {
        assert_eq!(
            takes(lab, desk, std::slice::from_ref(&document)),
            (shelved, 0),
            "{}",
            String::from_utf8_lossy(&document)
        );
    }
    assert!(!release.exists());
    assert_eq!(takes(lab, desk, std::slice::from_ref(honest)), (shelved + 1, 1));
    assert!(release.is_file() && lab.node.heard().when(&desk.as_peer().root).is_some());
    assert_eq!(takes(lab, desk, &page.documents).0, shelved + 1, "and nothing that was here already");
}

#[test]
fn nobody_gives_back_what_was_not_said_to_us() {
    let both = Released::new();
    let (lab, desk) = (&both.lab, &both.desk);
    let before = takes(lab, desk, &[]);
    // The desk's own seal, well signed and in its ledger, but addressed to nobody.
    desk.seals(&[("x", b"of the desk".to_vec())]);
    desk.has_cosigned(lab);
    let seal = author::own_of_kind(&desk.node, &Kind::Seal).unwrap()[0].clone();
    let (signed, _) = proofs::signed(&desk.node, &seal, &lab.as_peer().root).unwrap();
    let document = [&signed.envelope, b"\n".as_slice(), &signed.tlog_proof].concat();
    assert_eq!(takes(lab, desk, &[document]), before);
    // A note of its ledger that we never cosigned is none that we forgot.
    let folder = lab.node.home().peer(&desk.as_peer().root).join("witnessed");
    let notes = || std::fs::read_dir(&folder).unwrap().count();
    let held = notes();
    let note = signed_at(desk, 1, Hash::ZERO).print().into_bytes();
    takes(lab, desk, &[note]);
    assert_eq!(notes(), held);
}
