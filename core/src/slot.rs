//! From a name to its slot, and writing there: in the thread's own shard where it has one.
//!
//! Owns the way of every call once its value is known: find, or check and register, then write. The public calls are
//! `registry`'s and `handle`'s; what a slot holds is `cell`'s, `shard`'s and `own_ring`'s.

use crate::arena::NewName;
use crate::cell::{Stat, Stored};
use crate::directory::{Found, Full};
use crate::error::RecordError;
use crate::name::{FormatName, NameBuf, check_name, check_template, expand_template};
use crate::name_cache::Key;
use crate::registry::Registry;
use crate::ring::SampleRing;
use crate::series::MEAN_LABEL;
use crate::sync::Ordering;
use crate::thread_number;

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    pub(crate) fn count_rejected<E>(&self, result: Result<(), E>) {
        if result.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the stat of a number that was found here: for others there is none, and nothing panics.
    #[inline]
    pub(crate) fn stat_at(&self, idx: usize) -> Option<Stat<'_>> {
        // One comparison for both.
        if idx >= STATS {
            return None;
        }
        Some(Stat { cell: &self.cells[idx], mode: &self.modes[idx], column: self.shards.view().column(idx) })
    }

    #[inline]
    pub(crate) fn add_idx(&self, idx: usize, value: Stored) {
        if !self.stat_at(idx).is_some_and(|stat| stat.add_quickly(value)) {
            self.add_idx_slowly(idx, value);
        }
    }

    #[cold]
    fn add_idx_slowly(&self, idx: usize, value: Stored) {
        if let Some(stat) = self.stat_at(idx) {
            stat.add_slowly(value);
        }
    }

    #[inline]
    pub(crate) fn set_idx(&self, idx: usize, value: Stored) {
        if !self.stat_at(idx).is_some_and(|stat| stat.set_quickly(value)) {
            self.set_idx_slowly(idx, value);
        }
    }

    #[cold]
    fn set_idx_slowly(&self, idx: usize, value: Stored) {
        if let Some(stat) = self.stat_at(idx) {
            stat.set_slowly(value);
        }
    }

    /// Adds a sample to a series that was found: in the thread's ring, or else in the window.
    #[inline]
    pub(crate) fn record_idx(&self, idx: usize, sample: f64) {
        match self.own_rings.own(idx) {
            Some(ring) => ring.record(sample),
            None => {
                if let Some(window) = self.rings.get(idx) {
                    record_slowly(window, sample, SHARDS > 0);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn add(&self, name: &[u8], value: Stored) -> Result<(), RecordError> {
        let key = Key::of(name);
        match self.remembered_stat(name, key) {
            Some(idx) => {
                self.add_idx(idx, value);
                Ok(())
            }
            None => self.add_and_remember(name, key, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn add_and_remember(&self, name: &[u8], key: Key, value: Stored) -> Result<(), RecordError> {
        self.stat_names.remember(key, self.add_first(NewName::Borrowed(name), value)?);
        Ok(())
    }

    #[inline]
    pub(crate) fn assign(&self, name: &[u8], value: Stored) -> Result<(), RecordError> {
        let key = Key::of(name);
        match self.remembered_stat(name, key) {
            Some(idx) => {
                self.set_idx(idx, value);
                Ok(())
            }
            None => self.assign_and_remember(name, key, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn assign_and_remember(&self, name: &[u8], key: Key, value: Stored) -> Result<(), RecordError> {
        self.stat_names.remember(key, self.assign_first(NewName::Borrowed(name), value)?);
        Ok(())
    }

    /// Finds a stat that this thread used lately, without a lock.
    #[inline]
    fn remembered_stat(&self, name: &[u8], key: Key) -> Option<usize> {
        self.stat_names.find(key, name, |idx| self.stats.name_at(idx, &self.arena))
    }

    /// Finds a stat, to be read.
    pub(crate) fn find_stat(&self, name: &[u8]) -> Option<usize> {
        let key = Key::of(name);
        self.remembered_stat(name, key).or_else(|| {
            let idx = self.stats.find(name, &self.arena)?;
            self.stat_names.remember(key, idx);
            Some(idx)
        })
    }

    /// Finds or registers the stat and adds: to a new one before anybody can see it.
    #[cold]
    pub(crate) fn add_first(&self, name: NewName<'_>, value: Stored) -> Result<usize, RecordError> {
        self.write_first(name, value, |stat, value| stat.add_shared(value), |stat, value| stat.add(value))
    }

    /// Finds or registers the stat and sets it: a new one before anybody can see it.
    #[cold]
    pub(crate) fn assign_first(&self, name: NewName<'_>, value: Stored) -> Result<usize, RecordError> {
        self.write_first(name, value, |stat, value| stat.set(value), |stat, value| stat.set(value))
    }

    /// Takes functions that know nothing of their surroundings, so that it is compiled once.
    fn write_first(
        &self,
        name: NewName<'_>,
        value: Stored,
        to_new: fn(Stat<'_>, Stored),
        to_known: fn(Stat<'_>, Stored),
    ) -> Result<usize, RecordError> {
        let write_at = |idx, write: fn(Stat<'_>, Stored)| {
            if let Some(stat) = self.stat_at(idx) {
                write(stat, value);
            }
        };
        let found = self.stat(name, |idx| write_at(idx, to_new))?;
        if let Found::Known(idx) = found {
            write_at(idx, to_known);
        }
        Ok(found.idx())
    }

    pub(crate) fn stat(&self, name: NewName<'_>, prepare: impl FnOnce(usize)) -> Result<Found, RecordError> {
        let bytes = name.bytes();
        if let Some(idx) = self.stats.find(bytes, &self.arena) {
            return Ok(Found::Known(idx));
        }
        check_name(bytes)?;
        self.stats.find_or_insert(name, (), &self.arena, prepare).map_err(|full| match full {
            Full::Slots => RecordError::StatsFull { capacity: STATS },
            Full::NameBytes => name_bytes_full(NAME_BYTES, bytes),
        })
    }

    #[inline]
    pub(crate) fn record_named(
        &self,
        name: &[u8],
        sample: f64,
        format: FormatName,
    ) -> Result<(), RecordError> {
        let key = Key::of(name);
        let known = self.series_names.find(key, name, |idx| self.series.name_at(idx, &self.arena));
        if let Some(idx) = known {
            self.record_idx(idx, sample);
            return Ok(());
        }
        self.record_and_remember(name, key, sample, format)
    }

    #[cold]
    #[inline(never)]
    fn record_and_remember(
        &self,
        name: &[u8],
        key: Key,
        sample: f64,
        format: FormatName,
    ) -> Result<(), RecordError> {
        self.series_names.remember(key, self.sample(NewName::Borrowed(name), sample, format)?);
        Ok(())
    }

    /// Finds or registers the series and records: into a new one before anybody can see it.
    pub(crate) fn sample(
        &self,
        name: NewName<'_>,
        sample: f64,
        format: FormatName,
    ) -> Result<usize, RecordError> {
        let prepare = |idx: usize| {
            if let Some(window) = self.rings.get(idx) {
                window.record(sample);
            }
        };
        match self.any_series(name, format, prepare)? {
            Found::Known(idx) => {
                self.record_idx(idx, sample);
                Ok(idx)
            }
            Found::New(idx) => Ok(idx),
        }
    }

    pub(crate) fn any_series(
        &self,
        name: NewName<'_>,
        format: FormatName,
        prepare: impl FnOnce(usize),
    ) -> Result<Found, RecordError> {
        let bytes = name.bytes();
        if let Some(idx) = self.series.find(bytes, &self.arena) {
            return Ok(Found::Known(idx));
        }
        if core::ptr::fn_addr_eq(format, expand_template as FormatName) {
            check_template(bytes)?;
        } else {
            check_name(bytes)?;
        }
        self.check_expansions(bytes, format)?;
        self.series.find_or_insert(name, format, &self.arena, prepare).map_err(|full| match full {
            Full::Slots => RecordError::SeriesFull { capacity: SERIES },
            Full::NameBytes => name_bytes_full(NAME_BYTES, bytes),
        })
    }

    fn check_expansions(&self, name: &[u8], format: FormatName) -> Result<(), RecordError> {
        for label in self.quantiles().iter().map(|(_, label)| *label).chain([MEAN_LABEL]) {
            let mut expanded = NameBuf::new();
            format(name, label, &mut expanded);
            expanded.finish()?;
        }
        Ok(())
    }
}

#[cold]
pub(crate) fn record_slowly(window: &SampleRing, sample: f64, has_shards: bool) {
    if has_shards {
        thread_number::take();
    }
    window.record(sample);
}

#[cold]
fn name_bytes_full(capacity: usize, name: &[u8]) -> RecordError {
    RecordError::NameBytesFull { capacity, needed: name.len() }
}
