//! What workers do: claim, compare, send, record, die.

use std::time::Duration;

use chrono::Utc;
use proptest::prelude::*;

use super::steps::{Answer, Sent, Spot};
use super::world::{Checked, Question, World, deliveries, spot_of, sql};
use crate::delivery::queue::{
    self, AttemptRecord, ClaimRequest, Claimed, EventsToo, LeaseKey, Outcome, OutcomeRecord, leave,
    record_outcomes,
};
use crate::delivery::response_excerpt::ResponseExcerpt;

/// Longer than a schedule takes; every wait ends with [`Step::Due`].
const PUT_OFF: Duration = Duration::from_secs(3600);

impl World {
    pub(super) async fn claim(
        &mut self,
        worker: usize,
        want: ClaimRequest,
        both: bool,
        answer: Answer,
    ) -> Checked {
        let other = self.pool.get().await.expect("a connection");
        let (one, two) = (self.workers[worker].id, self.workers[1 - worker].id);
        let number = self.workers[worker].number();
        if answer == Answer::Late {
            self.given_up.push(Question::Claim(one, number, want));
            return Ok(());
        }
        let wants = [want];
        let second = async {
            if both {
                let number = self.workers[1 - worker].number();
                queue::claim(&other, two, number, &wants, EventsToo::Bytes(0))
                    .await
                    .map(Some)
            } else {
                Ok(None)
            }
        };
        let (first, second) = tokio::join!(
            queue::claim(&self.client, one, number, &wants, EventsToo::No),
            second
        );
        let first = Some(sql(first)?).filter(|_| answer == Answer::Heard);
        let claims = [(worker, first), (1 - worker, sql(second)?)];
        for (worker, claim) in claims {
            for taken in claim.into_iter().flat_map(|claim| claim.claimed) {
                self.hold(worker, taken.delivery)?;
            }
        }
        Ok(())
    }

    /// A worker takes a lease into its hands.
    pub(super) fn hold(&mut self, worker: usize, claimed: Claimed) -> Checked {
        let busy = self.workers.iter().any(|w| {
            let outcomes = w.outcomes.iter().map(|s| &s.delivery);
            let mut held = w.held.iter().chain(outcomes);
            held.any(|h| h.webhook == claimed.webhook && h.lane == claimed.lane)
        });
        prop_assert!(
            !busy,
            "{} of webhook {} is taken twice",
            claimed.lane.as_str(),
            claimed.webhook
        );
        self.workers[worker].held.push(claimed);
        Ok(())
    }

    pub(super) async fn reconcile(&mut self, worker: usize, late: bool) -> Checked {
        let (id, below) = (self.workers[worker].id, self.below(worker));
        let held = self.workers[worker].in_hand();
        if late {
            self.given_up.push(Question::Reconcile(id, below, held));
            return Ok(());
        }
        sql(queue::reconcile(&self.client, id, below, &held).await)?;
        let leased =
            "SELECT id, fence FROM openregister_webhooks.delivery WHERE lease_owner = $1 ORDER BY id";
        let rows = sql(self.client.query(leased, &[&id.0]).await)?;
        let unknown: Vec<LeaseKey> = rows
            .iter()
            .map(|row| LeaseKey {
                id: row.get(0),
                fence: row.get(1),
            })
            .collect();
        let unknown: Vec<_> = unknown
            .into_iter()
            .filter(|lease| !held.contains(lease))
            .collect();
        // While it awaits leases that somebody takes for it, later claims are not looked at.
        prop_assert!(
            unknown.is_empty() || below < self.workers[worker].next_claim,
            "leased to it, and it knows nothing: {unknown:?}"
        );
        Ok(())
    }

    pub(super) fn send(&mut self, worker: usize, pick: usize, result: Sent) -> Checked {
        let held = &mut self.workers[worker].held;
        if held.is_empty() {
            return Ok(());
        }
        let delivery = held.remove(pick % held.len());
        let outcome = match result {
            Sent::Succeeds => Outcome::Succeeded,
            Sent::FailsForGood => Outcome::GivenUp,
            Sent::Fails if delivery.due => Outcome::Retry(Duration::ZERO),
            Sent::Fails => Outcome::Probed,
            Sent::HandedBack => Outcome::Released,
            Sent::PutOff => Outcome::PutOff(PUT_OFF),
        };
        if result.arrives() {
            self.arrives(&delivery, outcome.is_final())?;
        }
        let record = AttemptRecord {
            at: Utc::now(),
            duration: Duration::ZERO,
            number: delivery.attempt + 1,
            status: Some(200),
            cause: None,
            error: None,
            answer: ResponseExcerpt::default(),
            probe: !delivery.due,
            latency: None,
        };
        self.workers[worker].outcomes.push(OutcomeRecord {
            delivery,
            outcome,
            attempt: result.arrives().then_some(record),
            event: None,
        });
        Ok(())
    }

    /// The receiver gets it.
    pub(super) fn arrives(&mut self, delivery: &Claimed, is_final: bool) -> Checked {
        let spot = spot_of(delivery);
        let event = delivery.event.seq;
        let lane = self.lanes.entry(spot).or_default();
        let place = lane.events.iter().position(|e| *e == event);
        prop_assert!(place.is_some(), "event {event} was never committed");
        let place = place.unwrap_or_default();
        prop_assert!(
            place <= lane.reached,
            "{spot:?}: event {place} is sent when only {} before it are over",
            lane.reached
        );
        if place < lane.reached {
            prop_assert!(
                self.lost.contains(&event),
                "{spot:?}: event {place} is sent again for no reason"
            );
            self.repeats += 1;
        } else if is_final {
            lane.reached += 1;
        }
        Ok(())
    }

    pub(super) async fn record(
        &mut self,
        worker: usize,
        most: usize,
        beside: Vec<Spot>,
        heard: bool,
    ) -> Checked {
        let outcomes = &mut self.workers[worker].outcomes;
        let new: Vec<OutcomeRecord> = outcomes.drain(..most.min(outcomes.len())).collect();
        let mut batch = std::mem::take(&mut self.workers[worker].unheard);
        batch.extend(new.iter().cloned());
        let added = if self.open.is_none() {
            self.number(beside)
        } else {
            Vec::new()
        };
        let other = self.pool.get().await.expect("a connection");
        let enqueue = async {
            if !added.is_empty() {
                sql(other.batch_execute("BEGIN").await)?;
                sql(queue::enqueue(&**other, &deliveries(&added)).await)?;
                sql(other.batch_execute("COMMIT").await)?;
            }
            Checked::Ok(())
        };
        let (recorded, enqueued) = tokio::join!(record_outcomes(&self.client, &batch), enqueue);
        let recorded = sql(recorded)?;
        enqueued?;
        self.committed(added);
        prop_assert_eq!(
            recorded.lost,
            0,
            "outcomes of a living worker are said to be lost"
        );
        let passed_over = recorded.passed_over;
        let again: Vec<OutcomeRecord> = batch
            .iter()
            .filter(|s| passed_over.contains(&s.lease()))
            .cloned()
            .collect();
        let new = new.iter().filter(|s| !passed_over.contains(&s.lease()));
        self.check_put_off(new).await?;
        if !heard {
            batch.retain(|s| !passed_over.contains(&s.lease()));
            self.workers[worker].unheard = batch;
        }
        self.workers[worker].outcomes.splice(..0, again);
        Ok(())
    }

    pub(super) async fn crash(&mut self, worker: usize, late: bool, in_order: bool) -> Checked {
        let id = self.workers[worker].id;
        if in_order {
            sql(leave(&self.client, id).await)?;
        } else {
            let end = "UPDATE openregister_webhooks.worker SET alive_until = '-infinity' WHERE id = $1";
            sql(self.client.execute(end, &[&id.0]).await)?;
        }
        let successor = self.born().await?;
        let dead = std::mem::replace(&mut self.workers[worker], successor);
        self.lost
            .extend(dead.outcomes.iter().map(|s| s.delivery.event.seq));
        if late {
            self.late.extend(dead.outcomes);
            self.late.extend(dead.unheard);
        }
        Ok(())
    }

    /// Outcomes count exactly where nobody has taken the row in between.
    pub(super) async fn record_late(&mut self) -> Checked {
        let batch = std::mem::take(&mut self.late);
        let recorded = sql(record_outcomes(&self.client, &batch).await)?;
        self.late = batch;
        self.late.retain(|s| recorded.passed_over.contains(&s.lease()));
        for question in std::mem::take(&mut self.given_up) {
            match question {
                Question::Claim(worker, number, want) => {
                    sql(queue::claim(&self.client, worker, number, &[want], EventsToo::No).await)?;
                }
                Question::Reconcile(worker, below, held) => {
                    sql(queue::reconcile(&self.client, worker, below, &held).await)?;
                }
            }
        }
        Ok(())
    }
}
