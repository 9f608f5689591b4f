//! The two hand-overs: over a bad link with a cut and a power loss, or with kills at random; and what travelled.

use std::ffi::OsString;
use std::time::Duration;

use custodia_node::failure::{Code, Failure};
use custodia_node::operations::answers::{Carried, Delivery, TransferState};
use indicatif::HumanBytes;
use serde::Serialize;

use super::kills::Act;
use super::stage::{Measure, Named, Stage, Who};
use crate::scratch::process::{Process, args};

/// How long a limited link takes for the content, and how long where everything is to be killed meanwhile: the recipient
/// records what is proven every 5 s.
const LIMITED_SECONDS: u64 = 8;
const KILLED_SECONDS: u64 = 12;
/// The slowest link, in bytes a second: a handshake must still be quick.
const SLOWEST: u64 = 16 * 1024;
/// Content from which a link is as fast as it goes.
const NOT_LIMITED: u64 = 256 << 20;
/// How long the link is cut.
const CUT: Duration = Duration::from_secs(2);
/// How often a transfer under way is looked at, and how often its recipient is asked.
const LOOK: Duration = Duration::from_millis(2);
const ASK: Duration = Duration::from_millis(30);

/// What travelled for one hand-over.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trip {
    /// To whom.
    pub(crate) to: &'static str,
    /// What the recipient counted.
    pub(crate) carried: Carried,
    /// Bytes of content that arrived a second time: they had arrived before a power loss, and were not recorded yet.
    pub(crate) sent_twice: u64,
    /// Bytes of datagrams that the link carried towards the recipient, with everything around the content.
    pub(crate) link_bytes: u64,
    /// Bytes that the recipient's disk had recorded as proven when its power went.
    pub(crate) recorded_at_power_loss: Option<u64>,
    /// Whether the link was cut in the middle.
    pub(crate) was_cut: bool,
}

/// What is handed over.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The package.
    pub(crate) package: String,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

/// The laboratory sends to the prosecutor.
pub(crate) fn send(stage: &mut Stage, load: &Load) -> Result<Trip, Failure> {
    let rate = rate(stage, load);
    stage.link(Who::Prosecutor).limit(rate);
    let speed = rate.map_or("as much as it can".to_owned(), |rate| format!("{} a second", HumanBytes(rate)));
    stage.story.doing(&format!("{} to prosecutor.example; the link carries {speed}", HumanBytes(load.bytes)));
    let trip = match stage.kills.total() {
        0 => with_cut_and_power_loss(stage, load)?,
        _ => with_kills(stage, load, Act::Send, Who::Lab, Who::Prosecutor)?,
    };
    stage.link(Who::Prosecutor).limit(None);
    Ok(trip)
}

/// The prosecutor hands on to the tribunal, over a good link unless everything is to be killed meanwhile.
pub(crate) fn onward(stage: &mut Stage, load: &Load) -> Result<Trip, Failure> {
    if stage.kills.next(Act::Onward).is_some() {
        stage.link(Who::Tribunal).limit(rate(stage, load));
    }
    stage.story.doing(&format!("{} on to tribunal.example", HumanBytes(load.bytes)));
    let trip = with_kills(stage, load, Act::Onward, Who::Prosecutor, Who::Tribunal)?;
    stage.link(Who::Tribunal).limit(None);
    Ok(trip)
}

fn rate(stage: &Stage, load: &Load) -> Option<u64> {
    let seconds = if stage.kills.total() == 0 { LIMITED_SECONDS } else { KILLED_SECONDS };
    (load.bytes < NOT_LIMITED).then(|| (load.bytes / seconds).max(SLOWEST))
}

fn command(stage: &mut Stage, load: &Load, to: Who) -> Vec<OsString> {
    args([
        "send",
        &load.package,
        "--to",
        stage.of(to).name.label,
        "--purpose",
        "investigation and prosecution",
        "--legal-basis",
        "request 2026/31",
        "--onward",
        "tribunal.example",
        "--wait",
    ])
}

fn with_kills(stage: &mut Stage, load: &Load, act: Act, from: Who, to: Who) -> Result<Trip, Failure> {
    let since = stage.link(to).forward();
    let command = command(stage, load, to);
    let measure = Measure::Carried { to, since, bytes: load.bytes };
    let delivery = stage.perform(act, from, &command, measure, |stage| {
        let label = stage.of(to).name.label;
        let transfer = stage.of(from).handed_over(&load.package, label)?;
        let delivered = transfer.filter(|transfer| transfer.state == TransferState::Received);
        Ok(delivered.map(|transfer| Delivery { transfer, bytes_sent: 0, detour: None }))
    })?;
    arrived(stage, load, &delivery, to, since)
}

/// Half of it has passed: the link is cut for a while. At three quarters the recipient's node loses its power.
fn with_cut_and_power_loss(stage: &mut Stage, load: &Load) -> Result<Trip, Failure> {
    let to = Who::Prosecutor;
    let since = stage.link(to).forward();
    let command = command(stage, load, to);
    let mut sending = Sending { process: stage.of(Who::Lab).begin(&command)?, delivery: None };

    // Content counts from here: what passed before are the handshake, the release and the manifest.
    let mut base = since;
    while !sending.is_over(stage, &command)? {
        if let Some(carried) = stage.of(to).carried(&load.package)? {
            base = stage.link(to).forward().saturating_sub(carried.travelled).max(since);
            break;
        }
        stage.program.pause(ASK)?;
    }
    let mut was_cut = false;
    if sending.reaches(stage, &command, base + load.bytes / 2)? {
        was_cut = true;
        stage.link(to).cut();
        stage.story.harm(&format!("half has passed: the link is cut, for {} s", CUT.as_secs()));
        stage.program.pause(CUT)?;
        stage.link(to).mend();
        stage.story.done("the link is mended: the same session goes on by itself");
    }
    let mut recorded = None;
    if sending.reaches(stage, &command, base + load.bytes / 4 * 3)? {
        stage.of(to).kill();
        stage.story.harm("three quarters have passed: prosecutor.example loses its power (kill -9)");
        stage.of(to).start()?;
        stage.of(to).check()?;
        recorded = stage.of(to).carried(&load.package)?.map(|carried| carried.proven);
        let proven = HumanBytes(recorded.unwrap_or(0));
        stage.story.done(&format!("it is up again: {proven} of {} are recorded as proven", HumanBytes(load.bytes)));
    }
    let delivery = loop {
        if sending.is_over(stage, &command)?
            && let Some(delivery) = sending.delivery.take()
        {
            break delivery;
        }
        stage.program.pause(LOOK)?;
    };
    for digest in delivery.digests() {
        stage.of(Who::Lab).acknowledge(digest);
    }
    let trip = arrived(stage, load, &delivery, to, since)?;
    if !was_cut || recorded.is_none() {
        stage.story.doing("it was over too soon to be disturbed as was meant: take a larger folder to see that");
    }
    Ok(Trip { recorded_at_power_loss: recorded, was_cut, ..trip })
}

/// A `send --wait` under way.
struct Sending {
    process: Process,
    delivery: Option<Delivery>,
}

impl Sending {
    /// Whether the receipt is here. Where the peer did not answer in time, the same command is run again.
    fn is_over(&mut self, stage: &mut Stage, command: &[OsString]) -> Result<bool, Failure> {
        if self.delivery.is_some() {
            return Ok(true);
        }
        let Some(ended) = self.process.ended()? else { return Ok(false) };
        match ended.answer() {
            Ok(delivery) => {
                self.delivery = Some(delivery);
                Ok(true)
            }
            Err(failure) if failure.code == Code::PeerUnreachable => {
                stage.story.doing("the peer did not answer in time: the same command again");
                self.process = stage.of(Who::Lab).begin(command)?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits until the link has carried so much; false when the transfer was over before.
    fn reaches(&mut self, stage: &mut Stage, command: &[OsString], bytes: u64) -> Result<bool, Failure> {
        while stage.link(Who::Prosecutor).forward() < bytes {
            if self.is_over(stage, command)? {
                return Ok(false);
            }
            stage.program.pause(LOOK)?;
        }
        Ok(!self.is_over(stage, command)?)
    }
}

/// Checks that all of it arrived, and what travelled for it.
fn arrived(stage: &mut Stage, load: &Load, delivery: &Delivery, to: Who, since: u64) -> Result<Trip, Failure> {
    let label = stage.of(to).name.label;
    let wrong = |what: &str| Failure::new(Code::Internal, what).at(label).next("report this");
    let received =
        stage.of(to).received(&load.package)?.ok_or_else(|| wrong("What was delivered is not in the inbox."))?;
    let receipt = received.receipt.ok_or_else(|| wrong("What was delivered has no receipt."))?;
    if delivery.transfer.receipt.as_ref() != Some(&receipt) {
        return Err(wrong("The two sides hold different receipts.")
            .instead_of(receipt, delivery.transfer.receipt.as_deref().unwrap_or("none")));
    }
    stage.of(to).acknowledge(&receipt);
    stage.of(to).acknowledge(&received.release);
    let carried = received.carried.ok_or_else(|| wrong("Nothing was counted of what was carried."))?;
    if carried.proven != carried.bytes {
        let (expected, found) = (format!("{} bytes", carried.bytes), format!("{} bytes", carried.proven));
        return Err(wrong("There is a receipt, and not every byte is proven.").instead_of(expected, found));
    }
    if carried.again != 0 {
        return Err(wrong("Bytes that were recorded as proven were sent again.")
            .instead_of("0 bytes", format!("{} bytes", carried.again)));
    }
    let trip = Trip {
        to: label,
        carried,
        sent_twice: carried.travelled.saturating_sub(carried.bytes.saturating_sub(carried.reused)),
        link_bytes: stage.link(to).forward() - since,
        recorded_at_power_loss: None,
        was_cut: false,
    };
    stage.story.done(&format!("received whole by {label}: its signed receipt is in both ledgers"));
    stage.story.more(&format!(
        "content {}, arrived {}: {} a second time, {} of what was recorded as proven",
        HumanBytes(carried.bytes),
        HumanBytes(carried.travelled),
        HumanBytes(trip.sent_twice),
        carried.again
    ));
    stage.story.more(&format!(
        "the link carried {} in all, with manifest, handshakes, trial packets and pieces cut off",
        HumanBytes(trip.link_bytes)
    ));
    Ok(trip)
}
