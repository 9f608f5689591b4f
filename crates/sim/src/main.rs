//! `custodia-sim --seeds 0..1000 [--jobs 2]`, `custodia-sim --seed 7 --trace`: runs seeds, and says which of them break
//! a promise and how to see it again.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use custodia_sim::{Grounds, Tally, Template};

const USAGE: &str = "custodia-sim --seeds FROM..TO [--jobs N] | --seed N [--trace]";

/// So that a run of hours shows where it is.
const SAYS_EVERY: u64 = 1000;

struct Asked {
    from: u64,
    to: u64,
    jobs: usize,
    prints: bool,
}

fn main() -> ExitCode {
    let Some(asked) = read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match work(&asked) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the simulator failed: {error}");
            ExitCode::from(3)
        }
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked { from: 0, to: 0, jobs: 1, prints: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => {
                let range = words.next()?;
                let (from, to) = range.split_once("..")?;
                (asked.from, asked.to) = (from.parse().ok()?, to.parse().ok()?);
            }
            "--seed" => {
                asked.from = words.next()?.parse().ok()?;
                asked.to = asked.from.checked_add(1)?;
            }
            "--jobs" => asked.jobs = words.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
            "--trace" => asked.prints = true,
            _ => return None,
        }
    }
    (asked.from < asked.to).then_some(asked)
}

/// Runs them; gives how many broke a promise.
fn work(asked: &Asked) -> Result<u64, custodia_sim::template::Failed> {
    let began = Instant::now();
    let template = Template::make()?;
    let made = began.elapsed();
    let began = Instant::now();
    let next = AtomicU64::new(asked.from);
    let total = Mutex::new((Tally::default(), 0_u64));
    let traces = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs {
            scope.spawn(|| {
                let mut grounds = match Grounds::of(&template) {
                    Ok(grounds) => grounds,
                    Err(error) => {
                        *failed.lock().expect("nobody panics with it in hand") = Some(error);
                        return;
                    }
                };
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.to {
                        return;
                    }
                    let outcome = match grounds.run(seed, asked.prints) {
                        Ok(outcome) => outcome,
                        Err(error) => {
                            // The others end with the seed that they are at.
                            next.store(asked.to, Ordering::Relaxed);
                            let error = format!("seed {seed} could not be run: {error}").into();
                            *failed.lock().expect("nobody panics with it in hand") = Some(error);
                            return;
                        }
                    };
                    if seed.is_multiple_of(SAYS_EVERY) {
                        eprintln!("at seed {seed}, after {:.0} s", began.elapsed().as_secs_f64());
                    }
                    let mut total = total.lock().expect("nobody panics with it in hand");
                    total.0.add(&outcome.tally);
                    traces.lock().expect("nobody panics with it in hand").insert(seed, outcome.trace.clone());
                    if !outcome.violations.is_empty() {
                        total.1 += 1;
                        println!(
                            "seed {seed} FAILED: {}; see it by: custodia-sim --seed {seed} --trace",
                            outcome.violations.join("; ")
                        );
                    }
                    if asked.to - asked.from == 1 {
                        println!("seed {seed}: trace {}", outcome.trace);
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().expect("nobody panics with it in hand") {
        return Err(error);
    }
    let (tally, broken) = total.into_inner().expect("nobody panics with it in hand");
    let traces = traces.into_inner().expect("nobody panics with it in hand");
    let traces: String = traces.into_iter().map(|(seed, trace)| format!("{seed} {trace}\n")).collect();
    println!("all traces: {}", custodia_format::Hash::of(traces.as_bytes()));
    let seeds = asked.to - asked.from;
    let seconds = began.elapsed().as_secs_f64();
    for (name, count) in tally.table() {
        println!("{name:>22} {count}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = seeds as f64 / seconds;
    println!(
        "{seeds} seeds, {broken} failed, in {seconds:.1} s: {rate:.1} a second (world made in {:.1} s)",
        made.as_secs_f64()
    );
    Ok(broken)
}
