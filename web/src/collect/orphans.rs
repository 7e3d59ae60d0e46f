//! Pipes that were left behind under hidden names, by a process that was killed between two steps.
//!
//! Owns the judgement over them; who makes such names is said by `statvent_posix::hidden`. It touches nothing but pipes,
//! and reads none. Called by the collector for every hidden name.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use statvent_core::pipe_name::PipeName;
use statvent_posix::hidden::Maker;
use statvent_posix::liveness::is_alive;
use statvent_posix::node::Node;
use statvent_posix::sweep::remove_dead;

use super::directory::FilteredDir;
use super::liveness::is_pid_free;
use super::pipe::{Pipe, Progress};
use super::quota::Charge;

/// How long a pipe that was put aside keeps its name: whoever did that may be of another pid namespace, and at work.
const TOMBSTONE_GRACE: Duration = Duration::from_secs(10);

/// Removes the pipe of a hidden name if nobody can be using it; `true` if it is gone.
///
/// # Errors
/// What the system answers; then it stays.
pub(super) fn remove_orphan(source: &FilteredDir, name: &OsStr) -> io::Result<bool> {
    match Maker::of(name.as_bytes()) {
        Some(Maker::Recorder(pipe)) => remove_staged(source, name, &pipe),
        Some(Maker::Remover(pid)) if is_pid_free(pid) => remove_tombstone(source, name, SystemTime::now()),
        _ => Ok(false),
    }
}

/// A recorder holds its byte before it makes any pipe: if the byte is free while this one is held, its maker is gone.
fn remove_staged(source: &FilteredDir, name: &OsStr, pipe: &PipeName<'_>) -> io::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let judged: OwnedFd = openat(&source.dir, name, flags, Mode::empty())?;
    let node = Node::of(&judged)?;
    if !node.is_fifo || !source.allows(&node) || is_alive(&source.dir, pipe)? {
        return Ok(false);
    }
    remove_dead(&source.dir, name, &judged)
}

/// It may be a live one that was to be put back. Its recorder waits at it, which is seen as a writer, and publishes
/// anew once it is woken up.
fn remove_tombstone(source: &FilteredDir, name: &OsStr, now: SystemTime) -> io::Result<bool> {
    let Ok(mut pipe) = Pipe::open(source, name, Charge::default()) else { return Ok(false) };
    let stat = fstat(&*pipe)?;
    let changed_at = UNIX_EPOCH + Duration::from_secs(stat.st_ctime.try_into().unwrap_or(u64::MAX >> 1));
    let is_old = now.duration_since(changed_at).is_ok_and(|age| age > TOMBSTONE_GRACE);
    let is_quiet =
        is_old && matches!(pipe.read(&mut [0; 4096]), Ok(Progress::Pending)) && pipe.has_no_writer();
    if is_quiet { remove_dead(&source.dir, name, &*pipe) } else { Ok(false) }
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

    // A recorder was killed between making the successor of its pipe and giving it the name.
    #[test]
    fn a_successor_goes_once_its_recorder_is_dead_and_nothing_else_does() {
        let temp = tempfile::tempdir().unwrap();
        let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let name = format!(".{FREE_PID}.stats.new0");
        fs::write(temp.path().join(&name), "precious").unwrap();
        assert!(!remove_orphan(&source, name.as_ref()).unwrap(), "no pipe");
        fs::remove_file(temp.path().join(&name)).unwrap();
        mkfifo(&temp.path().join(&name), Mode::S_IRUSR).unwrap();
        let us = nix::unistd::Uid::effective().as_raw();
        let others = FilteredDir::open(temp.path(), &[us + 1]).unwrap().unwrap();
        assert!(!remove_orphan(&others, name.as_ref()).unwrap(), "of a user who is not allowed");
        assert!(remove_orphan(&source, name.as_ref()).unwrap());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_put_aside_a_moment_ago_stays() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        for pid in [FREE_PID, std::process::id()] {
            let name = format!(".{pid}-0.dead");
            mkfifo(&temp.path().join(&name), Mode::S_IRUSR).unwrap();
            assert!(!remove_orphan(&source, name.as_ref()).unwrap());
            assert!(temp.path().join(&name).exists());
        }
    }

    #[test]
    fn what_was_put_aside_long_ago_goes_unless_somebody_waits_at_it() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let path = temp.path().join(".7-0.dead");
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        let writer = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let later = SystemTime::now() + 2 * TOMBSTONE_GRACE;
        assert!(!remove_tombstone(&source, ".7-0.dead".as_ref(), later).unwrap());
        drop(writer);
        assert!(remove_tombstone(&source, ".7-0.dead".as_ref(), later).unwrap());
        assert!(!path.exists());
    }
}
