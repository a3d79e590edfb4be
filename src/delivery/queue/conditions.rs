//! SQL of a [`DeliveryFilter`]: one condition for each field that it names, over a row `l` of the queue or of the log.

use tokio_postgres::types::{ToSql, Type};

use super::filter::{DeliveryFilter, Field};
use super::transition::{FINISHED, UNFINISHED};

/// The two tables that hold deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Unfinished deliveries.
    Queue,
    /// Finished ones.
    Log,
}

impl Table {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Queue => "openregister_webhooks.delivery",
            Self::Log => "openregister_webhooks.delivery_log",
        }
    }

    /// What is read of a row `l`: the same columns of both tables.
    pub(super) const fn columns(self) -> &'static str {
        match self {
            Self::Queue => {
                "l.id, l.webhook, l.event_day, l.event_seq, NULL::text AS event_id, NULL::text AS class, l.lane, l.state, l.reason, \
                 l.attempt, l.status, l.cause, l.created_at, l.due_at, NULL::timestamptz AS finished_at"
            }
            Self::Log => {
                "l.id, l.webhook, l.event_day, l.event_seq, l.event_id, l.class, l.lane, l.state, l.reason, \
                 l.attempt, l.status, l.cause, l.created_at, NULL::timestamptz AS due_at, l.finished_at"
            }
        }
    }

    const fn states(self) -> &'static [&'static str] {
        match self {
            Self::Queue => &UNFINISHED,
            Self::Log => &FINISHED,
        }
    }

    /// Whether a delivery of this table can be in one of the filter's states.
    pub(super) fn may_match(self, filter: &DeliveryFilter) -> bool {
        filter.states.is_empty() || filter.states.iter().any(|state| self.states().contains(state))
    }
}

/// The parameters of a statement, as they are added to its text.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(Box<dyn ToSql + Sync + Send>, Type)>);

impl Parameters {
    /// Adds one; gives what stands for it in the text.
    pub(super) fn add(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.0.push((Box::new(value), kind));
        format!("${}", self.0.len())
    }

    pub(super) fn list(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.0
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// The condition for one field; `None` if every row of the table meets it.
pub(super) fn condition(
    filter: &DeliveryFilter,
    field: Field,
    table: Table,
    parameters: &mut Parameters,
) -> Option<String> {
    // Not a join: the planner must look up one event for each row that is looked at, and never read all events. Day and number name the event.
    let event = |column: &str| {
        format!(
            "(SELECT e.{column} FROM openregister_webhooks.event e WHERE e.day = l.event_day AND e.seq = l.event_seq LIMIT 1)"
        )
    };
    Some(match field {
        Field::Webhook => format!("l.webhook = {}", parameters.add(filter.webhook?, Type::INT8)),
        Field::State => {
            let of_table: Vec<&str> = table
                .states()
                .iter()
                .copied()
                .filter(|state| filter.states.contains(state))
                .collect();
            if filter.states.is_empty() || of_table.len() == table.states().len() {
                return None;
            }
            match of_table.as_slice() {
                // Names of our own, not of the caller's: PostgreSQL sees by them which partial index serves.
                [one] => format!("l.state = '{one}'"),
                more => format!("l.state IN ('{}')", more.join("', '")),
            }
        }
        Field::Class => {
            let class = parameters.add(filter.class?.to_string(), Type::TEXT);
            match table {
                Table::Queue => format!("{} = {class}", event("class")),
                Table::Log => format!("l.class = {class}"),
            }
        }
        Field::Object => format!("l.lane = {}", parameters.add(filter.lane()?, Type::TEXT)),
        Field::EventId => {
            let id = parameters.add(filter.event_id.clone()?, Type::TEXT);
            match table {
                Table::Queue => format!("{} = {id}", event("id")),
                Table::Log => format!("l.event_id = {id}"),
            }
        }
        Field::Status => {
            let status = filter.status?;
            let first = parameters.add(i32::from(status.first), Type::INT4);
            if status.is_one() {
                format!("l.status = {first}")
            } else {
                let last = parameters.add(i32::from(status.last), Type::INT4);
                format!("l.status BETWEEN {first} AND {last}")
            }
        }
        Field::Cause => format!("l.cause = {}", parameters.add(filter.cause.clone()?, Type::TEXT)),
        Field::Since => format!(
            "l.created_at >= {}",
            parameters.add(filter.since?, Type::TIMESTAMPTZ)
        ),
        Field::Until => format!(
            "l.created_at < {}",
            parameters.add(filter.until?, Type::TIMESTAMPTZ)
        ),
    })
}

/// Conditions in one text.
pub(super) fn all(conditions: &[String]) -> String {
    if conditions.is_empty() {
        "true".to_owned()
    } else {
        conditions.join(" AND ")
    }
}
