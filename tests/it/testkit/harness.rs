//! The private server and its databases: what tests rely on; nothing is left behind.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orw_testkit::Generation;
use orw_testkit::postgres::{Options, PrivatePostgres, Programs};

use crate::support::postgres::{Db, NEXTCLOUD, Server};

#[tokio::test]
async fn databases_are_separate_and_owned_by_an_ordinary_role() {
    let (a, b) = (Db::openregister_0_2_13().await, Db::openregister_0_2_13().await);
    let (on_a, on_b) = (a.client().await, b.client().await);
    on_a.batch_execute("DELETE FROM oc_openregister_registers")
        .await
        .unwrap();
    let count = "SELECT count(*) FROM oc_openregister_registers";
    assert_eq!(on_a.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(on_b.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
    let role = on_a
        .query_one(
            "SELECT rolsuper, has_database_privilege(current_database(), 'CREATE'), \
                    (SELECT bool_and(tableowner = $1) FROM pg_tables WHERE schemaname = 'public') \
             FROM pg_roles WHERE rolname = current_user",
            &[&NEXTCLOUD],
        )
        .await
        .unwrap();
    assert_eq!((role.get(0), role.get(1), role.get(2)), (false, true, true));
}

#[tokio::test]
async fn lastval_gives_the_id_of_the_row_in_every_table_with_a_serial() {
    for generation in Generation::ALL {
        let db = Db::openregister(generation).await;
        let client = db.client().await;
        let key = "INSERT INTO oc_openregister_sources (uuid, title, database_url, type) \
                   VALUES ('u', 't', 'd', 'x') RETURNING id";
        let id: i64 = client.query_one(key, &[]).await.unwrap().get(0);
        let last: i64 = client.query_one("SELECT lastval()", &[]).await.unwrap().get(0);
        assert_eq!(id, last, "{generation}");
    }
}

#[tokio::test]
async fn a_server_of_its_own_restarts_and_recovers() {
    let server = Server::dedicated(Options::default()).await;
    let db = server.openregister(Generation::V0_2_9).await;
    let insert = "INSERT INTO oc_users (uid) VALUES ($1)";
    db.client().await.execute(insert, &[&"kept"]).await.unwrap();
    let postgres = server.postgres.clone();
    tokio::task::spawn_blocking(move || {
        postgres.kill().unwrap();
        postgres.resume().unwrap();
        postgres.restart().unwrap();
    })
    .await
    .unwrap();
    let found = db
        .client()
        .await
        .query("SELECT 1 FROM oc_users WHERE uid = 'kept'", &[])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let postgres = PrivatePostgres::start(Programs::find().unwrap(), Options::default()).unwrap();
    let socket = postgres.socket_dir();
    assert!(socket.join(".s.PGSQL.5432").exists());
    drop(postgres);
    assert!(!socket.parent().unwrap().exists());
}

/// Not a test: the process that the next test kills.
#[test]
#[ignore = "run by nothing_is_left_when_the_process_is_killed, in a process of its own"]
fn hold_a_server() {
    let postgres = PrivatePostgres::start(Programs::find().unwrap(), Options::default()).unwrap();
    println!("holding {}", postgres.socket_dir().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_when_the_process_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "testkit::harness::hold_a_server",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let socket = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("holding ").map(|(_, path)| PathBuf::from(path)))
        .unwrap();
    let dir = socket.parent().unwrap();
    let pid = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    let server = PathBuf::from("/proc").join(pid.lines().next().unwrap());
    assert!(server.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while dir.exists() || server.exists() {
        assert!(Instant::now() < deadline, "{} is still there", dir.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
