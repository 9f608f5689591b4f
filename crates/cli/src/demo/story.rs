//! The story as it is told: numbered steps, a mark and a time on each line. It says only what was checked before.

use std::io::Write;
use std::time::Instant;

use custodia_node::failure::Failure;

/// Who tells the story; a silent one only keeps count of the steps.
#[derive(Debug)]
pub(crate) struct Story {
    is_silent: bool,
    began: Instant,
    step: u32,
    title: String,
    times: Vec<(String, f64)>,
}

impl Story {
    /// A story that begins now.
    pub(crate) fn begin(is_silent: bool) -> Self {
        Self { is_silent, began: Instant::now(), step: 0, title: String::new(), times: Vec::new() }
    }

    /// A line without mark.
    pub(crate) fn say(&self, text: &str) {
        if !self.is_silent {
            // A story that nobody reads goes on: what it does is checked, not what it says.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// The next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        title.clone_into(&mut self.title);
        self.times.push((title.to_owned(), self.seconds()));
        self.say(&format!("\n{:>2}  {title}", self.step));
    }

    /// Something that is done and was checked.
    pub(crate) fn done(&self, text: &str) {
        self.line("[OK]", text);
    }

    /// Something that is being done.
    pub(crate) fn doing(&self, text: &str) {
        self.line("[..]", text);
    }

    /// Something that was done to harm.
    pub(crate) fn harm(&self, text: &str) {
        self.line("[XX]", text);
    }

    /// A line below the one before.
    pub(crate) fn more(&self, text: &str) {
        self.say(&format!("                   {text}"));
    }

    /// Seconds since it began.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The steps so far, and when each began, in seconds.
    pub(crate) fn times(&self) -> &[(String, f64)] {
        &self.times
    }

    /// A failure, with the step at which it happened.
    pub(crate) fn broken(&self, failure: Failure) -> Failure {
        if self.step == 0 {
            return failure;
        }
        let what = format!("The demo ends at step {}, \"{}\". {}", self.step, self.title, failure.what);
        Failure { what, ..failure }
    }

    fn line(&self, mark: &str, text: &str) {
        self.say(&format!("    {:>6.1} s  {mark} {text}", self.seconds()));
    }
}
