//! Whether the outbox is read, how far, and what was lost.

use tokio_postgres::error::SqlState;

use super::examined::{Checked, Examined};
use super::figures::{COUNTED, as_figure, duration, number, size};
use super::finding::Finding;
use crate::capture::inspection::{self, Unread};
use crate::capture::locks;
use crate::capture::outbox::{self, Level};
use crate::capture::position::{self, LoadError};
use crate::capture::{DoorbellMode, OutboxPolicy};

/// An unread change that is older than this many seconds is late.
const LATE: f64 = 60.0;

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let mut findings = vec![leader(examined).await?];
    findings.extend(strangers(examined).await?);
    findings.extend(unread(examined).await?);
    findings.extend(limits(examined).await?);
    findings.extend(holders(examined).await?);
    findings.extend(lost(examined).await?);
    Ok(findings)
}

/// The session that holds the leader's lock.
async fn leader(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    const CHECK: &str = "leader";
    if examined.settings.doorbell == DoorbellMode::Poll {
        return Ok(Finding::note(
            CHECK,
            "with ORW_DOORBELL=poll nobody can see who leads: the lock is held for one transaction at a time",
        ));
    }
    let holders = locks::holders(examined.client, locks::LEADER).await?;
    Ok(match holders.first() {
        Some(holder) if holder.ours => Finding::ok(
            CHECK,
            format!(
                "{} leads (backend {}, from {})",
                holder.application, holder.pid, holder.from
            ),
        ),
        Some(stranger) => Finding::error(
            CHECK,
            format!("nobody reads the outbox: {stranger} holds the leader's lock and is not a sidecar"),
            "every role that may connect to this database can take an advisory lock; Nextcloud's writes do not wait for it",
            format!(
                "find out what that session is; as a superuser: SELECT pg_terminate_backend({})",
                stranger.pid
            ),
        )
        .about(stranger.pid.to_string()),
        None => Finding::warning(
            CHECK,
            "nobody reads the outbox",
            "no session holds the leader's lock: no sidecar runs, or none reaches this database",
            "start `openregister-webhooks run`, and look at its log; changes are kept meanwhile",
        ),
    })
}

/// Sessions of other programs that hold one of our other locks.
async fn strangers(examined: &Examined<'_>) -> Checked {
    let mut findings = Vec::new();
    for (key, lock, cause) in locks::OTHERS {
        let holders = locks::holders(examined.client, key).await?;
        findings.extend(holders.iter().filter(|holder| !holder.ours).map(|holder| {
            Finding::warning(
                "locks",
                format!("{holder} holds {lock} and is not a sidecar"),
                cause,
                format!(
                    "find out what that session is; as a superuser: SELECT pg_terminate_backend({})",
                    holder.pid
                ),
            )
            .about(holder.pid.to_string())
        }));
    }
    Ok(findings)
}

/// Captured changes that have not been read.
async fn unread(examined: &Examined<'_>) -> Checked {
    const CHECK: &str = "backlog";
    let stored = match position::load(examined.client).await {
        Ok(stored) => stored,
        Err(LoadError::Query(error)) => return Err(error),
        Err(LoadError::Snapshot(_) | LoadError::Window) => return Ok(Vec::new()), // the check `identity` reports it
    };
    let position = stored.map(|(position, _)| position);
    let Unread {
        changes: count,
        bytes,
        oldest: age,
        adopted,
    } = inspection::unread(examined.client, position.as_ref(), COUNTED).await?;
    let mut findings = Vec::new();
    if adopted > 0 {
        findings.push(
            Finding::note(
                "adopted",
                format!(
                    "{} changes of the restored outbox have not been read yet",
                    number(adopted)
                ),
            )
            .measured(as_figure(adopted)),
        );
    }
    let what = format!(
        "{} changes are unread ({}), the oldest for {}",
        number(count),
        size(bytes),
        duration(age)
    );
    findings.push(if count == 0 {
        Finding::ok(CHECK, "every captured change has been read").measured(0.0)
    } else if age < LATE {
        Finding::ok(CHECK, what).measured(as_figure(count))
    } else {
        Finding::error(
            CHECK,
            what,
            "nobody reads, or the reader fails at a change, or it cannot keep up",
            "look at the sidecar's log, and at the findings leader, identity and pooler of this report; nothing is lost meanwhile",
        )
        .measured(as_figure(count))
    });
    Ok(findings)
}

/// How near the outbox is to its limits.
async fn limits(examined: &Examined<'_>) -> Checked {
    const CHECK: &str = "outbox";
    let limits = &examined.settings.outbox;
    let outbox = match outbox::measure(examined.client).await {
        Ok(outbox) => outbox,
        // An older schema; the check `schema` reports it.
        Err(LoadError::Query(error)) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            return Ok(Vec::new());
        }
        Err(LoadError::Query(error)) => return Err(error),
        Err(LoadError::Snapshot(_) | LoadError::Window) => return Ok(Vec::new()), // the check `identity` reports it
    };
    let bytes = i64::try_from(outbox.bytes).unwrap_or(i64::MAX);
    let of = match limits.max_bytes {
        0 => "no limit".to_owned(),
        limit => format!("limit {}", size(i64::try_from(limit).unwrap_or(i64::MAX))),
    };
    let age = outbox.oldest_unread.unwrap_or_default().as_secs_f64();
    let what = format!(
        "the outbox takes {} ({of}), the oldest unread change has waited for {} (limit {})",
        size(bytes),
        duration(age),
        duration(limits.max_age.as_secs_f64())
    );
    let remedy = "see the findings leader, identity, backlog and transactions of this report";
    let finding = match (outbox.stopped, outbox.level(limits), limits.policy) {
        (true, ..) => Finding::error(
            CHECK,
            format!("the outbox is or was full, and changes are not captured: {what}"),
            "ORW_OUTBOX_POLICY=stop: nothing more is captured until the captured changes have been read",
            format!(
                "{remedy}; when the outbox has been read and emptied, the gap is recorded, and `backfill` fills it"
            ),
        ),
        (false, Level::Fine, _) => Finding::ok(CHECK, what),
        (false, Level::Warning, _) => Finding::warning(
            CHECK,
            what,
            "nobody reads, the reader cannot keep up, or a transaction keeps a table from being emptied",
            remedy,
        ),
        (false, Level::Critical, OutboxPolicy::Warn) => Finding::error(
            CHECK,
            what,
            "nobody reads, the reader cannot keep up, or a transaction keeps a table from being emptied; the outbox grows until the disk is full",
            format!("{remedy}; ORW_OUTBOX_POLICY=stop would stop capture at the limit"),
        ),
        (false, Level::Critical, OutboxPolicy::Stop) => Finding::error(
            CHECK,
            what,
            "nobody reads, the reader cannot keep up, or a transaction keeps a table from being emptied; capture stops at the limit",
            remedy,
        ),
    };
    Ok(vec![finding.measured(as_figure(bytes))])
}

/// Transactions that keep a change table from being emptied.
async fn holders(examined: &Examined<'_>) -> Checked {
    let rows = examined
        .client
        .query_typed(
            "SELECT a.pid, coalesce(a.usename::text, '?'), coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, '?'), \
                    extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
                    EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
                            WHERE l.pid = a.pid AND l.granted AND n.nspname = 'openregister_webhooks' \
                              AND c.relname IN ('change_0', 'change_1', 'change_2')) \
             FROM pg_stat_activity a \
             WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' \
               AND clock_timestamp() - a.xact_start > interval '60 s' \
             ORDER BY a.xact_start LIMIT 5",
            &[],
        )
        .await?;
    let finding = |row: &tokio_postgres::Row| {
        let (pid, user, name, state): (i32, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let age: f64 = row.get(4);
        let what = format!(
            "a transaction of {user} ({name}, backend {pid}, {state}) has been open for {}",
            duration(age)
        );
        let cause = if row.get(5) {
            "it has captured changes, which are read only after its commit; their table cannot be emptied before that"
        } else {
            "it keeps PostgreSQL from removing dead rows, in Nextcloud's tables and in ours"
        };
        let remedy = format!("end it in the program that began it, or: SELECT pg_terminate_backend({pid})");
        Finding::warning("transactions", what, cause, remedy)
            .about(pid.to_string())
            .measured(age)
    };
    Ok(rows.iter().map(finding).collect())
}

/// What was not captured, and what could not be processed.
async fn lost(examined: &Examined<'_>) -> Checked {
    let gaps = inspection::latest_gaps(examined.client).await?;
    let mut findings: Vec<Finding> = gaps
        .into_iter()
        .map(|gap| {
            Finding::warning(
                "gap",
                format!("events of {} may be missing (found {} UTC)", gap.table, gap.at),
                gap.reason,
                format!(
                    "{}; then DELETE FROM openregister_webhooks.gap WHERE id = {}",
                    gap.remedy, gap.id
                ),
            )
            .about(gap.table)
        })
        .collect();
    let (count, reason) = inspection::quarantined(examined.client).await?;
    if count > 0 {
        findings.push(
            Finding::warning(
                "quarantine",
                format!("{} changes could not be processed and gave no event", number(count)),
                format!("the latest one: {}", reason.unwrap_or_default()),
                "look at them (SELECT id, tbl, at, reason FROM openregister_webhooks.quarantine), and report what this program should have \
                 understood; a newer program processes them after SELECT openregister_webhooks.retry_quarantined(); remove what is \
                 not needed: DELETE FROM openregister_webhooks.quarantine",
            )
            .measured(as_figure(count)),
        );
    }
    Ok(findings)
}
