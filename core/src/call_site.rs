//! Entry points of the macros, with the cached index of each call site.
//!
//! Owns the state of a call site. Each call is split into a small part that is inlined at every call site and a
//! shared slow part. The crate `statvent` owns the syntax of the macros.

use crate::backend::{StoredValue, WriteOp};
use crate::names::arena::NewName;
use crate::names::name::{check_name, check_template, expand_template};
use crate::registry::Registry;
use crate::sync::{AtomicU32, Ordering};
use crate::value::{IntoValue, Value};

/// Index of the stat that one call site of a macro writes to, once it was found.
///
/// Created by the macros of the crate `statvent`. A call site belongs to one name in one registry.
#[doc(hidden)]
#[derive(Debug)]
pub struct CallSite {
    /// The index of the stat, or [`UNKNOWN`].
    idx: AtomicU32,
}

/// Above every index in every shard, and small enough not to wrap around on 32-bit targets.
const UNKNOWN: u32 = 1 << 30;

impl CallSite {
    /// Returns a call site whose stat is not known yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only macros create it, as a static")]
    pub const fn new() -> Self {
        Self { idx: AtomicU32::new(UNKNOWN) }
    }

    // Acquire pairs with the Release in `set`: a thread that increments through this call site knows that the stat
    // is marked as incremented. So does every thread that sees this increment.
    #[inline]
    fn idx(&self) -> usize {
        self.idx.load(Ordering::Acquire) as usize
    }

    fn set(&self, idx: usize) {
        // Fits: an index is at most 65535.
        self.idx.store(idx as u32, Ordering::Release);
    }
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    /// Increments, for a call site of `incr!`.
    #[doc(hidden)]
    #[inline]
    pub fn incr_at(&self, site: &CallSite, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) if self.stats.add_fast(site.idx(), value) => {}
            Ok(Value::Int(int)) => self.write_int_at(site, name, WriteOp::Add, int),
            Ok(Value::Float(float)) => self.write_float_at(site, name, WriteOp::Add, float),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Sets, for a call site of `set!`.
    #[doc(hidden)]
    #[inline]
    pub fn set_at(&self, site: &CallSite, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) if self.stats.write_fast(site.idx(), WriteOp::Set, StoredValue::from_value(value)) => {}
            Ok(Value::Int(int)) => self.write_int_at(site, name, WriteOp::Set, int),
            Ok(Value::Float(float)) => self.write_float_at(site, name, WriteOp::Set, float),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Records, for a call site of `record!`.
    #[doc(hidden)]
    #[inline]
    pub fn record_at(&self, site: &CallSite, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) if self.samples.record_fast(site.idx(), value.as_f64()) => {}
            Ok(value) => self.record_slow_at(site, name, value.as_f64()),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Receives its value in registers, which keeps call sites small and fast.
    #[cold]
    #[inline(never)]
    fn write_int_at(&self, site: &CallSite, name: &'static str, op: WriteOp, int: i64) {
        self.write_slow_at(site, name, op, StoredValue::from_value(Value::Int(int)));
    }

    #[cold]
    #[inline(never)]
    fn write_float_at(&self, site: &CallSite, name: &'static str, op: WriteOp, float: f64) {
        self.write_slow_at(site, name, op, StoredValue::from_value(Value::Float(float)));
    }

    fn write_slow_at(&self, site: &CallSite, name: &'static str, op: WriteOp, value: StoredValue) {
        let idx = site.idx();
        if idx < STATS {
            return self.stats.write(idx, op, value);
        }
        let found = self.insert_or_write(NewName::Literal(name), op, value);
        self.count_rejected(found.map(|idx| site.set(idx)));
    }

    #[cold]
    #[inline(never)]
    fn record_slow_at(&self, site: &CallSite, name: &'static str, sample: f64) {
        let idx = site.idx();
        if idx < SERIES {
            return self.samples.view().record(idx, sample);
        }
        let found = self.insert_or_record(NewName::Literal(name), sample, expand_template);
        self.count_rejected(found.map(|idx| site.set(idx)));
    }
}

/// Rejects an invalid literal name at compile time.
#[doc(hidden)]
#[must_use]
pub const fn literal_name(name: &'static str) -> &'static str {
    match check_name(name.as_bytes()) {
        Ok(()) => name,
        Err(err) => panic!("{}", err.message()),
    }
}

/// Rejects an invalid literal name of a series at compile time.
#[doc(hidden)]
#[must_use]
pub const fn literal_template(template: &'static str) -> &'static str {
    match check_template(template.as_bytes()) {
        Ok(()) => template,
        Err(err) => panic!("{}", err.message()),
    }
}
