//! Takes leases on what is due, one query at a time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::super::slot::Wanted;
use super::state::{Claiming, MAX_HELD, MAX_UNRECORDED, Scheduler, Timer};
use crate::database::DatabaseError;
use crate::delivery::queue::{self, Claim, ClaimRequest};
use crate::delivery::timed_query::timed_query;
use crate::registry::WebhookId;
use crate::supervise::PartFailure;

/// Most webhooks in one query.
const MAX_WANTS: usize = 256;
/// How soon to ask again for a webhook that another worker owns.
const RECHECK_OWNER: Duration = Duration::from_secs(2);
/// The same, if that worker has missed a heartbeat: it may be dead.
const RECHECK_SUSPECT: Duration = Duration::from_millis(250);

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
        let number = self.next_claim;
        self.next_claim += 1;
        let claiming = tokio::spawn(async move {
            crate::failpoint::hit("claim");
            timed_query(&pool, query_timeout, async |client| {
                queue::claim(client, worker, number, &asked).await
            })
            .await
        });
        self.claiming = Some((claiming, wants));
    }

    /// Takes the answer to the query.
    pub(super) fn claimed(
        &mut self,
        (result, wants): (Result<Result<Claim, DatabaseError>, JoinError>, Vec<ClaimRequest>),
    ) {
        let claim = match result {
            Ok(Ok(claim)) => claim,
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "what is due cannot be taken; trying again");
                self.claim_failed(&wants);
                return;
            }
            Err(error) => {
                self.broken = Some(self.part.report(PartFailure::of("claim", error)));
                self.claim_failed(&wants);
                return;
            }
        };
        let now = Instant::now();
        let mut got: HashMap<WebhookId, u32> = HashMap::new();
        for delivery in claim.claimed {
            *got.entry(delivery.webhook).or_default() += 1;
            self.held += 1;
            let id = delivery.webhook;
            match self.slots.get_mut(&id) {
                Some(slot) if Some(delivery.worker) == self.session.current() => {
                    slot.ready.push_back(delivery);
                    self.take_turns(id);
                }
                _ => self.hand_back(delivery),
            }
        }
        for id in &claim.foreign {
            let wait = if claim.suspect.contains(id) {
                RECHECK_SUSPECT
            } else {
                RECHECK_OWNER
            };
            self.set_timer(*id, Timer::Look, now + wait);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.success_stored = false;
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
            }
            if got.get(&want.webhook).copied().unwrap_or_default() >= want.most {
                self.look(want.webhook);
            } else if let Some(wait) = claim.next_due.get(&want.webhook) {
                // A millisecond later, so that it is due for certain.
                self.set_timer(want.webhook, Timer::Look, now + *wait + Duration::from_millis(1));
            }
        }
    }

    fn claim_failed(&mut self, wants: &[ClaimRequest]) {
        // The claim may be committed nevertheless: then rows are leased to this worker that nobody knows of.
        self.reconcile_at = Instant::now();
        let at = Instant::now() + Duration::from_millis(500);
        for want in wants {
            self.set_timer(want.webhook, Timer::Look, at);
        }
    }
}

/// Waits for the query under way; without one, for ever. Cancel-safe.
pub(super) async fn claimed(
    claiming: &mut Option<(Claiming, Vec<ClaimRequest>)>,
) -> (Result<Result<Claim, DatabaseError>, JoinError>, Vec<ClaimRequest>) {
    let Some((task, _)) = claiming else {
        return std::future::pending().await;
    };
    let result = task.await;
    let wants = claiming.take().map(|(_, wants)| wants).unwrap_or_default();
    (result, wants)
}
