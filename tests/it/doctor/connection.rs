//! If there is no connection, `doctor` names the reason and its remedy.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use openregister_webhooks::doctor::{Level, Report};
use orw_testkit::Generation;
use orw_testkit::certificate::{Authority, Flaw, Leaf};
use orw_testkit::postgres::Options;

use super::common::{assert_says, examine, examine_trusting, only_error};
use crate::support::cli::Cli;
use crate::support::postgres::{DBA, NEXTCLOUD, PASSWORD, Server, connect};
use crate::support::sidecar::free_port;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn each_reason_for_no_connection_is_its_own() {
    let server = Server::dedicated(Options {
        tcp: true,
        ..Options::default()
    })
    .await;
    let db = server.openregister(Generation::V0_2_13).await;
    let good = server.postgres.tcp_url(NEXTCLOUD, PASSWORD, db.name());
    assert_eq!(examine(&good, |_| {}).await.findings[0].level, Level::Ok);

    let wrong = server.postgres.tcp_url(NEXTCLOUD, "not-the-secret", db.name());
    let report = examine(&wrong, |_| {}).await;
    assert_says(
        only_error(&report),
        "does not accept nextcloud with this password",
        "password authentication failed",
        "ALTER ROLE nextcloud PASSWORD",
    );
    let text = format!("{report:?}{}", report.json());
    assert!(!text.contains("not-the-secret"), "{text}");
    let cli = Cli::new(&wrong).run(&["install"]).await;
    assert_eq!(cli.code, 1, "{cli:?}");
    assert!(
        cli.err.contains("remedy") && !cli.err.contains("not-the-secret"),
        "{cli:?}"
    );

    let none = wrong.replace(":not-the-secret", "");
    assert_says(
        only_error(&examine(&none, |_| {}).await),
        "demands a password",
        "password missing",
        "ORW_DATABASE_URL",
    );
    let nobody = server.postgres.tcp_url("nobody_at_all", "x", db.name());
    assert_says(
        only_error(&examine(&nobody, |_| {}).await),
        "does not accept nobody_at_all",
        "password authentication failed",
        "correct user and password",
    );
    let elsewhere = server.postgres.tcp_url(NEXTCLOUD, PASSWORD, "no_such_database");
    assert_says(
        only_error(&examine(&elsewhere, |_| {}).await),
        "there is no database no_such_database",
        "does not exist",
        "psql -l",
    );
    let secure = format!("{good}?sslmode=require");
    assert_says(
        only_error(&examine(&secure, |_| {}).await),
        "does not speak TLS",
        "TLS",
        "ssl = on",
    );

    let port = free_port().port();
    let closed = format!("postgres://nextcloud:x@127.0.0.1:{port}/nextcloud");
    assert_says(
        only_error(&examine(&closed, |_| {}).await),
        "nothing accepts connections",
        "refused",
        "listen_addresses",
    );
    let unknown = "postgres://nextcloud:x@db.invalid/nextcloud";
    assert_says(
        only_error(&examine(unknown, |_| {}).await),
        "no such host",
        "",
        "correct the host",
    );
    let socket = "postgres://nextcloud@/nextcloud?host=/nonexistent";
    assert_says(
        only_error(&examine(socket, |_| {}).await),
        "there is no socket",
        "",
        "unix_socket_directories",
    );
}

/// Gives a running server this certificate.
async fn show_certificate(server: &Server, leaf: &Leaf) {
    let dir = server.postgres.socket_dir();
    let owner = std::fs::metadata(&dir).unwrap();
    for (name, text) in [
        ("crt", leaf.certificate_pem().to_owned()),
        ("key", leaf.key_pem()),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let dba = connect(&server.postgres.url(DBA, "postgres")).await;
    for (name, value) in [
        ("ssl_cert_file", dir.join("crt")),
        ("ssl_key_file", dir.join("key")),
    ] {
        let set = format!("ALTER SYSTEM SET {name} = '{}'", value.display());
        dba.batch_execute(&set).await.unwrap();
    }
    dba.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    dba.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

/// Examines until the server shows its new certificate: a reload takes effect a moment later.
async fn examine_until(url: &str, ca_file: &Path, what: &str) -> Report {
    let began = Instant::now();
    loop {
        let report = examine_trusting(url, ca_file).await;
        let text = format!("{report:?}");
        if text.contains(what) {
            return report;
        }
        assert!(began.elapsed() < PATIENCE, "no {what}: {report:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_fault_of_tls_and_of_pg_hba_conf_is_its_own() {
    let files = tempfile::tempdir().unwrap();
    let rules = files.path().join("pg_hba.conf");
    std::fs::write(
        &rules,
        "local all all trust\nhost all rejected 127.0.0.1/32 reject\nhostssl all nextcloud 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::dedicated(Options {
        tcp: true,
        settings: vec![("hba_file".to_owned(), rules.display().to_string())],
        ..Options::default()
    })
    .await;
    let db = server.openregister(Generation::V0_2_13).await;
    let url = |role: &str, mode: &str| {
        format!(
            "{}?sslmode={mode}",
            server.postgres.tcp_url(role, PASSWORD, db.name())
        )
    };
    let plain = examine(&url(NEXTCLOUD, "disable"), |_| {}).await;
    assert_says(
        only_error(&plain),
        "admits nobody from this machine as nextcloud",
        "no pg_hba.conf entry",
        "add a line",
    );
    let remedy = only_error(&plain).remedy.as_deref().unwrap();
    assert!(remedy.contains("sslmode=require"), "{remedy}");
    let rejected = examine(&url("rejected", "disable"), |_| {}).await;
    assert_says(
        only_error(&rejected),
        "admits nobody",
        "pg_hba.conf rejects",
        "`reject`",
    );

    let authority = Authority::new().unwrap();
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let url = url(NEXTCLOUD, "require");
    show_certificate(&server, &authority.leaf(&["127.0.0.1"], Flaw::None).unwrap()).await;
    examine_until(&url, &ca, "connected to").await;
    let unknown = examine(&url, |_| {}).await;
    assert_says(
        only_error(&unknown),
        "TLS with",
        "authority is not known here",
        "ORW_CA_FILE",
    );
    show_certificate(&server, &authority.leaf(&["127.0.0.1"], Flaw::WrongName).unwrap()).await;
    let wrong = examine_until(&url, &ca, "not valid for").await;
    assert_says(
        only_error(&wrong),
        "TLS with",
        "somewhere-else.invalid",
        "by a name that is in",
    );
    show_certificate(&server, &authority.leaf(&["127.0.0.1"], Flaw::Expired).unwrap()).await;
    let expired = examine_until(&url, &ca, "expired").await;
    assert_says(only_error(&expired), "TLS with", "expired", "renew");
    // As Debian's package sets it up: a certificate that signed itself.
    show_certificate(
        &server,
        &authority.leaf(&["127.0.0.1"], Flaw::SelfSigned).unwrap(),
    )
    .await;
    let own = examine_until(&url, &ca, "is self-signed").await;
    assert_says(only_error(&own), "TLS with", "is self-signed", "sslmode=disable");
    let text = format!("{plain:?}{rejected:?}{unknown:?}{wrong:?}{expired:?}{own:?}");
    assert!(!text.contains(PASSWORD), "{text}");
}
