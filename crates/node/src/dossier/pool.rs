//! All that this node holds from which a package's proof could be made: statements with their proofs, and notes.

use std::collections::{BTreeMap, HashMap, HashSet};

use custodia_format::body::Body;
use custodia_format::checkpoint::{Checkpoint, cosignature_time};
use custodia_format::entry::Entry;
use custodia_format::envelope::Envelope;
use custodia_format::key::KeyId;
use custodia_format::kind::Kind;
use custodia_format::note::{Note, Vkey};
use custodia_format::proof::{Proof, ProofStatement, Token};
use custodia_format::statement::{Package, Statement};
use custodia_format::text::LedgerName;
use custodia_format::tlog_proof::TlogProof;
use custodia_format::{Hash, limits};

use super::chains;
use crate::claims::Claims;
use crate::failure::{Code, Failure};
use crate::proofs::Under;
use crate::witness::{self, Whose};
use crate::{Node, author, history, home, proofs};

/// A statement that can be shown, under the best proof that is here.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) digest: Hash,
    pub(super) envelope: String,
    pub(super) statement: Statement,
    pub(super) proof: Option<TlogProof>,
}

impl Part {
    /// As it stands in a proof.
    pub(super) fn shown(&self) -> ProofStatement {
        ProofStatement {
            envelope: Some(self.envelope.clone()),
            digest: self.digest,
            tlog_proof: self.proof.clone(),
            entry: None,
        }
    }

    /// As it stands in a proof that does not show it: its digest, and its place in its ledger.
    pub(super) fn withheld(&self) -> Result<ProofStatement, Failure> {
        if self.proof.is_none() {
            return Err(Failure::new(
                Code::NotYet,
                "Its place in its ledger is not proven yet, so that it cannot be withheld.",
            )
            .at(self.digest)
            .next("custodia show PACKAGE"));
        }
        let entry = Some(Entry::of(self.envelope.as_bytes()));
        Ok(ProofStatement { envelope: None, digest: self.digest, tlog_proof: self.proof.clone(), entry })
    }
}

/// The holdings.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) package: Option<Package>,
    /// By digest.
    pub(super) parts: BTreeMap<Hash, Part>,
    /// What came with a history and is not shown there.
    pub(super) withheld: BTreeMap<Hash, ProofStatement>,
    /// Whole notes, by digest.
    pub(super) notes: HashMap<Hash, Note>,
    /// Tokens that came with a history, whatever they are worth.
    pub(super) tokens: Vec<Token>,
    /// Cards to the root key of their authority.
    roots: HashMap<Hash, KeyId>,
    /// Witness keys, and whose they are.
    witnesses: Vec<(Vkey, KeyId)>,
    /// The key of each ledger, by any card.
    ledgers: HashMap<String, Vkey>,
    /// Names and ids of witness keys: what a signature line shows of them.
    lines: HashSet<(String, [u8; 4])>,
}

impl Pool {
    /// Gathers what is here of a package.
    pub(super) fn gather(node: &Node, root: &Hash) -> Result<Self, Failure> {
        let mut pool = Self::default();
        pool.take_peers(node)?;
        pool.take_histories(node, root)?;
        pool.take_own(node, root)?;
        pool.read_cards();
        pool.take_notes(node)?;
        pool.improve_proofs(node)?;
        Ok(pool)
    }

    /// The authority that issued a statement: the root of the card under which it stands.
    pub(super) fn authority_of(&self, statement: &Statement) -> Option<KeyId> {
        match (&statement.body, statement.head.issuer.card) {
            (_, Some(card)) => self.roots.get(&card).copied(),
            (Body::Card(card), None) => Some(card.keys.root.current.key.key_id()),
            _ => None,
        }
    }

    /// The authorities whose cosignature stands on a note.
    pub(super) fn cosigners(&self, note: &Note) -> Vec<KeyId> {
        let on_note = |key: &Vkey| note.lines.iter().any(|line| key.is_of(line));
        self.witnesses.iter().filter(|(key, _)| on_note(key)).map(|(_, root)| *root).collect()
    }

    /// Cards, delegations and revocations of everybody who was met.
    fn take_peers(&mut self, node: &Node) -> Result<(), Failure> {
        for peer in node.peers().all() {
            for digest in peer.known() {
                let path = node.home().peer(&peer.root).join(format!("{digest}.json"));
                if let Some(bytes) = home::read_file(&path, limits::ENVELOPE_BYTES as u64)? {
                    let proof = proofs::theirs(node.home(), &peer.root, digest)?;
                    self.take(&bytes, proof)?;
                }
            }
        }
        Ok(())
    }

    /// What came with releases of this package to us.
    fn take_histories(&mut self, node: &Node, root: &Hash) -> Result<(), Failure> {
        for proof in history::of_package(node, root)? {
            let Proof { statements, anchors, tokens, .. } = proof;
            for statement in statements {
                match &statement.envelope {
                    Some(envelope) => self.take(envelope.as_bytes(), statement.tlog_proof)?,
                    None => drop(self.withheld.insert(statement.digest, statement)),
                }
            }
            self.notes.extend(anchors.into_iter().map(|note| (note.digest(), note)));
            self.tokens.extend(tokens);
        }
        Ok(())
    }

    /// What our ledger holds: on the package, and what shows who we are.
    fn take_own(&mut self, node: &Node, root: &Hash) -> Result<(), Failure> {
        let mut rows = node.index().of_package(root)?;
        rows.extend(author::own_cards(node)?);
        rows.extend(author::own_of_kind(node, &Kind::Meeting)?);
        let (notes, quorum) = (node.notes().ours(), node.trust()?.quorum);
        for row in rows {
            let Some(envelope) = node.envelope(&row.digest)? else { continue };
            let proof = if author::is_own(node, &row) {
                proofs::ours(node, &row, &notes, Under::Quorum(quorum))?.map(|(proof, _)| proof)
            } else {
                let issuer = LedgerName::parse(&row.ledger)?;
                let peer = node.peers().all().into_iter().find(|peer| peer.ledger(&issuer).is_some());
                peer.map(|peer| proofs::theirs(node.home(), &peer.root, &row.digest)).transpose()?.flatten()
            };
            self.take(&envelope, proof)?;
            let package = self.parts.get(&row.digest).and_then(|part| part.statement.head.package);
            self.package = self.package.or(package.filter(|package| package.root == *root));
        }
        Ok(())
    }

    /// Takes a statement; of two proofs of one statement the one under the smaller cosigned checkpoint stays.
    fn take(&mut self, envelope: &[u8], proof: Option<TlogProof>) -> Result<(), Failure> {
        let parsed = Envelope::parse(envelope)?;
        let digest = Hash::of(envelope);
        let rank = |proof: &Option<TlogProof>| {
            let proof = proof.as_ref()?;
            let size = Checkpoint::parse_text(&proof.checkpoint.text).ok()?.size;
            Some((proof.checkpoint.lines.len() < 2, size))
        };
        if let Some(known) = self.parts.get_mut(&digest) {
            let better = match (rank(&proof), rank(&known.proof)) {
                (Some(new), Some(old)) => new < old,
                (new, old) => new.is_some() && old.is_none(),
            };
            if better {
                known.proof = proof;
            }
            return Ok(());
        }
        let statement = Statement::parse(&parsed)?;
        self.parts.insert(digest, Part { digest, envelope: parsed.print(), statement, proof });
        Ok(())
    }

    /// Who is who, by all cards that are here.
    fn read_cards(&mut self) {
        let mut cards = HashMap::new();
        for part in self.parts.values() {
            if let Body::Card(card) = &part.statement.body {
                cards.insert(part.digest, (card.previous, card.keys.root.current.key.key_id()));
            }
        }
        self.roots = chains(&cards);
        for part in self.parts.values() {
            let (Body::Card(card), Some(root)) = (&part.statement.body, self.roots.get(&part.digest)) else { continue };
            for window in card.keys.witness.iter() {
                if self.lines.insert((window.key.name().to_owned(), window.key.key_id())) {
                    self.witnesses.push((window.key.clone(), *root));
                }
            }
            for ledger in &card.ledgers {
                self.ledgers.insert(ledger.origin.to_string(), ledger.vkey.clone());
            }
        }
    }

    /// The notes that statements name, where we hold them: ours that a peer cosigned, a peer's that we cosigned.
    fn take_notes(&mut self, node: &Node) -> Result<(), Failure> {
        let named: HashSet<Hash> = self.parts.values().filter_map(|part| part.statement.head.not_before).collect();
        for peer in witness::peers(node.home()) {
            for whose in [Whose::Ours, Whose::Theirs] {
                for filed in node.notes().of_peer(&peer, whose).iter() {
                    if named.contains(&filed.digest) && !self.notes.contains_key(&filed.digest) {
                        self.notes.insert(filed.digest, filed.read()?);
                    }
                }
            }
        }
        Ok(())
    }

    /// A peer's proof stands under a checkpoint as the peer sent it; what we cosigned of the same text joins it, and what others
    /// told of it.
    fn improve_proofs(&mut self, node: &Node) -> Result<(), Failure> {
        let mut witnessed: HashMap<String, Vec<Note>> = HashMap::new();
        let sizes: HashSet<u64> = self.parts.values().filter_map(|part| size_of(part.proof.as_ref()?)).collect();
        for peer in witness::peers(node.home()) {
            for filed in node.notes().of_peer(&peer, Whose::Theirs).iter() {
                if sizes.contains(&filed.at.size) {
                    let note = filed.read()?;
                    witnessed.entry(note.text.clone()).or_default().push(note);
                }
            }
        }
        for peer in node.peers().all() {
            for ledger in peer.ledgers() {
                for told in Claims::of(node.home(), peer.root, ledger).told()? {
                    witnessed.entry(told.note.text.clone()).or_default().push(told.note);
                }
            }
        }
        for part in self.parts.values_mut() {
            let Some(proof) = &mut part.proof else { continue };
            let Some(origin) = proof.checkpoint.text.lines().next() else { continue };
            let Some(ledger) = self.ledgers.get(origin) else { continue };
            let ours = witnessed.get(&proof.checkpoint.text).into_iter().flatten();
            witness::join(&mut proof.checkpoint, ours, ledger);
            // A line by nobody whose card is here tells a reader nothing but that it is there.
            let known = |line: &custodia_format::note::SignatureLine| {
                ledger.is_of(line) || self.lines.contains(&(line.name.clone(), line.key_id))
            };
            proof.checkpoint.lines.retain(known);
        }
        let witnesses: Vec<Vkey> = self.witnesses.iter().map(|(key, _)| key.clone()).collect();
        for part in self.parts.values_mut() {
            if let Some(proof) = &mut part.proof {
                // A cosignature that does not verify would spoil the whole note.
                let bad = witnesses.iter().find(|key| cosignature_time(&proof.checkpoint, key).is_err());
                if let Some(bad) = bad {
                    proof.checkpoint.lines.retain(|line| !bad.is_of(line));
                }
            }
        }
        Ok(())
    }
}

fn size_of(proof: &TlogProof) -> Option<u64> {
    Checkpoint::parse_text(&proof.checkpoint.text).ok().map(|checkpoint| checkpoint.size)
}
