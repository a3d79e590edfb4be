//! The registry of metrics: each part puts its own into it, and it writes them all.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::form::{Form, older};
use super::process::Process;

/// All metrics of the process: those of its parts, each with the prefix `orw_`, `orw_build_info`, and `process_*` as every exporter
/// has them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MetricRegistry(Arc<Registry>);

impl MetricRegistry {
    /// A registry of what `register` puts into it.
    pub fn with(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));
        let ours = registry.sub_registry_with_prefix("orw");
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        ours.register("build", "The program that is running", Info::new(version));
        register(ours);
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

    /// Every metric in this form.
    pub(super) fn render_as(&self, form: Form) -> String {
        let text = self.render();
        match form {
            Form::OpenMetrics => text,
            Form::Prometheus => older(&text),
        }
    }
}
