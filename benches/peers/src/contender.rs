//! A contender: one crate's implementation of one measurement.
//!
//! Owns the interface between the measuring code and the crates: functions, and the number of calls that were made. It
//! must not depend on a crate: those are in `peers`.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of work that are measured. A crate may lack some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    /// Adds 1 through an existing handle.
    CounterHandle,
    /// Adds 1 to a counter whose name is known at compile time.
    CounterLiteral,
    /// Adds 1 to one of 200 counters by a name that is known only at run time.
    CounterRunTime,
    /// Adds a sample to one series, histogram or summary.
    Sample,
    /// Sets one gauge.
    Set,
    /// Writes 1000 counters and 20 series with 100 fresh samples each as text.
    Text,
}

/// All measurements, in the order of the report.
pub(crate) const MEASUREMENTS: [Measurement; 6] = [
    Measurement::CounterHandle,
    Measurement::CounterLiteral,
    Measurement::CounterRunTime,
    Measurement::Sample,
    Measurement::Set,
    Measurement::Text,
];

impl Measurement {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CounterHandle => "counter_handle",
            Self::CounterLiteral => "counter_literal",
            Self::CounterRunTime => "counter_run_time",
            Self::Sample => "sample",
            Self::Set => "set",
            Self::Text => "text_line",
        }
    }

    /// The unit of its times.
    pub(crate) fn unit(self) -> &'static str {
        if self == Self::Text { "value line" } else { "call" }
    }

    /// Numbers of threads to measure with. A text is always written by one thread.
    pub(crate) fn n_threads(self) -> &'static [usize] {
        if self == Self::Text { &[1] } else { &[1, 2] }
    }
}

/// The role of a contender in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// statvent.
    Ours,
    /// Another crate.
    Peer,
    /// Another crate whose counts readers see only after the program flushes them. Shown, but never the best peer.
    ManualFlush,
    /// The lower bound of the cost, which the report prints as `floor=`.
    Floor,
    /// Another lower bound, which is only shown.
    OtherFloor,
}

/// The value of a contender's stats after its calls, and the right value.
#[derive(Debug, PartialEq)]
pub(crate) struct ReadBack {
    /// The value that was read back.
    pub(crate) found: f64,
    /// The value that the calls must have produced.
    pub(crate) expected: f64,
}

/// One crate's implementation of one measurement.
pub(crate) struct Contender {
    /// The crate, and the variant if it has several.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The call, as the report shows it.
    pub(crate) path: &'static str,
    /// Value lines per text; 1 if the unit is a call.
    pub(crate) units_per_call: f64,
    run: Box<dyn Fn(u64) + Send + Sync>,
    prepare: Box<dyn Fn() + Send + Sync>,
    read_back: Box<dyn Fn(u64) -> ReadBack + Send + Sync>,
    n_calls: AtomicU64,
}

/// A crate's contenders for a measurement, or the reason why it has none.
pub(crate) type Contenders = Result<Vec<Contender>, &'static str>;

impl Contender {
    /// `run` makes the given number of calls, a multiple of [`BLOCK_CALLS`](crate::inputs::BLOCK_CALLS), on any number
    /// of concurrent threads. `read_back` gets the number of all calls so far.
    pub(crate) fn new(
        kind: Kind,
        name: &'static str,
        path: &'static str,
        run: impl Fn(u64) + Send + Sync + 'static,
        read_back: impl Fn(u64) -> ReadBack + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            kind,
            path,
            units_per_call: 1.0,
            run: Box::new(run),
            prepare: Box::new(|| ()),
            read_back: Box::new(read_back),
            n_calls: AtomicU64::new(0),
        }
    }

    /// Like [`new`](Self::new), for counters: `count` must return the number of calls.
    pub(crate) fn counting(
        kind: Kind,
        name: &'static str,
        path: &'static str,
        run: impl Fn(u64) + Send + Sync + 'static,
        count: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self::new(kind, name, path, run, move |n_calls| ReadBack { found: count(), expected: n_calls as f64 })
    }

    /// Adds work before each batch of calls, outside of the measured time.
    pub(crate) fn prepared_by(mut self, prepare: impl Fn() + Send + Sync + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// Sets the number of units that one call does.
    pub(crate) fn with_units(mut self, units_per_call: f64) -> Self {
        self.units_per_call = units_per_call;
        self
    }

    /// Does the work before a batch of calls.
    pub(crate) fn prepare(&self) {
        (self.prepare)();
    }

    /// Makes `n_calls` calls and counts them.
    #[inline]
    pub(crate) fn run(&self, n_calls: u64) {
        (self.run)(n_calls);
        self.n_calls.fetch_add(n_calls, Ordering::Relaxed);
    }

    /// Reads its stats back, and the value that all calls so far must have produced.
    pub(crate) fn read_back(&self) -> ReadBack {
        (self.read_back)(self.n_calls.load(Ordering::Relaxed))
    }
}
