//! A peer that was met floods, and the others hand over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use custodia_exchange::message::{Message, NOTES};

use crate::caller::{PATIENCE, on_network};
use crate::measure::{MIB, mib, row};
use crate::rogue::Rogue;
use crate::support::noise;
use crate::world::{World, releases};

#[test]
fn a_flooding_peer_lets_three_good_hand_overs_through() {
    let mut world = World::with("", |place, node, rogue| releases(place, node, rogue, &[1000]));
    let began = Instant::now();
    for _ in 0..3 {
        world.good_peer_gets_through(4 << 20);
    }
    let quiet = began.elapsed();
    world.begins();
    let rogue = Rogue::of(&world.rogue);
    let (_, statement) = rogue.released().remove(0);
    let (address, is_over) = (world.address(), AtomicBool::new(false));
    let (begun, sessions) = (AtomicU64::new(0), AtomicU64::new(0));
    let flooded = std::thread::scope(|scope| {
        scope.spawn(|| {
            on_network(async {
                // Release after release, none of which it lets end, on as many connections as it has.
                let lane = || async {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut inside = rogue.enters(address).await;
                        sessions.fetch_add(1, Ordering::Relaxed);
                        for _ in 0..20 {
                            let release = rogue.says(&statement, |_| ());
                            inside.says(&Message::Statement(release.clone())).await;
                            begun.fetch_add(1, Ordering::Relaxed);
                            loop {
                                match inside.hears().await {
                                    Ok(Message::Statement(signed)) => {
                                        inside.says(&Message::Kept(signed.digest())).await
                                    }
                                    Ok(Message::Want(_)) => {
                                        inside.cancels(release.digest()).await;
                                        break;
                                    }
                                    Ok(_) => break,
                                    Err(_) => return,
                                }
                            }
                        }
                    }
                };
                let all = async { tokio::join!(lane(), lane(), lane()) };
                let _ = tokio::time::timeout(PATIENCE, all).await;
            });
        });
        let began = Instant::now();
        for _ in 0..3 {
            world.good_peer_gets_through(4 << 20);
        }
        let flooded = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        flooded
    });
    let (memory, logged) = (world.memory_grew(), world.ledger_grew());
    let [begun, sessions] = [begun, sessions].map(AtomicU64::into_inner);
    assert!(begun > 0);
    assert!(memory < 128 * MIB, "{}", mib(memory));
    assert!(logged <= 2 * begun + 9, "{logged} statements for {begun} releases");
    let ratio = flooded.as_secs_f64() / quiet.as_secs_f64();
    let measured = format!(
        "{begun} releases in {sessions} sessions; {logged} statements; {}; {ratio:.1} × the quiet time",
        mib(memory)
    );
    row(
        "T52",
        "a peer that releases without end on three connections",
        "three good hand-overs get through; memory < 128 MiB",
        &measured,
    );
    drop(rogue);
    world.ends_well();
}

#[test]
fn talk_of_ledgers_that_nobody_knows_fills_nothing() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    let lines = "\u{2014} nobody.example/n-1/1 ".to_owned() + &"A".repeat(64) + "\n";
    on_network(async {
        for session in 0..40 {
            let mut inside = rogue.calls(world.address()).await;
            inside.says(&Message::Hello(rogue.hello())).await;
            let cards = custodia_exchange::message::Cards {
                envelopes: rogue.cards(),
                more: custodia_exchange::message::More::No,
            };
            inside.says(&Message::Cards(cards)).await;
            let note = |n: usize| {
                let text = format!("{}.example/n-{session}/1\n{}\n{}\n\n", n, n + 1, "B".repeat(43) + "=");
                [text.as_bytes(), &lines.repeat(60).into_bytes(), &noise(n as u64, 4000)].concat()
            };
            inside.says(&Message::Notes((0..NOTES).map(note).collect())).await;
            inside.says(&rogue.add_checkpoint(0)).await;
            // It goes on as if nothing had been said.
            assert!(matches!(inside.next().await.unwrap(), Message::Hello(_)));
            let heard = loop {
                match inside.next().await {
                    Ok(Message::Cosigned(_)) => break true,
                    Ok(_) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(heard);
        }
        let mut inside = rogue.calls(world.address()).await;
        inside.says(&Message::Hello(rogue.hello())).await;
        let cards =
            custodia_exchange::message::Cards { envelopes: rogue.cards(), more: custodia_exchange::message::More::No };
        inside.says(&Message::Cards(cards)).await;
        inside.says(&Message::Notes(vec![b"x".to_vec(); NOTES + 1])).await;
        assert_eq!(inside.is_closed().await, Some(11));
    });
    let (memory, disk) = (world.memory_grew(), world.disk_grew());
    assert!(memory < 32 * MIB, "{}", mib(memory));
    row(
        "T52",
        "40 sessions with 64 notes each of ledgers that nobody knows",
        "nothing kept; memory < 32 MiB; a 65th note closes",
        &format!("{}; disk {}", mib(memory), mib(disk)),
    );
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn sessions_one_after_another_leave_nothing() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        for _ in 0..100 {
            let inside = rogue.enters(world.address()).await;
            inside.connection.close(0_u32.into(), b"");
        }
        world.good_peer_gets_through(1 << 20);
    });
    let grew = world.memory_grew();
    assert!(grew < 32 * MIB, "{}", mib(grew));
    row("T52", "100 sessions one after another", "memory < 32 MiB", &mib(grew));
    world.ends_well();
}
