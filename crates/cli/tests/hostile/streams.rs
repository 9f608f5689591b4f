//! Streams, datagrams and paths: what QUIC offers and an honest node does not use.

use std::time::Duration;

use custodia_exchange::message::{Message, Wish};
use custodia_format::Hash;
use quinn::{SendDatagramError, VarInt};

use crate::caller::{Caller, on_network, within};
use crate::measure::{MIB, mib, row};
use crate::rogue::Rogue;
use crate::support::noise;
use crate::world::{World, releases};

/// How many of so many streams are opened in a second.
async fn opened<T: Send + 'static>(
    open: impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Option<T>> + Send>>,
) -> usize {
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        asked.spawn(open());
    }
    let mut got = Vec::new();
    let patience = tokio::time::sleep(Duration::from_secs(1));
    tokio::pin!(patience);
    loop {
        tokio::select! {
            Some(Ok(Some(stream))) = asked.join_next() => got.push(stream),
            () = &mut patience => return got.len(),
        }
    }
}

#[test]
fn of_ten_thousand_streams_a_few_are_given() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let inside = rogue.enters(world.address()).await;
        let connection = inside.connection.clone();
        let bidi = opened(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_bi().await.ok() })
        })
        .await;
        let uni = opened(|| {
            let connection = connection.clone();
            Box::pin(async move {
                let mut stream = connection.open_uni().await.ok()?;
                // Begun, and no whole header.
                stream.write_all(&[0; 40]).await.ok()?;
                Some(stream)
            })
        })
        .await;
        // The control stream is one of the four.
        assert_eq!(bidi, 3);
        assert!(uni <= 32, "{uni}");
        assert!(matches!(connection.send_datagram(vec![0; 10].into()), Err(SendDatagramError::UnsupportedByPeer)));
        world.good_peer_gets_through(1 << 20);
        let grew = world.memory_grew();
        assert!(grew < 32 * MIB, "{}", mib(grew));
        row(
            "T3",
            "10,000 streams each way asked for, with a part of a header",
            "4 and 32 given; memory < 32 MiB",
            &format!("{} and {uni}; {}", bidi + 1, mib(grew)),
        );
        row("T3", "datagrams", "none are taken", "unsupported");
    });
    world.ends_well();
}

#[test]
fn bytes_that_nobody_reads_stop_at_the_window() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let inside = rogue.enters(world.address()).await;
        // Other control streams are never read: what is written there stays in the node's windows.
        let bytes = noise(3, 1 << 20);
        let mut written = 0_u64;
        for _ in 0..3 {
            let (mut send, _recv) = inside.connection.open_bi().await.unwrap();
            let writing = async {
                for _ in 0..100 {
                    send.write_all(&bytes).await.unwrap();
                    written += bytes.len() as u64;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
        }
        let grew = world.memory_grew();
        assert!(written <= 16 * MIB, "{}", mib(written));
        assert!(grew < 48 * MIB, "{}", mib(grew));
        row(
            "T3",
            "300 MiB written to streams that nobody reads",
            "the windows: 16 MiB",
            &format!("{} taken; {}", mib(written), mib(grew)),
        );
    });
    world.ends_well();
}

#[test]
fn content_that_nobody_asked_for_is_not_read() {
    let world = World::with("", |place, node, rogue| releases(place, node, rogue, &[3 << 20]));
    let rogue = Rogue::of(&world.rogue);
    let (release, statement) = rogue.released().remove(0);
    let package = statement.head.package.unwrap();
    on_network(async {
        // Before anything was released: the stream is stopped, the session goes on.
        let mut inside = rogue.enters(world.address()).await;
        for _ in 0..100 {
            let mut stream = inside.connection.open_uni().await.unwrap();
            let _ = stream.write_all(&[&package.root.as_bytes()[..], &[0; 20], &[7; 4096]].concat()).await;
            let _ = stream.finish();
        }
        inside.releases(&rogue.signed(&release)).await;
        let want = inside.gives_documents(&rogue, release, &package).await;
        let Wish::Ranges(ranges) = &want.what else { panic!() };
        // Beyond the item's end, of another record, of another package, and what was asked for twice.
        let mut beyond = want.clone();
        let mut other = want.clone();
        let mut none = want.clone();
        for (changed, change) in [(&mut beyond, (0, 1 << 40)), (&mut other, (5000, 0)), (&mut none, (0, 0))] {
            let Wish::Ranges(changed) = &mut changed.what else { panic!() };
            changed[0].record += change.0;
            changed[0].first_chunk += change.1;
        }
        drop(inside);
        for (what, root, wrong) in [
            ("a chunk beyond the item's end", package.root, &beyond),
            ("a chunk of a record that is none", package.root, &other),
        ] {
            let mut inside = rogue.enters(world.address()).await;
            inside.releases(&rogue.signed(&release)).await;
            let _ = inside.gives_documents(&rogue, release, &package).await;
            let mut stream = inside.answers(root, wrong).await;
            let _ = stream.write_all(&noise(1, 1000)).await;
            assert_eq!(inside.is_closed().await, Some(14), "{what}");
            row("Q6", what, "closed; nothing written", "code 14");
        }
        // Of a package that is not under way: it may have crossed that one's end, so its stream ends and nothing else.
        let mut inside = rogue.enters(world.address()).await;
        inside.releases(&rogue.signed(&release)).await;
        let _ = inside.gives_documents(&rogue, release, &package).await;
        let mut stream = inside.answers(Hash::new([3; 32]), &none).await;
        let _ = stream.write_all(&noise(1, 1000)).await;
        assert_eq!(within(stream.stopped()).await.unwrap(), Some(VarInt::from_u32(14)));
        row("Q6", "a chunk of another package", "its stream is stopped; nothing written", "code 14");
        drop(inside);
        let mut inside = rogue.enters(world.address()).await;
        inside.releases(&rogue.signed(&release)).await;
        let again = inside.gives_documents(&rogue, release, &package).await;
        assert!(matches!(&again.what, Wish::Ranges(asked) if asked == ranges), "nothing of it was taken");
        let _first = inside.answers(package.root, &again).await;
        let _second = inside.answers(package.root, &again).await;
        assert_eq!(inside.is_closed().await, Some(14));
        row("Q6", "a chunk twice", "closed; nothing written", "code 14");
    });
    world.ends_well();
}

#[test]
fn a_peer_whose_address_changes_again_and_again_spoils_nothing() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let caller = rogue.caller();
        let socket = caller.socket();
        let connecting = socket.connect_with(caller.config(), world.address(), "somebody.invalid").unwrap();
        let connection = within(connecting).await.unwrap();
        for _ in 0..20 {
            socket.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The node follows to where the peer shows that it is: a laptop that changes its network goes on so.
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&Message::Hello(rogue.hello()).to_frame().to_bytes().unwrap()).await;
        let heard = tokio::time::timeout(Duration::from_secs(2), recv.read_exact(&mut [0])).await;
        assert!(matches!(heard, Ok(Ok(()))), "it was not followed: {heard:?}");
        world.good_peer_gets_through(1 << 20);
        let _inside = rogue.enters(world.address()).await;
        connection.close(VarInt::from_u32(0), b"");
        row(
            "T6",
            "20 changes of port on one connection",
            "followed; others and a new connection are served",
            "as told",
        );
    });
    assert!(world.memory_grew() < 16 * MIB);
    world.ends_well();
}

#[test]
fn whoever_comes_from_another_network_at_each_call_is_still_one_peer() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut held = 0;
        let mut kept = Vec::new();
        for n in 0..12 {
            let from = format!("127.22{}.0.1", n % 10).parse().unwrap();
            let connection = Caller { from, ..rogue.caller() }.connects(world.address()).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(100), connection.closed()).await.is_err() {
                held += 1;
            }
            kept.push(connection);
        }
        assert_eq!(held, custodia_net::transport::CONNECTIONS_PER_PEER);
        row(
            "T6",
            "12 connections of one peer from 10 networks",
            "4 held: the key counts, not the address",
            &format!("{held} held"),
        );
    });
    world.ends_well();
}
