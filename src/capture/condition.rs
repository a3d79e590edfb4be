//! In what condition capture is: which tables have their trigger, when the last gap was recorded, and what is in quarantine.
//!
//! Guarantees: measuring changes nothing. It sees what any process did and outlives all of them, because the database says it: a gap
//! that was recorded while no process ran is shown, too.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_postgres::{Client, Error};

/// What was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Condition {
    /// Tables of OpenRegister whose trigger fires.
    captured: i64,
    /// Tables without the trigger.
    missing: i64,
    /// Tables whose trigger somebody disabled.
    disabled: i64,
    /// When the last gap was recorded, in seconds since 1970.
    last_gap: Option<f64>,
    /// Changes in quarantine.
    quarantined: i64,
}

/// Measures.
///
/// # Errors
/// If the query fails.
pub(crate) async fn measure(client: &Client) -> Result<Condition, Error> {
    let sql = "SELECT count(*) FILTER (WHERE attached AND enabled), count(*) FILTER (WHERE NOT attached), \
            count(*) FILTER (WHERE attached AND NOT enabled), \
            (SELECT extract(epoch FROM max(at))::float8 FROM openregister_webhooks.gap), \
            (SELECT count(*) FROM openregister_webhooks.quarantine) \
        FROM openregister_webhooks.capturable()";
    let rows = client.query_typed(sql, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(Condition::default());
    };
    Ok(Condition {
        captured: row.try_get(0)?,
        missing: row.try_get(1)?,
        disabled: row.try_get(2)?,
        last_gap: row.try_get(3)?,
        quarantined: row.try_get(4)?,
    })
}

/// The condition in the metrics of this process; cheap to clone. Every process shows the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConditionMetrics(Arc<ArcSwap<Condition>>);

impl ConditionMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// Shows a measurement.
    pub(crate) fn show(&self, condition: Condition) {
        self.0.store(Arc::new(condition));
    }
}

impl Collector for ConditionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let condition = **self.0.load();
        let gauge = ConstGauge::new(0_i64).metric_type();
        let help = "Tables of OpenRegister by whether their capture trigger fires: captured, missing (it has none), disabled.";
        let mut family = encoder.encode_descriptor("capture_tables", help, None, gauge)?;
        for (state, count) in [
            ("captured", condition.captured),
            ("missing", condition.missing),
            ("disabled", condition.disabled),
        ] {
            ConstGauge::new(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        let help = "When the last gap was recorded, in seconds since 1970; 0: no gap is on record.";
        let family = encoder.encode_descriptor("gap_last_timestamp", help, Some(&Unit::Seconds), gauge)?;
        ConstGauge::new(condition.last_gap.unwrap_or_default()).encode(family)?;
        let help = "Changes in quarantine, because they could not be processed.";
        let family = encoder.encode_descriptor("quarantine_changes", help, None, gauge)?;
        ConstGauge::new(condition.quarantined).encode(family)
    }
}
