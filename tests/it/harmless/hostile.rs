//! What a session or another role sets up does not reach our functions, which run with their owner's rights.

use openregister_webhooks::capture::{Op, Origin};
use orw_testkit::Generation;
use orw_testkit::writer::{Place, Writer};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::capture::{Scene, install, is_audit, ops, options};
use crate::support::postgres::{DBA, Db, connect};
use crate::support::rows;

/// Functions and operators that somebody may hope to be picked up: each tells who called it, then raises.
const TRAPS: &str = "
    SET search_path = pg_catalog; CREATE SCHEMA traps;
    CREATE TABLE traps.caught (who text, what text);
    GRANT USAGE, CREATE ON SCHEMA traps TO PUBLIC; GRANT INSERT ON traps.caught TO PUBLIC;
    CREATE FUNCTION traps.spring(what text) RETURNS void LANGUAGE plpgsql AS $f$
        BEGIN INSERT INTO traps.caught VALUES (current_user, what); RAISE EXCEPTION 'caught: %', what; END $f$;
    DO $do$
    DECLARE place text; f record;
    BEGIN
        FOREACH place IN ARRAY ARRAY['traps', 'public'] LOOP
            FOR f IN SELECT * FROM (VALUES
                ('row_to_json(record)', 'json'), ('row_to_json(anyelement)', 'json'), ('pg_column_size(anyelement)', 'integer'),
                ('octet_length(text)', 'integer'), ('position(text, text)', 'integer'), ('split_part(text, text, integer)', 'text'),
                ('current_setting(text, boolean)', 'text'), ('set_config(text, text, boolean)', 'text'),
                ('pg_current_wal_insert_lsn()', 'pg_lsn'), ('pg_current_xact_id()', 'xid8'), ('pg_backend_pid()', 'integer'),
                ('clock_timestamp()', 'timestamptz'), ('pg_notify(text, text)', 'void'),
                ('pg_try_advisory_xact_lock_shared(bigint)', 'boolean'), ('starts_with(text, text)', 'boolean'),
                ('starts_with(varchar, text)', 'boolean'),
                ('substr(text, integer)', 'text'), ('substr(varchar, integer)', 'text'), ('format(text, text, text)', 'text'),
                ('to_regclass(text)', 'regclass'), ('length(text)', 'integer')) AS v (signature, answer) LOOP
                EXECUTE format('CREATE FUNCTION %I.%s RETURNS %s LANGUAGE plpgsql AS $t$
                    BEGIN PERFORM traps.spring(%L); RETURN %s; END $t$', place, f.signature, f.answer, f.signature,
                    CASE WHEN f.answer = 'void' THEN '' ELSE 'NULL' END);
            END LOOP;
            EXECUTE format('CREATE FUNCTION %I.tt(text, text) RETURNS boolean LANGUAGE plpgsql AS $t$
                BEGIN PERFORM traps.spring(''text operator''); RETURN true; END $t$', place);
            EXECUTE format('CREATE FUNCTION %I.vu(varchar, text) RETURNS boolean LANGUAGE plpgsql AS $t$
                BEGIN PERFORM traps.spring(''varchar operator''); RETURN true; END $t$', place);
            EXECUTE format('CREATE FUNCTION %I.ii(integer, integer) RETURNS integer LANGUAGE plpgsql AS $t$
                BEGIN PERFORM traps.spring(''integer operator''); RETURN 0; END $t$', place);
            EXECUTE format('CREATE OPERATOR %I.= (FUNCTION = %I.tt, LEFTARG = text, RIGHTARG = text)', place, place);
            EXECUTE format('CREATE OPERATOR %I.= (FUNCTION = %I.vu, LEFTARG = varchar, RIGHTARG = text)', place, place);
            EXECUTE format('CREATE OPERATOR %I.<> (FUNCTION = %I.tt, LEFTARG = text, RIGHTARG = text)', place, place);
            EXECUTE format('CREATE OPERATOR %I.~ (FUNCTION = %I.tt, LEFTARG = text, RIGHTARG = text)', place, place);
            EXECUTE format('CREATE OPERATOR %I.& (FUNCTION = %I.ii, LEFTARG = integer, RIGHTARG = integer)', place, place);
            EXECUTE format('CREATE OPERATOR %I.+ (FUNCTION = %I.ii, LEFTARG = integer, RIGHTARG = integer)', place, place);
            EXECUTE format('CREATE OPERATOR %I.%% (FUNCTION = %I.ii, LEFTARG = integer, RIGHTARG = integer)', place, place);
        END LOOP;
    END $do$";

/// Whether a trap that is set for the session itself works at all.
const PROOF: &str = "SELECT row_to_json(ROW(1))";

#[tokio::test]
async fn hostile_functions_operators_and_search_paths_are_not_picked_up() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let dba = scene.db.client_as(DBA).await;
    dba.batch_execute(TRAPS).await.unwrap();
    // The row's statement is prepared before the session turns hostile.
    let mut insertions = Vec::new();
    for table in &scene.tables {
        let insertion = rows::insertion(&scene.client, table, &rows::token()).await;
        insertions.push(insertion.replace(table, &format!("public.{table}")));
    }
    let session = scene.db.client().await;
    session
        .batch_execute("SET search_path = traps, public, pg_catalog")
        .await
        .unwrap();
    assert!(
        session.batch_execute(PROOF).await.is_err(),
        "the traps are not set"
    );
    for insertion in &insertions {
        session
            .batch_execute(insertion)
            .await
            .unwrap_or_else(|error| panic!("{insertion}: {error:?}"));
    }
    let changes = scene.capture.all().await;
    for table in &scene.tables {
        assert_eq!(ops(&changes, table), [Op::Insert], "{table}");
    }

    // A magic table is hooked in the hostile session.
    let writer = Writer::new(session, Generation::V0_2_13);
    let place = Place {
        register: 7,
        schema: 7,
    };
    let hostile = writer.client();
    hostile
        .batch_execute(
            "CREATE TABLE public.oc_openregister_table_7_7 (_id bigserial PRIMARY KEY, _uuid text)",
        )
        .await
        .unwrap();
    hostile
        .batch_execute("INSERT INTO public.oc_appconfig (appid, configkey, configvalue) VALUES ('openregister', 'table_version_7_7', 'x')")
        .await
        .unwrap();
    hostile
        .batch_execute("INSERT INTO public.oc_openregister_table_7_7 (_uuid) VALUES ('u')")
        .await
        .unwrap();
    let changes = scene.capture.all().await;
    assert_eq!(ops(&changes, &place.table()), [Op::Insert]);
    assert_eq!(changes.last().unwrap().origin, Origin::Live);

    let caught = "SELECT string_agg(DISTINCT who || ' ' || what, ', ') FROM traps.caught";
    let caught: Option<String> = dba.query_one(caught, &[]).await.unwrap().get(0);
    assert_eq!(caught, None);
    scene.capture.stop().await;
}

#[tokio::test]
async fn installing_where_traps_are_set_springs_none() {
    let db = Db::openregister_0_2_13().await;
    db.client_as(DBA).await.batch_execute(TRAPS).await.unwrap();
    install(&db, &options()).await;
    install(&db, &options()).await;
    let client = db.client().await;
    rows::insert(&client, "oc_openregister_sources").await;
    let count: i64 = client
        .query_one("SELECT count(*) FROM openregister_webhooks.change", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn temporary_tables_named_like_ours_and_theirs_change_nothing() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let client = &scene.client;
    let ours = [
        "change",
        "change_0",
        "change_1",
        "change_2",
        "settings",
        "captured_table",
        "position_0",
        "pg_class",
        "pg_trigger",
        "pg_proc",
    ];
    for name in ours {
        client
            .batch_execute(&format!(
                "CREATE TEMP TABLE {name} (one integer); INSERT INTO {name} VALUES (1)"
            ))
            .await
            .unwrap();
    }
    client
        .batch_execute("SET search_path = pg_temp, public, openregister_webhooks")
        .await
        .unwrap();
    for table in &scene.tables {
        let insertion = format!("INSERT INTO public.{table} SELECT * FROM public.{table} WHERE false");
        client.batch_execute(&insertion).await.unwrap();
    }
    let other = scene.db.client().await;
    for table in &scene.tables {
        let insertion = rows::insertion(&other, table, &rows::token()).await;
        client
            .batch_execute(&insertion.replace(table, &format!("public.{table}")))
            .await
            .unwrap();
    }
    let changes = scene.capture.all().await;
    for table in &scene.tables {
        assert_eq!(ops(&changes, table), [Op::Insert], "{table}");
    }
    // A temporary table that hides a captured one belongs to its session; the captured one goes on.
    other
        .batch_execute(
            "CREATE TEMP TABLE oc_openregister_sources (LIKE public.oc_openregister_sources INCLUDING DEFAULTS)",
        )
        .await
        .unwrap();
    rows::insert(&other, "oc_openregister_sources").await;
    assert_eq!(scene.capture.all().await.len(), changes.len());
    scene.capture.stop().await;
}

/// Anybody can set the setting that says which change table a transaction uses.
#[tokio::test]
async fn a_session_that_sets_our_setting_harms_nobody_but_itself() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let table = "oc_openregister_sources";
    for value in ["0", "1", "2", "3", "-1", "nonsense", "''; DROP TABLE x"] {
        let session = scene.db.client().await;
        session
            .execute(
                "SELECT set_config('openregister_webhooks.held', $1, false)",
                &[&value],
            )
            .await
            .unwrap();
        let before = scene.capture.all().await.len();
        rows::insert(&session, table).await;
        session.batch_execute("BEGIN").await.unwrap();
        let id = rows::insert(&session, table).await;
        session.batch_execute("RESET ALL").await.unwrap();
        rows::update(&session, table, id).await;
        session.batch_execute("COMMIT").await.unwrap();
        assert_eq!(scene.capture.all().await.len() - before, 3, "{value}");
    }
    scene.capture.stop().await;
}

/// Values that are small where they lie and enormous as JSON must not fail the write that makes them.
#[tokio::test]
async fn enormous_values_are_written_and_put_aside() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let table = "oc_openregister_table_1_1";
    let client = &scene.client;
    let insert =
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) VALUES ($1, '1', '1', 'x')";
    let enormous = [
        ("300 MB of text", "_description = repeat('x', 300000000)"),
        (
            "300 MB of JSON",
            "_relations = jsonb_build_array(repeat('y', 200000000))",
        ),
        ("escapes", "_description = repeat(E'\\x01', 30000000)"),
        (
            "lists of large numbers",
            "tags = (SELECT jsonb_agg(('1e' || 131000)::numeric) FROM generate_series(1, 9000))",
        ),
        (
            "20 MB that do not compress",
            "_description = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 600000) i)",
        ),
    ];
    for (what, set) in enormous {
        let uuid = rows::token();
        client.execute(insert, &[&uuid]).await.unwrap();
        let update = |set: &str| format!("UPDATE {table} SET {set} WHERE _uuid = '{uuid}'");
        let before = scene.quarantined().await.len();
        client
            .batch_execute(&update(set))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        client
            .batch_execute(&update("_description = NULL, _relations = NULL, tags = NULL"))
            .await
            .unwrap();
        client.batch_execute(&update("age = 3")).await.unwrap();
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE _uuid = '{uuid}'"))
            .await
            .unwrap();
        let changes = scene.capture.all().await;
        let quoted = json!(uuid).to_string();
        let ours: Vec<Op> = changes
            .iter()
            .filter(|c| c.new.as_ref().or(c.old.as_ref()).unwrap().contains(&quoted))
            .map(|c| c.op)
            .collect();
        assert_eq!(ours, [Op::Insert, Op::Update, Op::Delete], "{what}");
        let quarantined = scene.quarantined().await;
        assert_eq!(quarantined.len() - before, 2, "{what}: {quarantined:?}");
        assert!(
            quarantined[before..]
                .iter()
                .all(|(tbl, reason)| tbl == table && reason.contains("row ")),
            "{what}: {quarantined:?}"
        );
    }
    scene.capture.stop().await;
}

/// One enormous row must not keep the table that it lies in from being captured.
#[tokio::test]
async fn a_table_that_appears_with_an_enormous_row_is_captured_all_the_same() {
    let db = Db::openregister_0_2_13().await;
    let scene = Scene::on(db).await;
    let client = &scene.client;
    client
        .batch_execute(
            "BEGIN; CREATE TABLE oc_openregister_table_5_5 (_id bigserial PRIMARY KEY, _uuid text, body jsonb); \
             INSERT INTO oc_openregister_table_5_5 (_uuid, body) VALUES ('small', '{}'); \
             INSERT INTO oc_openregister_table_5_5 (_uuid, body) \
             SELECT 'enormous', jsonb_agg(('1e' || 131000)::numeric) FROM generate_series(1, 9000); COMMIT",
        )
        .await
        .unwrap();
    let attached = "SELECT coalesce(bool_and(attached AND known), false) FROM openregister_webhooks.capturable() \
                    WHERE tbl = 'oc_openregister_table_5_5'";
    until_true(client, attached).await;
    client
        .batch_execute("INSERT INTO oc_openregister_table_5_5 (_uuid) VALUES ('later')")
        .await
        .unwrap();
    let changes = scene.capture.all().await;
    let last = changes.last().unwrap();
    assert!(last.new.as_ref().unwrap().contains("later"), "{last:?}");
    let gaps = "SELECT count(*) FROM openregister_webhooks.gap WHERE tbl = 'oc_openregister_table_5_5'";
    let gaps: i64 = client.query_one(gaps, &[]).await.unwrap().get(0);
    let small = changes
        .iter()
        .any(|c| c.new.as_ref().is_some_and(|n| n.contains("\"small\"")));
    assert!(
        gaps == 1 || small,
        "neither an event nor a gap says what was in it"
    );
    scene.capture.stop().await;
}

async fn until_true(client: &Client, question: &str) {
    let deadline = tokio::time::Instant::now() + crate::support::capture::PATIENCE;
    while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(tokio::time::Instant::now() < deadline, "never true: {question}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dml_role_cannot_act_through_our_functions() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let role = scene.db.role("guest").await;
    let guest = connect(&scene.db.url(&role)).await;
    let functions = scene
        .client
        .query(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'openregister_webhooks'::regnamespace \
             AND has_function_privilege($1, p.oid, 'EXECUTE')",
            &[&role],
        )
        .await
        .unwrap();
    assert_eq!(functions.len(), 0, "{functions:?}");
    for table in scene.tables.iter().filter(|t| !is_audit(t)).take(1) {
        let trigger = format!(
            "CREATE TEMP TABLE mine (LIKE public.{table}); CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW \
             EXECUTE FUNCTION openregister_webhooks.capture('1', 'object')"
        );
        assert!(guest.batch_execute(&trigger).await.is_err());
    }
    scene.capture.stop().await;
}
