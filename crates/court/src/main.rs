//! `custodia-verify`: a court checks a proof, offline, with this program and nothing else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use custodia_court::{Drawn, Request, check};

/// Check a proof of custody, with its files or without. Reads what is named, writes nothing, calls nobody.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Ends with 0 unchanged, 10 changed, 11 cannot tell, 12 cannot tell only because of the \
trust file, 13 remarks under --strict, 40 two histories of one ledger; 1 when a file cannot be read, 2 when the command is \
not understood."
)]
struct Line {
    /// The proof.
    proof: PathBuf,
    /// The folder with its files: an export, or the files themselves.
    dir: Option<PathBuf>,
    /// Whom you believe: a text with a line for each authority, from a source of your own.
    #[arg(long, value_name = "TRUSTFILE")]
    trust: Option<PathBuf>,
    /// End with 13 when there are remarks.
    #[arg(long)]
    strict: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Tell the chain of custody too: who had it from when to when, what was done, and what is not whole.
    #[arg(long)]
    chain: bool,
    /// Of this record alone.
    #[arg(long, value_name = "NUMBER", requires = "chain")]
    item: Option<u64>,
    /// Print the chain of custody as a picture (SVG), and nothing else.
    #[arg(long, requires = "chain", conflicts_with = "json")]
    svg: bool,
}

fn main() -> ExitCode {
    let line = Line::parse();
    let chain = line.chain.then_some(if line.svg { Drawn::Picture(line.item) } else { Drawn::Words(line.item) });
    let Line { proof, dir, trust, strict, json, .. } = line;
    let request = Request { proof, dir, trust, strict, json, chain };
    match check(&request) {
        Ok(checked) => {
            // A verdict that could not be printed still is the exit code.
            let _ = std::io::stdout().lock().write_all(checked.text.as_bytes());
            ExitCode::from(checked.exit_code)
        }
        Err(error) => {
            let text = format!(
                "[!!] {error}\n     Safe: nothing was judged, nothing was written.\n     You can: {}\n",
                error.next_step()
            );
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            ExitCode::from(1)
        }
    }
}
