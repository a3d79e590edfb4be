//! Whether events are delivered: registrations, receivers that fail, processes that deliver.

use super::examined::{Checked, Examined};
use super::figures::{COUNTED, as_figure, duration, number};
use super::finding::Finding;
use crate::delivery::queue;
use crate::registry;

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let mut findings = vec![kinds(examined).await?];
    findings.extend(registered(examined).await?);
    findings.push(deliveries(examined).await?);
    Ok(findings)
}

/// Which kinds are captured. A kind that no webhook names costs nothing and leaves nothing to replay.
async fn kinds(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    use orw_model::EntityKind;

    let rows = examined
        .client
        .query_typed("SELECT openregister_webhooks.kinds()", &[])
        .await?;
    let bits: i32 = rows.first().map_or(0, |row| row.get(0));
    let captured: Vec<&str> = EntityKind::ALL
        .into_iter()
        .filter(|kind| bits & kind.bit() != 0)
        .map(EntityKind::name)
        .collect();
    let what = if captured.len() == EntityKind::ALL.len() {
        "changes of every kind are captured".to_owned()
    } else {
        format!(
            "changes of these kinds are captured: {} (registers and schemas always, others after a webhook for them was registered, all with \
             ORW_CAPTURE=all)",
            captured.join(", ")
        )
    };
    Ok(Finding::ok("kinds", what).measured(f64::from(bits)))
}

/// Webhooks that are disabled or paused, or whose receivers fail. Addresses may contain secrets and are left out.
async fn registered(examined: &Examined<'_>) -> Checked {
    const CHECK: &str = "webhooks";
    let rows = examined
        .client
        .query_typed(
            "SELECT w.id, w.status, w.status_reason, coalesce(h.failures, 0), coalesce(h.last_cause, ''), \
                    coalesce(extract(epoch FROM clock_timestamp() - h.failing_since), 0)::float8, \
                    (SELECT count(*) FROM openregister_webhooks.webhook) \
             FROM openregister_webhooks.webhook w LEFT JOIN openregister_webhooks.webhook_health h ON (h.webhook, h.revision) = (w.id, w.revision) \
             WHERE w.status <> 'enabled' OR h.failures > 0 ORDER BY w.id LIMIT 50",
            &[],
        )
        .await?;
    if rows.is_empty() {
        let count = registry::count(examined.client).await?;
        let finding = if count == 0 {
            Finding::note(CHECK, "no webhook is registered")
        } else {
            Finding::ok(
                CHECK,
                format!("{count} webhooks are registered, all enabled, none failing"),
            )
        };
        return Ok(vec![finding.measured(as_figure(count))]);
    }
    let finding = |row: &tokio_postgres::Row| {
        let (id, status, reason): (i64, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        let (failures, cause, since): (i32, String, f64) = (row.get(3), row.get(4), row.get(5));
        let reason = reason.unwrap_or_else(|| "no reason is recorded".to_owned());
        match status.as_str() {
            "disabled" => Finding::warning(
                CHECK,
                format!("webhook {id} is disabled: it gets no new deliveries"),
                reason,
                format!("repair its receiver, then enable it again: openregister-webhooks webhook enable {id}"),
            ),
            "paused" => Finding::note(CHECK, format!("webhook {id} is paused: deliveries wait until it is resumed"))
                .because(reason, format!("openregister-webhooks webhook resume {id}")),
            _ => Finding::warning(
                CHECK,
                format!("webhook {id} has failed {failures} times in a row, for {}", duration(since)),
                format!("its receiver: {cause}"),
                "look at the receiver's own log; deliveries wait and are tried again, and all of them are sent after the first success",
            )
            .measured(f64::from(failures)),
        }
        .about(id.to_string())
    };
    Ok(rows.iter().map(finding).collect())
}

/// How many deliveries wait, and whether anybody delivers.
async fn deliveries(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    const CHECK: &str = "deliveries";
    let waiting = queue::count(examined.client, None, COUNTED).await?;
    let workers = queue::living_workers(examined.client).await?;
    let what = format!(
        "unfinished deliveries: {}; processes that deliver: {workers}",
        number(waiting)
    );
    let finding = if waiting > 0 && workers == 0 {
        Finding::warning(
            CHECK,
            what,
            "no sidecar runs, or none reaches this database",
            "start `openregister-webhooks run`; nothing is lost meanwhile",
        )
    } else {
        Finding::ok(CHECK, what)
    };
    Ok(finding.measured(as_figure(waiting)))
}
