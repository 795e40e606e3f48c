//! Figures compared with each other.

/// How many times as much.
pub(crate) fn ratio(one: f64, other: f64) -> f64 {
    one / other.max(1e-9)
}

/// The one in the middle; of two, the larger.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_that_stands_out_does_not_decide() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![2.0, 1.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
