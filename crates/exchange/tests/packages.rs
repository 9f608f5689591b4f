//! Several packages in one session: they begin beside each other, none waits for another, and each ends by itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use custodia_exchange::{AT_ONCE, Code, Event, FrameType, Phase, Question, Received, Refused, TRANSFERS, Turn};
use custodia_format::Hash;
use support::authority::package;
use support::side::{Side, WHOLE, pair, pump};

/// How each release ended on this side, in the order of their ends.
fn ends(side: &Side) -> Vec<(Hash, Phase)> {
    let end = |event: &Event| match event {
        Event::Sending { release, phase } | Event::Receiving { release, phase } => {
            let is_end = matches!(phase, Phase::Receipted { .. } | Phase::Declined { .. } | Phase::Failed(_));
            is_end.then(|| (*release, phase.clone()))
        }
        _ => None,
    };
    side.events.iter().filter_map(end).collect()
}

fn fetched(side: &Side) -> Vec<Hash> {
    side.fetches.iter().map(|fetching| fetching.release).collect()
}

/// Two sides, and releases of so many packages that nobody has fetched yet.
fn with_packages(count: u8) -> (Side, Side, Vec<Hash>) {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    let releases: Vec<Hash> = (0..count).map(|n| a.node.release("prosecutor.example", package(&[n]))).collect();
    releases.iter().for_each(|release| a.session.deliver(*release));
    pump(&mut a, &mut b, WHOLE);
    (a, b, releases)
}

#[test]
fn a_small_package_is_consigned_and_receipted_while_a_large_one_travels() {
    let (mut a, mut b, releases) = with_packages(2);
    assert_eq!(fetched(&b), releases, "both are consigned, and content may travel");
    b.session.fetched(releases[1], Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(ends(&a)[..], [(release, Phase::Receipted { .. })] if release == releases[1]));
    assert!(!a.session.is_idle() && !b.session.is_idle());
    b.session.fetched(releases[0], Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!((ends(&a).len(), ends(&a)), (2, ends(&b)), "each ends once, with the same receipt on both sides");
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn so_many_are_under_way_and_the_next_begins_when_one_ends() {
    let (mut a, mut b, releases) = with_packages(TRANSFERS as u8 + 3);
    assert_eq!(fetched(&b), releases[..TRANSFERS]);
    assert_eq!((a.session.waits().packages.len(), b.session.waits().packages.len()), (TRANSFERS, TRANSFERS));
    b.session.fetched(releases[3], Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(fetched(&b), releases[..=TRANSFERS], "in the order in which they were asked for");
    for release in &releases {
        b.session.fetched(*release, Ok(())).unwrap();
        pump(&mut a, &mut b, WHOLE);
    }
    let mut ended: Vec<Hash> = ends(&a).into_iter().map(|(release, _)| release).collect();
    assert_eq!(ended.len(), releases.len());
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), releases.len());
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn a_peer_that_begins_more_than_that_is_told_to_wait() {
    let (mut a, mut b, _) = with_packages(TRANSFERS as u8);
    let more = a.node.release("prosecutor.example", package(b"one more"));
    let frame = custodia_exchange::message::Message::Statement(a.node.signed(&more)).to_frame();
    b.take(&frame.to_bytes().unwrap());
    b.run();
    let told = b.sent.last().map(|frame| custodia_exchange::message::Message::parse(frame).unwrap());
    let Some(custodia_exchange::message::Message::Error(error)) = told else { panic!("{told:?}") };
    assert_eq!((error.refused().code, error.about), (Code::Busy, Some(more)));
    assert_eq!(b.session.waits().packages.len(), TRANSFERS);
    assert!(a.run().is_empty());
}

#[test]
fn two_releases_of_one_package_go_one_after_the_other() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    let [first, second, other] =
        [&b"p"[..], b"p", b"other"].map(|name| a.node.release("prosecutor.example", package(name)));
    [first, second, other].iter().for_each(|release| a.session.deliver(*release));
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(fetched(&b), [first, other], "data streams name the package alone");
    let waits = a.session.waits().packages;
    let behind = waits.iter().find(|(release, _)| *release == second).unwrap().1;
    assert_eq!(behind.why, "another release of the same package is under way");
    b.session.fetched(first, Err(Code::Storage.into())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(fetched(&b), [first, other, second], "it goes on whatever became of the first");
    for release in [second, other] {
        b.session.fetched(release, Ok(())).unwrap();
    }
    pump(&mut a, &mut b, WHOLE);
    assert!(matches!(
        ends(&a)[..],
        [(x, Phase::Failed(_)), (y, Phase::Receipted { .. }), (z, Phase::Receipted { .. })]
            if x == first && y == second && z == other
    ));
}

#[test]
fn what_fails_ends_alone() {
    let (mut a, mut b, releases) = with_packages(3);
    b.session.fetched(releases[0], Err(Code::Chunk.into())).unwrap();
    a.session.serving_failed(releases[1], Code::NotHere.into()).unwrap();
    pump(&mut a, &mut b, WHOLE);
    b.session.fetched(releases[2], Ok(())).unwrap();
    pump(&mut a, &mut b, WHOLE);
    let codes = |side: &Side, release: Hash| {
        ends(side).into_iter().find(|(it, _)| *it == release).map(|(_, phase)| match phase {
            Phase::Failed(refused) => Some(refused.code),
            _ => None,
        })
    };
    for side in [&a, &b] {
        assert_eq!(codes(side, releases[0]), Some(Some(Code::Chunk)));
        assert_eq!(codes(side, releases[1]), Some(Some(Code::NotHere)));
        assert_eq!(codes(side, releases[2]), Some(None), "receipted");
    }
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn what_is_to_wait_is_withdrawn_in_every_state_and_goes_on_later() {
    let (mut a, mut b, releases) = with_packages(TRANSFERS as u8 + 1);
    let later = Refused::retry(Code::Busy, 60);
    // One that is being fetched, and one that has not begun.
    for release in [releases[2], releases[TRANSFERS]] {
        a.session.serving_failed(release, later).unwrap();
    }
    pump(&mut a, &mut b, WHOLE);
    let withdrawn: Vec<Hash> = ends(&a).into_iter().map(|(release, _)| release).collect();
    assert_eq!(withdrawn, [releases[2], releases[TRANSFERS]]);
    assert!(!fetched(&b).contains(&releases[TRANSFERS]), "nobody heard of it");
    a.session.deliver(releases[2]);
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(fetched(&b).iter().filter(|release| **release == releases[2]).count(), 2);
    for release in &releases[..TRANSFERS] {
        b.session.fetched(*release, Ok(())).unwrap();
        pump(&mut a, &mut b, WHOLE);
    }
    assert_eq!(a.node.kept.len(), b.questions.iter().map(answers).sum::<usize>());
    assert!(a.session.is_idle() && b.session.is_idle());
}

/// How many statements that the sender keeps are answers to it.
fn answers(question: &Question) -> usize {
    match question {
        Question::Take(received) => received.iter().filter(|it| matches!(it, Received::Release(_))).count(),
        Question::Receipts { releases } => releases.len(),
        _ => 0,
    }
}

#[test]
fn what_came_while_the_host_answered_is_asked_about_together_and_stands_under_one_checkpoint() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    pump(&mut a, &mut b, WHOLE);
    let count = AT_ONCE + 4;
    let releases: Vec<Hash> = (0..count).map(|n| a.node.release("prosecutor.example", package(&[n as u8]))).collect();
    releases.iter().for_each(|release| a.session.deliver(*release));
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(fetched(&b), releases, "in the order in which they came");
    let sizes = |side: &Side, size: fn(&Question) -> usize| {
        side.questions.iter().map(size).filter(|size| *size > 0).collect::<Vec<usize>>()
    };
    // They come while the first checkpoint is judged, more than can be asked about together.
    let taken = sizes(&b, |question| if let Question::Take(received) = question { received.len() } else { 0 });
    assert_eq!(taken, [AT_ONCE, 1, 1, 1, 1]);
    let checkpoints = |side: &Side| side.sent.iter().filter(|frame| frame.kind == FrameType::AddCheckpoint).count();
    assert_eq!(checkpoints(&b), 1 + taken.len(), "one in the opening, then one for all that is said together");

    releases.iter().for_each(|release| b.session.fetched(*release, Ok(())).unwrap());
    pump(&mut a, &mut b, WHOLE);
    assert_eq!((ends(&a).len(), ends(&a)), (count, ends(&b)));
    let receipts =
        sizes(&b, |question| if let Question::Receipts { releases } = question { releases.len() } else { 0 });
    // The first as soon as it is proven, and then whatever was proven meanwhile.
    assert_eq!(receipts, [1, AT_ONCE, 3]);
    assert_eq!(checkpoints(&b), 1 + taken.len() + receipts.len());
    assert!(a.session.is_idle() && b.session.is_idle());
}

#[test]
fn one_that_is_not_taken_has_no_effect_on_those_beside_it() {
    let (mut a, mut b) = pair();
    b.fetches_at_once = false;
    pump(&mut a, &mut b, WHOLE);
    let releases: Vec<Hash> = (0..5).map(|n| a.node.release("prosecutor.example", package(&[n]))).collect();
    b.node.refuses = Some((releases[2], Code::NotForUs.into()));
    releases.iter().for_each(|release| a.session.deliver(*release));
    pump(&mut a, &mut b, WHOLE);
    assert_eq!(ends(&a), [(releases[2], Phase::Failed(Code::NotForUs.into()))]);
    assert_eq!(fetched(&b), [releases[0], releases[1], releases[3], releases[4]]);
}

#[test]
fn statements_overtake_packages_that_wait() {
    let (mut a, mut b, _) = with_packages(TRANSFERS as u8);
    let more = a.node.release("prosecutor.example", package(b"one more"));
    let back = b.node.release("forensics.example", package(b"back"));
    let acceptance = a.node.accept(back, package(b"back"));
    a.session.deliver(more);
    a.session.push(acceptance);
    pump(&mut a, &mut b, WHOLE);
    assert!(a.events.contains(&Event::Settled { digest: acceptance }));
    assert!(!fetched(&b).contains(&more));
}

#[test]
fn each_package_says_why_it_waits() {
    let (a, b, releases) = with_packages(2);
    for (side, why) in [(&a, "the peer fetches and proves the content"), (&b, "content is on its way to us")] {
        let waits = side.session.waits();
        assert_eq!(waits.packages.iter().map(|(release, _)| *release).collect::<Vec<_>>(), releases);
        assert!(waits.packages.iter().all(|(_, waiting)| waiting.why == why && waiting.turn == Turn::Theirs));
        assert_eq!(waits.session, waits.packages[0].1);
    }
    assert!(a.sent.iter().filter(|frame| frame.kind == FrameType::Statement).count() >= 2);
}
