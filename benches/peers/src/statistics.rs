//! Summary statistics: minimum and median.
//!
//! Pure functions.

/// Minimum and median of a contender's times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

impl Summary {
    /// Returns the summary of these values; `None` if there are none.
    pub(crate) fn from_values(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
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
    fn median_is_the_middle_value_or_the_mean_of_the_two_middle_values() {
        assert_eq!(Summary::from_values(&[]), None);
        assert_eq!(Summary::from_values(&[4.0]), Some(Summary { min: 4.0, median: 4.0 }));
        assert_eq!(Summary::from_values(&[4.0, 1.0]), Some(Summary { min: 1.0, median: 2.5 }));
        assert_eq!(Summary::from_values(&[9.0, 1.0, 2.0]), Some(Summary { min: 1.0, median: 2.0 }));
    }
}
