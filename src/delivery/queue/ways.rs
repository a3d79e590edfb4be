//! The ways that lead to the deliveries of a filter: see `search`.

use tokio_postgres::types::Type;

use super::conditions::{Parameters, Table, all, condition};
use super::filter::{DeliveryFilter, Field, StatusRange};

/// An order in which rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// An index of the log for these fields, then `id`; and a further condition that a partial index has.
    Log(&'static [Field], Option<&'static str>),
    /// The queue, by its primary key.
    Queue,
    /// All rows of a webhook, if they are few; not in the order of `id`.
    QueueOfWebhook,
    /// The lanes of an object.
    QueueOfObject,
    /// The rows of an event; all at once.
    QueueOfEvent,
}

/// Rows that are not successes have indexes of their own.
const FAILED: Option<&str> = Some("l.state <> 'succeeded'");

impl Way {
    /// The ways for a filter, the most promising first.
    pub(super) fn of(filter: &DeliveryFilter, table: Table) -> Vec<Self> {
        let names = |field| filter.names(field);
        if table == Table::Queue {
            return if names(Field::EventId) {
                vec![Self::QueueOfEvent]
            } else if names(Field::Object) {
                vec![Self::QueueOfObject]
            } else if names(Field::Webhook) {
                vec![Self::QueueOfWebhook, Self::Queue]
            } else {
                vec![Self::Queue]
            };
        }
        if names(Field::EventId) {
            return vec![Self::Log(&[Field::EventId], None)];
        }
        if names(Field::Object) {
            return vec![Self::Log(&[Field::Object], None)];
        }
        let mut ways = Vec::new();
        let failed = filter.only_failed();
        if failed && names(Field::Cause) {
            ways.push(Self::Log(&[Field::Cause], FAILED));
        }
        if failed && filter.status.is_some_and(StatusRange::is_one) {
            ways.push(Self::Log(&[Field::Status], FAILED));
        }
        if names(Field::Webhook) && filter.states() == ["given_up"] {
            ways.push(Self::Log(&[Field::Webhook, Field::State], None));
        } else if names(Field::Webhook) {
            ways.push(Self::Log(&[Field::Webhook], None));
        }
        if names(Field::Class) {
            ways.push(Self::Log(&[Field::Class], None));
        }
        if failed {
            ways.push(Self::Log(&[], FAILED));
        }
        if ways.is_empty() {
            ways.push(Self::Log(&[], None));
        }
        ways
    }

    /// All rows of a table.
    pub(super) const fn whole(table: Table) -> Self {
        match table {
            Table::Queue => Self::Queue,
            Table::Log => Self::Log(&[], None),
        }
    }

    /// The fields that every row on this way meets.
    pub(super) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Log(fields, _) => fields,
            Self::Queue => &[],
            Self::QueueOfWebhook => &[Field::Webhook],
            Self::QueueOfObject => &[Field::Object],
            Self::QueueOfEvent => &[Field::EventId],
        }
    }

    /// Whether it finds all rows at once or says nothing.
    pub(super) const fn is_unordered(self) -> bool {
        matches!(
            self,
            Self::QueueOfWebhook | Self::QueueOfEvent | Self::Log([Field::EventId], _)
        )
    }

    /// SQL for the next rows `l` in the range of ids, at most `most`.
    pub(super) fn rows(
        self,
        filter: &DeliveryFilter,
        table: Table,
        (range, most): (&str, &str),
        parameters: &mut Parameters,
    ) -> String {
        let (name, columns) = (table.name(), table.columns());
        match self {
            Self::Log([Field::EventId], _) => {
                let id = condition(filter, Field::EventId, table, parameters).unwrap_or_default();
                // Without an order, so that no index in the order of `id` looks cheaper.
                format!("SELECT {columns} FROM {name} l WHERE {id} AND {range} LIMIT {most}")
            }
            Self::Log(fields, and) => {
                let mut conditions: Vec<String> = fields
                    .iter()
                    .filter_map(|field| condition(filter, *field, table, parameters))
                    .collect();
                conditions.extend(and.map(str::to_owned));
                conditions.push(range.to_owned());
                format!(
                    "SELECT {columns} FROM {name} l WHERE {} ORDER BY l.id DESC LIMIT {most}",
                    all(&conditions)
                )
            }
            Self::Queue => {
                format!("SELECT {columns} FROM {name} l WHERE {range} ORDER BY l.id DESC LIMIT {most}")
            }
            Self::QueueOfWebhook => {
                let webhook = condition(filter, Field::Webhook, table, parameters).unwrap_or_default();
                // The order of an index that begins with the webhook; that of `id` would read the rows of all webhooks. The ids are
                // compared afterwards, so that no more rows are read than these.
                format!(
                    "SELECT {columns} FROM {name} l WHERE {webhook} ORDER BY l.webhook, l.lane, l.id + 0 LIMIT {most}"
                )
            }
            Self::QueueOfObject => {
                let lane = parameters.add(filter.lane(), Type::TEXT);
                let lanes = format!("(SELECT {lane} AS lane) o");
                in_lanes(filter, &lanes, "true", (range, most), parameters)
            }
            Self::QueueOfEvent => {
                let id = parameters.add(filter.event_id.clone(), Type::TEXT);
                let lanes = format!(
                    "(SELECT DISTINCT e.day, e.seq, e.lane FROM openregister_webhooks.event e WHERE e.id = {id}) o"
                );
                let of_event = "l.event_day = o.day AND l.event_seq = o.seq";
                in_lanes(filter, &lanes, of_event, (range, most), parameters)
            }
        }
    }
}

/// SQL for rows of the queue in these lanes `o`, of the filter's webhook or of each that has something in the queue.
fn in_lanes(
    filter: &DeliveryFilter,
    lanes: &str,
    and: &str,
    (range, most): (&str, &str),
    parameters: &mut Parameters,
) -> String {
    let webhooks = match filter.webhook {
        Some(webhook) => format!("SELECT {} AS webhook", parameters.add(webhook, Type::INT8)),
        None => "SELECT q.webhook FROM queued q WHERE q.webhook IS NOT NULL".to_owned(),
    };
    let columns = Table::Queue.columns();
    format!(
        "SELECT {columns} FROM {lanes} CROSS JOIN ({webhooks}) w CROSS JOIN LATERAL ( \
            SELECT * FROM openregister_webhooks.delivery l WHERE l.webhook = w.webhook AND l.lane = o.lane AND {range} \
            ORDER BY l.id + 0 DESC LIMIT {most}) l WHERE {and} ORDER BY l.id DESC LIMIT {most}"
    )
}
