//! Rows for any table: every column that the catalog lists gets a value.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Client;

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As `format_type` writes it.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
    /// Filled by a sequence: the key.
    pub(crate) serial: bool,
}

impl Column {
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// A literal of the column's type with `token` in it, where the type can hold one.
    fn literal(&self, token: &str) -> String {
        let kind = self.kind.as_str();
        match kind {
            "json" | "jsonb" => format!("'{{\"is\": \"{token}\"}}'"),
            "boolean" => "true".to_owned(),
            _ if kind.starts_with("timestamp") => "'2026-01-02 03:04:05'".to_owned(),
            "integer" | "bigint" | "smallint" | "double precision" => "7".to_owned(),
            _ if kind.starts_with("numeric") => "7.25".to_owned(),
            _ => format!("'{token}'"),
        }
    }
}

pub(crate) async fn columns(client: &Client, table: &str) -> Vec<Column> {
    let rows = client
        .query(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                    coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval%', false) \
             FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&table],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Column {
            name: row.get(0),
            kind: row.get(1),
            not_null: row.get(2),
            serial: row.get(3),
        })
        .collect()
}

/// A short text that no other row has.
pub(crate) fn token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{:05}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The `INSERT` of a row with a value for every column but the key.
pub(crate) async fn insertion(client: &Client, table: &str, token: &str) -> String {
    let columns = columns(client, table).await;
    let filled: Vec<&Column> = columns.iter().filter(|c| !c.serial).collect();
    let names: Vec<String> = filled.iter().map(|c| c.quoted()).collect();
    let values: Vec<String> = filled.iter().map(|c| c.literal(token)).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    )
}

/// The name of the key column.
pub(crate) async fn key(client: &Client, table: &str) -> String {
    let columns = columns(client, table).await;
    columns.into_iter().find(|c| c.serial).unwrap().name
}

/// Inserts such a row and returns its key.
pub(crate) async fn insert(client: &Client, table: &str) -> i64 {
    let key = key(client, table).await;
    let insertion = insertion(client, table, &token()).await;
    let row = client
        .query_one(&format!("{insertion} RETURNING {key}::bigint"), &[])
        .await;
    row.unwrap_or_else(|error| panic!("{table}: {error:?}")).get(0)
}

/// A text column that every row has and no constraint concerns.
pub(crate) async fn text_column(client: &Client, table: &str) -> String {
    let columns = columns(client, table).await;
    let preferred = ["_description", "description", "title", "user_name", "name"];
    preferred
        .into_iter()
        .find(|name| columns.iter().any(|c| c.name == *name))
        .unwrap()
        .to_owned()
}

/// Changes the text of one row.
pub(crate) async fn update(client: &Client, table: &str, id: i64) -> String {
    let (key, column) = (key(client, table).await, text_column(client, table).await);
    let token = token();
    let update = format!("UPDATE {table} SET {column} = '{token}' WHERE {key} = {id}");
    assert_eq!(client.execute(&update, &[]).await.unwrap(), 1, "{update}");
    token
}

pub(crate) async fn delete(client: &Client, table: &str, id: i64) {
    let key = key(client, table).await;
    let delete = format!("DELETE FROM {table} WHERE {key} = {id}");
    assert_eq!(client.execute(&delete, &[]).await.unwrap(), 1, "{delete}");
}
