//! When to look at a webhook again: at most one timer of each kind for each webhook.

use tokio::time::Instant;

use super::state::{Scheduler, Timer};
use crate::registry::WebhookId;

impl Scheduler {
    pub(super) fn set_timer(&mut self, id: WebhookId, timer: Timer, at: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let set = match timer {
            Timer::Look => &mut slot.look_at,
            Timer::Gate => &mut slot.gate_at,
        };
        match *set {
            Some(earlier) if earlier <= at => return,
            Some(later) => drop(self.timers.remove(&(later, id, timer))),
            None => {}
        }
        *set = Some(at);
        self.timers.insert((at, id, timer));
    }

    /// Handles the timers whose time has come.
    pub(super) fn fire(&mut self) {
        let now = Instant::now();
        while let Some(&(at, id, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            match timer {
                Timer::Look => {
                    slot.look_at = None;
                    self.look(id);
                }
                Timer::Gate => {
                    slot.gate_at = None;
                    self.take_turns(id);
                }
            }
        }
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
