//! The nine kinds of entity that are not objects. As Nextcloud's `QBMapper` does, an update sets only the columns that changed.

use serde_json::json;

use super::error::WriterError;
use super::rows::{ORGANISATION, Row, object_of, uuid};
use super::session::Writer;
use crate::Generation;
use orw_model::EntityKind;

/// A row of one of these kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityRow {
    pub kind: EntityKind,
    pub id: i64,
}

/// The table of a kind.
const fn table(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Object => "oc_openregister_objects",
        EntityKind::Register => "oc_openregister_registers",
        EntityKind::Schema => "oc_openregister_schemas",
        EntityKind::Application => "oc_openregister_applications",
        EntityKind::Agent => "oc_openregister_agents",
        EntityKind::Source => "oc_openregister_sources",
        EntityKind::Configuration => "oc_openregister_configurations",
        EntityKind::View => "oc_openregister_views",
        EntityKind::Conversation => "oc_openregister_conversations",
        EntityKind::Organisation => "oc_openregister_organisations",
    }
}

impl Writer {
    /// Creates an entity of `kind`, which is not an object, with this name or title.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn create_entity(&self, kind: EntityKind, name: &str) -> Result<EntityRow, WriterError> {
        let mut row = self.new_row(kind, name);
        row.insert("created".to_owned(), json!(self.timestamp()));
        row.insert("updated".to_owned(), json!(self.timestamp()));
        let id = self.insert_with_id(table(kind), &row).await?;
        let entity = EntityRow { kind, id };
        if kind == EntityKind::Register {
            if self.generation == Generation::V0_2_9 {
                self.set(&entity, object_of(json!({"organisation": ORGANISATION})))
                    .await?;
            }
            self.set_twice(&entity, object_of(json!({"folder": (100 + id).to_string()})))
                .await?;
        }
        self.entity_activity(&entity, "created").await?;
        Ok(entity)
    }

    /// Changes its name or title, and the columns that OpenRegister changes with it.
    ///
    /// # Errors
    /// If a statement fails or the row does not exist.
    pub async fn update_entity(&self, entity: &EntityRow, name: &str) -> Result<(), WriterError> {
        let now = self.timestamp();
        let row = match entity.kind {
            // Neither changes `updated`; a register is written twice.
            EntityKind::Register => json!({"version": "0.0.2", "title": name}),
            EntityKind::Object | EntityKind::Schema => json!({"version": "0.0.2", "title": name}),
            // Every update gives an agent a new uuid.
            EntityKind::Agent => json!({"uuid": uuid(), "name": name, "type": null, "updated": now}),
            EntityKind::Configuration => json!({"title": name, "version": "0.0.2", "updated": now}),
            EntityKind::Source | EntityKind::Conversation => json!({"title": name, "updated": now}),
            EntityKind::Organisation => json!({"name": name, "slug": slug(name), "updated": now}),
            EntityKind::Application | EntityKind::View => json!({"name": name, "updated": now}),
        };
        if entity.kind == EntityKind::Register {
            self.set_twice(entity, object_of(row)).await?;
        } else {
            self.set(entity, object_of(row)).await?;
        }
        self.entity_activity(entity, "updated").await
    }

    /// Deletes the row.
    ///
    /// # Errors
    /// If the statement fails or the row does not exist.
    pub async fn delete_entity(&self, entity: &EntityRow) -> Result<(), WriterError> {
        self.delete(table(entity.kind), "id", &entity.id.to_string())
            .await?;
        self.entity_activity(entity, "deleted").await
    }

    async fn set(&self, entity: &EntityRow, row: Row) -> Result<(), WriterError> {
        self.update(table(entity.kind), "id", &entity.id.to_string(), &row)
            .await
    }

    async fn set_twice(&self, entity: &EntityRow, row: Row) -> Result<(), WriterError> {
        self.set(entity, row.clone()).await?;
        self.set(entity, row).await
    }

    async fn entity_activity(&self, entity: &EntityRow, action: &str) -> Result<(), WriterError> {
        if matches!(entity.kind, EntityKind::Register | EntityKind::Schema) {
            self.activity(entity.kind.name(), entity.id, action).await?;
        }
        Ok(())
    }

    /// The columns that the controller of each kind sets.
    fn new_row(&self, kind: EntityKind, name: &str) -> Row {
        let owner = &self.user;
        let uuid = uuid();
        object_of(match kind {
            EntityKind::Register => {
                let organisation = (!self.generation.is_blob()).then_some(ORGANISATION);
                json!({"uuid": uuid, "version": "0.0.1", "title": name, "schemas": [1], "slug": slug(name),
                       "organisation": organisation})
            }
            EntityKind::Object | EntityKind::Schema => json!({
                "uuid": uuid, "version": "0.0.1", "title": name, "required": ["name"],
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "hard_validation": true,
                "slug": slug(name), "organisation": ORGANISATION, "configuration": {"objectNameField": "name"},
            }),
            EntityKind::Application => json!({"uuid": uuid, "name": name, "organisation": ORGANISATION}),
            EntityKind::Agent => json!({
                "uuid": uuid, "name": name, "type": "default", "organisation": ORGANISATION, "owner": owner,
            }),
            EntityKind::Source => json!({
                "uuid": uuid, "title": name, "database_url": "pg://reader:secret@archive/source",
                "type": "internal", "organisation": ORGANISATION,
            }),
            EntityKind::Configuration => json!({
                "title": name, "owner": owner, "app": "openregister", "source_type": "local", "uuid": uuid,
                "organisation": ORGANISATION,
            }),
            EntityKind::View => json!({
                "uuid": uuid, "name": name, "description": "", "owner": owner, "query": {"registers": [1]},
                "favored_by": [],
            }),
            EntityKind::Conversation => json!({
                "uuid": uuid, "title": name, "user_id": owner, "organisation": ORGANISATION, "metadata": "[]",
            }),
            EntityKind::Organisation => json!({
                "uuid": uuid, "name": name, "description": "", "users": [owner], "owner": owner,
                "slug": slug(name),
            }),
        })
    }
}

fn slug(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}
