//! What is read from the views of `sql/functions.sql`, which are there for everybody who speaks SQL.

use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use crate::console::value::{Column, Kind, Table, Value};

/// Rows of a view: its columns, in the order of `columns`; `order` is its `ORDER BY`, `LIMIT`.
pub(super) async fn read<C: GenericClient + Sync>(
    client: &C,
    view: &'static str,
    columns: &'static [Column],
    order: &'static str,
) -> Result<Table, Error> {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let sql = format!(
        "SELECT {} FROM openregister_webhooks.{view} ORDER BY {order}",
        names.join(", ")
    );
    let none: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 0] = [];
    let rows = client.query_typed(&sql, &none).await?;
    let rows = rows
        .iter()
        .map(|row| values(row, columns))
        .collect::<Result<_, _>>()?;
    Ok(Table { columns, rows })
}

fn values(row: &Row, columns: &[Column]) -> Result<Vec<Value>, Error> {
    columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            Ok(match column.kind {
                Kind::Bool => row.try_get::<_, Option<bool>>(at)?.into(),
                Kind::Int8 => row.try_get::<_, Option<i64>>(at)?.into(),
                Kind::Float8 => row.try_get::<_, Option<f64>>(at)?.into(),
                Kind::Text => row.try_get::<_, Option<String>>(at)?.into(),
                Kind::Time => row
                    .try_get::<_, Option<chrono::DateTime<chrono::Utc>>>(at)?
                    .into(),
            })
        })
        .collect()
}
