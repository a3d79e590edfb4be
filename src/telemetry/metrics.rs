//! What is counted, in Prometheus' text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use orw_model::EventClass;

type Labels = Vec<(&'static str, String)>;

/// The process' metrics; cheap to clone, every clone counts the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Changes read from the outbox.
    pub changes: Counter,
    /// Changes that could not be read.
    pub quarantined: Counter,
    /// Filters that could not be evaluated; each counts as no match.
    pub filter_errors: Counter,
    /// Deliveries that events gave rise to.
    pub enqueued: Counter,
    /// Gaps in what was captured.
    pub gaps: Counter,
    /// 1 while this process reads the outbox.
    pub leading: Gauge,
    events: Family<Labels, Counter>,
    /// Seconds from the change to its place in the queue.
    pub lag: Histogram,
    registry: std::sync::Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::with(|_| {})
    }
}

impl Metrics {
    /// The metrics of the pipeline, and those that `more` registers (delivery's, the proxy's).
    pub fn with(more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("orw");
        let (changes, quarantined, filter_errors, enqueued, gaps, leading) = (
            Counter::default(),
            Counter::default(),
            Counter::default(),
            Counter::default(),
            Counter::default(),
            Gauge::default(),
        );
        let events = Family::<Labels, Counter>::default();
        let lag = Histogram::new(exponential_buckets(0.001, 2.0, 18));
        registry.register("changes", "Changes read from the outbox", changes.clone());
        registry.register(
            "quarantined",
            "Changes that could not be read",
            quarantined.clone(),
        );
        registry.register(
            "filter_errors",
            "Filters that could not be evaluated",
            filter_errors.clone(),
        );
        registry.register("enqueued", "Deliveries put into the queue", enqueued.clone());
        registry.register("gaps", "Gaps in what was captured", gaps.clone());
        registry.register(
            "leading",
            "1 while this process reads the outbox",
            leading.clone(),
        );
        registry.register("events", "Lifecycle events by class", events.clone());
        registry.register("capture_lag_seconds", "From the change to the queue", lag.clone());
        registry.register_collector(Box::new(RegexRunaways));
        registry.register_collector(Box::new(Discarded));
        more(&mut registry);
        let registry = std::sync::Arc::new(registry);
        Self {
            changes,
            quarantined,
            filter_errors,
            enqueued,
            gaps,
            leading,
            events,
            lag,
            registry,
        }
    }

    /// One event of `class`.
    pub fn event(&self, class: EventClass) {
        self.events
            .get_or_create(&vec![("class", class.to_string())])
            .inc();
    }

    /// The whole in OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// What the filters count by themselves.
#[derive(Debug)]
struct RegexRunaways;

impl Collector for RegexRunaways {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(orw_filter::regex_runaways());
        let encoder = encoder.encode_descriptor(
            "filter_regex_runaways",
            "Regular expressions of filters that were stopped because they ran away",
            None,
            counter.metric_type(),
        )?;
        counter.encode(encoder)
    }
}

/// What the quarantine counts by itself: whoever puts something aside.
#[derive(Debug)]
struct Discarded;

impl Collector for Discarded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(crate::capture::discarded());
        let encoder = encoder.encode_descriptor(
            "quarantine_discarded",
            "Changes that could not be read and that the quarantine had no room for",
            None,
            counter.metric_type(),
        )?;
        counter.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orw_model::Action;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.changes.inc_by(3);
        metrics.event(EventClass::object(Action::Locked));
        let text = metrics.render();
        assert!(text.contains("orw_changes_total 3\n"), "{text}");
        assert!(
            text.contains("orw_events_total{class=\"ObjectLockedEvent\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("\norw_filter_regex_runaways_total "), "{text}");
    }
}
