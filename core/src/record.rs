//! Recording by name: find or register the name, then write.
//!
//! Owns this path of every call by name, from the checked value on. `registry` owns the public calls, `backend` the
//! stored values.

use crate::backend::{StoredValue, WriteOp};
use crate::error::RecordError;
use crate::names::arena::NewName;
use crate::names::directory::{Directory, Full, Registered};
use crate::names::name::{FormatName, NameBuf, NameError, check_name, check_template, expand_template};
use crate::quantiles::MEAN_LABEL;
use crate::registry::Registry;
use crate::sync::Ordering;

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    pub(crate) fn count_rejected<E>(&self, result: Result<(), E>) {
        if result.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Always inlined: with the operation and the kind of value known at compile time, half of the code is removed.
    #[inline(always)]
    pub(crate) fn write_by_name(
        &self,
        name: &[u8],
        op: WriteOp,
        value: StoredValue,
    ) -> Result<(), RecordError> {
        match self.stat_names.find_fast(name, &self.arena) {
            Some(idx) => {
                self.stats.write(idx, op, value);
                Ok(())
            }
            None => self.insert_or_write(NewName::Borrowed(name), op, value).map(drop),
        }
    }

    /// Finds or registers the stat, then writes. A new stat is written before its name is published.
    #[cold]
    #[inline(never)]
    pub(crate) fn insert_or_write(
        &self,
        name: NewName<'_>,
        op: WriteOp,
        value: StoredValue,
    ) -> Result<usize, RecordError> {
        let found = self.find_or_insert_stat(name, op, value)?;
        if let Registered::Existing(idx) = found {
            self.stats.write(idx, op, value);
        }
        Ok(found.idx())
    }

    /// Finds the stat, or registers it with its first value.
    pub(crate) fn find_or_insert_stat(
        &self,
        name: NewName<'_>,
        op: WriteOp,
        first: StoredValue,
    ) -> Result<Registered, RecordError> {
        let full = RecordError::StatsFull { capacity: STATS };
        self.find_or_insert(&self.stat_names, name, full, check_name, |idx| {
            if let Some(stat) = self.stats.stat(idx) {
                stat.init(op, first);
            }
        })
    }

    #[inline]
    pub(crate) fn record_by_name(
        &self,
        name: &[u8],
        sample: f64,
        format: FormatName,
    ) -> Result<(), RecordError> {
        match self.series_names.find_fast(name, &self.arena) {
            Some(idx) => {
                self.samples.view().record(idx, sample);
                Ok(())
            }
            None => self.insert_or_record(NewName::Borrowed(name), sample, format).map(drop),
        }
    }

    /// Finds or registers the series, then records. A new series gets its sample before its name is published.
    #[cold]
    #[inline(never)]
    pub(crate) fn insert_or_record(
        &self,
        name: NewName<'_>,
        sample: f64,
        format: FormatName,
    ) -> Result<usize, RecordError> {
        let found = self.find_or_insert_series(name, format, Some(sample))?;
        if let Registered::Existing(idx) = found {
            self.samples.view().record(idx, sample);
        }
        Ok(found.idx())
    }

    /// Finds the series, or registers it, with a first sample if there is one.
    pub(crate) fn find_or_insert_series(
        &self,
        name: NewName<'_>,
        format: FormatName,
        first: Option<f64>,
    ) -> Result<Registered, RecordError> {
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
            // The format gets the index of the series, because registrations run one after another.
            self.formats.append(|formats| formats.push_all(&[format]));
            if let Some(sample) = first {
                self.samples.view().init(idx, sample);
            }
        })
    }

    /// Finds the name, or checks and registers it. `init` is called for a new name before it is published.
    fn find_or_insert<const N: usize>(
        &self,
        names: &Directory<N>,
        name: NewName<'_>,
        full: RecordError,
        check: impl FnOnce(&[u8]) -> Result<(), NameError>,
        init: impl FnOnce(usize),
    ) -> Result<Registered, RecordError> {
        let cursor = match names.find(name.bytes(), &self.arena) {
            Ok(idx) => return Ok(Registered::Existing(idx)),
            Err(cursor) => cursor,
        };
        check(name.bytes())?;
        names.insert(cursor, name, &self.arena, init).map_err(|what| match what {
            Full::Slots => full,
            Full::NameBytes => {
                RecordError::NameBytesFull { capacity: NAME_BYTES, needed: name.bytes().len() }
            }
        })
    }
}
