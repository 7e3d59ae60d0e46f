//! Caps and durations of the subcommands, each with its reason.
//!
//! Owns the numbers of the binary; those of the service are in the library's `limits`.

use std::time::Duration;

/// The longest value of `--deadline`.
///
/// 60 s: clients and scrapers give up sooner. Most values meant in milliseconds are noticed.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// The warnings that may wait for standard error; further ones are dropped.
///
/// 4096: one for every pipe that a scrape reads.
pub(crate) const MAX_QUEUED_WARNINGS: usize = statvent_web::limits::MAX_PIPES;

/// Allocations of at least this size, in bytes, are mapped one by one and returned to the system when they are freed.
///
/// 64 KiB: bodies and the snapshots of large processes are above it, and go back to the system.
pub(crate) const MIN_MAPPED_BYTES: i32 = 64 << 10;

/// The bytes that the bridge reads at once.
///
/// 4096: as much as a terminal of Linux buffers.
pub(crate) const BRIDGE_CHUNK_BYTES: usize = 4096;

/// The number of processes of a demo if the command line gives none.
///
/// 3: the fewest for which a sum is visibly not the value of one or two processes.
pub(crate) const DEFAULT_DEMO_WORKERS: u16 = 3;

/// The most processes of a demo.
///
/// 64: enough to try anything, and a mistyped number does not fill the host.
pub(crate) const MAX_DEMO_WORKERS: u16 = 64;

/// How long a process of the demo may take to publish.
///
/// 60 s: 64 processes that start at once on a busy machine.
pub(crate) const DEMO_START_DEADLINE: Duration = Duration::from_secs(60);

/// How long the demo waits for its processes to end before it kills them.
///
/// 10 s: they need milliseconds, and a killed process leaves its pipe behind.
pub(crate) const DEMO_END_DEADLINE: Duration = Duration::from_secs(10);

/// The pause between two rounds of example requests, in milliseconds.
///
/// 50 ms: a second request for the stats, typed by hand, shows other numbers; the processor stays idle.
pub(crate) const DEMO_TICK_MS: u8 = 50;
