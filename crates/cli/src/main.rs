//! `custodia`: every command is a request to the node's API, in-process or over the socket of a running node.
//!
//! This crate owns the command line, the words on screen and the exit codes. It refuses logic: what a command means is
//! the business of `custodia-node`, what a proof says that of `custodia-verify`.

mod args;
mod ask;
mod demo;
mod events;
mod hammer;
mod progress;
mod say;
mod scratch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use custodia_node::failure::{Code, Failure};
use custodia_node::operations::LedgerFsck;

use args::{Command, Ledger, Line, Waiting};
use ask::Asked;

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // What clap prints goes where it belongs; if nobody reads it, nothing is lost.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Code::Usage.exit() } else { 0 });
        }
    };
    trace();
    let common = line.common.clone();
    match run(line) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say::failure(&failure, &common);
            ExitCode::from(failure.code.exit())
        }
    }
}

/// Does what was asked, and gives the exit code.
fn run(line: Line) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // A peer can hold some dozens while it is slow, on purpose or not; a thread that waits costs little.
        .max_blocking_threads(512)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Internal, format!("The runtime did not start: {error}.")))?;
    let code = match line.command {
        Command::Verify(verify) => ask::verify(&verify, &line.common),
        Command::Explain { code } => say::explain(&code),
        Command::Demo(demo) => runtime.block_on(demo::run(&demo, &line.common)),
        Command::Hammer(hammer) => runtime.block_on(hammer::run(&hammer, &line.common)),
        // It ends in good order by itself when it is told to stop.
        Command::Serve => runtime.block_on(ask::serve(&line.common)),
        Command::Queue { what: Some(Waiting::Watch), .. } => runtime.block_on(ask::watch(&line.common)),
        Command::Ledger(Ledger::Fsck { bytes, from_start }) => {
            runtime.block_on(ask::fsck(LedgerFsck { bytes, from_start }, &line.common))
        }
        command => runtime.block_on(async {
            tokio::select! {
                done = ask::command(command, &line.common) => done,
                _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::Interrupted, "Interrupted.")
                    .safe("Everything that was acknowledged is safe.")
                    .next("run the same command again")),
            }
        }),
    };
    // Work that nobody waits for any more ends with the process; what is durable does not depend on it.
    runtime.shutdown_background();
    code
}

/// The trace goes to stderr, one line an event, and holds nothing of a case.
fn trace() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CUSTODIA_TRACE")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// Prints a result on stdout.
fn print(text: &str) -> Asked {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        // Whoever read it has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::io(&error, "standard output")),
    }
}
