//! How far long work is: bars on a terminal and a line now and then elsewhere, on stderr; for programs a line of JSON for
//! each event, on stdout.

mod words;

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use custodia_node::api::{Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};

use crate::args::{Common, ProgressStyle};
use crate::events;

/// Where progress is told.
pub(crate) struct Teller {
    op: &'static str,
    how: How,
    /// Of each package, or of the work as a whole: the phase that was shown last, and when.
    shown: HashMap<Option<String>, (Phase, Instant)>,
}

enum How {
    Events,
    Bars { all: MultiProgress, bars: HashMap<Option<String>, ProgressBar> },
    Lines,
    Nothing,
}

/// A line at most so often, but for a new phase.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Teller {
    /// One for this operation, in the style that was asked for.
    pub(crate) fn new(op: &'static str, common: &Common) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bars =
            || How::Bars { all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), bars: HashMap::new() };
        let how = match common.progress {
            _ if common.jsonl => How::Events,
            ProgressStyle::None => How::Nothing,
            ProgressStyle::Bar => bars(),
            ProgressStyle::Auto if terminal => bars(),
            ProgressStyle::Auto | ProgressStyle::Lines => How::Lines,
        };
        Self { op, how, shown: HashMap::new() }
    }

    /// Tells how far it is.
    pub(crate) fn tell(&mut self, progress: &Progress) {
        if matches!(self.how, How::Events) {
            return events::progress(self.op, progress);
        }
        if let Some(note) = &progress.note {
            self.line(note);
        }
        let key = progress.package.as_ref().map(|package| format!("{package} {:?}", progress.direction));
        if let Some(ended) = &progress.ended {
            self.shown.remove(&key);
            if let How::Bars { bars, .. } = &mut self.how
                && let Some(bar) = bars.remove(&key)
            {
                bar.finish_and_clear();
            }
            // Who waits for one hand-over is told of its end by the answer.
            if self.op == WATCH {
                self.line(&words::ended(progress, ended));
            }
            return;
        }
        let says_nothing = progress.bytes == 0 && progress.bytes_total == 0 && progress.items_total == 0;
        if says_nothing && progress.package.is_none() {
            return;
        }
        match &mut self.how {
            How::Nothing | How::Events => {}
            How::Bars { all, bars } => {
                let bar = bars.entry(key).or_insert_with(|| all.add(bar()));
                // A work of unknown length has no share that is done.
                let (done, of) = if progress.bytes_total > 0 {
                    (progress.counts(), progress.bytes_total)
                } else {
                    (progress.items.min(progress.items_total), progress.items_total)
                };
                bar.set_length(of.max(1));
                bar.set_position(done);
                bar.set_prefix(words::heading(progress));
                bar.set_message(words::state(progress));
            }
            How::Lines => {
                let shown = self.shown.get(&key);
                if shown.is_none_or(|(phase, at)| *phase != progress.phase || at.elapsed() >= LINE_EVERY) {
                    self.shown.insert(key, (progress.phase, Instant::now()));
                    self.line(&format!("{}  {}", words::heading(progress), words::state(progress)));
                }
            }
        }
    }

    /// Shows a sentence.
    fn line(&self, text: &str) {
        match &self.how {
            How::Bars { all, .. } => {
                // A terminal that has gone shows nothing more.
                let _ = all.println(format!("  {text}"));
            }
            How::Lines => {
                let _ = writeln!(std::io::stderr(), "  {text}");
            }
            How::Events | How::Nothing => {}
        }
    }
}

/// The operation that is told of all that travels.
pub(crate) const WATCH: &str = "queue/watch";

impl Drop for Teller {
    fn drop(&mut self) {
        if let How::Bars { bars, .. } = &self.how {
            bars.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::hidden());
    let style = BarStyle::with_template("  {prefix}  [{bar:20}] {msg}");
    bar.set_style(style.unwrap_or_else(|_| BarStyle::default_bar()).progress_chars("##-"));
    bar
}
