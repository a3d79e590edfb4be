//! The size and the age of the outbox, compared with its limits.
//!
//! Guarantees: measuring changes nothing and looks at one row of each change table instead of scanning it; warnings come long before a
//! limit: at a quarter of it, and urgent ones at three quarters.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_postgres::Client;
use tokio_postgres::types::{PgLsn, Type};

use super::position::{self, LoadError};
use super::settings::{OutboxLimits, OutboxPolicy};

/// What the change tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// The size on disk, with TOAST and indexes.
    pub bytes: u64,
    /// How long the oldest unread change has been waiting; `None` if everything is read.
    pub oldest_unread: Option<Duration>,
    /// Whether changes were not captured because the outbox was full, and no gap is recorded for them yet.
    pub stopped: bool,
}

/// How near the outbox is to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Fine,
    /// A quarter of a limit.
    Warning,
    /// Three quarters of a limit, or capture has stopped.
    Critical,
}

impl Outbox {
    /// How near the limits are.
    #[must_use]
    pub fn level(&self, limits: &OutboxLimits) -> Level {
        let of = |value: u64, limit: u64| match u128::from(value) * 4 {
            _ if limit == 0 => Level::Fine,
            quarters if quarters >= u128::from(limit) * 3 => Level::Critical,
            quarters if quarters >= u128::from(limit) => Level::Warning,
            _ => Level::Fine,
        };
        let size = of(self.bytes, limits.max_bytes);
        let waits = self.oldest_unread.unwrap_or_default().as_secs();
        let age = of(waits, limits.max_age.as_secs());
        if self.stopped {
            Level::Critical
        } else {
            size.max(age)
        }
    }
}

impl OutboxLimits {
    /// The limit for the triggers: bytes of a change table, 0 for no limit.
    pub(super) const fn stop_at(&self) -> u64 {
        match self.policy {
            OutboxPolicy::Warn => 0,
            OutboxPolicy::Stop => self.max_bytes,
        }
    }
}

/// Sets the limit that the triggers obey.
pub(super) async fn set_limit(client: &Client, limits: &OutboxLimits) -> Result<(), tokio_postgres::Error> {
    let bytes = i64::try_from(limits.stop_at()).unwrap_or(i64::MAX);
    client
        .query_typed(
            "SELECT openregister_webhooks.set_outbox_limit($1)",
            &[(&bytes, Type::INT8)],
        )
        .await
        .map(drop)
}

/// Measures the outbox.
///
/// # Errors
/// If a query fails, or the stored position cannot be read.
pub async fn measure(client: &Client) -> Result<Outbox, LoadError> {
    let position = position::load(client).await?.map(|(position, _)| position);
    let snapshot = position
        .as_ref()
        .map_or_else(|| "3:3:".to_owned(), |p| p.snapshot.as_str().to_owned());
    // Within a window, what lies before its key is read (except what was committed since, which is younger).
    let key = position
        .as_ref()
        .and_then(|p| p.window.as_ref())
        .map(|(_, key)| *key);
    let oldest = |table: u8| {
        format!(
            "(SELECT at FROM openregister_webhooks.change_{table} \
              WHERE (lsn, xid, ordinal) > ($2, $3::text::xid8, $4) AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) \
              ORDER BY lsn, xid, ordinal LIMIT 1)"
        )
    };
    let sql = format!(
        "SELECT (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'openregister_webhooks' AND c.relname IN ('change_0', 'change_1', 'change_2')), \
                extract(epoch FROM clock_timestamp() - least({}, {}, {}))::float8, \
                EXISTS (SELECT FROM openregister_webhooks.missed WHERE filled IS NOT NULL)",
        oldest(0),
        oldest(1),
        oldest(2)
    );
    let rows = client
        .query_typed(
            &sql,
            &[
                (&snapshot, Type::TEXT),
                (&PgLsn::from(key.map_or(0, |k| k.lsn.0)), Type::PG_LSN),
                (&key.map_or(0, |k| k.xid.0).to_string(), Type::TEXT),
                (&key.map_or(-1, |k| k.ordinal), Type::INT4),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Err(position::NoSnapshot::empty().into());
    };
    Ok(Outbox {
        bytes: row.get::<_, Option<i64>>(0).unwrap_or(0).unsigned_abs(),
        oldest_unread: row
            .get::<_, Option<f64>>(1)
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        stopped: row.get(2),
    })
}

/// The outbox in the metrics of this process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OutboxMetrics {
    bytes: Gauge,
    limit: Gauge,
    oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    stopped: Gauge,
}

impl OutboxMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "outbox",
            "The change tables on disk, with their indexes",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            "outbox_limit",
            "ORW_OUTBOX_MAX_BYTES; 0: no limit",
            Unit::Bytes,
            self.limit.clone(),
        );
        registry.register_with_unit(
            "outbox_oldest_unread",
            "How long the oldest unread change has been waiting; 0: everything is read",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry.register(
            "outbox_stopped",
            "1 while changes are left out because the outbox was full (ORW_OUTBOX_POLICY=stop)",
            self.stopped.clone(),
        );
    }

    /// Shows what was measured.
    pub fn show(&self, outbox: &Outbox, limits: &OutboxLimits) {
        let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.set(whole(outbox.bytes));
        self.limit.set(whole(limits.max_bytes));
        self.oldest
            .set(outbox.oldest_unread.unwrap_or_default().as_secs_f64());
        self.stopped.set(i64::from(outbox.stopped));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_long_before_the_limit() {
        let limits = OutboxLimits {
            policy: OutboxPolicy::Warn,
            max_bytes: 1000,
            max_age: Duration::from_secs(400),
        };
        let outbox = |bytes, age, stopped| Outbox {
            bytes,
            oldest_unread: Some(Duration::from_secs(age)),
            stopped,
        };
        for (bytes, age, stopped, expected) in [
            (0, 0, false, Level::Fine),
            (249, 99, false, Level::Fine),
            (250, 0, false, Level::Warning),
            (0, 100, false, Level::Warning),
            (750, 0, false, Level::Critical),
            (0, 300, false, Level::Critical),
            (0, 0, true, Level::Critical),
            (u64::MAX, 0, false, Level::Critical),
        ] {
            assert_eq!(
                outbox(bytes, age, stopped).level(&limits),
                expected,
                "{bytes} {age}"
            );
        }
        let none = OutboxLimits {
            max_bytes: 0,
            ..limits
        };
        assert_eq!(outbox(u64::MAX, 0, false).level(&none), Level::Fine);
        let stop = OutboxLimits {
            policy: OutboxPolicy::Stop,
            ..limits
        };
        assert_eq!((limits.stop_at(), stop.stop_at()), (0, 1000));
    }
}
