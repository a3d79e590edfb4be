//! What capture can be told by its configuration.

use std::sync::Arc;
use std::time::Duration;

/// The settings of capture.
#[derive(Debug, Clone)]
pub struct CaptureSettings {
    pub doorbell: DoorbellMode,
    /// With [`DoorbellMode::Poll`]: how often an idle reader looks.
    pub poll_interval: Duration,
    /// How often capture looks for tables that have appeared unseen.
    pub discovery_interval: Duration,
    /// The largest number of changes in one transaction of the reader.
    pub batch_size: u32,
    /// Nextcloud's `dbtableprefix`.
    pub table_prefix: Arc<str>,
    pub outbox: OutboxLimits,
}

/// How a sleeping reader learns of a new change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoorbellMode {
    /// The trigger sends a notification.
    #[default]
    Notify,
    /// The reader looks at an interval; needed behind a transaction-pooling PgBouncer.
    Poll,
}

/// How far the outbox may grow while nobody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    pub policy: OutboxPolicy,
    /// The limit in bytes; 0 means no limit. Warnings begin at a quarter of it. With [`OutboxPolicy::Stop`] nothing more is
    /// captured beyond it.
    pub max_bytes: u64,
    /// The limit for the age of the oldest unread change. Warnings begin at a quarter of it; it never stops capture.
    pub max_age: Duration,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            policy: OutboxPolicy::default(),
            max_bytes: 10 * 1024 * 1024 * 1024,
            max_age: Duration::from_hours(1),
        }
    }
}

/// What happens when the outbox reaches its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutboxPolicy {
    /// Capture goes on.
    #[default]
    Warn,
    /// Nothing more is captured, so that the disk does not fill; the gap is recorded.
    Stop,
}
