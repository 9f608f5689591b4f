//! The stage: three authorities, the links between them, and how an act is performed while everything may be killed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use custodia_node::failure::{Code, Failure};
use custodia_node::operations::answers::{Delivery, Sealed, StatementLine, Written};
use indicatif::HumanBytes;
use serde::de::DeserializeOwned;

use super::kills::{Act, Kills};
use super::relay::Relay;
use super::story::Story;
use crate::scratch::authority::{Authority, Name};
use crate::scratch::process::Program;

const LAB: Name = Name { label: "forensics.example", display: "Forensic Laboratory North", role: "lab" };
const PROSECUTOR: Name = Name { label: "prosecutor.example", display: "Prosecutor of Southland", role: "prosecutor" };
const TRIBUNAL: Name = Name { label: "tribunal.example", display: "International Tribunal", role: "tribunal" };

/// How often an act under way is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How often the same command is run again because the peer did not answer in time.
const TRIES: u32 = 5;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Seals and sends.
    Lab,
    /// Receives, accepts, hands on.
    Prosecutor,
    /// Receives, accepts, proves.
    Tribunal,
}

/// How far an act is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Measure {
    /// By bytes that the link to this authority has carried since the act began.
    Carried { to: Who, since: u64, bytes: u64 },
    /// By time, of about so much.
    Time(Duration),
}

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) story: Story,
    pub(crate) program: Program,
    pub(crate) kills: Kills,
    /// What is handed over, once it is sealed.
    pub(crate) package: Option<String>,
    folder: PathBuf,
    lab: Authority,
    prosecutor: Authority,
    tribunal: Authority,
    to_prosecutor: Relay,
    to_tribunal: Relay,
}

impl Stage {
    /// Sets the stage in a folder; nothing runs yet.
    pub(crate) fn set(folder: &Path, program: &Program, kills: Kills, story: Story) -> Result<Self, Failure> {
        let authority = |name| Authority::new(name, folder, program);
        let (lab, prosecutor, tribunal) = (authority(LAB)?, authority(PROSECUTOR)?, authority(TRIBUNAL)?);
        Ok(Self {
            story,
            program: program.clone(),
            kills,
            package: None,
            folder: folder.to_owned(),
            to_prosecutor: Relay::open(prosecutor.listen())?,
            to_tribunal: Relay::open(tribunal.listen())?,
            lab,
            prosecutor,
            tribunal,
        })
    }

    /// A path in the demo's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One of the authorities.
    pub(crate) fn of(&mut self, who: Who) -> &mut Authority {
        match who {
            Who::Lab => &mut self.lab,
            Who::Prosecutor => &mut self.prosecutor,
            Who::Tribunal => &mut self.tribunal,
        }
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> [&mut Authority; 3] {
        [&mut self.lab, &mut self.prosecutor, &mut self.tribunal]
    }

    /// The link by which others reach an authority; nobody calls the laboratory over one.
    pub(crate) fn link(&self, to: Who) -> &Relay {
        match to {
            Who::Tribunal => &self.to_tribunal,
            Who::Lab | Who::Prosecutor => &self.to_prosecutor,
        }
    }

    /// Makes the three nodes, lets them meet, and starts them.
    pub(crate) fn open(&mut self) -> Result<(), Failure> {
        self.lab.init(self.lab.listen())?;
        self.prosecutor.init(self.to_prosecutor.address())?;
        self.tribunal.init(self.to_tribunal.address())?;
        for (believer, whom) in [
            (Who::Lab, Who::Prosecutor),
            (Who::Prosecutor, Who::Lab),
            (Who::Prosecutor, Who::Tribunal),
            (Who::Tribunal, Who::Prosecutor),
            (Who::Tribunal, Who::Lab),
        ] {
            self.meet(believer, whom)?;
        }
        for authority in self.all() {
            authority.start()?;
            authority.check()?;
        }
        Ok(())
    }

    /// One takes the other's card, and compares its fingerprint with what the other says.
    fn meet(&mut self, believer: Who, whom: Who) -> Result<(), Failure> {
        let card = self.of(whom).card()?;
        let path = self.path(&format!("{}.card", card.name));
        fs::write(&path, &card.cards).map_err(|error| Failure::io(&error, &path))?;
        let add = ["trust", "add", &path.to_string_lossy(), "--fingerprint", &card.fingerprint];
        self.of(believer).ask::<serde_json::Value, _>(add).map(drop)
    }

    /// Performs an act to its answer. Where a kill is due, everything is killed, started again and checked; then `found`
    /// looks whether the act was done all the same, and if not the same command is run again.
    pub(crate) fn perform<T: Named>(
        &mut self,
        act: Act,
        who: Who,
        command: &[OsString],
        measure: Measure,
        found: impl Fn(&mut Self) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let mut tries = TRIES;
        let mut is_first = true;
        let answer: T = loop {
            if !is_first && let Some(answer) = found(self)? {
                break answer;
            }
            is_first = false;
            let mut process = self.of(who).begin(command)?;
            let began = Instant::now();
            let ended = loop {
                if self.is_due(act, measure, began) {
                    break None;
                }
                if let Some(ended) = process.ended()? {
                    break Some(ended);
                }
                self.program.pause(LOOK)?;
            };
            match ended.map(|ended| ended.answer()) {
                None => {
                    process.kill();
                    self.kill_all(act, true)?;
                }
                Some(Err(failure)) if failure.code == Code::PeerUnreachable && tries > 0 => {
                    tries -= 1;
                    self.story.doing("the peer did not answer in time: the same command again");
                }
                Some(answer) => break answer?,
            }
        };
        for digest in answer.digests() {
            self.of(who).acknowledge(digest);
        }
        // The prosecutor's acceptance leaves what is left of its kills to that of the tribunal.
        while self.kills.next(act).is_some() && (act, who) != (Act::Accept, Who::Prosecutor) {
            // What was just answered must hold.
            self.kill_all(act, false)?;
        }
        Ok(answer)
    }

    fn is_due(&self, act: Act, measure: Measure, began: Instant) -> bool {
        let Some(part) = self.kills.next(act) else { return false };
        match measure {
            Measure::Carried { to, since, bytes } => {
                self.link(to).forward().saturating_sub(since) as f64 >= part * bytes as f64
            }
            Measure::Time(usual) => began.elapsed().as_secs_f64() >= part * usual.as_secs_f64(),
        }
    }

    /// Kills every node, starts them again, and checks that nothing acknowledged is missing.
    fn kill_all(&mut self, act: Act, under_way: bool) -> Result<(), Failure> {
        for authority in self.all() {
            authority.kill();
        }
        self.kills.strike(act, under_way);
        let (number, total) = (self.kills.struck().len(), self.kills.total());
        let during = self.kills.struck().last().map_or(0, |struck| struck.percent);
        let when = match (under_way, act) {
            (false, _) => "right after the answer".to_owned(),
            (true, Act::Send | Act::Onward) => format!("the link has carried {during} % of the content's size"),
            (true, _) => "before the answer".to_owned(),
        };
        self.story.harm(&format!("kill {number} of {total}: every process, {when}"));
        // Whoever receives first, so that the sender finds them.
        for who in [Who::Tribunal, Who::Prosecutor, Who::Lab] {
            self.of(who).start()?;
        }
        let mut statements = 0;
        for authority in self.all() {
            authority.check()?;
            statements += authority.acknowledged();
        }
        let recorded = self.recorded(act)?.unwrap_or_default();
        self.story.done(&format!("up again: all {statements} acknowledged entries are there{recorded}"));
        Ok(())
    }

    /// How much the recipient of a transfer under way has recorded as proven.
    fn recorded(&mut self, act: Act) -> Result<Option<String>, Failure> {
        let to = match act {
            Act::Send => Who::Prosecutor,
            Act::Onward => Who::Tribunal,
            Act::Seal | Act::Accept | Act::Export => return Ok(None),
        };
        let Some(package) = self.package.clone() else { return Ok(None) };
        let carried = self.of(to).carried(&package)?;
        Ok(carried.map(|carried| format!("; {} recorded as proven", HumanBytes(carried.proven))))
    }
}

/// An answer that names statements.
pub(crate) trait Named: DeserializeOwned {
    /// The digests.
    fn digests(&self) -> Vec<&str>;
}

impl Named for Sealed {
    fn digests(&self) -> Vec<&str> {
        self.seal.as_deref().into_iter().collect()
    }
}

impl Named for Delivery {
    fn digests(&self) -> Vec<&str> {
        std::iter::once(self.transfer.release.as_str()).chain(self.transfer.receipt.as_deref()).collect()
    }
}

impl Named for StatementLine {
    fn digests(&self) -> Vec<&str> {
        vec![&self.digest]
    }
}

impl Named for Written {
    fn digests(&self) -> Vec<&str> {
        Vec::new()
    }
}
