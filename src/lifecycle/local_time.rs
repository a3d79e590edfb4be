//! Times that a bulk upsert wrote with `NOW()`: the wall clock of the session's time zone, where every other time of an
//! object is UTC.
//!
//! They are recognised by their fraction of a second, which the application never writes. The zone is the database's default, with
//! which our sessions and Nextcloud's begin.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use orw_model::ObjectRow;

/// The row's `_updated` if a bulk upsert wrote it.
pub(super) fn of(row: ObjectRow<'_>) -> Option<&str> {
    row.text("updated")
        .filter(|text| row.is_magic() && text.contains('.'))
}

/// The times in UTC, by local time; empty if the zone is UTC.
pub(super) async fn to_utc(
    tx: &impl GenericClient,
    times: &BTreeSet<String>,
) -> Result<HashMap<String, String>, tokio_postgres::Error> {
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    let rows = tx
        .query_typed(
            "SELECT t, to_char(t::timestamp AT TIME ZONE z.reset_val AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') \
               FROM unnest($1::text[]) t, (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone') z \
              WHERE z.reset_val NOT IN ('UTC', 'Etc/UTC', 'GMT')",
            &[(&times, Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
