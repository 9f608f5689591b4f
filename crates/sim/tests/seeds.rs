//! The simulator's runs: a thousand seeds keep every promise, one seed is one trace, and what once failed does not again.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use custodia_sim::{Grounds, Tally, Template};

/// Seeds of one run of the tests.
const SEEDS: u64 = 1000;
/// Threads; CI has so many cores.
const JOBS: usize = 2;

/// Runs seeds on several threads until one breaks a promise; gives what happened, and what was broken.
fn run_all(template: &Template, seeds: &[u64]) -> (Tally, Vec<String>) {
    let (next, is_broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                let mut grounds = Grounds::of(template).expect("the system gives files");
                let place = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("a count of seeds fits");
                while let Some(seed) = seeds.get(place()).filter(|_| !is_broken.load(Ordering::Relaxed)) {
                    let outcome = grounds.run(*seed, false).expect("the system gives memory and files");
                    is_broken.fetch_or(!outcome.violations.is_empty(), Ordering::Relaxed);
                    let mut total = total.lock().expect("nobody panics with it in hand");
                    total.0.add(&outcome.tally);
                    total.1.extend(outcome.violations.iter().map(|what| format!("seed {seed}: {what}")));
                }
            });
        }
    });
    total.into_inner().expect("nobody panics with it in hand")
}

#[test]
fn a_thousand_seeds_keep_every_promise() {
    let template = Template::make().expect("a world is made");
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let (tally, violations) = run_all(&template, &seeds);
    assert!(
        violations.is_empty(),
        "see one by: cargo run -p custodia-sim -- --seed N --trace\n{}",
        violations.join("\n")
    );
    // A fault that never happens, or a hand-over that never ends, would prove nothing.
    for (name, count) in tally.table() {
        assert!(count > SEEDS / 100, "{name}: {count}");
    }
    assert!(tally.hand_overs >= 2 * SEEDS, "{} hand-overs", tally.hand_overs);
}

#[test]
fn one_seed_is_one_trace() {
    // In another world made anew, too: that is what another process is.
    let (one, other) = (Template::make().expect("a world is made"), Template::make().expect("a world is made"));
    let (mut one, mut other) = [&one, &other].map(|it| Grounds::of(it).expect("the system gives files")).into();
    // Whatever ran there before leaves nothing behind.
    for seed in 2..6 {
        other.run(seed, false).expect("the system gives memory and files");
    }
    for seed in [1, 7, 42, 1_000_003] {
        let first = one.run(seed, false).expect("the system gives memory and files");
        let second = other.run(seed, false).expect("the system gives memory and files");
        assert_eq!(first, second, "seed {seed}");
        assert!(first.tally.lines > 100, "seed {seed} hardly did anything");
    }
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let template = Template::make().expect("a world is made");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let text = std::fs::read_to_string(&path).expect("it is text");
        let seed = text.lines().find_map(|line| line.strip_prefix("seed ")).and_then(|seed| seed.parse().ok());
        seeds.push(seed.unwrap_or_else(|| panic!("{} names no seed", path.display())));
    }
    assert!(!seeds.is_empty(), "no seed is kept");
    let (_, violations) = run_all(&template, &seeds);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
