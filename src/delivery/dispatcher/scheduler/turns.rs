//! Webhooks take turns, one request each.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::attempt::attempt;
use super::super::slot::Gate;
use super::state::{MAX_UNRECORDED, Scheduler, Timer};
use crate::delivery::queue::WorkerId;
use crate::registry::WebhookId;

/// How a webhook's turn went.
enum Turn {
    Sent,
    /// It waits for room, which another webhook's request may leave when it ends.
    Waits,
    /// Nothing can be sent until something changes for this webhook.
    Over,
}

impl Scheduler {
    /// Sends whatever may be sent, one request of each webhook in turn.
    pub(super) fn send_ready(&mut self) {
        let now = Instant::now();
        let mut idle = 0;
        while idle < self.turns.len() {
            if self.tasks.len() >= self.options.max_in_flight as usize
                || self.unrecorded.len() >= MAX_UNRECORDED
            {
                return;
            }
            let Some(worker) = self.session.current() else {
                return;
            };
            let Some(id) = self.turns.pop_front() else {
                return;
            };
            let turn = self.send_one(id, worker, now);
            match turn {
                Turn::Sent => idle = 0,
                Turn::Waits => idle += 1,
                Turn::Over => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.in_turn = false;
                    }
                    continue;
                }
            }
            self.turns.push_back(id);
        }
    }

    /// Lets the webhook take turns, if it has something ready.
    pub(super) fn take_turns(&mut self, id: WebhookId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && !slot.in_turn
            && !slot.ready.is_empty()
        {
            slot.in_turn = true;
            self.turns.push_back(id);
        }
    }

    fn send_one(&mut self, id: WebhookId, worker: WorkerId, now: Instant) -> Turn {
        let Some(webhook) = self.webhooks.get(id) else {
            self.release_ready(id);
            return Turn::Over;
        };
        if self.slots.get(&id).is_some_and(|slot| slot.differs(&webhook)) {
            self.look(id);
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return Turn::Over;
        };
        if !slot.delivers() {
            self.release_ready(id);
            return Turn::Over;
        }
        // The loop may not know yet that the worker was given up and there is another one: other processes may have taken what the
        // earlier one had leased.
        while let Some(lost) = slot.ready.pop_front_if(|ready| ready.delivery.worker != worker) {
            self.held -= 1;
            self.held_bytes -= lost.bytes();
        }
        let Some(size) = slot.ready.front().map(|ready| ready.delivery.size) else {
            return Turn::Over;
        };
        // One request is always allowed, whatever its size.
        let own = slot.bytes > 0 && slot.bytes + size > self.options.max_bytes / 4;
        let all = self.bytes > 0 && self.bytes + size > self.options.max_bytes;
        // Small ones always leave too little room for a large one: so one of these may be sent beside them.
        let beside = all && self.beside.is_none() && size > self.options.max_bytes / 4;
        if own || (all && !beside) {
            return Turn::Waits;
        }
        match slot.gate(now) {
            Gate::Open => {}
            Gate::At(at) => {
                self.set_timer(id, Timer::Gate, at);
                return Turn::Over;
            }
            // The webhook takes turns again when a request ends.
            Gate::Full => return Turn::Over,
        }
        let Some(ready) = slot.ready.pop_front() else {
            return Turn::Over;
        };
        slot.in_flight += 1;
        slot.bytes += size;
        if beside {
            self.beside = Some(ready.delivery.id);
        } else {
            self.bytes += size;
        }
        self.held -= 1;
        self.held_bytes -= ready.bytes();
        let (delivery, event) = ready.take(now);
        let surplus = if event.is_none() {
            slot.came_too_early()
        } else {
            VecDeque::new()
        };
        let webhook = Arc::clone(&slot.webhook);
        let task = self.tasks.spawn(attempt(
            Arc::clone(&self.context),
            webhook,
            delivery.clone(),
            event,
        ));
        self.running.insert(task.id(), delivery);
        surplus.into_iter().for_each(|ready| self.hand_back(ready));
        Turn::Sent
    }
}
