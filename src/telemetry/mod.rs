//! Telemetry: the log, the registry of metrics, and the listener that answers for the health of the process.
//!
//! Guarantees: no secret and no payload is in a log line or a metric. The number of time series is bounded: by the number of event
//! classes and causes, and where there is one for each webhook, by a fixed number of them. Telemetry knows no other part of the program: each part registers its own metrics, and `run`
//! says how ready the process is.

mod form;
mod health;
mod log;
mod metrics;
mod process;

pub use health::{Health, Readiness, serve};
pub use log::{LogFormat, init as init_log, log_panics};
pub use metrics::MetricRegistry;

/// Whether a request for the metrics with this `Accept` header gets OpenMetrics.
pub(crate) fn wants_open_metrics(accept: &str) -> bool {
    form::Form::of(Some(accept)) == form::Form::OpenMetrics
}
