//! What the demo writes in one generation, and which events must follow.

use std::collections::BTreeMap;

use serde_json::json;

use orw_model::{Action, EntityKind, EventClass};
use orw_testkit::Generation;
use orw_testkit::writer::{Place, Row, Writer, WriterError};

/// How many events of each class must arrive.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<EventClass, usize>);

impl Expected {
    fn add(&mut self, class: Option<EventClass>) {
        if let Some(class) = class {
            *self.0.entry(class).or_default() += 1;
        }
    }

    async fn object(&mut self, action: Action, arrived: &impl AsyncFn(&Self)) {
        self.add(Some(EventClass::object(action)));
        arrived(self).await;
    }

    pub(super) fn of(&self, class: EventClass) -> usize {
        self.0.get(&class).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// Writes as two users of Nextcloud would, and returns what must arrive. After each write that causes events, `arrived`
/// waits until all events expected so far have arrived, so that each latency is that of one event.
pub(super) async fn perform(
    url: &str,
    generation: Generation,
    arrived: impl AsyncFn(&Expected),
) -> Result<Expected, WriterError> {
    let admin = Writer::connect(url, generation).await?;
    let alice = Writer::connect(url, generation).await?.acting_as("alice");
    let mut expected = Expected::default();
    let e = &mut expected;

    let ada = admin.create(Place::PEOPLE, &person("Ada Lovelace", 36)).await?;
    e.object(Action::Created, &arrived).await;
    let grace = alice.create(Place::PEOPLE, &person("Grace Hopper", 85)).await?;
    e.object(Action::Created, &arrived).await;
    // The unlock that follows every PUT is not a documented event.
    admin.put(&ada, &person("Ada King", 36)).await?;
    e.object(Action::Updated, &arrived).await;
    admin.lock(&ada, 3600).await?;
    e.object(Action::Locked, &arrived).await;
    admin.unlock(&ada).await?;
    e.object(Action::Unlocked, &arrived).await;
    alice.put(&grace, &person("Grace Murray Hopper", 85)).await?;
    e.object(Action::Updated, &arrived).await;
    admin.soft_delete(&ada).await?;
    e.object(Action::Deleted, &arrived).await;
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
        e.object(Action::Created, &arrived).await;
    }

    for kind in EntityKind::ALL
        .into_iter()
        .filter(|kind| *kind != EntityKind::Object)
    {
        let entity = admin
            .create_entity(kind, &format!("Demo {}", kind.name()))
            .await?;
        e.add(EventClass::new(kind, Action::Created));
        if kind == EntityKind::Register && generation == Generation::V0_2_9 {
            // 0.2.9 sets a new register's organisation by a statement of its own.
            e.add(EventClass::new(kind, Action::Updated));
        }
        arrived(e).await;
        admin
            .update_entity(&entity, &format!("Demo {} renamed", kind.name()))
            .await?;
        e.add(EventClass::new(kind, Action::Updated));
        arrived(e).await;
        admin.delete_entity(&entity).await?;
        e.add(EventClass::new(kind, Action::Deleted));
        arrived(e).await;
    }
    Ok(expected)
}

fn person(name: &str, age: i64) -> Row {
    Row::from_iter([("name".to_owned(), json!(name)), ("age".to_owned(), json!(age))])
}
