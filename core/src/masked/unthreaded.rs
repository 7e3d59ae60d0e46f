//! Stands for what threads have of their own (`shard`, `own_ring`, `name_cache`, `thread_number`), where there are no
//! threads to be told apart.
//!
//! Owns nothing: there are no shards, so every call goes on to what all share. Takes no memory, whatever a registry's
//! `SHARDS`. Called by `registry`, `slot`, `handle` and `snapshot`, which are the same for both.

use core::marker::PhantomData;

use super::ring::SampleRing;
use crate::value::Value;

/// As many as may be asked for.
pub(crate) const MAX_NUMBERS: usize = 32;

pub(crate) const fn take() {}

pub(crate) struct Shards<const STATS: usize, const SHARDS: usize>;

impl<const STATS: usize, const SHARDS: usize> Shards<STATS, SHARDS> {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn add_own(&self, _: usize, _: Value) -> bool {
        false
    }

    pub(crate) fn view(&self) -> ShardsView<'_> {
        ShardsView(PhantomData)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct ShardsView<'r>(PhantomData<&'r ()>);

impl<'r> ShardsView<'r> {
    pub(crate) fn column(self, _: usize) -> Column<'r> {
        Column(PhantomData)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Column<'r>(PhantomData<&'r ()>);

/// A thread's samples, which do not exist.
pub(crate) enum OwnRing {}

impl OwnRing {
    pub(crate) fn record(&self, _: f64) {
        match *self {}
    }
}

pub(crate) struct OwnRings<const SERIES: usize, const SHARDS: usize>;

impl<const SERIES: usize, const SHARDS: usize> OwnRings<SERIES, SHARDS> {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn own(&self, _: usize) -> Option<&OwnRing> {
        None
    }

    pub(crate) fn view(&self) -> OwnRingsView<'_> {
        OwnRingsView(PhantomData)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct OwnRingsView<'r>(PhantomData<&'r ()>);

impl<'r> OwnRingsView<'r> {
    pub(crate) fn is_empty(self) -> bool {
        true
    }

    #[inline(always)]
    pub(crate) fn own(self, _: usize) -> Option<&'r OwnRing> {
        None
    }

    pub(crate) fn fetch(self, _: usize, _: &SampleRing) {}
}

/// Remembers no name.
pub(crate) struct NameCaches<const SLOTS: usize, const SHARDS: usize>;

#[derive(Clone, Copy)]
pub(crate) struct Key;

impl Key {
    pub(crate) const fn of(_: &[u8]) -> Self {
        Self
    }
}

impl<const SLOTS: usize, const SHARDS: usize> NameCaches<SLOTS, SHARDS> {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn find<'r>(
        &self,
        _: Key,
        _: &[u8],
        _: impl FnOnce(usize) -> Option<&'r [u8]>,
    ) -> Option<usize> {
        None
    }

    pub(crate) fn remember(&self, _: Key, _: usize) {}
}
