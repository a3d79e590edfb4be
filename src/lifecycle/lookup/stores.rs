//! Which table holds an object: the look-ups that tell a migrated object from a created one.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_postgres::GenericClient;
use tokio_postgres::types::{PgLsn, Type};

use super::statements::{LookupError, image, query_host, query_own, tables_of};
use crate::capture::{ChangeKey, Lsn, Xid, queries};
use crate::lifecycle::facts::{Facts, Needs};
use crate::lifecycle::host_connection::{HostConnection, HostError, Parameter};
use orw_model::{ObjectRow, Store, TableName};

/// The table of the first generation's objects.
const BLOB: &str = "openregister_objects";
/// How many magic tables one statement searches for an object's other row. Each takes about five entries in the server's lock
/// table, and a failure at one of them fails the whole statement.
const TABLES_PER_QUERY: usize = 20;

const ALL_TABLES: &str = "SELECT tbl FROM openregister_webhooks.host_table \
     WHERE starts_with(tbl, $1) AND has_table_privilege(relid, 'SELECT') ORDER BY relid";
/// `relname` is compared, and not the view's text of it, so that the index of names serves.
const WANTED_TABLES: &str = "SELECT tbl FROM openregister_webhooks.host_table h \
     WHERE relid = ANY (ARRAY(SELECT c.oid FROM pg_class c, openregister_webhooks.settings s, pg_namespace n \
         WHERE c.relname = ANY ($1::name[]) AND c.relnamespace = n.oid AND n.nspname = s.host_schema)) \
       AND has_table_privilege(relid, 'SELECT') ORDER BY relid";

/// Nextcloud's own tables of OpenRegister that this role may read, without prefix, the oldest first: all but the audit trail if all magic
/// tables are to be searched, else those that are asked for.
pub(super) async fn object_tables(
    host: &mut HostConnection,
    prefix: &str,
    needs: &Needs,
) -> Result<Vec<String>, LookupError> {
    let first = format!("{prefix}openregister_");
    let named = needs
        .rows_exist
        .iter()
        .chain(&needs.rows)
        .map(|(table, _)| table.as_str());
    let blob = Some(BLOB).filter(|_| !needs.in_blob.is_empty());
    let wanted: Option<Vec<String>> = needs.homes.is_empty().then(|| {
        named
            .chain(blob)
            .map(|table| format!("{prefix}{table}"))
            .collect()
    });
    let (sql, parameter): (_, Parameter<'_>) = match &wanted {
        // By name, so that it costs the same however many tables there are.
        Some(wanted) => (WANTED_TABLES, (wanted, Type::TEXT_ARRAY)),
        None => (ALL_TABLES, (&first, Type::TEXT)),
    };
    let nothing = tables_of(host).await?;
    let rows = query_host(host, "tables", &nothing, &[sql], &[parameter]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| TableName::parse(row.get(0), prefix))
        .filter(|table| !matches!(table.store(), Store::Audit))
        .map(|table| table.name().to_owned())
        .collect())
}

/// The look-ups whose table is known: rows of the blob table, and single rows.
pub(super) async fn stores(
    host: &mut HostConnection,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    last: Option<ChangeKey>,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let there = |name: &str| tables.iter().any(|table| table == name);
    if !needs.in_blob.is_empty() && there(BLOB) {
        facts.in_blob = in_blob(host, prefix, needs, last).await?;
    }
    let mut by_table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, uuid) in needs.rows_exist.iter().chain(&needs.rows) {
        if there(table) {
            by_table.entry(table).or_default().push(uuid);
        }
    }
    for (name, uuids) in by_table {
        let column = uuid_column(name);
        let mut tables = tables_of(host).await?;
        let sql = format!(
            "SELECT \"orw row\".{column}::text, row_to_json(\"orw row\")::text FROM {} AS \"orw row\" WHERE \"orw row\".{column} = ANY($1)",
            tables.name(&format!("{prefix}{name}"))
        );
        for row in query_host(host, "objects", &tables, &[&sql], &[(&uuids, Type::TEXT_ARRAY)]).await? {
            let key = (name.to_owned(), row.get::<_, String>(0));
            if needs.rows_exist.contains(&key) {
                facts.rows_exist.insert(key.clone());
            }
            if let Some(found) = image(row.get(1)).filter(|_| needs.rows.contains(&key)) {
                facts.rows.insert(key, found);
            }
        }
    }
    Ok(())
}

/// Which of the inserted objects the blob table holds, or held until a DELETE that is not read yet: the migration deletes a
/// row right after it has copied it. The table and the outbox are read in one snapshot.
async fn in_blob(
    host: &mut HostConnection,
    prefix: &str,
    needs: &Needs,
    last: Option<ChangeKey>,
) -> Result<HashSet<String>, LookupError> {
    let uuids: Vec<&str> = needs.in_blob.iter().map(String::as_str).collect();
    let last = last.unwrap_or(ChangeKey {
        lsn: Lsn(0),
        xid: Xid(0),
        ordinal: 0,
    });
    let deleted = queries::deleted_after();
    let mut tables = tables_of(host).await?;
    let present = format!(
        "SELECT uuid::text, NULL::text FROM {} WHERE uuid = ANY($1)",
        tables.name(&format!("{prefix}{BLOB}"))
    );
    let rows = query_host(
        host,
        "objects",
        &tables,
        &[&deleted, &present],
        &[
            (&uuids, Type::TEXT_ARRAY),
            (&PgLsn::from(last.lsn.0), Type::PG_LSN),
            (&last.xid.0.to_string(), Type::TEXT),
            (&last.ordinal, Type::INT4),
            (&format!("{prefix}{BLOB}"), Type::TEXT),
        ],
    )
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            row.get::<_, Option<String>>(0)
                .or_else(|| Some(image(row.get(1))?.get("uuid")?.as_str()?.to_owned()))
        })
        .collect())
}

fn uuid_column(table: &str) -> &'static str {
    if table.starts_with("openregister_table_") {
        "_uuid"
    } else {
        "uuid"
    }
}

/// Finds the rows that objects inserted into one magic table have in another one. A failure concerns as few tables as possible;
/// returns the first one.
pub(super) async fn homes(
    host: &mut HostConnection,
    prefix: &str,
    needs: &Needs,
    tables: &[String],
    facts: &mut Facts,
) -> Option<HostError> {
    let magic: Vec<&String> = tables
        .iter()
        .filter(|table| table.starts_with("openregister_table_"))
        .collect();
    let uuids: Vec<&str> = needs.homes.keys().map(String::as_str).collect();
    if uuids.is_empty() || magic.len() < 2 {
        return None;
    }
    let mut statements = Vec::new();
    for chunk in magic.chunks(TABLES_PER_QUERY) {
        let mut tables = match host.tables().await {
            Ok(tables) => tables,
            Err(error) => return Some(error),
        };
        let mut parts = Vec::new();
        for name in chunk {
            // The name consists of letters, digits and underscores.
            parts.push(format!(
                "SELECT '{name}'::text, \"orw row\"._uuid::text, row_to_json(\"orw row\")::text FROM {} AS \"orw row\" WHERE \"orw row\"._uuid = ANY($1)",
                tables.name(&format!("{prefix}{name}"))
            ));
        }
        statements.push((tables, parts.join(" UNION ALL ")));
    }
    let (rows, failure) = match host.each(&statements, &uuids, &Type::TEXT_ARRAY).await {
        Ok(done) => done,
        Err(error) => return Some(error),
    };
    for row in rows {
        let (table, uuid): (String, String) = (row.get(0), row.get(1));
        if needs.homes.get(&uuid) != Some(&table)
            && let Some(found) = image(row.get(2))
        {
            facts.homes.insert(uuid, (table, found));
        }
    }
    // A table that was dropped after it was listed holds nothing.
    failure.filter(|error| !error.is_gone())
}

/// Finds when the rows found by [`homes`] were inserted, for the few objects that are in two tables.
pub(super) async fn homes_since(
    tx: &impl GenericClient,
    prefix: &str,
    facts: &mut Facts,
) -> Result<(), LookupError> {
    let tables: Vec<String> = facts
        .homes
        .values()
        .map(|(table, _)| format!("{prefix}{table}"))
        .collect();
    let uuids: Vec<&str> = facts.homes.keys().map(String::as_str).collect();
    let rows = query_own(
        tx,
        "the outbox",
        queries::INSERTED,
        &[(&tables, Type::TEXT_ARRAY), (&uuids, Type::TEXT_ARRAY)],
    )
    .await?;
    let mut since = HashMap::new();
    for row in rows {
        let table = TableName::parse(row.get(0), prefix);
        let (Some(table), Some(found)) = (table, image(row.get(1))) else {
            continue;
        };
        let Some(uuid) = ObjectRow::new(&table, &found).uuid() else {
            continue;
        };
        if facts
            .homes
            .get(uuid)
            .is_some_and(|(home, _)| home == table.name())
        {
            let key = ChangeKey {
                lsn: Lsn(row.get::<_, PgLsn>(2).into()),
                xid: Xid(row.get::<_, &str>(3).parse().unwrap_or_default()),
                ordinal: row.get(4),
            };
            since.insert(uuid.to_owned(), key);
        }
    }
    facts.homes_since = since;
    Ok(())
}
