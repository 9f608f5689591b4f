//! Three nodes by hand: what they tell each other of a ledger, and what follows from it.

use custodia_format::checkpoint::{Checkpoint, cosign, cosignature_time};
use custodia_format::tlog_proof::TlogProof;

use super::*;

/// A laboratory whose ledger is watched by a desk and a court, all of whom know each other.
struct Watched {
    lab: Party,
    desk: Party,
    court: Party,
}

impl Watched {
    fn new() -> Self {
        let [lab, desk, court] = ["lab.example", "desk.example", "court.example"].map(Party::new);
        for (one, other) in [(&lab, &desk), (&lab, &court), (&desk, &court)] {
            one.trusts(other);
            other.trusts(one);
        }
        // Cards, so that everybody knows the others' keys; the court has seen nothing of the ledger yet.
        lab.greets(&desk);
        Self { lab, desk, court }
    }

    /// A checkpoint of the laboratory's ledger that its key signs, whatever it says.
    fn signs(&self, size: u64, root: Hash) -> Note {
        let key = keys::read(self.lab.node.home(), keys::LEDGER).unwrap();
        let origin = self.lab.node.ledger_vkey().name().to_owned();
        Checkpoint { origin, size, root }.sign(&key).unwrap()
    }

    /// What it signed truly at a size.
    fn truly(&self, size: u64) -> Note {
        self.signs(size, self.lab.node.ledger().root(size).unwrap())
    }

    /// Shows a note to a witness, from the size that it is said to hold.
    fn shows(&self, to: &Party, note: &Note, old: u64, proof: Vec<Hash>) -> Cosigned {
        let add = AddCheckpoint { old, proof, checkpoint: note.print().into_bytes() };
        to.station.witness(&self.lab.as_peer(), &add)
    }

    fn grows(&self) -> u64 {
        self.lab.seals(&[("x", self.lab.node.ledger().size().to_be_bytes().to_vec())]);
        self.lab.node.ledger().size()
    }

    /// What a witness remembers of the laboratory's ledger.
    fn remembered(&self, by: &Party) -> u64 {
        let (lab, key) = (self.lab.as_peer().root, self.lab.node.ledger_vkey().clone());
        by.node.witnessed().last(&lab, &key).unwrap().map_or(0, |last| last.checkpoint().size)
    }

    /// The files that a node keeps of the laboratory in one of its folders.
    fn files(&self, of: &Party, folder: &str) -> Vec<PathBuf> {
        let folder = of.node.home().peer(&self.lab.as_peer().root).join(folder);
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    /// What a verifier that knows everybody's keys says of what a node keeps against the laboratory.
    fn exits(&self, of: &Party) -> Vec<u8> {
        let mut trust = crate::operations::authority::trust_with_us(&of.node).unwrap();
        trust.witnesses.extend([&self.desk, &self.court].map(|party| witness::own_vkey(&party.node).unwrap()));
        let judged = |path: PathBuf| {
            let (proof, cores) = (std::fs::read(path).unwrap(), NonZeroUsize::MIN);
            let given = custodia_verify::Given { proof: &proof, trust: &trust, manifest: None, content: None, cores };
            custodia_verify::verify(&given).exit_code(custodia_verify::Strictness::Usual)
        };
        self.files(of, "contradictions").into_iter().map(judged).collect()
    }
}

impl Party {
    /// Passes on what it knows of ledgers.
    fn tells(&self, other: &Party) -> Result<(), Refused> {
        let notes = self.station.notes(&other.as_peer()).unwrap();
        other.station.hear(&self.as_peer(), &notes)
    }

    /// Says something of ledgers, whatever it is.
    fn claims(&self, other: &Party, notes: &[Note]) -> Result<(), Refused> {
        let notes: Vec<Vec<u8>> = notes.iter().map(|note| note.print().into_bytes()).collect();
        other.station.hear(&self.as_peer(), &notes)
    }

    /// Adds its cosignature to a note, without asking anybody.
    fn cosigns(&self, note: &Note, time: u64) -> Note {
        let (own, key) = (witness::own_vkey(&self.node).unwrap(), keys::read(self.node.home(), keys::WITNESS).unwrap());
        let mut note = note.clone();
        note.lines.push(cosign(&note.text, own.name(), &key, time).unwrap());
        note
    }

    fn doctor(&self) -> Vec<(bool, String)> {
        let checks = self.perform(op::Doctor {}).checks.into_iter();
        checks
            .filter(|check| ["fork", "unproven", "claim"].contains(&check.name.as_str()))
            .map(|check| (check.ok, check.seen))
            .collect()
    }
}

const REFUSED: Cosigned = Cosigned::Refused { status: 422 };

#[test]
fn a_split_view_is_found_by_the_first_two_who_both_saw_it() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    assert!(matches!(all.shows(&all.court, &all.signs(size, Hash::ZERO), 0, Vec::new()), Cosigned::Lines(_)));
    assert!(all.desk.node.heard().when(&all.court.as_peer().root).is_none());
    all.court.tells(&all.desk).unwrap();
    assert!(all.desk.node.heard().when(&all.court.as_peer().root).is_some());
    all.desk.tells(&all.court).unwrap();
    for finder in [&all.desk, &all.court] {
        assert_eq!(all.exits(finder), [40]);
        let [(false, seen)] = &finder.doctor()[..] else { panic!("{:?}", finder.doctor()) };
        assert!(seen.contains("two histories") && !seen.contains("own key"), "{seen}");
    }
    // Neither cosigns anything of it any more, whichever history it shows.
    let grown = all.grows();
    let proof = all.lab.station.consistency(size, grown).unwrap();
    assert_eq!(all.shows(&all.desk, &all.truly(grown), size, proof), REFUSED);
    assert_eq!(all.shows(&all.court, &all.signs(size, Hash::ZERO), size, Vec::new()), REFUSED);
    // Told again, and told more, nothing is added.
    all.court.tells(&all.desk).unwrap();
    all.court.claims(&all.desk, &[all.signs(size, Hash::of(b"a third one"))]).unwrap();
    assert_eq!(all.exits(&all.desk), [40]);
}

#[test]
fn a_node_that_saw_nothing_yet_finds_a_split_view_in_what_two_others_tell() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    let fourth = Party::new("fourth.example");
    for other in [&all.lab, &all.desk, &all.court] {
        fourth.trusts(other);
        other.trusts(&fourth);
    }
    all.desk.tells(&fourth).unwrap();
    assert_eq!(all.files(&fourth, "claimed").len(), 1);
    all.court.claims(&fourth, &[all.signs(size, Hash::ZERO)]).unwrap();
    assert_eq!(all.exits(&fourth), [40]);
}

#[test]
fn a_note_of_another_size_is_proven_by_its_ledger_before_more_is_cosigned() {
    let all = Watched::new();
    let first = all.lab.node.ledger().size();
    let second = all.grows();
    all.lab.greets(&all.court);
    all.court.tells(&all.desk).unwrap();
    assert_eq!((all.files(&all.desk, "claimed").len(), all.files(&all.desk, "told").len()), (1, 1));
    assert!(all.desk.doctor()[0].1.contains(&format!("continues size {second}")), "{:?}", all.desk.doctor());
    let third = all.grows();
    let proof = |old| all.lab.station.consistency(old, third).unwrap();
    let note = all.truly(third);
    // From what the desk cosigned: right, and not enough.
    assert_eq!(all.shows(&all.desk, &note, first, proof(first)), Cosigned::Conflict { size: second });
    assert!(matches!(all.shows(&all.desk, &note, second, proof(second)), Cosigned::Lines(_)));
    assert!(
        all.files(&all.desk, "claimed").is_empty() && all.exits(&all.desk).is_empty() && all.desk.doctor().is_empty()
    );
    // What is known is not asked about again.
    all.court.tells(&all.desk).unwrap();
    assert!(all.files(&all.desk, "claimed").is_empty());
    // The very checkpoint that others were shown needs no second proof.
    let fourth = all.grows();
    all.lab.has_cosigned(&all.court);
    all.court.tells(&all.desk).unwrap();
    assert_eq!(all.files(&all.desk, "claimed").len(), 1);
    let proof = all.lab.station.consistency(third, fourth).unwrap();
    assert!(matches!(all.shows(&all.desk, &all.truly(fourth), third, proof), Cosigned::Lines(_)));
    assert!(all.files(&all.desk, "claimed").is_empty());
}

#[test]
fn a_fork_of_another_size_is_never_cosigned_again() {
    let all = Watched::new();
    let first = all.lab.node.ledger().size();
    let second = all.grows();
    let forked = all.signs(second, Hash::ZERO);
    all.court.claims(&all.desk, &[all.court.cosigns(&forked, 7)]).unwrap();
    // What is told later by the same signer does not wash it away.
    let third = all.grows();
    all.court.claims(&all.desk, &[all.court.cosigns(&all.truly(third), 8)]).unwrap();
    let fourth = all.grows();
    let proof = |old| all.lab.station.consistency(old, fourth).unwrap();
    let note = all.truly(fourth);
    for old in [first, fourth] {
        let proof = if old == fourth { Vec::new() } else { proof(old) };
        assert_eq!(all.shows(&all.desk, &note, old, proof), Cosigned::Conflict { size: second });
    }
    assert_eq!(all.shows(&all.desk, &note, second, proof(second)), REFUSED);
    assert_eq!(all.exits(&all.desk), [11], "only its owner could prove or lift it");
    assert_eq!(all.shows(&all.desk, &note, fourth, Vec::new()), Cosigned::Conflict { size: second });
    // A ledger that shows less than others were shown is not cosigned either.
    let ahead = all.signs(fourth + 5, Hash::ZERO);
    all.court.claims(&all.court, &[ahead]).unwrap();
    assert_eq!(all.shows(&all.court, &note, 0, Vec::new()), Cosigned::Conflict { size: fourth + 5 });
    // And the same size with the other root, shown by the ledger itself, convicts it.
    let desk = all.shows(&all.desk, &all.signs(fourth + 1, Hash::ZERO), fourth, vec![Hash::ZERO]);
    assert_eq!(desk, REFUSED);
    assert_eq!(all.shows(&all.court, &all.truly(fourth), fourth, Vec::new()), Cosigned::Conflict { size: fourth + 5 });
    all.court.claims(&all.court, &[all.signs(fourth, Hash::of(b"x"))]).unwrap();
    assert_eq!(all.exits(&all.court), [40]);
}

#[test]
fn a_ledger_that_shows_another_root_than_others_were_shown_convicts_itself() {
    let all = Watched::new();
    let first = all.lab.node.ledger().size();
    let second = all.grows();
    all.court.claims(&all.desk, &[all.signs(second, Hash::ZERO)]).unwrap();
    let proof = all.lab.station.consistency(first, second).unwrap();
    assert_eq!(all.shows(&all.desk, &all.truly(second), first, proof), REFUSED);
    assert_eq!(all.exits(&all.desk), [40]);
}

#[test]
fn what_the_ledger_did_not_sign_says_nothing_of_it() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    let mut broken = all.signs(size + 1, Hash::ZERO);
    broken.lines[0].blob[0] ^= 1;
    let origin = all.lab.node.ledger_vkey().name().to_owned();
    let other_key = keys::read(all.court.node.home(), keys::LEDGER).unwrap();
    let foreign = Checkpoint { origin, size, root: Hash::ZERO }.sign(&other_key).unwrap();
    let mut spoiled = all.court.cosigns(&all.signs(size + 2, Hash::ZERO), 7);
    spoiled.lines[1].blob[9] ^= 1;
    let stranger = Checkpoint { origin: "nobody.example/x/1".to_owned(), size, root: Hash::ZERO };
    let empty = all.signs(0, custodia_merkle::empty_root());
    let before = all.desk.node.heard().when(&all.court.as_peer().root);
    all.court.claims(&all.desk, &[broken, foreign, spoiled, stranger.sign(&other_key).unwrap(), empty]).unwrap();
    all.desk.station.hear(&all.court.as_peer(), &[b"no note".to_vec(), Vec::new()]).unwrap();
    assert_ne!(all.desk.node.heard().when(&all.court.as_peer().root), before);
    for folder in ["told", "claimed", "contradictions"] {
        assert!(all.files(&all.desk, folder).is_empty(), "{folder}");
    }
    let grown = all.grows();
    let proof = all.lab.station.consistency(size, grown).unwrap();
    assert!(matches!(all.shows(&all.desk, &all.truly(grown), size, proof), Cosigned::Lines(_)));
}

#[test]
fn nobody_spoils_the_file_that_convicts_him() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    let mut spoiled = all.court.cosigns(&all.signs(size, Hash::ZERO), 7);
    spoiled.lines[1].blob[9] ^= 1;
    assert_eq!(all.shows(&all.desk, &spoiled, size, Vec::new()), REFUSED);
    assert_eq!(all.exits(&all.desk), [40], "a line that does not verify is left out of it");
}

#[test]
fn talk_fills_no_disk() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    for more in 1..40 {
        let note = all.signs(size + more, Hash::of(&more.to_be_bytes()));
        all.court.claims(&all.desk, &[note.clone(), all.court.cosigns(&note, more)]).unwrap();
    }
    // The owner's place, for notes that nobody cosigned, and the court's.
    assert_eq!((all.files(&all.desk, "claimed").len(), all.files(&all.desk, "told").len()), (2, 2));
    let newest = |of: &Party| {
        let notes = of.station.notes(&all.court.as_peer()).unwrap();
        let (origin, court) = (all.lab.node.ledger_vkey().name(), witness::own_vkey(&all.court.node).unwrap());
        let notes = notes.iter().map(|note| Note::parse(note).unwrap());
        let notes = notes.filter(|note| note.lines.iter().any(|line| court.is_of(line)));
        let notes = notes.map(|note| Checkpoint::parse_text(&note.text).unwrap());
        notes.filter(|note| note.origin == origin).map(|note| note.size).max().unwrap()
    };
    // What is passed on is the newest, and does not go back.
    assert_eq!(newest(&all.desk), size + 39);
    all.court.claims(&all.desk, &[all.court.cosigns(&all.signs(size + 2, Hash::of(&2_u64.to_be_bytes())), 2)]).unwrap();
    assert_eq!(newest(&all.desk), size + 39);
    // Proofs that do not close are doubts; some are kept, not each.
    for more in 1..50 {
        let note = all.signs(size + 100 + more, Hash::ZERO);
        assert_eq!(all.shows(&all.desk, &note, size, vec![Hash::ZERO]), REFUSED);
    }
    assert_eq!(all.files(&all.desk, "contradictions").len(), 32);
    // Of our own ledger one line of a key on one text is kept.
    for time in 1..10 {
        let note = all.lab.node.ledger().checkpoint().note().clone();
        all.desk.claims(&all.lab, &[all.court.cosigns(&note, time)]).unwrap();
    }
    assert_eq!(all.lab.node.notes().of_peer(&all.court.as_peer().root, Whose::Ours).len(), 1);
}

#[test]
fn what_a_restored_witness_forgot_it_learns_under_its_own_signature() {
    let all = Watched::new();
    let first = all.lab.node.ledger().size();
    let older = PathBuf::from(&all.files(&all.desk, "witnessed")[0]).parent().unwrap().to_owned();
    let copies: Vec<(PathBuf, Vec<u8>)> = all
        .files(&all.desk, "witnessed")
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let second = all.grows();
    all.lab.has_cosigned(&all.desk);
    all.lab.greets(&all.court);
    // The laboratory tells the court who cosigned what.
    all.lab.tells(&all.court).unwrap();
    let forked = all.signs(second, Hash::ZERO);

    std::fs::remove_dir_all(&older).unwrap();
    std::fs::create_dir(&older).unwrap();
    copies.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    all.desk.node.notes().forget();
    assert_eq!(all.remembered(&all.desk), first);
    all.court.tells(&all.desk).unwrap();
    assert_eq!(all.remembered(&all.desk), second);
    assert!(all.files(&all.desk, "claimed").is_empty(), "it vouched for it, and asks for no proof");
    let held = all.desk.station.hello(&all.lab.as_peer()).unwrap().held_checkpoint;
    assert_eq!(Checkpoint::parse_text(&Note::parse(&held).unwrap().text).unwrap().size, second);
    // The other history, from where the older copy stood and from where the desk stands now.
    assert_eq!(all.shows(&all.desk, &forked, first, vec![Hash::ZERO]), Cosigned::Conflict { size: second });
    assert_eq!(all.shows(&all.desk, &forked, second, Vec::new()), REFUSED);
    assert_eq!(all.exits(&all.desk), [40]);
    let third = all.grows();
    assert_eq!(
        all.shows(&all.court, &all.truly(third), second, all.lab.station.consistency(second, third).unwrap()),
        {
            let own = witness::own_vkey(&all.court.node).unwrap();
            let kept = all.court.node.notes().of_peer(&all.lab.as_peer().root, Whose::Theirs);
            let kept = kept.last().unwrap().read().unwrap();
            let line = kept.lines.iter().find(|line| own.is_of(line)).unwrap();
            Cosigned::Lines(format!("{line}\n").into_bytes())
        }
    );
}

#[test]
fn a_witness_that_cosigned_two_histories_says_so_itself() {
    let all = Watched::new();
    let size = all.grows();
    all.lab.has_cosigned(&all.desk);
    // Before it was restored it had cosigned another one.
    let forgotten = all.desk.cosigns(&all.signs(size, Hash::ZERO), 7);
    all.court.claims(&all.desk, &[forgotten]).unwrap();
    assert_eq!(all.exits(&all.desk), [40]);
    let [(false, seen)] = &all.desk.doctor()[..] else { panic!("{:?}", all.desk.doctor()) };
    assert!(seen.contains("this node's own key cosigned both"), "{seen}");
    assert_eq!(all.shows(&all.desk, &all.truly(size), size, Vec::new()), REFUSED);
}

#[test]
fn a_node_that_is_behind_is_told_by_those_who_heard_of_it_from_others() {
    let all = Watched::new();
    let size = all.lab.node.ledger().size();
    // The desk has this of the court, and never saw it from the laboratory itself.
    all.court.claims(&all.desk, &[all.court.cosigns(&all.signs(size + 3, Hash::ZERO), 7)]).unwrap();
    assert_eq!(all.desk.tells(&all.lab), Err(WireCode::RolledBack.into()));
    assert_eq!(all.lab.node.may_sign().unwrap_err().code, Code::RolledBack);
}

#[test]
fn cosignatures_of_third_authorities_stand_in_proofs() {
    let all = Watched::new();
    all.lab.greets(&all.court);
    let keys = [&all.desk, &all.court].map(|party| witness::own_vkey(&party.node).unwrap());
    let signers = |note: &Note| keys.each_ref().map(|key| cosignature_time(note, key).unwrap().is_some());
    // To the desk a statement goes with the court's line as well.
    let row = author::own_of_kind(&all.lab.node, &Kind::Card).unwrap()[0].clone();
    let sent = || {
        let signed = all.lab.station.statement(&all.desk.as_peer(), &row.digest).unwrap();
        TlogProof::parse(&signed.tlog_proof).unwrap().checkpoint
    };
    assert_eq!(signers(&sent()), [true, true]);
    // What the laboratory lost of it, the desk knows from the laboratory, and tells it again.
    all.lab.tells(&all.desk).unwrap();
    std::fs::remove_dir_all(all.lab.node.home().peer(&all.court.as_peer().root).join("cosigned")).unwrap();
    all.lab.node.notes().forget();
    assert_eq!(signers(&sent()), [true, false]);
    all.desk.tells(&all.lab).unwrap();
    assert_eq!(signers(&sent()), [true, true]);
    // A line that does not verify is not kept, and spoils nothing that is.
    let mut spoiled = all.court.cosigns(&all.truly(all.lab.node.ledger().size()), 7);
    spoiled.lines[1].blob[9] ^= 1;
    std::fs::remove_dir_all(all.lab.node.home().peer(&all.court.as_peer().root).join("cosigned")).unwrap();
    all.lab.node.notes().forget();
    all.desk.claims(&all.lab, &[spoiled]).unwrap();
    assert_eq!(signers(&sent()), [true, false]);
}
