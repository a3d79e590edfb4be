//! The registrations in the metrics.
//!
//! Guarantees: they are those that this process works with at the moment of the scrape; at most [`CERTIFICATES`] webhooks are named.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry as Metrics, Unit};

use super::live::Registry;
use super::webhook::Status;

/// Of so many client certificates the end is shown: of those that end first.
const CERTIFICATES: usize = 20;

/// Puts the figures of these registrations into a registry of metrics.
pub(crate) fn register(metrics: &mut Metrics, registrations: Arc<Registry>) {
    metrics.register_collector(Box::new(Registrations(registrations)));
}

#[derive(Debug)]
struct Registrations(Arc<Registry>);

impl Collector for Registrations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot();
        let gauge = ConstGauge::new(0_i64).metric_type();
        let number = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let (mut enabled, mut paused, mut disabled) = (0, 0, 0);
        let mut certificates = Vec::new();
        for webhook in snapshot.all() {
            match webhook.status {
                Status::Enabled => enabled += 1,
                Status::Paused => paused += 1,
                Status::Disabled { .. } => disabled += 1,
            }
            if let Some(certificate) = &webhook.client_certificate {
                certificates.push((certificate.not_after().timestamp(), webhook.id.0));
            }
        }
        let mut family =
            encoder.encode_descriptor("webhooks", "Registered webhooks by status.", None, gauge)?;
        for (status, count) in [("enabled", enabled), ("paused", paused), ("disabled", disabled)] {
            number(count).encode(family.encode_family(&[("status", status)])?)?;
        }
        let help = "Registrations that are stored and cannot be read; nothing is delivered for them.";
        let family = encoder.encode_descriptor("webhooks_unreadable", help, None, gauge)?;
        number(snapshot.unreadable().len()).encode(family)?;

        certificates.sort_unstable();
        let help =
            "When the client certificate of a webhook ends, in seconds since 1970, for those that end first.";
        let seconds = Some(&Unit::Seconds);
        let name = "webhook_certificate_expiry_timestamp";
        let mut family = encoder.encode_descriptor(name, help, seconds, gauge)?;
        for (end, webhook) in certificates.iter().take(CERTIFICATES) {
            let labels = [("webhook", webhook.to_string())];
            ConstGauge::new(*end).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
