//! Removal of orphaned pipes: hidden names whose recorder or sweeper was killed between two steps.
//!
//! Owns the proof that nothing uses such a pipe. The names are defined by `statvent_posix::hidden_name`. It must not touch
//! anything but pipes, and keeps nothing that it reads.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use statvent_posix::hidden_name::HiddenNameOwner;
use statvent_posix::liveness::is_alive;
use statvent_posix::pipe_name::PipeName;
use statvent_posix::remove::remove_dead;
use statvent_posix::stat::FileStat;

use super::directory::FilteredDir;
use super::liveness::is_pid_free;
use super::pipe::{Pipe, Progress};
use super::quota::Charge;
use crate::limits::{TOMBSTONE_GRACE, WRITER_CHECK_BYTES};

/// Removes the pipe of a hidden name if no process can use it; returns whether it was removed.
///
/// # Errors
/// The system's error; then the pipe stays.
pub(super) fn remove_orphan(dir: &FilteredDir, name: &OsStr) -> io::Result<bool> {
    match HiddenNameOwner::parse(name.as_bytes()) {
        Some(HiddenNameOwner::Recorder(pipe)) => remove_staged(dir, name, &pipe),
        Some(HiddenNameOwner::Sweeper(pid)) if is_pid_free(pid) => {
            remove_tombstone(dir, name, SystemTime::now())
        }
        _ => Ok(false),
    }
}

/// Removes a pipe with a staging name if its recorder is dead.
///
/// A recorder locks its byte before it creates any pipe. If the lock byte is free after this pipe was opened, its recorder is
/// dead.
fn remove_staged(dir: &FilteredDir, name: &OsStr, pipe: &PipeName<'_>) -> io::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fifo: OwnedFd = openat(&dir.pipe_dir, name, flags, Mode::empty())?;
    let node = FileStat::of_fd(&fifo)?;
    if !node.is_fifo || !dir.allows(&node) || is_alive(&dir.pipe_dir, pipe)? {
        return Ok(false);
    }
    remove_dead(&dir.pipe_dir, name, &fifo)
}

/// Removes a pipe with a tombstone name if it is old and has no writer.
///
/// It may belong to a live recorder, if the sweeper was killed before it restored the name. That recorder waits on the pipe and
/// counts as a writer here; it publishes a fresh one once it wakes up.
fn remove_tombstone(dir: &FilteredDir, name: &OsStr, now: SystemTime) -> io::Result<bool> {
    let Ok(mut pipe) = Pipe::open(dir, name, Charge::default()) else { return Ok(false) };
    let stat = fstat(&*pipe)?;
    let changed_at = UNIX_EPOCH + Duration::from_secs(stat.st_ctime.try_into().unwrap_or(u64::MAX >> 1));
    let is_old = now.duration_since(changed_at).is_ok_and(|age| age > TOMBSTONE_GRACE);
    let is_unused = is_old
        && matches!(pipe.read(&mut [0; WRITER_CHECK_BYTES]), Ok(Progress::Pending))
        && pipe.is_unused();
    if is_unused { remove_dead(&dir.pipe_dir, name, &*pipe) } else { Ok(false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs;
    use tokio::runtime::{Builder, Runtime};

    /// Pipes are opened in a runtime.
    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    const FREE_PID: u32 = i32::MAX as u32;

    // A recorder was killed after it had created a pipe under a staging name, and before it renamed the pipe.
    #[test]
    fn a_staged_pipe_of_a_dead_recorder_is_removed_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let name = format!(".{FREE_PID}.stats.new0");
        fs::write(temp.path().join(&name), "precious").unwrap();
        assert!(!remove_orphan(&dir, name.as_ref()).unwrap(), "not a pipe");
        fs::remove_file(temp.path().join(&name)).unwrap();
        mkfifo(&temp.path().join(&name), Mode::S_IRUSR).unwrap();
        let us = nix::unistd::Uid::effective().as_raw();
        let others = FilteredDir::open(temp.path(), &[us + 1]).unwrap().unwrap();
        assert!(!remove_orphan(&others, name.as_ref()).unwrap(), "of a user who is not allowed");
        assert!(remove_orphan(&dir, name.as_ref()).unwrap());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_recent_tombstone_stays() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        for pid in [FREE_PID, std::process::id()] {
            let name = format!(".{pid}-0.dead");
            mkfifo(&temp.path().join(&name), Mode::S_IRUSR).unwrap();
            assert!(!remove_orphan(&dir, name.as_ref()).unwrap());
            assert!(temp.path().join(&name).exists());
        }
    }

    #[test]
    fn an_old_tombstone_is_removed_unless_a_recorder_waits_on_it() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let path = temp.path().join(".7-0.dead");
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        let writer = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let later = SystemTime::now() + 2 * TOMBSTONE_GRACE;
        assert!(!remove_tombstone(&dir, ".7-0.dead".as_ref(), later).unwrap());
        drop(writer);
        assert!(remove_tombstone(&dir, ".7-0.dead".as_ref(), later).unwrap());
        assert!(!path.exists());
    }
}
