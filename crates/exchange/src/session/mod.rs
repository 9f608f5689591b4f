//! A session: one connection between two nodes, seen from one of them.
//!
//! Both sides run the same machine: hello, cards, notes, checkpoints both ways, then any number of packages in either
//! direction and statements that are owed (docs/spec/wire.md §4). Frames and answers go in, outputs come out of
//! [`Session::poll`]; nothing here waits, reads a clock or touches a socket.
//!
//! # Invariants
//! - One question is open at a time; frames that arrive meanwhile wait their turn, so effects have the wire's order. Those of
//!   one sort that wait behind each other are asked about together.
//! - Nothing is sent that depends on an answer before the answer is there: what the host calls durable is durable first.
//! - A package's manifest and content are asked for and served only after its consignment is kept by both.
//! - Some packages each way are under way at once ([`TRANSFERS`]); the others wait in order. Statements overtake packages.
//! - Two releases of one package are never under way at once: data streams name the package and not the release.

mod back;
mod batch;
mod checkpoints;
mod incoming;
mod opening;
mod outgoing;
mod said;
mod statements;
mod waiting;

use std::collections::VecDeque;

use custodia_format::Hash;

pub use waiting::{Turn, Waiting, Waits};

use crate::codes::{Code, Refused};
use crate::fault::PeerFault;
use crate::frame::{Frame, FrameType};
use crate::message::{ErrorBody, Follows, Hello, Message, More, Proven, Want, Wish};
use crate::question::{AT_ONCE, Answer, NeedsIt, Question, Signed};
use crate::transfer::{Document, Event, Phase};

use back::Giving;
use batch::{Batch, Item};
use checkpoints::Checkpoints;
use incoming::Receiving;
use opening::{Met, Opening};
use outgoing::Sending;
use said::Said;

/// Frames that may wait while the host answers; a driver that heeds [`Session::wants_frame`] has no more than [`AT_ONCE`].
const INBOX_FRAMES: usize = 64;
/// Bytes of frames that wait while the host answers before no more are read.
const INBOX_BYTES: usize = 256 << 10;
/// Statements under way that the peer has not confirmed; the others wait.
const UNCONFIRMED: usize = 64;
/// Packages each way that are under way at once: all of them are announced, so that none waits for another's content; whose
/// content travels first is for the side to say that asks for it.
pub const TRANSFERS: usize = 32;

/// One side of a connection.
#[derive(Debug)]
pub struct Session {
    opening: Opening,
    met: Met,
    checkpoints: Checkpoints,
    /// In the order in which they began.
    sending: Vec<Sending>,
    receiving: Vec<Receiving>,
    /// What the open question was for; nothing else moves until it is answered.
    pending: Option<Pending>,
    inbox: VecDeque<Frame>,
    /// Read from the inbox, and asked about together.
    batch: Batch,
    /// Statements of ours that are on their way out, each behind the checkpoint that it is proven under.
    saying: VecDeque<(Signed, Said)>,
    tasks: VecDeque<Task>,
    /// What the peer has been given back.
    giving: Giving,
    /// Statements of ours that the peer has yet to confirm.
    unconfirmed: Vec<Hash>,
    /// Releases that ended in this session, newest last.
    ended: VecDeque<Hash>,
    outputs: VecDeque<Output>,
    closed: bool,
}

/// What a session wants from its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Put this frame on the control stream.
    Send(Frame),
    /// Answer by [`Session::handle_answer`].
    Ask(Question),
    /// Open a data stream and send what is wanted; a document is first announced by [`Session::announce`].
    Serve(Want),
    /// Stop serving this release: it is over.
    StopServing {
        /// Digest of the release.
        release: Hash,
    },
    /// Fetch what is missing of this release by [`Session::want`], report by [`Session::fetched`].
    Fetch(Fetching),
    /// A document of the transfer that is being fetched comes on a stream.
    Follows(Follows),
    /// The peer says how much of a package of ours it has proven.
    Proven(Proven),
    /// Stop fetching: it is over. Do not report.
    StopFetching {
        /// Digest of the release.
        release: Hash,
    },
    /// Tell whoever watches.
    Event(Event),
    /// Close the connection with this code; nothing comes after it.
    Close(Code),
}

/// A transfer to us that may begin to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetching {
    /// Digest of the release.
    pub release: Hash,
    /// Manifest root of its package: data streams name it.
    pub root: Hash,
    /// Whether the history is missing.
    pub history: NeedsIt,
    /// Whether the manifest is missing.
    pub manifest: NeedsIt,
}

/// What this side was told to do once the session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Ask the host what this peer is owed.
    Owed,
    /// Hand over the package of this release.
    Deliver(Hash),
    /// Send this statement and have it confirmed.
    Push(Hash),
    /// Have our newest checkpoint cosigned.
    Submit,
}

impl Task {
    /// What goes first: what is asked for by the protocol, statements, packages. Within a rank in order.
    const fn rank(self) -> u8 {
        match self {
            Task::Owed | Task::Submit => 0,
            Task::Push(_) => 1,
            Task::Deliver(_) => 2,
        }
    }
}

/// What is to happen with the answer to the open question.
#[derive(Debug)]
enum Pending {
    OurHello,
    Meet,
    Cards,
    Notes,
    Learn,
    Hear,
    GiveBack,
    TakeBack { taken: u64, more: More },
    Newest,
    Consistency { note: Vec<u8>, size: u64, then: Option<Box<(Signed, Said)>> },
    Witness,
    KeepCosignatures { size: u64 },
    Owed,
    Release { release: Hash },
    Push { digest: Hash },
    Take { items: Vec<Item> },
    Receipts { releases: Vec<Hash> },
    Settled { digests: Vec<Hash> },
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session on a connection whose peer is known by its key. It begins by asking for our hello.
    pub fn new() -> Self {
        let mut session = Self {
            opening: Opening::default(),
            met: Met::default(),
            checkpoints: Checkpoints::default(),
            sending: Vec::new(),
            receiving: Vec::new(),
            pending: None,
            inbox: VecDeque::new(),
            batch: Batch::default(),
            saying: VecDeque::new(),
            tasks: VecDeque::new(),
            giving: Giving::From(0),
            unconfirmed: Vec::new(),
            ended: VecDeque::new(),
            outputs: VecDeque::new(),
            closed: false,
        };
        session.ask(Question::Hello, Pending::OurHello);
        session
    }

    /// Hands over the package of this release of ours, after what was asked before. Ends in an event with
    /// [`Phase::Receipted`], [`Phase::Declined`] or [`Phase::Failed`].
    pub fn deliver(&mut self, release: Hash) {
        self.tasks.push_back(Task::Deliver(release));
        self.run_tasks();
    }

    /// Sends a statement of ours, after what was asked before. Confirmed by [`Event::Settled`].
    pub fn push(&mut self, digest: Hash) {
        self.tasks.push_back(Task::Push(digest));
        self.run_tasks();
    }

    /// Takes a frame of the peer.
    ///
    /// # Errors
    /// [`PeerFault`]: the connection must be closed with its code.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<(), PeerFault> {
        if self.closed {
            return Ok(());
        }
        if self.inbox.len() >= INBOX_FRAMES {
            return Err(PeerFault::TooMany { what: "frames at once", limit: INBOX_FRAMES });
        }
        self.inbox.push_back(frame);
        self.run()
    }

    /// Takes the host's answer to the open question. An answer of another shape than the question's ends the session
    /// with [`Code::Internal`].
    ///
    /// # Errors
    /// [`PeerFault`], from frames that waited for this answer.
    pub fn handle_answer(&mut self, answer: Answer) -> Result<(), PeerFault> {
        if self.closed {
            return Ok(());
        }
        if let Some(pending) = self.pending.take() {
            self.go_on(pending, answer)?;
        }
        self.run()
    }

    /// Asks the peer for a part of the transfer that is being fetched. Does nothing if that is over.
    pub fn want(&mut self, release: Hash, what: Wish) {
        if let Some(receiving) = self.receiving.iter_mut().find(|receiving| receiving.is_fetching(&release)) {
            if let Wish::Document(document) = &what {
                receiving.expects(*document);
            }
            self.send(&Message::Want(Want { release, what }));
        }
    }

    /// Tells the peer how much of the transfer that is being fetched is proven here. Does nothing if that is over.
    pub fn proven(&mut self, release: Hash, bytes: u64) {
        if self.receiving.iter().any(|receiving| receiving.is_fetching(&release)) {
            self.send(&Message::Proven(Proven { release, bytes }));
        }
    }

    /// Reports the end of a fetch: everything is proven, or the reason why not.
    ///
    /// # Errors
    /// [`PeerFault`], from frames that waited.
    pub fn fetched(&mut self, release: Hash, end: Result<(), Refused>) -> Result<(), PeerFault> {
        if let Some(receiving) = self.receiving.iter_mut().find(|receiving| receiving.is_fetching(&release)) {
            receiving.fetched(end);
        }
        self.run()
    }

    /// Announces a document that the driver is about to send for a [`Output::Serve`].
    pub fn announce(&mut self, release: Hash, document: Document, bytes: u64) {
        self.send(&Message::Follows(Follows { release, document, bytes }));
    }

    /// Reports that a release cannot be served any further, or is to wait. One that has not begun is not begun.
    ///
    /// # Errors
    /// [`PeerFault`], from frames that waited.
    pub fn serving_failed(&mut self, release: Hash, refused: Refused) -> Result<(), PeerFault> {
        if self.is_sending(&release) {
            self.send(&Message::Error(ErrorBody::new(refused, Some(release))));
            self.end_sending(release, Phase::Failed(refused));
        } else if let Some(place) = self.tasks.iter().position(|task| *task == Task::Deliver(release)) {
            self.tasks.remove(place);
            self.event(Event::Sending { release, phase: Phase::Failed(refused) });
        }
        self.run()
    }

    /// The next thing to do; call until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the next frame may be read: while the host answers only so many as can be asked about together. This is how
    /// a slow disk slows the peer.
    pub fn wants_frame(&self) -> bool {
        !self.closed && (self.pending.is_none() || self.is_open() && self.reads_ahead())
    }

    fn reads_ahead(&self) -> bool {
        let bytes = || self.inbox.iter().map(|frame| frame.body.len()).sum::<usize>();
        self.inbox.len() < AT_ONCE && bytes() < INBOX_BYTES
    }

    /// Whether hello, cards, notes and both checkpoints are done.
    pub fn is_open(&self) -> bool {
        self.opening == Opening::Open
    }

    /// Whether the peer's hello was read.
    pub fn is_met(&self) -> bool {
        self.met.card.is_some()
    }

    /// Whether nothing is under way and nothing waits: the connection can be closed without loss.
    pub fn is_idle(&self) -> bool {
        self.is_open()
            && self.pending.is_none()
            && self.inbox.is_empty()
            && self.saying.is_empty()
            && self.tasks.is_empty()
            && self.sending.is_empty()
            && self.receiving.is_empty()
            && self.unconfirmed.is_empty()
            && self.checkpoints.none_in_flight()
    }

    // --- the wheel -------------------------------------------------------------------------------------------------

    /// Moves everything that can move: what is being said, waiting frames, then our own tasks.
    fn run(&mut self) -> Result<(), PeerFault> {
        while self.pending.is_none() && !self.closed {
            if let Some((signed, said)) = self.saying.pop_front() {
                self.say_under_checkpoint(signed, said);
            } else if let Some(frame) = self.inbox.pop_front() {
                self.read(&frame)?;
                self.ask_about_batch(frame.kind);
            } else if !self.finish_fetches() {
                break;
            }
        }
        self.run_tasks();
        Ok(())
    }

    fn read(&mut self, frame: &Frame) -> Result<(), PeerFault> {
        if self.opening.is_taking_back() && frame.kind != FrameType::GivenBack {
            // It crossed our question on the wire.
            return Ok(());
        }
        let message = Message::parse(frame)?;
        let allowed = match frame.kind {
            FrameType::Hello => self.opening == Opening::AwaitHello,
            FrameType::Cards => self.opening == Opening::AwaitCards,
            FrameType::Notes => self.opening == Opening::AwaitNotes,
            FrameType::AddCheckpoint | FrameType::Cosigned => self.opening.is_past_notes(),
            FrameType::AskBack => self.is_met(),
            FrameType::GivenBack => self.opening.is_taking_back(),
            FrameType::Error => true,
            FrameType::Statement | FrameType::Want | FrameType::Follows | FrameType::Kept | FrameType::Proven => {
                self.is_open()
            }
        };
        if !allowed {
            return Err(self.out_of_state(frame.kind));
        }
        match message {
            Message::Hello(hello) => self.read_hello(hello),
            Message::Cards(cards) => self.read_cards(cards)?,
            Message::Notes(notes) => self.ask(Question::Hear(notes), Pending::Hear),
            Message::AskBack(from) => self.read_ask_back(from)?,
            Message::GivenBack(given) => self.read_given_back(given),
            Message::AddCheckpoint(add) => self.ask(Question::Witness(add), Pending::Witness),
            Message::Cosigned(cosigned) => self.read_cosigned(cosigned)?,
            Message::Statement(signed) => self.read_statement(signed)?,
            Message::Want(want) => self.read_want(want)?,
            Message::Error(error) => self.read_error(&error),
            Message::Follows(follows) => self.read_follows(follows)?,
            Message::Kept(digest) => self.read_kept(digest)?,
            Message::Proven(proven) => self.read_proven(proven)?,
        }
        Ok(())
    }

    fn go_on(&mut self, pending: Pending, answer: Answer) -> Result<(), PeerFault> {
        match (pending, answer) {
            (Pending::OurHello, Answer::Hello(hello)) => self.say_hello(hello),
            (Pending::Meet, Answer::Done) => self.ask_cards(),
            (Pending::Cards, Answer::Cards(envelopes)) => self.say_cards(envelopes),
            (Pending::Notes, Answer::Notes(notes)) => self.say_notes(notes),
            (Pending::Learn, Answer::Done) => self.opening = Opening::AwaitNotes,
            (Pending::Hear, Answer::Done) => self.notes_heard(),
            (Pending::GiveBack, Answer::GivenBack(given)) => self.give_back(given),
            (Pending::TakeBack { taken, more }, Answer::Done) => self.taken_back(taken, more),
            (Pending::Meet | Pending::Hear, Answer::Refused(refused)) if refused.code == Code::RolledBack => {
                self.ask_back(0);
            }
            (Pending::Newest, Answer::Checkpoint(note)) => self.submit(note)?,
            (Pending::Consistency { note, size, then }, Answer::Consistency(proof)) => {
                self.add_checkpoint(note, size, proof);
                if let Some(then) = then {
                    self.say(&then.0, &then.1);
                }
            }
            (Pending::Witness, Answer::Witnessed(cosigned)) => self.say_cosigned(cosigned),
            (Pending::KeepCosignatures { size }, Answer::Done) => self.cosigned(size),
            (Pending::Owed, Answer::Digests(digests)) => self.tasks.extend(digests.into_iter().map(Task::Push)),
            (Pending::Release { release }, Answer::Statement(signed)) => self.say_release(release, signed)?,
            (Pending::Push { digest }, Answer::Statement(signed)) => self.say_owed(digest, signed)?,
            (Pending::Take { items }, Answer::Taken(taken)) if taken.len() == items.len() => {
                items.into_iter().zip(taken).for_each(|(item, taken)| self.taken(item, taken));
            }
            (Pending::Receipts { releases }, Answer::Receipts(receipts)) if receipts.len() == releases.len() => {
                releases.into_iter().zip(receipts).for_each(|(release, receipt)| self.say_receipt(release, receipt));
            }
            (Pending::Settled { digests }, Answer::Done) => {
                digests.into_iter().for_each(|digest| self.event(Event::Settled { digest }));
            }
            (pending, Answer::Refused(refused)) => self.refused(pending, refused),
            (_, _) => self.close(Code::Internal),
        }
        Ok(())
    }

    /// A host's no: about one statement or transfer it is told to the peer, about the session it ends it.
    fn refused(&mut self, pending: Pending, refused: Refused) {
        match pending {
            Pending::Release { release } => self.end_sending(release, Phase::Failed(refused)),
            // What is owed stays owed: the host lists it again next time.
            Pending::Push { digest } => self.event(Event::NotTaken { digest, refused }),
            Pending::Take { items } => items.into_iter().for_each(|item| self.taken(item, Err(refused))),
            Pending::Receipts { releases } => {
                releases.into_iter().for_each(|release| self.say_receipt(release, Err(refused)));
            }
            _ => self.close(refused.code),
        }
    }

    fn run_tasks(&mut self) {
        while self.is_open() && self.pending.is_none() && !self.closed {
            // What is small and says something final goes first, and a package that waits holds up no statement.
            let is_ready = |task: &Task| match task {
                Task::Deliver(_) => self.sending.len() < TRANSFERS,
                Task::Push(_) => self.unconfirmed.len() < UNCONFIRMED,
                Task::Submit | Task::Owed => true,
            };
            let ready = self.tasks.iter().enumerate().filter(|(_, task)| is_ready(task));
            let Some(place) = ready.min_by_key(|(_, task)| task.rank()).map(|(place, _)| place) else { return };
            let Some(task) = self.tasks.remove(place) else { return };
            match task {
                Task::Deliver(release) => self.begin_sending(release),
                Task::Push(digest) => self.ask(Question::Statement { digest }, Pending::Push { digest }),
                Task::Owed => self.ask(Question::Owed, Pending::Owed),
                Task::Submit => self.ask(Question::Checkpoint, Pending::Newest),
            }
        }
    }

    // --- small hands -----------------------------------------------------------------------------------------------

    fn ask(&mut self, question: Question, pending: Pending) {
        debug_assert!(self.pending.is_none(), "one question at a time");
        self.pending = Some(pending);
        self.outputs.push_back(Output::Ask(question));
    }

    fn send(&mut self, message: &Message) {
        self.outputs.push_back(Output::Send(message.to_frame()));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn close(&mut self, code: Code) {
        self.closed = true;
        self.outputs.push_back(Output::Close(code));
    }

    fn out_of_state(&self, frame: FrameType) -> PeerFault {
        PeerFault::OutOfState { frame, state: self.waiting().why }
    }
}
