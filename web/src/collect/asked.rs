//! One question to one process, from put to answered.
//!
//! Owns its steps: look the name up, hear the pipe out, ask again where the answer is not believed, and how long all
//! that may take. It never waits (see `scrape`, which calls it) and judges no silence (see `process`).

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use super::belief::{Belief, is_whole};
use super::collector::MAX_PIPES;
use super::discover::Source;
use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;
use crate::descriptors::Descriptors;

/// How long a live process without a lock may need from the removal of its pipe to the next one.
const MISSING_PATIENCE: Duration = Duration::from_millis(100);
/// How long a stranger is waited for where there are many.
pub(super) const CROWD_PATIENCE: Duration = Duration::from_millis(3);
/// Which part of the deadline is left for each of the others once a deadline has passed: as many times as questions are put
/// one after the other where nobody answers, so that all of them take no second deadline.
const LATE_SHARE: u32 = 16;
const _: () = assert!(MAX_PIPES / Descriptors::MAX_ASKED < LATE_SHARE as usize);
/// Less than this is no time to answer.
const SHORTEST_SHARE: Duration = Duration::from_millis(20);
/// A writer that takes longer than this no longer keeps others from being asked.
pub(super) const FRESH_FOR: Duration = Duration::from_millis(10);
/// The longest time between two looks for a name that is missing.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// So often a process is asked again without a pause.
const AT_ONCE: u32 = 16;

/// A pipe to ask.
pub(super) struct Question<'a> {
    /// Its name in the directory.
    pub(super) name: &'a OsStr,
    /// The pipe, if it is open from the last collection.
    pub(super) open: Option<Box<Pipe>>,
    /// What it said last; kept until it says something else.
    pub(super) last: Option<Reading>,
    /// Whether it has a registry of ours, whose stats only grow in number and keep their order.
    pub(super) only_grows: bool,
    /// Whether nothing was ever heard of it, and it holds no byte, so that most likely nobody is there.
    pub(super) is_stranger: bool,
    /// When it is put.
    pub(super) turn: Turn,
    /// How long to wait for a sign of life; zero asks and goes on.
    pub(super) patience: Duration,
    /// How long to wait for all that it says once it gave one.
    pub(super) deadline: Duration,
}

/// The order in which questions are put: so that those who answer never wait for those who do not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Turn {
    /// It answered the last time.
    First,
    /// It is new, and a recorder as far as can be told.
    Second,
    /// It did not answer the last time, or is new and nothing speaks for it.
    Last,
}

/// A question that is over.
pub(super) struct Told {
    /// What came of it.
    pub(super) heard: Heard,
    /// What was said before, unless it is of no use any more.
    pub(super) last: Option<Reading>,
    /// Whether the process showed that it is awake.
    pub(super) was_awake: bool,
}

/// What came of a question.
pub(super) enum Heard {
    /// All that the process has to say.
    Said(Reading),
    /// Nothing, or not all, in the time it was given; the pipe, unless it was closed to make room.
    Nothing(Option<Box<Pipe>>),
    /// Nothing has that name.
    Missing,
    /// Something has that name that is not a pipe.
    Foreign,
    /// The pipe cannot be read.
    Failed(PipeError),
}

/// A question, and how far it has come.
pub(super) struct Asked<'a> {
    name: &'a OsStr,
    last: Option<Reading>,
    only_grows: bool,
    is_stranger: bool,
    turn: Turn,
    /// Its pipe is open from an earlier collection: what comes through it may have been said long ago.
    is_carried_over: bool,
    was_awake: bool,
    patience: Duration,
    deadline: Duration,
    begun_at: Instant,
    state: State,
    belief: Belief,
}

enum State {
    /// Asked: a pipe is open.
    Open(Box<Pipe>),
    /// The name must be looked up: at first, after its pipe was retired, and while nothing has it.
    Lost { retry_at: Instant, pause: Duration, missing_since: Option<Instant> },
    /// Nothing more to do.
    Answered(Heard),
}

impl State {
    const fn lost(retry_at: Instant) -> Self {
        Self::Lost { retry_at, pause: FIRST_PAUSE, missing_since: None }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn new(question: Question<'a>) -> Self {
        let Question { name, open, last, only_grows, is_stranger, turn, patience, deadline } = question;
        let now = Instant::now();
        let is_carried_over = open.is_some();
        let state = open.map_or(State::lost(now), State::Open);
        let (belief, was_awake) = (Belief::default(), false);
        Self {
            name,
            last,
            only_grows,
            is_stranger,
            turn,
            is_carried_over,
            was_awake,
            patience,
            deadline,
            begun_at: now,
            state,
            belief,
        }
    }

    /// Begins its time; `since` is when the first of all questions was put. Who begins later has less of it: of the deadline
    /// that they all share what is left, or a small part once it has passed, which happens where many are silent.
    pub(super) fn begin(&mut self, now: Instant, since: Instant) {
        self.begun_at = now;
        let left = (since + self.deadline).saturating_duration_since(now);
        let share = left.max((self.deadline / LATE_SHARE).max(SHORTEST_SHARE));
        self.deadline = self.deadline.min(share);
        self.patience = self.patience.min(if self.is_stranger { left.max(CROWD_PATIENCE) } else { share });
    }

    /// When it is to be put.
    pub(super) const fn turn(&self) -> Turn {
        self.turn
    }

    /// Goes as far as it can without waiting. `chunk` is memory to read into.
    pub(super) fn advance(&mut self, source: &Source, now: Instant, chunk: &mut [u8]) {
        if let State::Lost { .. } = self.state {
            self.look_up(source, now);
        }
        let State::Open(pipe) = &mut self.state else { return };
        match pipe.advance(now, chunk) {
            Step::Wait => {}
            Step::Finished(reading) if self.is_carried_over => self.take_old(reading, now),
            Step::Retired { .. } if self.is_carried_over => self.ask_again(now),
            Step::Finished(reading) => self.weigh(reading, now),
            Step::Retired { was_ours: true } => self.weigh(Reading::default(), now),
            Step::Retired { was_ours: false } => self.ask_again(now),
            Step::Failed(err) => self.answer(Heard::Failed(err)),
        }
    }

    /// Ends the question for want of room: what was said so far is lost, unless it is to be believed by now.
    pub(super) fn give_up(&mut self) {
        let heard = match self.state {
            State::Lost { missing_since: Some(_), .. } => Heard::Missing,
            _ => self.belief.settle().map_or(Heard::Nothing(None), Heard::Said),
        };
        self.answer(heard);
    }

    /// Ends the question. What is replaced by it is freed, so that two readings of one process stand side by side for as
    /// short as can be.
    pub(super) fn answer(&mut self, heard: Heard) {
        if matches!(heard, Heard::Said(_) | Heard::Failed(_) | Heard::Foreign) {
            self.last = None;
        }
        self.belief = Belief::default();
        self.state = State::Answered(heard);
    }

    /// The pipe to poll, if that tells when to advance again.
    pub(super) fn pipe_to_poll(&self) -> Option<&Pipe> {
        match &self.state {
            State::Open(pipe) if pipe.is_worth_polling() => Some(pipe),
            _ => None,
        }
    }

    /// When to advance again though the pipe is not readable.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        match &self.state {
            State::Open(pipe) => pipe.retry_at(),
            State::Lost { retry_at, .. } => Some(*retry_at),
            State::Answered(_) => None,
        }
    }

    /// When it is given up.
    pub(super) fn until(&self) -> Instant {
        match self.state {
            State::Lost { missing_since: Some(since), .. } => {
                (since + MISSING_PATIENCE).min(self.begun_at + self.patience)
            }
            _ => self.begun_at + self.patience,
        }
    }

    pub(super) fn is_waited_for(&self, now: Instant) -> bool {
        !self.is_answered() && now < self.until()
    }

    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered(_))
    }

    /// Whether a writer is there.
    pub(super) fn has_writer(&self) -> bool {
        matches!(&self.state, State::Open(pipe) if pipe.has_writer())
    }

    /// Whether a writer is there, and not for long.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.has_writer() && now < self.begun_at + FRESH_FOR
    }

    /// The memory for this process, in bytes: for what it said last and what it says now.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes_last() + self.n_bytes_now()
    }

    /// The larger of both, which is what it will come to.
    pub(super) fn weight(&self) -> usize {
        self.n_bytes_last().max(self.n_bytes_now())
    }

    /// What it will take beside that, if it says as much as it did last.
    pub(super) fn n_bytes_to_come(&self) -> usize {
        self.n_bytes_last().saturating_sub(self.n_bytes_now())
    }

    /// What came of it by now.
    pub(super) fn finish(mut self) -> Told {
        let heard = match self.state {
            State::Answered(heard) => heard,
            State::Lost { missing_since: Some(_), .. } => Heard::Missing,
            State::Lost { .. } => self.belief.settle().map_or(Heard::Nothing(None), Heard::Said),
            State::Open(pipe) => self.belief.settle().map_or(Heard::Nothing(Some(pipe)), Heard::Said),
        };
        Told { heard, last: self.last, was_awake: self.was_awake }
    }

    fn n_bytes_last(&self) -> usize {
        self.last.as_ref().map_or(0, Reading::n_bytes)
    }

    fn n_bytes_now(&self) -> usize {
        match &self.state {
            State::Open(pipe) | State::Answered(Heard::Nothing(Some(pipe))) => {
                pipe.n_bytes() + self.belief.n_bytes()
            }
            State::Answered(Heard::Said(reading)) => reading.n_bytes(),
            State::Answered(_) => 0,
            State::Lost { .. } => self.belief.n_bytes(),
        }
    }

    fn look_up(&mut self, source: &Source, now: Instant) {
        self.state = match Pipe::open(source, self.name) {
            Opening::Pipe(pipe) => State::Open(pipe),
            Opening::Missing => self.still_missing(now),
            // Ours is the fault, not the process's: until there are some again, what it said last counts.
            Opening::NotNow => State::lost(now + LONGEST_PAUSE),
            Opening::Foreign => State::Answered(Heard::Foreign),
            Opening::Refused(err) => State::Answered(Heard::Failed(err)),
        }
    }

    fn still_missing(&self, now: Instant) -> State {
        let State::Lost { pause, missing_since, .. } = self.state else { return State::lost(now) };
        State::Lost {
            retry_at: now + pause,
            pause: (pause * 2).min(LONGEST_PAUSE),
            missing_since: missing_since.or(Some(now)),
        }
    }

    /// Takes what was said as the answer, or asks again.
    fn weigh(&mut self, reading: Reading, now: Instant) {
        match self.belief.weigh(reading, self.last.as_ref().filter(|_| self.only_grows)) {
            Some(reading) => self.answer(Heard::Said(reading)),
            None => self.ask_again(now),
        }
    }

    /// Takes what was begun before it was asked: better than what was said before, and no answer.
    fn take_old(&mut self, reading: Reading, now: Instant) {
        if is_whole(&reading, self.last.as_ref().filter(|_| self.only_grows)) {
            self.last = Some(reading);
        }
        self.ask_again(now);
    }

    /// Asks once more somebody who has just shown to be awake, however silent it was before.
    fn ask_again(&mut self, now: Instant) {
        self.was_awake = true;
        self.is_carried_over = false;
        self.patience = self.deadline;
        let pause = if self.belief.n_rounds() < AT_ONCE { Duration::ZERO } else { LONGEST_PAUSE };
        self.state = State::lost(now + pause);
    }
}
