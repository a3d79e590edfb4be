//! What is written in one generation, and which events must come of it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::demo::Generation;
use crate::demo::writer::{Place, Row, Writer, WriterError};
use crate::openregister::{Action, EntityKind, EventClass};

/// How many events of each class must arrive.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<EventClass, usize>);

impl Expected {
    fn add(&mut self, class: Option<EventClass>, count: usize) {
        if let Some(class) = class {
            *self.0.entry(class).or_default() += count;
        }
    }

    fn object(&mut self, action: Action) {
        self.add(Some(EventClass::object(action)), 1);
    }

    pub(super) fn of(&self, class: EventClass) -> usize {
        self.0.get(&class).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// Writes, as two users of Nextcloud would, and says what must arrive.
pub(super) async fn perform(url: &str, generation: Generation) -> Result<Expected, WriterError> {
    let admin = Writer::connect(url, generation).await?;
    let alice = Writer::connect(url, generation).await?.acting_as("alice");
    let mut expected = Expected::default();

    let ada = admin.create(Place::PEOPLE, &person("Ada Lovelace", 36)).await?;
    expected.object(Action::Created);
    let grace = alice.create(Place::PEOPLE, &person("Grace Hopper", 85)).await?;
    expected.object(Action::Created);
    // The unlock that follows every PUT is none of the documented events.
    admin.put(&ada, &person("Ada King", 36)).await?;
    expected.object(Action::Updated);
    admin.lock(&ada, 3600).await?;
    expected.object(Action::Locked);
    admin.unlock(&ada).await?;
    expected.object(Action::Unlocked);
    alice.put(&grace, &person("Grace Murray Hopper", 85)).await?;
    expected.object(Action::Updated);
    admin.soft_delete(&ada).await?;
    expected.object(Action::Deleted);
    // The row of an object that was deleted already.
    admin.purge(&ada).await?;
    if generation == Generation::V0_2_13 {
        // A table that appears while the sidecar runs.
        let place = Place {
            register: 1,
            schema: 2,
        };
        admin
            .create_first(place, "name text, age integer", &person("First", 1))
            .await?;
        expected.object(Action::Created);
    }

    for kind in EntityKind::ALL
        .into_iter()
        .filter(|kind| *kind != EntityKind::Object)
    {
        let entity = admin
            .create_entity(kind, &format!("Demo {}", kind.name()))
            .await?;
        expected.add(EventClass::new(kind, Action::Created), 1);
        if kind == EntityKind::Register && generation == Generation::V0_2_9 {
            // 0.2.9 learns a new register's organisation in a statement of its own.
            expected.add(EventClass::new(kind, Action::Updated), 1);
        }
        admin
            .update_entity(&entity, &format!("Demo {} renamed", kind.name()))
            .await?;
        expected.add(EventClass::new(kind, Action::Updated), 1);
        admin.delete_entity(&entity).await?;
        expected.add(EventClass::new(kind, Action::Deleted), 1);
    }
    Ok(expected)
}

fn person(name: &str, age: i64) -> Row {
    Row::from_iter([("name".to_owned(), json!(name)), ("age".to_owned(), json!(age))])
}
