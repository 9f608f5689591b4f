//! Handshakes that are not the one way in, and those that are, too often or never finished.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::ConnectionError;

use crate::caller::{Caller, Shows, alert, code, on_network, within};
use crate::measure::{MIB, mib, row};
use crate::rogue::Rogue;
use crate::world::World;

#[test]
fn whoever_is_not_known_is_refused_with_an_alert_and_no_more() {
    let world = World::new();
    let unmet = world.place.found("unmet.example");
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let other = Caller { alpn: b"h3".to_vec(), ..rogue.caller() };
        let none = Caller { shows: Shows::Nothing, ..rogue.caller() };
        let x509 = Caller { shows: Shows::X509, ..rogue.caller() };
        let authority = Caller::new(unmet.key("transport"));
        let statement = Caller::new(world.rogue.key("statement"));
        for (threats, what, caller) in [
            ("Q2", "another protocol's name", other),
            ("Q2", "no key at all", none),
            ("Q3", "a key that nobody has met", Caller::stranger()),
            ("Q3", "the key of an authority that was not met", authority),
            ("T8", "a peer's key that is not for connections", statement),
            ("T8", "a certificate in place of a key", x509),
        ] {
            let error = caller.is_heard(world.address()).await.unwrap_err();
            let alert = alert(&error).unwrap_or_else(|| panic!("{what}: {error}"));
            row(threats, what, "a TLS alert", &format!("alert {alert}"));
        }
    });
    world.nothing_was_kept();
    world.ends_well();
}

/// See [`crate::slow`].
pub fn a_peer_has_four_places_and_the_others_theirs() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut held = Vec::new();
        let mut busy = 0;
        for _ in 0..40 {
            let connection = rogue.caller().connects(world.address()).await.unwrap();
            match tokio::time::timeout(Duration::from_millis(100), connection.closed()).await {
                Ok(error) => {
                    assert_eq!(code(&error), Some(40), "{error}");
                    busy += 1;
                }
                Err(_) => held.push(connection),
            }
        }
        assert_eq!(held.len(), custodia_net::transport::CONNECTIONS_PER_PEER);
        world.good_peer_gets_through(1 << 20);
        row(
            "T5",
            "40 connections of one peer",
            "4 held, the others told that it is busy",
            &format!("{} held, {busy} told", held.len()),
        );
        // Nothing was said on any: each is let go, and its place given back.
        for connection in held {
            let error =
                tokio::time::timeout(custodia_net::transport::HANDSHAKE * 2, connection.closed()).await.unwrap();
            assert_eq!(code(&error), Some(15), "{error}");
        }
        within(rogue.enters(world.address())).await;
        row("T5", "a peer that shakes hands and says nothing", "let go after 10 s, its place given back", "code 15");
    });
    world.ends_well();
}

#[test]
fn a_flood_of_handshakes_lets_a_good_peer_through() {
    let mut world = World::new();
    let began = Instant::now();
    world.good_peer_gets_through(8 << 20);
    let quiet = began.elapsed();
    let (address, is_over) = (world.address(), AtomicBool::new(false));
    let (begun, refused, dropped) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (flooded, floor) = std::thread::scope(|scope| {
        scope.spawn(|| {
            on_network(async {
                let mut flooding = tokio::task::JoinSet::new();
                let mut n = 0_u32;
                while !is_over.load(Ordering::Relaxed) {
                    // Of four networks; each shows a key that nobody knows.
                    let from = format!("127.21{}.0.1", n % 4).parse().unwrap();
                    n += 1;
                    begun.fetch_add(1, Ordering::Relaxed);
                    flooding.spawn(async move {
                        let caller = Caller { from, ..Caller::stranger() };
                        tokio::time::timeout(Duration::from_secs(2), caller.is_heard(address)).await
                    });
                    while flooding.len() >= 64 {
                        match flooding.join_next().await.unwrap().unwrap() {
                            Ok(Err(ConnectionError::TimedOut)) | Err(_) => dropped.fetch_add(1, Ordering::Relaxed),
                            Ok(Err(_)) => refused.fetch_add(1, Ordering::Relaxed),
                            Ok(Ok(_)) => panic!("a stranger was let in"),
                        };
                    }
                }
            });
        });
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        world.good_peer_gets_through(8 << 20);
        let flooded = began.elapsed();
        std::thread::sleep(Duration::from_secs(2));
        is_over.store(true, Ordering::Relaxed);
        (flooded, world.memory_grew())
    });
    assert!(floor < 64 * MIB, "{}", mib(floor));
    let [begun, refused, dropped] = [begun, refused, dropped].map(AtomicU64::into_inner);
    assert!(refused > 0, "no handshake was ended by the node");
    let what = format!("{begun} handshakes with an unknown key, 64 at a time, from four networks");
    let ratio = flooded.as_secs_f64() / quiet.as_secs_f64();
    let measured = format!("{refused} refused, {dropped} unanswered; {}; {ratio:.1} × the quiet time", mib(floor));
    row("T2", &what, "a good peer gets through; memory < 64 MiB", &measured);
    world.ends_well();
}
