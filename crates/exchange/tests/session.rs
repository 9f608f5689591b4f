//! Two sessions in one thread, with real keys, ledgers and proofs on both sides.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use custodia_exchange::message::{Cards, ErrorBody, Message, More, Proven, Want, Wish};
use custodia_exchange::{
    AddCheckpoint, Answer, Code, Cosigned, Document, Event, Fetching, FrameType, GivenBack, Hello, NeedsIt, PeerFault,
    Phase, Question, Signed, Turn,
};
use custodia_format::Hash;
use support::authority::{Authority, package};
use support::side::{Side, WHOLE, again, pair, pump};

#[test]
fn a_package_goes_over_and_both_sides_hold_the_same_receipt() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let receipt = match a.phases().last() {
        Some(Phase::Receipted { receipt }) => *receipt,
        other => panic!("{other:?}, {:?} {:?}", a.fault, b.fault),
    };
    assert_eq!(b.phases().last(), Some(&Phase::Receipted { receipt }));
    assert_eq!(a.phases(), [Phase::Announced, Phase::Consigned, Phase::Proven, Phase::Receipted { receipt }],);
    assert_eq!(a.node.kept.iter().filter(|(_, answers)| *answers == Some(release)).count(), 2);
    assert!(b.node.settled.contains(&receipt));
    assert!(a.session.is_idle() && b.session.is_idle());
    assert_eq!(a.session.waiting().turn, Turn::Nobodys);
}

#[test]
fn each_side_cosigns_the_other_before_and_after() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!((a.node.cosignatures.len(), b.node.cosignatures.len()), (1, 1));
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    // The receiver's checkpoints under consignment and receipt, the sender's under release and after the receipt.
    let sizes = |node: &Authority| node.cosignatures.iter().map(|(size, _)| *size).collect::<Vec<_>>();
    assert_eq!(sizes(&a.node), [1, 2, 4]);
    assert_eq!(sizes(&b.node), [1, 3, 4]);
}

#[test]
fn checkpoints_are_judged_before_anything_is_said_about_a_package() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let kinds: Vec<FrameType> = a.sent.iter().map(|frame| frame.kind).collect();
    let statement = kinds.iter().position(|kind| *kind == FrameType::Statement).unwrap();
    let opening = [FrameType::Hello, FrameType::Cards, FrameType::Notes, FrameType::AddCheckpoint, FrameType::Cosigned];
    assert_eq!(kinds[..5], opening);
    assert!(statement >= 5);
}

#[test]
fn what_the_peer_knows_of_ledgers_is_heard_before_anything_is_cosigned() {
    let (mut a, mut b) = pair();
    a.node.notes = vec![b"of yours\n".to_vec(), b"of mine\n".to_vec()];
    b.node.notes = vec![b"of a third\n".to_vec()];
    pump(&mut a, &mut b, WHOLE);
    assert_eq!((&a.node.heard, &b.node.heard), (&b.node.notes, &a.node.notes));
    for side in [&a, &b] {
        let place = |name: &str| side.questions.iter().position(|question| format!("{question:?}").starts_with(name));
        assert!(place("LearnCards") < place("Hear") && place("Hear") < place("Witness"), "{:?}", side.questions);
    }
    // A host that will not go on after it ends the session before it cosigns.
    let (mut a, mut b) = pair();
    b.node.fails = Some(("Hear", Code::RolledBack));
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(b.closed, Some(Code::RolledBack));
    assert_eq!(b.sent.last().map(|frame| frame.kind), Some(FrameType::AskBack));
    assert!(b.sent.iter().all(|frame| frame.kind != FrameType::Cosigned && frame.kind != FrameType::AddCheckpoint));
    // Nor can it be left out: a checkpoint in its place is out of order.
    let (mut a, mut b) = pair();
    a.node.fails = Some(("Notes", Code::Busy));
    pump(&mut a, &mut b, WHOLE);
    let add = Message::AddCheckpoint(AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: b"note".to_vec() });
    assert_eq!(refused(&mut b, &add).code(), Code::OutOfState);
}

#[test]
fn who_has_lost_a_part_of_its_history_is_given_back_what_the_peer_holds_of_it() {
    for documents in [0, 1, 64, 65, 1000] {
        let (mut a, mut b) = pair();
        // Some are long, so that a page takes several frames.
        let long = |number: usize| vec![b'd'; if number % 50 == 7 { 200_000 } else { 100 + number }];
        a.node.holds_of_peer = (0..documents).map(long).collect();
        b.node.fails = Some(("Meet", Code::RolledBack));
        pump(&mut a, &mut b, WHOLE);
        assert_eq!(b.node.taken_back, a.node.holds_of_peer, "{documents}");
        assert_eq!((b.closed, &b.fault, &a.fault), (Some(Code::RolledBack), &None, &None));
        // Nothing else happened in that session.
        let kinds: Vec<FrameType> = b.sent.iter().map(|frame| frame.kind).collect();
        assert!(kinds[1..].iter().all(|kind| *kind == FrameType::AskBack), "{kinds:?}");
        assert!(a.node.taken_back.is_empty() && a.node.kept.is_empty() && b.node.kept.is_empty());
    }
}

#[test]
fn nothing_is_given_back_to_who_did_not_ask_and_no_page_is_empty_for_ever() {
    let given = |documents| Message::GivenBack(GivenBack { documents, more: More::Yes });
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(refused(&mut b, &given(Vec::new())).code(), Code::OutOfState);

    let (_, mut b) = pair();
    b.node.fails = Some(("Meet", Code::RolledBack));
    b.run();
    let hello = Message::Hello(Hello {
        card: Hash::of(b"card"),
        origin: "a/b/1".to_owned(),
        size: 1,
        held_card: None,
        held_checkpoint: Vec::new(),
    });
    b.session.handle_frame(hello.to_frame()).unwrap();
    b.run();
    assert_eq!(b.sent.last().map(|frame| frame.kind), Some(FrameType::AskBack));
    b.session.handle_frame(given(Vec::new()).to_frame()).unwrap();
    b.run();
    assert_eq!(b.closed, Some(Code::RolledBack));
}

#[test]
fn what_was_lost_is_given_back_once_in_a_session_and_in_order() {
    let documents = |count: usize| (0..count).map(|number| vec![number as u8; 10]).collect::<Vec<_>>();
    for (asked, allowed) in [
        (&[0][..], true),
        (&[0, 64][..], true),
        (&[1][..], false),
        (&[0, 0][..], false),
        (&[0, 63][..], false),
        (&[0, 64, 64][..], false),
        (&[0, 64, 100][..], false),
    ] {
        let (mut a, mut b) = pair();
        pump(&mut a, &mut b, WHOLE);
        // Two pages: 64 and 36.
        b.node.holds_of_peer = documents(100);
        let mut fault = None;
        for from in asked {
            fault = b.session.handle_frame(Message::AskBack(*from).to_frame()).err();
            b.run();
        }
        assert_eq!(fault.as_ref().map(PeerFault::code), (!allowed).then_some(Code::OutOfState), "{asked:?}");
    }
}

#[test]
fn cards_are_bounded_in_number_and_bytes_and_end() {
    let cards = |count: usize, bytes: usize| {
        Message::Cards(Cards { envelopes: vec![vec![b'c'; bytes]; count], more: More::Yes }).to_frame()
    };
    for (frame, frames) in [(cards(14, 70_000), 18), (cards(14, 10), 293), (cards(0, 0), 1)] {
        let (_, mut b) = pair();
        b.run();
        let hello = Message::Hello(Hello {
            card: Hash::of(b"card"),
            origin: "a/b/1".to_owned(),
            size: 1,
            held_card: None,
            held_checkpoint: Vec::new(),
        });
        b.session.handle_frame(hello.to_frame()).unwrap();
        b.run();
        let taken = (1..1000).find(|_| b.session.handle_frame(frame.clone()).is_err());
        assert_eq!(taken, Some(frames));
    }
}

#[test]
fn no_more_notes_travel_than_fit() {
    let (mut a, mut b) = pair();
    a.node.notes = (0..100_u8).map(|number| vec![number; 10_000]).collect();
    b.node.notes = (0..10_u8).map(|number| vec![number; 200_000]).collect();
    pump(&mut a, &mut b, WHOLE);
    assert!(a.session.is_open() && b.session.is_open(), "{:?} {:?}", a.fault, b.fault);
    assert_eq!((&b.node.heard[..], &a.node.heard[..]), (&a.node.notes[..64], &b.node.notes[..5]));
}

#[test]
fn a_witness_that_names_one_size_after_the_other_is_left_alone() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    for number in 0..9 {
        a.node.append(vec![number]);
    }
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    a.run();
    let before = a.sent.len();
    let mut named = Vec::new();
    for size in 1..=10 {
        named.push(size);
        a.take(&Message::Cosigned(Cosigned::Conflict { size }).to_frame().to_bytes().unwrap());
        a.run();
        if a.events.contains(&Event::NotCosigned { status: 409 }) {
            break;
        }
    }
    assert!(a.fault.is_none(), "{:?}", a.fault);
    assert_eq!((named.len(), a.sent.len() - before), (8, 7), "it is sent eight times in all");
}

#[test]
fn a_checkpoint_that_another_connection_has_overtaken_is_followed_by_the_newest() {
    let (mut a, mut b) = pair();
    let stale = a.node.checkpoint();
    // Another connection carries a newer one to the peer before this session has submitted its own.
    let release = a.node.release("prosecutor.example", package(b"p"));
    let newest = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: a.node.checkpoint().print().into_bytes() };
    assert!(matches!(b.node.answer(Question::Witness(newest)), Answer::Witnessed(Cosigned::Lines(_))));
    a.node.shows_first = Some(stale);
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert!(a.session.is_open() && b.session.is_open(), "{:?} {:?}", a.session.waits(), b.session.waits());
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })), "{:?}", a.fault);
}

#[test]
fn every_split_of_the_bytes_gives_the_same_session() {
    let run = |step: usize| {
        let (mut a, mut b) = pair();
        let release = a.node.release("prosecutor.example", package(b"p"));
        a.session.deliver(release);
        pump(&mut a, &mut b, step);
        assert!(a.session.is_idle() && b.session.is_idle(), "step {step}");
        (a.phases(), b.phases())
    };
    let whole = run(WHOLE);
    for step in [1, 2, 3, 5, 7, 64, 1000] {
        assert_eq!(run(step), whole, "step {step}");
    }
}

#[test]
fn the_same_release_gives_the_same_consignment_and_receipt_over_a_new_connection() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    // The link is lost when the receiver has fetched everything and the receipt is on its way.
    b.fetches_at_once = false;
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(a.phases(), [Phase::Announced, Phase::Consigned]);
    b.session.fetched(release, Ok(())).unwrap();
    let lost = b.run();
    assert!(!lost.is_empty());
    let size = b.node.size();
    let (mut a, mut b) = again(a, b);
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    // The receipt is owed and pushed by itself; whichever way it comes first, it is the stored one.
    assert_eq!(b.node.size(), size, "nothing was signed anew");
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })), "{:?}", a.phases());
    let receipts: Vec<Hash> = a.node.kept.iter().map(|(digest, _)| *digest).collect();
    assert!(receipts.contains(&b.node.settled[b.node.settled.len() - 1]));
    assert!(b.node.owed.is_empty() && a.session.is_idle() && b.session.is_idle());
}

#[test]
fn documents_are_wanted_announced_and_followed_only_after_the_consignment() {
    let (mut a, mut b) = pair();
    (b.node.history, b.node.manifest, b.fetches_at_once) = (NeedsIt::Yes, NeedsIt::Yes, false);
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(
        b.fetches,
        [Fetching { release, root: package(b"p").root, history: NeedsIt::Yes, manifest: NeedsIt::Yes }]
    );
    assert_eq!(a.session.waiting().turn, Turn::Theirs);
    b.session.want(release, Wish::Document(Document::Manifest));
    pump(&mut a, &mut b, WHOLE);
    assert_eq!((a.served.len(), b.follows.clone()), (1, vec![Document::Manifest]));
    b.session.fetched(release, Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })));
}

#[test]
fn nothing_is_fetched_before_the_consignment_is_on_the_wire() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(b.sent_at_fetch.as_deref().and_then(<[FrameType]>::last), Some(&FrameType::Statement));
}

#[test]
fn a_signed_refusal_ends_the_transfer_and_is_kept() {
    let (mut a, mut b) = pair();
    b.node.declines = true;
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Declined { .. })));
    assert!(matches!(b.phases().last(), Some(Phase::Declined { .. })));
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn an_acceptance_is_pushed_and_confirmed() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let acceptance = b.node.accept(release, package(b"p"));
    b.session.push(acceptance);
    pump(&mut a, &mut b, WHOLE);
    assert!(b.events.contains(&Event::Settled { digest: acceptance }));
    assert!(a.node.kept.contains(&(acceptance, None)));
    // Over a new connection what is owed goes by itself.
    let later = b.node.accept(release, package(b"p"));
    b.node.owed.push(later);
    let (mut a, mut b) = again(a, b);
    pump(&mut a, &mut b, WHOLE);
    assert!(b.node.settled.contains(&later) && b.node.owed.is_empty());
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn packages_go_both_ways_in_one_session() {
    let (mut a, mut b) = pair();
    let forth = a.node.release("prosecutor.example", package(b"forth"));
    let second = a.node.release("prosecutor.example", package(b"second"));
    let back = b.node.release("forensics.example", package(b"back"));
    a.session.deliver(forth);
    a.session.deliver(second);
    b.session.deliver(back);
    pump(&mut a, &mut b, WHOLE);
    let receipts = |side: &Side| side.phases().iter().filter(|phase| matches!(phase, Phase::Receipted { .. })).count();
    assert_eq!((receipts(&a), receipts(&b)), (3, 3));
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn a_host_that_is_busy_ends_the_transfer_and_not_the_session() {
    let (mut a, mut b) = pair();
    b.node.fails = Some(("Take([Release", Code::Busy));
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let Some(Phase::Failed(refused)) = a.phases().pop() else { panic!("{:?}", a.phases()) };
    assert_eq!((refused.code, refused.retry_after_seconds), (Code::Busy, 7));
    b.node.fails = None;
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })));
}

#[test]
fn a_receipt_that_is_not_kept_is_no_delivery() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    b.fetches_at_once = false;
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    a.node.fails = Some(("Take([Answer", Code::Statement));
    b.session.fetched(release, Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Failed(_))));
    assert!(matches!(b.phases().last(), Some(Phase::Failed(_))));
    assert_eq!(b.node.owed.len(), 1, "the receipt stays owed");
}

#[test]
fn a_rolled_back_node_is_told_by_its_own_signature() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let (mut a, mut b) = again(a, b);
    a.node.roll_back(2);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(a.closed, Some(Code::RolledBack));
}

#[test]
fn another_history_is_never_cosigned() {
    let (mut a, mut b) = pair();
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let cosigned = a.node.cosignatures.len();
    let (mut a, mut b) = again(a, b);
    a.node.fork();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(b.closed, Some(Code::Inconsistent));
    assert_eq!(a.node.cosignatures.len(), cosigned);
    assert!(a.events.iter().all(|event| !matches!(event, Event::Sending { .. })));
}

#[test]
fn a_witness_that_holds_another_size_says_which_and_is_asked_again() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    // Another connection carried a newer checkpoint meanwhile: this session's view of the witness is stale.
    let other = a.node.release("prosecutor.example", package(b"other"));
    let Answer::Consistency(proof) = a.node.answer(Question::Consistency { old: 1, new: 2 }) else {
        panic!("no consistency proof")
    };
    let add = AddCheckpoint { old: 1, proof, checkpoint: a.node.checkpoint().print().into_bytes() };
    assert!(matches!(b.node.answer(Question::Witness(add)), Answer::Witnessed(Cosigned::Lines(_))));
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })), "{:?}", a.fault);
    assert!(a.events.contains(&Event::WeAreCosigned { size: 3 }), "{:?}", a.events);
    assert_ne!(other, release);
}

/// Every frame that a session in this state must refuse.
fn refused(side: &mut Side, message: &Message) -> PeerFault {
    side.take(&message.to_frame().to_bytes().unwrap());
    side.run();
    side.fault.take().unwrap_or_else(|| panic!("{message:?} was taken"))
}

#[test]
fn frames_out_of_state_are_refused() {
    let hello =
        Hello { card: Hash::ZERO, origin: "x/y/1".to_owned(), size: 1, held_card: None, held_checkpoint: Vec::new() };
    let statement = {
        let (mut a, _) = pair();
        let release = a.node.release("prosecutor.example", package(b"p"));
        Message::Statement(a.node.signed(&release))
    };
    let want = Message::Want(Want { release: Hash::ZERO, what: Wish::Document(Document::Manifest) });
    let follows = Message::Follows(custodia_exchange::message::Follows {
        release: Hash::ZERO,
        document: Document::Manifest,
        bytes: 1,
    });
    let add = Message::AddCheckpoint(AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: b"note".to_vec() });
    let cosigned = Message::Cosigned(Cosigned::Refused { status: 404 });
    let cards = Message::Cards(Cards { envelopes: Vec::new(), more: More::No });
    let kept = Message::Kept(Hash::ZERO);
    let notes = Message::Notes(Vec::new());
    let proven = Message::Proven(Proven { release: Hash::ZERO, bytes: 1 });
    // Before the hello nothing but a hello.
    for message in [&statement, &want, &follows, &add, &cosigned, &cards, &kept, &notes, &proven] {
        let (mut side, _) = pair();
        side.run();
        let fault = refused(&mut side, message);
        assert_eq!(fault.code(), Code::OutOfState, "{message:?}");
    }
    // In an open session no second hello or cards, and nothing that answers what was never asked.
    for message in [&Message::Hello(hello), &cards, &notes, &want, &follows, &cosigned, &kept, &proven] {
        let (mut a, mut b) = pair();
        pump(&mut a, &mut b, WHOLE);
        let fault = refused(&mut b, message);
        assert_eq!(fault.code(), Code::OutOfState, "{message:?}");
    }
}

#[test]
fn what_is_proven_at_the_reader_is_told_while_it_is_fetched_and_not_after() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    b.session.proven(release, 1);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(a.proven, [], "nothing is under way yet");
    b.session.proven(release, 2);
    b.session.proven(Hash::ZERO, 3);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(a.proven, [Proven { release, bytes: 2 }]);
    b.session.fetched(release, Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(a.phases().last(), Some(Phase::Receipted { .. })), "{:?}", a.fault);
    // One that crosses the end on the wire harms nothing.
    a.take(&Message::Proven(Proven { release, bytes: 4 }).to_frame().to_bytes().unwrap());
    a.run();
    assert_eq!((a.fault, a.proven.len()), (None, 1));
}

#[test]
fn content_is_not_served_before_the_consignment() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    a.run();
    let want = Message::Want(Want { release, what: Wish::Document(Document::Manifest) });
    assert_eq!(refused(&mut a, &want).code(), Code::OutOfState);
    assert!(a.served.is_empty());
}

#[test]
fn an_answer_for_another_package_is_a_fault() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    let release = a.node.release("prosecutor.example", package(b"p"));
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    let other = b.node.say(
        custodia_format::kind::Kind::Receipt,
        package(b"another"),
        Some(release),
        false,
        custodia_format::body::Body::Receipt(custodia_format::body::Receipt {
            release,
            items: custodia_format::ranges::Items::All,
            bytes: 1,
            findings: Vec::new(),
        }),
    );
    let fault = refused(&mut a, &Message::Statement(b.node.signed(&other)));
    assert_eq!(fault.code(), Code::Answer);
    assert!(!a.phases().iter().any(|phase| matches!(phase, Phase::Receipted { .. })));
}

#[test]
fn a_statement_that_does_not_parse_ends_the_connection() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    let release = a.node.release("prosecutor.example", package(b"p"));
    let good = a.node.signed(&release);
    let cut = Signed { envelope: good.envelope[..good.envelope.len() - 1].to_vec(), ..good.clone() };
    let no_proof = Signed { tlog_proof: b"c2sp.org/tlog-proof@v1\n".to_vec(), ..good };
    for bad in [cut, no_proof] {
        let (mut a, mut b) = pair();
        pump(&mut a, &mut b, WHOLE);
        assert_eq!(refused(&mut b, &Message::Statement(bad)).code(), Code::FrameMalformed);
    }
}

#[test]
fn an_error_about_something_over_has_no_effect() {
    let (mut a, mut b) = pair();
    pump(&mut a, &mut b, WHOLE);
    let error = Message::Error(ErrorBody { number: 9999, retry_after_seconds: 1, about: Some(Hash::ZERO) });
    b.take(&error.to_frame().to_bytes().unwrap());
    assert!(b.fault.is_none() && b.session.is_idle());
}

#[test]
fn every_state_says_why_it_waits_and_whose_turn_it_is() {
    let (mut a, mut b) = pair();
    assert_eq!(a.session.waiting().turn, Turn::Ours);
    let hello = a.run();
    assert_eq!((a.session.waiting().why, a.session.waiting().turn), ("the peer's hello is awaited", Turn::Theirs));
    b.take(&hello);
    b.fetches_at_once = false;
    let release = a.node.release("prosecutor.example", package(b"p"));
    let wire = b.run();
    a.take(&wire);
    a.session.deliver(release);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(a.session.waiting().next, "it sends its signed receipt");
    assert_eq!(b.session.waiting().why, "content is on its way to us");
}
