//! What is stored with a job as JSON: the request and the progress.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::delivery::queue::{DeliveryFilter, RetryBounds};
use crate::registry::InvalidField;
use orw_model::{Store, TableName};

/// The key of a stored event, or a place between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventPlace {
    pub(super) day: NaiveDate,
    pub(super) seq: i64,
}

/// The request of a replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredReplay {
    pub(super) since: DateTime<Utc>,
    pub(super) class: Option<String>,
    pub(super) object: Option<String>,
    /// The last event that the reader enqueued itself; the replay enqueues every later one.
    pub(super) until: EventPlace,
}

/// The request of a backfill.
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
    /// Whether the table may hold rows that were asked for.
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

/// The progress of a backfill: the last row that was looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RowPlace {
    /// The table under way, by its full name.
    pub(super) table: Option<String>,
    /// The numeric id of its last row.
    pub(super) after: Option<i64>,
}

/// The request of a bulk retry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredRetry {
    /// The filter's fields, by their names.
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
    newest: i64,
    at: DateTime<Utc>,
}

impl StoredRetry {
    pub(super) fn new(filter: &DeliveryFilter, bounds: RetryBounds) -> Self {
        let named = filter.fields().into_iter();
        Self {
            fields: named.map(|(name, text)| (name.to_owned(), text)).collect(),
            newest: bounds.newest,
            at: bounds.at,
        }
    }

    pub(super) fn filter(&self) -> Result<DeliveryFilter, InvalidField> {
        let fields = self.fields.iter();
        DeliveryFilter::parse(fields.map(|(name, text)| (name.as_str(), text.as_str())))
    }

    pub(super) const fn bounds(&self) -> RetryBounds {
        RetryBounds {
            newest: self.newest,
            at: self.at,
        }
    }
}

/// The progress of a bulk retry: the last delivery that was looked at.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct RetryPlace {
    pub(super) after: i64,
}

/// As JSON. The structures of this file always are.
pub(super) fn to_json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}
