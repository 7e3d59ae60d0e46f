//! Notices at once when somebody takes the pipe or its directory away.
//!
//! Owns the inotify instance and what it says where there is none to be had. It watches the pipe itself, so that no
//! other process of the host wakes this one up. What is mended, and how, is `publication`'s. Called by `upkeep`.

use crate::descriptor::MORE_DESCRIPTORS;
use crate::fork::NotInherited;
use crate::stop::Stop;
use crate::trouble::say;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// How often events are fetched before a new watch. More come while the pipe is being taken away without end.
const MAX_FETCHES: usize = 16;

/// A watch over one pipe and its directory, or the lack of one.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    inotify: Option<NotInherited<Inotify>>,
    /// Whether it was said that there is none.
    is_told: bool,
}

impl Watch {
    /// Watches the pipe at this path and its directory from now on, until the first event; `false` if nothing is there.
    ///
    /// Where the system refuses it tells so once, and tries again with every call.
    pub(crate) fn begin(&mut self, pipe: &Path) -> bool {
        let refused = match self.try_begin(pipe) {
            Ok(()) => return true,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return false,
            Err(refused) => refused,
        };
        self.inotify = None;
        if !std::mem::replace(&mut self.is_told, true) {
            say(&format!(
                "{} cannot be watched, so that it is mended at the next upkeep instead of at once; {}: {}",
                pipe.display(),
                advice(refused),
                std::io::Error::from(refused)
            ));
        }
        true
    }

    /// Waits for an event, at most so long, or for the word to stop.
    pub(crate) fn wait(&self, stop: &Stop, at_most: Duration) {
        match &self.inotify {
            Some(inotify) => {
                stop.wait_readable(inotify.as_fd(), at_most);
            }
            None => {
                stop.wait(at_most);
            }
        }
    }

    fn try_begin(&mut self, pipe: &Path) -> nix::Result<()> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => NotInherited::open(|| Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))?,
        };
        let inotify = self.inotify.insert(inotify);
        for _ in 0..MAX_FETCHES {
            if inotify.read_events().is_err() {
                break;
            }
        }
        // A watch ends with its first event, so that those of pipes and directories that are gone do not pile up.
        let once = AddWatchFlags::IN_ONESHOT | AddWatchFlags::IN_DONT_FOLLOW;
        if let Some(dir) = pipe.parent() {
            let moves = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
            inotify.add_watch(dir, moves | AddWatchFlags::IN_ONLYDIR | once)?;
        }
        // A removal changes the number of its names, which is one of its attributes.
        inotify.add_watch(pipe, AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVE_SELF | once)?;
        Ok(())
    }
}

/// Says what to do about a refusal.
fn advice(refused: Errno) -> &'static str {
    match refused {
        // Means the user's instances as well as the process's descriptors.
        Errno::EMFILE if can_open() => "raise fs.inotify.max_user_instances",
        Errno::EMFILE | Errno::ENFILE => MORE_DESCRIPTORS,
        Errno::ENOSPC => "raise fs.inotify.max_user_watches",
        _ => "see to it that the pipe directory can be watched",
    }
}

/// Says whether this process may open one more file.
fn can_open() -> bool {
    NotInherited::open(|| EventFd::from_flags(EfdFlags::EFD_CLOEXEC)).is_ok()
}
