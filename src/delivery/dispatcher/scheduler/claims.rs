//! Asks the queue for what is due, one query at a time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::super::slot::Wanted;
use super::timers::Timer;
use super::{MAX_UNSETTLED, Scheduler};
use crate::database::DatabaseError;
use crate::delivery::ask::ask;
use crate::delivery::queue::{self, Claim, Want};
use crate::registry::WebhookId;
use crate::supervise::PartFailure;

/// Leases in hand that are not sent yet.
pub(super) const MAX_HELD: usize = 4096;
/// Webhooks a query for what is due.
const MAX_WANTS: usize = 256;
/// How soon to look whether the owner of a webhook is still alive; and where it has missed a beat.
const FOREIGN: Duration = Duration::from_secs(2);
const SILENT: Duration = Duration::from_millis(250);

pub(super) type Claiming = JoinHandle<Result<Claim, DatabaseError>>;

impl Scheduler {
    /// Asks for what is due, unless that is being asked already.
    pub(super) fn start_claim(&mut self) {
        let Some(worker) = self.lease.current() else {
            return;
        };
        if self.claiming.is_some()
            || self.dirty.is_empty()
            || self.held >= MAX_HELD
            || self.unsettled.len() >= MAX_UNSETTLED
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
            wants.push(Want {
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
        let patience = self.options.patience;
        let number = self.next_claim;
        self.next_claim += 1;
        let claiming = tokio::spawn(async move {
            crate::failpoint::hit("claim");
            ask(&pool, patience, async |client| {
                queue::claim(client, worker, number, &asked).await
            })
            .await
        });
        self.claiming = Some((claiming, wants));
    }

    /// What the query for what is due brought.
    pub(super) fn claimed(
        &mut self,
        (result, wants): (Result<Result<Claim, DatabaseError>, JoinError>, Vec<Want>),
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
                Some(slot) if Some(delivery.worker) == self.lease.current() => {
                    slot.ready.push_back(delivery);
                    self.take_turns(id);
                }
                _ => self.hand_back(delivery),
            }
        }
        for id in &claim.foreign {
            let wait = if claim.silent.contains(id) {
                SILENT
            } else {
                FOREIGN
            };
            self.set_timer(*id, Timer::Look, now + wait);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.success_stored = false;
                if std::mem::take(&mut slot.woken) {
                    self.lease.tell_others();
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
                // A millisecond later it surely is.
                self.set_timer(want.webhook, Timer::Look, now + *wait + Duration::from_millis(1));
            }
        }
    }

    fn claim_failed(&mut self, wants: &[Want]) {
        // Rows may be leased to this worker that nobody knows of.
        self.reconcile_at = Instant::now();
        let at = Instant::now() + Duration::from_millis(500);
        for want in wants {
            self.set_timer(want.webhook, Timer::Look, at);
        }
    }
}

/// Waits for the claim under way, if there is one. Cancel-safe.
pub(super) async fn claimed(
    claiming: &mut Option<(Claiming, Vec<Want>)>,
) -> (Result<Result<Claim, DatabaseError>, JoinError>, Vec<Want>) {
    let Some((task, _)) = claiming else {
        return std::future::pending().await;
    };
    let result = task.await;
    let wants = claiming.take().map(|(_, wants)| wants).unwrap_or_default();
    (result, wants)
}
