//! The metrics of delivery.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cause::Cause;
use super::webhook_metrics::WebhookMetrics;

/// An array and no vector, so that counting allocates nothing.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The figures of one process; cheap to clone, and every clone counts into the same figures.
#[derive(Debug, Clone)]
pub struct Metrics {
    attempts: Family<Labels<1>, Counter>,
    outcomes: Family<Labels<2>, Counter>,
    /// Requests under way.
    pub(crate) in_flight: Gauge,
    /// Attempts whose outcome came after the lease had been lost: those deliveries are repeated, unless they were cancelled.
    pub(crate) leases_lost: Counter,
    /// Leases of this process that it did not know of, at the last comparison.
    pub(crate) leases_unknown: Gauge,
    /// Leases that nobody had in hand and that were given back.
    pub(crate) leases_recovered: Counter,
    /// Attempts that ended because the database cannot read the stored event.
    pub(crate) unreadable: Counter,
    /// What is counted for each webhook.
    pub(crate) webhooks: WebhookMetrics,
    queue_wait: Histogram,
    duration: Histogram,
    latency: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            outcomes: Family::default(),
            in_flight: Gauge::default(),
            leases_lost: Counter::default(),
            leases_unknown: Gauge::default(),
            leases_recovered: Counter::default(),
            unreadable: Counter::default(),
            webhooks: WebhookMetrics::default(),
            // From half a millisecond on: to 2 h 20 min, 16 s and 4 min 22 s.
            queue_wait: Histogram::new(exponential_buckets(0.0005, 2.0, 25)),
            duration: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            latency: Histogram::new(exponential_buckets(0.0005, 2.0, 20)),
        }
    }
}

impl Metrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.begin_at_zero();
        self.webhooks.register(registry);
        registry.register(
            "delivery_attempts",
            "Attempts by result: success, or the cause of the failure",
            self.attempts.clone(),
        );
        registry.register(
            "deliveries",
            "Deliveries that left the queue, by their final state, and why they were given up",
            self.outcomes.clone(),
        );
        registry.register("delivery_in_flight", "Requests under way", self.in_flight.clone());
        registry.register(
            "delivery_leases_lost",
            "Attempts whose outcome came after the lease had been lost: those deliveries are repeated, unless they were cancelled",
            self.leases_lost.clone(),
        );
        registry.register(
            "delivery_leases_unknown",
            "Leases in the name of this process that it knew nothing of when it last looked, some seconds ago; it gives them back",
            self.leases_unknown.clone(),
        );
        registry.register(
            "delivery_leases_recovered",
            "Leases that were nobody's and were given back: their claim's answer was lost, or their process is dead",
            self.leases_recovered.clone(),
        );
        registry.register(
            "delivery_events_unreadable",
            "Attempts that ended because the database cannot read the stored event: its files are damaged",
            self.unreadable.clone(),
        );
        registry.register_with_unit(
            "delivery_queue_wait",
            "From the moment when a delivery is due, which is at first when it is put into the queue, to its request",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        registry.register_with_unit(
            "delivery_attempt",
            "From the request to the answer",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register_with_unit(
            "delivery_latency",
            "From the change to its successful answer, for live events",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    /// Shows what was never counted as 0: of a series that begins at 1, Prometheus does not see the increase.
    fn begin_at_zero(&self) {
        let none = |labels| drop(self.attempts.get_or_create(&labels));
        none([("result", "success")]);
        drop(
            self.outcomes
                .get_or_create(&[("state", "succeeded"), ("cause", "")]),
        );
        for cause in Cause::NAMES {
            none([("result", cause)]);
            drop(
                self.outcomes
                    .get_or_create(&[("state", "given_up"), ("cause", cause)]),
            );
        }
    }

    /// Counts an attempt; `cause` says why it failed.
    pub(crate) fn attempt(&self, cause: Option<&'static str>, duration: Duration) {
        self.attempts
            .get_or_create(&[("result", cause.unwrap_or("success"))])
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// Counts the time for which a delivery that is sent now has been due.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue_wait.observe(time.as_secs_f64());
    }

    /// Counts a live event that has arrived so long after its change.
    pub(crate) fn arrived(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }

    /// Counts a delivery that left the queue; `cause` is that of its last attempt, if it was given up.
    pub(crate) fn left(&self, state: &'static str, cause: Option<&'static str>) {
        let labels = [("state", state), ("cause", cause.unwrap_or(""))];
        self.outcomes.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("orw");
        metrics.register(&mut registry);
        metrics.attempt(Some("tls"), Duration::from_millis(3));
        metrics.left("succeeded", None);
        metrics.left("given_up", Some("timeout"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("orw_delivery_attempts_total{result=\"tls\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("orw_deliveries_total{state=\"succeeded\",cause=\"\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("orw_deliveries_total{state=\"given_up\",cause=\"timeout\"} 1\n"),
            "{text}"
        );
    }
}
