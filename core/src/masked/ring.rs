//! The last samples of one series where interrupts may come between.
//!
//! Owns the ring, as `ring` does for programs with threads. What is made of its window is `series`'s.

use super::lock::Lock;
use crate::series::{WINDOW_SAMPLES, Window};

/// The last samples, as bits. Whoever reads while others record takes one slot after the other: it may have a sample and
/// lack one that was recorded before it.
pub(crate) struct SampleRing {
    ends: Lock<Ends>,
    slots: [Lock<u64>; WINDOW_SAMPLES],
}

/// How many slots were ever claimed, at most all, and which is the next.
#[derive(Clone, Copy)]
struct Ends {
    n_claimed: u8,
    next: u8,
}

const _: () = assert!(WINDOW_SAMPLES <= u8::MAX as usize);

impl Ends {
    fn claim(&mut self) -> usize {
        let claimed = usize::from(self.next);
        // Not by a remainder, which small processors call a function for.
        self.next = if claimed + 1 < WINDOW_SAMPLES { self.next + 1 } else { 0 };
        self.n_claimed = self.n_claimed.max(claimed as u8 + 1);
        claimed
    }
}

impl SampleRing {
    pub(crate) const fn new() -> Self {
        Self {
            ends: Lock::new(Ends { n_claimed: 0, next: 0 }),
            slots: [const { Lock::new(0) }; WINDOW_SAMPLES],
        }
    }

    /// In one critical section, so that a slot is never counted before its first sample.
    pub(crate) fn record(&self, sample: f64) {
        self.ends.with(|ends| {
            if let Some(slot) = self.slots.get(ends.claim()) {
                slot.with(|bits| *bits = sample.to_bits());
            }
        });
    }

    pub(crate) fn window(&self) -> Window {
        let n_claimed = self.ends.with(|ends| usize::from(ends.n_claimed));
        let samples = self.slots.iter().take(n_claimed).map(|slot| f64::from_bits(slot.with(|bits| *bits)));
        Window::of(samples, |keys, _| {
            shell_sort(keys);
            0..keys.len()
        })
    }
}

/// A tenth of the code of the library's sort, and quick enough for a hundred keys.
fn shell_sort(keys: &mut [u64]) {
    for gap in [57, 23, 10, 4, 1] {
        for end in gap..keys.len() {
            let mut at = end;
            while let Some([left, .., right]) = at.checked_sub(gap).and_then(|left| keys.get_mut(left..=at))
                && *left > *right
            {
                core::mem::swap(left, right);
                at -= gap;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_sort_agrees_with_the_librarys(mut keys in prop::collection::vec(0u64..50, 0..=WINDOW_SAMPLES)) {
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            shell_sort(&mut keys);
            prop_assert_eq!(keys, sorted);
        }
    }
}
