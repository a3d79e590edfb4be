//! Telemetry: logs, metrics, health.
//!
//! Guarantees: no secret and no payload is in a log line or a metric; the number of time series is bounded by the number
//! of event classes and causes, never by ids.

mod health;
mod log;
mod metrics;

pub use health::{Health, serve};
pub use log::{LogFormat, init as init_log, log_panics};
pub use metrics::Metrics;
