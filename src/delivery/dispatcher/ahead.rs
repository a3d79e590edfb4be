//! How many deliveries of a webhook are leased ahead of those in flight.
//!
//! A query for what is due costs much the same for one delivery as for a hundred, and while it is under way only those are sent that were
//! leased before. So a receiver that takes them faster than the queries bring them gets more with each query, up to [`MOST`]. But an event
//! that is read with its lease must be sent soon, and takes room in memory: as soon as one was read for nothing, fewer are leased.

/// Most deliveries to lease ahead.
const MOST: u32 = 512;

/// How many deliveries to lease ahead: at the least as many as may be in flight.
#[derive(Debug)]
pub(super) struct Ahead {
    least: u32,
    now: u32,
}

impl Ahead {
    pub(super) const fn new(max_in_flight: u32) -> Self {
        Self {
            least: max_in_flight,
            now: max_in_flight,
        }
    }

    pub(super) const fn get(&self) -> u32 {
        self.now
    }

    /// A query brought all that it asked for, and nothing was ready any more when it came.
    pub(super) fn ran_dry(&mut self) {
        self.now = self.now.saturating_mul(2).min(MOST.max(self.least));
    }

    /// A delivery comes to be sent, and its event has to be read now: it was read too long ago, or there was no room for it.
    pub(super) fn came_too_early(&mut self) {
        self.now = (self.now / 2).max(self.least);
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, MOST};

    #[test]
    fn a_fast_receiver_gets_more_with_each_query_up_to_a_limit_and_a_slow_one_less_again() {
        let mut ahead = Ahead::new(64);
        for expected in [64, 128, 256, MOST, MOST] {
            assert_eq!(ahead.get(), expected);
            ahead.ran_dry();
        }
        for expected in [MOST, 256, 128, 64, 64] {
            assert_eq!(ahead.get(), expected);
            ahead.came_too_early();
        }
    }

    #[test]
    fn as_many_as_may_be_in_flight_are_leased_ahead_however_many_these_are() {
        let mut ahead = Ahead::new(2 * MOST);
        ahead.ran_dry();
        assert_eq!(ahead.get(), 2 * MOST);
        ahead.came_too_early();
        assert_eq!(ahead.get(), 2 * MOST);
    }
}
