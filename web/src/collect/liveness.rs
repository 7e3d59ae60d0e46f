//! Proof of life and death of a process, from the name of its pipe.
//!
//! Owns the verdict: by the lock byte; without one, by the pid in the name; and the evidence that a pipe without a lock
//! byte is abandoned. It must not read or remove a pipe.

use std::ffi::OsStr;
use std::fs::{read_link, read_to_string};
use std::os::unix::ffi::OsStrExt as _;
use std::process;
use std::time::Instant;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use statvent_posix::dir::PipeDir;
use statvent_posix::liveness::is_alive;
use statvent_posix::pipe_name::PipeName;
use statvent_posix::stat::FileId;

use crate::limits::{ABANDONED_AFTER, N_ABANDONED_SCRAPES};

/// What is known of the process behind a pipe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Liveness {
    /// Its lock byte is held.
    Alive,
    /// Its lock byte was seen held and is free now.
    Dead,
    /// Its lock byte was never seen held, and no process here has its pid: it is dead, or in another pid namespace.
    Suspect,
    /// Its lock byte was never seen held, and its pid is in use.
    Unknown,
}

/// Checks the process whose pipe has that name; sets `had_lock_byte` if its lock byte is held.
pub(super) fn check(dir: &PipeDir, name: &OsStr, had_lock_byte: &mut bool) -> Liveness {
    let Some(name) = PipeName::parse(name.as_bytes()) else { return Liveness::Unknown };
    match is_alive(dir, &name) {
        Ok(true) => {
            *had_lock_byte = true;
            Liveness::Alive
        }
        Ok(false) if *had_lock_byte => Liveness::Dead,
        Ok(false) if is_pid_free(name.pid) => Liveness::Suspect,
        Ok(false) | Err(_) => Liveness::Unknown,
    }
}

/// Returns whether a live recorder holds the lock byte of that name.
pub(super) fn holds_lock_byte(dir: &PipeDir, name: &OsStr) -> bool {
    PipeName::parse(name.as_bytes()).is_some_and(|name| is_alive(dir, &name).unwrap_or(false))
}

/// Since when, and in how many scrapes in a row, a pipe had neither process nor writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbandonedSince {
    id: FileId,
    since: Instant,
    n_scrapes: u32,
}

impl AbandonedSince {
    /// Adds a scrape. Evidence against another pipe of the same name does not count.
    pub(super) fn extend(before: Option<Self>, id: FileId, now: Instant) -> Self {
        match before {
            Some(before) if before.id == id => {
                Self { n_scrapes: before.n_scrapes.saturating_add(1), ..before }
            }
            _ => Self { id, since: now, n_scrapes: 1 },
        }
    }

    /// Returns whether the evidence is enough to remove the pipe.
    pub(super) fn is_confirmed(&self, now: Instant) -> bool {
        self.n_scrapes >= N_ABANDONED_SCRAPES && now.duration_since(self.since) >= ABANDONED_AFTER
    }
}

/// Returns whether no process has that pid, or only a zombie. `false` for numbers that mean several processes or none.
pub(super) fn is_pid_free(pid: u32) -> bool {
    match i32::try_from(pid) {
        Ok(pid @ 1..) => kill(Pid::from_raw(pid), None) == Err(nix::Error::ESRCH) || is_zombie(pid),
        _ => false,
    }
}

/// Returns whether a process and all its threads have ended; `false` if `/proc` shows another pid namespace.
fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let has_ended = matches!(fields.next(), Some("Z" | "X"));
    // The 20th field. If only the first thread has ended, another one may still publish.
    let n_threads = fields.nth(16).and_then(|field| field.parse::<u32>().ok());
    has_ended && n_threads.is_some_and(|n_threads| n_threads <= 1) && is_proc_of_this_namespace()
}

fn is_proc_of_this_namespace() -> bool {
    read_link("/proc/self").is_ok_and(|own| own.as_os_str() == OsStr::new(&process::id().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    const ONE: FileId = FileId { dev: 1, ino: 1 };
    const OTHER: FileId = FileId { dev: 1, ino: 2 };

    #[test]
    fn abandonment_needs_scrapes_and_time() {
        let start = Instant::now();
        let late = start + ABANDONED_AFTER;
        let first = AbandonedSince::extend(None, ONE, start);
        let second = AbandonedSince::extend(Some(first), ONE, start);
        let third = AbandonedSince::extend(Some(second), ONE, start);
        assert!(!second.is_confirmed(late), "two scrapes are too few");
        assert!(!third.is_confirmed(late - Duration::from_millis(1)), "too early");
        assert!(third.is_confirmed(late));
    }

    #[test]
    fn a_fresh_pipe_of_the_same_name_starts_from_zero() {
        let start = Instant::now();
        let mut abandoned = AbandonedSince::extend(None, ONE, start);
        for _ in 0..5 {
            abandoned = AbandonedSince::extend(Some(abandoned), ONE, start);
        }
        assert!(!AbandonedSince::extend(Some(abandoned), OTHER, start).is_confirmed(start + ABANDONED_AFTER));
    }

    #[test]
    fn numbers_that_are_no_pids_are_not_free() {
        assert!(!is_pid_free(0));
        assert!(!is_pid_free(u32::MAX));
        assert!(!is_pid_free(std::process::id()));
        assert!(is_pid_free(i32::MAX as u32));
    }

    #[test]
    fn a_pid_is_free_once_its_process_is_a_zombie() {
        let mut child = process::Command::new("cat").stdin(process::Stdio::piped()).spawn().unwrap();
        assert!(!is_pid_free(child.id()));
        let id = Id::Pid(Pid::from_raw(child.id().try_into().unwrap()));
        drop(child.stdin.take());
        // Waits for its end, and leaves it a zombie.
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(is_pid_free(child.id()));
        child.wait().unwrap();
    }
}
