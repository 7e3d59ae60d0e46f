//! The stats that `main` and the interrupt both write, and the numbers that both must agree on.

use statvent::Registry;

/// The stats that are printed. All names are literals.
pub(crate) static STATS: Registry<16, 1, 0> = Registry::new();

/// Increments of one stat by `main` and the interrupt together.
pub(crate) const N_INCREMENTS: u32 = 1_000_000;
/// The interrupt's part of the increments.
pub(crate) const N_BY_TICK: u32 = 50_000;

/// The two values that a stat is set to. They differ in both halves, so a torn value equals neither.
pub(crate) const LEVELS: [i64; 2] = [-1, 0x0123_4567_89ab_cdef];
