//! Reading the ledger, and checking all of it.

use std::sync::Arc;
use std::time::Instant;

use custodia_format::entry::Entry;
use custodia_format::tlog_proof::TlogProof;
use custodia_ledger::{Depth, FsckReport};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::answers::{Checked, LedgerHead, StampedBy, StatementLine, Text};
use super::inbox::line;
use super::rebuilding::{errors_and_remarks, told_in_time};
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::scrub::check::{self, Begin};
use crate::time_stamps::Record;
use crate::witness::Whose;
use crate::{Node, time_stamps};

/// The newest checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerCheckpoint {}

impl Operation for LedgerCheckpoint {
    const NAME: &'static str = "ledger/checkpoint";
    type Answer = LedgerHead;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<LedgerHead, Failure> {
        let checkpoint = node.ledger().checkpoint();
        let peers = node.peers().all();
        let witnessed = peers.iter().filter_map(|peer| {
            let newest = node.notes().of_peer(&peer.root, Whose::Ours).last().cloned()?;
            // What was cosigned of the generation before says nothing of this one.
            (newest.at.generation == node.config().ledger.generation).then(|| (peer.name.to_string(), newest.at.size))
        });
        Ok(LedgerHead {
            note: checkpoint.note().print(),
            vkey: node.ledger_vkey().to_string(),
            size: checkpoint.checkpoint().size,
            witnessed: witnessed.collect(),
            stamped: Record::load(node.home()).newest(),
        })
    }
}

/// Ask the time-stamping services now for what they have yet to stamp.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerTimestamp {}

impl Operation for LedgerTimestamp {
    const NAME: &'static str = "ledger/timestamp";
    type Answer = Vec<StampedBy>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<StampedBy>, Failure> {
        let settings = node.config().time_stamps.as_ref().ok_or_else(|| {
            Failure::new(Code::Usage, "No time-stamping service is configured.")
                .at("custodia.toml")
                .instead_of("a section [time-stamps]", "none")
                .safe("Nobody was asked.")
                .next("add the section that docs/operate/configuration.md describes, and start the node again")
        })?;
        let runtime = Handle::try_current().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        runtime.block_on(time_stamps::round::ask_all(node, &settings.services))
    }
}

/// The statements in the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerList {}

impl Operation for LedgerList {
    const NAME: &'static str = "ledger/list";
    type Answer = Vec<StatementLine>;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Vec<StatementLine>, Failure> {
        Ok(node.index().all()?.iter().map(line).collect())
    }
}

/// One entry, and the payload of the statement it commits to.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerShow {
    /// Its place.
    pub leaf_index: u64,
}

impl Operation for LedgerShow {
    const NAME: &'static str = "ledger/show";
    type Answer = Text;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Text, Failure> {
        let entry = entry(node, self.leaf_index)?;
        let payload = match node.envelope(&entry.sha256)? {
            Some(bytes) => {
                let envelope = custodia_format::envelope::Envelope::parse(&bytes)?;
                String::from_utf8_lossy(envelope.payload()).into_owned()
            }
            None => "The document that this entry commits to is not here.\n".to_owned(),
        };
        Ok(Text { text: format!("{}\n{payload}", entry.text()) })
    }
}

/// The tlog-proof of one entry under the newest checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerProve {
    /// Its place.
    pub leaf_index: u64,
}

impl Operation for LedgerProve {
    const NAME: &'static str = "ledger/prove";
    type Answer = Text;

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<Text, Failure> {
        entry(node, self.leaf_index)?;
        let checkpoint = node.ledger().checkpoint();
        let hashes = node.ledger().prove(self.leaf_index, checkpoint.checkpoint().size)?;
        let proof = TlogProof { extra: None, index: self.leaf_index, hashes, checkpoint: checkpoint.note().clone() };
        Ok(Text { text: proof.print() })
    }
}

fn entry(node: &Node, leaf_index: u64) -> Result<Entry, Failure> {
    let size = node.ledger().size();
    if leaf_index >= size {
        return Err(Failure::new(Code::UnknownStatement, "The ledger has no such entry.")
            .instead_of(format!("0 to {}", size.saturating_sub(1)), leaf_index.to_string())
            .next("custodia ledger list"));
    }
    Ok(node.ledger().entry(leaf_index)?)
}

/// Rebuild everything from the entries, and compare.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerFsck {
    /// Read and hash every object too, and every manifest.
    #[serde(default)]
    pub bytes: bool,
    /// Begin with the first object, also where a check was interrupted within the last day.
    #[serde(default)]
    pub from_start: bool,
}

impl Operation for LedgerFsck {
    const NAME: &'static str = "ledger/fsck";
    type Answer = Checked;

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Checked, Failure> {
        let checking = if self.bytes { Some(node.rest().begin()?) } else { None };
        let began = Instant::now();
        let mut tell = told_in_time(|progress| reporter.progress(progress));
        let report = node.ledger().fsck(Depth::Home, &mut tell);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (mut errors, remarks) = errors_and_remarks(&report);
        if report.entries == 0 {
            errors.push("ledger: no entry was checked".to_owned());
        }
        let content = match checking {
            None => None,
            Some(checking) => {
                let begin = if self.from_start { Begin::AtTheStart } else { Begin::WhereItStopped };
                let content = check::run(node, begin, &checking, reporter)?;
                if content.objects == 0 {
                    errors.push("objects: no object was checked, for none is here".to_owned());
                }
                errors.extend(
                    content
                        .damage
                        .iter()
                        .map(|damaged| format!("{}: {} instead of {}", damaged.path, damaged.found, damaged.expected)),
                );
                Some(content)
            }
        };
        let FsckReport { entries, files, bytes, .. } = report;
        Ok(Checked { entries, files, bytes, took_ms, errors, remarks, content })
    }
}

/// Tell the check of all bytes that runs to stop; it then says how far it got.
#[derive(Debug, Serialize, Deserialize)]
pub struct LedgerFsckStop {}

impl Operation for LedgerFsckStop {
    const NAME: &'static str = "ledger/fsck/stop";
    type Answer = ();

    fn perform(self, node: &Arc<Node>, _: &Reporter) -> Result<(), Failure> {
        node.rest().stop();
        Ok(())
    }
}
