//! Schedule of the probes of one scrape.
//!
//! Owns which processes are probed first and how many at the same time. It must not know the steps of a probe.

use std::ffi::OsStr;

use futures_util::{StreamExt as _, stream};

use super::context::ScrapeContext;
use super::probe::probe;
use crate::collect::process::Process;

/// Probes all processes. Those that answered last time go first, so they never wait for silent ones.
pub(in crate::collect) async fn probe_all<'p>(
    context: &ScrapeContext<'_>,
    processes: impl Iterator<Item = (&'p OsStr, &'p mut Process)>,
) {
    let mut processes: Vec<_> = processes.collect();
    context.count_kept(processes.iter().map(|(_, process)| &**process));
    processes.sort_by_key(|(_, process)| process.priority());
    stream::iter(processes)
        .for_each_concurrent(context.fd_budget.n_probes, |(name, process)| probe(context, name, process))
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::directory::FilteredDir;
    use crate::collect::process::Status;
    use crate::collect::quota::Quota;
    use crate::collect::{PipeError, ProcessSnapshot};
    use crate::fd_budget::FdBudget;
    use crate::limits::CHUNK_BYTES;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::Path;
    use std::sync::Arc;
    use std::thread::spawn;
    use std::time::Duration;

    /// Creates a pipe, and a thread that writes a text to it once.
    fn writer(dir: &Path, name: &str, text: String) {
        let path = dir.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        spawn(move || OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()));
    }

    fn large(n_stats: usize) -> String {
        (0..n_stats).map(|n| format!("a.rather.long.name.{n}: {n}\n")).collect()
    }

    /// Names of pipes whose pid is in use, so that they are not suspected to be dead.
    fn names(n_names: usize) -> Vec<String> {
        (0..n_names).map(|n| format!("{:04}.{}.stats", n, std::process::id())).collect()
    }

    const MAX_KEPT: usize = 50;
    const DESCRIPTORS: FdBudget = FdBudget { n_connections: 0, n_probes: 200, n_silent_pipes: MAX_KEPT };
    /// Longer than any of these tests takes.
    const LONG_DEADLINE: Duration = Duration::from_secs(60);

    fn scrape(
        dir: &Path,
        quota: &Arc<Quota>,
        deadline: Duration,
        names: &[String],
        last: impl Fn() -> Option<ProcessSnapshot>,
    ) -> BTreeMap<String, Process> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pipe_dir = FilteredDir::open(dir, &[]).unwrap().unwrap();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut processes: BTreeMap<_, _> =
            names.iter().map(|name| (name.clone(), Process::default())).collect();
        processes.values_mut().for_each(|process| process.last_snapshot = last());
        quota.share_among(processes.len());
        runtime.block_on(async {
            let context = ScrapeContext::new(&pipe_dir, quota, deadline, &mut chunk, DESCRIPTORS);
            probe_all(&context, processes.iter_mut().map(|(name, process)| (name.as_ref(), process))).await;
        });
        processes
    }

    fn n_stats(process: &Process) -> usize {
        process.last_snapshot.as_ref().map_or(0, ProcessSnapshot::n_stats)
    }

    #[test]
    fn large_snapshots_cost_small_ones_nothing() {
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
        let processes = scrape(temp.path(), &quota, LONG_DEADLINE, &names, || None);
        let processes: Vec<_> = processes.values().collect();
        let is_too_large =
            |process: &&&Process| matches!(process.status, Status::Unreadable(PipeError::TooLarge(_)));
        assert_eq!(processes[..10].iter().filter(is_too_large).count(), 10);
        for process in &processes[10..20] {
            let last = process.last_snapshot.as_ref().expect("its first stats");
            assert_eq!(last.n_stats() + last.n_left_out(), 30_000);
            assert!(last.n_bytes() > (4 << 20) / 31, "its share");
        }
        // Which ones keep all their stats depends on the order of the writers' threads.
        let n_bytes: usize = processes
            .iter()
            .filter_map(|process| process.last_snapshot.as_ref())
            .map(ProcessSnapshot::n_bytes)
            .sum();
        assert!(n_bytes <= 2 * (4 << 20), "the limit, and the shares on top: {n_bytes}");
        assert!(processes[20..].iter().all(|process| n_stats(process) == 100));
    }

    #[test]
    fn snapshots_that_replace_others_need_no_more_quota() {
        let temp = tempfile::tempdir().unwrap();
        let text = large(2_000);
        let names = names(40);
        for name in &names {
            writer(temp.path(), name, text.clone());
        }
        let last = || ProcessSnapshot::parse(text.as_bytes()).unwrap();
        let quota = Quota::new(last().n_bytes() * names.len());
        let processes = scrape(temp.path(), &quota, LONG_DEADLINE, &names, || Some(last()));
        for process in processes.values() {
            assert!(matches!(process.status, Status::Ok));
            assert_eq!(n_stats(process), 2_000);
        }
    }

    #[test]
    fn a_pipe_with_a_writer_is_kept_open_before_those_without() {
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
        let is_open = |process: &&Process| process.open_pipe.is_some();
        assert!(is_open(&&processes[&names[299]]), "its writer may not survive a closed reader");
        assert_eq!(processes.values().filter(is_open).count(), MAX_KEPT / 2 + 1);
    }
}
