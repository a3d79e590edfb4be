//! Which deliveries in hand have got a successor: something was put into their lane since they were leased.

use std::collections::HashMap;

use crate::delivery::queue::{Claimed, Followed};
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// The least number of entries at which those are dropped whose deliveries have left.
const PURGE: usize = 1024;

/// The lanes of deliveries that are in hand, or whose outcomes are not written yet.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    heads: HashMap<(WebhookId, Lane), Followed>,
    purge_at: usize,
}

impl Lanes {
    /// This delivery is in hand now.
    pub(super) fn insert(&mut self, delivery: &Claimed) {
        if delivery.followed.get() {
            return;
        }
        if self.heads.len() >= self.purge_at.max(PURGE) {
            self.heads.retain(|_, followed| followed.is_shared());
            self.purge_at = self.heads.len() * 2;
        }
        let lane = (delivery.webhook, delivery.lane.clone());
        self.heads.insert(lane, delivery.followed.clone());
    }

    /// Something was put into this lane; whether a delivery of it is in hand, and the next one waits for its outcome.
    pub(super) fn put_behind(&mut self, lane: &(WebhookId, Lane)) -> bool {
        let followed = self.heads.remove(lane);
        followed
            .filter(Followed::is_shared)
            .inspect(Followed::set)
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::leased;
    use super::{Lanes, PURGE};
    use crate::delivery::queue::{Claimed, WorkerId};

    fn lane(delivery: &Claimed) -> (crate::registry::WebhookId, crate::lifecycle::Lane) {
        (delivery.webhook, delivery.lane.clone())
    }

    #[test]
    fn what_is_in_hand_learns_that_it_is_followed_and_what_has_left_does_not_count() {
        let (mut lanes, worker) = (Lanes::default(), WorkerId::new());
        let (first, second) = (leased(worker, 1), leased(worker, 2));
        lanes.insert(&first);
        lanes.insert(&second);
        // Its outcome has a copy, as it is on its way to the database.
        let outcome = first.clone();
        assert!(lanes.put_behind(&lane(&first)));
        assert!(outcome.followed.get());
        assert!(!lanes.put_behind(&lane(&first)), "it knows already");
        let left = lane(&second);
        drop(second);
        assert!(!lanes.put_behind(&left));
    }

    #[test]
    fn lanes_whose_deliveries_have_left_take_no_room_for_long() {
        let (mut lanes, worker) = (Lanes::default(), WorkerId::new());
        let kept: Vec<Claimed> = (0..10).map(|id| leased(worker, id)).collect();
        kept.iter().for_each(|delivery| lanes.insert(delivery));
        for id in 10..100_000 {
            lanes.insert(&leased(worker, id));
            assert!(lanes.heads.len() <= PURGE);
        }
        assert!(kept.iter().all(|delivery| lanes.put_behind(&lane(delivery))));
    }
}
