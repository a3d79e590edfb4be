//! Leases that are taken when a delivery is enqueued, so that no claim has to follow.
//!
//! The scheduler says for which webhooks it would send at once, and how many requests ([`Grants::offer`]). Whoever enqueues takes a
//! [`Grant`] of that, leases under its number in its own transaction, and hands the leases over after the commit.
//!
//! Guarantees: a number is given once, in ascending order, to a claim or to a grant. A grant is open until the scheduler has taken its
//! leases into its hands, or knows that it never will: so [`Grants::below`] is a number below which no answer is still awaited, as
//! `queue::reconcile` demands. A grant that nobody ends is closed after [`LONGEST`]; leases that are handed over later are not taken,
//! and the reconciliation gives them back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::queue::{Taken, WorkerId};
use crate::registry::WebhookId;

/// How long the leases of a grant are waited for.
const LONGEST: Duration = Duration::from_secs(10);

/// What may be leased by whoever enqueues, and what was.
#[derive(Debug)]
pub(super) struct Grants {
    /// The scheduler ends: it offers nothing more.
    ending: bool,
    /// The worker that delivers; none if nothing may be leased.
    worker: Option<WorkerId>,
    /// How many deliveries may still be leased, by webhook.
    room: HashMap<WebhookId, u32>,
    /// How many more leases the scheduler can hold, over all webhooks.
    free: u32,
    /// The number of the next claim or grant.
    next: i64,
    /// Grants that have not ended: since when they are open, and how many leases they are for.
    open: BTreeMap<i64, (Instant, u32)>,
    /// Grants that have ended, and their leases; none if it is not known whether there are any.
    ended: Vec<(i64, Option<Vec<Taken>>)>,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            ending: false,
            worker: None,
            room: HashMap::new(),
            free: 0,
            next: 1,
            open: BTreeMap::new(),
            ended: Vec::new(),
        }
    }
}

/// What the scheduler takes.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) leases: Vec<Taken>,
    /// There may be leases that nobody will hand over.
    pub(super) lost: bool,
}

impl Grants {
    /// For a claim.
    pub(super) const fn number(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// The number that is given next.
    pub(super) const fn next(&self) -> i64 {
        self.next
    }

    /// So many deliveries of this webhook would be sent at once by `worker`, which can hold `free` more leases of all webhooks.
    pub(super) fn offer(&mut self, worker: WorkerId, webhook: WebhookId, room: u32, free: u32) {
        if self.worker != Some(worker) {
            self.withdraw();
            self.worker = Some(worker);
        }
        self.free = free;
        if room == 0 || self.ending {
            self.room.remove(&webhook);
        } else {
            self.room.insert(webhook, room);
        }
    }

    /// Nothing may be leased any more.
    pub(super) fn withdraw(&mut self) {
        self.worker = None;
        self.room.clear();
    }

    /// Which of deliveries for these webhooks may be leased, by whom, and under which number; `None` if it is none.
    pub(super) fn take(
        &mut self,
        webhooks: impl Iterator<Item = WebhookId>,
        now: Instant,
    ) -> Option<(WorkerId, i64, Vec<bool>)> {
        let worker = self.worker?;
        let under_way: u32 = self.open.values().map(|(_, leases)| leases).sum();
        let free = self.free.saturating_sub(under_way);
        let mut leases = 0;
        let mut take = |webhook| {
            let room = self.room.get_mut(&webhook).filter(|room| **room > 0);
            let Some(room) = room.filter(|_| leases < free) else {
                return false;
            };
            *room -= 1;
            leases += 1;
            true
        };
        let granted: Vec<bool> = webhooks.map(&mut take).collect();
        if leases == 0 {
            return None;
        }
        let number = self.number();
        self.open.insert(number, (now, leases));
        Some((worker, number, granted))
    }

    /// A grant has ended with these leases; `None`: nobody knows which.
    pub(super) fn end(&mut self, number: i64, leases: Option<Vec<Taken>>) {
        self.ended.push((number, leases));
    }

    /// Closes the grants that have ended, and those that are open for too long.
    pub(super) fn close(&mut self, now: Instant) -> Ended {
        let mut ended = Ended::default();
        for (number, leases) in self.ended.drain(..) {
            match (self.open.remove(&number), leases) {
                (Some(_), Some(leases)) => ended.leases.extend(leases),
                _ => ended.lost = true,
            }
        }
        let before = self.open.len();
        self.open.retain(|_, (since, _)| *since + LONGEST > now);
        ended.lost |= self.open.len() < before;
        ended
    }

    /// A number below which every grant is closed.
    pub(super) fn below(&self) -> i64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    /// The scheduler ends. What was granted may still be handed over.
    pub(super) fn finish(&mut self) {
        self.withdraw();
        self.ending = true;
    }

    /// Another scheduler begins: what an earlier one was told is not for it. Its worker has ended, and so have its leases.
    pub(super) fn restart(&mut self) {
        self.withdraw();
        self.ending = false;
        self.open.clear();
        self.ended.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBHOOK: WebhookId = WebhookId(1);

    fn granted(grants: &mut Grants, count: usize) -> Option<(i64, Vec<bool>)> {
        let webhooks = std::iter::repeat_n(WEBHOOK, count);
        grants
            .take(webhooks, Instant::now())
            .map(|(_, number, granted)| (number, granted))
    }

    #[test]
    fn no_more_is_granted_than_was_offered_and_a_grant_is_open_until_it_is_closed() {
        let (mut grants, worker) = (Grants::default(), WorkerId::new());
        assert_eq!(granted(&mut grants, 1), None, "nothing was offered");
        grants.offer(worker, WEBHOOK, 2, 10);
        assert_eq!(granted(&mut grants, 3), Some((1, vec![true, true, false])));
        assert_eq!(granted(&mut grants, 1), None, "the room is used up");
        assert_eq!((grants.number(), grants.below()), (2, 1));
        grants.end(1, Some(Vec::new()));
        assert_eq!(grants.below(), 1, "handed over, and in nobody's hands yet");
        assert!(!grants.close(Instant::now()).lost);
        assert_eq!(grants.below(), 3);
    }

    #[test]
    fn a_grant_that_nobody_ends_is_closed_and_what_comes_later_is_not_taken() {
        let (mut grants, worker) = (Grants::default(), WorkerId::new());
        grants.offer(worker, WEBHOOK, 1, 10);
        assert_eq!(granted(&mut grants, 1), Some((1, vec![true])));
        assert!(!grants.close(Instant::now()).lost);
        assert_eq!(grants.below(), 1);
        let later = Instant::now() + LONGEST;
        assert!(grants.close(later).lost);
        assert_eq!(grants.below(), 2);
        grants.end(1, Some(Vec::new()));
        assert!(
            grants.close(Instant::now()).lost,
            "its leases are to be looked for"
        );
    }

    #[test]
    fn no_more_is_granted_over_all_than_the_scheduler_can_hold() {
        let (mut grants, worker) = (Grants::default(), WorkerId::new());
        grants.offer(worker, WEBHOOK, 16, 3);
        assert_eq!(granted(&mut grants, 2), Some((1, vec![true, true])));
        assert_eq!(granted(&mut grants, 2), Some((2, vec![true, false])));
        assert_eq!(granted(&mut grants, 1), None, "three are under way");
        grants.end(1, Some(Vec::new()));
        grants.close(Instant::now());
        assert_eq!(granted(&mut grants, 3), Some((3, vec![true, true, false])));
    }

    #[test]
    fn what_one_worker_offered_is_not_granted_for_the_next() {
        let mut grants = Grants::default();
        grants.offer(WorkerId::new(), WEBHOOK, 1, 10);
        grants.offer(WorkerId::new(), WebhookId(2), 1, 10);
        assert_eq!(granted(&mut grants, 1), None);
    }
}
