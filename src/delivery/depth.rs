//! How deep the queue is, and how long its oldest delivery waits.
//!
//! Guarantees: a measurement reads the queue once; at most [`NAMED`] webhooks have lines of their own in the metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_postgres::{Error, GenericClient};

use super::queue;

/// How many webhooks are shown one by one: those whose oldest delivery waits longest.
pub const NAMED: usize = 50;

/// What waits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Depth {
    /// By state; every state is there.
    pub states: Vec<(&'static str, i64)>,
    /// Longest waiting first.
    pub webhooks: Vec<Waiting>,
}

/// What waits for one webhook.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    pub webhook: i64,
    pub deliveries: i64,
    pub oldest_seconds: f64,
}

/// Counts the queue.
///
/// # Errors
/// If the query fails.
pub async fn measure<C: GenericClient + Sync>(client: &C) -> Result<Depth, Error> {
    let mut depth = Depth {
        states: queue::UNFINISHED.map(|state| (state, 0)).to_vec(),
        webhooks: Vec::new(),
    };
    let mut webhooks = std::collections::BTreeMap::<i64, Waiting>::new();
    for group in queue::groups(client).await? {
        if let Some(known) = depth.states.iter_mut().find(|(name, _)| *name == group.state) {
            known.1 += group.count;
        }
        let one = webhooks.entry(group.webhook).or_insert(Waiting {
            webhook: group.webhook,
            deliveries: 0,
            oldest_seconds: 0.0,
        });
        one.deliveries += group.count;
        one.oldest_seconds = one.oldest_seconds.max(group.oldest_seconds);
    }
    depth.webhooks = webhooks.into_values().collect();
    depth
        .webhooks
        .sort_by(|a, b| b.oldest_seconds.total_cmp(&a.oldest_seconds));
    Ok(depth)
}

type Seconds = Gauge<f64, AtomicU64>;

/// The queue in the metrics of this process; cheap to clone. Every process shows the whole queue.
#[derive(Debug, Clone, Default)]
pub struct DepthMetrics {
    states: Family<Vec<(&'static str, &'static str)>, Gauge>,
    oldest: Seconds,
    webhook_deliveries: Family<Vec<(&'static str, String)>, Gauge>,
    webhook_oldest: Family<Vec<(&'static str, String)>, Seconds>,
}

impl DepthMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "queue_deliveries",
            "Unfinished deliveries by state",
            self.states.clone(),
        );
        registry.register(
            "queue_oldest_seconds",
            "How long the oldest unfinished delivery has been in the queue; 0: the queue is empty",
            self.oldest.clone(),
        );
        registry.register(
            "queue_webhook_deliveries",
            "Unfinished deliveries of the webhooks that wait longest",
            self.webhook_deliveries.clone(),
        );
        registry.register(
            "queue_webhook_oldest_seconds",
            "How long the oldest unfinished delivery of a webhook has been in the queue, for those that wait longest",
            self.webhook_oldest.clone(),
        );
    }

    /// Shows a measurement.
    pub fn show(&self, depth: &Depth) {
        for (state, count) in &depth.states {
            self.states.get_or_create(&vec![("state", *state)]).set(*count);
        }
        let oldest = depth.webhooks.first().map_or(0.0, |one| one.oldest_seconds);
        self.oldest.set(oldest);
        self.webhook_deliveries.clear();
        self.webhook_oldest.clear();
        for one in depth.webhooks.iter().take(NAMED) {
            let labels = vec![("webhook", one.webhook.to_string())];
            self.webhook_deliveries.get_or_create(&labels).set(one.deliveries);
            self.webhook_oldest.get_or_create(&labels).set(one.oldest_seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_webhooks_as_named_have_a_line_and_no_more() {
        let metrics = DepthMetrics::default();
        let mut registry = Registry::with_prefix("orw");
        metrics.register(&mut registry);
        let waiting = |webhook| Waiting {
            webhook,
            deliveries: 2,
            oldest_seconds: 7.0,
        };
        let shown = |depth: &Depth| {
            metrics.show(depth);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let lines = text.matches("\norw_queue_webhook_deliveries{").count();
            (lines, text)
        };
        let (lines, text) = shown(&Depth {
            states: vec![("pending", 200)],
            webhooks: (0..100).map(waiting).collect(),
        });
        assert_eq!(lines, NAMED, "{text}");
        assert!(
            text.contains("orw_queue_deliveries{state=\"pending\"} 200\n"),
            "{text}"
        );
        assert!(text.contains("orw_queue_oldest_seconds 7.0\n"), "{text}");
        let (lines, text) = shown(&Depth {
            states: vec![("pending", 0)],
            webhooks: Vec::new(),
        });
        assert_eq!(lines, 0, "{text}");
        assert!(text.contains("orw_queue_oldest_seconds 0.0\n"), "{text}");
    }
}
