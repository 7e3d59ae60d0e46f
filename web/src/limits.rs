//! Caps and durations of the service, each with its reason.
//!
//! Owns numbers only, no logic.

use std::time::Duration;

// Scrapes: what the processes of a host may cost.

/// The default deadline of one process.
///
/// 1 s: a live process answers within milliseconds, a busy one within one second, and clients wait longer than that.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

/// The most pipes that one scrape reads, and the most processes that a collector remembers.
///
/// 4096: far more processes than a host usually runs, and a bound on what a hostile directory costs.
pub const MAX_PIPES: usize = 4096;

/// The most bytes that one process may write in one scrape.
///
/// 4 MiB: [`MAX_STATS_PER_PROCESS`] lines of 64 bytes.
pub const MAX_BYTES_PER_PROCESS: usize = 4 << 20;

/// The most stats of one process.
///
/// 65,536: more is an error of the program, such as a stat for each user.
pub const MAX_STATS_PER_PROCESS: usize = 65_536;

/// The most memory for the snapshots of all processes after a scrape, in bytes.
///
/// 12 MiB: up to three times as much is used while new snapshots replace old ones, and the service is to take less than
/// 64 MB.
pub const MAX_TOTAL_BYTES: usize = 12 << 20;

/// The most different stat names in one answer.
///
/// 65,536: as many as one process may have; the instances of one program share their names.
pub const MAX_NAMES: usize = 65_536;

/// The most bytes that these names, escaped, and integers beyond 64 bits may take in an answer.
///
/// 8 MiB: 128 bytes for each of [`MAX_NAMES`].
pub const MAX_ANSWER_NAME_BYTES: usize = 8 << 20;

/// The most directory entries that one scrape lists.
///
/// 1,048,576: far more than [`MAX_PIPES`], and a bound on the time that a hostile directory takes.
pub(crate) const MAX_ENTRIES: usize = 1 << 20;

/// The most hidden names that one scrape checks for orphaned pipes.
///
/// 256: a recorder or sweeper leaves at most a few behind, and each costs several system calls.
pub(crate) const MAX_HIDDEN: usize = 256;

/// The bytes that one `read` asks for.
///
/// 1 MiB: the largest pipe of an ordinary user. A snapshot that was written in one piece is read in one piece, so a reader
/// that does not lock takes all of it or nothing.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// The bytes that are read only to learn whether a pipe has a writer.
///
/// 4096: one page on the stack; any positive number would do.
pub(crate) const WRITER_CHECK_BYTES: usize = 4096;

/// Processes that may be expected to answer at the same time.
///
/// 16: more of them slow each other down.
pub(crate) const N_ANSWER_SLOTS: usize = 16;

/// How long a probe keeps its answer slot.
///
/// 10 ms: a process that takes longer no longer delays the others.
pub(crate) const MAX_SLOT_TIME: Duration = Duration::from_millis(10);

/// The length of a scrape in deadlines; after that, each remaining process has only its slot time.
///
/// 2: a process whose probe begins within the first deadline has its own deadline in full.
pub(crate) const SCRAPE_DEADLINES: u32 = 2;

/// How long a process that was silent may take once it has responded.
///
/// 100 ms: it may respond in each scrape and never send a complete snapshot, so it must not cost a whole deadline.
pub(crate) const SILENT_DEADLINE: Duration = Duration::from_millis(100);

/// How long to wait for a process that is dead, or suspected to be: without a lock byte, and with a pid that no process
/// has.
///
/// 3 ms: enough for a live process of another pid namespace, and little for a hundred dead pipes.
pub(crate) const SUSPECT_TIMEOUT: Duration = Duration::from_millis(3);

/// How long a name may be missing while its writer replaces the pipe; a tenth of the deadline where that is longer.
///
/// 100 ms: a writer without a lock byte takes 1 ms on an idle machine, and one scheduler hiccup on a busy one.
pub(crate) const MISSING_TIMEOUT: Duration = Duration::from_millis(100);

/// Retries of one probe without a pause between them.
///
/// 16: a writer and a competing reader mostly need no pause; more would keep the processor busy.
pub(crate) const N_IMMEDIATE_RETRIES: u32 = 16;

/// The pause before a later retry of a probe.
///
/// 2 ms: long enough for other processes to run, short against any deadline.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// The pause before the pipe directory is opened again after the system ran out of descriptors or memory.
///
/// 2 ms: connections and other programs return descriptors at any moment.
pub(crate) const EXHAUSTED_PAUSE: Duration = Duration::from_millis(2);

/// How often a directory is listed when the collector sees it for the first time.
///
/// A writer of the original library has no name between two readers. A known process is looked for again; an unknown one
/// would be missed. 7 listings with pauses of 1, 2, 4 ... 32 ms cover 63 ms: a writer that lost its processor for a while.
pub(crate) const N_FIRST_LISTINGS: u32 = 7;

/// The first pause between these listings; each pause is twice the one before.
///
/// 1 ms: how long such a writer has no name on an idle machine.
pub(crate) const FIRST_LISTING_PAUSE: Duration = Duration::from_millis(1);

/// The first pause between two reads of a pipe without a writer, or one that another reader has locked.
///
/// 1 ms: the resolution of tokio's clock.
pub(crate) const FIRST_READ_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause while another reader has locked the pipe.
///
/// 2 ms: a reader holds the lock only for a moment.
pub(crate) const MAX_LOCKED_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause while the pipe has no writer.
///
/// 32 ms: a writer that opens the pipe ends the pause at once; only the removal of the pipe is noticed this late.
pub(crate) const MAX_NO_WRITER_PAUSE: Duration = Duration::from_millis(32);

/// Equal incomplete snapshots in a row that make a snapshot acceptable.
///
/// 3: a competing reader rarely takes the same part three times in a row.
pub(crate) const N_EQUAL_SNAPSHOTS: u32 = 3;

/// Scrapes in a row that must find neither process nor writer before a pipe without a lock byte counts as
/// abandoned.
///
/// 3: one scrape may fall into the moment between two openings of a live writer.
pub(crate) const N_ABANDONED_SCRAPES: u32 = 3;

/// The least time from the first to the last of these scrapes.
///
/// 10 s: a live writer in another pid namespace, which this check cannot see, opens its pipe sooner unless it is stopped.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(10);

/// How long a pipe keeps its tombstone name before it may be removed.
///
/// 10 s: the sweeper that renamed it may live in another pid namespace and still be at work.
pub(crate) const TOMBSTONE_GRACE: Duration = Duration::from_secs(10);

// HTTP: what clients may cost.

/// The default deadline of a client, from one answer to its next request.
///
/// 5 s: a local client needs milliseconds. It bounds how long a slow or idle client keeps a connection and a body.
pub(crate) const DEFAULT_CLIENT_DEADLINE: Duration = Duration::from_secs(5);

/// How long open connections may take after shutdown was requested.
///
/// 5 s: two scrapes take 4 s by default, and a supervisor usually kills a process only after 10 s or more.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// The first pause after a failed `accept`; each pause is twice the one before.
///
/// 5 ms: a descriptor is often returned that soon, and 200 attempts a second cost nothing.
pub(crate) const FIRST_ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause after a failed `accept`.
///
/// 1 s: a client notices no longer pause than that once descriptors are free again.
pub(crate) const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The buffer for the head of a request, in bytes.
///
/// 16 KiB: twice what most HTTP servers accept; [`MAX_CONNECTIONS`] of these take 4 MiB.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;

/// The least time that a request waits for an answer before it gets 503.
///
/// 60 s: two scrapes take 4 s by default, and slow clients can delay the second body by some more seconds.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The same in deadlines of a process, for services with a long deadline.
///
/// 5: a request waits for at most two scrapes, and each may take two deadlines; the fifth is for other work.
pub(crate) const ANSWER_TIMEOUT_DEADLINES: u32 = 5;

/// The memory for all bodies that clients have not received yet, in KiB.
///
/// 12 MiB: the largest body and 2 MiB of small ones beside it, as a part of the 64 MB that the service may take.
pub(crate) const MAX_BODIES_KIB: usize = 12 << 10;

/// The memory that is reserved before a body is encoded, in KiB.
///
/// 10 MiB: more than the largest body takes, which is 8 MiB of names and large integers, and less than 32 bytes more for
/// each of 65,536 stats.
pub(crate) const MAX_BODY_KIB: usize = 10 << 10;

/// How long a warning must be absent before it is reported again.
///
/// 60 s: a fault that comes and goes with every few scrapes is one line a minute at most.
pub(crate) const WARNING_REPEAT_AFTER: Duration = Duration::from_secs(60);

/// The most warnings that are remembered; further ones are not reported.
///
/// Twice [`MAX_PIPES`]: two for every pipe. There are more only if a writer creates new pipe names all the time.
pub(crate) const MAX_REMEMBERED_WARNINGS: usize = 2 * MAX_PIPES;

// File descriptors: how they are divided. 1024, the usual limit, is enough for all of these.

/// Descriptors that are neither connections nor pipes.
///
/// 24: standard streams, the listener, signals, two runtimes, the directory, and some to spare.
pub(crate) const N_OTHER_FDS: usize = 24;

/// The most connections at the same time.
///
/// 256: far more scrapers than one host has. Further clients wait in the listener's queue.
pub(crate) const MAX_CONNECTIONS: usize = 256;

/// The most pipes that are probed at the same time.
///
/// 384: a few of them answer at any moment; a silent one keeps its descriptor until its deadline.
pub(crate) const MAX_PROBES: usize = 384;

/// The most pipes of silent processes that stay open between two scrapes.
///
/// 256: enough for all silent processes of an ordinary host.
pub(crate) const MAX_SILENT_PIPES: usize = 256;
