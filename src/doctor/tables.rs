//! Whether every table of OpenRegister has its trigger, and it fires.

use tokio_postgres::types::Type;

use super::{Checked, Examined, Finding, schema};
use crate::openregister::{Store, TableName};

const CHECK: &str = "triggers";
/// AFTER, FOR EACH ROW; INSERT is 4, DELETE 8, UPDATE 16 (`pg_trigger.tgtype`).
const ROW_INSERT: i16 = 1 | 4;
const ROW_EVERY: i16 = 1 | 4 | 8 | 16;

/// A table of Nextcloud with its trigger of ours, if it has one.
struct Table {
    name: String,
    trigger: Option<Trigger>,
    /// The schema's owner may put a trigger on it.
    reachable: bool,
    owner: String,
}

struct Trigger {
    enabled: u8,
    ours: bool,
    kind: i16,
}

const TABLES: &str = "\
    SELECT c.relname::text, t.tgenabled, pn.nspname = 'openregister_webhooks' AND p.proname = $3, t.tgtype, \
           pg_has_role($4::text, c.relowner, 'MEMBER') OR has_table_privilege($4::text, c.oid, 'TRIGGER'), \
           pg_get_userbyid(c.relowner)::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = $2 \
    LEFT JOIN pg_proc p ON p.oid = t.tgfoid LEFT JOIN pg_namespace pn ON pn.oid = p.pronamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND starts_with(c.relname, $5) ORDER BY c.relname";

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let owner = schema::owner(examined).await?;
    let prefix = &examined.table_prefix;
    let all = load(
        examined,
        &owner,
        "openregister_webhooks_capture",
        "capture",
        &format!("{prefix}openregister_"),
    )
    .await?;
    let mut findings = Vec::new();
    let mut captured = 0_u32;
    let mut names = Vec::new();
    for table in all {
        let Some(name) = TableName::parse(&table.name, prefix) else {
            continue;
        };
        names.push(name.name().to_owned());
        match judge(examined, &table, &name, &owner) {
            Some(finding) => findings.push(finding),
            None => captured += 1,
        }
    }
    for needed in ["openregister_registers", "openregister_schemas"] {
        if !names.iter().any(|name| name == needed) {
            findings.push(
                Finding::error(
                    CHECK,
                    format!("there is no table {prefix}{needed}"),
                    "OpenRegister is not installed in this database, or with another prefix",
                    "check ORW_DATABASE_URL and ORW_TABLE_PREFIX against Nextcloud's config.php, and `occ app:list` for openregister",
                )
                .about(format!("{prefix}{needed}")),
            );
        }
    }
    if findings.is_empty() {
        findings.push(
            Finding::ok(CHECK, format!("{captured} tables are captured")).measured(f64::from(captured)),
        );
    }
    findings.push(hook(examined, &owner).await?);
    Ok(findings)
}

async fn load(
    examined: &Examined<'_>,
    owner: &str,
    trigger: &str,
    function: &str,
    starts: &str,
) -> Result<Vec<Table>, tokio_postgres::Error> {
    let rows = examined
        .client
        .query_typed(
            TABLES,
            &[
                (&examined.host_schema, Type::TEXT),
                (&trigger, Type::TEXT),
                (&function, Type::TEXT),
                (&owner, Type::TEXT),
                (&starts, Type::TEXT),
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Table {
            name: row.get(0),
            trigger: row.get::<_, Option<i8>>(1).map(|enabled| Trigger {
                enabled: enabled.cast_unsigned(),
                ours: row.get::<_, Option<bool>>(2).unwrap_or(false),
                kind: row.get::<_, Option<i16>>(3).unwrap_or(0),
            }),
            reachable: row.get(4),
            owner: row.get(5),
        })
        .collect())
}

/// What is wrong with a table; `None` where nothing is.
fn judge(examined: &Examined<'_>, table: &Table, name: &TableName, owner: &str) -> Option<Finding> {
    let full = format!("{}.{}", examined.host_schema, table.name);
    let backfill = format!("openregister-webhooks backfill --table {}", table.name);
    let finding = match &table.trigger {
        None if !table.reachable => Finding::error(
            CHECK,
            format!("{full} is not captured, and cannot be"),
            format!(
                "it belongs to {}, and {owner}, who owns the installation, has no right to put a trigger on it",
                table.owner
            ),
            format!(
                "as a superuser: ALTER TABLE {full} OWNER TO {owner}; then `openregister-webhooks install`"
            ),
        ),
        None => Finding::error(
            CHECK,
            format!("{full} is not captured: it has no trigger openregister_webhooks_capture"),
            "somebody dropped it, or the table appeared while no sidecar ran",
            format!(
                "run `openregister-webhooks install` (a running sidecar does it within ORW_DISCOVERY_INTERVAL_SECONDS); for what was \
                     written meanwhile: {backfill}"
            ),
        ),
        Some(trigger) if trigger.enabled == b'D' => Finding::error(
            CHECK,
            format!("{full} is not captured: its trigger is disabled"),
            "somebody ran ALTER TABLE … DISABLE TRIGGER, as some tools do for a bulk load, and did not enable it again",
            format!(
                "as {}: ALTER TABLE {full} ENABLE TRIGGER openregister_webhooks_capture; for what was written meanwhile: {backfill}",
                table.owner
            ),
        ),
        Some(trigger) if trigger.enabled == b'R' => Finding::error(
            CHECK,
            format!("{full} is not captured: its trigger fires in replicas only"),
            "somebody ran ALTER TABLE … ENABLE REPLICA TRIGGER",
            format!(
                "as {}: ALTER TABLE {full} ENABLE TRIGGER openregister_webhooks_capture; for what was written meanwhile: {backfill}",
                table.owner
            ),
        ),
        Some(trigger) if !trigger.ours || trigger.kind != wanted(name) => Finding::error(
            CHECK,
            format!("{full} is not captured as it should be: its trigger is another than install makes"),
            "somebody replaced the trigger openregister_webhooks_capture",
            format!(
                "as {}: DROP TRIGGER openregister_webhooks_capture ON {full}; then `openregister-webhooks install`",
                table.owner
            ),
        ),
        Some(_) => return None,
    };
    Some(finding.about(table.name.clone()))
}

const fn wanted(name: &TableName) -> i16 {
    match name.store() {
        Store::Audit => ROW_INSERT,
        _ => ROW_EVERY,
    }
}

/// The hook that catches a new table before its first row.
async fn hook(examined: &Examined<'_>, owner: &str) -> Result<Finding, tokio_postgres::Error> {
    const CHECK: &str = "hook";
    let name = format!("{}appconfig", examined.table_prefix);
    let tables = load(
        examined,
        owner,
        "openregister_webhooks_hook",
        "appconfig_hook",
        &name,
    )
    .await?;
    let late = "without it a new table is captured only when discovery finds it, and its first rows come as Created, without who made them";
    Ok(match tables.iter().find(|table| table.name == name) {
        None => Finding::error(
            CHECK,
            format!("there is no table {name}"),
            "this is not Nextcloud's database, or its tables have another prefix",
            "check ORW_DATABASE_URL and ORW_TABLE_PREFIX against Nextcloud's config.php",
        ),
        Some(Table {
            trigger:
                Some(Trigger {
                    enabled: b'O' | b'A',
                    ours: true,
                    ..
                }),
            ..
        }) => Finding::ok(CHECK, format!("the hook on {name} is in place")),
        Some(Table { trigger: None, .. }) => Finding::warning(
            CHECK,
            format!("the hook on {name} is missing"),
            format!("somebody dropped it; {late}"),
            "run `openregister-webhooks install`; a running sidecar does it by itself",
        ),
        Some(_) => Finding::warning(
            CHECK,
            format!("the hook on {name} is disabled or not ours"),
            format!("somebody changed it; {late}"),
            format!(
                "DROP TRIGGER openregister_webhooks_hook ON {}.{name}; then `openregister-webhooks install`",
                examined.host_schema
            ),
        ),
    })
}
