//! One side of a session, and what moves bytes between two of them.

use custodia_exchange::message::{Proven, Want, Wish};
use custodia_exchange::{
    Code, Document, Event, Fetching, Frame, FrameReader, FrameType, Output, PeerFault, Phase, Question, Session,
};

use super::authority::Authority;

/// All bytes at once.
pub(crate) const WHOLE: usize = usize::MAX;

/// One side: its session, its node, and what came out.
pub(crate) struct Side {
    pub(crate) session: Session,
    pub(crate) node: Authority,
    pub(crate) reader: FrameReader,
    pub(crate) events: Vec<Event>,
    pub(crate) fetches: Vec<Fetching>,
    pub(crate) served: Vec<Want>,
    pub(crate) follows: Vec<Document>,
    /// What the peer said that it has proven.
    pub(crate) proven: Vec<Proven>,
    pub(crate) closed: Option<Code>,
    pub(crate) fault: Option<PeerFault>,
    pub(crate) questions: Vec<Question>,
    pub(crate) sent: Vec<Frame>,
    /// What had been sent when the fetch was told to begin.
    pub(crate) sent_at_fetch: Option<Vec<FrameType>>,
    /// Fetches end at once, as if everything were here.
    pub(crate) fetches_at_once: bool,
}

impl Side {
    pub(crate) fn new(node: Authority) -> Self {
        Self {
            session: Session::new(),
            node,
            reader: FrameReader::new(),
            events: Vec::new(),
            fetches: Vec::new(),
            served: Vec::new(),
            follows: Vec::new(),
            proven: Vec::new(),
            closed: None,
            fault: None,
            questions: Vec::new(),
            sent: Vec::new(),
            sent_at_fetch: None,
            fetches_at_once: true,
        }
    }

    /// Does what the session wants until it waits for the peer; gives the bytes for the wire.
    pub(crate) fn run(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        loop {
            wire.extend(self.act());
            if self.fault.is_some() || !self.session.wants_frame() || !self.read_one() {
                return wire;
            }
        }
    }

    /// Gives the session the next frame that is here.
    pub(crate) fn read_one(&mut self) -> bool {
        match self.reader.next_frame() {
            Ok(Some(frame)) => self.fault = self.session.handle_frame(frame).err(),
            Ok(None) => return false,
            Err(fault) => self.fault = Some(fault),
        }
        true
    }

    pub(crate) fn act(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(output) = self.session.poll() {
            let done = match output {
                Output::Send(frame) => {
                    wire.extend(frame.to_bytes().unwrap());
                    self.sent.push(frame);
                    Ok(())
                }
                Output::Ask(question) => {
                    self.questions.push(question.clone());
                    let answer = self.node.answer(question);
                    self.session.handle_answer(answer)
                }
                Output::Serve(want) => {
                    if let Wish::Document(document) = want.what {
                        self.session.announce(want.release, document, 10);
                    }
                    self.served.push(want);
                    Ok(())
                }
                Output::Fetch(fetching) => {
                    self.fetches.push(fetching);
                    self.sent_at_fetch = Some(self.sent.iter().map(|frame| frame.kind).collect());
                    if self.fetches_at_once { self.session.fetched(fetching.release, Ok(())) } else { Ok(()) }
                }
                Output::Follows(follows) => {
                    self.follows.push(follows.document);
                    Ok(())
                }
                Output::Proven(proven) => {
                    self.proven.push(proven);
                    Ok(())
                }
                Output::Event(event) => {
                    self.events.push(event);
                    Ok(())
                }
                Output::Close(code) => {
                    self.closed = Some(code);
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(fault) = done {
                self.fault = Some(fault);
                break;
            }
        }
        wire
    }

    pub(crate) fn take(&mut self, wire: &[u8]) {
        self.reader.push(wire);
        while self.fault.is_none() && self.session.wants_frame() && self.read_one() {}
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        let phase = |event: &Event| match event {
            Event::Sending { phase, .. } | Event::Receiving { phase, .. } => Some(phase.clone()),
            _ => None,
        };
        self.events.iter().filter_map(phase).collect()
    }
}

/// Moves bytes in pieces of `step` until neither side has anything to say.
pub(crate) fn pump(a: &mut Side, b: &mut Side, step: usize) {
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    loop {
        to_b.extend(a.run());
        to_a.extend(b.run());
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        let cut = step.min(to_b.len());
        b.take(&to_b.drain(..cut).collect::<Vec<u8>>());
        let cut = step.min(to_a.len());
        a.take(&to_a.drain(..cut).collect::<Vec<u8>>());
        if a.fault.is_some() || b.fault.is_some() || a.closed.is_some() || b.closed.is_some() {
            a.run();
            b.run();
            return;
        }
    }
}

pub(crate) fn pair() -> (Side, Side) {
    let (mut a, mut b) = (Authority::new("forensics.example", 1), Authority::new("prosecutor.example", 2));
    Authority::introduce(&mut a, &mut b);
    (Side::new(a), Side::new(b))
}

/// The same nodes, a new connection.
pub(crate) fn again(a: Side, b: Side) -> (Side, Side) {
    (Side::new(a.node), Side::new(b.node))
}
