//! After uninstalling, the catalogs are the same as before installing, whichever role did either.

use std::path::Path;
use std::process::Stdio;

use openregister_webhooks::capture::{self, InstallOptions};
use orw_testkit::Generation;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::support::capture::{Capture, install, options, settings};
use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::rows;

/// Every row of the catalogs that says what is in this database, by name. Left out: what is counted, sampled or a hint
/// (pages, tuples, frozen ids, relhastriggers and its like, file numbers). Rights as they are in effect.
const CATALOGS: &str = "
    WITH described AS (SELECT classid, objid, objsubid, deptype, refclassid, refobjid, refobjsubid FROM pg_depend)
    SELECT concat_ws(' ', 'class', n.nspname, c.relname, c.relkind, c.relowner::regrole, c.relpersistence, c.relnatts, c.relchecks,
                     c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.reloptions, c.relispartition)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_temp'
    UNION ALL SELECT concat_ws(' ', 'right', c.oid::regclass, x.grantor::regrole, x.grantee::regrole, x.privilege_type, x.is_grantable)
        FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))) x
        WHERE c.relkind IN ('r', 'p', 'v', 'S', 'm')
    UNION ALL SELECT concat_ws(' ', 'attribute', a.attrelid::regclass, a.attname, a.atttypid::regtype, a.atttypmod, a.attnum, a.attnotnull,
                     a.atthasdef, a.attidentity, a.attgenerated, a.attisdropped, a.attoptions, a.attacl)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind <> 't' AND a.attnum > 0
    UNION ALL SELECT concat_ws(' ', 'function', p.oid::regprocedure, p.proowner::regrole, p.prosecdef, p.provolatile, p.proacl, p.proconfig, md5(p.prosrc))
        FROM pg_proc p
    UNION ALL SELECT concat_ws(' ', 'trigger', t.tgrelid::regclass, CASE WHEN t.tgisinternal THEN '' ELSE t.tgname END, t.tgfoid::regprocedure, t.tgtype, t.tgenabled)
        FROM pg_trigger t
    UNION ALL SELECT concat_ws(' ', 'namespace', n.nspname, n.nspowner::regrole, x.grantor::regrole, x.grantee::regrole, x.privilege_type)
        FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x WHERE n.nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT concat_ws(' ', 'constraint', c.conrelid::regclass, c.conname, c.contype, pg_get_constraintdef(c.oid)) FROM pg_constraint c
    UNION ALL SELECT concat_ws(' ', 'type', n.nspname, t.typname, t.typtype, t.typowner::regrole)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT concat_ws(' ', 'description', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
        FROM pg_description d WHERE d.objoid >= 16384
    UNION ALL SELECT concat_ws(' ', 'depend', pg_describe_object(classid, objid, objsubid), deptype,
                     pg_describe_object(refclassid, refobjid, refobjsubid)) FROM described WHERE objid >= 16384
    UNION ALL SELECT concat_ws(' ', 'shared depend', pg_describe_object(classid, objid, objsubid), deptype, refclassid::regclass, refobjid::regrole)
        FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND refclassid = 'pg_authid'::regclass
    UNION ALL SELECT concat_ws(' ', 'default right', d.defaclrole::regrole, d.defaclobjtype, d.defaclacl) FROM pg_default_acl d
    UNION ALL SELECT concat_ws(' ', 'event trigger', e.evtname) FROM pg_event_trigger e
    UNION ALL SELECT concat_ws(' ', 'policy', p.polrelid::regclass, p.polname) FROM pg_policy p
    UNION ALL SELECT concat_ws(' ', 'extension', e.extname) FROM pg_extension e
    UNION ALL SELECT concat_ws(' ', 'publication', p.pubname) FROM pg_publication p
    UNION ALL SELECT concat_ws(' ', 'rewrite', r.ev_class::regclass, r.rulename) FROM pg_rewrite r
    UNION ALL SELECT concat_ws(' ', 'statistics', s.stxname) FROM pg_statistic_ext s
    UNION ALL SELECT concat_ws(' ', 'database', d.datname, d.datdba::regrole, x.grantor::regrole, x.grantee::regrole, x.privilege_type)
        FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x WHERE d.datname = current_database()
    UNION ALL SELECT concat_ws(' ', 'database setting', s.setrole, s.setconfig) FROM pg_db_role_setting s
        WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn catalogs(db: &Db) -> Vec<String> {
    let dba = db.client_as(DBA).await;
    let mut rows: Vec<String> = dba
        .query(CATALOGS, &[])
        .await
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    // Members of roles: of the server, so only those that a test may have touched.
    let members = "SELECT concat_ws(' ', 'member', roleid::regrole, member::regrole) FROM pg_auth_members \
                   WHERE roleid = 'nextcloud'::regrole OR member = 'nextcloud'::regrole";
    rows.extend(dba.query(members, &[]).await.unwrap().iter().map(|r| r.get(0)));
    rows.sort();
    rows
}

fn same(before: &[String], after: &[String], what: &str) {
    let left: Vec<_> = after
        .iter()
        .filter(|row| before.binary_search(row).is_err())
        .collect();
    let gone: Vec<_> = before
        .iter()
        .filter(|row| after.binary_search(row).is_err())
        .collect();
    assert!(
        left.is_empty() && gone.is_empty(),
        "{what}: left behind {left:#?}, gone {gone:#?}"
    );
    assert_eq!(before.len(), after.len(), "{what}");
}

async fn psql(db: &Db, file: &str, variables: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(file);
    let mut command = Command::new(db.server().postgres.programs().bin().join("psql"));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    for variable in variables {
        command.args(["-v", variable]);
    }
    let ran = command
        .arg("-f")
        .arg(path)
        .arg(db.url(NEXTCLOUD))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && !errors.contains("ERROR"),
        "{file}: {errors}"
    );
}

/// Everything that may happen while capture is installed: writes, a new table, a rotation, a reader with its rights.
async fn live(db: &Db, role: &str) {
    let client = db.client().await;
    let capture = Capture::start_as(db, role, settings()).await;
    client
        .batch_execute(
            "CREATE TABLE oc_openregister_table_8_8 (_id bigserial PRIMARY KEY, _uuid text); \
             INSERT INTO oc_appconfig (appid, configkey, configvalue) VALUES ('openregister', 'table_version_8_8', 'x'); \
             INSERT INTO oc_openregister_table_8_8 (_uuid) VALUES ('u'); SELECT openregister_webhooks.turn()",
        )
        .await
        .unwrap();
    rows::insert(&client, "oc_openregister_registers").await;
    capture
        .until("the register", |seen| {
            seen.iter().any(|c| c.table.name() == "openregister_registers")
        })
        .await;
    capture.stop().await;
    client
        .batch_execute(
            "DROP TABLE oc_openregister_table_8_8; DELETE FROM oc_appconfig WHERE configkey = 'table_version_8_8'",
        )
        .await
        .unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Program,
    Psql,
    JustDropped,
}

async fn there_and_back(generation: Generation, there: By, back: By, with_role: bool) {
    let what = format!("{generation} {there:?} {back:?} with a role: {with_role}");
    let db = Db::openregister(generation).await;
    let role = db.role("runner").await;
    let dba = db.client_as(DBA).await;
    // The role could read one of the tables before; uninstalling must not revoke that right.
    dba.batch_execute(&format!("GRANT SELECT ON oc_users TO {role}"))
        .await
        .unwrap();
    let before = catalogs(&db).await;
    let runtime_role = with_role.then(|| role.clone());
    let variable = format!("runtime_role={role}");
    let variables: &[&str] = if with_role { &[&variable] } else { &[] };
    for _ in 0..2 {
        match there {
            By::Psql => psql(&db, "install.sql", variables).await,
            _ => {
                let options = InstallOptions {
                    runtime_role: runtime_role.clone(),
                    ..options()
                };
                install(&db, &options).await;
            }
        }
    }
    let missing =
        "SELECT tbl FROM openregister_webhooks.capturable() WHERE NOT (attached AND enabled AND known)";
    assert_eq!(
        db.client().await.query(missing, &[]).await.unwrap().len(),
        0,
        "{what}"
    );
    assert_ne!(catalogs(&db).await, before);
    live(&db, if with_role { &role } else { NEXTCLOUD }).await;
    match back {
        By::Psql => psql(&db, "uninstall.sql", &[]).await,
        By::Program => capture::uninstall(&db.client().await, |_, _| {}).await.unwrap(),
        By::JustDropped => {
            let drop = "DROP SCHEMA openregister_webhooks CASCADE";
            db.client().await.batch_execute(drop).await.unwrap();
        }
    }
    same(&before, &catalogs(&db).await, &what);
}

#[tokio::test]
async fn the_program_leaves_nothing_behind() {
    for generation in Generation::ALL {
        there_and_back(generation, By::Program, By::Program, false).await;
        there_and_back(generation, By::Program, By::Program, true).await;
        there_and_back(generation, By::Program, By::JustDropped, false).await;
    }
}

#[tokio::test]
async fn psql_leaves_nothing_behind() {
    for generation in Generation::ALL {
        there_and_back(generation, By::Psql, By::Psql, false).await;
        there_and_back(generation, By::Psql, By::Psql, true).await;
    }
}

#[tokio::test]
async fn the_program_and_psql_may_be_mixed() {
    there_and_back(Generation::V0_2_13, By::Psql, By::Program, true).await;
    there_and_back(Generation::V0_2_13, By::Program, By::Psql, true).await;
    there_and_back(Generation::V0_2_9, By::Psql, By::JustDropped, false).await;
}

/// An upgrade that has one of the tables must neither fail for our rights nor wait for them.
#[tokio::test]
async fn granting_rights_meets_an_upgrade_half_way() {
    let db = Db::openregister_0_2_13().await;
    let role = db.role("runner").await;
    let upgrade: Client = db.client().await;
    upgrade
        .batch_execute("BEGIN; ALTER TABLE oc_users ADD one integer")
        .await
        .unwrap();
    let mut client = db.client().await;
    let options = InstallOptions {
        runtime_role: Some(role.clone()),
        ..options()
    };
    let installing =
        tokio::spawn(async move { capture::install(&mut client, &options, |_, _| {}).await.unwrap() });
    let dba = db.client_as(DBA).await;
    let waits = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                 WHERE NOT l.granted AND c.relname = 'oc_users' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while dba.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!installing.is_finished(), "it did not need the table");
        tokio::task::yield_now().await;
    }
    // Tables that rights were given on, and one that they were not.
    for table in [
        "oc_accounts",
        "oc_groups",
        "oc_openregister_agents",
        "oc_openregister_sources",
    ] {
        upgrade
            .batch_execute(&format!("ALTER TABLE {table} ADD one integer"))
            .await
            .unwrap();
    }
    upgrade.batch_execute("COMMIT").await.unwrap();
    let installed = installing.await.unwrap();
    assert_eq!(installed.busy, Vec::<String>::new());
    let may = "SELECT has_column_privilege($1, 'oc_users', 'uid', 'SELECT')";
    assert!(dba.query_one(may, &[&role]).await.unwrap().get::<_, bool>(0));
}
