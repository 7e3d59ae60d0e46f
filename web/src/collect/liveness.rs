//! Who is alive, who is dead, and what cannot be told.
//!
//! Owns the judgement over a process from its pipe's name: its byte lock first, its pid where it has none, and the
//! evidence that a pipe without a lock is abandoned. It removes nothing and reads no pipe. Called by the collector.

use std::ffi::OsStr;
use std::fs::{read_link, read_to_string};
use std::os::unix::ffi::OsStrExt as _;
use std::process;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use statvent_core::pipe_name::PipeName;
use statvent_posix::dir::PipeDir;
use statvent_posix::liveness::is_alive;
use statvent_posix::node::FileId;

/// The rounds in which a pipe without a lock must have neither process nor writer before it counts as abandoned.
const ROUNDS_IN_DOUBT: u32 = 3;
/// The time from the first to the last of them, at least.
const TIME_IN_DOUBT: Duration = Duration::from_secs(10);

/// What is known of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Liveness {
    /// Its byte is held.
    Alive,
    /// Its byte was held once and is free now.
    Dead,
    /// It never held a byte, and no process here has its pid: dead, or in another pid namespace.
    Suspect,
    /// It never held a byte, and the pid says nothing against it.
    Unknown,
}

/// Judges the process whose pipe has that name; remembers in `was_locked` that its byte was held once.
pub(super) fn check(dir: &PipeDir, name: &OsStr, was_locked: &mut bool) -> Liveness {
    let Some(name) = PipeName::parse(name.as_bytes()) else { return Liveness::Unknown };
    match is_alive(dir, &name) {
        Ok(true) => {
            *was_locked = true;
            Liveness::Alive
        }
        Ok(false) if *was_locked => Liveness::Dead,
        Ok(false) if is_pid_free(name.pid) => Liveness::Suspect,
        Ok(false) | Err(_) => Liveness::Unknown,
    }
}

/// Says whether the byte of a pipe's name is held, as by a recorder that lives.
pub(super) fn is_locked(dir: &PipeDir, name: &OsStr) -> bool {
    PipeName::parse(name.as_bytes()).is_some_and(|name| is_alive(dir, &name).unwrap_or(false))
}

/// The rounds in which a pipe was found with neither process nor writer, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbandonedSince {
    id: FileId,
    since: Instant,
    n_rounds: u32,
}

impl AbandonedSince {
    /// Adds a round; evidence against another pipe of that name does not count.
    pub(super) fn extend(before: Option<Self>, id: FileId, now: Instant) -> Self {
        match before {
            Some(doubt) if doubt.id == id => Self { n_rounds: doubt.n_rounds.saturating_add(1), ..doubt },
            _ => Self { id, since: now, n_rounds: 1 },
        }
    }

    /// Says whether the pipe is abandoned.
    pub(super) fn is_confirmed(&self, now: Instant) -> bool {
        self.n_rounds >= ROUNDS_IN_DOUBT && now.duration_since(self.since) >= TIME_IN_DOUBT
    }
}

/// Asks whether no process has that pid, or one that ended and is not waited for. Numbers that mean several processes,
/// or none, say nothing.
pub(super) fn is_pid_free(pid: u32) -> bool {
    match i32::try_from(pid) {
        Ok(pid @ 1..) => kill(Pid::from_raw(pid), None) == Err(nix::Error::ESRCH) || is_zombie(pid),
        _ => false,
    }
}

/// Asks whether a process has ended, all its threads included; where `/proc` is not of our pid namespace it says nothing.
fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let has_ended = matches!(fields.next(), Some("Z" | "X"));
    // The 20th field. The first thread alone may have ended, and another one may publish.
    let n_threads = fields.nth(16).and_then(|field| field.parse::<u32>().ok());
    has_ended && n_threads.is_some_and(|n_threads| n_threads <= 1) && is_proc_ours()
}

fn is_proc_ours() -> bool {
    read_link("/proc/self").is_ok_and(|own| own.as_os_str() == OsStr::new(&process::id().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    const ONE: FileId = FileId { dev: 1, ino: 1 };
    const OTHER: FileId = FileId { dev: 1, ino: 2 };

    #[test]
    fn doubt_needs_rounds_and_time() {
        let start = Instant::now();
        let late = start + TIME_IN_DOUBT;
        let first = AbandonedSince::extend(None, ONE, start);
        let second = AbandonedSince::extend(Some(first), ONE, start);
        let third = AbandonedSince::extend(Some(second), ONE, start);
        assert!(!second.is_confirmed(late), "two rounds are too few");
        assert!(!third.is_confirmed(late - Duration::from_millis(1)), "too early");
        assert!(third.is_confirmed(late));
    }

    #[test]
    fn a_fresh_pipe_of_the_same_name_begins_anew() {
        let start = Instant::now();
        let mut doubt = AbandonedSince::extend(None, ONE, start);
        for _ in 0..5 {
            doubt = AbandonedSince::extend(Some(doubt), ONE, start);
        }
        assert!(!AbandonedSince::extend(Some(doubt), OTHER, start).is_confirmed(start + TIME_IN_DOUBT));
    }

    #[test]
    fn pids_that_are_none_are_not_taken_for_free() {
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
        // Waits for its end and leaves the zombie.
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(is_pid_free(child.id()));
        child.wait().unwrap();
    }
}
