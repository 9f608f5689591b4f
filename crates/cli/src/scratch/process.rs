//! Processes of this same program: started, listened to, killed, and always reaped.
//!
//! What a process prints is its answer or its failure, as one JSON document; what it tells on stderr goes to a trace file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use custodia_node::failure::{Code, Failure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How often a process that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Time for a node to say that it listens.
const START: Duration = Duration::from_secs(30);

/// This program, and where its traces go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    file: PathBuf,
    traces: PathBuf,
    stop: Arc<AtomicBool>,
}

/// A process under way. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    printed: Option<JoinHandle<Vec<u8>>>,
    first_line: Receiver<String>,
    what: String,
    trace: PathBuf,
}

/// A process that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    printed: Vec<u8>,
    what: String,
    trace: PathBuf,
}

#[derive(Deserialize)]
struct Answer<T> {
    answer: T,
}

#[derive(Deserialize)]
struct Failed {
    failure: Failure,
}

impl Program {
    /// This program, with a folder for traces. `stop` ends every wait.
    pub(crate) fn new(traces: PathBuf, stop: Arc<AtomicBool>) -> Result<Self, Failure> {
        let file = std::env::current_exe().map_err(|error| Failure::io(&error, "this program's file"))?;
        Ok(Self { file, traces, stop })
    }

    /// Ends what waits when a person has interrupted it.
    pub(crate) fn check_stop(&self) -> Result<(), Failure> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Failure::new(Code::Interrupted, "Interrupted.")),
            false => Ok(()),
        }
    }

    /// Waits, unless a person interrupts it.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.check_stop()?;
            thread::sleep(LOOK.min(time));
        }
        Ok(())
    }

    /// Starts a process; its trace goes to the file of that name.
    pub(crate) fn start(&self, trace: &str, args: &[OsString]) -> Result<Process, Failure> {
        self.check_stop()?;
        let what = args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let trace = self.traces.join(format!("{trace}.log"));
        let failed = |error: std::io::Error, path: &Path| Failure::io(&error, path);
        let stderr = append(&trace).map_err(|error| failed(error, &trace))?;
        let mut child = Command::new(&self.file)
            .args(args)
            .env_remove("CUSTODIA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            // The terminal's Ctrl-C is for the demo, which then ends them all.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error, &self.file))?;
        let (line, first_line) = channel();
        let printed = child.stdout.take().map(|stdout| {
            thread::spawn(move || {
                let mut stdout = BufReader::new(stdout);
                let mut first = String::new();
                // What cannot be read is missed by whoever takes it for an answer.
                let _ = stdout.read_line(&mut first);
                let _ = line.send(first.clone());
                let mut all = first.into_bytes();
                let _ = stdout.read_to_end(&mut all);
                all
            })
        });
        Ok(Process { child, printed, first_line, what, trace })
    }

    /// Runs a process to its end.
    pub(crate) fn run(&self, trace: &str, args: &[OsString]) -> Result<Ended, Failure> {
        let mut process = self.start(trace, args)?;
        loop {
            if let Some(ended) = process.ended()? {
                return Ok(ended);
            }
            self.pause(LOOK)?;
        }
    }
}

impl Process {
    /// What came of it, once it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<Ended>, Failure> {
        let status = self.child.try_wait().map_err(|error| Failure::io(&error, &self.what))?;
        Ok(status.map(|status| Ended {
            status,
            printed: self.printed.take().and_then(|printed| printed.join().ok()).unwrap_or_default(),
            what: self.what.clone(),
            trace: self.trace.clone(),
        }))
    }

    /// Waits until a node says that it listens.
    pub(crate) fn listening(&mut self, program: &Program) -> Result<(), Failure> {
        let until = Instant::now() + START;
        while Instant::now() < until {
            program.check_stop()?;
            if let Ok(line) = self.first_line.recv_timeout(LOOK)
                && line.contains("\"listening\"")
            {
                return Ok(());
            }
            if let Some(ended) = self.ended()? {
                return Err(ended.failure());
            }
        }
        Err(Failure::new(Code::Internal, format!("{} did not listen within {} s.", self.what, START.as_secs())))
    }

    /// Kills it, without warning, and reaps it.
    pub(crate) fn kill(&mut self) {
        // One that has ended cannot be killed any more, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Ended {
    /// Its exit code; none when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    /// Its answer.
    pub(crate) fn answer<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice::<Answer<T>>(&self.printed).map(|told| told.answer).map_err(|_| self.failure())
    }

    /// The failure that it told, or that it told none.
    pub(crate) fn failure(&self) -> Failure {
        let told = serde_json::from_slice::<Failed>(&self.printed).map(|told| told.failure);
        told.unwrap_or_else(|_| {
            Failure::new(Code::Internal, "A process ended without an answer.")
                .at(&self.what)
                .instead_of("one JSON document", format!("{}, {} bytes printed", self.status, self.printed.len()))
                .safe("What it acknowledged before is in the ledger.")
        })
        .next(format!("read its trace: {}", self.trace.display()))
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Arguments from texts and paths.
pub(crate) fn args<A: AsRef<OsStr>>(parts: impl IntoIterator<Item = A>) -> Vec<OsString> {
    parts.into_iter().map(|part| part.as_ref().to_owned()).collect()
}
