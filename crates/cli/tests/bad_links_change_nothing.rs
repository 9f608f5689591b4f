//! Two nodes and a link that does everything at once that a network may do: each hand-over ends with one receipt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/bad_link.rs"]
mod bad_link;
mod support;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bad_link::{BadLink, Done, Faults};
use support::{Authority, Place, address};

/// What happens to a thousand datagrams: more than on a bad satellite link.
const FAULTS: Faults = Faults { drop: 20, duplicate: 20, delay: 60, corrupt: 10 };

/// How long a hand-over over such a link may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The one receipt of a package, as the bytes that lie in a home.
fn receipt(authority: &Authority, package: &str) -> Vec<u8> {
    let shown = authority.asks(&[&"show", &package]);
    let statements = shown["statements"].as_array().unwrap().iter();
    let receipts: Vec<&str> =
        statements.filter(|it| it["kind"] == "receipt").map(|it| it["digest"].as_str().unwrap()).collect();
    assert_eq!(receipts.len(), 1, "{shown}");
    let path = authority.home.join("statements").join(&receipts[0][..2]).join(format!("{}.json", receipts[0]));
    fs::read(path).unwrap()
}

#[test]
fn whatever_a_link_does_each_hand_over_ends_with_one_receipt() {
    let seed = std::env::var("CUSTODIA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("seed {seed} (CUSTODIA_SEED)");
    let place = Place::new();
    let lab = place.found("lab.example");
    let mut prosecutor = place.found("prosecutor.example");
    place.meet(&lab, &prosecutor);
    // The card leads to the link; the node itself listens elsewhere.
    let card = std::mem::replace(&mut prosecutor.address, address());
    let config = prosecutor.home.join("custodia.toml");
    let text = fs::read_to_string(&config).unwrap().replace(&card, &prosecutor.address);
    fs::write(config, text.replace("witness_seconds = 60", "witness_seconds = 0")).unwrap();
    let link = BadLink::open(&card, &prosecutor.address, FAULTS, seed);
    let serving = prosecutor.serves();
    for (n, size) in [(1, 0), (2, 3000), (3, (1 << 20) + 17), (4, 3 << 20)] {
        let package = lab.seals(&place.source(seed + n, size));
        let mut handing_over = support::Running::start(lab.command(&Authority::sends(&package, &prosecutor)));
        if n == 4 {
            // In the middle of the longest one the port changes: that connection is lost, and the next one goes on.
            let carried = link.done.carried.load(Ordering::Relaxed);
            support::until("it is under way", || {
                (link.done.carried.load(Ordering::Relaxed) > carried + 150).then_some(())
            });
            link.rebinds();
        }
        // A port that changes is not followed: that connection is over after half a minute of silence.
        let began = Instant::now();
        while !handing_over.has_ended() {
            assert!(began.elapsed() < PATIENCE, "package {n} does not arrive");
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("package {n}: {:?}", began.elapsed());
        let ended = handing_over.end();
        assert_eq!(ended.exit, Some(0), "{ended:?}");
        assert_eq!(receipt(&lab, &package), receipt(&prosecutor, &package), "one receipt, the same at both ends");
    }
    // What was recorded never travelled again.
    let carried = fs::read_dir(prosecutor.home.join("desk/carried")).unwrap().map(|entry| entry.unwrap().path());
    let carried: Vec<serde_json::Value> =
        carried.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect();
    assert_eq!(carried.len(), 4);
    for carried in &carried {
        assert_eq!((&carried["again"], &carried["proven"]), (&serde_json::json!(0), &carried["bytes"]), "{carried}");
    }
    let Done { carried, dropped, duplicated, delayed, corrupted, rebound } = &*link.done;
    let counts = [carried, dropped, duplicated, delayed, corrupted, rebound].map(|it| it.load(Ordering::Relaxed));
    println!("carried, dropped, duplicated, delayed, corrupted, rebound: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    std::thread::sleep(Duration::from_millis(100));
    serving.stop();
    lab.is_sound();
    prosecutor.is_sound();
}
