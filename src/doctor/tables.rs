//! Whether every table of OpenRegister has its trigger, and the trigger fires.

use tokio_postgres::types::Type;

use super::examined::{Checked, Examined};
use super::finding::Finding;
use orw_model::{Store, TableName};

const CHECK: &str = "triggers";
/// AFTER, FOR EACH ROW; INSERT is 4, DELETE 8, UPDATE 16 (`pg_trigger.tgtype`).
const ROW_INSERT: i16 = 1 | 4;
const ROW_EVERY: i16 = 1 | 4 | 8 | 16;

/// A table with a name of Nextcloud's, and our trigger on it, if there is one.
struct Table {
    name: String,
    trigger: Option<Trigger>,
    owner: String,
    /// The owner of Nextcloud's own tables.
    host_owner: String,
    /// Why it is not taken for Nextcloud's own; such a table is not read, captured or granted.
    foreign: Option<Foreign>,
}

/// Why a table with a name of Nextcloud's is not taken for Nextcloud's own.
#[derive(Debug, Clone, Copy)]
enum Foreign {
    /// It belongs to a superuser, as after a restore by one.
    Superusers,
    /// It belongs to another role.
    Strangers,
    /// The owner is right, but it is a view, a partitioned table or a table of a foreign server.
    Kind,
    /// The owner is right, but it has row security.
    Policies,
}

impl Foreign {
    fn of(row: &tokio_postgres::Row) -> Option<Self> {
        let (owners, superusers, ordinary, policies): (bool, bool, bool, bool) =
            (row.get(5), row.get(6), row.get(7), row.get(8));
        match (owners, superusers) {
            (false, true) => Some(Self::Superusers),
            (false, false) => Some(Self::Strangers),
            (true, _) if !ordinary => Some(Self::Kind),
            (true, _) => policies.then_some(Self::Policies),
        }
    }

    fn finding(self, full: &str, owner: &str, of: &str) -> Finding {
        match self {
            Self::Strangers => Finding::warning(
                CHECK,
                format!("{full} is not Nextcloud's: it belongs to {of}; it is neither read nor captured"),
                format!(
                    "Nextcloud's own tables belong to {owner}; whoever may create tables in that schema can use any free name"
                ),
                format!(
                    "ask who {of} is and what the table is for; what is in it came from {of}, so do not give it to {owner}: DROP it, and \
                     let nobody but {owner} create in the schema (as a superuser: REVOKE CREATE ON SCHEMA … FROM PUBLIC)"
                ),
            ),
            Self::Superusers => Finding::error(
                CHECK,
                format!("{full} is not captured, and cannot be: it belongs to {of}, a superuser"),
                format!(
                    "Nextcloud's own tables belong to {owner}; a backup that a superuser restored belongs to him"
                ),
                format!(
                    "where it is Nextcloud's, as a superuser: ALTER TABLE {full} OWNER TO {owner}; then `openregister-webhooks install`"
                ),
            ),
            Self::Kind => Finding::error(
                CHECK,
                format!("{full} is not captured, and cannot be: it is not an ordinary table"),
                "it is a view, a partitioned or a foreign table; OpenRegister makes none of these",
                "ask whoever made it; OpenRegister's tables have to be ordinary ones",
            ),
            Self::Policies => Finding::error(
                CHECK,
                format!("{full} is not captured, and cannot be: it has row security"),
                "somebody ran ALTER TABLE … ENABLE ROW LEVEL SECURITY; its policies would be executed with the sidecar's rights",
                format!(
                    "as {of}: ALTER TABLE {full} DISABLE ROW LEVEL SECURITY; then `openregister-webhooks install`"
                ),
            ),
        }
    }
}

struct Trigger {
    enabled: u8,
    ours: bool,
    kind: i16,
}

const TABLES: &str = "\
    SELECT c.relname::text, t.tgenabled, pn.nspname = 'openregister_webhooks' AND p.proname = ANY (string_to_array($3, ' ')), t.tgtype, \
           pg_get_userbyid(c.relowner)::text, \
           c.relowner = h.relowner, coalesce(r.rolsuper, false), c.relkind = 'r', c.relrowsecurity, pg_get_userbyid(h.relowner)::text \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_class h ON h.relnamespace = n.oid AND h.relname = $4 AND h.relkind = 'r' \
    LEFT JOIN pg_roles r ON r.oid = c.relowner \
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = $2 \
    LEFT JOIN pg_proc p ON p.oid = t.tgfoid LEFT JOIN pg_namespace pn ON pn.oid = p.pronamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND starts_with(c.relname, $5) ORDER BY c.relname";

/// The tables besides OpenRegister's that are looked up in; that of the activity app may be missing.
const LOOKED_UP: [&str; 4] = ["users", "accounts", "group_user", "activity"];

pub(super) async fn check(examined: &Examined<'_>) -> Checked {
    let prefix = &examined.table_prefix;
    let all = load(
        examined,
        "openregister_webhooks_capture",
        "capture_object capture_audit capture",
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
        match judge(examined, &table, &name) {
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
                    "OpenRegister is not installed in this database, or its tables have another prefix",
                    "check ORW_DATABASE_URL and ORW_TABLE_PREFIX against Nextcloud's config.php, and `occ app:list` for openregister",
                )
                .about(format!("{prefix}{needed}")),
            );
        }
    }
    for name in LOOKED_UP {
        let full = format!("{prefix}{name}");
        let found = load(examined, "", "", &full).await?;
        let found = found.iter().find(|table| table.name == full);
        if let Some((table, foreign)) = found.and_then(|table| Some((table, table.foreign?))) {
            let full = format!("{}.{full}", examined.host_schema);
            findings.push(
                foreign
                    .finding(&full, &table.host_owner, &table.owner)
                    .about(table.name.clone()),
            );
        }
    }
    if findings.is_empty() {
        findings.push(
            Finding::ok(CHECK, format!("{captured} tables are captured")).measured(f64::from(captured)),
        );
    }
    findings.push(hook(examined).await?);
    Ok(findings)
}

async fn load(
    examined: &Examined<'_>,
    trigger: &str,
    function: &str,
    starts: &str,
) -> Result<Vec<Table>, tokio_postgres::Error> {
    let appconfig = format!("{}appconfig", examined.table_prefix);
    let rows = examined
        .client
        .query_typed(
            TABLES,
            &[
                (&examined.host_schema, Type::TEXT),
                (&trigger, Type::TEXT),
                (&function, Type::TEXT),
                (&appconfig, Type::TEXT),
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
            owner: row.get(4),
            foreign: Foreign::of(row),
            host_owner: row.get(9),
        })
        .collect())
}

/// What is wrong with a table; `None` if nothing is.
fn judge(examined: &Examined<'_>, table: &Table, name: &TableName) -> Option<Finding> {
    let full = format!("{}.{}", examined.host_schema, table.name);
    let backfill = format!("openregister-webhooks backfill --table {}", table.name);
    if let Some(foreign) = table.foreign {
        let finding = foreign.finding(&full, &table.host_owner, &table.owner);
        return Some(finding.about(table.name.clone()));
    }
    let finding = match &table.trigger {
        None => Finding::error(
            CHECK,
            format!("{full} is not captured: it has no trigger openregister_webhooks_capture"),
            "somebody dropped it, or the table appeared while no sidecar ran",
            format!(
                "run `openregister-webhooks install` (a running sidecar does it within ORW_DISCOVERY_INTERVAL_SECONDS); for rows that \
                     were written meanwhile: {backfill}"
            ),
        ),
        Some(trigger) if trigger.enabled == b'D' => Finding::error(
            CHECK,
            format!("{full} is not captured: its trigger is disabled"),
            "somebody ran ALTER TABLE … DISABLE TRIGGER, as some tools do for a bulk load, and did not enable it again",
            format!(
                "as {}: ALTER TABLE {full} ENABLE TRIGGER openregister_webhooks_capture; for rows that were written meanwhile: {backfill}",
                table.owner
            ),
        ),
        Some(trigger) if trigger.enabled == b'R' => Finding::error(
            CHECK,
            format!("{full} is not captured: its trigger fires in replicas only"),
            "somebody ran ALTER TABLE … ENABLE REPLICA TRIGGER",
            format!(
                "as {}: ALTER TABLE {full} ENABLE TRIGGER openregister_webhooks_capture; for rows that were written meanwhile: {backfill}",
                table.owner
            ),
        ),
        Some(trigger) if !trigger.ours || trigger.kind != wanted(name) => Finding::error(
            CHECK,
            format!(
                "{full} is not captured as it should be: its trigger is another than the one that install makes"
            ),
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
async fn hook(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    const CHECK: &str = "hook";
    let name = format!("{}appconfig", examined.table_prefix);
    let tables = load(examined, "openregister_webhooks_hook", "appconfig_hook", &name).await?;
    let late = "without it a new table is captured only when discovery finds it, and its first rows give Created events that name no user";
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
            "run `openregister-webhooks install`; a running sidecar repairs it by itself",
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
