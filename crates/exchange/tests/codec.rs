//! Bodies: what was written is read, what is read prints the same, and nothing else is taken.

use custodia_exchange::message::{
    Cards, ErrorBody, Follows, Message, More, NOTES, Proven, WANT_RANGES, Want, WantRange, Wish,
};
use custodia_exchange::{AddCheckpoint, Code, Cosigned, Document, Frame, FrameType, GivenBack, Hello, Signed};
use custodia_format::Hash;
use proptest::prelude::*;

fn samples() -> Vec<Message> {
    let hash = Hash::new([9; 32]);
    let range = WantRange { record: 7, first_chunk: 3, count: 2, midstates: true };
    vec![
        Message::Hello(Hello {
            card: hash,
            origin: "forensics.example/lab-1/1".to_owned(),
            size: 70_000,
            held_card: Some(hash),
            held_checkpoint: b"a note".to_vec(),
        }),
        Message::Cards(Cards { envelopes: vec![b"one".to_vec(), b"two".to_vec()], more: More::Yes }),
        Message::Cards(Cards { envelopes: Vec::new(), more: More::No }),
        Message::AddCheckpoint(AddCheckpoint { old: 5, proof: vec![hash; 3], checkpoint: b"a note\n".to_vec() }),
        Message::Cosigned(Cosigned::Lines("— a b\n".as_bytes().to_vec())),
        Message::Cosigned(Cosigned::Conflict { size: 12 }),
        Message::Cosigned(Cosigned::Refused { status: 422 }),
        Message::Cosigned(Cosigned::Refused { status: 500 }),
        Message::Statement(Signed { envelope: b"{}".to_vec(), tlog_proof: b"proof".to_vec() }),
        Message::Want(Want { release: hash, what: Wish::Document(Document::Manifest) }),
        Message::Want(Want { release: hash, what: Wish::Document(Document::History) }),
        Message::Want(Want { release: hash, what: Wish::Ranges(vec![range; WANT_RANGES]) }),
        Message::Error(ErrorBody { number: 40, retry_after_seconds: 30, about: Some(hash) }),
        Message::Follows(Follows { release: hash, document: Document::Manifest, bytes: 1 << 30 }),
        Message::Kept(hash),
        Message::Notes(vec![b"a note\n".to_vec(), b"another\n".to_vec()]),
        Message::AskBack(70_000),
        Message::GivenBack(GivenBack { documents: vec![b"{}\nproof".to_vec(), b"a note\n".to_vec()], more: More::Yes }),
        Message::Proven(Proven { release: hash, bytes: 3 << 30 }),
    ]
}

#[test]
fn what_was_written_is_read() {
    for message in samples() {
        let frame = message.to_frame();
        assert_eq!(Message::parse(&frame).unwrap(), message);
        frame.to_bytes().unwrap();
    }
}

#[test]
fn every_type_has_a_sample() {
    let kinds: Vec<FrameType> = samples().iter().map(|message| message.to_frame().kind).collect();
    assert!(FrameType::ALL.iter().all(|kind| kinds.contains(kind)));
}

#[test]
fn a_byte_too_many_or_too_few_is_refused() {
    for message in samples() {
        let frame = message.to_frame();
        // Raw bodies end where the frame ends: there a byte more is another text, judged by its own parser.
        let raw = matches!(
            message,
            Message::AddCheckpoint(_) | Message::Statement(_) | Message::Cosigned(Cosigned::Lines(_))
        );
        let mut longer = frame.clone();
        longer.body.push(0);
        if !raw {
            assert_eq!(Message::parse(&longer).unwrap_err().code(), Code::FrameMalformed, "{message:?}");
        }
        let mut shorter = frame.clone();
        shorter.body.pop();
        let read = Message::parse(&shorter);
        assert!(read.as_ref().map_or(true, |read| raw && *read != message), "{read:?}");
    }
}

#[test]
fn numbers_beyond_the_limits_are_refused() {
    let want = |range: WantRange| Message::Want(Want { release: Hash::ZERO, what: Wish::Ranges(vec![range]) });
    let range = WantRange { record: 0, first_chunk: 0, count: 1, midstates: false };
    let too_many = Message::Want(Want { release: Hash::ZERO, what: Wish::Ranges(vec![range; WANT_RANGES + 1]) });
    let hello = |origin: usize, size: u64, note: usize| {
        Message::Hello(Hello {
            card: Hash::ZERO,
            origin: "o".repeat(origin),
            size,
            held_card: None,
            held_checkpoint: vec![b'n'; note],
        })
    };
    let follows = |bytes: u64| Message::Follows(Follows { release: Hash::ZERO, document: Document::Manifest, bytes });
    for bad in [
        want(WantRange { record: 1_000_000, ..range }),
        want(WantRange { count: 0, ..range }),
        want(WantRange { first_chunk: u64::MAX, ..range }),
        want(WantRange { first_chunk: (16 << 20) + 1, ..range }),
        Message::Want(Want { release: Hash::ZERO, what: Wish::Ranges(Vec::new()) }),
        too_many,
        hello(0, 1, 0),
        hello(256, 1, 0),
        hello(1, 1 << 63, 0),
        hello(1, 1, 256 * 1024 + 1),
        follows(0),
        follows((1 << 30) + 1),
    ] {
        assert_eq!(Message::parse(&bad.to_frame()).unwrap_err().code(), Code::FrameMalformed, "{bad:?}");
    }
    assert!(Message::parse(&hello(255, (1 << 63) - 1, 256 * 1024).to_frame()).is_ok());
    assert!(Message::parse(&follows(1 << 30).to_frame()).is_ok());
    let notes = |count: usize, bytes: usize| Message::Notes(vec![vec![b'n'; bytes]; count]);
    for bad in [notes(NOTES + 1, 1), notes(1, 256 * 1024 + 1), notes(1, 0)] {
        assert_eq!(Message::parse(&bad.to_frame()).unwrap_err().code(), Code::FrameMalformed);
    }
    assert_eq!(Message::parse(&notes(0, 0).to_frame()).unwrap(), notes(0, 0));
    assert!(
        Message::parse(&notes(NOTES, 1).to_frame()).is_ok() && Message::parse(&notes(3, 256 * 1024).to_frame()).is_ok()
    );
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // A list of 2^63 ranges, a string of 2^62 bytes: refused by what the body can hold, not by running out of memory.
    let want = [&[0; 32][..], &[1, 253, 0, 0, 0, 0, 0, 0, 0, 0x80]].concat();
    assert!(Message::parse(&Frame { kind: FrameType::Want, body: want }).is_err());
    let hello = [&[0; 32][..], &[253, 0, 0, 0, 0, 0, 0, 0, 0x40]].concat();
    assert!(Message::parse(&Frame { kind: FrameType::Hello, body: hello }).is_err());
    let cards = [0, 255, 255, 255, 255, 1];
    assert!(Message::parse(&Frame { kind: FrameType::Cards, body: cards.to_vec() }).is_err());
}

#[test]
fn add_checkpoint_is_read_as_the_witness_protocol_says() {
    let parse = |body: &str| AddCheckpoint::parse(body.as_bytes());
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(parse(&format!("old 1\n{hash}\n\nnote\n")).is_ok());
    assert!(parse("old 0\n\nnote\n").is_ok());
    let many = |count: usize| format!("old 1\n{}\nnote\n", format!("{hash}\n").repeat(count));
    assert!(parse(&many(63)).is_ok());
    assert!(parse(&many(64)).is_err());
    for bad in [
        "",
        "old",
        "old 1",
        "old 1\n",
        "old 1\n\n",
        "old 01\n\nnote\n",
        "old -1\n\nnote\n",
        "old 1 \n\nnote\n",
        "OLD 1\n\nnote\n",
        "old 9223372036854775808\n\nnote\n",
        "old 1\r\n\nnote\n",
        "old 1\nAAAA\n\nnote\n",
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
    let spare_bits = format!("old 1\n{}B=\n\nnote\n", &hash[..42]);
    assert!(parse(&spare_bits).is_err());
}

proptest! {
    #[test]
    fn any_body_of_any_type_is_read_or_refused_and_prints_the_same(
        kind in 0usize..10, body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let frame = Frame { kind: FrameType::ALL[kind], body };
        if let Ok(message) = Message::parse(&frame) {
            let printed = message.to_frame();
            prop_assert_eq!(Message::parse(&printed).unwrap(), message);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(sample in 0usize..15, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut frame = samples().swap_remove(sample).to_frame();
        if !frame.body.is_empty() {
            let at = at.index(frame.body.len());
            frame.body[at] = byte;
        }
        let _ = Message::parse(&frame);
    }
}
