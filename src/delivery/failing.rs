//! Which receivers fail now, and since when.
//!
//! Guarantees: a measurement reads one row for each webhook that fails; at most [`NAMED`] webhooks, those that have failed longest,
//! have lines of their own in the metrics.

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
pub(crate) use queue::FailingReceiver;

/// The receivers that fail; those that have failed longest come first.
///
/// # Errors
/// If the query fails.
pub(crate) async fn measure<C: GenericClient + Sync>(client: &C) -> Result<Vec<FailingReceiver>, Error> {
    let mut failing = queue::failing(client).await?;
    failing.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(failing)
}

/// The receivers that fail, in the metrics of this process; cheap to clone. Every process shows all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailingMetrics(Arc<ArcSwap<Vec<FailingReceiver>>>);

impl FailingMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Shows a measurement.
    pub(crate) fn show(&self, failing: Vec<FailingReceiver>) {
        self.0.store(Arc::new(failing));
    }
}

impl Collector for FailingMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let failing = self.0.load();
        let gauge = ConstGauge::new(0_i64).metric_type();
        let count = i64::try_from(failing.len()).unwrap_or(i64::MAX);
        let help = "Enabled webhooks whose last attempt failed.";
        ConstGauge::new(count).encode(encoder.encode_descriptor("webhooks_failing", help, None, gauge)?)?;
        let (named, rest) = failing.split_at(failing.len().min(NAMED));
        let mut lines: Vec<(String, i64, f64)> = named
            .iter()
            .map(|one| (one.webhook.to_string(), one.failures, one.seconds))
            .collect();
        // The worst of the others.
        if let Some(longest) = rest.first() {
            let most = rest.iter().map(|one| one.failures).max().unwrap_or_default();
            lines.push((REST.to_owned(), most, longest.seconds));
        }
        let help =
            "Failures in a row, for the webhooks that have failed longest; other: the most of any other.";
        let mut family = encoder.encode_descriptor("webhook_failures_in_a_row", help, None, gauge)?;
        for (webhook, failures, _) in &lines {
            ConstGauge::new(*failures).encode(family.encode_family(&[("webhook", webhook.as_str())])?)?;
        }
        let help = "How long a webhook has been failing without a success, for those that have failed longest; other: the longest of \
                    any other.";
        let mut family = encoder.encode_descriptor("webhook_failing", help, Some(&Unit::Seconds), gauge)?;
        for (webhook, _, seconds) in &lines {
            ConstGauge::new(*seconds).encode(family.encode_family(&[("webhook", webhook.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_named_have_lines_and_the_others_are_one() {
        let metrics = FailingMetrics::default();
        let mut registry = Registry::with_prefix("orw");
        metrics.register(&mut registry);
        let failing = |webhook: i64| FailingReceiver {
            webhook,
            failures: webhook,
            #[allow(clippy::cast_precision_loss)]
            seconds: 20_000.0 - webhook as f64,
        };
        metrics.show((0..10_000).map(failing).collect());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("orw_webhooks_failing 10000\n"), "{text}");
        assert_eq!(
            text.matches("\norw_webhook_failing_seconds{").count(),
            NAMED + 1,
            "{text}"
        );
        assert!(
            text.contains("orw_webhook_failures_in_a_row{webhook=\"other\"} 9999\n"),
            "{text}"
        );
        assert!(
            text.contains("orw_webhook_failing_seconds{webhook=\"other\"} 19950.0\n"),
            "{text}"
        );
    }
}
