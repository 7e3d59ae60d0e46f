//! The calls of the macros: what a call site knows of its stat, and the shortest way there.
//!
//! Owns the state of a site and the split of each call into a part for every call site and one for all of them. The
//! grammar of the macros is the crate `statvent`'s.

use crate::backend::{StoredValue, WriteOp};
use crate::names::arena::NewName;
use crate::names::name::{check_name, check_template, expand_template};
use crate::registry::Registry;
use crate::sync::{AtomicU32, Ordering};
use crate::value::{IntoValue, Value};

/// What one call site of a macro knows: the idx of its stat, once it was found.
///
/// Made by the macros of the crate `statvent`. A site belongs to one name in one registry.
#[doc(hidden)]
#[derive(Debug)]
pub struct CallSite {
    /// The stat's idx; while it is unknown, one that no stat has.
    idx: AtomicU32,
}

/// More than any idx of a stat in any shard, and far from wrapping around where pointers have 32 bits.
const UNKNOWN: u32 = 1 << 30;

impl CallSite {
    /// Returns a site that knows nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a site is a static, made by a macro")]
    pub const fn new() -> Self {
        Self { idx: AtomicU32::new(UNKNOWN) }
    }

    // Acquire pairs with the Release in `set`: a thread that increments by this site knows that the stat is one that is
    // incremented, and so does every thread that knows of that increment.
    #[inline]
    fn idx(&self) -> usize {
        self.idx.load(Ordering::Acquire) as usize
    }

    fn set(&self, idx: usize) {
        // Fits: no container holds more than 65536.
        self.idx.store(idx as u32, Ordering::Release);
    }
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    /// Increments by a call site of `incr!`.
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

    /// Sets by a call site of `set!`.
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

    /// Records by a call site of `record!`.
    #[doc(hidden)]
    #[inline]
    pub fn record_at(&self, site: &CallSite, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) if self.samples.record_fast(site.idx(), value.as_f64()) => {}
            Ok(value) => self.record_slow_at(site, name, value.as_f64()),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Takes its value in registers, which keeps the call sites small and quick.
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

/// Refuses a bad literal name when compiling.
#[doc(hidden)]
#[must_use]
pub const fn literal_name(name: &'static str) -> &'static str {
    match check_name(name.as_bytes()) {
        Ok(()) => name,
        Err(err) => panic!("{}", err.message()),
    }
}

/// Refuses a bad literal name of a series when compiling.
#[doc(hidden)]
#[must_use]
pub const fn literal_template(template: &'static str) -> &'static str {
    match check_template(template.as_bytes()) {
        Ok(()) => template,
        Err(err) => panic!("{}", err.message()),
    }
}
