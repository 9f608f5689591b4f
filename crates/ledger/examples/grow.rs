//! Grows the ledger of a home, for programs by other people to look at: `grow HOME ENTRIES`.
//!
//! The documents are JSON that no node would sign, so the home is of no other use afterwards. They come in groups of many
//! sizes from several callers, so that partial tiles of many widths are published on the way.
#![allow(clippy::unwrap_used, reason = "a program for tests: what it cannot do, it need not explain")]

use std::fs;
use std::path::Path;

use custodia_format::key::SigningKey;
use custodia_format::text::from_b64;
use custodia_ledger::{Document, Folder, Ledger, Shelf};

/// Callers at once.
const CALLERS: u64 = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, entries] = arguments.as_slice() else { panic!("grow HOME ENTRIES") };
    let (home, entries) = (Path::new(home), entries.parse::<u64>().unwrap());
    let checkpoint = fs::read_to_string(home.join("ledger/checkpoint")).unwrap();
    let origin = checkpoint.lines().next().unwrap();
    let key = fs::read_to_string(home.join("keys/ledger")).unwrap();
    let seed: [u8; 32] = from_b64(key.lines().nth(2).unwrap()).unwrap().try_into().unwrap();
    let ledger = Ledger::open(Folder::open(home).unwrap(), origin, SigningKey::from_seed(&seed)).unwrap();
    let missing = entries.saturating_sub(ledger.size());
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let ledger = &ledger;
            scope.spawn(move || {
                let (mut next, end) = (missing * caller / CALLERS, missing * (caller + 1) / CALLERS);
                while next < end {
                    // From one document to some hundreds, always the same ones.
                    let group = (next * 2_654_435_761 % 701 + 1).min(end - next);
                    let document = |n: u64| {
                        let bytes = format!("{{\"document\":{n},\"pad\":\"{}\"}}", "x".repeat((n % 97) as usize));
                        Document { shelf: Shelf::Statement, bytes: bytes.into_bytes() }
                    };
                    ledger.append((next..next + group).map(document).collect()).unwrap();
                    next += group;
                }
            });
        }
    });
    println!("{} entries", ledger.size());
}
