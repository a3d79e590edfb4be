//! Times in buckets: how often each took how long, in a bounded number of counts.
//!
//! Guarantees: a time that is read back differs from the one that was added by 3.2 % or 0.05 ms at most, up to a week; what is longer
//! counts as a week. Histograms are added up by adding the counts of equal buckets, so processes can write theirs beside each other.

use std::collections::BTreeMap;
use std::time::Duration;

/// The unit of the smallest buckets, in microseconds.
const UNIT: u64 = 100;
/// Buckets for each doubling, and the number of single units before the first: a power of two.
const PARTS: u64 = 16;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// The longest time.
const LONGEST: u64 = 7 * 86_400 * 1_000_000 / UNIT;

/// How many times are in each bucket. A bucket's number fits a `smallint`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<i16, i64>);

impl Histogram {
    /// Adds one time.
    pub fn add(&mut self, time: Duration) {
        self.add_many(bucket(time), 1);
    }

    /// Adds as many times of a bucket.
    pub fn add_many(&mut self, bucket: i16, count: i64) {
        let known = self.0.entry(bucket).or_default();
        *known = known.saturating_add(count);
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add_many(*bucket, *count);
        }
    }

    /// The buckets that are not empty, ascending, with their counts.
    pub fn buckets(&self) -> impl Iterator<Item = (i16, i64)> {
        self.0.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// How many times it holds.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.values().sum()
    }

    /// The time in milliseconds that a share of the times do not exceed, such as 0.99; `None` if it holds none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "counts below 2^53"
        )]
        let rank = ((total as f64 * share).ceil() as i64).clamp(1, total.max(1));
        let mut passed = 0;
        for (bucket, count) in &self.0 {
            passed += count;
            if passed >= rank {
                return Some(middle(*bucket));
            }
        }
        None
    }
}

/// The bucket of a time.
fn bucket(time: Duration) -> i16 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let units = (micros / UNIT).min(LONGEST);
    if units < PARTS {
        return i16::try_from(units).unwrap_or(i16::MAX);
    }
    // The number's highest five bits: which doubling, and which part of it.
    let doubling = units.ilog2() - PARTS_BITS;
    let part = (units >> doubling) - PARTS;
    i16::try_from(u64::from(doubling + 1) * PARTS + part).unwrap_or(i16::MAX)
}

/// The middle of a bucket, in milliseconds.
fn middle(bucket: i16) -> f64 {
    let bucket = u64::try_from(bucket).unwrap_or_default();
    let (first, width) = if bucket < PARTS {
        (bucket, 1)
    } else {
        let doubling = u32::try_from(bucket / PARTS - 1).unwrap_or(u32::MAX).min(40);
        ((PARTS + bucket % PARTS) << doubling, 1_u64 << doubling)
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let middle = first as f64 + width as f64 / 2.0;
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let unit = UNIT as f64;
    middle * unit / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_close_to_the_exact_one(mut micros in prop::collection::vec(0..2_000_000_000_u64, 1..200), share in 0.0..1.0_f64) {
            let mut whole = Histogram::default();
            let (mut left, mut right) = (Histogram::default(), Histogram::default());
            for (n, one) in micros.iter().enumerate() {
                let time = Duration::from_micros(*one);
                whole.add(time);
                if n % 2 == 0 { left.add(time) } else { right.add(time) }
            }
            left.merge(&right);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(whole.count(), micros.len() as i64);
            micros.sort_unstable();
            let rank = ((micros.len() as f64 * share).ceil() as usize).clamp(1, micros.len());
            let exact = micros[rank - 1] as f64 / 1000.0;
            let read = whole.quantile(share).unwrap();
            prop_assert!((read - exact).abs() <= exact * 0.032 + 0.05, "{} for {}", read, exact);
        }
    }

    #[test]
    fn the_longest_time_has_a_bucket_and_nothing_has_no_quantile() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.add(Duration::MAX);
        let week = 7.0 * 86_400_000.0;
        let read = histogram.quantile(0.5).unwrap();
        assert!((read - week).abs() < week * 0.04, "{read}");
        assert!(bucket(Duration::MAX) < 600);
    }
}
