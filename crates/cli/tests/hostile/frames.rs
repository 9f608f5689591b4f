//! Frames that no honest node sends, from a peer that was met.

use std::time::Duration;

use custodia_exchange::message::{Cards, ErrorBody, Follows, Message, More, Proven, Want, Wish};
use custodia_exchange::{Code, Cosigned, Document, FRAME_BYTES, Frame, FrameType, GivenBack, Refused};
use custodia_format::Hash;

use crate::caller::on_network;
use crate::measure::{MIB, mib, row};
use crate::rogue::Rogue;
use crate::world::World;

#[test]
fn lengths_and_types_that_are_none_end_the_session() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    let over = u32::try_from(FRAME_BYTES).unwrap() + 1;
    on_network(async {
        for (threats, what, bytes, code) in [
            ("Q4", "a frame of length 0", 0_u32.to_be_bytes().to_vec(), 10),
            ("Q4, T21", "a frame of length 2^32 - 1", u32::MAX.to_be_bytes().to_vec(), 10),
            ("Q4, T21", "a frame of length 2^31", (1_u32 << 31).to_be_bytes().to_vec(), 10),
            ("Q4", "a frame one byte over the limit", over.to_be_bytes().to_vec(), 10),
            ("Q5", "an unknown type of frame", vec![0, 0, 0, 1, 200], 12),
            ("Q5", "a body that is not its type's", vec![0, 0, 0, 2, 1, 0], 11),
        ] {
            let mut inside = rogue.calls(world.address()).await;
            inside.says_bytes(&bytes).await;
            assert_eq!(inside.is_closed().await, Some(code), "{what}");
            row(threats, what, "closed before anything is waited for", &format!("code {code}"));
        }
    });
    assert!(world.memory_grew() < 16 * MIB);
    world.nothing_was_kept();
    world.ends_well();
}

/// One well-formed frame of each type.
fn one_of_each(rogue: &Rogue) -> Vec<(FrameType, Message)> {
    let hash = Hash::new([7; 32]);
    let signed = rogue.signed(&rogue.statements()[0].1);
    let messages = vec![
        Message::Hello(rogue.hello()),
        Message::Cards(Cards { envelopes: Vec::new(), more: More::No }),
        rogue.add_checkpoint(0),
        Message::Cosigned(Cosigned::Refused { status: 404 }),
        Message::Statement(signed),
        Message::Want(Want { release: hash, what: Wish::Document(Document::Manifest) }),
        Message::Error(ErrorBody::new(Refused::new(Code::Busy), Some(hash))),
        Message::Follows(Follows { release: hash, document: Document::Manifest, bytes: 1000 }),
        Message::Kept(hash),
        Message::Notes(Vec::new()),
        Message::AskBack(1 << 40),
        Message::GivenBack(GivenBack { documents: Vec::new(), more: More::Yes }),
        Message::Proven(Proven { release: hash, bytes: 1 << 40 }),
    ];
    assert_eq!(messages.len(), FrameType::ALL.len());
    FrameType::ALL.into_iter().zip(messages).collect()
}

#[test]
fn every_frame_at_a_wrong_time_ends_the_session() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut told = Vec::new();
        for (kind, message) in one_of_each(&rogue) {
            // Before the hello: only a hello may come, and an error about nothing is of no effect.
            if !matches!(kind, FrameType::Hello | FrameType::Error) {
                let mut inside = rogue.calls(world.address()).await;
                inside.says(&message).await;
                let code = inside.is_closed().await;
                assert_eq!(code, Some(13), "{kind:?} before the hello");
                told.push(code);
            }
            // In the open session: what belongs to the opening, and what answers nothing.
            if !matches!(kind, FrameType::AddCheckpoint | FrameType::Statement | FrameType::Error) {
                let mut inside = rogue.enters(world.address()).await;
                inside.says(&message).await;
                // A want or a document of something of which nothing was said is no different.
                let code = inside.is_closed().await;
                assert_eq!(code, Some(13), "{kind:?} in the open session");
                told.push(code);
            }
        }
        row(
            "Q5",
            "each type of frame before the hello and out of turn",
            "closed with 13, each",
            &format!("{} frames", told.len()),
        );
    });
    world.nothing_was_kept();
    world.ends_well();
}

/// See [`crate::slow`].
pub fn a_byte_a_second_inside_a_frame_is_let_go() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        let frame = Frame { kind: FrameType::Statement, body: vec![0; 4096] }.to_bytes().unwrap();
        let closed = inside.connection.clone();
        let mut sent = 0;
        let dribble = async {
            for byte in frame.chunks(1) {
                inside.says_bytes(byte).await;
                sent += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let error = tokio::select! {
            error = closed.closed() => error,
            () = dribble => panic!("it was let in whole"),
        };
        assert_eq!(crate::caller::code(&error), Some(15), "{error}");
        world.good_peer_gets_through(1 << 20);
        row("T5", "one byte a second inside a frame", "let go after 15 s", &format!("code 15 after {sent} bytes"));
    });
    world.ends_well();
}

/// See [`crate::slow`].
pub fn a_slow_frame_that_keeps_the_floor_is_taken() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        // 40 KiB at 2 KiB a second take 20 s: more than a frame's time, and an honest node on a telephone by satellite.
        let frame = Frame { kind: FrameType::Statement, body: vec![0; 40 * 1024] }.to_bytes().unwrap();
        for part in frame.chunks(2048) {
            assert!(inside.connection.close_reason().is_none(), "{:?}", inside.connection.close_reason());
            inside.says_bytes(part).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // It came in whole, and only then it is found to be no statement.
        assert_eq!(inside.is_closed().await, Some(11));
    });
    world.ends_well();
}

#[test]
fn a_control_stream_that_is_reset_within_a_frame_ends_the_session_and_nothing_else() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        inside.says_bytes(&[0, 0, 16, 0, 5, 1, 2, 3]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        inside.send.reset(7_u32.into()).unwrap();
        assert_eq!(inside.is_closed().await, Some(14));
        row("Q8", "a control stream that is reset within a frame", "closed; the next session is served", "code 14");
        let _inside = rogue.enters(world.address()).await;
    });
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn cards_without_end_are_cut_off() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.calls(world.address()).await;
        inside.says(&Message::Hello(rogue.hello())).await;
        let frame = Cards { envelopes: vec![vec![b' '; 70 * 1024]; 14], more: More::Yes };
        let mut sent = 0_u64;
        while inside.connection.close_reason().is_none() && sent < 256 * MIB {
            inside.says(&Message::Cards(frame.clone())).await;
            sent += 14 * 70 * 1024;
        }
        assert_eq!(inside.is_closed().await, Some(13));
        let grew = world.memory_grew();
        assert!(grew < 64 * MIB, "{}", mib(grew));
        row(
            "T3",
            "cards without end",
            "closed at 16 MiB; memory < 64 MiB",
            &format!("closed within {}; {}", mib(sent), mib(grew)),
        );

        let mut inside = rogue.calls(world.address()).await;
        inside.says(&Message::Hello(rogue.hello())).await;
        inside.says(&Message::Cards(Cards { envelopes: Vec::new(), more: More::Yes })).await;
        assert_eq!(inside.is_closed().await, Some(13));
        row("T3", "frames of no card that promise more", "closed at the first", "code 13");
    });
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn what_was_lost_is_given_back_once_in_a_session() {
    let world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        inside.says(&Message::AskBack(0)).await;
        assert!(matches!(inside.hears().await.unwrap(), Message::GivenBack(_)));
        for _ in 0..1000 {
            inside.says(&Message::AskBack(0)).await;
        }
        let mut pages = 1;
        let code = loop {
            match inside.hears().await {
                Ok(Message::GivenBack(_)) => pages += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break crate::caller::code(&error),
            }
        };
        assert_eq!((code, pages), (Some(13), 1));
        row(
            "T52",
            "1,001 times \"give back what I lost\"",
            "once in a session",
            &format!("{pages} page, then code 13"),
        );
    });
    world.nothing_was_kept();
    world.ends_well();
}

#[test]
fn a_flood_of_small_frames_takes_no_memory_and_keeps_nobody_out() {
    let mut world = World::new();
    let rogue = Rogue::of(&world.rogue);
    on_network(async {
        let mut inside = rogue.enters(world.address()).await;
        let about = Some(Hash::new([9; 32]));
        let error = Message::Error(ErrorBody::new(Refused::new(Code::Busy), about)).to_frame().to_bytes().unwrap();
        let many = error.repeat(1000);
        for _ in 0..500 {
            inside.says_bytes(&many).await;
        }
        world.good_peer_gets_through(1 << 20);
        let grew = world.memory_grew();
        assert!(grew < 32 * MIB, "{}", mib(grew));
        assert!(inside.connection.close_reason().is_none(), "an error about nothing is of no effect");
        row("T52", "500,000 error frames about nothing", "no effect; memory < 32 MiB", &mib(grew));
    });
    world.ends_well();
}
