//! The table that a register and schema get when their first object is written (0.2.13).

use serde_json::json;

use super::error::{WriterError, failed};
use super::place::{Object, Place};
use super::rows::{Row, object_of, uuid};
use super::session::Writer;

/// The first columns of every such table.
const METADATA: &str = "_id bigserial PRIMARY KEY, _uuid varchar(40) NOT NULL UNIQUE, _slug varchar(255), _uri text, \
    _version varchar(50), _register varchar(255) NOT NULL, _schema varchar(255) NOT NULL, _owner varchar(64), \
    _organisation varchar(36), _application varchar(255), _folder varchar(255), _name varchar(255), \
    _description text, _summary text, _image text, _size varchar(50), _schema_version varchar(50), \
    _created timestamp, _updated timestamp, _expires timestamp, _files jsonb, _relations jsonb, _locked jsonb, \
    _authorization jsonb, _validation jsonb, _deleted jsonb, _geo jsonb, _retention jsonb, _groups jsonb, _tmlo jsonb";

impl Writer {
    /// Creates the table and its indexes, and writes nothing. `columns` is the SQL of the columns for the schema's properties.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn create_table(&self, place: Place, columns: &str) -> Result<(), WriterError> {
        let table = place.table();
        let statements = [
            format!("CREATE TABLE IF NOT EXISTS \"{table}\" ({METADATA}, {columns})"),
            format!("CREATE UNIQUE INDEX IF NOT EXISTS {table}_uuid_idx ON \"{table}\" (_uuid)"),
            format!("CREATE INDEX IF NOT EXISTS {table}_created_idx ON \"{table}\" (_created)"),
        ];
        for statement in statements {
            self.client()
                .batch_execute(&statement)
                .await
                .map_err(|source| failed(&table, source))?;
        }
        Ok(())
    }

    /// Writes the row of `oc_appconfig` that says which version of the schema the table has.
    ///
    /// # Errors
    /// If the statement fails.
    pub async fn announce_table(&self, place: Place) -> Result<(), WriterError> {
        let row = object_of(json!({
            "appid": "openregister", "configkey": format!("table_version_{}_{}", place.register, place.schema),
            "configvalue": uuid(),
        }));
        self.insert("oc_appconfig", &row).await
    }

    /// Creates the first object of a register and schema: its table, the row in `oc_appconfig`, the object. Each statement
    /// commits by itself, without a pause between them.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn create_first(
        &self,
        place: Place,
        columns: &str,
        properties: &Row,
    ) -> Result<Object, WriterError> {
        self.create_table(place, columns).await?;
        self.announce_table(place).await?;
        self.create(place, properties).await
    }
}
