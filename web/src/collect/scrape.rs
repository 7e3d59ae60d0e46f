//! Asks many pipes at once and waits for their answers.
//!
//! Owns the waiting of a collection: how many pipes are asked at a time, how long each may take, when to look again.
//! It must not judge what silence means (see `life`) nor remember anything (see the collector, which calls it).

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use statvent_posix::dir::PipeDir;

use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;

/// The most pipes with a writer that are asked at a time: more of them get in each other's way.
const WINDOW: usize = 16;
/// A writer that takes longer than this no longer keeps others from being asked.
const FRESH_FOR: Duration = Duration::from_millis(10);
/// The most pipes that are open at a time.
const MAX_OPEN: usize = 384;
/// The most memory that all that is said may take, in bytes.
const MAX_BYTES_IN_ALL: usize = 256 << 20;
/// So often a pipe must be retired in our hands, without a word, to show that its process has no stats.
const EMPTY_ROUNDS: u32 = 3;
/// The longest time between two looks for a name that is missing.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// A pipe to ask.
pub(super) struct Question<'a> {
    /// Its name in the directory.
    pub(super) name: &'a OsStr,
    /// The pipe, if it is open from the last collection.
    pub(super) open: Option<Box<Pipe>>,
    /// How long to wait for what it says; zero asks and goes on.
    pub(super) patience: Duration,
    /// How much of that to spend on looking for the name where it is missing.
    pub(super) missing_patience: Duration,
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

/// Asks all, and returns what came of each question, in their order.
///
/// `chunk` is memory to read into, `n_bytes_held` what earlier readings take. Waits no longer than the largest
/// patience for each 384 questions whose processes are silent, and mostly far less.
pub(super) fn scrape(
    dir: &PipeDir,
    questions: Vec<Question<'_>>,
    chunk: &mut [u8],
    n_bytes_held: usize,
) -> Vec<Heard> {
    let asked = questions.into_iter().map(Asked::new).collect();
    let mut scrape = Scrape { dir, asked, next: 0, active: Vec::new(), chunk, n_bytes_held };
    loop {
        let now = Instant::now();
        scrape.ask_more(now);
        let is_waiting = scrape.active.iter().any(|&idx| scrape.asked[idx].is_waited_for(now));
        if !is_waiting && scrape.next == scrape.asked.len() {
            return scrape.asked.into_iter().map(Asked::finish).collect();
        }
        scrape.wait(now);
    }
}

struct Scrape<'a> {
    dir: &'a PipeDir,
    asked: Vec<Asked<'a>>,
    /// The first question that was not asked yet.
    next: usize,
    /// The questions that were asked and not answered yet.
    active: Vec<usize>,
    chunk: &'a mut [u8],
    n_bytes_held: usize,
}

impl Scrape<'_> {
    fn ask_more(&mut self, now: Instant) {
        while self.next < self.asked.len() && self.n_fresh(now) < WINDOW && self.has_room(now) {
            let idx = self.next;
            self.next += 1;
            // Asking thousands takes longer than the patience with some of them.
            let now = Instant::now();
            self.asked[idx].begin(now);
            self.active.push(idx);
            self.take_turn(idx, now);
            self.forget_answered();
        }
    }

    fn n_fresh(&self, now: Instant) -> usize {
        self.active.iter().filter(|&&idx| self.asked[idx].is_fresh(now)).count()
    }

    /// Whether one more may be open; a pipe that is no longer waited for makes way.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.active.len() >= MAX_OPEN
            && let Some(&idx) = self.active.iter().find(|&&idx| !self.asked[idx].is_waited_for(now))
        {
            self.asked[idx].state = State::Answered(Heard::Nothing(None));
            self.forget_answered();
        }
        self.active.len() < MAX_OPEN
    }

    /// Waits until a pipe is readable or a time has come, and gives a turn to all whose moment it is.
    fn wait(&mut self, now: Instant) {
        let timeout = self.next_time(now).saturating_duration_since(now);
        let mut due = self.poll(timeout);
        let now = Instant::now();
        due.extend(self.active.iter().filter(|&&idx| self.asked[idx].is_due(now)));
        // A pipe may be readable and due.
        due.sort_unstable();
        due.dedup();
        for idx in due {
            self.take_turn(idx, now);
        }
        self.forget_answered();
    }

    fn next_time(&self, now: Instant) -> Instant {
        // While there are more to ask, the window opens again as soon as those in it are no longer fresh.
        let more = if self.next < self.asked.len() { FRESH_FOR } else { Duration::from_secs(1) };
        let asked = self.active.iter().map(|&idx| &self.asked[idx]);
        let times =
            asked.flat_map(|asked| [asked.retry_at(), asked.is_waited_for(now).then_some(asked.until())]);
        times.flatten().fold(now + more, Instant::min)
    }

    /// Returns those whose pipes are readable.
    fn poll(&self, timeout: Duration) -> Vec<usize> {
        let open = self.active.iter().filter_map(|&idx| match &self.asked[idx].state {
            State::Open(pipe) if pipe.is_worth_polling() => Some((idx, pipe)),
            _ => None,
        });
        let (idxs, mut polled): (Vec<_>, Vec<_>) =
            open.map(|(idx, pipe)| (idx, PollFd::new(pipe.as_fd(), PollFlags::POLLIN))).unzip();
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Vec::new(),
            // Out of memory: all that is left is to try again a little later.
            Err(_) => {
                sleep(LONGEST_PAUSE);
                return Vec::new();
            }
        }
        let is_ready = |polled: &PollFd<'_>| polled.revents().is_none_or(|events| !events.is_empty());
        idxs.into_iter().zip(&polled).filter(|(_, polled)| is_ready(polled)).map(|(idx, _)| idx).collect()
    }

    fn take_turn(&mut self, idx: usize, now: Instant) {
        let asked = &mut self.asked[idx];
        if let State::Lost { .. } = asked.state {
            asked.look_again(self.dir, now);
        }
        let State::Open(pipe) = &mut asked.state else { return };
        let n_bytes_before = pipe.n_bytes();
        let step = pipe.advance(now, self.chunk);
        self.n_bytes_held += match &step {
            Step::Finished(reading) => reading.n_bytes(),
            _ => pipe.n_bytes(),
        };
        self.n_bytes_held = self.n_bytes_held.saturating_sub(n_bytes_before);
        if self.n_bytes_held > MAX_BYTES_IN_ALL {
            self.n_bytes_held = self.n_bytes_held.saturating_sub(pipe.n_bytes());
            asked.state =
                State::Answered(Heard::Failed(PipeError::TooMuchInAll { limit_bytes: MAX_BYTES_IN_ALL }));
            return;
        }
        asked.take_step(step, now);
    }

    fn forget_answered(&mut self) {
        let asked = &self.asked;
        self.active.retain(|&idx| !matches!(asked[idx].state, State::Answered(_)));
    }
}

struct Asked<'a> {
    name: &'a OsStr,
    patience: Duration,
    missing_patience: Duration,
    begun_at: Instant,
    state: State,
    n_empty_rounds: u32,
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
    const fn lost(now: Instant) -> Self {
        Self::Lost { retry_at: now, pause: FIRST_PAUSE, missing_since: None }
    }
}

impl<'a> Asked<'a> {
    fn new(question: Question<'a>) -> Self {
        let now = Instant::now();
        Self {
            name: question.name,
            patience: question.patience,
            missing_patience: question.missing_patience,
            begun_at: now,
            state: question.open.map_or(State::lost(now), State::Open),
            n_empty_rounds: 0,
        }
    }

    const fn begin(&mut self, now: Instant) {
        self.begun_at = now;
    }

    fn until(&self) -> Instant {
        match self.state {
            State::Lost { missing_since: Some(since), .. } => {
                (since + self.missing_patience).min(self.begun_at + self.patience)
            }
            _ => self.begun_at + self.patience,
        }
    }

    fn is_waited_for(&self, now: Instant) -> bool {
        !matches!(self.state, State::Answered(_)) && now < self.until()
    }

    fn is_fresh(&self, now: Instant) -> bool {
        matches!(&self.state, State::Open(pipe) if pipe.has_writer()) && now < self.begun_at + FRESH_FOR
    }

    const fn retry_at(&self) -> Option<Instant> {
        match &self.state {
            State::Open(pipe) => pipe.retry_at(),
            State::Lost { retry_at, .. } => Some(*retry_at),
            State::Answered(_) => None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.retry_at().is_some_and(|retry_at| retry_at <= now)
    }

    fn look_again(&mut self, dir: &PipeDir, now: Instant) {
        self.state = match Pipe::open(dir, self.name) {
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

    fn take_step(&mut self, step: Step, now: Instant) {
        self.state = match step {
            Step::Wait => return,
            Step::Finished(reading) => State::Answered(Heard::Said(reading)),
            Step::Retired { was_ours } => {
                self.n_empty_rounds += u32::from(was_ours);
                if self.n_empty_rounds < EMPTY_ROUNDS {
                    State::lost(now)
                } else {
                    State::Answered(Heard::Said(Reading::default()))
                }
            }
            Step::Failed(err) => State::Answered(Heard::Failed(err)),
        }
    }

    fn finish(self) -> Heard {
        match self.state {
            State::Answered(heard) => heard,
            State::Open(pipe) => Heard::Nothing(Some(pipe)),
            State::Lost { missing_since: None, .. } => Heard::Nothing(None),
            State::Lost { missing_since: Some(_), .. } => Heard::Missing,
        }
    }
}
