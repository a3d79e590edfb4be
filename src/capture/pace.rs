//! How soon the reader reads again while changes come faster than it can read them one by one.
//!
//! A batch costs as much as ten to thirty of its changes do. So when many changes come, the reader lets some of them gather. Guarantees:
//! below [`MANY`] changes a second, and for the first changes after a silence, the interval is [`SHORTEST`]; it is never longer than
//! [`LONGEST`].

use std::time::Duration;

use tokio::time::Instant;

/// The shortest and the longest time from the beginning of a read to the next one.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(20);
/// So many changes a second are read without waiting for more: more than 500 updates a second whose audit rows are captured, too.
const MANY: f64 = 1250.0;
/// So many changes are worth a batch.
const WORTH: f64 = 32.0;
/// The time over which changes are counted.
const COUNTED: Duration = Duration::from_millis(100);

/// The rate of the changes that were read lately.
#[derive(Debug)]
pub(super) struct Pace {
    counting_since: Instant,
    counted: usize,
    /// Changes a second, by the last count.
    rate: f64,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            counting_since: now,
            counted: 0,
            rate: 0.0,
        }
    }

    /// Counts the changes of a read that began at this time.
    pub(super) fn read(&mut self, changes: usize, began: Instant) {
        let counted_for = began.saturating_duration_since(self.counting_since);
        if counted_for >= COUNTED {
            let counted = u32::try_from(self.counted).unwrap_or(u32::MAX);
            self.rate = f64::from(counted) / counted_for.as_secs_f64();
            *self = Self {
                counting_since: began,
                counted: 0,
                rate: self.rate,
            };
        }
        self.counted = self.counted.saturating_add(changes);
    }

    /// The time from the beginning of a read that left nothing to the next one.
    pub(super) fn interval(&self) -> Duration {
        if self.rate < MANY {
            return SHORTEST;
        }
        Duration::from_secs_f64(WORTH / self.rate).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interval after a second of reads that find what came since the read before, at this rate.
    fn at(rate: f64) -> Duration {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let (end, mut read) = (now + Duration::from_secs(1), now);
        while now < end {
            let came = (now - read).as_secs_f64() * rate;
            pace.read(came.round() as usize, now);
            read = now;
            now += pace.interval();
        }
        pace.interval()
    }

    #[test]
    fn changes_gather_only_if_there_are_many() {
        for rate in [0.0, 100.0, 500.0, 1100.0] {
            assert_eq!(at(rate), SHORTEST, "{rate}");
        }
        assert_eq!(at(1500.0), LONGEST);
        let interval = at(4000.0);
        assert!(
            interval > Duration::from_millis(7) && interval < Duration::from_millis(9),
            "{interval:?}"
        );
        assert_eq!(at(100_000.0), SHORTEST);
    }

    #[test]
    fn the_first_changes_after_silence_do_not_wait() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for read in 0..50 {
            pace.read(1, begin + Duration::from_secs(read));
            assert_eq!(pace.interval(), SHORTEST);
        }
        // A rush, silence, and the first change after it.
        for read in 0..100 {
            pace.read(
                4,
                begin + Duration::from_secs(60) + Duration::from_millis(2 * read),
            );
        }
        assert!(pace.interval() > SHORTEST);
        pace.read(1, begin + Duration::from_secs(70));
        assert_eq!(pace.interval(), SHORTEST);
    }
}
