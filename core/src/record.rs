//! From a name to the number of its stat or series, and writing there.
//!
//! Owns the way of every call by name once its value is known: find, or check and register, then write. The public calls
//! are `registry`'s; what is kept of a stat or a series is `backend`'s.

use crate::arena::NewName;
use crate::backend::{Change, Stored};
use crate::directory::{Found, Full};
use crate::error::RecordError;
use crate::name::{FormatName, NameBuf, check_name, check_template, expand_template};
use crate::registry::Registry;
use crate::series::MEAN_LABEL;
use crate::sync::Ordering;

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    pub(crate) fn count_rejected<E>(&self, result: Result<(), E>) {
        if result.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Always inlined, because half of it is left once the kinds of change and value are known.
    #[inline(always)]
    pub(crate) fn write(&self, name: &[u8], change: Change, value: Stored) -> Result<(), RecordError> {
        match self.stat_names.guess(name, &self.arena) {
            Some(idx) => {
                self.stats.write(idx, change, value);
                Ok(())
            }
            None => self.insert_or_write(NewName::Borrowed(name), change, value).map(drop),
        }
    }

    /// Finds or registers the stat and writes: to a new one before it is published.
    #[cold]
    #[inline(never)]
    pub(crate) fn insert_or_write(
        &self,
        name: NewName<'_>,
        change: Change,
        value: Stored,
    ) -> Result<usize, RecordError> {
        let found = self.find_or_insert_stat(name, change, value)?;
        if let Found::Known(idx) = found {
            self.stats.write(idx, change, value);
        }
        Ok(found.idx())
    }

    /// Finds the stat, or registers it with its first value.
    pub(crate) fn find_or_insert_stat(
        &self,
        name: NewName<'_>,
        change: Change,
        first: Stored,
    ) -> Result<Found, RecordError> {
        let bytes = name.bytes();
        let vacant = match self.stat_names.find(bytes, &self.arena) {
            Ok(idx) => return Ok(Found::Known(idx)),
            Err(vacant) => vacant,
        };
        check_name(bytes)?;
        let init = |idx| {
            if let Some(stat) = self.stats.stat(idx) {
                stat.init(change, first);
            }
        };
        let full = RecordError::StatsFull { capacity: STATS };
        self.stat_names
            .insert(vacant, name, &self.arena, init)
            .map_err(|what| refusal(what, full, name, NAME_BYTES))
    }

    #[inline]
    pub(crate) fn record_named(
        &self,
        name: &[u8],
        sample: f64,
        format: FormatName,
    ) -> Result<(), RecordError> {
        match self.series_names.guess(name, &self.arena) {
            Some(idx) => {
                self.samples.record(idx, sample);
                Ok(())
            }
            None => self.insert_or_record(NewName::Borrowed(name), sample, format).map(drop),
        }
    }

    /// Finds or registers the series and records: into a new one before it is published.
    #[cold]
    #[inline(never)]
    pub(crate) fn insert_or_record(
        &self,
        name: NewName<'_>,
        sample: f64,
        format: FormatName,
    ) -> Result<usize, RecordError> {
        let found = self.find_or_insert_series(name, format, Some(sample))?;
        if let Found::Known(idx) = found {
            self.samples.record(idx, sample);
        }
        Ok(found.idx())
    }

    /// Finds the series, or registers it with its first sample, if there is one by now.
    pub(crate) fn find_or_insert_series(
        &self,
        name: NewName<'_>,
        format: FormatName,
        first: Option<f64>,
    ) -> Result<Found, RecordError> {
        let bytes = name.bytes();
        let vacant = match self.series_names.find(bytes, &self.arena) {
            Ok(idx) => return Ok(Found::Known(idx)),
            Err(vacant) => vacant,
        };
        if core::ptr::fn_addr_eq(format, expand_template as FormatName) {
            check_template(bytes)?;
        } else {
            check_name(bytes)?;
        }
        for label in self.quantiles().iter().map(|(_, label)| *label).chain([MEAN_LABEL]) {
            let mut expanded = NameBuf::new();
            format(bytes, label, &mut expanded);
            expanded.finish()?;
        }
        let init = |idx| {
            // Has the index of the series, because this is called for one after the other.
            self.formats.append(|formats| formats.push_all(&[format]));
            if let Some(sample) = first {
                self.samples.init(idx, sample);
            }
        };
        let full = RecordError::SeriesFull { capacity: SERIES };
        self.series_names
            .insert(vacant, name, &self.arena, init)
            .map_err(|what| refusal(what, full, name, NAME_BYTES))
    }
}

#[cold]
fn refusal(full: Full, no_slot: RecordError, name: NewName<'_>, capacity: usize) -> RecordError {
    match full {
        Full::Slots => no_slot,
        Full::NameBytes => RecordError::NameBytesFull { capacity, needed: name.bytes().len() },
    }
}
