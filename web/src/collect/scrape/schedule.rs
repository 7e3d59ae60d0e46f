//! Asks all processes of a directory at the same time.
//!
//! Owns how many are asked at a time, in which order, and when all must be done. How one is asked is in `probe`. It
//! remembers nothing (see the collector).

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::probe::probe;
use crate::collect::directory::FilteredDir;
use crate::collect::process::Process;
use crate::collect::quota::Quota;
use crate::descriptors::Descriptors;

/// The most processes that are about to answer at a time: more of them get in each other's way.
const N_TURNS: usize = 16;
/// After so many deadlines those that are asked then have a turn each, and no more: however many are silent.
const DEADLINES: u32 = 2;

/// What all probes of one collection share.
pub(in crate::collect) struct Scrape<'a> {
    pub(in crate::collect) source: &'a FilteredDir,
    pub(in crate::collect) quota: &'a Arc<Quota>,
    /// How long one process may take.
    pub(in crate::collect) deadline: Duration,
    /// When those are given up that have had their turn.
    pub(in crate::collect) ends: Instant,
    /// Memory to read into.
    pub(in crate::collect) chunk: RefCell<&'a mut [u8]>,
    pub(in crate::collect) turns: Semaphore,
    /// The pipes that are open though they are not asked.
    n_kept: Cell<usize>,
    descriptors: Descriptors,
}

impl<'a> Scrape<'a> {
    pub(in crate::collect) fn new(
        source: &'a FilteredDir,
        quota: &'a Arc<Quota>,
        deadline: Duration,
        chunk: &'a mut [u8],
        descriptors: Descriptors,
    ) -> Self {
        Self {
            source,
            quota,
            deadline,
            ends: Instant::now() + DEADLINES * deadline,
            chunk: RefCell::new(chunk),
            turns: Semaphore::new(N_TURNS),
            n_kept: Cell::new(0),
            descriptors,
        }
    }

    /// Asks all; those that answered last time go first, so that they never wait for those that are silent.
    pub(in crate::collect) async fn probe_all<'p>(
        &self,
        processes: impl Iterator<Item = (&'p OsStr, &'p mut Process)>,
    ) {
        let mut processes: Vec<_> = processes.collect();
        self.n_kept.set(processes.iter().filter(|(_, process)| process.open.is_some()).count());
        processes.sort_by_key(|(_, process)| process.priority());
        stream::iter(processes)
            .for_each_concurrent(self.descriptors.n_asked, |(name, process)| probe(self, name, process))
            .await;
    }

    /// A pipe that was kept open is asked now.
    pub(in crate::collect) fn count_reopened(&self, process: &Process) {
        self.n_kept.update(|n_kept| n_kept - usize::from(process.open.is_some()));
    }

    /// Keeps the pipe of a late process open if there is room. Half of the room is for pipes that have a writer: one of
    /// another library may not survive that its reader leaves.
    pub(in crate::collect) fn keep_open(&self, process: &mut Process) {
        let Some(pipe) = &process.open else { return };
        let max_kept = self.descriptors.n_kept;
        let room = if pipe.has_writer() { max_kept } else { max_kept.div_ceil(2) };
        if self.n_kept.get() < room {
            self.n_kept.update(|n_kept| n_kept + 1);
        } else {
            process.open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::ProcessSnapshot;
    use crate::collect::error::PipeError;
    use crate::collect::pipe::CHUNK_BYTES;
    use crate::collect::process::Status;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::Path;
    use std::thread::spawn;

    /// A pipe and a thread that writes that text to it, once.
    fn writer(dir: &Path, name: &str, text: String) {
        let path = dir.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        spawn(move || OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()));
    }

    fn large(n_stats: usize) -> String {
        (0..n_stats).map(|n| format!("a.rather.long.name.{n}: {n}\n")).collect()
    }

    /// Names of pipes of a pid that is in use, so that nothing says that they are dead.
    fn names(n_names: usize) -> Vec<String> {
        (0..n_names).map(|n| format!("{:04}.{}.stats", n, std::process::id())).collect()
    }

    const MAX_KEPT: usize = 50;
    const DESCRIPTORS: Descriptors = Descriptors { n_connections: 0, n_asked: 200, n_kept: MAX_KEPT };
    /// Longer than any of these tests may take.
    const PATIENT: Duration = Duration::from_secs(60);

    fn scrape(
        dir: &Path,
        quota: &Arc<Quota>,
        deadline: Duration,
        names: &[String],
        last: impl Fn() -> Option<ProcessSnapshot>,
    ) -> BTreeMap<String, Process> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let source = FilteredDir::open(dir, &[]).unwrap().unwrap();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut processes: BTreeMap<_, _> =
            names.iter().map(|name| (name.clone(), Process::default())).collect();
        processes.values_mut().for_each(|process| process.last = last());
        quota.share_among(processes.len());
        runtime.block_on(async {
            let scrape = Scrape::new(&source, quota, deadline, &mut chunk, DESCRIPTORS);
            scrape.probe_all(processes.iter_mut().map(|(name, process)| (name.as_ref(), process))).await;
        });
        processes
    }

    fn n_stats(process: &Process) -> usize {
        process.last.as_ref().map_or(0, ProcessSnapshot::n_stats)
    }

    #[test]
    fn those_who_say_too_much_cost_those_who_say_little_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let names = names(30);
        for name in &names[..10] {
            // More lines than one process may write.
            writer(temp.path(), name, "n:1\n".repeat(70_000));
        }
        for name in &names[10..20] {
            writer(temp.path(), name, large(30_000));
        }
        for name in &names[20..] {
            writer(temp.path(), name, large(100));
        }
        let quota = Quota::new(4 << 20);
        let processes = scrape(temp.path(), &quota, PATIENT, &names, || None);
        let processes: Vec<_> = processes.values().collect();
        let is_too_much =
            |process: &&&Process| matches!(process.status, Status::Unreadable(PipeError::TooLarge(_)));
        assert_eq!(processes[..10].iter().filter(is_too_much).count(), 10);
        for process in &processes[10..20] {
            let last = process.last.as_ref().expect("what it says first");
            assert_eq!(last.n_stats() + last.n_omitted(), 30_000);
            assert!(last.n_bytes() > (4 << 20) / 31, "its share");
        }
        assert!(n_stats(processes[19]) < 30_000, "the first ones took what was beyond the shares");
        assert!(processes[20..].iter().all(|process| n_stats(process) == 100));
    }

    #[test]
    fn snapshots_that_replace_others_need_no_more_room() {
        let temp = tempfile::tempdir().unwrap();
        let text = large(2_000);
        let names = names(40);
        for name in &names {
            writer(temp.path(), name, text.clone());
        }
        let last = || ProcessSnapshot::parse(text.as_bytes()).unwrap();
        let quota = Quota::new(last().n_bytes() * names.len());
        let processes = scrape(temp.path(), &quota, PATIENT, &names, || Some(last()));
        for process in processes.values() {
            assert!(matches!(process.status, Status::Ok));
            assert_eq!(n_stats(process), 2_000);
        }
    }

    #[test]
    fn a_pipe_with_a_writer_keeps_its_reader_before_those_without() {
        let temp = tempfile::tempdir().unwrap();
        let names = names(300);
        for name in &names {
            mkfifo(&temp.path().join(name), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let path = temp.path().join(&names[299]);
        let mut writer = OpenOptions::new().read(true).write(true).open(path).unwrap();
        writer.write_all(b"half: 1").unwrap();
        let quota = Quota::new(1 << 20);
        let processes = scrape(temp.path(), &quota, Duration::ZERO, &names, || None);
        let is_open = |process: &&Process| process.open.is_some();
        assert!(is_open(&&processes[&names[299]]), "it may not survive that its reader leaves");
        assert_eq!(processes.values().filter(is_open).count(), MAX_KEPT / 2 + 1);
    }
}
