//! `custodia hammer`: two scratch authorities under random work, whose processes are killed at random moments. After each
//! round everything that was ever acknowledged must be there: statements at their places, no checkpoint gone back, ledgers
//! sound, the files of every delivered package, the two sides of every hand-over in agreement.
//!
//! Everything lies in one folder of its own; no other home is opened. What was acknowledged is kept in a book beside the
//! nodes (`told.jsonl`), which is not theirs, so that the folder can be checked again later.

mod check;
mod plan;
mod rounds;
mod told;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use custodia_format::text::escape_untrusted;
use custodia_node::failure::{Code, Failure};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Common, Hammer, ProgressStyle};
use crate::ask::{Asked, answer};
use crate::scratch::authority::Authority;
use crate::scratch::folder::{absolute, fresh_seed, make_folder};
use crate::scratch::process::Program;
use check::{Due, check};
use plan::Plan;
use rounds::{Counts, NAMES, Pair};
use told::Told;

/// Failures that are told in full; the rest is counted.
const FAILURES_TOLD: usize = 20;

/// What a run came to.
#[derive(Debug, Serialize)]
struct Hammered {
    seed: u64,
    rounds: u64,
    kills: u64,
    operations: u64,
    /// Statements that answers named; all of them are there unless a failure says otherwise.
    acknowledged: usize,
    /// Packages whose receipt the sender holds.
    delivered: usize,
    seconds: f64,
    failures: Vec<String>,
    /// Where everything lies, if it was left.
    left: Option<PathBuf>,
}

/// What is to be done.
#[derive(Debug, Clone)]
struct Task {
    folder: PathBuf,
    time: Duration,
    seed: u64,
    is_silent: bool,
}

/// Runs the hammer, or checks what a run left.
pub(crate) async fn run(hammer: &Hammer, common: &Common) -> Asked {
    let failed = |error: std::io::Error| Failure::io(&error, "signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (folder, is_temporary) = match &hammer.check {
        Some(folder) => (absolute(folder)?, false),
        None => (make_folder(hammer.keep.as_deref(), "custodia-hammer-")?, hammer.keep.is_none()),
    };
    let task = Task {
        folder: folder.clone(),
        time: Duration::from_secs(hammer.seconds),
        seed: hammer.seed.unwrap_or_else(fresh_seed),
        is_silent: common.is_for_programs() || common.progress == ProgressStyle::None,
    };
    let (seed, told_to, only_checks) = (task.seed, stop.clone(), hammer.check.is_some());
    let mut working = tokio::task::spawn_blocking(move || match only_checks {
        true => check_only(&task, told_to),
        false => work(&task, told_to),
    });
    let worked = tokio::select! {
        worked = &mut working => worked,
        () = async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            stop.store(true, Ordering::Relaxed);
        } => working.await,
    };
    let worked = worked.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
    let mut hammered = match worked {
        Ok(hammered) => hammered,
        Err(failure) if failure.code == Code::Interrupted && is_temporary => {
            // What cannot be removed is in the temporary directory, and goes with it.
            let _ = fs::remove_dir_all(&folder);
            return Err(failure
                .safe("No process is left, and no folder. No failure had been seen.")
                .next(format!("custodia hammer --seed {seed}")));
        }
        Err(failure) if only_checks => return Err(failure),
        Err(failure) => {
            return Err(failure
                .safe(format!("No process is left. Everything is kept in {}.", folder.display()))
                .next(format!("read its traces/; then custodia hammer --seed {seed}")));
        }
    };
    if is_temporary && hammered.failures.is_empty() {
        fs::remove_dir_all(&folder).map_err(|error| Failure::io(&error, &folder))?;
    } else {
        hammered.left = Some(folder);
    }
    answer(common, &hammered, words)?;
    Ok(u8::from(!hammered.failures.is_empty()))
}

/// Rounds until the time is over or something does not hold; then everything must arrive.
fn work(task: &Task, stop: Arc<AtomicBool>) -> Result<Hammered, Failure> {
    let began = Instant::now();
    let say = |text: &str| {
        if !task.is_silent {
            // Progress that nobody reads hinders nothing.
            let _ = writeln!(std::io::stderr().lock(), "  {text}");
        }
    };
    say(&format!("seed {}, in {}", task.seed, task.folder.display()));
    let program = program(&task.folder, stop)?;
    let mut pair = Pair::make(&task.folder, &program, Told::begin(&task.folder, task.seed)?)?;
    let mut failures = Vec::new();
    for round in Plan::new(task.seed) {
        failures = pair.round(&round)?;
        let Counts { rounds, kills, operations, .. } = pair.counts;
        say(&format!(
            "round {rounds}: killed {} ms in; so far {kills} kills, {operations} operations, {} acknowledged, {} delivered",
            round.moment_ms,
            pair.told.acknowledged(),
            pair.told.delivered()
        ));
        if !failures.is_empty() || began.elapsed() >= task.time {
            break;
        }
    }
    if failures.is_empty() {
        say("nothing is killed any more: everything must arrive");
        failures = pair.settle()?;
    }
    Ok(hammered(&pair.told, pair.counts, began, failures))
}

/// Holds the book of a run against what lies in its folder.
fn check_only(task: &Task, stop: Arc<AtomicBool>) -> Result<Hammered, Failure> {
    let began = Instant::now();
    let mut told = Told::read(&task.folder)?;
    let program = program(&task.folder, stop)?;
    let both = [Authority::new(NAMES[0], &task.folder, &program)?, Authority::new(NAMES[1], &task.folder, &program)?];
    let failures = check(&both, &mut told, Due::OnTheWayAndBytes)?;
    Ok(hammered(&told, Counts::default(), began, failures))
}

fn program(folder: &Path, stop: Arc<AtomicBool>) -> Result<Program, Failure> {
    let traces = folder.join("traces");
    fs::create_dir_all(&traces).map_err(|error| Failure::io(&error, &traces))?;
    Program::new(traces, stop)
}

fn hammered(told: &Told, counts: Counts, began: Instant, mut failures: Vec<String>) -> Hammered {
    if told.acknowledged() == 0 {
        failures.push("nothing was acknowledged, so nothing was checked".to_owned());
    }
    Hammered {
        seed: told.seed,
        rounds: counts.rounds,
        kills: counts.kills,
        operations: counts.operations,
        acknowledged: told.acknowledged(),
        delivered: told.delivered(),
        seconds: began.elapsed().as_secs_f64(),
        failures,
        left: None,
    }
}

fn words(hammered: &Hammered) -> String {
    let is_good = hammered.failures.is_empty();
    let mut text = format!(
        "{} {}\n     Seed          {}\n     Rounds        {}, {} kills, {:.1} s\n     Operations    {}\n     \
         Acknowledged  {} statements, {} packages delivered\n     Failures      {}\n",
        if is_good { "[OK]" } else { "[XX]" },
        if is_good {
            "Nothing that was acknowledged was lost."
        } else {
            "Something that was acknowledged does not hold."
        },
        hammered.seed,
        hammered.rounds,
        hammered.kills,
        hammered.seconds,
        hammered.operations,
        hammered.acknowledged,
        hammered.delivered,
        hammered.failures.len(),
    );
    for failure in hammered.failures.iter().take(FAILURES_TOLD) {
        text.push_str(&format!("       {}\n", escape_untrusted(failure)));
    }
    if hammered.failures.len() > FAILURES_TOLD {
        text.push_str(&format!("       and {} more\n", hammered.failures.len() - FAILURES_TOLD));
    }
    if let Some(left) = &hammered.left {
        let left = left.display();
        text.push_str(&format!("     Kept          {left}\n     Next: custodia hammer --check {left}\n"));
        if !is_good {
            text.push_str(&format!("           custodia hammer --seed {}\n", hammered.seed));
        }
    }
    text
}
