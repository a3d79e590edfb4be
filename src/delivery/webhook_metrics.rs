//! What is counted for each webhook.
//!
//! Guarantees: at most [`NAMED`] webhooks have series of their own, those that fail most and those that are busiest, and the rest are
//! counted as one. No series ever goes down: what was counted under one name is never moved to another, so rates are right. Counting
//! allocates nothing for a webhook that is known.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::queue::{Outcome, OutcomeRecord};

/// How many webhooks have series of their own, here and in the other metrics with the label `webhook`.
pub(crate) const NAMED: usize = 50;
/// How many of them are chosen because they fail, if so many do.
const FAILING: usize = NAMED / 2;
/// The value of the label `webhook` for all webhooks without series of their own.
pub(crate) const REST: &str = "other";
/// How often the choice is made anew.
const REVIEW: Duration = Duration::from_secs(60);
/// A webhook that was chosen stays so for this time at least: series that come and go are a burden for Prometheus.
const STAYS: Duration = Duration::from_secs(900);

/// Counts; every clone counts into the same figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebhookMetrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    webhooks: HashMap<i64, Webhook>,
    rest: Figures,
    named: usize,
    reviewed: Option<Instant>,
}

/// What is known of one webhook.
#[derive(Debug, Default)]
struct Webhook {
    /// Since it has had series of its own.
    figures: Figures,
    named_at: Option<Instant>,
    attempts: Recent,
    failures: Recent,
}

/// How often something happened lately: what is longer ago counts half as much for each review since.
#[derive(Debug, Default)]
struct Recent(f64);

#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    succeeded: u64,
    given_up: u64,
    good_attempts: u64,
    failed_attempts: u64,
    request: Duration,
}

impl Figures {
    fn add(&mut self, record: &OutcomeRecord) {
        match record.outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::GivenUp => self.given_up += 1,
            _ => {}
        }
        if let Some(attempt) = &record.attempt {
            match attempt.cause {
                None => self.good_attempts += 1,
                Some(_) => self.failed_attempts += 1,
            }
            self.request += attempt.duration;
        }
    }
}

impl WebhookMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Counts outcomes that were recorded.
    pub(super) fn count<'a>(&self, records: impl IntoIterator<Item = &'a OutcomeRecord>) {
        self.count_at(Instant::now(), records);
    }

    fn count_at<'a>(&self, now: Instant, records: impl IntoIterator<Item = &'a OutcomeRecord>) {
        let mut state = self.lock();
        for record in records {
            state.count(record, now);
        }
        state.review(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, record: &OutcomeRecord, now: Instant) {
        let webhook = self.webhooks.entry(record.delivery.webhook.0).or_default();
        if webhook.named_at.is_none() && self.named < NAMED {
            webhook.named_at = Some(now);
            self.named += 1;
        }
        if let Some(attempt) = &record.attempt {
            webhook.attempts.0 += 1.0;
            webhook.failures.0 += f64::from(u8::from(attempt.cause.is_some()));
        }
        match webhook.named_at {
            Some(_) => webhook.figures.add(record),
            None => self.rest.add(record),
        }
    }

    /// Chooses anew, once in [`REVIEW`].
    fn review(&mut self, now: Instant) {
        if self.reviewed.is_some_and(|at| now < at + REVIEW) {
            return;
        }
        self.reviewed = Some(now);
        for webhook in self.webhooks.values_mut() {
            webhook.attempts.0 /= 2.0;
            webhook.failures.0 /= 2.0;
        }
        self.choose(now);
        // What has not been delivered to for some minutes is forgotten, so the memory is that of the webhooks in use.
        self.webhooks
            .retain(|_, webhook| webhook.named_at.is_some() || webhook.attempts.0 > 0.1);
    }

    /// Gives series to those that fail most and those that are busiest, and takes them from others, as far as those have had them long
    /// enough.
    fn choose(&mut self, now: Instant) {
        if self.webhooks.len() <= NAMED {
            return;
        }
        let mut ids: Vec<i64> = self.webhooks.keys().copied().collect();
        let webhooks = &self.webhooks;
        let by = |figure: fn(&Webhook) -> f64| {
            move |a: &i64, b: &i64| {
                let of = |id: &i64| webhooks.get(id).map_or(0.0, figure);
                of(b).total_cmp(&of(a)).then(a.cmp(b))
            }
        };
        ids.sort_unstable_by(by(|webhook| webhook.failures.0));
        let failing = ids
            .iter()
            .take(FAILING)
            .take_while(|id| webhooks.get(id).is_some_and(|webhook| webhook.failures.0 > 0.1))
            .count();
        ids[failing..].sort_unstable_by(by(|webhook| webhook.attempts.0));
        let settled = |webhook: &Webhook| webhook.named_at.is_some_and(|at| now >= at + STAYS);
        let mut leaving: Vec<i64> = ids[NAMED..]
            .iter()
            .copied()
            .filter(|id| webhooks.get(id).is_some_and(settled))
            .collect();
        for id in &ids[..NAMED] {
            if self
                .webhooks
                .get(id)
                .is_none_or(|webhook| webhook.named_at.is_some())
            {
                continue;
            }
            let Some(loser) = leaving.pop() else { break };
            if let Some(webhook) = self.webhooks.get_mut(&loser) {
                webhook.named_at = None;
                // It would begin at 0 again, like a process that was started again.
                webhook.figures = Figures::default();
            }
            if let Some(webhook) = self.webhooks.get_mut(id) {
                webhook.named_at = Some(now);
            }
        }
    }
}

/// A label with its value, and the figure that it stands for.
type Shown = (&'static str, &'static str, fn(&Figures) -> u64);

impl Collector for WebhookMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut shown: Vec<(String, Figures)> = {
            let state = self.lock();
            let named = state
                .webhooks
                .iter()
                .filter(|(_, webhook)| webhook.named_at.is_some());
            let named = named.map(|(id, webhook)| (id.to_string(), webhook.figures));
            named.chain([(REST.to_owned(), state.rest)]).collect()
        };
        shown.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut family = |name, help, values: &[Shown]| {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for (webhook, figures) in &shown {
                for (label, value, figure) in values {
                    let labels = [("webhook", webhook.as_str()), (*label, *value)];
                    ConstCounter::new(figure(figures)).encode(encoder.encode_family(&labels)?)?;
                }
            }
            fmt::Result::Ok(())
        };
        family(
            "webhook_deliveries",
            "Deliveries that left the queue, for the webhooks that fail or are busy; other: all the others.",
            &[
                ("state", "succeeded", |figures| figures.succeeded),
                ("state", "given_up", |figures| figures.given_up),
            ],
        )?;
        family(
            "webhook_attempts",
            "Attempts, for the webhooks that fail or are busy; other: all the others.",
            &[
                ("result", "success", |figures| figures.good_attempts),
                ("result", "failure", |figures| figures.failed_attempts),
            ],
        )?;
        let kind = ConstCounter::new(0.0_f64).metric_type();
        let help = "Time from the requests of these attempts to their answers, in total.";
        let mut encoder = encoder.encode_descriptor("webhook_request", help, Some(&Unit::Seconds), kind)?;
        for (webhook, figures) in &shown {
            let labels = [("webhook", webhook.as_str())];
            ConstCounter::new(figures.request.as_secs_f64()).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
