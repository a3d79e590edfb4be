//! What evaluations may cost.
//!
//! Guarantees: one evaluation uses at most 50 ms of its thread's CPU time and those of one event 500 ms together. Work is
//! counted in steps; every so many steps, and around every piece of work that may be long, the thread's clock decides. A
//! piece of work that cannot be stopped takes 10 ms at most, so evaluation stops that much earlier.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What one evaluation may cost, in steps of some nanoseconds each.
const STEPS: u64 = 5_000_000;
/// CPU time after which an evaluation is stopped.
const EVALUATION: Duration = Duration::from_millis(38);
/// No piece of work that cannot be stopped is begun later than this.
const LAST_START: Duration = Duration::from_millis(28);
/// CPU time of all evaluations for one event.
const EVENT: Duration = Duration::from_millis(450);
/// So many steps are made before the clock is read again, at most.
const LOOK_EVERY: u64 = 50_000;
/// So many steps every evaluation may make.
const LEAST: u64 = 500;
/// With less time no regular expression is tried.
const LEAST_FOR_REGEX: Duration = Duration::from_micros(100);

/// The CPU time that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// What the filters of one event may still cost together.
///
/// Each may use a tenth of what is left: however many expensive filters there are, something is left for those after them.
/// A filter of a few comparisons is evaluated even where nothing is left: 10,000 of them take some milliseconds.
#[derive(Debug)]
pub struct Budget {
    left: Duration,
    /// What the next evaluation may take of it.
    share: Duration,
    share_in_steps: u64,
    /// Steps since the clock was read.
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

    /// Takes off what an evaluation has cost.
    #[inline]
    pub(crate) fn settle(&mut self, fuel: &Fuel) {
        // A short match may have taken as long as so many steps.
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

/// What one evaluation may still cost. One unit is roughly the comparison of two short values.
#[derive(Debug)]
pub(crate) struct Fuel {
    begun_with: u64,
    left: u64,
    look_every: u64,
    /// With so much left the clock is read.
    look_at: u64,
    share: Duration,
    /// The thread's CPU time when it was first read.
    began: Option<Duration>,
    /// Short matches since then.
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

    /// Reads the clock, and stops the evaluation where its time is over.
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

    /// Whether there is time for a regular expression.
    #[inline]
    pub(crate) fn allows_regex(&self) -> bool {
        self.share >= LEAST_FOR_REGEX
    }

    /// Does something that cannot be stopped and takes up to 10 ms, if there is time for it.
    pub(crate) fn long<T>(&mut self, work: impl FnOnce() -> T) -> Option<T> {
        let used = self.look();
        if self.is_empty() || used > LAST_START || self.share < EVALUATION {
            return None;
        }
        let done = work();
        self.look();
        Some(done)
    }

    /// Counts something that cannot be stopped and takes up to 0.5 ms.
    #[inline]
    pub(crate) fn short(&mut self) {
        self.untimed += 1;
        if self.untimed >= 4 {
            self.look();
        }
    }
}
