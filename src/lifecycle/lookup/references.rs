//! Registers and schemas as they were before a batch.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::statements::{LookupError, image, query_host, tables_of};
use crate::capture::queries;
use crate::lifecycle::host_connection::HostConnection;
use orw_model::Row;

/// Registers or schemas as they were before this batch. The reader may be far behind, so the changes that it has not read yet are
/// undone. The rows and the outbox are read in one snapshot; the rows come last, so that their table is locked for a moment only.
pub(super) async fn before_batch(
    host: &mut HostConnection,
    prefix: &str,
    name: &str,
    wanted: &BTreeSet<i64>,
) -> Result<HashMap<i64, Row>, LookupError> {
    let ids: Vec<i64> = wanted.iter().copied().collect();
    let unread = queries::unread_of_table();
    let mut tables = tables_of(host).await?;
    let now = format!(
        "SELECT \"orw row\".id::int8, row_to_json(\"orw row\")::text, NULL::text FROM {} AS \"orw row\" WHERE \"orw row\".id = ANY($2)",
        tables.name(&format!("{prefix}{name}"))
    );
    let rows = query_host(
        host,
        "registers and schemas",
        &tables,
        &[&unread, &now],
        &[(&format!("{prefix}{name}"), Type::TEXT), (&ids, Type::INT8_ARRAY)],
    )
    .await?;
    let mut found: HashMap<i64, Option<Row>> = HashMap::new();
    // The outbox comes first, in its order: the first unread change of a row says what the row was before.
    let (unread, now): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| row.get::<_, Option<i64>>(0).is_none());
    for row in unread {
        let (old, new) = (image(row.get(1)), image(row.get(2)));
        let id = old
            .as_ref()
            .or(new.as_ref())
            .and_then(|row| row.get("id")?.as_i64());
        if let Some(id) = id.filter(|id| wanted.contains(id)) {
            found.entry(id).or_insert(old);
        }
    }
    for row in now {
        if let Some(id) = row.get(0) {
            found.entry(id).or_insert_with(|| image(row.get(1)));
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|(id, row)| Some((id, row?)))
        .collect())
}
