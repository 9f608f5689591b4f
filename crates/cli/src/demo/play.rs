//! The play, act by act. What it tells was checked; what does not hold ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use custodia_format::text::escape_untrusted;
use custodia_node::failure::{Code, Failure};
use custodia_node::operations::answers::{Sealed, StatementLine, Text, Written};
use indicatif::HumanBytes;
use serde::Serialize;

use super::carry::{self, Load, Trip};
use super::kills::{Act, Struck};
use super::stage::{Measure, Stage, Who};
use super::{sample, tamper};
use crate::scratch::process::args;

const CASE: &str = "C-2026-031";
/// Characters of a line of a report that the story quotes.
const QUOTED_CHARS: usize = 110;

/// Room that the three ledgers and the traces take, and some.
const SPARE_BYTES: u64 = 64 << 20;
/// What a file costs beyond its bytes: a block, its record, its midstates.
const FILE_BYTES: u64 = 8 * 1024;
/// Copies of the content: in three vaults and in the export.
const COPIES: u64 = 4;
/// Time for an acceptance to reach those who wait for it.
const ANSWERED: Duration = Duration::from_secs(20);

/// What happened, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) package: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// The steps, and when each began, in seconds.
    pub(crate) steps: Vec<(String, f64)>,
    pub(crate) trips: Vec<Trip>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) ledgers: Vec<Sound>,
    pub(crate) kills: Vec<Struck>,
    pub(crate) seed: u64,
    pub(crate) left: PathBuf,
}

/// How a check of `custodia verify` ended, which was as it should.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) proof: &'static str,
    pub(crate) export: &'static str,
    pub(crate) exit_code: i32,
}

/// A ledger that was checked at the end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sound {
    pub(crate) authority: &'static str,
    pub(crate) entries: u64,
    /// Entries that answers have named; all are there.
    pub(crate) acknowledged: usize,
}

/// Plays it all with a folder, or with the sample.
pub(crate) fn play(stage: &mut Stage, folder: Option<&Path>) -> Result<Told, Failure> {
    stage.story.step("Three authorities, each with its own node, keys and ledger");
    stage.open()?;
    let lines = stage.all().map(|authority| {
        let (name, home) = (authority.name, authority.home().display());
        format!("{:<19} {:<25} {home}", name.label, name.display)
    });
    lines.iter().for_each(|line| stage.story.done(line));
    stage.story.more("each has met those whom it deals with, and compared the fingerprints of their keys");

    stage.story.step("Seal");
    let source = match folder {
        Some(folder) => folder.to_owned(),
        None => {
            let path = stage.path("sample");
            sample::write(&path)?;
            path
        }
    };
    let (load, files) = seal(stage, &source)?;

    stage.story.step("Send to the prosecutor, over a bad link");
    let mut trips = vec![carry::send(stage, &load)?];

    stage.story.step("Accept: a person's decision, signed");
    accept(stage, Who::Prosecutor, &load)?;

    stage.story.step("Onward to the tribunal");
    trips.push(carry::onward(stage, &load)?);
    accept(stage, Who::Tribunal, &load)?;

    stage.story.step("Prove and export");
    prove(stage, &load)?;

    stage.story.step("Verify, as a court does: offline, with the files, the proof and a list of whom it believes");
    let mut verdicts = vec![verify(stage, "proof.json", "export", 0, None)?];

    stage.story.step("Tamper, and be caught");
    verdicts.extend(tampered(stage)?);

    stage.story.step("The ledgers, read from end to end");
    let ledgers = ledgers(stage)?;

    Ok(Told {
        package: load.package,
        files,
        bytes: load.bytes,
        seconds: stage.story.seconds(),
        steps: stage.story.times().to_vec(),
        trips,
        verdicts,
        ledgers,
        kills: stage.kills.struck().to_vec(),
        seed: stage.kills.seed(),
        left: stage.path(""),
    })
}

fn seal(stage: &mut Stage, source: &Path) -> Result<(Load, u64), Failure> {
    let paths = |rest: &[&str]| {
        let mut all = args(["seal", "--case", CASE, "--note", "exhumation, grave 4 east"]);
        all.extend(args(rest));
        all.push("--".into());
        all.push(source.into());
        all
    };
    let counted: Sealed = stage.of(Who::Lab).ask(paths(&["--dry-run"]))?;
    let (files, bytes) = (counted.files, counted.bytes);
    enough_room(&stage.path(""), COPIES * (bytes + files * FILE_BYTES) + SPARE_BYTES)?;

    let usual = Duration::from_millis(25) + Duration::from_micros(bytes / 500 + files * 50);
    let sealed = stage.perform(Act::Seal, Who::Lab, &paths(&[]), Measure::Time(usual), |stage| {
        let lines = stage.of(Who::Lab).statements()?;
        let seal = lines.into_iter().find(|line| line.kind == "seal");
        Ok(seal.map(|seal| Sealed {
            package: seal.package,
            seal: Some(seal.digest),
            leaf_index: Some(seal.leaf_index),
            ..counted.clone()
        }))
    })?;
    let package = sealed.package.ok_or_else(|| Failure::new(Code::Internal, "What was sealed has no package."))?;
    if (sealed.files, sealed.bytes) != (files, bytes) {
        return Err(Failure::new(Code::SourceChanged, "The folder changed between counting and sealing.")
            .at(source.display())
            .next("run it again with a folder that nobody writes to"));
    }
    stage.story.done(&format!("{files} files, {}: copied, hashed, signed, in the ledger", HumanBytes(bytes)));
    stage.story.more(&format!("package {package}"));
    stage.package = Some(package.clone());
    Ok((Load { package, bytes }, files))
}

fn enough_room(folder: &Path, needed: u64) -> Result<(), Failure> {
    let room = rustix::fs::statvfs(folder).map_err(|error| Failure::io(&error.into(), folder))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free >= needed {
        return Ok(());
    }
    Err(Failure::new(Code::DiskFull, "There is not enough room for three authorities and an export.")
        .at(folder.display())
        .instead_of(format!("{} free", HumanBytes(needed)), format!("{} free", HumanBytes(free)))
        .safe("Nothing was sealed; your folder was only counted.")
        .next("free some space, or name another disk with --keep DIR or in TMPDIR")
        .next("or name a smaller folder"))
}

fn accept(stage: &mut Stage, who: Who, load: &Load) -> Result<(), Failure> {
    let package = load.package.clone();
    let measure = Measure::Time(Duration::from_millis(20));
    let line: StatementLine =
        stage.perform(Act::Accept, who, &args(["accept", &load.package]), measure, move |stage| {
            let authority = stage.of(who);
            let ledger = format!("{}/", authority.name.label);
            let lines = authority.statements()?;
            Ok(lines.into_iter().find(|line| {
                line.kind == "acceptance" && line.ledger.starts_with(&ledger) && line.package.as_ref() == Some(&package)
            }))
        })?;
    let label = stage.of(who).name.label;
    stage.story.done(&format!("officer O-1 of {label} took it into custody: entry {} of its ledger", line.leaf_index));
    Ok(())
}

fn prove(stage: &mut Stage, load: &Load) -> Result<(), Failure> {
    answered(stage, Who::Lab, Who::Prosecutor, load)?;
    answered(stage, Who::Prosecutor, Who::Tribunal, load)?;
    stage.story.done("both acceptances have reached those who handed over");

    let export = stage.path("export");
    let command: Vec<_> = args(["export", &load.package]).into_iter().chain([export.clone().into()]).collect();
    let usual = Duration::from_millis(25) + Duration::from_micros(load.bytes / 500);
    stage.perform(Act::Export, Who::Tribunal, &command, Measure::Time(usual), |_| {
        // A folder under this name is whole; what was begun lies beside it under another.
        Ok(export.is_dir().then(|| Written {
            path: export.display().to_string(),
            sha256: None,
            files: 0,
            bytes: 0,
            verdict: String::new(),
            findings: Vec::new(),
        }))
    })?;
    let proof = stage.path("proof.json");
    let command: Vec<_> = args(["prove", &load.package, "--out"]).into_iter().chain([proof.into()]).collect();
    let written: Written = stage.of(Who::Tribunal).ask(command)?;
    let trust: Text = stage.of(Who::Tribunal).ask(["trust", "export"])?;
    let path = stage.path("trust");
    fs::write(&path, trust.text).map_err(|error| Failure::io(&error, &path))?;
    let size = HumanBytes(written.bytes);
    stage.story.done(&format!("the tribunal wrote proof.json ({size}), the files in export/, and its trust file"));
    Ok(())
}

/// Waits until an acceptance has reached the one who handed over.
fn answered(stage: &mut Stage, from: Who, to: Who, load: &Load) -> Result<(), Failure> {
    let label = stage.of(to).name.label;
    let began = std::time::Instant::now();
    loop {
        let transfer = stage.of(from).handed_over(&load.package, label)?;
        match transfer.and_then(|transfer| transfer.answer) {
            Some(answer) if answer == "accepted" => return Ok(()),
            _ if began.elapsed() > ANSWERED => {
                return Err(Failure::new(
                    Code::PeerUnreachable,
                    "An acceptance did not reach the one who handed over.",
                )
                .at(label)
                .safe("It is signed, and in the ledger of the one who accepted."));
            }
            _ => stage.program.pause(Duration::from_millis(50))?,
        }
    }
}

/// Runs `custodia verify`, and takes only the exit code that was foretold.
fn verify(
    stage: &mut Stage,
    proof: &'static str,
    export: &'static str,
    foretold: i32,
    names: Option<&str>,
) -> Result<Verdict, Failure> {
    let mut command = args(["verify"]);
    command.extend([stage.path(proof).into(), stage.path(export).into()]);
    command.extend(args(["--trust"]));
    command.push(stage.path("trust").into());
    let ended = stage.program.run("verify", &command)?;
    let text = ended.text();
    let code = ended.code().unwrap_or(-1);
    if code != foretold {
        return Err(Failure::new(Code::Internal, "The verdict is not the one that is due.")
            .at(format!("custodia verify {proof} {export} --trust trust"))
            .instead_of(format!("exit code {foretold}"), format!("exit code {code}: {text}"))
            .next("report this"));
    }
    if let Some(name) = names.filter(|name| !text.contains(*name)) {
        return Err(Failure::new(Code::Internal, "The verdict does not name the file that was changed.")
            .at(proof)
            .instead_of(name, &text)
            .next("report this"));
    }
    let told = format!("custodia verify {proof} {export} --trust trust   exit code {code}");
    stage.story.done(&told);
    let telling = |line: &&str| !line.trim().is_empty();
    let lines = if foretold == 0 { 1 } else { 3 };
    for line in text.lines().filter(telling).take(lines) {
        let told: String = line.chars().take(QUOTED_CHARS).collect();
        let rest = if told.len() < line.len() { " …" } else { "" };
        stage.story.more(&format!("| {told}{rest}"));
    }
    Ok(Verdict { proof, export, exit_code: code })
}

fn tampered(stage: &mut Stage) -> Result<[Verdict; 2], Failure> {
    let changed = tamper::export(&stage.path("export"), &stage.path("tampered-export"))?;
    let name = escape_untrusted(&changed.file.to_string_lossy());
    stage.story.harm(&format!("one byte of {name} is changed, at {}", changed.offset));
    let first = verify(stage, "proof.json", "tampered-export", 10, Some(&name))?;
    let offset = tamper::proof(&stage.path("proof.json"), &stage.path("tampered-proof.json"))?;
    stage.story.harm(&format!("one byte of the proof is changed, in the SHA-256 of a sealed file, at {offset}"));
    let second = verify(stage, "tampered-proof.json", "export", 10, None)?;
    Ok([first, second])
}

fn ledgers(stage: &mut Stage) -> Result<Vec<Sound>, Failure> {
    let mut sound = Vec::new();
    for authority in stage.all() {
        authority.check()?;
        let entries = authority.fsck()?;
        sound.push(Sound { authority: authority.name.label, entries, acknowledged: authority.acknowledged() });
    }
    for one in &sound {
        let Sound { authority, entries, acknowledged } = one;
        stage
            .story
            .done(&format!("{authority:<19} sound: {entries} entries, all {acknowledged} acknowledged are there"));
    }
    Ok(sound)
}
