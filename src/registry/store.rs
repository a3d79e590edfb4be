//! The table `webhook`: all registrations at once, one under its lock, a row for a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row, Transaction};

use super::defaults::Defaults;
use super::error::{Refused, RegistryError};
use super::reading::{Reading, Readings, STAMP, Stamp};
use super::record::Record;
use super::row::{self, COLUMNS};
use super::sealing::{self, Form};
use super::snapshot::{Loaded, Snapshot};
use super::vault::Vault;
use super::webhook::{Ordering, WebhookId};

/// What tells one version of a row from every other of the same history, in a number: the transaction that wrote it, its place, and (should a
/// crash of a server that does not wait for its disk give another transaction the same number) what every change of a registration sets.
const VERSION: &str =
    "hashtextextended(concat_ws(' ', w.xmin, w.ctid, w.revision, extract(epoch FROM w.updated_at)), 0)";

/// The rows of a read of all registrations.
struct Read {
    /// Those that were written since, and whatever is not known.
    rows: Vec<Row>,
    reading: Reading,
    /// The ids and versions of those that are known and still there, as they were.
    kept: BTreeMap<i64, i64>,
}

/// Reads every registration in one statement, as of one moment, except the rows that are known and have the same version.
async fn read<C: GenericClient>(
    client: &C,
    known: Option<&Snapshot>,
    readings: &Readings,
) -> Result<Read, RegistryError> {
    // `$1`: ids, ascending, and `$2`: their versions. No join, which could be planned as a comparison of each with each.
    let sql = format!(
        "SELECT {COLUMNS}, {STAMP}, s.sealed_to_origin, {VERSION} AS version, \
             CASE WHEN row_number() OVER () = 1 THEN ARRAY(SELECT k.id FROM unnest($1::bigint[]) AS k (id) \
                 WHERE NOT EXISTS (SELECT FROM openregister_webhooks.webhook g WHERE g.id = k.id)) END AS gone \
         FROM openregister_webhooks.settings s, openregister_webhooks.registry r LEFT JOIN openregister_webhooks.webhook w \
           ON (($1::bigint[])[width_bucket(w.id, $1::bigint[])] = w.id \
               AND ($2::bigint[])[width_bucket(w.id, $1::bigint[])] = {VERSION}) IS NOT TRUE"
    );
    let mut kept: BTreeMap<i64, i64> = known.map(Snapshot::versions).unwrap_or_default();
    let (ids, versions): (Vec<i64>, Vec<i64>) = kept.iter().unzip();
    let statement = client.prepare(&sql).await?;
    let began = readings.begin();
    let rows = client.query(&statement, &[&ids, &versions]).await?;
    let reading = readings.end(began);
    let gone = rows
        .first()
        .and_then(|row| row.get::<_, Option<Vec<i64>>>("gone"));
    for id in gone.into_iter().flatten() {
        kept.remove(&id);
    }
    for row in &rows {
        if let Some(id) = row.get::<_, Option<i64>>("id") {
            kept.remove(&id);
        }
    }
    Ok(Read { rows, reading, kept })
}

/// Every registration, as of one moment. Of `before`, which must be of the same history, those are taken over whose rows have not been
/// written since, so that a change of one of many costs little more than to find which it is.
pub(super) async fn load<C: GenericClient>(
    client: &C,
    vault: &Vault,
    defaults: &Defaults,
    now: i64,
    mut before: Option<&Snapshot>,
    readings: &Readings,
) -> Result<Snapshot, RegistryError> {
    let mut found = read(client, before, readings).await?;
    if let (Some(known), Some(first)) = (before, found.rows.first())
        && !known.stamp().is_akin(&Stamp::of(first))
    {
        // Restored right now: versions of another history say nothing.
        before = None;
        found = read(client, None, readings).await?;
    }
    // `registry` and `settings` have one row each, so there is a row, whether or not a registration has changed.
    let Some(stamp) = found.rows.first().map(Stamp::of) else {
        return Ok(Snapshot::new(Loaded::at(Stamp::default(), found.reading)));
    };
    let mut loaded = Loaded::at(stamp, found.reading);
    for row in found.rows {
        let Some(id) = row.get::<_, Option<i64>>("id").map(WebhookId) else {
            continue;
        };
        let form = Form::read(row.get("sealed_to_origin"));
        let record = row::read(&row, id, vault, form);
        let ends = record.as_ref().ok().and_then(|record| record.next_expiry(now));
        match record.and_then(|record| record.into_webhook(defaults, now)) {
            Ok(webhook) => {
                let version = ends.is_none().then(|| row.get("version"));
                loaded.next_expiry = ends.into_iter().chain(loaded.next_expiry).min();
                loaded.add(Arc::new(webhook), version);
            }
            Err(reason) => {
                loaded.unreadable.push((id, reason));
                // Written with a key that this process does not have yet, perhaps: what was known goes on.
                if let Some(known) = before.and_then(|before| before.get(id)) {
                    loaded.add(Arc::clone(known), None);
                }
            }
        }
    }
    for (id, version) in found.kept {
        if let Some(known) = before.and_then(|before| before.get(WebhookId(id))) {
            loaded.add(Arc::clone(known), Some(version));
        }
    }
    Ok(Snapshot::new(loaded))
}

/// One registration, its row locked.
pub(super) async fn lock(
    tx: &Transaction<'_>,
    vault: &Vault,
    id: WebhookId,
) -> Result<Option<Record>, RegistryError> {
    let sql = format!("SELECT {COLUMNS} FROM openregister_webhooks.webhook w WHERE w.id = $1 FOR UPDATE");
    let Some(row) = tx.query_opt(&sql, &[&id.0]).await? else {
        return Ok(None);
    };
    row::read(&row, id, vault, sealing::form(tx).await?)
        .map(Some)
        .map_err(|reason| RegistryError::Unreadable { id, reason })
}

/// How many webhooks there may be: every process has all of them in memory, and asks each about every event.
pub(super) const MOST_WEBHOOKS: i64 = 10_000;

/// A row of its own for a new registration: the id that its ciphertexts are bound to. Under the lock of the revision.
pub(super) async fn reserve(tx: &Transaction<'_>, revision: i64) -> Result<WebhookId, RegistryError> {
    let count: i64 = tx
        .query_one("SELECT count(*) FROM openregister_webhooks.webhook", &[])
        .await?
        .get(0);
    if count >= MOST_WEBHOOKS {
        return Err(Refused::TooMany(count).into());
    }
    let row = tx
        .query_one(
            "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) \
             VALUES ($1, '', '', '', '', '{}') RETURNING id",
            &[&revision],
        )
        .await?;
    Ok(WebhookId(row.get(0)))
}

/// Removes the webhooks that `which` selects; of each its id, `uri` and `event`.
pub(super) async fn remove(
    tx: &Transaction<'_>,
    which: &Which<'_>,
) -> Result<Vec<(WebhookId, String, String)>, RegistryError> {
    let (condition, key): (_, &(dyn ToSql + Sync)) = match which {
        Which::One(id) => ("id = $1", &id.0),
        Which::OfApp(app) => ("app_id = $1", app),
    };
    let sql = format!("DELETE FROM openregister_webhooks.webhook WHERE {condition} RETURNING id, uri, event");
    let rows = tx.query(&sql, &[key]).await?;
    Ok(rows
        .iter()
        .map(|row| (WebhookId(row.get(0)), row.get(1), row.get(2)))
        .collect())
}

/// Which webhooks are to be removed.
#[derive(Debug)]
pub(super) enum Which<'a> {
    One(WebhookId),
    OfApp(&'a str),
}

/// Sets which kinds are captured from the registrations as this transaction leaves them; whether a kind was switched on.
pub(super) async fn set_kinds(tx: &Transaction<'_>) -> Result<bool, RegistryError> {
    let row = tx
        .query_one("SELECT openregister_webhooks.set_kinds()", &[])
        .await?;
    Ok(row.get(0))
}

/// How the deliveries of a webhook are ordered; `None` where there is no such webhook.
///
/// # Errors
/// Where the query fails, or the column holds no ordering.
pub(crate) async fn ordering_of(
    client: &impl GenericClient,
    id: WebhookId,
) -> Result<Option<Ordering>, RegistryError> {
    let sql = "SELECT ordering FROM openregister_webhooks.webhook WHERE id = $1";
    client
        .query_opt(sql, &[&id.0])
        .await?
        .map(|row| row::named("ordering", row.get(0), Ordering::parse))
        .transpose()
        .map_err(|reason| RegistryError::Unreadable { id, reason })
}

/// How many webhooks are registered.
pub(crate) async fn count<C: GenericClient + Sync>(client: &C) -> Result<i64, tokio_postgres::Error> {
    let sql = "SELECT count(*) FROM openregister_webhooks.webhook";
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

/// The ids of all webhooks, in rising order.
pub(crate) async fn ids<C: GenericClient + Sync>(client: &C) -> Result<Vec<i64>, tokio_postgres::Error> {
    let sql = "SELECT id FROM openregister_webhooks.webhook ORDER BY id";
    let rows = client.query_typed(sql, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
