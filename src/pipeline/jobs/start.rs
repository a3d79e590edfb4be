//! Beginning a job: what is asked for is checked, and what cannot be had is said.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::{Job, JobKind, store};
use crate::delivery::queue;
use crate::lifecycle::HostTables;
use crate::registry::{Caller, Webhook, WebhookId};
use orw_model::{Action, EventClass, Store, TableName};

/// Why a job did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something that was asked for cannot be; the text names the field.
    #[error("{0}")]
    Refused(String),
    #[error(
        "job {job} of webhook {webhook} is at work; a webhook has one replay or backfill at a time: wait until it has ended, or cancel it"
    )]
    AtWork { webhook: WebhookId, job: i64 },
    #[error("webhook {0} is disabled; enable it first")]
    Disabled(WebhookId),
    #[error(
        "webhook {0} is not registered for {1}, as which a backfill sends what there is; register one that is"
    )]
    NotSubscribed(WebhookId, String),
    #[error("the database says no: {0}")]
    Query(#[from] tokio_postgres::Error),
}

/// Which events are replayed.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// Those of changes that were made then or later.
    pub since: DateTime<Utc>,
    /// Only those of this class.
    pub class: Option<EventClass>,
    /// Only those of the object with this uuid.
    pub object: Option<String>,
}

/// A place in the stream of stored events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventPlace {
    pub(super) day: NaiveDate,
    pub(super) seq: i64,
}

/// Before every stored event.
fn beginning() -> NaiveDate {
    DateTime::UNIX_EPOCH.date_naive()
}

/// What a replay keeps of what was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredReplay {
    pub(super) since: DateTime<Utc>,
    pub(super) class: Option<String>,
    pub(super) object: Option<String>,
    /// The last event that the reader enqueued itself; what is later was held back for the replay.
    pub(super) until: EventPlace,
}

/// Begins a replay of what is stored since a time, for one webhook.
///
/// # Errors
/// [`StartError`]; then nothing has begun.
pub async fn start_replay(
    client: &mut Client,
    webhook: &Webhook,
    ask: &ReplayRequest,
    by: &Caller,
) -> Result<Job, StartError> {
    if ask.since > Utc::now() {
        return Err(StartError::Refused(
            "since: lies in the future; nothing is stored from then".to_owned(),
        ));
    }
    if let Some(class) = ask.class
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
    // Nothing is enqueued until the end of this transaction: what is stored now was handed to the queue by the reader.
    queue::lock(&tx).await?;
    let until = newest(&tx).await?;
    let oldest = oldest(&tx).await?;
    let note = match oldest {
        None => Some("no event is stored: there is nothing to replay".to_owned()),
        Some(at) if at > ask.since => Some(format!(
            "the oldest event that is kept is of {}; what was before is gone (ORW_CHANGE_RETENTION_DAYS)",
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        )),
        Some(_) => None,
    };
    let stored = StoredReplay {
        since: ask.since,
        class: ask.class.map(|class| class.to_string()),
        object: ask.object.clone(),
        until,
    };
    // An event is stored on the day of its change, or later; a day earlier bridges a difference of clocks.
    let place = EventPlace {
        day: ask
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

/// The newest stored event.
async fn newest<C: GenericClient + Sync>(tx: &C) -> Result<EventPlace, tokio_postgres::Error> {
    let sql = "SELECT day, seq FROM openregister_webhooks.event WHERE seq IS NOT NULL ORDER BY day DESC, seq DESC LIMIT 1";
    let rows = tx.query_typed(sql, &[]).await?;
    let none = EventPlace {
        day: beginning(),
        seq: 0,
    };
    rows.first().map_or(Ok(none), |row| {
        Ok(EventPlace {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        })
    })
}

/// When the oldest stored event was made.
async fn oldest<C: GenericClient + Sync>(tx: &C) -> Result<Option<DateTime<Utc>>, tokio_postgres::Error> {
    let sql = "SELECT at FROM openregister_webhooks.event ORDER BY day, seq LIMIT 1";
    let rows = tx.query_typed(sql, &[]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// What is backfilled: everything where nothing is named.
#[derive(Debug, Clone, Default)]
pub struct BackfillRequest {
    /// Numeric id, uuid or slug.
    pub register: Option<String>,
    /// Numeric id, uuid or slug.
    pub schema: Option<String>,
    /// One table of OpenRegister, by its full name; also one that holds no objects.
    pub table: Option<String>,
}

/// What a backfill keeps of what was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredBackfill {
    pub(super) register: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    /// The ids that the names stood for.
    pub(super) registers: Option<Vec<i64>>,
    pub(super) schemas: Option<Vec<i64>>,
}

impl StoredBackfill {
    /// Whether the table may hold something of it.
    pub(super) fn takes(&self, full: &str, table: &TableName) -> bool {
        let named = |ids: &Option<Vec<i64>>, id| ids.as_ref().is_none_or(|ids| ids.contains(&id));
        if let Some(wanted) = &self.table {
            return wanted == full && !matches!(table.store(), Store::Audit);
        }
        match table.store() {
            Store::Magic { register, schema } => {
                named(&self.registers, *register) && named(&self.schemas, *schema)
            }
            Store::Blob => true,
            Store::Plain(_) | Store::Audit => false,
        }
    }
}

/// Where a backfill is: the last row looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RowPlace {
    /// The table under way, by its full name.
    pub(super) table: Option<String>,
    /// Its last row, by numeric id.
    pub(super) after: Option<i64>,
}

/// Begins a backfill for one webhook.
///
/// # Errors
/// [`StartError`]; then nothing has begun.
pub async fn start_backfill(
    client: &mut Client,
    table_prefix: &str,
    webhook: &Webhook,
    ask: &BackfillRequest,
    by: &Caller,
) -> Result<Job, StartError> {
    if ask.table.is_some() && (ask.register.is_some() || ask.schema.is_some()) {
        return Err(StartError::Refused(
            "table: names register and schema already; leave those out".to_owned(),
        ));
    }
    let kind = match &ask.table {
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
    if !webhook.collects() {
        return Err(StartError::Disabled(webhook.id));
    }
    let tx = client.transaction().await?;
    // Nextcloud may be altering its tables: the asker is told rather than kept waiting, and a connection with him.
    tx.batch_execute(
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'; SET LOCAL search_path = pg_catalog, pg_temp",
    )
    .await?;
    let mut stored = StoredBackfill {
        register: ask.register.clone(),
        schema: ask.schema.clone(),
        table: ask.table.clone(),
        registers: None,
        schemas: None,
    };
    if let Some(name) = &ask.register {
        let table = format!("{table_prefix}openregister_registers");
        stored.registers = Some(ids_of(&tx, "register", &table, name).await?);
    }
    if let Some(name) = &ask.schema {
        let table = format!("{table_prefix}openregister_schemas");
        stored.schemas = Some(ids_of(&tx, "schema", &table, name).await?);
    }
    let tables: Vec<_> = super::backfill::tables(&tx, table_prefix)
        .await?
        .into_iter()
        .filter(|table| stored.takes(&table.full, &table.name))
        .collect();
    if tables.is_empty() {
        return Err(StartError::Refused(match &ask.table {
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
    let expected = tables.iter().map(|table| table.rows).sum();
    let place = RowPlace::default();
    let job = store::insert(
        &tx,
        JobKind::Backfill,
        webhook.id,
        (&to_json(&stored), &to_json(&place)),
        Some(expected),
        None,
        by,
    )
    .await?;
    finish(tx, webhook.id, job).await
}

/// The numeric ids of the registers or schemas that a name stands for.
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

/// Plain structures of ours always are JSON.
pub(super) fn to_json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
