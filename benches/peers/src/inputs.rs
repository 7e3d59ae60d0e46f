//! The inputs of every contender: the same names, the same values, the same loops.
//!
//! Owns the loops around the calls. Each iteration ends with `black_box(())`. It costs no instruction, but the compiler
//! must assume that all memory was read and changed there. So it cannot merge stores, hoist loads or replace a loop by a
//! product. Constants that a program would write at a call site (`1`, a literal name) stay constants. Run-time names and
//! values come from a table that is opaque to the compiler.

use std::hint::black_box;

/// The number of run-time names.
pub(crate) const N_NAMES: usize = 200;

/// The number of different values.
pub(crate) const N_VALUES: usize = 32;

/// 800: a common multiple of both numbers. All numbers of calls are multiples of it, so every name is used equally often
/// and the last value is the last one of the table on every thread.
pub(crate) const BLOCK_CALLS: u64 = 800;

const _: () =
    assert!(BLOCK_CALLS.is_multiple_of(N_NAMES as u64) && BLOCK_CALLS.is_multiple_of(N_VALUES as u64));

/// Latencies in seconds, all different, the largest last.
pub(crate) static SECONDS: [f64; N_VALUES] = {
    let mut values = [0.0; N_VALUES];
    let mut idx = 0;
    while idx < N_VALUES {
        // An odd factor visits every value once; this order ends at the largest one.
        values[idx] = ((idx * 13 + 12) % N_VALUES + 1) as f64 / 64.0;
        idx += 1;
    }
    values
};

/// The same latencies in microseconds, for crates that take only integers.
pub(crate) static MICROSECONDS: [u64; N_VALUES] = {
    let mut values = [0; N_VALUES];
    let mut idx = 0;
    while idx < N_VALUES {
        values[idx] = (SECONDS[idx] * 1e6) as u64;
        idx += 1;
    }
    values
};

/// The run-time names, 20 bytes each.
pub(crate) fn names() -> Vec<String> {
    (0..N_NAMES).map(|idx| format!("service.request.{idx:04}")).collect()
}

/// Calls `call` `n_calls` times.
#[inline(always)]
pub(crate) fn repeat(n_calls: u64, mut call: impl FnMut()) {
    for _ in 0..n_calls {
        call();
        black_box(());
    }
}

/// Calls `call` `n_calls` times, a multiple of [`BLOCK_CALLS`], with each value of the table in turn.
#[inline(always)]
pub(crate) fn repeat_values<T: Copy>(n_calls: u64, values: &[T; N_VALUES], mut call: impl FnMut(T)) {
    let values = black_box(values);
    for call_idx in 0..n_calls {
        // No nested loop over the table: the compiler would unroll it for contenders with a short call.
        call(values[call_idx as usize % N_VALUES]);
        black_box(());
    }
}

/// Calls `call` `n_calls` times, a multiple of [`BLOCK_CALLS`], with each name in turn.
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
    fn every_loop_makes_the_requested_number_of_calls() {
        let mut n_calls = 0;
        repeat(BLOCK_CALLS, || n_calls += 1);
        repeat_values(BLOCK_CALLS, &SECONDS, |_| n_calls += 1);
        repeat_names(BLOCK_CALLS, &names(), |_| n_calls += 1);
        assert_eq!(n_calls, 3 * BLOCK_CALLS);
    }
}
