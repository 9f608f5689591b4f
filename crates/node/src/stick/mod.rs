//! A medium in place of a link: what a session would say, as files that each can be read by itself (docs/spec/stick.md).
//!
//! Nothing is judged here that a session does not judge as well: what is read goes to the same [`Station`], and counts for
//! the same reasons. A medium only has no questions and answers, so that everything is said that may be needed.
//!
//! [`Station`]: crate::host::Station

mod read;
mod volume;
mod write;

use std::path::Path;
use std::sync::Arc;

use custodia_exchange::{Code as WireCode, Refused};

use crate::Node;
use crate::api::Reporter;
use crate::failure::{Code, Failure};
use crate::keys::Passphrase;
use crate::operations::answers::{UsbRead, UsbWritten};
use crate::peers::Authority;

/// The folder on a medium in which everything lies.
const FOLDER: &str = "custodia";

/// Where to write, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Onto<'a> {
    /// The folder where the medium is mounted.
    pub(crate) dir: &'a Path,
    /// What it is to lie under.
    pub(crate) passphrase: &'a Passphrase,
    /// Whether packages go along, or statements alone.
    pub(crate) content: bool,
    /// Whether content is written that another medium has taken.
    pub(crate) again: bool,
}

/// Writes what waits for a peer.
pub(crate) fn write(
    node: &Arc<Node>,
    peer: &Authority,
    onto: &Onto<'_>,
    reporter: &Reporter,
) -> Result<UsbWritten, Failure> {
    let written = write::write(node, peer, onto, reporter)?;
    Ok(UsbWritten {
        dir: onto.dir.display().to_string(),
        to: peer.name.to_string(),
        volumes: written.volumes,
        bytes: written.bytes,
        statements: written.statements,
        bytes_left: written.left,
        sealed: !onto.passphrase.is_none(),
    })
}

/// Reads what lies on a medium for this node, and writes back what its senders are owed.
pub(crate) fn read(
    node: &Arc<Node>,
    dir: &Path,
    passphrase: &Passphrase,
    reporter: &Reporter,
) -> Result<UsbRead, Failure> {
    read::read(node, dir, passphrase, reporter)
}

/// A refusal that a link would carry, in words.
fn failure(refused: Refused) -> Failure {
    let code = match refused.code {
        WireCode::Storage => Code::DiskFull,
        WireCode::RolledBack => Code::RolledBack,
        WireCode::NotSigning => Code::Poisoned,
        WireCode::UnknownPeer => Code::UnknownPeer,
        _ => Code::PeerMisbehaved,
    };
    Failure::new(code, format!("This was not taken: {}.", refused.code.words()))
}
