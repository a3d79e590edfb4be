//! Takes leases on what is due, one query at a time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::super::slot::{Ready, Slot, Wanted};
use super::state::{Claiming, MAX_HELD, MAX_UNRECORDED, Scheduler, Timer};
use crate::database::DatabaseError;
use crate::delivery::queue::{self, Claim, ClaimRequest, EventsToo, Taken};
use crate::delivery::timed_query::timed_query;
use crate::registry::WebhookId;
use crate::supervise::PartFailure;

/// Most webhooks in one query.
const MAX_WANTS: usize = 256;
/// How soon to ask again for a webhook that another worker owns.
const RECHECK_OWNER: Duration = Duration::from_secs(2);
/// The same, if that worker has missed a heartbeat: it may be dead.
const RECHECK_SUSPECT: Duration = Duration::from_millis(250);
/// How long events are read apart from the leases after one could not be read: then each fails alone.
const EVENTS_APART: Duration = Duration::from_secs(60);

/// Most deliveries of one webhook that may be leased by whoever enqueues them.
const AT_ONCE: u32 = 16;
/// Before a query that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What came of a query, what it asked for, and whether it asked for events, too.
type Answered = (
    Result<Result<Claim, DatabaseError>, JoinError>,
    Vec<ClaimRequest>,
    EventsToo,
);

impl Scheduler {
    /// Starts a query for what is due, unless one is under way.
    pub(super) fn start_claim(&mut self) {
        let Some(worker) = self.session.current() else {
            return;
        };
        if self.claiming.is_some()
            || self.dirty.is_empty()
            || self.held >= MAX_HELD
            || self.unrecorded.len() >= MAX_UNRECORDED
        {
            return;
        }
        let now = Instant::now();
        let mut wants = vec![];
        let mut later = vec![];
        let after = self.asked_last;
        let turn = self
            .dirty
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        for id in turn.chain(self.dirty.range(..=after)) {
            let Some(slot) = self.slots.get(id) else {
                continue;
            };
            let (most, early) = match slot.want(now) {
                Wanted::Nothing => continue,
                Wanted::Later(at) => {
                    later.push((*id, at));
                    continue;
                }
                Wanted::Due(most) => (most, false),
                Wanted::Probe => (1, true),
            };
            wants.push(ClaimRequest {
                webhook: *id,
                most,
                early,
                owned: slot.owned,
            });
            if wants.len() == MAX_WANTS {
                break;
            }
        }
        for (id, at) in later {
            self.dirty.remove(&id);
            self.set_timer(id, Timer::Look, at);
        }
        let Some(last) = wants.last() else {
            return;
        };
        self.asked_last = last.webhook;
        for want in &wants {
            self.dirty.remove(&want.webhook);
            if let Some(slot) = self.slots.get_mut(&want.webhook) {
                slot.dirty = false;
            }
        }
        let pool = self.pool.clone();
        let asked = wants.clone();
        let query_timeout = self.options.query_timeout;
        let number = self.wake.grants().number();
        let events = self.events_too(now);
        let task = tokio::spawn(async move {
            crate::failpoint::hit("claim");
            timed_query(&pool, query_timeout, async |client| {
                queue::claim(client, worker, number, &asked, events).await
            })
            .await
        });
        let webhooks: Vec<WebhookId> = wants.iter().map(|want| want.webhook).collect();
        self.claiming = Some(Claiming {
            task,
            wants,
            events,
            number,
        });
        webhooks.into_iter().for_each(|id| self.offer(id));
    }

    /// Whether the events are to be read, too; as many bytes as there is room for.
    fn events_too(&mut self, now: Instant) -> EventsToo {
        self.events_apart = self.events_apart.filter(|until| *until > now);
        match self.events_apart {
            Some(_) => EventsToo::No,
            None => {
                let room = self.options.max_bytes.min(self.options.read_ahead);
                EventsToo::Bytes(room.saturating_sub(self.held_bytes))
            }
        }
    }

    /// Takes the answer to the query.
    pub(super) fn claimed(&mut self, (result, wants, events): Answered) {
        let claim = match result {
            Ok(Ok(claim)) => claim,
            Ok(Err(DatabaseError::Query(error)))
                if events != EventsToo::No && error.as_db_error().is_some() =>
            {
                // An event may be the reason. Without them the claim tells, and the event that cannot be read fails alone.
                tracing::debug!(error = %crate::error_text::chain(&error), "what is due cannot be taken with its events; trying without");
                self.events_apart = Some(Instant::now() + EVENTS_APART);
                self.claim_failed(&wants, Duration::ZERO);
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "what is due cannot be taken; trying again");
                self.claim_failed(&wants, RETRY);
                return;
            }
            Err(error) => {
                self.broken = Some(self.part.report(PartFailure::of("claim", error)));
                self.claim_failed(&wants, RETRY);
                return;
            }
        };
        let now = Instant::now();
        let is_dry = |id: &WebhookId| self.slots.get(id).is_some_and(Slot::is_dry);
        let asked = wants.iter().filter(|want| !want.early).map(|want| want.webhook);
        let dry: HashSet<WebhookId> = asked.filter(is_dry).collect();
        let mut got: HashMap<WebhookId, u32> = HashMap::new();
        for taken in claim.claimed {
            *got.entry(taken.delivery.webhook).or_default() += 1;
            self.take(taken, now);
        }
        // What was put in behind these while the query was under way, which may not have seen it.
        let lanes = std::mem::take(&mut self.put_meanwhile);
        self.put_behind(lanes);
        for id in &claim.foreign {
            let wait = if claim.suspect.contains(id) {
                RECHECK_SUSPECT
            } else {
                RECHECK_OWNER
            };
            self.set_timer(*id, Timer::Look, now + wait);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.success_stored = false;
                slot.owned = false;
                if std::mem::take(&mut slot.woken) {
                    self.session.notify_peers();
                }
            }
        }
        for want in wants {
            if claim.foreign.contains(&want.webhook) {
                continue;
            }
            if let Some(slot) = self.slots.get_mut(&want.webhook) {
                slot.woken = false;
                slot.owned = true;
            }
            if got.get(&want.webhook).copied().unwrap_or_default() >= want.most {
                if let Some(slot) = self
                    .slots
                    .get_mut(&want.webhook)
                    .filter(|_| dry.contains(&want.webhook))
                {
                    slot.ahead.ran_dry();
                }
                self.look(want.webhook);
            } else if let Some(wait) = claim.next_due.get(&want.webhook) {
                // A millisecond later, so that it is due for certain.
                self.set_timer(want.webhook, Timer::Look, now + *wait + Duration::from_millis(1));
            }
            self.offer(want.webhook);
        }
    }

    /// Takes a lease into this process's hands.
    fn take(&mut self, taken: Taken, now: Instant) {
        let ready = Ready::new(taken, now);
        let id = ready.delivery.webhook;
        self.held += 1;
        self.held_bytes += ready.bytes();
        self.lanes.insert(&ready.delivery);
        let current = self.session.current();
        match self.slots.get_mut(&id) {
            // While the breaker is open, only a probe is sent, whatever was leased before it opened.
            Some(slot)
                if Some(ready.delivery.worker) == current
                    && slot.breaker.probe_at().is_none_or(|at| at <= now) =>
            {
                slot.ready.push_back(ready);
                self.take_turns(id);
            }
            _ => self.hand_back(ready),
        }
    }

    /// Takes what was leased by whoever enqueued it.
    pub(super) fn take_leased(&mut self) {
        let leased = self.wake.leased();
        let now = Instant::now();
        if leased.lost {
            self.reconcile_at = now;
        }
        for taken in leased.leases {
            self.take(taken, now);
        }
    }

    /// Says how many deliveries of a webhook may be leased by whoever enqueues them: as many as would be sent at once, if nothing else of
    /// it waits that is known of.
    pub(super) fn offer(&self, id: WebhookId) {
        let Some(worker) = self.session.current() else {
            self.wake.grants().withdraw();
            return;
        };
        let asked = |claim: &Claiming| claim.wants.iter().any(|want| want.webhook == id);
        let asks = self.claiming.as_ref().is_some_and(asked);
        let full = self.held >= MAX_HELD || self.unrecorded.len() >= MAX_UNRECORDED;
        let slot = self.slots.get(&id).filter(|_| !asks && !full);
        let room = slot.map_or(0, |slot| slot.room(Instant::now()).min(AT_ONCE));
        let free = MAX_HELD.saturating_sub(self.held);
        self.wake
            .grants()
            .offer(worker, id, room, u32::try_from(free).unwrap_or(u32::MAX));
    }

    fn claim_failed(&mut self, wants: &[ClaimRequest], wait: Duration) {
        // The claim may be committed nevertheless: then rows are leased to this worker that nobody knows of.
        self.reconcile_at = Instant::now();
        let at = Instant::now() + wait;
        for want in wants {
            self.set_timer(want.webhook, Timer::Look, at);
        }
    }
}

/// Waits for the query under way; without one, for ever. Cancel-safe.
pub(super) async fn claimed(claiming: &mut Option<Claiming>) -> Answered {
    let Some(under_way) = claiming else {
        return std::future::pending().await;
    };
    let result = (&mut under_way.task).await;
    let events = under_way.events;
    let wants = claiming.take().map(|done| done.wants).unwrap_or_default();
    (result, wants, events)
}
