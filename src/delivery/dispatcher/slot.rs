//! What the scheduler knows of one webhook: what is ready, in flight, and allowed.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, QuantaClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::ahead::Ahead;
use crate::delivery::breaker::Breaker;
use crate::delivery::queue::{Claimed, Taken};
use crate::registry::{Limits, Status, Webhook};

/// How much a slot may hold leased and unsent, in seconds of its rate: rows that wait here cannot be taken by another process.
const HORIZON_SECONDS: u32 = 2;

/// How long the event that was read with a lease may be used. It is read again if the delivery waits for longer, since it may be erased
/// meanwhile.
const FRESH: Duration = Duration::from_millis(200);

/// A delivery that is leased and not sent.
pub(super) struct Ready {
    pub(super) delivery: Claimed,
    /// Its event, and when it was read.
    event: Option<(Row, Instant)>,
}

impl Ready {
    pub(super) fn new(taken: Taken, now: Instant) -> Self {
        Self {
            delivery: taken.delivery,
            event: taken.event.map(|row| (row, now)),
        }
    }

    /// Bytes of its event that are in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.event.as_ref().map_or(0, |_| self.delivery.size)
    }

    /// The delivery, and its event if that was read just now.
    pub(super) fn take(self, now: Instant) -> (Claimed, Option<Row>) {
        let fresh = self.event.filter(|(_, at)| *at + FRESH > now);
        (self.delivery, fresh.map(|(row, _)| row))
    }
}

/// One webhook.
pub(super) struct Slot {
    pub(super) webhook: Arc<Webhook>,
    /// Leased and not sent.
    pub(super) ready: VecDeque<Ready>,
    pub(super) in_flight: u32,
    pub(super) ahead: Ahead,
    pub(super) bytes: u64,
    /// This worker was its owner at the last query.
    pub(super) owned: bool,
    /// It is among the webhooks that take turns.
    pub(super) in_turn: bool,
    /// Somebody in this process said that there are new deliveries.
    pub(super) woken: bool,
    /// More may be due in the queue.
    pub(super) dirty: bool,
    /// The timers that are set: when to look into the queue again, and when to try the gate again.
    pub(super) look_at: Option<Instant>,
    pub(super) gate_at: Option<Instant>,
    pub(super) breaker: Breaker,
    /// A success was reported since this process delivers for the webhook.
    pub(super) success_stored: bool,
    /// Nothing is sent until then: the receiver asked for a pause, or the rate is used up.
    pub(super) hold_until: Option<Instant>,
    limiter: DefaultDirectRateLimiter,
    clock: QuantaClock,
    limits: Limits,
}

/// Which leases to take for a webhook.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None, until something changes.
    Nothing,
    /// None before this moment.
    Later(Instant),
    /// At most so many of those due.
    Due(u32),
    /// One, due or not.
    Probe,
}

/// Whether a request may be sent now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Not before this moment.
    At(Instant),
    /// Not before a request in flight ends, or a delivery is ready.
    Full,
}

impl Slot {
    pub(super) fn new(webhook: Arc<Webhook>, failures: u32, now: Instant) -> Self {
        let clock = QuantaClock::default();
        let limits = webhook.limits;
        Self {
            limiter: limiter(limits, &clock),
            clock,
            limits,
            webhook,
            ready: VecDeque::new(),
            in_flight: 0,
            ahead: Ahead::new(limits.max_in_flight),
            bytes: 0,
            owned: false,
            in_turn: false,
            woken: false,
            dirty: true,
            look_at: None,
            gate_at: None,
            breaker: Breaker::resume(failures, now),
            success_stored: false,
            hold_until: None,
        }
    }

    /// Whether the registration was changed since.
    pub(super) fn differs(&self, webhook: &Webhook) -> bool {
        self.webhook.revision != webhook.revision || self.webhook.status != webhook.status
    }

    /// Takes the registration as it is now. Failures of the old address do not count for a new one.
    pub(super) fn update(&mut self, webhook: Arc<Webhook>, now: Instant) {
        if webhook.target != self.webhook.target {
            self.breaker = Breaker::resume(0, now);
        }
        // Health is stored for each revision.
        self.success_stored = false;
        if webhook.limits != self.limits {
            self.limits = webhook.limits;
            self.limiter = limiter(self.limits, &self.clock);
            self.ahead = Ahead::new(self.limits.max_in_flight);
        }
        self.webhook = webhook;
    }

    pub(super) fn delivers(&self) -> bool {
        self.webhook.status == Status::Enabled
    }

    /// Which leases to take.
    pub(super) fn want(&self, now: Instant) -> Wanted {
        if !self.delivers() || !self.dirty {
            return Wanted::Nothing;
        }
        let held = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        if let Some(probe_at) = self.breaker.probe_at() {
            return match self.in_flight == 0 && held == 0 {
                true if probe_at <= now => Wanted::Probe,
                true => Wanted::Later(probe_at),
                false => Wanted::Nothing,
            };
        }
        if let Some(at) = self.hold_until
            && at > now + Duration::from_secs(1)
        {
            return Wanted::Later(at);
        }
        let room = self
            .limits
            .max_in_flight
            .saturating_add(self.ahead.get())
            .min(self.horizon())
            .clamp(1, 1024);
        let free = room.saturating_sub(self.in_flight + held);
        // A few more are not worth a query while many are ready.
        if free == 0 || (held > 0 && free < room / 4) {
            return Wanted::Nothing;
        }
        Wanted::Due(free)
    }

    /// Nothing is ready, although another request could be sent.
    pub(super) fn is_dry(&self) -> bool {
        self.ready.is_empty() && self.in_flight < self.limits.max_in_flight
    }

    /// The event of a delivery had to be read again: fewer are leased ahead from now on. What is leased beyond that is given back, so that it
    /// takes no room from other webhooks.
    pub(super) fn came_too_early(&mut self) -> VecDeque<Ready> {
        self.ahead.came_too_early();
        let most = usize::try_from(self.ahead.get()).unwrap_or(usize::MAX);
        self.ready.split_off(most.min(self.ready.len()))
    }

    /// How many requests the rate allows in [`HORIZON_SECONDS`], or at once.
    fn horizon(&self) -> u32 {
        let rate = self.limits.per_second.saturating_mul(HORIZON_SECONDS);
        rate.max(self.limits.burst)
    }

    /// How many more requests may be sent now, if nothing else waits that is known of.
    pub(super) fn room(&self, now: Instant) -> u32 {
        let clear = self.owned
            && self.delivers()
            && !self.dirty
            && self.ready.is_empty()
            && self.breaker.probe_at().is_none()
            && self.hold_until.is_none_or(|at| at <= now);
        if clear {
            let most = self.limits.max_in_flight.min(self.horizon());
            most.saturating_sub(self.in_flight)
        } else {
            0
        }
    }

    /// Whether the next of `ready` may be sent; if so, it is counted by the rate limiter.
    pub(super) fn gate(&mut self, now: Instant) -> Gate {
        let limit = if self.breaker.probe_at().is_some() {
            1
        } else {
            self.limits.max_in_flight
        };
        if self.ready.is_empty() || self.in_flight >= limit {
            return Gate::Full;
        }
        if let Some(at) = self.hold_until
            && at > now
        {
            return Gate::At(at);
        }
        match self.limiter.check() {
            Ok(()) => Gate::Open,
            Err(not_until) => {
                let at = now + not_until.wait_time_from(self.clock.now());
                self.hold_until = Some(at);
                Gate::At(at)
            }
        }
    }
}

fn limiter(limits: Limits, clock: &QuantaClock) -> DefaultDirectRateLimiter {
    let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    let per_second = at_least_one(limits.per_second);
    // One by one, so that no minute has more than the receiver allows, whichever of the two rates is the smaller one.
    let quota = match limits.per_minute.and_then(NonZeroU32::new) {
        Some(allowed) if u64::from(allowed.get()) < u64::from(per_second.get()) * 60 => {
            Quota::per_minute(allowed).allow_burst(NonZeroU32::MIN)
        }
        Some(_) => Quota::per_second(per_second).allow_burst(NonZeroU32::MIN),
        None => Quota::per_second(per_second).allow_burst(at_least_one(limits.burst)),
    };
    RateLimiter::direct_with_clock(quota, clock.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_rate_leaves_no_burst_whichever_rate_is_smaller() {
        let clock = QuantaClock::default();
        let two = NonZeroU32::MIN.saturating_add(1);
        let two_at_once = |per_minute| {
            let limits = Limits {
                per_second: 1,
                burst: 200,
                per_minute,
                ..Limits::default()
            };
            limiter(limits, &clock).check_n(two).is_ok()
        };
        assert!(two_at_once(None));
        for allowed in [1, 59, 60, 61, 6_000] {
            assert!(!two_at_once(Some(allowed)), "{allowed}");
        }
    }
}
