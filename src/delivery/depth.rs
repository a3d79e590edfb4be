//! How deep the queue is, and how long its oldest delivery waits.
//!
//! Guarantees: a measurement reads the queue once; at most 50 webhooks, those whose oldest delivery
//! waits longest, have lines of their own in the metrics.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_postgres::{Error, GenericClient};

use super::queue;
use super::webhook_metrics::{NAMED, REST};

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

/// The queue in the metrics of this process; cheap to clone. Every process shows the whole queue.
#[derive(Debug, Clone, Default)]
pub struct DepthMetrics(Arc<ArcSwap<Depth>>);

impl DepthMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Shows a measurement.
    pub fn show(&self, depth: Depth) {
        self.0.store(Arc::new(depth));
    }
}

/// A scrape shows one measurement as a whole.
impl Collector for DepthMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let depth = self.0.load();
        let (count, seconds) = (ConstGauge::new(0_i64).metric_type(), Some(&Unit::Seconds));
        let mut family =
            encoder.encode_descriptor("queue_deliveries", "Unfinished deliveries by state.", None, count)?;
        for (state, deliveries) in &depth.states {
            ConstGauge::new(*deliveries).encode(family.encode_family(&[("state", *state)])?)?;
        }
        let oldest = depth.webhooks.first().map_or(0.0, |one| one.oldest_seconds);
        let help = "How long the oldest unfinished delivery has been in the queue; 0: the queue is empty.";
        let family = encoder.encode_descriptor("queue_oldest", help, seconds, count)?;
        ConstGauge::new(oldest).encode(family)?;

        let (named, rest) = depth.webhooks.split_at(depth.webhooks.len().min(NAMED));
        let mut lines: Vec<(String, i64, f64)> = named
            .iter()
            .map(|one| (one.webhook.to_string(), one.deliveries, one.oldest_seconds))
            .collect();
        let deliveries = rest.iter().map(|one| one.deliveries).sum();
        lines.push((
            REST.to_owned(),
            deliveries,
            rest.first().map_or(0.0, |one| one.oldest_seconds),
        ));
        let help = "Unfinished deliveries of the webhooks that wait longest; other: of all the others.";
        let mut family = encoder.encode_descriptor("queue_webhook_deliveries", help, None, count)?;
        for (webhook, deliveries, _) in &lines {
            ConstGauge::new(*deliveries).encode(family.encode_family(&[("webhook", webhook.as_str())])?)?;
        }
        let help = "How long the oldest unfinished delivery of a webhook has been in the queue, for those that wait longest; other: for \
                    all the others.";
        let mut family = encoder.encode_descriptor("queue_webhook_oldest", help, seconds, count)?;
        for (webhook, _, oldest) in &lines {
            ConstGauge::new(*oldest).encode(family.encode_family(&[("webhook", webhook.as_str())])?)?;
        }
        Ok(())
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
        let shown = |depth: Depth| {
            metrics.show(depth);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let lines = text.matches("\norw_queue_webhook_deliveries{").count();
            (lines, text)
        };
        let (lines, text) = shown(Depth {
            states: vec![("pending", 200)],
            webhooks: (0..100).map(waiting).collect(),
        });
        assert_eq!(lines, NAMED + 1, "{text}");
        assert!(
            text.contains("orw_queue_webhook_deliveries{webhook=\"other\"} 100\n"),
            "{text}"
        );
        assert!(
            text.contains("orw_queue_webhook_oldest_seconds{webhook=\"other\"} 7.0\n"),
            "{text}"
        );
        assert!(
            text.contains("orw_queue_deliveries{state=\"pending\"} 200\n"),
            "{text}"
        );
        assert!(text.contains("orw_queue_oldest_seconds 7.0\n"), "{text}");
        let (lines, text) = shown(Depth {
            states: vec![("pending", 0)],
            webhooks: Vec::new(),
        });
        assert_eq!(lines, 1, "{text}");
        assert!(text.contains("orw_queue_oldest_seconds 0.0\n"), "{text}");
    }
}
