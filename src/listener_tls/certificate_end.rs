//! When the listener's certificate ends, in the metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// The end of the certificate in use; cheap to clone, every clone shows the same.
#[derive(Debug, Clone)]
pub(crate) struct CertificateEnd(Arc<AtomicI64>);

/// There is no certificate.
const NONE: i64 = i64::MIN;

impl Default for CertificateEnd {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(NONE)))
    }
}

impl CertificateEnd {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// `end` in seconds since 1970.
    pub(super) fn set(&self, end: i64) {
        self.0.store(end, Ordering::Relaxed);
    }
}

/// Without a certificate there is no series.
impl Collector for CertificateEnd {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let end = self.0.load(Ordering::Relaxed);
        if end == NONE {
            return Ok(());
        }
        let gauge = ConstGauge::new(end);
        let help = "When the certificate of ORW_TLS_CERT_FILE that is in use ends, in seconds since 1970.";
        let name = "listener_certificate_expiry_timestamp";
        gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), gauge.metric_type())?)
    }
}
