//! How far long work is: a bar on a terminal, a line now and then elsewhere. Always on stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use custodia_node::api::Progress;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};

use crate::args::ProgressStyle;

/// Where progress is drawn.
pub(crate) struct Teller {
    how: How,
    phase: String,
}

enum How {
    Bar(ProgressBar),
    Lines { last: Option<Instant> },
    Nothing,
}

/// A line at most so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Teller {
    /// One in this style.
    pub(crate) fn new(style: ProgressStyle) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let how = match style {
            ProgressStyle::None => How::Nothing,
            ProgressStyle::Bar => How::Bar(bar()),
            ProgressStyle::Auto if terminal => How::Bar(bar()),
            ProgressStyle::Auto | ProgressStyle::Lines => How::Lines { last: None },
        };
        Self { how, phase: String::new() }
    }

    /// Shows how far it is.
    pub(crate) fn tell(&mut self, progress: &Progress) {
        if let Some(note) = &progress.note {
            self.line(note);
        }
        if progress.bytes_total == 0 && progress.items_total == 0 {
            return;
        }
        let fresh = self.phase != progress.phase;
        self.phase.clone_from(&progress.phase);
        match &mut self.how {
            How::Nothing => {}
            How::Bar(bar) => {
                bar.set_length(progress.bytes_total.max(1));
                bar.set_position(progress.bytes);
                bar.set_message(counted(progress));
            }
            How::Lines { last } => {
                if fresh || last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
                    *last = Some(Instant::now());
                    let (done, total) = (HumanBytes(progress.bytes), HumanBytes(progress.bytes_total));
                    let _ = writeln!(std::io::stderr(), "  {}  {done} of {total}", counted(progress));
                }
            }
        }
    }

    /// Shows a sentence.
    pub(crate) fn line(&mut self, text: &str) {
        match &self.how {
            How::Bar(bar) => bar.println(format!("  {text}")),
            How::Lines { .. } => {
                let _ = writeln!(std::io::stderr(), "  {text}");
            }
            How::Nothing => {}
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }
}

fn counted(progress: &Progress) -> String {
    match progress.items_total {
        0 => progress.phase.clone(),
        total => format!("{}  {} of {total} files", progress.phase, progress.items),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    let style = BarStyle::with_template("  {msg}  [{bar:30}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta}");
    bar.set_style(style.unwrap_or_else(|_| BarStyle::default_bar()).progress_chars("##-"));
    bar
}
