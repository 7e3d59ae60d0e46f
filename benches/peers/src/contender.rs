//! One crate's way of doing one measurement's work.
//!
//! Owns what the measuring code knows of a contender: functions, and the count of calls made through them. It knows
//! no crate; those are in `peers`. Called by `peers`, which makes contenders, and by `measure` and `report`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is measured. Each is done by every contender that can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    /// Adds 1 through a handle that was found before.
    CounterHandle,
    /// Adds 1 to a counter whose name is known when compiling.
    CounterLiteral,
    /// Adds 1 to one of 200 counters by a name that is known at run time only.
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
    /// As it is called in the report's lines.
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

    /// What the figures are divided by.
    pub(crate) fn unit(self) -> &'static str {
        if self == Self::Text { "value line" } else { "call" }
    }

    /// Numbers of threads to measure with. Nobody writes two texts at once.
    pub(crate) fn n_threads(self) -> &'static [usize] {
        if self == Self::Text { &[1] } else { &[1, 2] }
    }
}

/// What a contender is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// statvent.
    Ours,
    /// Another crate.
    Peer,
    /// Another crate where a reader sees nothing until the program hands it over: shown, but never the best peer.
    ByHand,
    /// The least that the work can cost, and the figure that the report's `floor=` quotes.
    Floor,
    /// Another floor, shown only.
    OtherFloor,
}

/// What a contender's stats say after so many calls.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// What was read back.
    pub(crate) found: f64,
    /// What these calls must have led to.
    pub(crate) expected: f64,
}

/// One crate's way of doing one measurement's work.
pub(crate) struct Contender {
    /// The crate, and the variant where it has several.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is called.
    pub(crate) path: &'static str,
    /// Lines of a text; 1 where a call is the unit.
    pub(crate) units_per_call: f64,
    run: Box<dyn Fn(u64) + Send + Sync>,
    prepare: Box<dyn Fn() + Send + Sync>,
    answer: Box<dyn Fn(u64) -> Answer + Send + Sync>,
    n_calls: AtomicU64,
}

impl Contender {
    /// `run` makes as many calls as it is told, a multiple of [`BLOCK_CALLS`](crate::inputs::BLOCK_CALLS), on any
    /// number of threads at once; `answer` says what must have come of all calls so far.
    pub(crate) fn new(
        kind: Kind,
        name: &'static str,
        path: &'static str,
        run: impl Fn(u64) + Send + Sync + 'static,
        answer: impl Fn(u64) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            kind,
            path,
            units_per_call: 1.0,
            run: Box::new(run),
            prepare: Box::new(|| ()),
            answer: Box::new(answer),
            n_calls: AtomicU64::new(0),
        }
    }

    /// As [`new`](Self::new), for those who count: `count` must be the number of calls.
    pub(crate) fn counting(
        kind: Kind,
        name: &'static str,
        path: &'static str,
        run: impl Fn(u64) + Send + Sync + 'static,
        count: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self::new(kind, name, path, run, move |n_calls| Answer { found: count(), expected: n_calls as f64 })
    }

    /// Gives it something to do before each batch of calls, outside of the measured time.
    pub(crate) fn prepared_by(mut self, prepare: impl Fn() + Send + Sync + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// Says that a call does the work of so many units.
    pub(crate) fn with_units(mut self, units_per_call: f64) -> Self {
        self.units_per_call = units_per_call;
        self
    }

    /// Makes everything ready for a batch of calls.
    pub(crate) fn prepare(&self) {
        (self.prepare)();
    }

    /// Makes calls.
    #[inline]
    pub(crate) fn run(&self, n_calls: u64) {
        (self.run)(n_calls);
        self.n_calls.fetch_add(n_calls, Ordering::Relaxed);
    }

    /// What its stats say now, and what they ought to say after all calls that were made.
    pub(crate) fn answer(&self) -> Answer {
        (self.answer)(self.n_calls.load(Ordering::Relaxed))
    }
}
