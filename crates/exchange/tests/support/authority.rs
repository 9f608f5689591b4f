//! An authority for tests: real keys, a ledger in memory, a store of statements, and the answers that a node would give
//! to a session's questions. Used by the tests of `custodia-exchange` and of `custodia-net`.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(unreachable_pub, reason = "included as a module by tests of two crates")]
#![allow(clippy::unwrap_used, reason = "test support: what is made here is well formed")]

use std::collections::HashMap;

use custodia_exchange::message::{DOCUMENTS_PER_FRAME, More};
use custodia_exchange::{
    Answer, Code, Consigned, Cosigned, GivenBack, Hello, NeedsIt, Question, Received, Refused, Signed, Taken,
};
use custodia_format::Hash;
use custodia_format::body::{Acceptance, Body, Consignment, Limits, Onward, Receipt, Recipient, Refusal, Release};
use custodia_format::checkpoint::{self, Checkpoint};
use custodia_format::entry::Entry;
use custodia_format::envelope::Envelope;
use custodia_format::key::SigningKey;
use custodia_format::kind::Kind;
use custodia_format::note::{KeyType, Note, SignatureLine, Vkey};
use custodia_format::ranges::Items;
use custodia_format::statement::{Head, Issuer, Package, Statement, StatementId};
use custodia_format::text::{Label, LedgerName, Time};
use custodia_format::tlog_proof::TlogProof;
use custodia_merkle::{Leaves, prove_consistency, prove_inclusion, root, verify_consistency};

/// Seconds that every clock in the tests shows.
const NOW: i64 = 1_790_000_000;

/// One authority and its node.
pub(crate) struct Authority {
    pub(crate) name: String,
    seed: u8,
    ledger_key: SigningKey,
    statement_key: SigningKey,
    officer_key: SigningKey,
    witness_key: SigningKey,
    leaves: Vec<Hash>,
    store: HashMap<Hash, (Vec<u8>, u64)>,
    ids: u8,
    /// The peer's newest checkpoint that was cosigned here, and the note.
    witnessed: Option<(Checkpoint, Vec<u8>)>,
    /// The vkey of the peer's ledger.
    peer_vkey: Option<Vkey>,
    /// Lines that the peer gave, with the size they are for.
    pub(crate) cosignatures: Vec<(u64, Vec<u8>)>,
    /// Answers to releases: the consignment or refusal, and the receipt once there is one.
    answered: HashMap<Hash, (Hash, Option<Hash>)>,
    packages: HashMap<Hash, Package>,
    /// What it passes on, and what it was told.
    pub(crate) notes: Vec<Vec<u8>>,
    pub(crate) heard: Vec<Vec<u8>>,
    /// What it holds that the peer may have lost, and what it was given back itself.
    pub(crate) holds_of_peer: Vec<Vec<u8>>,
    pub(crate) taken_back: Vec<Vec<u8>>,
    pub(crate) kept: Vec<(Hash, Option<Hash>)>,
    pub(crate) owed: Vec<Hash>,
    pub(crate) settled: Vec<Hash>,
    pub(crate) history: NeedsIt,
    pub(crate) manifest: NeedsIt,
    /// The checkpoint that is shown once in place of the newest.
    pub(crate) shows_first: Option<Note>,
    /// Refuse releases by a signed refusal.
    pub(crate) declines: bool,
    /// A release that is not taken, and why.
    pub(crate) refuses: Option<(Hash, Refused)>,
    /// Answer this code instead, at this question (by its name in `Debug`).
    pub(crate) fails: Option<(&'static str, Code)>,
}

impl Authority {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        let key = |purpose: u8| SigningKey::from_seed(&[seed.wrapping_mul(16).wrapping_add(purpose); 32]);
        let mut authority = Self {
            name: name.to_owned(),
            seed,
            ledger_key: key(1),
            statement_key: key(2),
            officer_key: key(3),
            witness_key: key(4),
            leaves: Vec::new(),
            store: HashMap::new(),
            ids: 0,
            witnessed: None,
            peer_vkey: None,
            cosignatures: Vec::new(),
            answered: HashMap::new(),
            packages: HashMap::new(),
            notes: Vec::new(),
            heard: Vec::new(),
            holds_of_peer: Vec::new(),
            taken_back: Vec::new(),
            kept: Vec::new(),
            owed: Vec::new(),
            settled: Vec::new(),
            history: NeedsIt::No,
            manifest: NeedsIt::No,
            shows_first: None,
            declines: false,
            refuses: None,
            fails: None,
        };
        authority.append(b"the card".to_vec());
        authority
    }

    /// Each learns the other's ledger key, as cards would tell them.
    pub(crate) fn introduce(a: &mut Self, b: &mut Self) {
        a.peer_vkey = Some(b.vkey());
        b.peer_vkey = Some(a.vkey());
    }

    pub(crate) fn origin(&self) -> String {
        format!("{}/desk-1/1", self.name)
    }

    pub(crate) fn vkey(&self) -> Vkey {
        Vkey::new(&self.origin(), KeyType::Ed25519, self.ledger_key.public()).unwrap()
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(crate) fn append(&mut self, document: Vec<u8>) -> Hash {
        let digest = Hash::of(&document);
        if !self.store.contains_key(&digest) {
            self.leaves.push(Entry::of(&document).leaf_hash());
            self.store.insert(digest, (document, self.size() - 1));
        }
        digest
    }

    pub(crate) fn checkpoint(&self) -> Note {
        let checkpoint = Checkpoint { origin: self.origin(), size: self.size(), root: root(&self.leaves) };
        checkpoint.sign(&self.ledger_key).unwrap()
    }

    /// A stored statement with its proof in the tree of now.
    pub(crate) fn signed(&self, digest: &Hash) -> Signed {
        let (envelope, index) = &self.store[digest];
        let hashes = prove_inclusion(&Leaves(&self.leaves), *index, self.size()).unwrap();
        let proof = TlogProof { extra: None, index: *index, hashes, checkpoint: self.checkpoint() };
        Signed { envelope: envelope.clone(), tlog_proof: proof.print().into_bytes() }
    }

    /// Signs and logs a statement.
    pub(crate) fn say(
        &mut self,
        kind: Kind,
        package: Package,
        in_reply_to: Option<Hash>,
        officer: bool,
        body: Body,
    ) -> Hash {
        self.ids += 1;
        let head = Head {
            kind,
            id: StatementId::new([self.ids.wrapping_add(self.seed); 16]),
            issuer: Issuer { name: Label::parse(&self.name).unwrap(), card: Some(Hash::of(b"the card")) },
            ledger: LedgerName::parse(&self.origin()).unwrap(),
            officer: None,
            signers: Vec::new(),
            issued_at: Time::from_unix(NOW).unwrap(),
            not_before: None,
            in_reply_to,
            package: Some(package),
            sequence: Some(0),
            previous: None,
            annex: None,
        };
        let mut keys = vec![&self.statement_key];
        if officer {
            keys.push(&self.officer_key);
        }
        let envelope = Statement { head, body }.sign(&keys).unwrap();
        self.append(envelope.print().into_bytes())
    }

    /// A release of a package to another authority.
    pub(crate) fn release(&mut self, to: &str, package: Package) -> Hash {
        let text = |words: &str| custodia_format::body::Text::parse(words).unwrap();
        let release = Release {
            recipient: Recipient {
                name: Label::parse(to).unwrap(),
                root: self.officer_key.public().key_id(),
                ledger: LedgerName::parse(&format!("{to}/desk-1/1")).unwrap(),
            },
            items: Items::All,
            purpose: text("prosecution"),
            legal_basis: text("order 12/26"),
            limits: Limits {
                use_: text("case 12/26"),
                onward: Onward::None,
                lead_only: false,
                return_: false,
                retain_until: None,
            },
            originator: None,
        };
        self.say(Kind::Release, package, None, true, Body::Release(Box::new(release)))
    }

    /// A person takes a package into custody.
    pub(crate) fn accept(&mut self, release: Hash, package: Package) -> Hash {
        let acceptance = Acceptance { items: Items::All, conditions: Vec::new(), seals: Vec::new() };
        self.say(Kind::Acceptance, package, Some(release), true, Body::Acceptance(acceptance))
    }

    /// What the node answers.
    pub(crate) fn answer(&mut self, question: Question) -> Answer {
        if let Some((name, code)) = self.fails
            && format!("{question:?}").starts_with(name)
        {
            return Answer::Refused(Refused::retry(code, 7));
        }
        match question {
            Question::Hello => Answer::Hello(Hello {
                card: Hash::of(b"the card"),
                origin: self.origin(),
                size: self.size(),
                held_card: None,
                held_checkpoint: self.witnessed.as_ref().map(|(_, note)| note.clone()).unwrap_or_default(),
            }),
            Question::Meet(hello) => self.meet(&hello),
            Question::Cards { .. } => Answer::Cards(vec![b"the card".to_vec()]),
            Question::LearnCards { newest, envelopes } => {
                let known = envelopes.iter().any(|envelope| Hash::of(envelope) == newest);
                if known { Answer::Done } else { Answer::Refused(Code::Cards.into()) }
            }
            Question::Notes => Answer::Notes(self.notes.clone()),
            Question::Hear(notes) => {
                self.heard.extend(notes);
                Answer::Done
            }
            Question::GiveBack { from } => {
                let rest = self.holds_of_peer.iter().skip(usize::try_from(from).unwrap());
                let documents: Vec<Vec<u8>> = rest.clone().take(DOCUMENTS_PER_FRAME).cloned().collect();
                let more = if rest.count() > documents.len() { More::Yes } else { More::No };
                Answer::GivenBack(GivenBack { documents, more })
            }
            Question::TakeBack(given) => {
                self.taken_back.extend(given.documents);
                Answer::Done
            }
            Question::Checkpoint => {
                let shown = self.shows_first.take().unwrap_or_else(|| self.checkpoint());
                Answer::Checkpoint(shown.print().into_bytes())
            }
            Question::Consistency { old, new } => {
                // A rolled-back ledger has no proof of what it has lost.
                prove_consistency(&Leaves(&self.leaves), old, new)
                    .map_or(Answer::Refused(Code::RolledBack.into()), Answer::Consistency)
            }
            Question::Witness(add) => Answer::Witnessed(self.witness(&add)),
            Question::KeepCosignatures { checkpoint, lines } => {
                let size = Checkpoint::parse_text(&Note::parse(&checkpoint).unwrap().text).unwrap().size;
                self.cosignatures.push((size, lines));
                Answer::Done
            }
            Question::Owed => Answer::Digests(self.owed.clone()),
            Question::Statement { digest } if self.store.contains_key(&digest) => {
                Answer::Statement(self.signed(&digest))
            }
            Question::Statement { .. } => Answer::Refused(Code::NotHere.into()),
            Question::Take(statements) => {
                let mut taken: Vec<_> = statements.iter().map(|received| self.take(received)).collect();
                // All of them under the newest checkpoint.
                for taken in taken.iter_mut().flatten() {
                    if let Taken::Consigned(Consigned::Accepted { consignment: answer, .. }) = taken {
                        *answer = self.signed(&answer.digest());
                    }
                }
                Answer::Taken(taken)
            }
            Question::Receipts { releases } => {
                let receipts: Vec<Hash> = releases.into_iter().map(|release| self.receipt(release).digest()).collect();
                Answer::Receipts(receipts.iter().map(|receipt| Ok(self.signed(receipt))).collect())
            }
            Question::Settled { digests } => {
                self.owed.retain(|owed| !digests.contains(owed));
                self.settled.extend(digests);
                Answer::Done
            }
            _ => Answer::Refused(Code::Internal.into()),
        }
    }

    fn meet(&self, hello: &Hello) -> Answer {
        if hello.held_checkpoint.is_empty() {
            return Answer::Done;
        }
        let note = Note::parse(&hello.held_checkpoint).unwrap();
        let held = checkpoint::check_ledger_signature(&note, &self.vkey()).unwrap();
        if held.size > self.size() { Answer::Refused(Code::RolledBack.into()) } else { Answer::Done }
    }

    fn witness(&mut self, add: &custodia_exchange::AddCheckpoint) -> Cosigned {
        let Ok(note) = Note::parse(&add.checkpoint) else { return Cosigned::Refused { status: 400 } };
        let Some(vkey) = &self.peer_vkey else { return Cosigned::Refused { status: 404 } };
        let Ok(new) = checkpoint::check_ledger_signature(&note, vkey) else {
            return Cosigned::Refused { status: 403 };
        };
        if add.old > new.size {
            return Cosigned::Refused { status: 400 };
        }
        if let Some((held, _)) = &self.witnessed {
            if held.size != add.old {
                return Cosigned::Conflict { size: held.size };
            }
            let consistent = verify_consistency(held.size, new.size, &held.root, &new.root, &add.proof).is_ok();
            if !consistent {
                return Cosigned::Refused { status: 422 };
            }
        } else if add.old != 0 {
            return Cosigned::Conflict { size: 0 };
        }
        let line: SignatureLine = checkpoint::cosign(&note.text, &self.name, &self.witness_key, NOW as u64).unwrap();
        let printed = Note { text: note.text.clone(), lines: vec![line.clone()] }.print();
        let lines = printed.strip_prefix(&format!("{}\n", note.text)).unwrap().as_bytes().to_vec();
        self.witnessed = Some((new, add.checkpoint.clone()));
        Cosigned::Lines(lines)
    }

    fn consign(&mut self, release: &Signed) -> Consigned {
        let digest = release.digest();
        let package = self.check(release).head.package.unwrap();
        if let Some((answer, _)) = self.answered.get(&digest) {
            let consignment = self.signed(answer);
            let (history, manifest) = (self.history, self.manifest);
            return Consigned::Accepted { consignment, history, manifest };
        }
        self.append(release.envelope.clone());
        self.packages.insert(digest, package);
        if self.declines {
            let reason = custodia_format::body::Coded {
                code: custodia_format::text::Word::parse("not-for-us").unwrap(),
                text: None,
            };
            let refusal = Refusal { items: Items::All, reasons: vec![reason] };
            let refusal = self.say(Kind::Refusal, package, Some(digest), false, Body::Refusal(refusal));
            return Consigned::Declined { refusal: self.signed(&refusal) };
        }
        let body = Body::Consignment(Consignment { release: digest });
        let consignment = self.say(Kind::Consignment, package, Some(digest), false, body);
        self.answered.insert(digest, (consignment, None));
        Consigned::Accepted { consignment: self.signed(&consignment), history: self.history, manifest: self.manifest }
    }

    fn receipt(&mut self, release: Hash) -> Signed {
        let known = self.answered[&release].1;
        let receipt = known.unwrap_or_else(|| {
            let package = self.packages[&release];
            let body = Receipt { release, items: Items::All, bytes: 1, findings: Vec::new() };
            self.say(Kind::Receipt, package, Some(release), false, Body::Receipt(body))
        });
        self.answered.get_mut(&release).unwrap().1 = Some(receipt);
        if !self.settled.contains(&receipt) && !self.owed.contains(&receipt) {
            self.owed.push(receipt);
        }
        self.signed(&receipt)
    }

    fn take(&mut self, received: &Received) -> Result<Taken, Refused> {
        match received {
            Received::Release(release) => match self.refuses {
                Some((refused, why)) if refused == release.digest() => Err(why),
                _ => Ok(Taken::Consigned(self.consign(release))),
            },
            Received::Answer { signed, release } => {
                self.check(signed);
                let digest = self.append(signed.envelope.clone());
                self.kept.push((digest, *release));
                Ok(Taken::Kept)
            }
        }
    }

    /// The inclusion proof closes under a checkpoint that the peer's ledger signed.
    fn check(&self, statement: &Signed) -> Statement {
        let proof = TlogProof::parse(&statement.tlog_proof).unwrap();
        let leaf = Entry::of(&statement.envelope).leaf_hash();
        proof.verify_inclusion(&leaf).unwrap();
        checkpoint::check_ledger_signature(&proof.checkpoint, self.peer_vkey.as_ref().unwrap()).unwrap();
        Statement::parse(&Envelope::parse(&statement.envelope).unwrap()).unwrap()
    }

    /// A disk that was restored from an old copy: the ledger is shorter, nothing else is forgotten.
    pub(crate) fn roll_back(&mut self, size: usize) {
        self.leaves.truncate(size);
    }

    /// Another history of the same length.
    pub(crate) fn fork(&mut self) {
        if let Some(last) = self.leaves.last_mut() {
            *last = Hash::of(b"another history");
        }
    }
}

/// A package that exists in name only.
pub(crate) fn package(name: &[u8]) -> Package {
    Package { records: 2, root: Hash::of(name) }
}
