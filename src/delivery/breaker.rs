//! The breaker of one webhook: a receiver that is down gets single probes, and work resumes at the first success.
//!
//! Guarantees: after [`THRESHOLD`] failures in a row the breaker is open: at most one request is under way, a probe, and probes are 5 s
//! to 5 min apart. One success closes it. A probe that is made before its delivery is due uses up none of that delivery's attempts.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, spread};

/// Failures in a row that open the breaker.
pub(crate) const THRESHOLD: u32 = 5;
/// Between the first probes; each later wait is twice as long, up to 5 min.
const FIRST: Duration = Duration::from_secs(5);
const WAITS: Backoff = Backoff::doubling(FIRST, Duration::from_secs(300));

/// Failures in a row, and when the next probe may go.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: u32,
    probes: u32,
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Begins with the failures in a row that are stored; if the breaker is open, the first probe may go at once.
    pub(crate) fn resume(failures: u32, now: Instant) -> Self {
        Self {
            failures,
            probes: 0,
            probe_at: (failures >= THRESHOLD).then_some(now),
        }
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next probe may go; `None` where the breaker is closed and anything may go.
    pub(crate) const fn probe_at(&self) -> Option<Instant> {
        self.probe_at
    }

    /// The receiver may be back: the next probe may go now.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.probes = 0;
        self.probe_at = self.probe_at.map(|at| at.min(now));
    }

    /// A probe could not be made, for a reason that is not the receiver: if the breaker is open, the next one goes in a few seconds.
    pub(crate) fn not_asked(&mut self, now: Instant) {
        self.probe_at = self.probe_at.map(|at| at.max(now + FIRST));
    }

    /// A request succeeded. Returns whether that closed the breaker.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.probes = 0;
        self.probe_at.take().is_some()
    }

    /// A request failed. Returns whether that opened the breaker. Requests that were under way when it opened, and fail afterwards, do not
    /// delay the next probe.
    pub(crate) fn failed(&mut self, seed: i64, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < THRESHOLD || self.probe_at.is_some_and(|at| at > now) {
            return false;
        }
        let opened = self.probe_at.is_none();
        self.probe_at = Some(now + spread(WAITS.after(self.probes), seed, self.probes));
        self.probes += 1;
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_at_a_success() {
        let mut breaker = Breaker::resume(0, Instant::now());
        for _ in 0..THRESHOLD - 1 {
            breaker.failed(1, Instant::now());
        }
        assert_eq!(breaker.probe_at(), None);
        assert!(!breaker.succeeded());
        for _ in 0..THRESHOLD {
            breaker.failed(1, Instant::now());
        }
        assert!(breaker.probe_at().is_some());
        assert!(breaker.succeeded());
        assert_eq!((breaker.probe_at(), breaker.failures()), (None, 0));
    }

    #[test]
    fn probes_come_five_seconds_to_five_minutes_apart() {
        let mut breaker = Breaker::resume(0, Instant::now());
        let mut waits = vec![];
        let mut now = Instant::now();
        for _ in 0..40 {
            breaker.failed(7, now);
            if let Some(at) = breaker.probe_at() {
                waits.push((at - now).as_secs_f64());
                now = at;
            }
        }
        assert!((4.5..=5.5).contains(&waits[0]), "{waits:?}");
        assert!((9.0..=11.0).contains(&waits[1]), "{waits:?}");
        assert!(
            waits.iter().skip(7).all(|w| (270.0..=330.0).contains(w)),
            "{waits:?}"
        );
    }

    #[test]
    fn many_failing_at_once_count_as_one_step() {
        let mut breaker = Breaker::resume(0, Instant::now());
        let opened = (0..100).filter(|_| breaker.failed(1, Instant::now())).count();
        assert_eq!((opened, breaker.failures()), (1, 100));
        let wait = breaker.probe_at().unwrap() - Instant::now();
        assert!(wait < Duration::from_secs(6), "{wait:?}");
    }

    #[test]
    fn an_open_breaker_survives_a_restart() {
        let now = Instant::now();
        assert_eq!(Breaker::resume(THRESHOLD + 3, now).probe_at(), Some(now));
        assert_eq!(Breaker::resume(THRESHOLD - 1, now).probe_at(), None);
    }
}
