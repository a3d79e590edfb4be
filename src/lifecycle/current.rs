//! Current entities as Created events, for a backfill.
//!
//! Guarantees: a soft-deleted entity gives no event, and neither does an object of the blob table that has moved to its magic table
//! already; the payload is the one that the creation itself would have given, with the register and schema as they are now, and the
//! user as far as the row says.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio_postgres::GenericClient;

use super::classify::update::is_plain_deleted;
use super::classify::{creator, owner};
use super::event::{ActorState, Event, EventId, Lane, States};
use super::facts::{Facts, Needs};
use super::host_connection::HostConnection;
use super::lookup::{LookupError, look_up};
use super::references::References;
use super::users::KnownUsers;
use orw_model::{
    Action, ActorSource, EntityKind, EventClass, ObjectRow, Row, Store, TableName, object_entity,
    other_entity,
};

/// The events of `rows`, which are all of `table`, in their order. `at` is the time when they were read; `id` makes an event's id from
/// its lane. Rows that are not entities give no event: those without a uuid or an id, and audit rows.
///
/// # Errors
/// If a look-up fails.
pub async fn created(
    tx: &impl GenericClient,
    host: &mut HostConnection,
    prefix: &str,
    table: &TableName,
    rows: &[Row],
    at: DateTime<Utc>,
    id: impl Fn(&Lane) -> EventId,
) -> Result<Vec<Event>, LookupError> {
    let mut needs = Needs::default();
    for row in rows {
        add_needs(&mut needs, table, row);
    }
    let (facts, _) = look_up(tx, host, prefix, &needs, None).await?;
    let known = Known::of(needs, &facts, at);
    let kind = table.store().kind();
    let Some(class) = EventClass::new(kind, Action::Created) else {
        return Ok(Vec::new());
    };
    let events = rows.iter().filter_map(|row| {
        let (lane, state, uid) = match table.store() {
            Store::Magic { .. } | Store::Blob => known.object(table, row, &facts)?,
            Store::Plain(kind) => {
                let id = row.get("id")?.as_i64()?;
                if is_plain_deleted(*kind, row) {
                    return None;
                }
                let lane = Lane::row(table.name(), &id.to_string());
                (lane, other_entity(*kind, row), creator(*kind, row))
            }
            Store::Audit => return None,
        };
        Some(Event {
            id: id(&lane),
            class,
            lane,
            at,
            states: States::One(state),
            actor: ActorState::Known(uid.map(|uid| known.users.actor(&uid, None, ActorSource::Owner))),
            pid: 0,
        })
    });
    Ok(events.collect())
}

/// Adds what must be looked up for a row.
fn add_needs(needs: &mut Needs, table: &TableName, row: &Row) {
    match table.store() {
        Store::Magic { .. } | Store::Blob => {
            let row = ObjectRow::new(table, row);
            let (register, schema) = row.ids(table);
            needs.registers.extend(register);
            needs.schemas.extend(schema);
            needs.users.extend(owner(row));
            if let (Store::Blob, Some(register), Some(schema), Some(uuid)) =
                (table.store(), register, schema, row.uuid())
            {
                needs.rows_exist.insert((twin(register, schema), uuid.to_owned()));
            }
        }
        Store::Plain(kind) => needs.users.extend(creator(*kind, row)),
        Store::Audit => {}
    }
}

/// The magic table of an object of the blob table.
fn twin(register: i64, schema: i64) -> String {
    format!("openregister_table_{register}_{schema}")
}

/// What was looked up.
struct Known {
    references: References,
    users: KnownUsers,
}

impl Known {
    fn of(needs: Needs, facts: &Facts, at: DateTime<Utc>) -> Self {
        let mut references = References::default();
        for id in needs.registers {
            references.learn(EntityKind::Register, id, facts.registers.get(&id));
        }
        for id in needs.schemas {
            references.learn(EntityKind::Schema, id, facts.schemas.get(&id));
        }
        let mut users = KnownUsers::default();
        for uid in needs.users {
            let user = facts.users.get(&uid).cloned();
            users.learn(uid, user, at);
        }
        Self { references, users }
    }

    fn object(
        &self,
        table: &TableName,
        row: &Row,
        facts: &Facts,
    ) -> Option<(Lane, orw_model::Entity, Option<String>)> {
        let object = ObjectRow::new(table, row);
        let uuid = object.uuid()?;
        let (register, schema) = object.ids(table);
        if object.is_deleted() || moved(table, register.zip(schema), uuid, &facts.rows_exist) {
            return None;
        }
        let entity = object_entity(
            table,
            row,
            self.references.register(register),
            self.references.schema(schema),
        );
        Some((Lane::object(uuid), entity, owner(object)))
    }
}

/// Whether an object of the blob table already has a row in its magic table.
fn moved(
    table: &TableName,
    place: Option<(i64, i64)>,
    uuid: &str,
    there: &HashSet<(String, String)>,
) -> bool {
    matches!(table.store(), Store::Blob)
        && place.is_some_and(|(register, schema)| there.contains(&(twin(register, schema), uuid.to_owned())))
}
