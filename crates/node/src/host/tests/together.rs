//! What comes together is taken in together: one commit, one checkpoint, and each its own answer.

use custodia_exchange::{Received, Taken};
use custodia_format::tlog_proof::TlogProof;

use super::*;

fn checkpoint_of(signed: &Signed) -> String {
    TlogProof::parse(&signed.tlog_proof).unwrap().checkpoint.text
}

#[test]
fn releases_that_come_together_are_consigned_and_receipted_under_one_checkpoint_each() {
    let mut both = Released::new();
    let (lab, desk) = (both.lab.as_peer(), both.desk.as_peer());
    let package = both.lab.seals(&[("c", b"second".to_vec())]);
    let other = both.lab.releases(&package, &both.desk);
    both.lab.has_cosigned(&both.desk);
    let other_signed = both.lab.station.statement(&desk, &other).unwrap();
    let mut forged = both.signed.clone();
    forged.envelope = both.signed.envelope.iter().map(|byte| if *byte == b'A' { b'B' } else { *byte }).collect();

    let before = both.desk.node.ledger().size();
    let received = [&both.signed, &forged, &other_signed, &both.signed].map(|it| Received::Release(it.clone()));
    let taken = both.desk.station.take(&lab, &received);
    let [Ok(first), Err(refused), Ok(second), Ok(again)] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(refused.code, WireCode::Statement);
    let consignment = |taken: &Taken| match taken {
        Taken::Consigned(Consigned::Accepted { consignment, .. }) => consignment.clone(),
        other => panic!("{other:?}"),
    };
    let [first, second, again] = [first, second, again].map(consignment);
    assert_eq!(both.desk.node.ledger().size(), before + 4, "two releases and two consignments, each once");
    assert_eq!(first.envelope, again.envelope);
    assert_eq!(checkpoint_of(&first), checkpoint_of(&second));
    assert_ne!(first.envelope, second.envelope);

    // The answers, kept together by who gets them.
    both.desk.has_cosigned(&both.lab);
    let releases = [both.release, other];
    let answers: Vec<Received> = [(first, releases[0]), (second, releases[1])]
        .map(|(signed, release)| Received::Answer { signed, release: Some(release) })
        .to_vec();
    assert_eq!(both.lab.station.take(&desk, &answers), [Ok(Taken::Kept), Ok(Taken::Kept)]);
    assert_eq!(both.lab.station.take(&desk, &answers), [Ok(Taken::Kept), Ok(Taken::Kept)]);

    // A receipt for the one that is here, and none for the one that is not.
    both.take(Document::History, &both.document(Document::History)).unwrap();
    both.take(Document::Manifest, &both.document(Document::Manifest)).unwrap();
    both.carry(|_, _| ()).unwrap();
    let receipts = both.desk.station.receipts(&lab, &releases);
    assert!(matches!(receipts[..], [Ok(_), Err(_)]), "{receipts:?}");
    (both.release, both.signed) = (other, other_signed);
    both.take(Document::History, &both.document(Document::History)).unwrap();
    both.take(Document::Manifest, &both.document(Document::Manifest)).unwrap();
    both.carry(|_, _| ()).unwrap();
    let size = both.desk.node.ledger().size();
    let receipts: Vec<Signed> = both.desk.station.receipts(&lab, &releases).into_iter().map(Result::unwrap).collect();
    assert_eq!(both.desk.node.ledger().size(), size + 1, "one of them was receipted before");
    both.desk.has_cosigned(&both.lab);
    let answers: Vec<Received> = receipts
        .into_iter()
        .zip(releases)
        .map(|(signed, release)| Received::Answer { signed, release: Some(release) })
        .collect();
    assert_eq!(both.lab.station.take(&desk, &answers), [Ok(Taken::Kept), Ok(Taken::Kept)]);
    assert!(both.lab.perform(op::Queue { now: false }).iter().all(|transfer| transfer.receipt.is_some()));
}
