//! The registry of metrics: each part puts its own into it, and it writes them all.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// All metrics of the process, each with the prefix `orw_`; cheap to clone.
#[derive(Debug, Clone)]
pub struct MetricRegistry(Arc<Registry>);

impl MetricRegistry {
    /// A registry of what `register` puts into it.
    pub fn with(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("orw");
        register(&mut registry);
        Self(Arc::new(registry))
    }

    /// Every metric in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.0);
        text
    }
}
