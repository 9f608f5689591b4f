//! A medium in place of a link.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answers::{UsbRead as Answer, UsbWritten};
use crate::Node;
use crate::api::{Operation, Reporter};
use crate::failure::{Code, Failure};
use crate::keys::Passphrase;
use crate::stick::{self, Onto};

/// Write what waits for a peer onto a medium.
#[derive(Debug, Serialize, Deserialize)]
pub struct UsbWrite {
    /// The folder where the medium is mounted, by an absolute path.
    pub dir: PathBuf,
    /// The peer, by its name in the trust file.
    pub to: String,
    /// What it is to lie under.
    pub passphrase: Option<String>,
    /// Whether it may lie there for everybody to read.
    pub plain: bool,
    /// Write also what another medium has taken.
    pub again: bool,
}

impl Operation for UsbWrite {
    const NAME: &'static str = "usb/write";
    type Answer = UsbWritten;

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<UsbWritten, Failure> {
        is_medium(node, &self.dir)?;
        let peer = node.peers().named(&self.to)?;
        let passphrase = match self.plain {
            true => Passphrase::default(),
            false => Passphrase::new(self.passphrase.as_deref().unwrap_or_default()),
        };
        if passphrase.is_none() && !self.plain {
            return Err(Failure::new(
                Code::Passphrase,
                "A passphrase is needed for the medium, or the word that everybody may read it.",
            )
            .next("give it with --passphrase-file FILE, and tell it to the recipient by another way")
            .next("or say --plain, where the medium itself is encrypted"));
        }
        let onto = Onto { dir: &self.dir, passphrase: &passphrase, content: true, again: self.again };
        stick::write(node, &peer, &onto, reporter)
    }
}

/// Read what lies on a medium for this node, and write back what its senders are owed.
#[derive(Debug, Serialize, Deserialize)]
pub struct UsbRead {
    /// The folder where the medium is mounted, by an absolute path.
    pub dir: PathBuf,
    /// What it lies under.
    pub passphrase: Option<String>,
}

impl Operation for UsbRead {
    const NAME: &'static str = "usb/read";
    type Answer = Answer;

    fn signs(&self) -> bool {
        true
    }

    fn perform(self, node: &Arc<Node>, reporter: &Reporter) -> Result<Answer, Failure> {
        is_medium(node, &self.dir)?;
        let passphrase = Passphrase::new(self.passphrase.as_deref().unwrap_or_default());
        stick::read(node, &self.dir, &passphrase, reporter)
    }
}

/// A folder that is there, and not of the home itself.
fn is_medium(node: &Node, dir: &std::path::Path) -> Result<(), Failure> {
    let folder = std::fs::canonicalize(dir).map_err(|error| Failure::io(&error, dir))?;
    let home = std::fs::canonicalize(node.home().path()).map_err(|error| Failure::io(&error, node.home().path()))?;
    if folder.is_dir() && !folder.starts_with(&home) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, "This is no folder in which a medium can be mounted.")
        .at(dir.display())
        .instead_of("a folder outside the node's home", "another place")
        .next("name the folder where the medium is mounted"))
}
