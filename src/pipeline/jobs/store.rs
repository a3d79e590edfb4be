//! Jobs as rows of `openregister_webhooks.job`. Apart from `erase`, nothing else of the program writes them.

use serde_json::Value;
use tokio_postgres::types::{FromSql, Type, accepts};
use tokio_postgres::{Error, GenericClient, Row};

use super::job::{Job, JobKind};
use crate::registry::{Caller, WebhookId};

const COLUMNS: &str = "id, kind, webhook, state, ask, place, expected, seen, enqueued, note, waiting, who, created_at, updated_at, \
     finished_at";

/// The most that one page holds.
const MAX_PAGE: u16 = 500;

/// SQL for the webhooks whose new events a running replay enqueues. To be read under the lock that orders the queue.
pub(crate) const REPLAYING: &str = "SELECT webhook FROM openregister_webhooks.job WHERE state IN ('running', 'cancelling') AND kind = 'replay'";

/// The same.
pub(crate) async fn replaying<C: GenericClient + Sync>(tx: &C) -> Result<Vec<WebhookId>, Error> {
    let rows = tx.query_typed(REPLAYING, &[]).await?;
    rows.iter().map(|row| row.try_get(0).map(WebhookId)).collect()
}

/// Jobs, newest first: at most `limit` of those before the id `before`.
///
/// # Errors
/// If the query fails, or a stored job cannot be read.
pub async fn list<C: GenericClient + Sync>(
    client: &C,
    webhook: Option<WebhookId>,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<Job>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM openregister_webhooks.job \
         WHERE ($1::bigint IS NULL OR webhook = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
    );
    let rows = client
        .query_typed(
            &sql,
            &[
                (&webhook.map(|w| w.0), Type::INT8),
                (&before, Type::INT8),
                (&i64::from(limit.clamp(1, MAX_PAGE)), Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// One job; `None` if there is none with this id.
///
/// # Errors
/// If the query fails, or a stored job cannot be read.
pub async fn get<C: GenericClient + Sync>(client: &C, id: i64) -> Result<Option<Job>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM openregister_webhooks.job WHERE id = $1");
    let rows = client.query_typed(&sql, &[(&id, Type::INT8)]).await?;
    rows.first().map(read).transpose()
}

/// Cancels a job, with a row in the audit table; what it enqueued is still delivered. A backfill ends at once, a replay when it has
/// enqueued the new events that it held back. Returns the job as it is then, also if it had ended or was being cancelled before (then
/// nothing is audited); `None` if there is no job with this id.
///
/// # Errors
/// If the query fails, or a stored job cannot be read.
pub async fn cancel<C: GenericClient + Sync>(client: &C, id: i64, by: &Caller) -> Result<Option<Job>, Error> {
    let sql = "WITH c AS (UPDATE openregister_webhooks.job SET updated_at = clock_timestamp(), waiting = NULL, \
            state = CASE kind WHEN 'replay' THEN 'cancelling' ELSE 'cancelled' END, \
            finished_at = CASE kind WHEN 'replay' THEN NULL ELSE clock_timestamp() END \
            WHERE id = $1 AND state = 'running' RETURNING id, webhook, kind) \
        INSERT INTO openregister_webhooks.audit (who, client, action, webhook_id, detail) \
        SELECT $2, $3, 'cancel-' || kind, webhook, json_build_object('job', id)::text FROM c";
    client
        .execute_typed(
            sql,
            &[
                (&id, Type::INT8),
                (&by.user, Type::TEXT),
                (&by.client, Type::TEXT),
            ],
        )
        .await?;
    get(client, id).await
}

/// Cancels every job at once, in the caller's transaction; a schema that is too old to have jobs has none.
pub(crate) async fn cancel_all<C: GenericClient + Sync>(tx: &C, note: &str) -> Result<(), Error> {
    let there = "SELECT to_regclass('openregister_webhooks.job') IS NOT NULL";
    let rows = tx.query_typed(there, &[]).await?;
    if !rows.first().map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(());
    }
    let sql = "UPDATE openregister_webhooks.job SET state = 'cancelled', finished_at = clock_timestamp(), waiting = NULL, \
        note = $1 WHERE state IN ('running', 'cancelling')";
    tx.execute_typed(sql, &[(&note, Type::TEXT)]).await.map(drop)
}

/// The jobs that are at work, oldest first.
pub(super) async fn active(client: &deadpool_postgres::Client) -> Result<Vec<i64>, Error> {
    // Every process asks twice a second, so it is planned once in each connection.
    let active = client
        .prepare_cached(
            "SELECT id FROM openregister_webhooks.job WHERE state IN ('running', 'cancelling') ORDER BY id LIMIT 1000",
        )
        .await?;
    let rows = client.query(&active, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Locks a job for one step; `None` if another process has it, or it has ended.
pub(super) async fn lock_for_step<C: GenericClient + Sync>(tx: &C, id: i64) -> Result<Option<Job>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM openregister_webhooks.job WHERE id = $1 AND state IN ('running', 'cancelling') FOR UPDATE SKIP LOCKED"
    );
    let rows = tx.query_typed(&sql, &[(&id, Type::INT8)]).await?;
    rows.first().map(read).transpose()
}

/// Stores the progress of a job.
pub(super) async fn save<C: GenericClient + Sync>(tx: &C, job: &Job) -> Result<(), Error> {
    let sql = "UPDATE openregister_webhooks.job SET state = $2, place = $3, seen = $4, enqueued = $5, note = $6, waiting = $7, \
        updated_at = clock_timestamp(), finished_at = CASE WHEN $8 THEN clock_timestamp() END WHERE id = $1";
    tx.execute_typed(
        sql,
        &[
            (&job.id, Type::INT8),
            (&job.state.name(), Type::TEXT),
            (&job.place.to_string(), Type::TEXT),
            (&job.seen, Type::INT8),
            (&job.enqueued, Type::INT8),
            (&job.note, Type::TEXT),
            (&job.waiting, Type::TEXT),
            (&job.state.is_over(), Type::BOOL),
        ],
    )
    .await
    .map(drop)
}

/// Stores why a job waits.
pub(super) async fn set_waiting<C: GenericClient + Sync>(
    client: &C,
    job: i64,
    reason: &str,
) -> Result<(), Error> {
    let sql =
        "UPDATE openregister_webhooks.job SET waiting = $2 WHERE id = $1 AND waiting IS DISTINCT FROM $2";
    client
        .execute_typed(sql, &[(&job, Type::INT8), (&reason, Type::TEXT)])
        .await
        .map(drop)
}

/// Creates a job, with a row in the audit table; `None` if the webhook has one at work.
pub(super) async fn insert<C: GenericClient + Sync>(
    tx: &C,
    kind: JobKind,
    webhook: WebhookId,
    (request, place): (&Value, &Value),
    expected: Option<i64>,
    note: Option<&str>,
    by: &Caller,
) -> Result<Option<Job>, Error> {
    let sql = format!(
        "WITH made AS (INSERT INTO openregister_webhooks.job (kind, webhook, ask, place, expected, note, who) \
                VALUES ($1, $2, $3, $4, $5, $6, $7) \
                ON CONFLICT (webhook) WHERE state IN ('running', 'cancelling') DO NOTHING RETURNING {COLUMNS}), \
            audited AS (INSERT INTO openregister_webhooks.audit (who, client, action, webhook_id, detail) \
                SELECT who, $8, kind, webhook, json_build_object('job', id, 'asked', ask::json)::text FROM made) \
         SELECT {COLUMNS} FROM made"
    );
    let rows = tx
        .query_typed(
            &sql,
            &[
                (&kind.name(), Type::TEXT),
                (&webhook.0, Type::INT8),
                (&request.to_string(), Type::TEXT),
                (&place.to_string(), Type::TEXT),
                (&expected, Type::INT8),
                (&note, Type::TEXT),
                (&by.user, Type::TEXT),
                (&by.client, Type::TEXT),
            ],
        )
        .await?;
    rows.first().map(read).transpose()
}

/// The id of the webhook's job that is at work.
pub(super) async fn active_of<C: GenericClient + Sync>(
    tx: &C,
    webhook: WebhookId,
) -> Result<Option<i64>, Error> {
    let sql =
        "SELECT id FROM openregister_webhooks.job WHERE webhook = $1 AND state IN ('running', 'cancelling')";
    let rows = tx.query_typed(sql, &[(&webhook.0, Type::INT8)]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

fn read(row: &Row) -> Result<Job, Error> {
    let json = |name: &str| -> Result<Value, Error> { Ok(row.try_get::<_, JsonText>(name)?.0) };
    Ok(Job {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        webhook: row.try_get("webhook")?,
        state: row.try_get("state")?,
        request: json("ask")?,
        place: json("place")?,
        expected: row.try_get("expected")?,
        seen: row.try_get("seen")?,
        enqueued: row.try_get("enqueued")?,
        note: row.try_get("note")?,
        waiting: row.try_get("waiting")?,
        who: row.try_get("who")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// JSON in a column of type text. A text that is not JSON is kept as it is: the job is then listed and can be cancelled, and only its
/// next step fails.
struct JsonText(Value);

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let text = <&str>::from_sql(ty, raw)?;
        Ok(Self(
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        ))
    }

    accepts!(TEXT);
}
