//! What every contender is given: the same names, the same values, the same loop.
//!
//! Owns the loops around the calls. A loop ends each turn with `black_box(())`, which costs no instruction but tells
//! the compiler that all memory may have been read and changed there: no store may be merged with the next one, no
//! load lifted out of the loop, no loop replaced by a product. The constants that a program would write at a call
//! site (`1`, a literal name) stay constants; run-time names and values come from a table the compiler cannot see
//! into. Called by `peers`.

use std::hint::black_box;

/// Run-time names there are.
pub(crate) const N_NAMES: usize = 200;

/// Different values there are.
pub(crate) const N_VALUES: usize = 32;

/// Calls come in multiples of this, so that every name is used equally often and the last value is the last of the
/// table, whichever thread came last.
pub(crate) const BLOCK_CALLS: u64 = 800;

const _: () =
    assert!(BLOCK_CALLS.is_multiple_of(N_NAMES as u64) && BLOCK_CALLS.is_multiple_of(N_VALUES as u64));

/// Latencies in seconds, all different, the largest last.
pub(crate) static SECONDS: [f64; N_VALUES] = {
    let mut values = [0.0; N_VALUES];
    let mut idx = 0;
    while idx < N_VALUES {
        // An odd factor walks over all values; this walk ends at the largest.
        values[idx] = ((idx * 13 + 12) % N_VALUES + 1) as f64 / 64.0;
        idx += 1;
    }
    values
};

/// The same latencies in microseconds, for those who take integers only.
pub(crate) static MICROSECONDS: [u64; N_VALUES] = {
    let mut values = [0; N_VALUES];
    let mut idx = 0;
    while idx < N_VALUES {
        values[idx] = (SECONDS[idx] * 1e6) as u64;
        idx += 1;
    }
    values
};

/// The names that are known at run time only, 20 bytes each.
pub(crate) fn names() -> Vec<String> {
    (0..N_NAMES).map(|idx| format!("service.request.{idx:04}")).collect()
}

/// Calls `call` so often.
#[inline(always)]
pub(crate) fn repeat(n_calls: u64, mut call: impl FnMut()) {
    for _ in 0..n_calls {
        call();
        black_box(());
    }
}

/// Calls `call` so often, a multiple of [`BLOCK_CALLS`], with one value of the table after the other.
#[inline(always)]
pub(crate) fn repeat_values<T: Copy>(n_calls: u64, values: &[T; N_VALUES], mut call: impl FnMut(T)) {
    let values = black_box(values);
    for call_idx in 0..n_calls {
        // Not a loop over the table in a loop: that one is unrolled for those contenders whose call is short.
        call(values[call_idx as usize % N_VALUES]);
        black_box(());
    }
}

/// Calls `call` so often, a multiple of [`BLOCK_CALLS`], with one name after the other.
#[inline(always)]
pub(crate) fn repeat_names(n_calls: u64, names: &[String], mut call: impl FnMut(&String)) {
    let names = black_box(names);
    for _ in 0..n_calls / N_NAMES as u64 {
        for name in names {
            call(name);
            black_box(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_the_largest_comes_last() {
        let mut sorted = SECONDS;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[0] < pair[1]), "{sorted:?}");
        assert_eq!(sorted[N_VALUES - 1], SECONDS[N_VALUES - 1]);
    }

    #[test]
    fn every_loop_makes_as_many_calls_as_it_was_asked_for() {
        let mut n_calls = 0;
        repeat(BLOCK_CALLS, || n_calls += 1);
        repeat_values(BLOCK_CALLS, &SECONDS, |_| n_calls += 1);
        repeat_names(BLOCK_CALLS, &names(), |_| n_calls += 1);
        assert_eq!(n_calls, 3 * BLOCK_CALLS);
    }
}
