//! How many rows a step of a backfill reads.
//!
//! A step holds the lock that orders the queue, and live events of every webhook wait for it. Guarantees: a step holds it for about
//! [`TARGET`], if the rows take the time and not a busy machine; after a step that held it for more than twice that, others have it for
//! as long; a step that failed is followed by a smaller one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How long a step should hold the lock.
const TARGET: Duration = Duration::from_millis(25);
/// With fewer rows a step does not become faster.
const FEWEST: i64 = 25;
const FIRST: i64 = 50;
const MOST: i64 = 250;
/// The longest wait after a slow step.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Learns from each step; shared by all jobs of a process.
#[derive(Debug)]
pub(super) struct StepSize(AtomicI64);

impl Default for StepSize {
    fn default() -> Self {
        Self(AtomicI64::new(FIRST))
    }
}

impl StepSize {
    /// How many rows the next step reads.
    pub(super) fn rows(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A step held the lock for so long. Returns how long to leave it to others, if that was too long: then a reader that gave up
    /// waiting gets its turn.
    pub(super) fn held(&self, time: Duration) -> Duration {
        let rows = self.rows();
        if time > 2 * TARGET && rows > FEWEST {
            self.set((rows / 2).max(FEWEST));
        } else if time < TARGET || rows < FEWEST {
            self.set(rows + rows / 4 + 1);
        }
        if time > 2 * TARGET {
            time.min(LONGEST_REST)
        } else {
            Duration::ZERO
        }
    }

    /// A step failed: it may have been too large.
    pub(super) fn failed(&self) {
        self.set(self.rows() / 2);
    }

    fn set(&self, rows: i64) {
        self.0.store(rows.clamp(1, MOST), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps whose rows take so long each, beside what a step takes anyway.
    fn settle(step_size: &StepSize, row: Duration) -> Duration {
        let step =
            |step_size: &StepSize| Duration::from_millis(5) + row * u32::try_from(step_size.rows()).unwrap();
        for _ in 0..50 {
            step_size.held(step(step_size));
        }
        step(step_size)
    }

    #[test]
    fn the_lock_is_held_for_about_the_target_whatever_a_row_takes() {
        let step_size = StepSize::default();
        for micros in [30, 400, 1_500, 100, 1_000] {
            let held = settle(&step_size, Duration::from_micros(micros));
            assert!(held <= 2 * TARGET, "{micros} µs a row: {held:?}");
            assert!(
                held >= TARGET / 2 || step_size.rows() == MOST,
                "{micros} µs a row: {held:?}"
            );
        }
    }

    #[test]
    fn a_slow_step_leaves_the_lock_to_others_for_as_long() {
        let step_size = StepSize::default();
        assert_eq!(step_size.held(TARGET), Duration::ZERO);
        assert_eq!(step_size.held(10 * TARGET), 10 * TARGET);
        assert_eq!(step_size.held(Duration::from_secs(60)), LONGEST_REST);
    }

    #[test]
    fn there_is_always_a_row_and_never_too_many() {
        let step_size = StepSize::default();
        for _ in 0..20 {
            step_size.failed();
        }
        assert_eq!(step_size.rows(), 1);
        // What is slow by itself gets no quicker with fewer rows.
        settle(&step_size, Duration::from_secs(1));
        assert!(
            (FEWEST..2 * FEWEST).contains(&step_size.rows()),
            "{}",
            step_size.rows()
        );
        settle(&step_size, Duration::ZERO);
        assert_eq!(step_size.rows(), MOST);
    }
}
