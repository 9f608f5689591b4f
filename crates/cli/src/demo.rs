//! `custodia demo`: three authorities on this machine hand a package over, are cut off and killed, prove, and catch a
//! forger. Every claim of the story is checked; one that does not hold ends it with a failure.
//!
//! Everything runs as processes of this same program, in one folder. Nothing else of the person's is touched: the folder
//! that is sealed is only read. However it ends, no process is left.

mod carry;
mod kills;
mod play;
mod relay;
mod sample;
mod stage;
mod story;
mod tamper;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use custodia_node::failure::{Code, Failure};
use indicatif::HumanBytes;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Common, Demo};
use crate::ask::{Asked, answer};
use crate::scratch::folder::{absolute, fresh_seed, make_folder};
use crate::scratch::process::Program;
use kills::{Act, Kills};
use play::Told;
use stage::Stage;
use story::Story;

/// Plays the demo.
pub(crate) async fn run(demo: &Demo, common: &Common) -> Asked {
    let failed = |error: std::io::Error| Failure::io(&error, "signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = Arc::new(AtomicBool::new(false));
    let place = Place::make(demo.keep.as_deref())?;
    let source = demo.path.as_deref().map(absolute).transpose()?;
    let kills = Kills::draw(demo.kills, demo.seed.unwrap_or_else(fresh_seed));
    let (told_to, folder, is_silent) = (stop.clone(), place.folder.clone(), common.is_for_programs());
    let mut playing =
        tokio::task::spawn_blocking(move || whole_play(&folder, source.as_deref(), kills, told_to, is_silent));
    let played = tokio::select! {
        played = &mut playing => played,
        _ = tokio::signal::ctrl_c() => stopped(&stop, playing).await,
        _ = terminate.recv() => stopped(&stop, playing).await,
        _ = hangup.recv() => stopped(&stop, playing).await,
    };
    let played = played.unwrap_or_else(|error| Err(Failure::new(Code::Internal, error.to_string())));
    match played {
        Ok(told) => {
            place.tidy()?;
            answer(common, &told, |told| last_words(told, &place))
        }
        Err(failure) => Err(place.give_up(failure)),
    }
}

type Played = Result<Result<Told, Failure>, tokio::task::JoinError>;

/// Waits for the play to notice that it is to stop: then every process of it is gone.
async fn stopped(stop: &AtomicBool, playing: tokio::task::JoinHandle<Result<Told, Failure>>) -> Played {
    stop.store(true, Ordering::Relaxed);
    playing.await
}

fn whole_play(
    folder: &Path,
    source: Option<&Path>,
    kills: Kills,
    stop: Arc<AtomicBool>,
    is_silent: bool,
) -> Result<Told, Failure> {
    let story = Story::begin(is_silent);
    story.say(&format!("Custodia: three authorities on this machine, in {}", folder.display()));
    if kills.total() > 0 {
        story.say(&format!("Every process is killed at {} random moments; --seed {}", kills.total(), kills.seed()));
    }
    let traces = folder.join("traces");
    fs::create_dir(&traces).map_err(|error| Failure::io(&error, &traces))?;
    let program = Program::new(traces, stop)?;
    let mut stage = Stage::set(folder, &program, kills, story)?;
    let played = play::play(&mut stage, source);
    played.map_err(|failure| stage.story.broken(failure))
}

/// What is said at the end: what was left where, and what to try.
fn last_words(told: &Told, place: &Place) -> String {
    let mut text = format!("\n[OK] All of it held, in {:.1} s.\n", told.seconds);
    if !told.kills.is_empty() {
        text.push_str(&table_of_kills(told));
    }
    let folder = place.folder.display();
    text.push_str(&format!(
        "\nLeft in {folder}\n     \
         proof.json           the proof, for any court\n     \
         export/              the files, SHA256SUMS, the proof, how to check it by hand\n     \
         trust                whom the tribunal believes\n     \
         tampered-proof.json  one byte of it is another\n     \
         tampered-export/     one byte of one file is another\n"
    ));
    if place.folder.join("sample").is_dir() {
        text.push_str("     sample/              what was sealed\n");
    }
    if place.is_kept {
        text.push_str("     *.example/           the three homes\n");
    }
    let program = std::env::current_exe().map_or_else(|_| "custodia".to_owned(), |path| path.display().to_string());
    text.push_str(&format!(
        "\nTo play with:\n     cd {folder}\n     \
         {program} verify proof.json export --trust trust\n     \
         {program} verify proof.json tampered-export --trust trust\n     \
         {program} verify tampered-proof.json export --trust trust\n     \
         with the court's own program: custodia-verify proof.json export --trust trust\n     \
         when you are done: rm -r {folder}\n"
    ));
    text
}

fn table_of_kills(told: &Told) -> String {
    let count = |act: Act| told.kills.iter().filter(|struck| struck.act == act).count();
    let under_way = told.kills.iter().filter(|struck| struck.under_way).count();
    let acknowledged: usize = told.ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    let mut text = format!(
        "\nKills                  {}, seed {}: {} in seal, {} in send, {} in accept, {} in onward, {} in export\n\
         \x20                      {under_way} with the command under way, {} right after its answer\n\
         Acknowledged           {acknowledged} entries of three ledgers, all there, all sound\n",
        told.kills.len(),
        told.seed,
        count(Act::Seal),
        count(Act::Send),
        count(Act::Accept),
        count(Act::Onward),
        count(Act::Export),
        told.kills.len() - under_way,
    );
    for trip in &told.trips {
        text.push_str(&format!(
            "To {:<19} {} of content, {} arrived: {} a second time, {} of what was recorded as proven;\n\
             \x20                      the link carried {} in all, with manifest, handshakes, trial packets and pieces cut off\n",
            trip.to,
            HumanBytes(trip.carried.bytes),
            HumanBytes(trip.carried.travelled),
            HumanBytes(trip.sent_twice),
            trip.carried.again,
            HumanBytes(trip.link_bytes),
        ));
    }
    text
}

/// The folder in which everything lies.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    is_kept: bool,
}

impl Place {
    /// The folder that a person named, new or empty; else a new one in the temporary directory.
    fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { folder: make_folder(keep, "custodia-demo-")?, is_kept: keep.is_some() })
    }

    /// Takes away what nobody asked to keep: the three homes, which hold a copy of everything each.
    fn tidy(&self) -> Result<(), Failure> {
        if self.is_kept {
            return Ok(());
        }
        let entries = fs::read_dir(&self.folder).map_err(|error| Failure::io(&error, &self.folder))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let removed = match name.as_str() {
                "traces" => fs::remove_dir_all(&path),
                name if name.ends_with(".example") => fs::remove_dir_all(&path),
                name if name.ends_with(".card") => fs::remove_file(&path),
                _ => Ok(()),
            };
            removed.map_err(|error| Failure::io(&error, &path))?;
        }
        Ok(())
    }

    /// Says what is left after a failure. Where there is nothing to look into, nothing is.
    fn give_up(&self, failure: Failure) -> Failure {
        const TOLD_ENOUGH: [Code; 6] =
            [Code::Interrupted, Code::DiskFull, Code::InputUnreadable, Code::SourceChanged, Code::Empty, Code::Usage];
        if !self.is_kept && TOLD_ENOUGH.contains(&failure.code) {
            // What cannot be removed is in the temporary directory, and goes with it.
            let _ = fs::remove_dir_all(&self.folder);
            let gone = self.folder.display().to_string();
            let next = failure.next.iter().filter(|next| !next.contains(&gone)).cloned().collect();
            return Failure { next, ..failure }
                .safe("No process is left, and no folder. What was to be sealed was only read.");
        }
        let folder = self.folder.display();
        failure
            .safe("No process is left. What was to be sealed was only read.")
            .next(format!("look into what is left in {folder}, its traces first; then rm -r {folder}"))
    }
}
