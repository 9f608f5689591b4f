//! What peers answer: which receipt counts for which release, and what is no answer at all.

use custodia_format::checkpoint::Checkpoint;
use custodia_format::key::SigningKey;
use custodia_format::proof::ProofStatement;
use custodia_format::text::Label;
use custodia_format::tlog_proof::TlogProof;
use custodia_ledger::{Document as Logged, Shelf};

use super::*;

impl Released {
    fn package(&self, release: &Hash) -> custodia_format::statement::Package {
        author::statement(&self.lab.node, release).unwrap().unwrap().head.package.unwrap()
    }

    /// A receipt as an honest peer words it.
    fn receipt(&self, release: &Hash) -> Draft {
        let ours = author::statement(&self.lab.node, release).unwrap().unwrap();
        let bytes = outgoing::released_bytes(&self.lab.node, &ours).unwrap();
        let receipt = Receipt { release: *release, items: Items::All, bytes, findings: Vec::new() };
        let (in_reply_to, package) = (Some(*release), ours.head.package);
        Draft { in_reply_to, package, ..Draft::of(Body::Receipt(receipt)) }
    }

    /// What somebody signs with one of his keys, logs, and shows to the laboratory under a checkpoint that it cosigned.
    fn says(&self, who: &Party, key: &str, draft: Draft) -> Signed {
        let key = keys::read(who.node.home(), key).unwrap();
        let said = author::say(&who.node, draft, &[&key]).unwrap();
        who.has_cosigned(&self.lab);
        who.station.statement(&self.lab.as_peer(), &said.digest).unwrap()
    }

    /// What the laboratory makes of an answer to a release. What it refuses leaves no trace.
    fn takes(&self, who: &Party, answer: &Signed, release: &Hash) -> Result<(), Code> {
        let before = self.lab.node.ledger().size();
        let kept = self.lab.station.keep(&who.as_peer(), answer, Some(release)).map_err(|refused| refused.code);
        if kept.is_err() {
            assert_eq!(self.lab.node.ledger().size(), before);
            assert!(self.delivered().is_empty());
        }
        kept
    }

    /// The releases that count as delivered, with their receipts.
    fn delivered(&self) -> Vec<(String, String)> {
        let queue = self.lab.perform(op::Queue { now: false }).into_iter();
        queue.filter_map(|transfer| Some((transfer.release, transfer.receipt?))).collect()
    }
}

type Code = WireCode;

/// An envelope in somebody's ledger, whatever it says, as a proof shows it.
fn logged(party: &Party, envelope: &[u8]) -> ProofStatement {
    let ledger = party.node.ledger();
    let document = Logged { shelf: Shelf::Statement, bytes: envelope.to_vec() };
    let index = ledger.append(vec![document]).unwrap()[0].index;
    let hashes = ledger.prove(index, ledger.size()).unwrap();
    let checkpoint = ledger.checkpoint().note().clone();
    let tlog_proof = Some(TlogProof { extra: None, index, hashes, checkpoint });
    let envelope = String::from_utf8(envelope.to_vec()).unwrap();
    ProofStatement { digest: Hash::of(envelope.as_bytes()), envelope: Some(envelope), tlog_proof, entry: None }
}

#[test]
fn a_receipt_counts_for_the_release_that_it_answers_and_for_no_other() {
    let both = Released::new();
    let (first, desk) = (both.release, &both.desk);
    // Another package of just as many bytes.
    let package = both.lab.seals(&[("a", b"First".to_vec()), ("b", vec![8; (2 << 20) + 5]), ("empty", Vec::new())]);
    let second = both.lab.releases(&package, desk);
    let third = Party::new("court.example");
    both.lab.trusts(&third);
    third.trusts(&both.lab);
    third.greets(&both.lab);
    let refused = |who: &Party, answer: &Signed, release: &Hash| both.takes(who, answer, release).unwrap_err();

    let of_both = |body: &Hash, head: &Hash| Draft { body: both.receipt(body).body, ..both.receipt(head) };
    let answer = both.says(desk, keys::STATEMENT, of_both(&first, &second));
    assert_eq!(refused(desk, &answer, &second), Code::Answer, "its body names another release than its head");
    let other = Draft { package: Some(both.package(&second)), ..both.receipt(&first) };
    let answer = both.says(desk, keys::STATEMENT, other);
    assert_eq!(refused(desk, &answer, &first), Code::Answer, "it speaks of another package");
    let answer = both.says(&third, keys::STATEMENT, both.receipt(&first));
    assert_eq!(refused(&third, &answer, &first), Code::Answer, "nothing was released to who signed it");
    let answer = both.says(desk, keys::TRANSPORT, both.receipt(&first));
    assert_eq!(refused(desk, &answer, &first), Code::Statement, "a key for connections signs no statement");
    let answer = both.says(desk, keys::STATEMENT, both.receipt(&first));
    assert_eq!(refused(desk, &answer, &second), Code::Answer, "it is shown for another release");

    // Where it belongs it counts, and shown again it is what is there already.
    both.takes(desk, &answer, &first).unwrap();
    let (delivered, size) = (both.delivered(), both.lab.node.ledger().size());
    assert_eq!(delivered, [(first.to_string(), answer.digest().to_string())]);
    both.lab.station.keep(&desk.as_peer(), &answer, Some(&first)).unwrap();
    assert_eq!(both.lab.station.keep(&desk.as_peer(), &answer, Some(&second)), Err(Code::Answer.into()));
    assert_eq!((both.delivered(), both.lab.node.ledger().size()), (delivered, size));
}

#[test]
fn a_receipt_that_is_signed_and_not_shown_in_its_issuers_ledger_is_no_delivery() {
    let both = Released::new();
    let answer = both.says(&both.desk, keys::STATEMENT, both.receipt(&both.release));
    let under = |tlog_proof: Vec<u8>| both.takes(&both.desk, &Signed { tlog_proof, ..answer.clone() }, &both.release);
    assert_eq!(under(Vec::new()), Err(Code::Statement), "no proof");
    let proof = TlogProof::parse(&answer.tlog_proof).unwrap();
    let neighbour = TlogProof { index: proof.index ^ 1, ..proof.clone() };
    assert_eq!(under(neighbour.print().into_bytes()), Err(Code::Statement), "the place of another");
    // The same tree, signed by somebody else in the name of that ledger.
    let checkpoint = Checkpoint::parse_text(&proof.checkpoint.text).unwrap();
    let forged = TlogProof { checkpoint: checkpoint.sign(&SigningKey::from_seed(&[7; 32])).unwrap(), ..proof };
    assert_eq!(under(forged.print().into_bytes()), Err(Code::Statement), "no checkpoint of that ledger");
    // The same envelope in another authority's ledger, where anybody may log what he got hold of.
    let third = Party::new("court.example");
    both.lab.trusts(&third);
    let copy = Logged { shelf: Shelf::Statement, bytes: answer.envelope.clone() };
    let index = third.node.ledger().append(vec![copy]).unwrap()[0].index;
    let hashes = third.node.ledger().prove(index, third.node.ledger().size()).unwrap();
    let elsewhere =
        TlogProof { extra: None, index, hashes, checkpoint: third.node.ledger().checkpoint().note().clone() };
    assert_eq!(under(elsewhere.print().into_bytes()), Err(Code::Statement), "another ledger");
    under(answer.tlog_proof.clone()).unwrap();
    assert_eq!(both.delivered().len(), 1);
}

#[test]
fn a_cosignature_that_does_not_verify_is_not_kept() {
    let both = Released::new();
    let (lab, desk) = (&both.lab, both.desk.as_peer());
    let kept = || lab.node.notes().of_peer(&desk.root, Whose::Ours);
    let before = kept();
    let older = before.last().unwrap().read().unwrap();
    lab.seals(&[("x", b"x".to_vec())]);
    // The desk's line under what it cosigned earlier says nothing of what came since.
    let lines: String = older.lines.iter().map(|line| format!("{line}\n")).collect();
    let newest = lab.station.checkpoint(&desk).unwrap();
    lab.station.keep_cosignatures(&desk, &newest, lines.as_bytes()).unwrap();
    assert_eq!(kept(), before);
    lab.has_cosigned(&both.desk);
    assert_eq!(kept().len(), before.len() + 1);
}

/// The verifier finds by itself what an honest node would not have let in.
#[test]
fn no_court_is_shown_an_answer_that_is_none() {
    let both = Released::new();
    let third = Party::new("court.example");
    both.lab.trusts(&third);
    third.trusts(&both.lab);
    third.greets(&both.lab);
    let root = both.package(&both.release).root;
    let proof = crate::dossier::of(&both.lab.node, &root, crate::dossier::Records::Shown).unwrap();
    let trust = crate::operations::authority::trust_with_us(&both.lab.node).unwrap();
    let found = |by: &Party, shown: ProofStatement| {
        let mut proof = proof.clone();
        let cards = by.station.cards(&both.lab.as_peer(), None).unwrap();
        let cards = cards.iter().map(|card| logged(by, &signed_of(card).unwrap().envelope));
        let more: Vec<ProofStatement> = cards.chain([shown]).collect();
        for one in more {
            if proof.statements.iter().all(|other| other.digest != one.digest) {
                proof.statements.push(one);
            }
        }
        proof.statements.sort_by_key(|shown| {
            let place = shown.tlog_proof.as_ref().unwrap();
            (place.checkpoint.text.lines().next().unwrap().to_owned(), place.index)
        });
        let (proof, cores) = (proof.print().into_bytes(), NonZeroUsize::MIN);
        let given = custodia_verify::Given { proof: &proof, trust: &trust, manifest: None, content: None, cores };
        custodia_verify::verify(&given)
            .findings
            .iter()
            .map(|one| format!("{} {}", one.code.as_str(), one.detail))
            .collect::<Vec<_>>()
    };
    let one_sided = |found: &[String]| found.iter().filter(|one| one.starts_with("one-sided-handover")).count();
    let key = |name| keys::read(both.desk.node.home(), name).unwrap();
    let signed = |statement: &Statement| statement.sign(&[&key(keys::STATEMENT)]).unwrap().print().into_bytes();

    let answer = both.says(&both.desk, keys::STATEMENT, both.receipt(&both.release));
    let honest = Statement::parse(&Envelope::parse(&answer.envelope).unwrap()).unwrap();
    let seen = found(&both.desk, logged(&both.desk, &answer.envelope));
    assert_eq!(one_sided(&seen), 0, "{seen:#?}");
    // The release stays unanswered beside an answer by another, and beside one whose body names another release.
    let other = both.says(&third, keys::STATEMENT, both.receipt(&both.release));
    let seen = found(&third, logged(&third, &other.envelope));
    assert_eq!(one_sided(&seen), 2, "{seen:#?}");
    let mut two = honest.clone();
    if let Body::Receipt(receipt) = &mut two.body {
        receipt.release = Hash::ZERO;
    }
    let seen = found(&both.desk, logged(&both.desk, &signed(&two)));
    assert_eq!(one_sided(&seen), 2, "{seen:#?}");

    // In another's ledger; in another's name; by fewer than it names.
    let mut elsewhere = honest.clone();
    elsewhere.head.ledger = third.node.config().ledger.clone();
    let seen = found(&third, logged(&third, &signed(&elsewhere)));
    assert!(seen.iter().any(|one| one.contains("is no ledger of its issuer")), "{seen:#?}");
    let mut renamed = honest.clone();
    renamed.head.issuer.name = Label::parse("other.example").unwrap();
    let seen = found(&both.desk, logged(&both.desk, &signed(&renamed)));
    assert!(seen.iter().any(|one| one.contains("it names its issuer other.example")), "{seen:#?}");
    let two = honest.sign(&[&key(keys::STATEMENT), &key(keys::TRANSPORT)]).unwrap();
    let fewer = Envelope::sign(two.kind(), two.payload().to_vec(), &[&key(keys::STATEMENT)]).unwrap();
    let seen = found(&both.desk, logged(&both.desk, fewer.print().as_bytes()));
    assert!(seen.iter().any(|one| one.starts_with("wrong-signers")), "{seen:#?}");
}

#[test]
fn a_clock_that_nobody_has_set_vouches_for_no_time() {
    let both = Released::new();
    let (lab, desk) = (&both.lab, &both.desk);
    let seen = lab.node.ledger().size();
    lab.seals(&[("more", b"more".to_vec())]);
    let proof = lab.station.consistency(seen, lab.node.ledger().size()).unwrap();
    let checkpoint = lab.station.checkpoint(&desk.as_peer()).unwrap();
    let add = AddCheckpoint { old: seen, proof, checkpoint };
    let authority = desk.node.peers().rooted(&lab.as_peer().root).unwrap();
    let at = |time: &str| {
        let time = custodia_format::text::Time::parse(time).unwrap();
        witness::cosign_at(&desk.node, &authority, &add, time)
    };
    let kept = || desk.node.notes().of_peer(&authority.root, Whose::Theirs).len();
    let before = kept();
    for unset in ["1970-01-01T00:10:00Z", "2019-12-31T23:59:59Z", "2026-10-31T23:59:59Z"] {
        assert_eq!(at(unset).unwrap_err().code, crate::failure::Code::Clock, "{unset}");
    }
    assert_eq!(kept(), before);
    // Once it is set, the same checkpoint is cosigned: nothing of the attempt is left.
    assert!(matches!(at("2026-12-01T00:00:00Z"), Ok(Cosigned::Lines(_))));
}
