//! The end: everything in hand is finished or handed back, within bounded times. What no longer belongs to this process is cut off, as
//! at any other time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::recorder::Written;
use super::super::session::WorkerSession;
use super::claims::claimed;
use super::state::Scheduler;
use crate::registry::WebhookId;
use crate::supervise::ending;

/// How long outcomes may take to be written at shutdown.
const RECORD_AT_END: Duration = ending::OUTCOMES;

impl Scheduler {
    /// Lets requests in flight end, hands the rest back, and waits until the outcomes are written; each for a bounded time.
    pub(super) async fn drain(
        mut self,
        mut written: mpsc::UnboundedReceiver<Written>,
        mut changes: WorkerSession,
    ) {
        self.cut_off();
        self.wake.grants().finish();
        let wake = self.wake.clone();
        self.take_leased();
        let ids: Vec<WebhookId> = self.slots.keys().copied().collect();
        for id in ids {
            self.release_ready(id);
        }
        let deadline = Instant::now() + self.options.drain;
        while !(self.tasks.is_empty() && self.claiming.is_none()) {
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => self.ended(done),
                Some(report) = written.recv() => self.written(report),
                result = claimed(&mut self.claiming) => self.claimed(result),
                _ = wake.woken() => self.take_leased(),
                () = changes.changed() => self.cut_off(),
                () = tokio::time::sleep_until(deadline) => {
                    self.tasks.abort_all();
                    while let Some(done) = self.tasks.join_next_with_id().await {
                        self.ended(done);
                    }
                    break;
                }
            }
            let ids: Vec<WebhookId> = self.turns.drain(..).collect();
            for id in ids {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.in_turn = false;
                }
                self.release_ready(id);
            }
        }
        let deadline = Instant::now() + RECORD_AT_END;
        while !self.unrecorded.is_empty() {
            match tokio::time::timeout_at(deadline, written.recv()).await {
                Ok(Some(report)) => self.written(report),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        count = self.unrecorded.len(),
                        "outcomes could not be written before the end; those deliveries are repeated"
                    );
                    break;
                }
            }
        }
    }
}
