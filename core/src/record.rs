//! From a name to the number of its stat or series, and writing there.
//!
//! Owns the way of every call by name once its value is known: find, or check and register, then write. The public calls
//! are `registry`'s; what is kept of a stat or a series is `backend`'s.

use crate::arena::NewName;
use crate::backend::{Change, Stored};
use crate::directory::{Directory, Found, Full};
use crate::error::RecordError;
use crate::name::{FormatName, NameBuf, NameError, check_name, check_template, expand_template};
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
        let full = RecordError::StatsFull { capacity: STATS };
        self.find_or_insert(&self.stat_names, name, full, check_name, |idx| {
            if let Some(stat) = self.stats.stat(idx) {
                stat.init(change, first);
            }
        })
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
                self.samples.view().record(idx, sample);
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
            self.samples.view().record(idx, sample);
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
        let check = |name: &[u8]| {
            if core::ptr::fn_addr_eq(format, expand_template as FormatName) {
                check_template(name)?;
            } else {
                check_name(name)?;
            }
            for label in self.quantiles().iter().map(|(_, label)| *label).chain([MEAN_LABEL]) {
                let mut expanded = NameBuf::new();
                format(name, label, &mut expanded);
                expanded.finish()?;
            }
            Ok(())
        };
        let full = RecordError::SeriesFull { capacity: SERIES };
        self.find_or_insert(&self.series_names, name, full, check, |idx| {
            // Has the index of the series, because this is called for one after the other.
            self.formats.append(|formats| formats.push_all(&[format]));
            if let Some(sample) = first {
                self.samples.view().init(idx, sample);
            }
        })
    }

    /// Finds the name, or checks it and registers it; `init` is called for a new one before it is published.
    fn find_or_insert<const N: usize>(
        &self,
        names: &Directory<N>,
        name: NewName<'_>,
        full: RecordError,
        check: impl FnOnce(&[u8]) -> Result<(), NameError>,
        init: impl FnOnce(usize),
    ) -> Result<Found, RecordError> {
        let vacant = match names.find(name.bytes(), &self.arena) {
            Ok(idx) => return Ok(Found::Known(idx)),
            Err(vacant) => vacant,
        };
        check(name.bytes())?;
        names.insert(vacant, name, &self.arena, init).map_err(|what| match what {
            Full::Slots => full,
            Full::NameBytes => {
                RecordError::NameBytesFull { capacity: NAME_BYTES, needed: name.bytes().len() }
            }
        })
    }
}
