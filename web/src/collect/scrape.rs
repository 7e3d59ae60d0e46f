//! Asks many pipes at once and waits for their answers.
//!
//! Owns the waiting of a collection, how many pipes are asked at a time, and the memory that all of them may take. How
//! one question goes is in `asked`. It must not remember anything (see the collector, which calls it).

use std::cmp::Reverse;
use std::os::fd::AsFd as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::asked::{Asked, FRESH_FOR, Heard, Question, Told};
use super::discover::Source;
use super::pipe::PipeError;

/// The most pipes with a writer that are asked at a time: more of them get in each other's way.
const WINDOW: usize = 16;
/// The time until the next try where the system does not let us wait.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);

/// Asks all, and returns what came of each question, in their order.
///
/// `chunk` is memory to read into. What all processes say may take no more than the limit; where it is more, those who say most
/// are cut off. Waits no longer than two deadlines, however many are silent.
pub(super) fn scrape(
    source: &Source,
    questions: Vec<Question<'_>>,
    chunk: &mut [u8],
    limits: &ScrapeLimits,
) -> Vec<Told> {
    let asked: Vec<_> = questions.into_iter().map(Asked::new).collect();
    let n_bytes = asked.iter().map(Asked::n_bytes).sum();
    let mut to_ask: Vec<_> = (0..asked.len()).collect();
    to_ask.sort_by_key(|&idx| Reverse((asked[idx].turn(), idx)));
    let begun_at = Instant::now();
    let mut scrape = Scrape { source, begun_at, asked, to_ask, active: Vec::new(), chunk, n_bytes, limits };
    loop {
        let now = Instant::now();
        scrape.ask_more(now);
        let is_waiting = scrape.active.iter().any(|&idx| scrape.asked[idx].is_waited_for(now));
        if !is_waiting && scrape.to_ask.is_empty() {
            return scrape.asked.into_iter().map(Asked::finish).collect();
        }
        scrape.wait(now);
    }
}

/// How much is asked at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScrapeLimits {
    /// The most pipes that are open.
    pub(super) n_open: usize,
    /// The memory for what all processes said last and say now.
    pub(super) n_bytes: usize,
}

struct Scrape<'a> {
    source: &'a Source,
    begun_at: Instant,
    asked: Vec<Asked<'a>>,
    /// The questions that were not asked yet, the next one last.
    to_ask: Vec<usize>,
    /// The questions that were asked and not answered yet.
    active: Vec<usize>,
    chunk: &'a mut [u8],
    /// The memory for all of them.
    n_bytes: usize,
    limits: &'a ScrapeLimits,
}

impl Scrape<'_> {
    fn ask_more(&mut self, now: Instant) {
        while let Some(&idx) = self.to_ask.last()
            && self.n_fresh(now) < WINDOW
            && self.fits(idx, now)
            && self.has_room(now)
        {
            self.to_ask.pop();
            // Asking thousands takes longer than the patience with some of them.
            let now = Instant::now();
            self.asked[idx].begin(now, self.begun_at);
            self.active.push(idx);
            self.take_turn(idx, now);
            self.forget_answered();
        }
    }

    fn n_fresh(&self, now: Instant) -> usize {
        self.active.iter().filter(|&&idx| self.asked[idx].is_fresh(now)).count()
    }

    /// Whether there is memory for as much as one said last, beside what others are about to say: two readings of
    /// one process stand side by side until the new one is whole.
    fn fits(&self, idx: usize, now: Instant) -> bool {
        let fresh = self.active.iter().map(|&idx| &self.asked[idx]).filter(|asked| asked.is_fresh(now));
        let n_bytes_to_come: usize = fresh.map(Asked::n_bytes_to_come).sum();
        let n_bytes = self.n_bytes + n_bytes_to_come + self.asked[idx].n_bytes_to_come();
        n_bytes_to_come == 0 || n_bytes <= self.limits.n_bytes
    }

    /// Whether one more may be open; a pipe that is no longer waited for makes way, those first that nobody has open for
    /// writing: a writer of another library may not survive that its reader leaves.
    fn has_room(&mut self, now: Instant) -> bool {
        let over = self.active.iter().copied().filter(|&idx| !self.asked[idx].is_waited_for(now));
        if self.active.len() >= self.limits.n_open
            && let Some(idx) = over.min_by_key(|&idx| self.asked[idx].has_writer())
        {
            self.end(idx, |asked| asked.give_up());
            self.forget_answered();
        }
        self.active.len() < self.limits.n_open
    }

    /// Waits until a pipe is readable or a time has come, and gives a turn to all whose moment it is.
    fn wait(&mut self, now: Instant) {
        let timeout = self.next_time(now).saturating_duration_since(now);
        let mut due = self.poll(timeout);
        let now = Instant::now();
        let is_due = |asked: &Asked<'_>| asked.retry_at().is_some_and(|retry_at| retry_at <= now);
        due.extend(self.active.iter().filter(|&&idx| is_due(&self.asked[idx])));
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
        let more = if !self.to_ask.is_empty() { FRESH_FOR } else { Duration::from_secs(1) };
        let asked = self.active.iter().map(|&idx| &self.asked[idx]);
        let times =
            asked.flat_map(|asked| [asked.retry_at(), asked.is_waited_for(now).then_some(asked.until())]);
        times.flatten().fold(now + more, Instant::min)
    }

    /// Returns those whose pipes are readable.
    fn poll(&self, timeout: Duration) -> Vec<usize> {
        let open = self.active.iter().filter_map(|&idx| Some((idx, self.asked[idx].pipe_to_poll()?)));
        let (idxs, mut polled): (Vec<_>, Vec<_>) =
            open.map(|(idx, pipe)| (idx, PollFd::new(pipe.as_fd(), PollFlags::POLLIN))).unzip();
        match ppoll(&mut polled, Some(TimeSpec::from(timeout)), None) {
            Ok(_) => {}
            Err(nix::Error::EINTR) => return Vec::new(),
            // Out of memory: all that is left is to try again a little later.
            Err(_) => {
                sleep(REFUSED_PAUSE);
                return Vec::new();
            }
        }
        let is_ready = |polled: &PollFd<'_>| polled.revents().is_none_or(|events| !events.is_empty());
        idxs.into_iter().zip(&polled).filter(|(_, polled)| is_ready(polled)).map(|(idx, _)| idx).collect()
    }

    fn take_turn(&mut self, idx: usize, now: Instant) {
        let n_bytes_before = self.asked[idx].n_bytes();
        self.asked[idx].advance(self.source, now, self.chunk);
        self.account(idx, n_bytes_before);
        while self.n_bytes > self.limits.n_bytes {
            self.cut_off_largest();
        }
    }

    /// Whoever says most costs the others their place: not the one whose turn it happens to be.
    fn cut_off_largest(&mut self) {
        let err = PipeError::TooMuchInAll { limit_bytes: self.limits.n_bytes };
        if let Some(idx) = (0..self.asked.len()).max_by_key(|&idx| self.asked[idx].weight()) {
            self.end(idx, |asked| asked.answer(Heard::Failed(err)));
        }
    }

    fn end(&mut self, idx: usize, end: impl FnOnce(&mut Asked<'_>)) {
        let n_bytes_before = self.asked[idx].n_bytes();
        end(&mut self.asked[idx]);
        self.account(idx, n_bytes_before);
    }

    /// Counts anew what one of them takes.
    fn account(&mut self, idx: usize, n_bytes_before: usize) {
        self.n_bytes = self.n_bytes - n_bytes_before + self.asked[idx].n_bytes();
    }

    fn forget_answered(&mut self) {
        let asked = &self.asked;
        self.active.retain(|&idx| !asked[idx].is_answered());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Reading;
    use crate::collect::asked::Turn;
    use crate::collect::pipe::CHUNK_BYTES;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::Path;
    use std::thread::spawn;

    const SMALL: &str = "a.small.one: 1\n";

    /// A pipe and somebody who writes that text to it, once.
    fn writer(dir: &Path, name: &str, text: String) {
        let path = dir.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        spawn(move || OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()));
    }

    fn large(n_stats: usize) -> String {
        (0..n_stats).map(|n| format!("a.rather.long.name.{n}: {n}\n")).collect()
    }

    const MAX_OPEN: usize = 200;
    const PATIENT: Duration = Duration::from_secs(20);

    fn ask(dir: &Path, asked: Vec<(&str, Option<Reading>)>, limit_bytes: usize) -> Vec<Heard> {
        ask_for(PATIENT, dir, asked, limit_bytes)
    }

    fn ask_for(
        deadline: Duration,
        dir: &Path,
        asked: Vec<(&str, Option<Reading>)>,
        limit_bytes: usize,
    ) -> Vec<Heard> {
        let questions = asked.into_iter().map(|(name, last)| {
            let name = name.as_ref();
            let (only_grows, is_stranger, turn) = (false, last.is_none(), Turn::First);
            Question { name, open: None, last, only_grows, is_stranger, turn, patience: deadline, deadline }
        });
        let source = Source::open(dir, &[]).unwrap().unwrap();
        let limits = ScrapeLimits { n_open: MAX_OPEN, n_bytes: limit_bytes };
        let told = scrape(&source, questions.collect(), &mut vec![0; CHUNK_BYTES], &limits);
        told.into_iter().map(|told| told.heard).collect()
    }

    fn is_said(heard: &Heard) -> bool {
        matches!(heard, Heard::Said(_))
    }

    #[test]
    fn those_who_say_too_much_do_not_cost_others_their_place() {
        let temp = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..30).map(|n| format!("{n:02}.stats")).collect();
        for name in &names[..10] {
            // Cut off for themselves, for one line too many.
            writer(temp.path(), name, "n:1\n".repeat(70_000));
        }
        for name in &names[10..20] {
            writer(temp.path(), name, large(30_000));
        }
        for name in &names[20..] {
            writer(temp.path(), name, SMALL.to_owned());
        }
        let asked = names.iter().map(|name| (&**name, None)).collect();
        let heard = ask(temp.path(), asked, 8 << 20);
        assert!(heard[..10].iter().all(|heard| matches!(heard, Heard::Failed(_))));
        let n_large = heard[10..20].iter().filter(|heard| is_said(heard)).count();
        assert!((1..10).contains(&n_large), "{n_large} fit");
        assert!(heard[20..].iter().all(is_said));
    }

    #[test]
    fn who_holds_most_is_cut_off_and_not_whose_turn_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let last = Reading::parse(large(1000).as_bytes()).unwrap();
        mkfifo(&temp.path().join("1.stats"), Mode::S_IRUSR).unwrap();
        writer(temp.path(), "2.stats", SMALL.to_owned());
        let limit_bytes = last.n_bytes();
        let heard = ask(temp.path(), vec![("1.stats", Some(last)), ("2.stats", None)], limit_bytes);
        assert!(matches!(&heard[0], Heard::Failed(PipeError::TooMuchInAll { .. })));
        assert!(is_said(&heard[1]));
    }

    #[test]
    fn a_reading_frees_the_one_before_it() {
        let temp = tempfile::tempdir().unwrap();
        let text = large(10_000);
        let last = || Reading::parse(text.as_bytes()).unwrap();
        let n_bytes = last().n_bytes();
        let names: Vec<_> = (0..40).map(|n| format!("{n}.stats")).collect();
        for name in &names {
            writer(temp.path(), name, text.clone());
        }
        let asked = names.iter().map(|name| (&**name, Some(last()))).collect();
        // Enough for two of two; while it grows a reading takes somewhat more than in the end.
        let heard = ask(temp.path(), asked, n_bytes * (names.len() + 3));
        assert!(heard.iter().all(is_said));
    }

    #[test]
    fn whoever_has_begun_to_write_keeps_its_reader_before_those_who_have_not() {
        let temp = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..MAX_OPEN + 100).map(|n| format!("{n:04}.stats")).collect();
        for name in &names {
            mkfifo(&temp.path().join(name), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let path = temp.path().join(&names[0]);
        let mut writer = OpenOptions::new().read(true).write(true).open(path).unwrap();
        writer.write_all(b"half: 1").unwrap();
        let asked = names.iter().map(|name| (&**name, None)).collect();
        let heard = ask_for(Duration::ZERO, temp.path(), asked, 1 << 20);
        let is_open = |heard: &&Heard| matches!(heard, Heard::Nothing(Some(_)));
        assert!(is_open(&&heard[0]), "it may not survive that its reader leaves");
        assert_eq!(heard.iter().filter(is_open).count(), MAX_OPEN);
    }
}
