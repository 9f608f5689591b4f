//! Releases that are to be answered by a moment, and what is said when they are not.

use custodia_format::text::Time;

use super::*;
use crate::deadline::{Circumstances, missed, tell_missed};
use crate::outbox::Wishes;

const DEADLINE: &str = "2027-01-01T12:00:00Z";

impl Released {
    /// With nobody to be asked before something is signed.
    fn expecting(deadline: &str) -> (Self, Wishes) {
        let both = Self::new();
        *both.lab.node.asked() = true;
        let mut wishes = Wishes::default();
        wishes.expect(&both.release, Time::parse(deadline));
        (both, wishes)
    }

    fn looks(&self, wishes: &Wishes, now: &str) -> Option<Time> {
        let tried = serde_json::json!({
            "first": "2026-12-24T10:00:00Z", "last": "2026-12-31T23:59:00Z", "count": 17, "code": "E-PEER-UNREACHABLE",
        });
        let attempts = serde_json::from_value(tried).unwrap();
        let circumstances = Circumstances { attempts, held_back: Some("paused") };
        tell_missed(&self.lab.node, wishes, Time::parse(now).unwrap(), |_| circumstances.clone())
    }

    fn said(&self) -> Vec<Hash> {
        missed(&self.lab.node, &self.release).unwrap().into_iter().map(|one| one.statement).collect()
    }

    fn is_received(&self) {
        self.take(Document::History, &self.document(Document::History)).unwrap();
        self.take(Document::Manifest, &self.document(Document::Manifest)).unwrap();
        self.carry(|_, _| ()).unwrap();
        let receipt = self.desk.station.receipt(&self.lab.as_peer(), &self.release).unwrap();
        self.desk.has_cosigned(&self.lab);
        self.lab.station.keep(&self.desk.as_peer(), &receipt, Some(&self.release)).unwrap();
    }

    /// The verdict on the package and the codes of what was found, as a party proves it.
    fn proves(&self, who: &Party) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let package = author::statement(&self.lab.node, &self.release).unwrap().unwrap().head.package.unwrap();
        let written = who.perform(op::Prove {
            package: package.root.to_string(),
            out: folder.path().join("proof.json"),
            disclosure: None,
            annexes: false,
        });
        let codes = written.findings.iter().filter_map(|finding| finding.split(':').next().map(str::to_owned));
        (written.verdict, codes.collect())
    }
}

#[test]
fn a_deadline_that_passes_without_a_receipt_is_said_once_and_what_was_tried_with_it() {
    let (both, wishes) = Released::expecting(DEADLINE);
    assert_eq!(both.looks(&wishes, "2027-01-01T11:59:59Z"), Time::parse(DEADLINE), "it lies ahead");
    assert_eq!(both.looks(&wishes, "2026-10-31T00:00:00Z"), Time::parse(DEADLINE));
    assert_eq!((both.said().len(), both.looks(&wishes, DEADLINE)), (0, None));
    let said = both.said();
    let statement = author::statement(&both.lab.node, &said[0]).unwrap().unwrap();
    assert_eq!((statement.head.in_reply_to, statement.head.officer.clone()), (Some(both.release), None));
    let Body::Event(event) = &statement.body else { panic!("{statement:?}") };
    let codes: Vec<_> = event.codes.iter().map(|code| (code.name.as_str(), code.value.as_str())).collect();
    assert_eq!(
        (event.action.as_str(), codes),
        (
            "not-received",
            vec![
                ("deadline", DEADLINE),
                ("answer", "none"),
                ("attempts", "17"),
                ("first-attempt", "2026-12-24T10:00:00Z"),
                ("last-attempt", "2026-12-31T23:59:00Z"),
                ("last-code", "E-PEER-UNREACHABLE"),
                ("held-back", "paused"),
            ]
        )
    );
    // Not again, whenever it is looked, by whichever process: it stands in the ledger.
    let size = both.lab.node.ledger().size();
    for now in [DEADLINE, "2027-01-02T00:00:00Z", "2026-12-01T00:00:00Z", "2030-01-01T00:00:00Z"] {
        both.looks(&wishes, now);
    }
    assert_eq!((both.said(), both.lab.node.ledger().size()), (said, size));
    // A later deadline is one of its own, and says how far the peer has answered by then.
    let mut later = wishes;
    later.expect(&both.release, Time::parse("2027-02-01T00:00:00Z"));
    let consignment = both.consign();
    both.looks(&later, "2027-02-01T00:00:01Z");
    let second = author::statement(&both.lab.node, &both.said()[1]).unwrap().unwrap();
    let Body::Event(event) = &second.body else { panic!("{second:?}") };
    let of = |name: &str| event.codes.iter().find(|code| code.name.as_str() == name).unwrap().value.to_string();
    assert_eq!((of("answer"), of("consignment")), ("consignment".to_owned(), consignment.digest().to_string()));
}

#[test]
fn what_was_not_received_in_time_may_be_received_later_and_both_verify_beside_each_other() {
    let (both, wishes) = Released::expecting(DEADLINE);
    both.looks(&wishes, DEADLINE);
    assert_eq!(both.said().len(), 1);
    both.lab.has_cosigned(&both.desk);
    let before = both.proves(&both.lab);
    both.consign();
    both.is_received();
    assert_eq!(both.looks(&wishes, "2027-01-03T00:00:00Z"), None);
    assert_eq!(both.said().len(), 1);
    // As it would be without it: a hand-over without an answer has one side only, one with an answer has both.
    let plain = Released::new();
    assert_eq!(before, plain.proves(&plain.lab));
    plain.consign();
    plain.is_received();
    for (with, without) in [(&both.lab, &plain.lab), (&both.desk, &plain.desk)] {
        assert_eq!(both.proves(with), plain.proves(without));
    }
    let shown = both.lab.perform(op::Queue { now: false });
    let deadlines: Vec<_> = shown[0].not_received.iter().map(|one| one.deadline.as_str()).collect();
    assert_eq!((shown[0].state, deadlines), (op::answers::TransferState::Received, vec![DEADLINE]));
}

#[test]
fn nothing_is_said_where_an_answer_is_here_or_nobody_has_set_the_clock() {
    let (both, wishes) = Released::expecting("2026-11-02T00:00:00Z");
    let epoch = both.looks(&wishes, "1970-01-01T00:00:00Z");
    assert_eq!((epoch, both.said()), (Time::parse("2026-11-02T00:00:00Z"), vec![]));
    // A clock that nobody has set is behind every deadline but one that was set under it.
    let mut early = Wishes::default();
    early.expect(&both.release, Time::parse("1970-01-01T00:00:10Z"));
    both.looks(&early, "1970-01-01T00:01:00Z");
    assert_eq!(both.said(), []);
    both.consign();
    both.is_received();
    both.looks(&wishes, "2027-01-01T00:00:00Z");
    assert_eq!(both.said(), [], "the receipt is here");
    // Nor of a release that is not here.
    let mut strange = Wishes::default();
    strange.expect(&Hash::ZERO, Time::parse("2026-11-02T00:00:00Z"));
    let size = both.lab.node.ledger().size();
    both.looks(&strange, "2027-01-01T00:00:00Z");
    assert_eq!(both.lab.node.ledger().size(), size);
}
