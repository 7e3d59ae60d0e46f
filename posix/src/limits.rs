//! Durations and caps of the crate, each with the reason for its value.
//!
//! Owns every limit that could be another number. Limits that are part of a format stay with that format: the length of a
//! label in `pipe::name`, the bits of a lock byte's offset in `liveness`.

use std::os::fd::RawFd;
use std::time::Duration;

/// The most names that one listing of a pipe directory returns. It bounds the memory that a hostile directory can cost: 18 MB
/// with names of 255 bytes.
pub const MAX_LISTED_NAMES: usize = 65_536;

// Recorder

/// Default time between two health checks. 10 s: a check costs a few system calls, and a missing pipe is rare.
pub(crate) const DEFAULT_HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Shortest time between two health checks. 100 ms: ten wake-ups a second. More are not worth it for a pipe that is
/// hardly ever removed.
pub(crate) const MIN_HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Default time for the write of a whole snapshot. 1 s: all later readers wait for a reader that is slower.
pub(crate) const DEFAULT_WRITE_DEADLINE: Duration = Duration::from_secs(1);

/// Time between two checks for a reader, used if no system call can wait for one. 20 ms: 50 checks a second. They cost a few
/// percent of a processor.
pub(crate) const READER_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Grace period for readers racing a swap, between looking up the name and opening the pipe. 20 ms: several scheduler ticks.
pub(crate) const READER_GRACE: Duration = Duration::from_millis(20);

/// Retired pipes that are kept until the next health check. 32: each costs a descriptor. With [`READER_GRACE`] it allows 1600
/// swaps a second.
pub(crate) const MAX_RETIRED_PIPES: usize = 32;

/// Attempts to wake the serving thread at the end. 7: about a second in total, with the back-off between them.
pub(crate) const MAX_WAKE_ATTEMPTS: usize = 7;

/// Length of an outage before it is logged. 1 s: a failure that ends sooner is not worth a log line.
pub(crate) const REPORT_AFTER: Duration = Duration::from_secs(1);

/// First size of the snapshot buffer. 64 KiB: what a pipe of Linux holds by default.
pub(crate) const INITIAL_SNAPSHOT_BYTES: usize = 64 * 1024;

// Pipe

/// Staging names that are tried. The first may belong to a file that we must not remove; the others are random, so that
/// another user cannot take them in advance.
pub(crate) const MAX_STAGING_NAMES: usize = 16;

/// Tombstone names that are tried. The first may be taken by a process of equal pid in another pid namespace, or by a user
/// who wants the pipe to stay; the others are random.
pub(crate) const MAX_TOMBSTONE_NAMES: usize = 8;

/// How often a write that waits for its reader checks for shutdown. 20 ms: not noticed at the end of a process.
pub(crate) const SHUTDOWN_POLL_MILLIS: u8 = 20;

// Process

/// Recorders of a process whose pipes are removed at a fatal signal. 64: a table of fixed size, because a signal handler must
/// not allocate. Pipes of further recorders stay until a sweeper removes them.
pub(crate) const MAX_CLEANUP_SLOTS: usize = 64;

/// Bytes for a pipe's name in the cleanup table. The longest name (label, pid, instance) has 87 bytes and a zero byte at its
/// end.
pub(crate) const CLEANUP_NAME_BYTES: usize = 96;

/// How long the signal handler waits for changes in progress. 200 ms: longer than they take, unless the file system blocks.
pub(crate) const HANDLER_WAIT_MILLIS: u32 = 200;

/// How long a change waits while a signal ends the process. 10 s: the process has ended long before, or a debugger prevents
/// it.
pub(crate) const CHANGE_WAIT_MILLIS: u32 = 10_000;

// System

/// First delay of a back-off. 10 ms: long enough for other threads to run, short for a reader.
pub(crate) const MIN_BACK_OFF: Duration = Duration::from_millis(10);

/// Longest delay of a back-off. 10 s: as often as the health check by default.
pub(crate) const MAX_BACK_OFF: Duration = DEFAULT_HEALTH_CHECK_INTERVAL;

/// Descriptor numbers that are checked where `/proc` does not give the size of the table. 65 536: far above the usual soft
/// limit of 1024 open files.
pub(crate) const FALLBACK_FD_TABLE_SIZE: RawFd = 1 << 16;
