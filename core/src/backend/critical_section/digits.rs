//! Decimal digits of an integer without division.
//!
//! Owns the conversion for targets with little program memory. Processors without a 64-bit division, or without
//! any, call a function for each division; those functions together are five times as large as this one.

use crate::line::number::TextBuf;

/// Writes the integer as decimal digits and returns them.
pub(crate) fn digits(int: i64, out: &mut TextBuf) -> &[u8] {
    let mut n_bytes = 0;
    let mut slots = out.iter_mut();
    let mut push = |byte| {
        if let Some(slot) = slots.next() {
            *slot = byte;
            n_bytes += 1;
        }
    };
    if int < 0 {
        push(b'-');
    }
    let mut rest = int.unsigned_abs();
    let mut is_leading = true;
    for power in POWERS_OF_TEN {
        let mut digit = b'0';
        while rest >= power {
            rest -= power;
            digit += 1;
        }
        is_leading &= digit == b'0' && power > 1;
        if !is_leading {
            push(digit);
        }
    }
    out.get(..n_bytes).unwrap_or_default()
}

/// Powers of ten, from the largest that fits an `i64` down to one.
static POWERS_OF_TEN: [u64; 19] = {
    let mut powers = [1; 19];
    let mut idx = powers.len() - 1;
    while idx > 0 {
        powers[idx - 1] = powers[idx] * 10;
        idx -= 1;
    }
    powers
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    fn assert_agrees(int: i64) {
        assert_eq!(digits(int, &mut TextBuf::default()), format!("{int}").as_bytes());
    }

    #[test]
    fn extremes_and_neighbours_of_powers_of_ten() {
        for int in [0, 1, -1, 9, 10, 99, 100, i64::MIN, i64::MAX, 10i64.pow(18), 10i64.pow(18) - 1] {
            assert_agrees(int);
        }
    }

    proptest! {
        #[test]
        fn the_standard_library_agrees(int: i64, shift in 0..64) {
            assert_agrees(int >> shift);
        }
    }
}
