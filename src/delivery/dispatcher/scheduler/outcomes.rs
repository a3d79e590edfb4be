//! What became of leased deliveries: the outcome of an attempt, what it tells about the receiver, and what is handed back unsent.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::super::attempt::{self, Attempted, Verdict, untried};
use super::super::health;
use super::super::recorder::Written;
use super::super::slot::Ready;
use super::super::wake::MOST_LANES;
use super::state::Scheduler;
use crate::delivery::queue::{self, Outcome, OutcomeRecord};
use crate::delivery::timed_query::timed_query;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// The longest pause that a receiver can ask for the whole webhook.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// For such a pause no lease is held.
const LONG_PAUSE: Duration = Duration::from_secs(1);

impl Scheduler {
    /// An attempt ended.
    pub(super) fn ended(&mut self, done: Result<(Id, Attempted), JoinError>) {
        let (task, attempted, panicked) = match done {
            Ok((task, attempted)) => (task, Some(attempted), false),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(error = %crate::error_text::chain(&error), "an attempt failed inside");
                }
                (error.id(), None, error.is_panic())
            }
        };
        let Some(delivery) = self.running.remove(&task) else {
            return;
        };
        let id = delivery.webhook;
        if self.beside == Some(delivery.id) {
            self.beside = None;
        } else {
            self.bytes = self.bytes.saturating_sub(delivery.size);
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            slot.bytes = slot.bytes.saturating_sub(delivery.size);
        }
        match attempted {
            Some(mut attempted) => {
                let put_off = matches!(attempted.record.outcome, Outcome::PutOff(_) | Outcome::Retry(_));
                if attempted.verdict == Verdict::NotAsked {
                    if let Some(slot) = self.slots.get_mut(&id).filter(|_| put_off) {
                        slot.breaker.not_asked(Instant::now());
                    }
                } else {
                    let now = self.webhooks.get(id).map(|webhook| webhook.revision);
                    if now == Some(attempted.revision) {
                        self.learn(id, delivery.id, &attempted);
                    } else {
                        attempted.disregard_verdict();
                        self.look(id);
                    }
                }
                self.record(attempted.record);
            }
            None if panicked => self.record(attempt::broken(delivery)),
            // Cut off: handed back, unless it no longer belongs to this process.
            None if self.session.holds(delivery.worker) => {
                self.record(untried(delivery, None, Outcome::Released).record);
            }
            None => {}
        }
        self.take_turns(id);
        self.offer(id);
    }

    /// Learns from an attempt that was made for the registration as it is now.
    fn learn(&mut self, id: WebhookId, seed: i64, attempted: &Attempted) {
        let now = Instant::now();
        let (revision, verdict) = (attempted.revision, &attempted.verdict);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match verdict {
            Verdict::NotAsked => {}
            Verdict::Good => {
                let failing = slot.breaker.failures() > 0;
                let reopened = slot.breaker.succeeded();
                // A failure of another process may be stored.
                if failing || !slot.success_stored {
                    slot.success_stored = true;
                    self.health.succeeded(id, revision);
                }
                if reopened {
                    tracing::info!(webhook = %id, "the receiver is back; everything that waits is due");
                    self.all_due(id);
                }
            }
            Verdict::Gone => {
                slot.breaker.failed(seed, now);
                let failures = slot.breaker.failures();
                let (pool, webhooks) = (self.pool.clone(), Arc::clone(&self.webhooks));
                let query_timeout = self.options.query_timeout;
                tokio::spawn(async move {
                    health::gone(&pool, query_timeout, webhooks.as_ref(), id, revision, failures).await;
                });
                self.release_ready(id);
            }
            Verdict::Bad {
                why,
                pause,
                blameless,
            } => {
                if let Some(pause) = pause {
                    slot.hold_until = Some(now + (*pause).min(MAX_PAUSE));
                }
                let opened = slot.breaker.failed(seed, now);
                if *blameless {
                    self.health.forgive(id, revision);
                } else {
                    let failures = slot.breaker.failures();
                    self.health.failed(id, revision, failures, why.clone());
                }
                // What is leased would only take room from others meanwhile.
                let paused = pause.is_some_and(|pause| pause > LONG_PAUSE);
                if opened {
                    tracing::warn!(webhook = %id, cause = %why, "deliveries keep failing; the receiver is probed until it is back");
                }
                if opened || paused {
                    self.release_ready(id);
                }
                self.look(id);
            }
        }
    }

    /// Makes everything that waits for another attempt due.
    pub(super) fn all_due(&self, id: WebhookId) {
        let (pool, query_timeout) = (self.pool.clone(), self.options.query_timeout);
        let wake = self.wake.clone();
        tokio::spawn(async move {
            let due = timed_query(&pool, query_timeout, async |client| {
                queue::due_now(client, id).await
            });
            if let Err(error) = due.await {
                // Then they wait until they are due.
                tracing::warn!(webhook = %id, error = %crate::error_text::chain(&error), "waiting deliveries could not be made due");
            }
            wake.wake([id]);
        });
    }

    fn record(&mut self, record: OutcomeRecord) {
        let cause = record.attempt.as_ref().and_then(|attempt| attempt.cause);
        match record.outcome {
            Outcome::Succeeded => self.options.metrics.left("succeeded", None),
            Outcome::GivenUp => self.options.metrics.left("given_up", cause),
            _ => {}
        }
        self.unrecorded.insert(record.lease());
        self.outcomes.hand_over(record);
    }

    /// Something was put into these lanes: what is in hand of them is waited for.
    pub(super) fn put_behind(&mut self, mut lanes: Vec<(WebhookId, Lane)>) {
        let mut waited_for = false;
        for lane in &lanes {
            waited_for |= self.lanes.put_behind(lane);
        }
        if self.claiming.is_some() {
            let room = MOST_LANES.saturating_sub(self.put_meanwhile.len());
            lanes.truncate(room);
            self.put_meanwhile.append(&mut lanes);
        }
        if waited_for {
            self.outcomes.hurry();
        }
    }

    /// Outcomes were written.
    pub(super) fn written(&mut self, report: Written) {
        for lease in report.done {
            self.unrecorded.remove(&lease);
        }
        for id in report.look {
            self.look(id);
        }
    }

    /// Hands back every lease of a webhook that is not sent.
    pub(super) fn release_ready(&mut self, id: WebhookId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            for ready in std::mem::take(&mut slot.ready) {
                self.hand_back(ready);
            }
        }
    }

    pub(super) fn hand_back(&mut self, ready: Ready) {
        self.held -= 1;
        self.held_bytes -= ready.bytes();
        self.record(untried(ready.delivery, None, Outcome::Released).record);
    }
}
