//! Objects: in a table for each register and schema (0.2.13, 2.1) or all in one table (0.2.9).

use serde_json::{Value, json};

use super::error::WriterError;
use super::place::{Object, Place};
use super::rows::{ORGANISATION, Row, iso, object_of, uuid};
use super::session::Writer;
use super::trail::Request;
use crate::Generation;

/// The names of the same columns in the two generations.
struct Names {
    table: String,
    id: &'static str,
    uuid: &'static str,
    updated: &'static str,
    folder: &'static str,
    name: &'static str,
    locked: &'static str,
    deleted: &'static str,
}

impl Writer {
    fn names(&self, place: Place) -> Names {
        match self.generation {
            Generation::V0_2_13 | Generation::V2_1 => Names {
                table: place.table(),
                id: "_id",
                uuid: "_uuid",
                updated: "_updated",
                folder: "_folder",
                name: "_name",
                locked: "_locked",
                deleted: "_deleted",
            },
            Generation::V0_2_9 => Names {
                table: "oc_openregister_objects".to_owned(),
                id: "id",
                uuid: "uuid",
                updated: "updated",
                folder: "folder",
                name: "name",
                locked: "locked",
                deleted: "deleted",
            },
        }
    }

    /// Does what a POST of an object does: writes its row, then its audit row.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn create(&self, place: Place, properties: &Row) -> Result<Object, WriterError> {
        let request = Request::new();
        let names = self.names(place);
        let uuid = uuid();
        let now = self.timestamp();
        let uri = format!(
            "http://localhost/index.php/apps/openregister/api/objects/{}/{}/{uuid}",
            place.register, place.schema
        );
        let name = properties.get("name").cloned().unwrap_or_else(|| json!(uuid));
        let (register, schema) = (place.register.to_string(), place.schema.to_string());
        let row = match self.generation {
            Generation::V0_2_13 | Generation::V2_1 => {
                let version = (self.generation == Generation::V2_1).then_some("0.0.1");
                let mut row = object_of(json!({
                    "_uuid": uuid, "_slug": null, "_uri": uri, "_version": version, "_register": register,
                    "_schema": schema, "_owner": self.user, "_organisation": ORGANISATION, "_application": null,
                    "_folder": null, "_name": name, "_description": null, "_summary": null, "_image": null,
                    "_size": null, "_schema_version": null, "_created": now, "_updated": now, "_expires": null,
                    "_files": null, "_relations": null, "_locked": null, "_authorization": null,
                    "_validation": null, "_deleted": null, "_geo": null, "_retention": null, "_groups": null,
                    "_tmlo": null,
                }));
                row.extend(properties.iter().map(|(k, v)| (column(k), v.clone())));
                row
            }
            Generation::V0_2_9 => object_of(json!({
                "uuid": uuid, "version": "0.0.1", "register": register, "schema": schema,
                "object": blob(&uuid, properties), "updated": now, "created": now, "uri": uri, "files": {},
                "relations": {}, "owner": self.user, "folder": "", "organisation": ORGANISATION, "name": name,
            })),
        };
        self.insert(&names.table, &row).await?;
        let id = self.id_of(&names, &uuid).await?;
        let object = Object { place, id, uuid };
        self.activity("object", id, "created").await?;
        let changed = changes(&Row::new(), properties);
        self.audit(&request, &object, "create", changed).await?;
        Ok(object)
    }

    /// Does what a PUT of an object does: writes all columns and the audit row, and then unlocks. Up to 0.2.13 every update does that, in
    /// 2.x only one of a locked object.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn put(&self, object: &Object, properties: &Row) -> Result<(), WriterError> {
        let request = Request::new();
        let names = self.names(object.place);
        let mut row = self.row(&names, object).await?;
        let old = row.clone();
        row.insert(names.updated.to_owned(), json!(self.timestamp()));
        if matches!(old.get(names.folder), None | Some(Value::Null))
            || old.get(names.folder) == Some(&json!(""))
        {
            row.insert(names.folder.to_owned(), json!((1000 + object.id).to_string()));
        }
        if let Some(name) = properties.get("name") {
            row.insert(names.name.to_owned(), name.clone());
        }
        match self.generation {
            Generation::V0_2_13 | Generation::V2_1 => {
                // A PUT empties what it does not name.
                let own = row.iter_mut().filter(|(name, _)| !name.starts_with('_'));
                own.for_each(|(_, value)| *value = Value::Null);
                row.extend(properties.iter().map(|(k, v)| (column(k), v.clone())));
                row.insert("_description".to_owned(), json!(object.id.to_string()));
                if self.generation == Generation::V2_1 {
                    row.insert("_version".to_owned(), json!(raised(&row["_version"])));
                }
            }
            Generation::V0_2_9 => {
                row.insert("object".to_owned(), blob(&object.uuid, properties));
            }
        }
        self.write(&names, object, &row).await?;
        self.activity("object", object.id, "updated").await?;
        self.audit(&request, object, "update", changes(&old, properties))
            .await?;
        if self.generation == Generation::V2_1 && row[names.locked].is_null() {
            return Ok(());
        }
        if self.generation == Generation::V2_1 {
            row.insert(names.locked.to_owned(), Value::Null);
        }
        self.write(&names, object, &row).await?;
        self.audit(&request, object, "unlock", json!([])).await
    }

    /// Locks the object, or renews the lock: 0.2.13 writes the row unchanged and an audit row; 0.2.9 and 2.x write the lock into the row.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn lock(&self, object: &Object, seconds: i64) -> Result<(), WriterError> {
        let now = self.now();
        let end = iso(now + chrono::Duration::seconds(seconds));
        let lock = if self.generation == Generation::V2_1 {
            json!({"user": self.user, "process": null, "created": iso(now), "duration": seconds, "expiration": end})
        } else {
            json!({
                "userId": self.user, "lockedAt": iso(now), "duration": seconds, "expiration": end,
                "organisation": ORGANISATION,
            })
        };
        self.set_lock(object, "lock", lock).await
    }

    /// Locks the object until somebody unlocks it, as 2.x can.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn lock_for_good(&self, object: &Object) -> Result<(), WriterError> {
        let lock = json!({"user": self.user, "process": null, "created": self.iso()});
        self.set_lock(object, "lock", lock).await
    }

    /// Unlocks the object. 2.x refuses to unlock what is not locked, and then writes nothing.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn unlock(&self, object: &Object) -> Result<(), WriterError> {
        self.set_lock(object, "unlock", Value::Null).await
    }

    async fn set_lock(&self, object: &Object, action: &str, lock: Value) -> Result<(), WriterError> {
        let request = Request::new();
        let names = self.names(object.place);
        let mut row = self.row(&names, object).await?;
        if self.generation == Generation::V2_1 && lock.is_null() && row[names.locked].is_null() {
            return Ok(());
        }
        if self.generation != Generation::V0_2_13 {
            row.insert(names.locked.to_owned(), lock);
        }
        self.write(&names, object, &row).await?;
        self.audit(&request, object, action, json!([])).await
    }

    /// Does what a DELETE of an object does, a soft delete. Another DELETE writes `deleted` again.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn soft_delete(&self, object: &Object) -> Result<(), WriterError> {
        let request = Request::new();
        let names = self.names(object.place);
        let mut row = self.row(&names, object).await?;
        let deleted = json!({
            "deletedBy": self.user, "deletedAt": self.iso(), "objectId": object.uuid, "organisation": ORGANISATION,
        });
        row.insert(names.deleted.to_owned(), deleted);
        self.write(&names, object, &row).await?;
        self.activity("object", object.id, "deleted").await?;
        self.audit(&request, object, "delete", json!([])).await
    }

    /// Undoes a soft delete.
    ///
    /// # Errors
    /// If a statement fails or the object does not exist.
    pub async fn restore(&self, object: &Object) -> Result<(), WriterError> {
        let names = self.names(object.place);
        let mut row = self.row(&names, object).await?;
        row.insert(names.deleted.to_owned(), Value::Null);
        row.insert(names.updated.to_owned(), json!(self.timestamp()));
        self.write(&names, object, &row).await
    }

    /// Removes the row and writes no audit row.
    ///
    /// # Errors
    /// If the statement fails or the object does not exist.
    pub async fn purge(&self, object: &Object) -> Result<(), WriterError> {
        let names = self.names(object.place);
        self.delete(&names.table, names.uuid, &object.uuid).await
    }

    async fn row(&self, names: &Names, object: &Object) -> Result<Row, WriterError> {
        self.select(&names.table, names.uuid, &object.uuid).await
    }

    /// Writes every column but the key, changed or not.
    async fn write(&self, names: &Names, object: &Object, row: &Row) -> Result<(), WriterError> {
        let mut row = row.clone();
        row.shift_remove(names.id);
        self.update(&names.table, names.uuid, &object.uuid, &row).await
    }

    async fn id_of(&self, names: &Names, uuid: &str) -> Result<i64, WriterError> {
        let row = self.select(&names.table, names.uuid, uuid).await?;
        Ok(row.get(names.id).and_then(Value::as_i64).unwrap_or_default())
    }
}

/// The column of a property: `firstName` is stored in `first_name`.
fn column(property: &str) -> String {
    let mut column = String::with_capacity(property.len() + 2);
    let mut previous = '_';
    for c in property.chars() {
        if c.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_ascii_digit()) {
            column.push('_');
        }
        let plain = if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        };
        if plain != '_' || !column.ends_with('_') {
            column.push(plain);
        }
        previous = c;
    }
    column.truncate(column.trim_end_matches('_').len());
    column
}

/// The version after a save: `0.0.2` after `0.0.1`.
fn raised(version: &Value) -> String {
    let (start, patch) = version
        .as_str()
        .and_then(|text| text.rsplit_once('.'))
        .unwrap_or(("0.0", "0"));
    format!("{start}.{}", patch.parse::<u64>().unwrap_or_default() + 1)
}

/// The value of the JSON column in 0.2.9.
fn blob(uuid: &str, properties: &Row) -> Value {
    let mut object = Row::from_iter([("id".to_owned(), json!(uuid))]);
    object.extend(properties.clone());
    Value::Object(object)
}

/// What an audit row says about a change.
fn changes(old: &Row, new: &Row) -> Value {
    let before = |name: &str| old.get(&column(name)).cloned().unwrap_or_default();
    let changed = new
        .iter()
        .filter(|(name, value)| before(name) != **value)
        .map(|(name, value)| (name.clone(), json!({"old": before(name), "new": value})));
    Value::Object(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::column;

    #[test]
    fn columns_are_named_as_openregister_names_them() {
        for (property, expected) in [
            ("name", "name"),
            ("firstName", "first_name"),
            ("when", "when"),
            ("no-Of  things!", "no_of_things"),
            ("iso8601Date", "iso8601_date"),
        ] {
            assert_eq!(column(property), expected);
        }
    }
}
