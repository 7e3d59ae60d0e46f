//! What many figures of one thing say: the least, and the middle one.
//!
//! Pure. Called by `report`.

/// Minimum and median of a contender's rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

impl Summary {
    /// `None` if there are no figures.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let min = *sorted.first()?;
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { min, median: (lower + upper) / 2.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[4.0]), Some(Summary { min: 4.0, median: 4.0 }));
        assert_eq!(Summary::of(&[4.0, 1.0]), Some(Summary { min: 1.0, median: 2.5 }));
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]), Some(Summary { min: 1.0, median: 2.0 }));
    }
}
