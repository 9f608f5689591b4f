//! The rogue as the one who is handed a package: it stalls, lies, and takes back.

use std::time::{Duration, Instant};

use custodia_exchange::message::{Message, Want, WantRange, Wish};
use custodia_exchange::{Code, Document};
use custodia_format::envelope::Envelope;
use custodia_format::manifest::Manifest;
use custodia_format::statement::Statement;
use custodia_net::transport::HANDSHAKE;

use crate::caller::{code, on_network};
use crate::listener::Listener;
use crate::measure::{MIB, mib, row, threads};
use crate::rogue::Rogue;
use crate::support::until;
use crate::world::World;

/// The node seals so many bytes and releases them to the rogue.
fn hands_over(world: &World, size: usize) -> String {
    let package = world.node.seals(&world.place.source(77, size));
    world.node.asks(&[&"send", &package, &"--to", &world.rogue.name]);
    package
}

/// See [`crate::slow`].
pub fn a_reader_that_asks_for_everything_and_takes_nothing_is_let_go() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    let size = 64 << 20;
    let package = hands_over(&world, size);
    world.begins();
    let before = threads(world.pid());
    on_network(async {
        let listener = Listener::of(&rogue, &world.rogue, 64 << 10);
        let mut inside = listener.is_called(&rogue).await;
        let release = inside.is_released_to().await;
        inside.says(&Message::Statement(rogue.consigns(&release))).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::Kept(_)));
        let record = big_record(&world, &release.envelope, size as u64);
        let range = WantRange { record, first_chunk: 0, count: 32, midstates: true };
        let began = Instant::now();
        for _ in 0..16 {
            let want = Want { release: release.digest(), what: Wish::Ranges(vec![range]) };
            inside.says(&Message::Want(want)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (grew, more) = (world.memory_grew(), threads(world.pid()).saturating_sub(before));
        assert!(grew < 160 * MIB, "{}", mib(grew));
        assert!(more <= 40, "{more} threads");
        world.good_peer_gets_through(1 << 20);
        let refused = loop {
            match tokio::time::timeout(Duration::from_secs(90), inside.next()).await.unwrap() {
                Ok(Message::Error(error)) => break error.refused().code,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(refused, Code::TooSlow);
        let took = began.elapsed().as_secs();
        let measured = format!("{}, {more} threads; code 15 after {took} s", mib(grew));
        row(
            "T5",
            "a reader that asks 16 times for 32 MiB and takes nothing",
            "memory < 160 MiB, threads ≤ 40, let go after 60 s; a good peer gets through",
            &measured,
        );
    });
    assert!(!world.node.said_of(&package).contains(&"receipt".to_owned()));
    world.ends_well();
}

/// See [`crate::slow`]. A node whose power went within the handshake is such a one: what starts there again does not know of it.
pub fn whoever_takes_a_call_and_says_nothing_is_called_anew() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    let package = hands_over(&world, 1000);
    on_network(async {
        let listener = Listener::of(&rogue, &world.rogue, 64 << 10);
        let connection = listener.takes_a_call().await;
        let began = Instant::now();
        let error = tokio::time::timeout(HANDSHAKE * 2, connection.closed()).await.unwrap();
        assert_eq!(code(&error), Some(15), "{error}");
        let took = began.elapsed().as_secs();
        row("T5", "a call that is taken, and then not a word", "let go after 10 s", &format!("code 15 after {took} s"));
        listener.is_called(&rogue).await.is_released_to().await;
    });
    assert!(!world.node.said_of(&package).contains(&"receipt".to_owned()));
    world.ends_well();
}

/// The record of the item of this size.
fn big_record(world: &World, release: &[u8], size: u64) -> u64 {
    let statement = Statement::parse(&Envelope::parse(release).unwrap()).unwrap();
    let root = statement.head.package.unwrap().root.to_string();
    let path = world.node.home.join("manifests").join(&root[..2]).join(format!("{root}.jsonl"));
    let manifest = Manifest::parse(&std::fs::read(path).unwrap()).unwrap();
    let mut items = manifest.items();
    items.find(|(_, item)| item.as_ref().unwrap().size == size).unwrap().0
}

#[test]
fn wants_without_end_and_of_what_was_not_released_are_refused() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    hands_over(&world, 1000);
    on_network(async {
        let listener = Listener::of(&rogue, &world.rogue, 64 << 10);
        let mut inside = listener.is_called(&rogue).await;
        let release = inside.is_released_to().await;
        // Before it has consigned it is told nothing.
        inside.says(&Message::Want(Want { release: release.digest(), what: Wish::Document(Document::Manifest) })).await;
        assert_eq!(inside.is_closed().await, Some(13));
        row("T35", "content asked for before the consignment", "closed", "code 13");

        let mut inside = listener.is_called(&rogue).await;
        let release = inside.is_released_to().await;
        inside.says(&Message::Statement(rogue.consigns(&release))).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::Kept(_)));
        let range = WantRange { record: 900_000, first_chunk: 0, count: 1, midstates: false };
        let want = Want { release: release.digest(), what: Wish::Ranges(vec![range]) };
        inside.says(&Message::Want(want)).await;
        assert_eq!(inside.is_refused().await.code, Code::NotHere);
        row("Q6", "a record that the release does not cover", "refused", "code 43");
    });
    world.ends_well();
}

#[test]
fn a_receipt_that_lies_is_refused_where_it_can_be_seen() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    let size = 1 << 20;
    let package = hands_over(&world, size);
    on_network(async {
        let listener = Listener::of(&rogue, &world.rogue, 64 << 10);
        let mut inside = listener.is_called(&rogue).await;
        let release = inside.is_released_to().await;
        inside.says(&Message::Statement(rogue.consigns(&release))).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::Kept(_)));
        inside.says(&Message::Statement(rogue.receipts(&release, 1))).await;
        assert_eq!(inside.is_refused().await.code, Code::Answer);
        assert!(!world.node.said_of(&package).contains(&"receipt".to_owned()));
        row("T36", "a receipt over another number of bytes", "refused; not delivered", "code 35");

        // Of one that names the right number and holds nothing the node cannot know: it has a signed lie, which convicts.
        drop(inside);
        let mut inside = listener.is_called(&rogue).await;
        let release = inside.is_released_to().await;
        inside.says(&Message::Statement(rogue.consigns(&release))).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::Kept(_)));
        let all = (size + b"grave 77\n".len()) as u64;
        inside.says(&Message::Statement(rogue.receipts(&release, all))).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::Kept(_)));
        until("the receipt is kept", || world.node.said_of(&package).contains(&"receipt".to_owned()).then_some(()));
        row(
            "T35",
            "a receipt of the right words by a peer that fetched nothing",
            "not seen: it is the peer's signed word, and convicts it",
            "taken as received",
        );
        // Taking it back changes nothing.
        inside.cancels(release.digest()).await;
    });
    assert!(world.node.said_of(&package).contains(&"receipt".to_owned()));
    world.ends_well();
}
