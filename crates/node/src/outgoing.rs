//! What a peer may fetch of a release of ours: the history, the manifest, the items that the release covers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use custodia_exchange::{Code as WireCode, Document, Refused};
use custodia_format::Hash;
use custodia_format::body::Body;
use custodia_format::midstate::print_midstates;
use custodia_format::ranges::Items;
use custodia_format::statement::Statement;
use custodia_net::{ItemBytes, Outgoing, Peer};
use custodia_vault::Item;

use crate::failure::{Code, Failure};
use crate::host::refused;
use crate::{Node, author, dossier, packages};

/// An open release of ours.
struct Served {
    node: Arc<Node>,
    root: Hash,
    /// The digest of each item that the release covers, by record.
    items: BTreeMap<u64, Hash>,
}

/// Opens what a release of ours covers.
pub(crate) fn open(node: &Arc<Node>, peer: &Peer, release: &Hash) -> Result<Arc<dyn Outgoing>, Failure> {
    let not_here = || Failure::new(Code::UnknownStatement, "There is no such release to this peer.").at(release);
    let statement = author::statement(node, release)?.ok_or_else(not_here)?;
    let (Body::Release(body), Some(package)) = (&statement.body, statement.head.package) else {
        return Err(not_here());
    };
    if body.recipient.root != peer.root || !author::is_ours(node, &statement.head.ledger) {
        return Err(not_here());
    }
    let mut items = BTreeMap::new();
    packages::covered_items(node.home(), &package.root, &body.items, |record, item| {
        items.insert(record, item.sha256);
    })?;
    Ok(Arc::new(Served { node: node.clone(), root: package.root, items }))
}

/// Bytes of the items that a release covers: what its receipt must name.
pub(crate) fn released_bytes(node: &Node, release: &Statement) -> Result<u64, Failure> {
    let (Body::Release(body), Some(package)) = (&release.body, release.head.package) else { return Ok(0) };
    covered_bytes(node, &package.root, &body.items)
}

/// Bytes of the files among these records of a package.
pub(crate) fn covered_bytes(node: &Node, root: &Hash, items: &Items) -> Result<u64, Failure> {
    let mut bytes = 0_u64;
    packages::covered_items(node.home(), root, items, |_, item| bytes = bytes.saturating_add(item.size))?;
    Ok(bytes)
}

impl Outgoing for Served {
    fn root(&self) -> Hash {
        self.root
    }

    fn document(&self, document: Document) -> Result<(u64, Box<dyn Read + Send>), Refused> {
        match document {
            Document::History => {
                let proof = dossier::of(&self.node, &self.root, dossier::Records::Beside).map_err(refused)?;
                let bytes = proof.print().into_bytes();
                Ok((bytes.len() as u64, Box::new(Cursor::new(bytes))))
            }
            Document::Manifest => {
                let path = self.node.home().manifest(&self.root);
                let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
                let (bytes, file) = opened.map_err(|error| refused(Failure::io(&error, &path)))?;
                Ok((bytes, Box::new(file)))
            }
        }
    }

    fn item(&self, record: u64) -> Result<Box<dyn ItemBytes>, Refused> {
        let sha256 = self.items.get(&record).ok_or(Refused::new(WireCode::NotHere))?;
        let item = self.node.vault().item(sha256).map_err(|error| {
            tracing::error!(%error, "an item that was released cannot be read");
            Refused::new(WireCode::NotHere)
        })?;
        Ok(Box::new(Reading { node: self.node.clone(), item }))
    }
}

/// One item that is being read for a peer, who proves every byte itself.
struct Reading {
    node: Arc<Node>,
    item: Item,
}

impl ItemBytes for Reading {
    fn size(&self) -> u64 {
        self.item.size()
    }

    fn midstates(&self) -> io::Result<Vec<u8>> {
        let midstates = self.node.vault().midstates(self.item.sha256()).map_err(io::Error::other)?;
        Ok(print_midstates(&midstates))
    }

    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.item.read_exact_at(offset, buffer)
    }
}
