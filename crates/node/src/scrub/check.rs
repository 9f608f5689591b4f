//! The check that a person asks for: every object, its midstates, every manifest. It can be stopped at any MiB, and goes on
//! from there when it is asked again within a day.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use custodia_format::Hash;
use custodia_vault::{Found, ItemError, Looked, MidstatesWere};

use super::record::{Cursor, change_damaged};
use super::shelves::{Suspect, Wrong, below, of_object, walk};
use super::{Amount, Checking};
use crate::Node;
use crate::api::{Phase, Progress, Reporter, TELL_EVERY};
use crate::desk::moment;
use crate::failure::{Code, Failure};
use crate::operations::answers::{CheckedContent, Resumed};

/// How often its place is made durable: what a kill costs.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Where a check begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Where one stopped within the last day, if one did.
    WhereItStopped,
    /// At the first object.
    AtTheStart,
}

/// Reads everything back.
pub(crate) fn run(
    node: &Node,
    begin: Begin,
    checking: &Checking<'_>,
    reporter: &Reporter,
) -> Result<CheckedContent, Failure> {
    let began = Instant::now();
    let cursor = match begin {
        Begin::WhereItStopped => Cursor::load(node.home()),
        Begin::AtTheStart => None,
    };
    let resumed = cursor.as_ref().map(|cursor| Resumed {
        began: moment(cursor.began),
        objects: cursor.objects,
        bytes: cursor.bytes,
    });
    let cursor = cursor.unwrap_or_else(Cursor::new);
    let counts_on = || match checking.is_told_to_stop() || reporter.is_abandoned() {
        true => Err(Failure::new(Code::Interrupted, "The check was interrupted while it counted what there is.")
            .safe("Nothing was changed.")
            .next("custodia ledger fsck --bytes")),
        false => Ok(()),
    };
    let watch = Watch {
        checking,
        reporter,
        all: Amount::of(node, &counts_on)?,
        objects: AtomicU64::new(cursor.objects),
        bytes: AtomicU64::new(cursor.bytes),
        told: Mutex::new(None),
    };
    if let Some(resumed) = &resumed {
        let note = format!("Going on after {} objects of the check that began {}.", resumed.objects, resumed.began);
        reporter.progress(Progress::note(Phase::Objects, note));
    }
    let read_before = cursor.bytes;
    let mut run = Run { node, watch: &watch, going: Mutex::default() };
    run.again(cursor)?;
    let strays = run.objects()?;
    let mut remarks: Vec<String> = strays.iter().map(|path| format!("{}: a stray file", below(node, path))).collect();
    let going = run.going.get_mut().unwrap_or_else(PoisonError::into_inner);
    remarks.append(&mut going.remarks);
    let midstates = midstates(node, &mut remarks, &|| watch.goes_on(&going.cursor))?;

    let suspected: HashSet<Hash> = going.suspects.keys().copied().collect();
    let walked = walk(node, &suspected, &|| watch.goes_on(&going.cursor))?;
    let mut damage = walked.damage;
    remarks.extend(walked.remarks);
    for sha256 in &walked.missing {
        going.suspects.entry(*sha256).or_insert(Suspect { sha256: *sha256, wrong: Wrong::Missing });
    }
    let suspects = std::mem::take(&mut going.suspects);
    damage.extend(suspects.values().map(|suspect| of_object(node, suspect, walked.needs.get(&suspect.sha256))));
    damage.sort_by(|one, other| one.path.cmp(&other.path));
    let (objects, bytes) = (going.cursor.objects, going.cursor.bytes);

    // All was read: from here on this is what is known of damage.
    change_damaged(node, |known| known.clone_from(&damage))?;
    Cursor::forget(node.home())?;
    Ok(CheckedContent {
        objects,
        bytes,
        midstates,
        manifests: walked.manifests,
        bytes_read: bytes.saturating_sub(read_before).saturating_add(walked.bytes),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        resumed,
        damage,
        remarks,
    })
}

/// A check under way. Shared by its threads.
struct Run<'a> {
    node: &'a Node,
    watch: &'a Watch<'a>,
    going: Mutex<Going>,
}

#[derive(Default)]
struct Going {
    cursor: Cursor,
    saved: Option<Instant>,
    /// Read, and not yet all before it: what the cursor must not count yet.
    ahead: BTreeMap<Hash, u64>,
    suspects: BTreeMap<Hash, Suspect>,
    remarks: Vec<String>,
}

impl Run<'_> {
    /// Takes up a check where it stopped: what was not whole is read again.
    fn again(&mut self, mut cursor: Cursor) -> Result<(), Failure> {
        let going = self.going.get_mut().unwrap_or_else(PoisonError::into_inner);
        for sha256 in std::mem::take(&mut cursor.damaged).iter().filter_map(|hex| Hash::from_hex(hex)) {
            self.watch.goes_on(&cursor)?;
            let size = self.node.vault().item(&sha256).map_or(0, |item| item.size());
            match self.node.vault().verify_item(&sha256, &Quiet(self.watch)) {
                Err(ItemError::Cancelled) => return Err(self.watch.interrupted(&cursor)),
                // Gone, or whole by now: that it is missing is found with the manifests.
                Err(ItemError::Missing { .. }) | Ok(_) => {}
                Err(error) => {
                    cursor.damaged.push(sha256.to_string());
                    going.suspects.insert(sha256, Suspect { sha256, wrong: Wrong::of(&error, size) });
                }
            }
        }
        for sha256 in cursor.healed.iter().filter_map(|hex| Hash::from_hex(hex)) {
            going.suspects.entry(sha256).or_insert(Suspect { sha256, wrong: Wrong::Midstates });
        }
        going.cursor = cursor;
        Ok(())
    }

    /// Reads every object that is left; gives what lies among them and is not ours.
    fn objects(&self) -> Result<Vec<std::path::PathBuf>, Failure> {
        let after = self.going().cursor.after.as_deref().and_then(Hash::from_hex);
        let checked = self.node.vault().check_after(after.as_ref(), self.node.cores(), self.watch, &|looked| {
            self.looked(&looked);
        });
        let mut going = self.going();
        going.cursor.save(self.node.home())?;
        let report = checked?;
        if report.cancelled {
            return Err(self.watch.interrupted(&going.cursor));
        }
        Ok(report.strays)
    }

    fn looked(&self, looked: &Looked<'_>) {
        let mut going = self.going();
        let sha256 = looked.sha256;
        match looked.outcome {
            Ok(MidstatesWere::Right) => {}
            Ok(MidstatesWere::Missing) => {
                let hex = sha256.to_string();
                let remark = format!("midstates/{}/{hex}: it was missing, and is written anew", &hex[..2]);
                going.remarks.push(remark);
            }
            Ok(MidstatesWere::Wrong) => {
                going.cursor.healed.push(sha256.to_string());
                going.suspects.insert(sha256, Suspect { sha256, wrong: Wrong::Midstates });
            }
            Err(error) => {
                going.cursor.damaged.push(sha256.to_string());
                going.suspects.insert(sha256, Suspect { sha256, wrong: Wrong::of(error, looked.size) });
            }
        }
        going.ahead.insert(sha256, looked.size);
        while let Some(first) = going.ahead.first_entry()
            && looked.reached.is_some_and(|reached| *first.key() <= reached)
        {
            let (sha256, size) = first.remove_entry();
            going.cursor.after = Some(sha256.to_string());
            going.cursor.objects += 1;
            going.cursor.bytes = going.cursor.bytes.saturating_add(size);
        }
        if going.saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) {
            going.saved = Some(Instant::now());
            if let Err(failure) = going.cursor.save(self.node.home()) {
                // The check itself goes on: an interrupted one will begin further back.
                tracing::warn!(%failure, "the place of a check was not kept");
            }
        }
    }

    fn going(&self) -> MutexGuard<'_, Going> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the midstates files, and remarks on those whose item is not here. Each was held against its item before.
fn midstates(
    node: &Node,
    remarks: &mut Vec<String>,
    goes_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut count = 0;
    for found in node.vault().midstate_files() {
        goes_on()?;
        match found? {
            Found::Stray { path } => remarks.push(format!("{}: a stray file", below(node, &path))),
            Found::Item { sha256, .. } => {
                count += 1;
                if !node.vault().contains(&sha256)? {
                    let hex = sha256.to_string();
                    remarks.push(format!("midstates/{}/{hex}: its item is not here", &hex[..2]));
                }
            }
        }
    }
    Ok(count)
}

/// Tells how far a check is, and learns that it is to stop.
struct Watch<'a> {
    checking: &'a Checking<'a>,
    reporter: &'a Reporter,
    all: Amount,
    objects: AtomicU64,
    bytes: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Watch<'_> {
    fn stops(&self) -> bool {
        self.checking.is_told_to_stop() || self.reporter.is_abandoned()
    }

    fn goes_on(&self, cursor: &Cursor) -> Result<(), Failure> {
        if self.stops() { Err(self.interrupted(cursor)) } else { Ok(()) }
    }

    /// How far it got.
    fn interrupted(&self, cursor: &Cursor) -> Failure {
        let damaged = match cursor.damaged.len() + cursor.healed.len() {
            0 => String::new(),
            some => format!("; {some} files among them are damaged, and will be told at the end"),
        };
        let place = match &cursor.after {
            None => "objects/, before the first".to_owned(),
            Some(after) => format!("objects/, after {after}"),
        };
        Failure::new(Code::Interrupted, "The check was interrupted before its end.")
            .at(place)
            .instead_of(
                format!("{} objects, {} bytes, then the manifests", self.all.objects, self.all.bytes),
                format!("{} objects, {} bytes checked{damaged}", cursor.objects, cursor.bytes),
            )
            .safe("Nothing was changed. How far it got is kept for a day, and the next check goes on from there.")
            .next("custodia ledger fsck --bytes")
            .next("custodia ledger fsck --bytes --from-start")
    }

    fn tell(&self) {
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let (bytes, objects) = (self.bytes.load(Ordering::Relaxed), self.objects.load(Ordering::Relaxed));
        let progress = Progress::of(Phase::Objects).bytes(bytes, self.all.bytes);
        self.reporter.progress(progress.items(objects, self.all.objects));
    }
}

impl custodia_vault::Progress for Watch<'_> {
    fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    fn file(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn cancelled(&self) -> bool {
        self.stops()
    }
}

/// The same, for bytes that were counted before.
struct Quiet<'a>(&'a Watch<'a>);

impl custodia_vault::Progress for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.stops()
    }
}
