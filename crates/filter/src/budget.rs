//! Limits on the cost of evaluations.
//!
//! Guarantees: one evaluation uses at most 50 ms of its thread's CPU time, and all evaluations for one event together use at most
//! 500 ms. Work is counted in steps. The thread's CPU clock is read after a number of steps, and before and after every piece of
//! work that may take long. A piece of work that cannot be stopped takes at most 10 ms, so an evaluation is stopped that much
//! before the limit.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The limit for one evaluation, in steps of some nanoseconds each.
const STEPS: u64 = 5_000_000;
/// The CPU time after which an evaluation is stopped.
const EVALUATION: Duration = Duration::from_millis(38);
/// The CPU time after which no piece of work is begun that cannot be stopped.
const LAST_START: Duration = Duration::from_millis(28);
/// The CPU time of all evaluations for one event.
const EVENT: Duration = Duration::from_millis(450);
/// How many steps are made at most before the clock is read again.
const LOOK_EVERY: u64 = 50_000;
/// How many steps every evaluation may make, even if no time is left.
const LEAST: u64 = 500;
/// With less time left, no regular expression is tried.
const LEAST_FOR_REGEX: Duration = Duration::from_micros(100);

/// The CPU time that this thread has used so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// How much all filters together may still cost for one event.
///
/// Each filter may use a tenth of what is left, so however many expensive filters there are, something is left for the next one.
/// A filter of a few comparisons is evaluated even if nothing is left: 10,000 of these take some milliseconds.
#[derive(Debug)]
pub struct Budget {
    left: Duration,
    /// How much of it the next evaluation may use.
    share: Duration,
    share_in_steps: u64,
    /// Steps since the clock was last read.
    steps: u64,
    read_at: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: EVENT,
            share: EVALUATION,
            share_in_steps: STEPS,
            steps: 0,
            read_at: None,
        }
    }
}

impl Budget {
    /// The fuel for the next evaluation.
    pub(crate) fn fuel(&self) -> Fuel {
        let steps = self.share_in_steps;
        let look_every = LOOK_EVERY.min(steps / 8 + LEAST);
        Fuel {
            begun_with: steps,
            left: steps,
            look_every,
            look_at: steps.saturating_sub(look_every),
            share: self.share,
            began: None,
            untimed: 0,
        }
    }

    /// Deducts the cost of an evaluation.
    #[inline]
    pub(crate) fn deduct(&mut self, fuel: &Fuel) {
        // A short search may have taken as long as 5000 steps.
        self.steps += fuel.begun_with - fuel.left + 5000 * u64::from(fuel.untimed);
        if fuel.began.is_none() && self.steps < LOOK_EVERY {
            return;
        }
        self.read(fuel);
    }

    #[cold]
    fn read(&mut self, fuel: &Fuel) {
        let now = cpu_time();
        let since = self.read_at.or(fuel.began).unwrap_or(now);
        self.left = self.left.saturating_sub(now.saturating_sub(since));
        self.read_at = Some(now);
        self.steps = 0;
        self.share = EVALUATION.min(self.left / 10);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or_default();
        self.share_in_steps = (STEPS * micros(self.share) / micros(EVALUATION)).max(LEAST);
    }
}

/// How much one evaluation may still cost. One unit is roughly the comparison of two short values.
#[derive(Debug)]
pub(crate) struct Fuel {
    begun_with: u64,
    left: u64,
    look_every: u64,
    /// The clock is read when less than this is left.
    look_at: u64,
    share: Duration,
    /// The thread's CPU time when the clock was first read.
    began: Option<Duration>,
    /// Short searches since the clock was last read.
    untimed: u32,
}

impl Fuel {
    #[inline]
    pub(crate) fn spend(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units);
        if self.left < self.look_at {
            self.look();
        }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Charges for going through `bytes` bytes.
    #[inline]
    pub(crate) fn spend_bytes(&mut self, bytes: usize) {
        self.spend(1 + (bytes as u64 >> 4));
    }

    /// Reads the clock, and stops the evaluation if its time is over. Returns the CPU time used.
    #[cold]
    fn look(&mut self) -> Duration {
        self.look_at = self.left.saturating_sub(self.look_every);
        self.untimed = 0;
        let now = cpu_time();
        let used = now.saturating_sub(*self.began.get_or_insert(now));
        if used >= self.share {
            self.left = 0;
        }
        used
    }

    /// Whether there is enough time for a regular expression.
    #[inline]
    pub(crate) fn allows_regex(&self) -> bool {
        self.share >= LEAST_FOR_REGEX
    }

    /// Does work that cannot be stopped and takes up to 10 ms. `None` if there is not enough time for it.
    pub(crate) fn long<T>(&mut self, work: impl FnOnce() -> T) -> Option<T> {
        let used = self.look();
        if self.is_empty() || used > LAST_START || self.share < EVALUATION {
            return None;
        }
        let done = work();
        self.look();
        Some(done)
    }

    /// Counts a piece of work that cannot be stopped and takes up to 0.5 ms.
    #[inline]
    pub(crate) fn short(&mut self) {
        self.untimed += 1;
        if self.untimed >= 4 {
            self.look();
        }
    }
}
