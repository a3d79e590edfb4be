//! Every right of the role that the sidecar runs as. The list in `rights.txt` is reviewed: adding to it is a decision.

use std::collections::BTreeSet;

use openregister_webhooks::capture::InstallOptions;
use orw_testkit::Generation;

use crate::support::capture::{install, options};
use crate::support::postgres::Db;

/// What a role may do in a database, one right a row: on the database, schemas, relations, columns, sequences and functions, but for
/// what is PostgreSQL's own.
const RIGHTS: &str = "
    WITH spaces AS (SELECT oid, nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'),
         relations AS (SELECT c.*, s.nspname || '.' || c.relname AS name FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace)
    SELECT 'database: ' || p FROM unnest(ARRAY['CREATE', 'CONNECT', 'TEMPORARY']) p WHERE has_database_privilege($1, current_database(), p)
    UNION ALL
    SELECT 'schema ' || s.nspname || ': ' || p FROM spaces s, unnest(ARRAY['USAGE', 'CREATE']) p WHERE has_schema_privilege($1, s.oid, p)
    UNION ALL
    SELECT r.name || ': ' || p FROM relations r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
     WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege($1, r.oid, p)
    UNION ALL
    SELECT r.name || ' (' || a.attname || '): ' || p FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND NOT a.attisdropped,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
     WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT has_table_privilege($1, r.oid, p) AND has_column_privilege($1, r.oid, a.attnum, p)
    UNION ALL
    SELECT 'sequence ' || r.name || ': ' || p FROM relations r, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
     WHERE CASE WHEN r.relkind = 'S' THEN has_sequence_privilege($1, r.oid, p) ELSE false END
    UNION ALL
    SELECT 'function ' || s.nspname || '.' || f.proname || ': EXECUTE' FROM pg_proc f JOIN spaces s ON s.oid = f.pronamespace
     WHERE has_function_privilege($1, f.oid, 'EXECUTE')";

async fn rights(db: &Db, role: &str) -> BTreeSet<String> {
    let rows = db.client().await.query(RIGHTS, &[&role]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a role may do that PUBLIC may not.
async fn own_rights(db: &Db, role: &str) -> BTreeSet<String> {
    let nobody = rights(db, &db.role("nobody").await).await;
    rights(db, role).await.difference(&nobody).cloned().collect()
}

fn reviewed() -> BTreeSet<String> {
    let list = include_str!("rights.txt");
    list.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn assert_reviewed(found: &BTreeSet<String>, when: &str) {
    let reviewed = reviewed();
    let more: Vec<&String> = found.difference(&reviewed).collect();
    let less: Vec<&String> = reviewed.difference(found).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "{when}: not in tests/it/rights.txt: {more:#?}; only there: {less:#?}"
    );
}

async fn installed(db: &Db) -> (String, InstallOptions) {
    let role = db.role("runtime").await;
    let mut options = options();
    options.runtime_role = Some(role.clone());
    install(db, &options).await;
    (role, options)
}

#[tokio::test]
async fn the_runtime_role_has_the_reviewed_rights_and_no_other() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, _) = installed(&db).await;
    assert_reviewed(&own_rights(&db, &role).await, "installed");
    // Tables without lookups get no grant.
    db.client()
        .await
        .query(
            "SELECT openregister_webhooks.grant_lookup('oc_appconfig')::text",
            &[],
        )
        .await
        .unwrap();
    let runtime = db.client_as(&role).await;
    for forbidden in [
        "SELECT password FROM oc_users",
        "SELECT * FROM oc_users",
        "SELECT configvalue FROM oc_appconfig",
        "UPDATE openregister_webhooks.audit SET who = 'somebody else'",
        "DELETE FROM openregister_webhooks.audit",
        "TRUNCATE openregister_webhooks.audit",
        "INSERT INTO openregister_webhooks.audit (who, action, webhook_id, at) VALUES ('a', 'b', 1, now() - interval '1 day')",
        "UPDATE openregister_webhooks.settings SET sealed_to_origin = false",
        "SELECT openregister_webhooks.grant_lookup('oc_users')",
        "CREATE TABLE openregister_webhooks.mine ()",
    ] {
        let refused = runtime.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(
            refused.code().unwrap().code(),
            "42501",
            "{forbidden}: {refused:?}"
        );
    }
    runtime
        .batch_execute("SELECT uid, displayname FROM oc_users")
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upgrade_takes_back_what_is_not_needed_any_more() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, mut options) = installed(&db).await;
    // As earlier versions gave it.
    let client = db.client().await;
    client
        .batch_execute(&format!(
            "GRANT SELECT ON oc_users, oc_accounts, oc_group_user, oc_groups, oc_appconfig TO \"{role}\"; \
             INSERT INTO openregister_webhooks.granted SELECT t, '{role}' \
                 FROM unnest(ARRAY['oc_users', 'oc_accounts', 'oc_group_user', 'oc_groups', 'oc_appconfig']) t ON CONFLICT DO NOTHING; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA openregister_webhooks TO \"{role}\"; \
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA openregister_webhooks TO \"{role}\""
        ))
        .await
        .unwrap();
    install(&db, &options).await;
    assert_reviewed(&own_rights(&db, &role).await, "upgraded");
    // A column that goes takes its grant along, and one that comes is not missed.
    client
        .batch_execute("ALTER TABLE oc_accounts RENAME COLUMN data TO former")
        .await
        .unwrap();
    install(&db, &options).await;
    client
        .batch_execute(
            "ALTER TABLE oc_accounts ADD COLUMN data text; ALTER TABLE oc_accounts DROP COLUMN former",
        )
        .await
        .unwrap();
    install(&db, &options).await;
    assert_reviewed(&own_rights(&db, &role).await, "columns changed");
    // Another role takes its place.
    let next = db.role("next").await;
    options.runtime_role = Some(next.clone());
    install(&db, &options).await;
    assert_eq!(own_rights(&db, &role).await, BTreeSet::new());
    assert_reviewed(&own_rights(&db, &next).await, "another role");
}
