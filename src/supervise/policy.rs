//! How often a part is started again.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How often a part may be started again, and after which pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many restarts may fall into any period of [`Self::within`].
    pub restarts: u32,
    pub within: Duration,
    /// Before the first restart; before each further one within the period, twice as long.
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

/// When a part was started again.
#[derive(Debug, Default)]
pub(super) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// It failed: the pause before it is started again; `None` where it may not be.
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
