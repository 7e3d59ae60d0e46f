//! One question to one process, from put to answered.
//!
//! Owns its steps: look the name up, hear the pipe out, ask again where the answer is not believed, and how long all
//! that may take. It never waits (see `scrape`, which calls it) and judges no silence (see `process`).

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use super::belief::Belief;
use super::discover::Source;
use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;

/// How long a live process without a lock may need from the removal of its pipe to the next one.
const MISSING_PATIENCE: Duration = Duration::from_millis(100);
/// How long a stranger is waited for after many silent ones.
const CROWD_PATIENCE: Duration = Duration::from_millis(3);
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
    /// Whether nothing was ever heard of it, so that most likely nobody is there.
    pub(super) is_stranger: bool,
    /// How long to wait for a sign of life; zero asks and goes on.
    pub(super) patience: Duration,
    /// How long to wait for all that it says once it gave one.
    pub(super) deadline: Duration,
}

/// A question that is over.
pub(super) struct Told {
    /// What came of it.
    pub(super) heard: Heard,
    /// What was said before, unless it is of no use any more.
    pub(super) last: Option<Reading>,
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
        let Question { name, open, last, only_grows, is_stranger, patience, deadline } = question;
        let now = Instant::now();
        let state = open.map_or(State::lost(now), State::Open);
        let belief = Belief::default();
        Self { name, last, only_grows, is_stranger, patience, deadline, begun_at: now, state, belief }
    }

    /// Begins its time; `since` is when the first of all questions was put. Where that is a deadline ago, there are so
    /// many who are silent that strangers are not waited for.
    pub(super) fn begin(&mut self, now: Instant, since: Instant) {
        self.begun_at = now;
        if self.is_stranger && now.saturating_duration_since(since) >= self.deadline {
            self.patience = self.patience.min(CROWD_PATIENCE);
        }
    }

    /// Goes as far as it can without waiting. `chunk` is memory to read into.
    pub(super) fn advance(&mut self, source: &Source, now: Instant, chunk: &mut [u8]) {
        if let State::Lost { .. } = self.state {
            self.look_up(source, now);
        }
        let State::Open(pipe) = &mut self.state else { return };
        match pipe.advance(now, chunk) {
            Step::Wait => {}
            Step::Finished(reading) => self.weigh(reading, now),
            Step::Retired { was_ours: true } => self.weigh(Reading::default(), now),
            Step::Retired { was_ours: false } => self.ask_again(now),
            Step::Failed(err) => self.answer(Heard::Failed(err)),
        }
    }

    /// Ends the question for want of room: what was said so far is lost, unless it is to be believed by now.
    pub(super) fn give_up(&mut self) {
        let heard = self.belief.settle().map_or(Heard::Nothing(None), Heard::Said);
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

    /// Whether a writer is there, and not for long.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        matches!(&self.state, State::Open(pipe) if pipe.has_writer()) && now < self.begun_at + FRESH_FOR
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
        Told { heard, last: self.last }
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

    /// Asks once more somebody who has just shown to be awake, however silent it was before.
    fn ask_again(&mut self, now: Instant) {
        self.patience = self.deadline;
        let pause = if self.belief.n_rounds() < AT_ONCE { Duration::ZERO } else { LONGEST_PAUSE };
        self.state = State::lost(now + pause);
    }
}
