//! Whether the role that connects may do what the sidecar does. All from the catalogs, which everybody may read.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::{Examined, Finding, schema};

const CHECK: &str = "rights";

/// What `install --runtime-role` grants, looked up for the current role.
const MISSING_ON_TABLES: &str = "\
    WITH relation AS ( \
        SELECT c.oid, format('openregister_webhooks.%I', c.relname) AS name, c.relkind, CASE \
            WHEN c.relkind = 'S' THEN ARRAY['USAGE'] \
            WHEN c.relkind = 'v' OR c.relname IN ('settings', 'captured_table', 'granted', 'migration') THEN ARRAY['SELECT'] \
            WHEN c.relname IN ('change_0', 'change_1', 'change_2', 'change_adopted', 'position_0', 'position_1') \
                THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] \
            ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END AS wanted \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'openregister_webhooks' AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition) \
    SELECT string_agg(p, ', ' ORDER BY p), CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, name \
    FROM relation, unnest(wanted) p \
    WHERE NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, p) ELSE has_table_privilege(oid, p) END \
    GROUP BY name, relkind \
    UNION ALL \
    SELECT 'EXECUTE', 'FUNCTION ', p.oid::regprocedure::text \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = 'openregister_webhooks' AND p.prorettype <> 'trigger'::regtype \
      AND p.proname NOT IN ('grant_runtime', 'detach', 'grant_lookup', 'revoke_lookup') AND NOT has_function_privilege(p.oid, 'EXECUTE') \
    ORDER BY 1, 2, 3";

/// Tables of Nextcloud that are looked things up in.
const MISSING_LOOKUPS: &str = "\
    SELECT 'SELECT', '', format('%I.%I', n.nspname, c.relname) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, 'SELECT') \
      AND (c.relname = ANY ($2::text[]) OR (NOT has_schema_privilege(n.oid, 'USAGE') AND c.relname = ANY ($2::text[])) \
           OR c.oid IN (SELECT t.tgrelid FROM pg_trigger t WHERE t.tgname = 'openregister_webhooks_capture')) \
    ORDER BY 3";

/// Whether the schema can be looked into at all, and what the role lacks.
pub(super) async fn check(examined: &Examined<'_>) -> Result<(bool, Vec<Finding>), tokio_postgres::Error> {
    let client = examined.client;
    let owner = schema::owner(examined).await?;
    let rows = client
        .query_typed(
            "SELECT current_user::text, has_schema_privilege('openregister_webhooks', 'USAGE'), rolsuper, quote_ident(current_user) \
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok((true, Vec::new()));
    };
    let (role, usage, superuser, quoted): (String, bool, bool, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let remedy =
        format!("as {owner}, who owns the installation: openregister-webhooks install --runtime-role {role}");
    if !usage {
        let finding = Finding::error(
            CHECK,
            format!("{role} has no right on the schema openregister_webhooks"),
            format!(
                "it belongs to {owner}; {role} is neither {owner} nor the role that install prepared for the sidecar"
            ),
            remedy,
        );
        return Ok((false, vec![finding.about(role)]));
    }
    let mut findings = Vec::new();
    let mut missing = client.query_typed(MISSING_ON_TABLES, &[]).await?;
    if !missing.is_empty() {
        findings.push(lacking(
            &role,
            &quoted,
            &missing,
            "the sidecar cannot work without",
            &remedy,
        ));
    }
    let names: Vec<String> = [
        "users",
        "accounts",
        "groups",
        "group_user",
        "activity",
        "appconfig",
    ]
    .iter()
    .map(|name| format!("{}{name}", examined.table_prefix))
    .collect();
    missing = client
        .query_typed(
            MISSING_LOOKUPS,
            &[(&examined.host_schema, Type::TEXT), (&names, Type::TEXT_ARRAY)],
        )
        .await?;
    if !missing.is_empty() {
        let finding = lacking(
            &role,
            &quoted,
            &missing,
            "looked up for users, slugs and backfill:",
            &remedy,
        );
        findings.push(finding);
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{role} may do everything that the sidecar does"),
        ));
    }
    if superuser {
        findings.push(
            Finding::note(CHECK, format!("{role} is a superuser")).because(
                "the sidecar needs no such rights",
                "create a role for it, run `openregister-webhooks install --runtime-role NAME`, and connect as that role",
            ),
        );
    }
    Ok((true, findings))
}

/// One finding for all that is missing, with the statements that give it.
fn lacking(role: &str, quoted: &str, missing: &[tokio_postgres::Row], why: &str, remedy: &str) -> Finding {
    let mut grants: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in missing {
        grants
            .entry((row.get(0), row.get(1)))
            .or_default()
            .push(row.get(2));
    }
    let list = |wrap: &dyn Fn(&str, &str, &str) -> String| {
        let parts: Vec<String> = grants
            .iter()
            .map(|((privileges, class), names)| wrap(privileges, class, &names.join(", ")))
            .collect();
        parts.join("; ")
    };
    Finding::error(
        CHECK,
        format!("{role} lacks {} rights", missing.len()),
        format!(
            "{why} {}",
            list(&|privileges, _, names| format!("{privileges} on {names}"))
        ),
        format!(
            "{remedy}; or: {}",
            list(&|privileges, class, names| format!("GRANT {privileges} ON {class}{names} TO {quoted}"))
        ),
    )
    .about(role)
}
