//! Releases and other statements that are signed, and wrong: for somebody else, twice, too many, too large.

use custodia_exchange::message::{ErrorBody, Message, Wish};
use custodia_exchange::{Code, Document, Refused, Signed};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::kind::Kind;
use custodia_format::statement::Statement;
use custodia_format::text::{from_b64, to_b64};

use crate::caller::on_network;
use crate::measure::{MIB, mib, row};
use crate::rogue::Rogue;
use crate::world::{World, releases};

fn world_with(sizes: &'static [usize], config: &str) -> World {
    World::with(config, |place, node, rogue| releases(place, node, rogue, sizes))
}

/// The order of Ed25519's group, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The envelope with each signature changed.
fn resigned(envelope: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(envelope).unwrap();
    let mut text = String::from_utf8(envelope.to_vec()).unwrap();
    for signature in json["signatures"].as_array_mut().unwrap() {
        let before = signature["sig"].as_str().unwrap().to_owned();
        let mut bytes = from_b64(&before).unwrap();
        change(&mut bytes);
        text = text.replace(&before, &to_b64(&bytes));
    }
    text.into_bytes()
}

/// S + L: the same signature to a verifier that is not strict.
fn malleable(signature: &mut [u8]) {
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry as u8;
        carry >>= 8;
    }
}

#[test]
fn statements_that_do_not_count_are_not_logged() {
    let world = world_with(&[1000], "");
    let good = {
        // What the good peer said to the node, heard on the way: its release, and the node's receipt.
        let good = Rogue::of(&world.good);
        let release = good.released().remove(0).0;
        good.signed(&release)
    };
    let rogue = Rogue::of(&world.rogue);
    let (release, statement) = rogue.released().remove(0);
    let signed = rogue.signed(&release);
    let with = |envelope: Vec<u8>| Signed { envelope, ..signed.clone() };
    let elsewhere = rogue.says(&statement, |it| {
        let Body::Release(body) = &mut it.body else { panic!() };
        body.recipient.ledger = custodia_format::text::LedgerName::parse("other.example/node-1/1").unwrap();
    });
    let root = rogue.says(&statement, |it| {
        let Body::Release(body) = &mut it.body else { panic!() };
        body.recipient.root = rogue.statement.public().key_id();
    });
    let unlogged = with(rogue.signs(&statement, |_| ()).print().into_bytes());
    let alone = with(Statement::clone(&statement).sign(&[&rogue.statement]).unwrap().print().into_bytes());
    let seal = rogue.statements().into_iter().find(|(.., it)| it.head.kind == Kind::Seal).unwrap().1;
    on_network(async {
        for (threats, what, statement, code) in [
            ("Q10", "a release to another node", elsewhere, Code::NotForUs),
            ("Q10", "a release to another authority under this node's name", root, Code::NotForUs),
            (
                "T19",
                "a release whose signatures have S + L",
                with(resigned(&signed.envelope, malleable)),
                Code::Statement,
            ),
            (
                "T19",
                "a release whose signatures are 0",
                with(resigned(&signed.envelope, |it| it.fill(0))),
                Code::Statement,
            ),
            ("T19", "a release without its officer's signature", alone, Code::Statement),
            ("T30", "a release that no ledger holds", unlogged, Code::Statement),
            ("T30", "another authority's release to this node", good.clone(), Code::Statement),
            (
                "T30",
                "a release with another statement's proof",
                Signed { tlog_proof: good.tlog_proof.clone(), ..signed.clone() },
                Code::Statement,
            ),
            ("T19", "a seal, which answers nothing", rogue.signed(&seal), Code::NotAllowed),
        ] {
            let mut inside = rogue.enters(world.address()).await;
            inside.says(&Message::Statement(statement)).await;
            assert_eq!(inside.is_refused().await.code, code, "{what}");
            row(threats, what, "refused; not logged", &format!("code {}", code.number()));
        }
    });
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn a_receipts_bytes_as_a_release_are_refused() {
    let mut world = world_with(&[1000], "");
    world.good_peer_gets_through(1000);
    let good = Rogue::of(&world.good);
    // The node's own receipt, in the good peer's ledger, with the proof that this ledger gives.
    let is_receipt = |it: &Statement| it.head.kind == Kind::Receipt;
    let (_, receipt, _) = good.statements().into_iter().rfind(|(.., it)| is_receipt(it)).unwrap();
    let receipt = good.signed(&receipt);
    drop(good);
    world.begins();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        inside.says(&Message::Statement(receipt)).await;
        let code = inside.is_refused().await.code;
        assert_eq!(code, Code::Statement);
        row("T19, T30", "the node's receipt for somebody else, offered by a third", "refused; not logged", "code 22");
    });
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn the_same_release_again_has_the_same_answer_and_adds_nothing() {
    let world = world_with(&[1000, 1000], "");
    let rogue = Rogue::of(&world.rogue);
    let both = rogue.released();
    let other = both[1].1.head.package;
    // The same id and words over another package: it is another release, with a digest of its own.
    let reused = {
        let envelope = {
            let mut statement = both[0].1.clone();
            statement.head.package = other;
            rogue.signs_as_is(&statement)
        };
        rogue.logs(envelope.print().into_bytes())
    };
    on_network(async {
        let signed = rogue.signed(&both[0].0);
        let mut answers = Vec::new();
        for _ in 0..20 {
            let mut inside = rogue.enters(world.address()).await;
            answers.push(inside.releases(&signed).await.envelope);
        }
        answers.dedup();
        assert_eq!((answers.len(), world.ledger_grew()), (1, 2));
        let mut inside = rogue.enters(world.address()).await;
        let to_reused = inside.releases(&reused).await;
        assert_ne!(to_reused.envelope, answers[0]);
        let mut inside = rogue.enters(world.address()).await;
        assert_eq!(inside.releases(&signed).await.envelope, answers[0]);
        assert_eq!(world.ledger_grew(), 4);
        row(
            "T30",
            "a release 20 times",
            "one answer, byte for byte; 2 statements",
            &format!("{} answer", answers.len()),
        );
        row(
            "Q9",
            "another package under the same statement id",
            "another release: its own digest, its own answer; the first one's stays",
            "as told",
        );
    });
    world.ends_well();
}

#[test]
fn a_release_that_is_taken_back_after_its_receipt_stays_received() {
    let world = world_with(&[300_000], "");
    let package = {
        // The rogue's own node delivers, and is honest up to here.
        let running = world.rogue.serves();
        let package = crate::support::until("it is received", || {
            let queue = world.rogue.asks(&[&"queue"]);
            (queue[0]["state"] == "received").then(|| queue[0]["package"].as_str().unwrap().to_owned())
        });
        running.stop();
        package
    };
    let said = world.node.said_of(&package);
    let rogue = Rogue::of(&world.rogue);
    let (release, _) = rogue.released().remove(0);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        inside.cancels(release).await;
        inside.says(&Message::Error(ErrorBody::new(Refused::new(Code::Storage), Some(Hash::new([1; 32]))))).await;
        let mut inside = rogue.enters(world.address()).await;
        inside.releases(&rogue.signed(&release)).await;
        inside.cancels(release).await;
    });
    assert_eq!(world.node.said_of(&package), said);
    row("Q12", "a cancel after the receipt", "no effect: what was received stays", "as told");
    drop(rogue);
    world.ends_well();
}

#[test]
fn a_flood_of_releases_stops_at_the_peers_allowance() {
    let config = "\n[peers]\nstatements_a_day = 100\nunfinished = 20\n";
    let mut world = world_with(&[1000], config);
    let rogue = Rogue::of(&world.rogue);
    let (_, statement) = rogue.released().remove(0);
    let mut codes = Vec::new();
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        for _ in 0..60 {
            let release = rogue.says(&statement, |_| ());
            inside.says(&Message::Statement(release.clone())).await;
            // Each is given up when the node asks for what it covers, so that the next one has its turn.
            let code = loop {
                match inside.hears().await.unwrap() {
                    Message::Statement(signed) => inside.says(&Message::Kept(signed.digest())).await,
                    Message::Want(_) => {
                        inside.cancels(release.digest()).await;
                        break None;
                    }
                    Message::Error(error) => break Some(error.refused().code),
                    other => panic!("{other:?}"),
                }
            };
            codes.extend(code);
        }
        world.good_peer_gets_through(1 << 20);
    });
    let logged = world.ledger_grew() - 3;
    assert!(codes.iter().all(|code| *code == Code::Quota), "{codes:?}");
    assert_eq!((codes.len(), logged), (40, 40));
    let (memory, disk) = (world.memory_grew(), world.disk_grew());
    assert!(memory < 32 * MIB, "{}", mib(memory));
    row(
        "T52, Q13",
        "60 releases that never end, of a peer that may have 20",
        "20 consigned, the others refused; a good peer gets through",
        &format!("{logged} statements logged, {} refused; {}, {}", codes.len(), mib(memory), mib(disk)),
    );
    drop(rogue);
    world.ends_well();
}

#[test]
fn a_day_of_statements_is_all_that_a_peer_makes_the_node_log() {
    let world = world_with(&[1000], "\n[peers]\nstatements_a_day = 10\n");
    let rogue = Rogue::of(&world.rogue);
    let (_, statement) = rogue.released().remove(0);
    let mut retry = 0;
    on_network(async {
        for n in 0..8 {
            let mut inside = rogue.enters(world.address()).await;
            let release = rogue.says(&statement, |_| ());
            if n < 5 {
                inside.releases(&release).await;
                continue;
            }
            inside.says(&Message::Statement(release)).await;
            let refused = inside.is_refused().await;
            assert_eq!(refused.code, Code::Quota);
            retry = refused.retry_after_seconds;
        }
    });
    assert_eq!(world.ledger_grew(), 10);
    assert!(retry > 0, "it is told when to come back");
    row(
        "T52",
        "8 releases of a peer that may make the node log 10 statements a day",
        "10 statements",
        &format!("10; come back in {retry} s"),
    );
    world.ends_well();
}

#[test]
fn content_over_the_peers_bytes_is_refused_before_it_comes() {
    let world = world_with(&[3 << 20, 4 << 20], "\n[peers]\nbytes = \"6M\"\n");
    // The good peer has brought 4 MiB, and may bring 2 more: the bytes are counted for each peer by itself.
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let [one, other] = [0, 1].map(|n| rogue.released().remove(n));
        let mut first = rogue.enters(world.address()).await;
        first.releases(&rogue.signed(&one.0)).await;
        first.gives_documents(&rogue, one.0, &one.1.head.package.unwrap()).await;
        // The first is under way; the second would be too much beside it.
        let mut second = rogue.enters(world.address()).await;
        second.releases(&rogue.signed(&other.0)).await;
        let package = other.1.head.package.unwrap();
        for document in [Document::History, Document::Manifest] {
            let want = second.is_wanted().await;
            assert_eq!(want.what, Wish::Document(document));
            let bytes = match document {
                Document::History => rogue.history(&package).print().into_bytes(),
                Document::Manifest => rogue.manifest(&package),
            };
            second.gives(other.0, package.root, document, &bytes).await;
        }
        assert_eq!(second.is_ended().await, Code::Quota);
        row(
            "Q13",
            "content over the peer's bytes, its other transfers counted",
            "refused before a byte of content",
            "code 41",
        );
    });
    assert!(world.disk_grew() < MIB, "{}", world.disk_grew());
    world.ends_well();
}
