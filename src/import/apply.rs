//! Reading OpenRegister's rows, and registering what becomes of them.

use std::collections::HashMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use super::plan::{Outcome, Plan, Planned, plan};
use super::row::Row;
use crate::lifecycle::HostTables;
use crate::registry::{
    Caller, Fields, Registration, Registry, RegistryError, Snapshot, TargetPolicy, WebhookId,
};

/// The most rows that are read: as many as there may be webhooks.
const MOST: i64 = 10_000;
/// How the audit table names who registered a webhook that was taken over; the row's uuid follows.
const WHO: &str = "import:";

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "OpenRegister has no table for webhooks here ({0}); check ORW_DATABASE_URL and ORW_TABLE_PREFIX against Nextcloud's config.php"
    )]
    NoTable(String),
    #[error(
        "the role of ORW_DATABASE_URL may not read {0}; give the owner of Nextcloud's tables (dbuser in config.php) for this command"
    )]
    Forbidden(String),
    #[error("a row of OpenRegister's webhooks cannot be read: {0}")]
    Row(#[from] serde_json::Error),
    #[error("a query failed: {0}")]
    Query(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// One row, and what was done with it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    #[serde(flatten)]
    pub plan: Plan,
    /// What was done for each webhook of the plan, in its order; empty for a dry run of a row that is left out.
    pub done: Vec<Done>,
}

/// What was done for one webhook of a plan.
#[derive(Debug, Clone)]
pub enum Done {
    /// Nothing yet: this is a dry run.
    Planned,
    Registered {
        webhook: WebhookId,
        /// The signing secret, shown this once.
        secret: Option<SecretString>,
        warnings: Vec<String>,
    },
    /// It was taken over before, as this webhook, which may be gone by now.
    Before(WebhookId),
    /// A webhook with the same address, event and filter is registered.
    There(WebhookId),
    /// The registration is refused.
    Refused(String),
}

impl Serialize for Done {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Planned => json!({"done": "planned"}),
            Self::Registered {
                webhook,
                secret,
                warnings,
            } => {
                json!({"done": "registered", "webhook": webhook.0, "secret": secret.as_ref().map(|secret| secret.expose_secret()),
                    "warnings": warnings})
            }
            Self::Before(webhook) => json!({"done": "before", "webhook": webhook.0}),
            Self::There(webhook) => json!({"done": "there", "webhook": webhook.0}),
            Self::Refused(reason) => json!({"done": "refused", "reason": reason}),
        };
        value.serialize(to)
    }
}

/// Takes OpenRegister's registrations over, or says what would become of them (`dry`). `by` is who asks, for the audit table.
///
/// # Errors
/// [`ImportError`]; what was registered before stays.
pub async fn run(
    client: &mut Client,
    registry: &Registry,
    table_prefix: &str,
    policy: &dyn TargetPolicy,
    by: &Caller,
    dry: bool,
) -> Result<Vec<Imported>, ImportError> {
    let rows = read(client, table_prefix).await?;
    let before = imported_before(client).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let plan = plan(row);
        let mut done = Vec::new();
        if let Outcome::Register { webhooks } = &plan.outcome {
            for planned in webhooks {
                done.push(one(registry, policy, &plan, planned, &before, by, dry).await?);
            }
        }
        all.push(Imported { plan, done });
    }
    Ok(all)
}

/// The webhooks that were made by an import: by the row's uuid and the event.
type Before = HashMap<(String, String), WebhookId>;

async fn one(
    registry: &Registry,
    policy: &dyn TargetPolicy,
    plan: &Plan,
    planned: &Planned,
    before: &Before,
    by: &Caller,
    dry: bool,
) -> Result<Done, ImportError> {
    if let Some(webhook) = before.get(&(format!("{WHO}{}", key(plan)), planned.event.clone())) {
        return Ok(Done::Before(*webhook));
    }
    let registration = match Registration::parse(&Fields::json(planned.fields.clone()), policy) {
        Ok(registration) => registration,
        Err(refused) => return Ok(Done::Refused(refused.to_string())),
    };
    let snapshot = registry.refresh().await?;
    if let Some(webhook) = same(&snapshot, &registration) {
        return Ok(Done::There(webhook));
    }
    if dry {
        return Ok(Done::Planned);
    }
    let caller = Caller {
        user: format!("{WHO}{}", key(plan)),
        app_id: None,
        client: Some(by.user.clone()),
    };
    match registry.create(&caller, registration).await {
        Ok(changed) => Ok(Done::Registered {
            webhook: changed.webhook.id,
            secret: changed.secret,
            warnings: changed.warnings,
        }),
        Err(RegistryError::Refused(refused)) => Ok(Done::Refused(refused.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// What tells a row from all others: its uuid, or its id if it has none.
fn key(plan: &Plan) -> String {
    if plan.uuid.is_empty() {
        plan.id.to_string()
    } else {
        plan.uuid.chars().take(255).collect()
    }
}

/// A webhook that is registered already.
fn same(snapshot: &Snapshot, wanted: &Registration) -> Option<WebhookId> {
    let is_same = |webhook: &&std::sync::Arc<crate::registry::Webhook>| {
        webhook.uri == wanted.uri
            && webhook.event == wanted.event
            && is_equal(&webhook.event_filter, &wanted.event_filter)
    };
    snapshot.all().iter().find(is_same).map(|webhook| webhook.id)
}

/// Whether two filters say the same; an empty list is an empty object.
fn is_equal(one: &Value, other: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    one == other || (is_empty(one) && is_empty(other))
}

/// OpenRegister's rows, in their order.
async fn read(client: &mut Client, table_prefix: &str) -> Result<Vec<Row>, ImportError> {
    let table = format!("{table_prefix}openregister_webhooks");
    let tx = client.transaction().await?;
    let read = rows(&tx, &table).await;
    let rows = match read {
        Ok(rows) => rows,
        Err(error) => {
            return Err(match error.code() {
                Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => {
                    ImportError::NoTable(table)
                }
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => ImportError::Forbidden(table),
                _ => error.into(),
            });
        }
    };
    tx.commit().await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
}

async fn rows(tx: &Transaction<'_>, table: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    tx.batch_execute(
        "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '30s'; SET LOCAL search_path = pg_catalog, pg_temp",
    )
    .await?;
    let mut tables = HostTables::new(tx).await?;
    let from = tables.name(table);
    tables.hold(tx).await?;
    let sql = format!("SELECT row_to_json(w)::text FROM {from} AS w ORDER BY w.id LIMIT {MOST}");
    let rows = tx.query_typed(&sql, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// What earlier imports registered; the audit table keeps it also when the webhook is changed or removed.
async fn imported_before(client: &Client) -> Result<Before, tokio_postgres::Error> {
    let sql = "SELECT who, detail, webhook_id FROM openregister_webhooks.audit WHERE action = 'create' AND starts_with(who, 'import:')";
    let rows = client.query_typed(sql, &[]).await?;
    let mut before = Before::new();
    for row in &rows {
        let detail: &str = row.try_get(1)?;
        let detail: Value = serde_json::from_str(detail).unwrap_or_default();
        if let Some(event) = detail["event"].as_str() {
            before.insert((row.try_get(0)?, event.to_owned()), WebhookId(row.try_get(2)?));
        }
    }
    Ok(before)
}
