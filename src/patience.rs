//! How long the other side of a connection may keep us waiting: a minimum rate, and a budget of time for pauses.
//!
//! Waiting spends the budget; every byte earns time back, but the budget never exceeds what it was at the beginning. So a
//! connection may be silent for as long as the budget lasts, and in the long run has to move `rate` bytes a second. While we wait
//! for somebody else, such as a slow Nextcloud, the other side's budget is not spent.

use std::time::{Duration, Instant};

/// The budget for bodies of requests, and for answers that a client reads.
const BUDGET: Duration = Duration::from_secs(60);
/// The budget while places are scarce.
const SCARCE: Duration = Duration::from_secs(15);
/// Bytes a second: a tenth of what the slowest mobile networks manage.
const RATE: u32 = 500;

/// How long pauses may be, and how fast bytes have to move.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub budget: Duration,
    /// The most that is left of a budget while places are scarce.
    pub scarce: Duration,
    /// Bytes a second.
    pub rate: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self::usual()
    }
}

impl Pace {
    #[must_use]
    pub const fn usual() -> Self {
        Self {
            budget: BUDGET,
            scarce: SCARCE,
            rate: RATE,
        }
    }

    /// How long a piece of this size may take.
    pub(crate) fn for_piece(self, bytes: usize, scarce: bool) -> Duration {
        let budget = if scarce { self.scarce } else { self.budget };
        budget.saturating_add(self.earned(bytes))
    }

    fn earned(self, bytes: usize) -> Duration {
        Duration::from_secs(1)
            .saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
            .checked_div(self.rate)
            .unwrap_or(self.budget)
    }
}

/// One side's budget.
#[derive(Debug)]
pub(crate) struct Patience {
    pace: Pace,
    left: Duration,
    /// Since when we wait for this side.
    since: Option<Instant>,
}

impl Patience {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            left: pace.budget,
            since: None,
        }
    }

    /// Notes that we wait for this side, and says for how long still: zero if the budget is spent.
    pub(crate) fn wait(&mut self, now: Instant, scarce: bool) -> Duration {
        let since = *self.since.get_or_insert(now);
        let left = if scarce {
            self.left.min(self.pace.scarce)
        } else {
            self.left
        };
        left.saturating_sub(now.saturating_duration_since(since))
    }

    /// Notes that this side moved so many bytes.
    pub(crate) fn moved(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
        self.left = self
            .left
            .saturating_add(self.pace.earned(bytes))
            .min(self.pace.budget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds we wait for a side that sends `bytes` every `each` seconds, up to an hour.
    fn held_out(bytes: usize, each: u64, scarce: bool) -> u64 {
        let begun = Instant::now();
        let mut patience = Patience::new(Pace::default());
        for second in 0..3600 {
            let now = begun + Duration::from_secs(second);
            if patience.wait(now, scarce) == Duration::ZERO {
                return second;
            }
            if second % each == 0 {
                patience.moved(now, bytes);
            }
        }
        3600
    }

    #[test]
    fn a_slow_line_is_waited_for_and_a_held_place_is_not() {
        // One byte now and then: a minute.
        assert!(held_out(1, 10, false) <= 70);
        assert!(held_out(0, 3600, false) <= 61);
        // 2 KiB/s without a pause, and with one of 50 s after every 64 KiB.
        assert_eq!(held_out(2048, 1, false), 3600);
        assert_eq!(held_out(65_536, 50, false), 3600);
        assert_eq!(held_out(500, 1, false), 3600);
        // A burst buys no more than the budget.
        assert!(held_out(1 << 30, 3600, false) <= 62);
        // While places are scarce pauses are short.
        assert!(held_out(65_536, 50, true) <= 16);
        assert_eq!(held_out(2048, 1, true), 3600);
    }
}
