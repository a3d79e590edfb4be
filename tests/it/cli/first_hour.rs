//! What containers, packages and the first hour rely on: `health`, `hash-password`, `ORW_INSTALL_AT_START`.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::cli::{Cli, hash_password};
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::{ADMIN, Sidecar, free_port};

#[tokio::test]
async fn one_container_installs_runs_and_knows_the_hashed_password() {
    let (code, entry, _) = hash_password(&[ADMIN.0], &format!("{}\n", ADMIN.1));
    assert_eq!(code, 0);
    let db = Db::openregister_0_2_13().await;
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), Path::new(""))
        .without("ORW_CA_FILE")
        .with("ORW_ADMINS", entry.trim())
        // A secret as Nextcloud All-in-One makes it.
        .with("ORW_MASTER_KEY", &"5e".repeat(24))
        .with("ORW_INSTALL_AT_START", "true");
    for _ in 0..2 {
        sidecar.start().await;
        let fields = json!({"uri": "https://example.com/hook", "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent"});
        sidecar.register(fields).await;
        assert_eq!(sidecar.terminate().await, Some(0));
    }
    let other = sidecar.with("ORW_MASTER_KEY", &"5f".repeat(24));
    let (code, _, said) = other.cli(&["webhook", "list"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("ORW_MASTER_KEY"), "{said}");
}

#[test]
fn a_password_is_read_from_standard_input_and_never_from_an_argument() {
    let (code, hash, _) = hash_password(&[], "secret\n");
    assert_eq!(code, 0);
    assert!(
        hash.starts_with("$argon2id$") && hash.lines().count() == 1,
        "{hash}"
    );
    let (code, out, said) = hash_password(&["admin", "--password", "secret"], "");
    assert!(code == 2 && out.is_empty(), "{said}");
    let (code, out, said) = hash_password(&["admin"], "");
    assert!(code == 2 && out.is_empty() && said.contains("empty"), "{said}");

    // For the console, which reads its own hashes.
    let (code, hash, _) = hash_password(&["--scram"], "secret\n");
    assert!(code == 0 && hash.starts_with("SCRAM-SHA-256$4096:"), "{hash}");
    let (_, line, _) = hash_password(&["--scram", "ann", "--role", "operator"], "secret\n");
    assert!(
        line.starts_with("ann:SCRAM-SHA-256$") && line.ends_with(":operator\n"),
        "{line}"
    );
    for wrong in [
        &["ann", "--role", "operator"][..],
        &["--scram", "--role", "operator"],
        &["--scram", "ann", "--role", "admin"],
        &["--scram", &"a".repeat(129)],
    ] {
        let (code, out, said) = hash_password(wrong, "secret\n");
        assert!(code == 2 && out.is_empty() && !said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn health_answers_by_its_exit_code_and_needs_no_secret() {
    let db = Db::openregister_0_2_13().await;
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), Path::new(""))
        .without("ORW_CA_FILE")
        .with("ORW_INSTALL_AT_START", "true");
    let asked = Cli::new("").with("ORW_METRICS_LISTEN", &sidecar.metrics.to_string());
    let said = asked.run(&["health"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    sidecar.start().await;
    let said = asked.run(&["health"]).await;
    assert_eq!((said.code, said.out.trim()), (0, "leading"), "{said:?}");
    let said = asked.run(&["health", "--live"]).await;
    assert_eq!((said.code, said.out.trim()), (0, "ok"), "{said:?}");
    sidecar.terminate().await;

    let listener = TcpListener::bind(free_port()).await.unwrap();
    let asked = Cli::new("").with("ORW_METRICS_LISTEN", &listener.local_addr().unwrap().to_string());
    let answering = tokio::spawn(async move {
        for answer in ["503 Service Unavailable", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 512];
            let read = stream.read(&mut head).await.unwrap();
            assert!(head[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            if answer.is_empty() {
                // Open until the other side gives up.
                assert_eq!(stream.read(&mut head).await.unwrap_or(0), 0);
                return;
            }
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 18\r\n\r\nheld: \x1b[2J restored");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let said = asked.run(&["health"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.starts_with("held: ") && !said.out.contains('\x1b'),
        "{said:?}"
    );
    let said = asked.run(&["health"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    answering.await.unwrap();

    let said = Cli::new("").run(&["health"]).await;
    assert!(
        said.code == 2 && said.err.contains("ORW_METRICS_LISTEN: is not set"),
        "{said:?}"
    );
}
