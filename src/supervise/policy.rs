//! Manner often a part is started again.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Manner often a part may be started again, and after which pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The most restarts in any period of length [`Self::within`].
    pub restarts: u32,
    pub within: Duration,
    /// The pause before the first restart. It doubles with each further restart within the period.
    pub pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restarts: 5,
            within: Duration::from_secs(300),
            pause: Duration::from_millis(500),
        }
    }
}

/// The times at which a part was started again.
#[derive(Debug, Default)]
pub(super) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// The part failed: returns the pause before the next start, or `None` if there may be no further start.
    pub(super) fn next(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        while self.0.front().is_some_and(|at| now - *at >= policy.within) {
            self.0.pop_front();
        }
        let so_far = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if so_far >= policy.restarts {
            return None;
        }
        self.0.push_back(now);
        Some(policy.pause.saturating_mul(2_u32.saturating_pow(so_far)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_within_the_period_and_the_pause_grows_with_them() {
        let policy = Policy {
            restarts: 3,
            within: Duration::from_secs(60),
            pause: Duration::from_secs(1),
        };
        let began = Instant::now();
        let mut restarts = Restarts::default();
        let mut at = |second| {
            let pause = restarts.next(&policy, began + Duration::from_secs(second));
            pause.map(|pause| pause.as_secs())
        };
        assert_eq!([at(0), at(1), at(2), at(3)], [Some(1), Some(2), Some(4), None]);
        // Those at 0 and 1 are over.
        assert_eq!([at(61), at(61), at(61)], [Some(2), Some(4), None]);
        assert_eq!(at(600), Some(1));
    }
}
