//! Starting a job: checks the request, and says what is wrong with it.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::job::{Job, JobKind};
use super::progress::{EventPlace, RowPlace, StoredBackfill, StoredReplay, to_json};
use super::{backfill, store};
use crate::delivery::queue;
use crate::lifecycle::{HostTables, store as events};
use crate::registry::{Caller, Webhook, WebhookId};
use orw_model::{Action, EventClass, Store, TableName};

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The request is refused; the text begins with the field's name.
    #[error("{0}")]
    Refused(String),
    #[error(
        "job {job} of webhook {webhook} is at work; a webhook has one replay, backfill or bulk retry at a time: wait until it has ended, or cancel it"
    )]
    AtWork { webhook: WebhookId, job: i64 },
    #[error("webhook {0} is disabled; enable it first")]
    Disabled(WebhookId),
    #[error(
        "webhook {0} is not registered for {1}, as which a backfill sends what there is; register one that is"
    )]
    NotSubscribed(WebhookId, String),
    #[error("a query failed: {0}")]
    Query(#[from] tokio_postgres::Error),
}

/// Which events are replayed.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// Those of changes that were made at this time or later.
    pub since: DateTime<Utc>,
    /// Only those of this class.
    pub class: Option<EventClass>,
    /// Only those of the object with this uuid.
    pub object: Option<String>,
}

/// Before every stored event.
fn beginning() -> NaiveDate {
    DateTime::UNIX_EPOCH.date_naive()
}

/// Starts a replay of what was stored since a time, for one webhook.
///
/// # Errors
/// [`StartError`]; then no job was started.
pub async fn start_replay(
    client: &mut Client,
    webhook: &Webhook,
    request: &ReplayRequest,
    by: &Caller,
) -> Result<Job, StartError> {
    if request.since > Utc::now() {
        return Err(StartError::Refused(
            "since: lies in the future; nothing is stored from then".to_owned(),
        ));
    }
    if let Some(class) = request.class
        && !webhook.event.classes().contains(&class)
    {
        return Err(StartError::Refused(format!(
            "class: webhook {} is not registered for {class}",
            webhook.id
        )));
    }
    if !webhook.collects() {
        return Err(StartError::Disabled(webhook.id));
    }
    let tx = client.transaction().await?;
    // Nothing is enqueued until the end of this transaction, so the reader has enqueued everything that is stored now.
    queue::lock(&tx).await?;
    let (day, seq) = events::newest(&tx).await?.unwrap_or((beginning(), 0));
    let until = EventPlace { day, seq };
    let oldest = events::oldest(&tx).await?;
    let note = match oldest {
        None => Some("no event is stored: there is nothing to replay".to_owned()),
        Some(at) if at > request.since => Some(format!(
            "the oldest event that is kept is of {}; what was before is gone (ORW_CHANGE_RETENTION_DAYS)",
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        )),
        Some(_) => None,
    };
    let stored = StoredReplay {
        since: request.since,
        class: request.class.map(|class| class.to_string()),
        object: request.object.clone(),
        until,
    };
    // An event is stored on the day of its change or later. A day earlier allows for clocks that differ.
    let place = EventPlace {
        day: request
            .since
            .date_naive()
            .pred_opt()
            .map_or_else(beginning, |day| day.max(beginning())),
        seq: 0,
    };
    let job = store::insert(
        &tx,
        JobKind::Replay,
        webhook.id,
        (&to_json(&stored), &to_json(&place)),
        None,
        note.as_deref(),
        by,
    )
    .await?;
    finish(tx, webhook.id, job).await
}

/// What is backfilled; every object if nothing is named.
#[derive(Debug, Clone, Default)]
pub struct BackfillRequest {
    /// Numeric id, uuid or slug.
    pub register: Option<String>,
    /// Numeric id, uuid or slug.
    pub schema: Option<String>,
    /// One table of OpenRegister, by its full name; also one that holds no objects.
    pub table: Option<String>,
}

/// Starts a backfill for one webhook.
///
/// # Errors
/// [`StartError`]; then no job was started.
pub async fn start_backfill(
    client: &mut Client,
    table_prefix: &str,
    webhook: &Webhook,
    request: &BackfillRequest,
    by: &Caller,
) -> Result<Job, StartError> {
    if request.table.is_some() && (request.register.is_some() || request.schema.is_some()) {
        return Err(StartError::Refused(
            "table: names register and schema already; leave those out".to_owned(),
        ));
    }
    check_registered(table_prefix, webhook, request)?;
    if !webhook.collects() {
        return Err(StartError::Disabled(webhook.id));
    }
    let tx = client.transaction().await?;
    // Nextcloud may be altering its tables: the request then fails soon, instead of keeping its client and a connection waiting.
    tx.batch_execute(
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'; SET LOCAL search_path = pg_catalog, pg_temp",
    )
    .await?;
    let mut stored = StoredBackfill {
        register: request.register.clone(),
        schema: request.schema.clone(),
        table: request.table.clone(),
        registers: None,
        schemas: None,
    };
    if let Some(name) = &request.register {
        let table = format!("{table_prefix}openregister_registers");
        stored.registers = Some(ids_of(&tx, "register", &table, name).await?);
    }
    if let Some(name) = &request.schema {
        let table = format!("{table_prefix}openregister_schemas");
        stored.schemas = Some(ids_of(&tx, "schema", &table, name).await?);
    }
    let tables = readable_tables(&tx, table_prefix, &stored).await?;
    // Of a table that PostgreSQL has not looked at yet, nothing is known.
    let expected = tables
        .iter()
        .map(|table| table.rows)
        .sum::<Option<i64>>()
        .filter(|rows| *rows > 0);
    let place = RowPlace::default();
    let job = store::insert(
        &tx,
        JobKind::Backfill,
        webhook.id,
        (&to_json(&stored), &to_json(&place)),
        expected,
        None,
        by,
    )
    .await?;
    finish(tx, webhook.id, job).await
}

/// Checks that the webhook is registered for the event as which a backfill sends the entities.
fn check_registered(
    table_prefix: &str,
    webhook: &Webhook,
    request: &BackfillRequest,
) -> Result<(), StartError> {
    let kind = match &request.table {
        None => orw_model::EntityKind::Object,
        Some(name) => TableName::parse(name, table_prefix)
            .filter(|table| !matches!(table.store(), Store::Audit))
            .map(|table| table.store().kind())
            .ok_or_else(|| {
                StartError::Refused(format!(
                    "table: {name:?} is no table that OpenRegister keeps entities in; such are {table_prefix}openregister_objects and \
                     {table_prefix}openregister_table_1_2"
                ))
            })?,
    };
    if let Some(class) = EventClass::new(kind, Action::Created)
        && !webhook.event.classes().contains(&class)
    {
        return Err(StartError::NotSubscribed(webhook.id, class.name()));
    }
    Ok(())
}

/// The tables of a backfill, all of which this role may read.
async fn readable_tables(
    tx: &Transaction<'_>,
    table_prefix: &str,
    request: &StoredBackfill,
) -> Result<Vec<backfill::Table>, StartError> {
    let tables: Vec<_> = backfill::tables(tx, table_prefix)
        .await?
        .into_iter()
        .filter(|table| request.takes(&table.full, &table.name))
        .collect();
    if tables.is_empty() {
        return Err(StartError::Refused(match &request.table {
            Some(name) => format!("table: {name} does not exist in this database"),
            None => "register, schema: there is no table with such objects".to_owned(),
        }));
    }
    let unreadable: Vec<&str> = tables
        .iter()
        .filter(|t| !t.readable)
        .map(|t| t.full.as_str())
        .collect();
    if let Some(table) = unreadable.first() {
        return Err(StartError::Refused(format!(
            "the sidecar's role has no SELECT on {table}: run `openregister-webhooks install --runtime-role NAME` as the owner of Nextcloud's tables"
        )));
    }
    Ok(tables)
}

/// The numeric ids of the registers or schemas with this id, uuid or slug.
async fn ids_of(tx: &Transaction<'_>, what: &str, table: &str, name: &str) -> Result<Vec<i64>, StartError> {
    let mut tables = HostTables::new(tx).await?;
    let sql = format!(
        "SELECT id::int8 FROM {} WHERE id::text = $1 OR uuid = $1 OR lower(slug) = lower($1) ORDER BY 1 LIMIT 100",
        tables.name(table)
    );
    tables.hold(tx).await?;
    let rows = tx.query_typed(&sql, &[(&name, Type::TEXT)]).await?;
    if rows.is_empty() {
        return Err(StartError::Refused(format!(
            "{what}: there is none with the id, uuid or slug {name:?}"
        )));
    }
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn finish(
    tx: tokio_postgres::Transaction<'_>,
    webhook: WebhookId,
    job: Option<Job>,
) -> Result<Job, StartError> {
    if let Some(job) = job {
        tx.commit().await?;
        return Ok(job);
    }
    let job = store::active_of(&tx, webhook).await?.unwrap_or_default();
    Err(StartError::AtWork { webhook, job })
}
