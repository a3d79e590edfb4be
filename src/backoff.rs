//! Waits that grow with each failure in a row.
//!
//! Guarantees: no wait is longer than the ceiling; the same steps give the same waits. There is no clock and no random number in
//! here: the caller sleeps, and passes a seed where many callers must not wait equally long ([`spread`]).

use std::time::Duration;

/// The waits between attempts: the first one, then each so many times as long as the one before, up to a ceiling.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    factor: u32,
    ceiling: Duration,
    /// Failures in a row.
    failures: u32,
}

impl Backoff {
    /// Waits that double: `first`, 2 × `first`, 4 × `first`, …, `ceiling`.
    pub(crate) const fn doubling(first: Duration, ceiling: Duration) -> Self {
        Self {
            first,
            factor: 2,
            ceiling,
            failures: 0,
        }
    }

    /// Another attempt has failed: how long to wait before the next one.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// An attempt has succeeded: the next failure is the first one again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait where `failures` in a row came before this one; 0 gives the first wait.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let times = self.factor.saturating_pow(failures);
        self.first.saturating_mul(times).min(self.ceiling)
    }
}

/// Makes a wait up to 10 % shorter or longer, evenly spread over seeds and steps. The same seed and step give the same wait.
pub(crate) fn spread(wait: Duration, seed: i64, step: u32) -> Duration {
    // splitmix64
    let mut x = (seed as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(u64::from(step));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    wait.mul_f64(0.9 + 0.2 * (x >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_ceiling_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::doubling(SECOND, 5 * SECOND);
        let waits: Vec<u64> = (0..5).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.next(), SECOND);
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let backoff = Backoff::doubling(SECOND, Duration::MAX);
        assert_eq!(backoff.after(3), 8 * SECOND);
        assert_eq!(backoff.after(u32::MAX), SECOND * u32::MAX);
    }

    #[test]
    fn waits_are_spread_over_ten_percent_either_way() {
        let waits = (0..1000).map(|seed| spread(SECOND, seed, 1).as_secs_f64());
        let (low, high) = waits.fold((2.0_f64, 0.0_f64), |(low, high), wait| {
            (low.min(wait), high.max(wait))
        });
        assert!((0.9..0.91).contains(&low), "{low}");
        assert!((1.09..=1.1).contains(&high), "{high}");
    }
}
