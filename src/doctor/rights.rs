//! Whether the connecting role has the rights that the sidecar needs. Everything comes from the catalogs, which every role may read.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::examined::Examined;
use super::finding::Finding;
use super::schema;

const CHECK: &str = "rights";

/// The rights that `install --runtime-role` grants and that the current role lacks.
const MISSING_ON_TABLES: &str = "\
    SELECT string_agg(privilege || coalesce(' (' || columns || ')', ''), ', ' ORDER BY privilege), \
           CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, relid::regclass::text \
    FROM openregister_webhooks.runtime_right \
    WHERE NOT CASE WHEN relkind = 'S' THEN has_sequence_privilege(relid, privilege) \
                   WHEN columns IS NOT NULL THEN has_any_column_privilege(relid, privilege) ELSE has_table_privilege(relid, privilege) END \
    GROUP BY relid, relkind \
    UNION ALL \
    SELECT 'EXECUTE', 'FUNCTION ', p.oid::regprocedure::text \
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE n.nspname = 'openregister_webhooks' AND p.prorettype <> 'trigger'::regtype \
      AND p.proname NOT IN ('store', 'store_unusual', 'grant_runtime', 'detach', 'grant_lookup', 'revoke_lookup', 'lookups', 'outdated_lookups', 'set_capture_all') \
      AND NOT has_function_privilege(p.oid, 'EXECUTE') \
    ORDER BY 1, 2, 3";

/// The rights on columns and tables of Nextcloud that the look-ups need and that the current role lacks.
const MISSING_LOOKUPS: &str = "\
    SELECT 'SELECT' || coalesce(' (' || string_agg(quote_ident(w.attname), ', ' ORDER BY w.attname) || ')', ''), '', format('%I.%I', n.nspname, c.relname) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_class h ON h.relnamespace = n.oid AND h.relname = $2 || 'appconfig' AND h.relowner = c.relowner \
    LEFT JOIN (VALUES ('users', 'uid'), ('users', 'displayname'), ('accounts', 'uid'), ('accounts', 'data'), ('group_user', 'uid'), ('group_user', 'gid'), \
        ('activity', 'activity_id'), ('activity', 'app'), ('activity', 'subject'), ('activity', 'user'), ('activity', 'object_type'), \
        ('activity', 'object_id'), ('activity', 'timestamp'), ('activity', 'xmin')) AS v (name, attname) ON c.relname = $2 || v.name \
    LEFT JOIN pg_attribute w ON w.attrelid = c.oid AND w.attname = v.attname AND NOT w.attisdropped \
    WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT c.relrowsecurity \
      AND CASE WHEN v.name IS NOT NULL THEN w.attname IS NOT NULL AND NOT has_column_privilege(c.oid, w.attnum, 'SELECT') \
               ELSE EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'openregister_webhooks_capture') \
                    AND NOT has_table_privilege(c.oid, 'SELECT') END \
    GROUP BY n.nspname, c.relname ORDER BY 3";

/// Whether the role may use the schema at all, and the rights that it lacks.
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
                "it belongs to {owner}; {role} is neither {owner} nor the role to which install gave rights for the sidecar"
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
    missing = client
        .query_typed(
            MISSING_LOOKUPS,
            &[
                (&examined.host_schema, Type::TEXT),
                (&examined.table_prefix, Type::TEXT),
            ],
        )
        .await?;
    if !missing.is_empty() {
        let finding = lacking(
            &role,
            &quoted,
            &missing,
            "needed to look up users and slugs, and for backfill:",
            &remedy,
        );
        findings.push(finding);
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{role} has every right that the sidecar needs"),
        ));
    }
    if superuser {
        findings.push(
            Finding::note(CHECK, format!("{role} is a superuser")).because(
                "the sidecar does not need these rights",
                "create a role for it, run `openregister-webhooks install --runtime-role NAME`, and connect as that role",
            ),
        );
    }
    Ok((true, findings))
}

/// One finding for all missing rights, with the statements that grant them.
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
