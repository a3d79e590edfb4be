//! What becomes of spans.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Cheap to clone; every clone counts the same.
#[derive(Debug, Clone)]
pub(crate) struct TraceMetrics {
    exported: Counter,
    failed: Counter,
    full: Counter,
    family: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Default for TraceMetrics {
    fn default() -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let of = |result| family.get_or_create_owned(&[("result", result)]);
        Self {
            exported: of("exported"),
            failed: of("failed"),
            full: of("dropped"),
            family,
        }
    }
}

impl TraceMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "trace_spans",
            "Spans by what became of them: exported; failed, because the collector did not take them; dropped (records of spans), because the \
             queue was full",
            self.family.clone(),
        );
    }

    pub(super) fn queue_full(&self) {
        self.full.inc();
    }

    pub(super) fn exported(&self, spans: usize, taken: bool) {
        let counter = if taken { &self.exported } else { &self.failed };
        counter.inc_by(spans as u64);
    }
}
