//! Numbers that are random enough for a storm, and the same for the same seed.
//!
//! Owns one xorshift generator. Called wherever something is chosen.

use std::time::Duration;

/// A generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns the generator of a seed and a purpose, so that each part of a storm has choices of its own.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mixed = (seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// Returns a number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Says yes once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Returns a time up to so many milliseconds.
    pub(crate) fn up_to_ms(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.below(ms * 1000 + 1))
    }

    /// Returns one of the things, if there is one.
    pub(crate) fn choose<'t, T>(&mut self, things: &'t [T]) -> Option<&'t T> {
        if things.is_empty() { None } else { things.get(self.below(things.len() as u64) as usize) }
    }
}
