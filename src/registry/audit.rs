//! Who changed what and when: the audit table.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::error::RegistryError;
use super::webhook::WebhookId;

/// Who asks for a change: what the audit table keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub user: String,
    /// The external app that acts, as AppAPI names it.
    pub app_id: Option<String>,
    /// The client's address; `None` for the command line and for the sidecar itself.
    pub client: Option<String>,
}

impl Caller {
    /// The sidecar itself, when it disables a webhook.
    #[must_use]
    pub fn system() -> Self {
        Self {
            user: "openregister-webhooks".to_owned(),
            app_id: None,
            client: None,
        }
    }
}

/// A row of the audit table.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub who: String,
    pub client: Option<String>,
    pub action: String,
    pub webhook: WebhookId,
    pub detail: Value,
}

/// Writes a row of the audit table, in the transaction of what it tells of. `webhook` is `None` where that is no webhook's.
///
/// # Errors
/// Where the query fails.
pub(crate) async fn insert(
    tx: &(impl GenericClient + Sync),
    by: &Caller,
    action: &str,
    webhook: Option<WebhookId>,
    detail: &Value,
) -> Result<(), tokio_postgres::Error> {
    tx.execute_typed(
        "INSERT INTO openregister_webhooks.audit (who, client, action, webhook_id, detail) VALUES ($1, $2, $3, $4, $5)",
        &[
            (&by.user, Type::TEXT),
            (&by.client, Type::TEXT),
            (&action, Type::TEXT),
            (&webhook.map_or(0, |id| id.0), Type::INT8),
            (&detail.to_string(), Type::TEXT),
        ],
    )
    .await
    .map(drop)
}

/// The audit table, newest first: at most `limit` rows before the row `before`.
pub(super) async fn list(
    client: &(impl GenericClient + Sync),
    webhook: Option<WebhookId>,
    before: Option<i64>,
    limit: u16,
) -> Result<Vec<AuditEntry>, RegistryError> {
    let rows = client
        .query(
            "SELECT id, at, who, client, action, webhook_id, detail FROM openregister_webhooks.audit \
             WHERE ($1::bigint IS NULL OR webhook_id = $1) AND ($2::bigint IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3",
            &[&webhook.map(|id| id.0), &before, &i64::from(limit)],
        )
        .await?;
    let entries = rows.iter().map(|row| AuditEntry {
        id: row.get(0),
        at: row.get(1),
        who: row.get(2),
        client: row.get(3),
        action: row.get(4),
        webhook: WebhookId(row.get(5)),
        detail: detail(row.get(6)),
    });
    Ok(entries.collect())
}

/// What the row says, as JSON. A text that is not JSON, or nests too deep, is shown as it is: one such row must not hide the others.
fn detail(stored: &str) -> Value {
    orw_model::json::parse(stored).unwrap_or_else(|_| Value::String(stored.to_owned()))
}
