//! The text of an integer, by subtraction alone.
//!
//! Owns the digits where program memory is scarce: processors without a division of 64 bits, or of any, call a function
//! for each, and all of them together take five times the room of this.

use crate::line::number::TextBuf;

/// Writes the integer as decimal digits and returns them.
pub(crate) fn digits(int: i64, out: &mut TextBuf) -> &[u8] {
    let mut n_bytes = 0;
    let mut room = out.iter_mut();
    let mut push = |byte| {
        if let Some(place) = room.next() {
            *place = byte;
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

/// From the largest that an integer of 64 bits contains down to one.
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

    fn agrees(int: i64) {
        assert_eq!(digits(int, &mut TextBuf::default()), format!("{int}").as_bytes());
    }

    #[test]
    fn the_smallest_the_largest_and_those_around_a_power_of_ten() {
        for int in [0, 1, -1, 9, 10, 99, 100, i64::MIN, i64::MAX, 10i64.pow(18), 10i64.pow(18) - 1] {
            agrees(int);
        }
    }

    proptest! {
        #[test]
        fn the_librarys_formatting_agrees(int: i64, shift in 0..64) {
            agrees(int >> shift);
        }
    }
}
