//! What must hold after every step, and in the end.

use proptest::prelude::*;

use super::steps::{Answer, Sent, WEBHOOKS};
use super::world::{Checked, World, sql};
use crate::delivery::queue::{ClaimRequest, Outcome, OutcomeRecord};
use crate::registry::WebhookId;

impl World {
    /// What was put off for a while has used up no attempt, and is not due before.
    pub(super) async fn check_put_off(&self, recorded: impl Iterator<Item = &OutcomeRecord>) -> Checked {
        for one in recorded.filter(|s| matches!(s.outcome, Outcome::PutOff(_))) {
            let as_it_was = "SELECT lease_owner IS NULL AND attempt = $2 AND due_at > clock_timestamp() + interval '30 minutes' \
                FROM openregister_webhooks.delivery WHERE id = $1";
            let attempt = i32::try_from(one.delivery.attempt).unwrap_or(i32::MAX);
            let row = sql(self
                .client
                .query_one(as_it_was, &[&one.delivery.id, &attempt])
                .await)?;
            prop_assert!(
                row.get::<_, bool>(0),
                "put off, and {one:?} is due or has used up an attempt"
            );
        }
        Ok(())
    }

    /// Of each lane the first row is its head, and no other.
    pub(super) async fn check_heads(&self) -> Checked {
        let wrong = "SELECT count(*) FROM (SELECT head, id = min(id) OVER (PARTITION BY webhook, lane) AS is_first \
            FROM openregister_webhooks.delivery) d WHERE head <> is_first";
        let wrong: i64 = sql(self.client.query_one(wrong, &[]).await)?.get(0);
        prop_assert_eq!(
            wrong,
            0,
            "rows that are head and not first, or first and not head"
        );
        Ok(())
    }

    /// What is leased to a living worker is noted: that is how a lost answer is found.
    pub(super) async fn check_notes(&self) -> Checked {
        let wrong = "SELECT count(*) FROM openregister_webhooks.delivery d \
            JOIN openregister_webhooks.worker w ON w.id = d.lease_owner AND w.alive_until = 'infinity' \
            WHERE NOT EXISTS (SELECT FROM openregister_webhooks.claim c, unnest(c.deliveries, c.fences) AS n(id, fence) \
                WHERE c.worker = w.id AND n.id = d.id AND n.fence = d.fence)";
        let wrong: i64 = sql(self.client.query_one(wrong, &[]).await)?.get(0);
        prop_assert_eq!(wrong, 0, "leases that are not noted");
        Ok(())
    }

    /// Everything is delivered in the end, and finished once.
    pub(super) async fn finish(mut self) -> Checked<usize> {
        self.end_open(true).await?;
        self.record_late().await?;
        // One goes on with what it knows; the other does not.
        self.crash(1, false, true).await?;
        while !self.workers[0].held.is_empty() {
            self.send(0, 0, Sent::Succeeds)?;
        }
        let left = "SELECT count(*) FROM openregister_webhooks.delivery";
        for _ in 0..=self.next_event {
            if sql(self.client.query_one(left, &[]).await)?.get::<_, i64>(0) == 0 {
                break;
            }
            self.all_due().await?;
            self.reconcile(0, false).await?;
            for webhook in 1..=WEBHOOKS {
                let want = ClaimRequest {
                    webhook: WebhookId(webhook),
                    most: 100,
                    early: true,
                    owned: false,
                };
                self.claim(0, want, false, Answer::Heard).await?;
            }
            while !self.workers[0].held.is_empty() {
                self.send(0, 0, Sent::Succeeds)?;
            }
            self.record(0, usize::MAX, Vec::new(), true).await?;
            self.check_heads().await?;
        }
        self.reconcile(0, false).await?;
        let notes = "SELECT count(*) FROM openregister_webhooks.claim";
        let notes: i64 = sql(self.client.query_one(notes, &[]).await)?.get(0);
        prop_assert_eq!(notes, 0, "notes of claims of which nothing is leased any more");
        let committed: usize = self.lanes.values().map(|lane| lane.events.len()).sum();
        for (spot, lane) in &self.lanes {
            prop_assert_eq!(lane.reached, lane.events.len(), "{:?} is not finished", spot);
        }
        let log = "SELECT count(*), count(DISTINCT (webhook, lane, event_seq)) FROM openregister_webhooks.delivery_log \
            WHERE state IN ('succeeded', 'given_up')";
        let row = sql(self.client.query_one(log, &[]).await)?;
        prop_assert_eq!(
            row.get::<_, i64>(0),
            i64::try_from(committed).unwrap_or(-1),
            "rows of the log"
        );
        prop_assert_eq!(
            row.get::<_, i64>(1),
            i64::try_from(committed).unwrap_or(-1),
            "deliveries in the log"
        );
        Ok(self.repeats)
    }
}
