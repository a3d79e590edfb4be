//! The server itself: version, role in a cluster, clock, free connections, and the disk space of our schema.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::examined::{Checked, Examined};
use super::figures::{duration, size};
use super::finding::Finding;

/// Beyond this difference of the clocks, in seconds, latencies and times of signatures are wrong.
const CLOCK_OFF: f64 = 1.0;
/// Beyond this difference, in seconds, signatures may be refused: receivers accept those of the last five minutes.
const CLOCK_WRONG: f64 = 120.0;
/// The connections that the sidecar takes: its pools, the leader, the doorbell, discovery, the heartbeat.
const NEEDED: i64 = 30;
/// A schema of more bytes than this is worth a warning.
const LARGE: i64 = 10_000_000_000;

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let mut findings = vec![version(examined).await?];
    findings.extend(encoding(examined).await?);
    findings.extend(state(examined).await?);
    findings.push(clock(examined).await?);
    findings.extend(connections(examined).await?);
    Ok(findings)
}

async fn version(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    let rows = examined
        .client
        .query_typed(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int",
            &[],
        )
        .await?;
    let (text, number): (String, i32) = rows.first().map_or((String::new(), 0), |r| (r.get(0), r.get(1)));
    let finding = if number >= 140_000 {
        Finding::ok("version", format!("PostgreSQL {text}"))
    } else {
        Finding::error(
            "version",
            format!("PostgreSQL {text} is too old"),
            "PostgreSQL 14 or later is needed",
            "upgrade the server",
        )
    };
    Ok(finding.measured(f64::from(number)))
}

/// Whether the texts of the database are UTF-8.
async fn encoding(examined: &Examined<'_>) -> Checked {
    let rows = examined
        .client
        .query_typed("SELECT getdatabaseencoding()::text", &[])
        .await?;
    let encoding = rows.first().map_or("UTF8", |row| row.get(0));
    if encoding == "UTF8" {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::error(
        "encoding",
        format!("this database is encoded in {encoding}"),
        "events consist of UTF-8; a change that is not UTF-8 goes to quarantine, and install refuses such a database",
        "dump it, create it again with ENCODING 'UTF8' TEMPLATE template0, and restore the dump",
    )])
}

/// Settings of the server with which nothing can be written, or triggers do not fire.
async fn state(examined: &Examined<'_>) -> Checked {
    let rows = examined
        .client
        .query_typed(
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', \
                    current_setting('session_replication_role'), \
                    (SELECT string_agg(coalesce(nullif(pg_get_userbyid(s.setrole)::text, 'unknown (OID=0)'), 'all roles'), ', ') \
                     FROM pg_db_role_setting s, unnest(s.setconfig) c \
                     WHERE c = 'session_replication_role=replica' \
                       AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    if row.get(0) {
        findings.push(Finding::error(
            "server",
            "this server is a standby",
            "it is in recovery and accepts no writes",
            "name the primary in ORW_DATABASE_URL, or both as host=a,b with target_session_attrs=read-write",
        ));
    } else if row.get(1) {
        findings.push(Finding::error(
            "server",
            "sessions here are read-only",
            "default_transaction_read_only is on",
            "switch it off for this role: ALTER ROLE … SET default_transaction_read_only = off",
        ));
    }
    let roles: Option<String> = row.get(3);
    if row.get::<_, &str>(2) == "replica" || roles.is_some() {
        findings.push(Finding::error(
            "replication_role",
            format!("triggers do not fire for {}", roles.unwrap_or_else(|| "this role".to_owned())),
            "session_replication_role = replica is set",
            "ALTER ROLE … RESET session_replication_role (or ALTER DATABASE …, or in postgresql.conf); replication tools set it for their own \
             sessions alone",
        ));
    }
    Ok(findings)
}

/// The difference of the two clocks, as exactly as the round trip allows.
async fn clock(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    const CHECK: &str = "clock";
    let here = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    let began = Instant::now();
    let before = here();
    let rows = examined
        .client
        .query_typed("SELECT extract(epoch FROM clock_timestamp())::float8", &[])
        .await?;
    let round_trip = began.elapsed().as_secs_f64();
    let there: f64 = rows.first().map_or(before, |r| r.get(0));
    let off = there - (before + round_trip / 2.0);
    let uncertain = round_trip / 2.0;
    let finding = if off.abs() <= CLOCK_OFF + uncertain {
        Finding::ok(
            CHECK,
            format!("the clocks agree within {:.3} s", off.abs() + uncertain),
        )
    } else {
        let what = format!(
            "the server's clock is {} {} this machine's",
            duration(off.abs()),
            if off > 0.0 { "ahead of" } else { "behind" }
        );
        let cause = "one of the two clocks is not set by NTP";
        let remedy = "run chrony or systemd-timesyncd on both (timedatectl shows whether it works)";
        if off.abs() > CLOCK_WRONG {
            let cause = format!("{cause}; receivers refuse signatures whose time is minutes off");
            Finding::error(CHECK, what, cause, remedy)
        } else {
            Finding::warning(CHECK, what, cause, remedy)
        }
    };
    Ok(finding.measured(off))
}

async fn connections(examined: &Examined<'_>) -> Checked {
    const CHECK: &str = "connections";
    let rows = examined
        .client
        .query_typed(
            "SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint, \
                    (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database), \
                    (SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = current_user)",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Vec::new());
    };
    let (most, used, limit): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let mut findings = vec![if most - used >= NEEDED {
        Finding::ok(CHECK, format!("{used} of {most} connections are used"))
    } else {
        Finding::warning(
            CHECK,
            format!("{used} of {most} connections are used"),
            format!("the sidecar takes about {NEEDED}, and Nextcloud needs the rest"),
            "raise max_connections in postgresql.conf, or put a pooler before Nextcloud",
        )
    }];
    if (0..NEEDED).contains(&limit) {
        findings.push(Finding::warning(
            CHECK,
            format!("{} may have {limit} connections", examined.database.target().user),
            format!("the sidecar takes about {NEEDED}"),
            format!(
                "ALTER ROLE {} CONNECTION LIMIT -1",
                examined.database.target().user
            ),
        ));
    }
    Ok(findings)
}

/// The disk space of our schema.
pub(super) async fn check_size(examined: &Examined<'_>) -> Checked {
    let rows = examined
        .client
        .query_typed(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, \
                    coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname ~ '^change_'), 0)::bigint \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'openregister_webhooks' AND c.relkind = 'r'",
            &[],
        )
        .await?;
    let (total, outbox): (i64, i64) = rows.first().map_or((0, 0), |r| (r.get(0), r.get(1)));
    let what = format!(
        "the schema takes {}, of which the outbox takes {}",
        size(total),
        size(outbox)
    );
    Ok(vec![if total < LARGE {
        Finding::ok("size", what)
    } else {
        Finding::warning(
            "size",
            what,
            "a large backlog, a long retention, or very large objects",
            "see which tables are large (\\dt+ openregister_webhooks.* in psql); shorten ORW_CHANGE_RETENTION_DAYS or ORW_LOG_RETENTION_DAYS",
        )
    }])
}
