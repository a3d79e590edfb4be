//! Other people's clients, and the commands of the README, against the built program.

use std::path::Path;

use serde_json::{Value, json};

use crate::manual::page::{Page, Step};
use crate::proxy::THEIRS;
use crate::support::api::installed;
use crate::support::nextcloud::Nextcloud;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::{ADMIN, Sidecar};
use crate::support::skipped::skipped;

/// The `curl` commands of the README for a sidecar on the same machine.
fn curls() -> Vec<String> {
    let page = Page::parse("README.md", include_str!("../../../README.md")).unwrap();
    let blocks = page.steps.iter().filter_map(|step| match step {
        Step::Block(block) => Some(block.text.as_str()),
        Step::Now { .. } => None,
    });
    let commands = blocks.flat_map(|block| block.split("\n\n"));
    let ours = commands.filter(|command| command.starts_with("curl ") && !command.contains("docker/"));
    ours.map(ToOwned::to_owned).collect()
}

/// Runs a command of the README in this folder, with this host in place of the README's, and with the password that curl asks for.
async fn type_in(command: &str, folder: &Path, address: std::net::SocketAddr) -> String {
    let typed = command
        .replace("127.0.0.1:8085", &address.to_string())
        .replace("-u admin", &format!("-u {}:{}", ADMIN.0, ADMIN.1));
    assert!(
        typed.contains(&address.to_string()) && typed.contains(ADMIN.1),
        "{typed}"
    );
    let done = tokio::process::Command::new("sh")
        .args(["-c", &format!("{typed} --silent --show-error --fail-with-body")])
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        done.status.success(),
        "{typed}: {}{}",
        told(&done.stdout),
        told(&done.stderr)
    );
    told(&done.stdout)
}

async fn manual(mut sidecar: Sidecar) {
    sidecar.start().await;
    let [create, list, delete] = &curls()[..] else {
        panic!("the README holds three commands: {:?}", curls())
    };
    let listen = sidecar.listen;
    // As step 2 makes it.
    let folder = tempfile::tempdir().unwrap();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";
    std::fs::write(folder.path().join("receiver-secret"), secret).unwrap();
    let type_in = async |command| type_in(command, folder.path(), listen).await;
    let made = type_in(create).await;
    assert!(
        made.contains("<statuscode>200</statuscode>")
            && made.contains("<id>1000000000</id>")
            && made.contains(r"<event>OCA\OpenRegister\Event\ObjectCreatedEvent</event>"),
        "{made}"
    );
    let listed = type_in(list).await;
    assert!(
        listed.contains("<uri>http://127.0.0.1:9000/hook</uri>"),
        "{listed}"
    );
    let gone = type_in(delete).await;
    assert!(gone.contains("<data>1</data>"), "{gone}");
    let listed = type_in(list).await;
    assert!(listed.contains("<data/>"), "{listed}");
}

fn sidecar(db: &Db) -> Sidecar {
    Sidecar::new(&db.url(NEXTCLOUD), Path::new(""))
        .without("ORW_CA_FILE")
        .with("ORW_TARGETS_ALLOW_HTTP", "true")
}

#[tokio::test]
async fn the_manuals_commands_work_as_they_are() {
    let db = installed().await;
    manual(sidecar(&db)).await;
}

#[tokio::test]
async fn the_manuals_commands_work_before_nextcloud() {
    let nextcloud = Nextcloud::start().await;
    let db = installed().await;
    let sidecar = sidecar(&db)
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url())
        .without("ORW_ADMINS");
    manual(sidecar).await;
    assert!(nextcloud.webhooks().is_empty());
}

/// `scripts/test.sh` names a Python that has nc-py-api from PyPI, where PyPI can be reached.
async fn nc_py_api(address: std::net::SocketAddr, theirs: &[&str]) {
    let Ok(python) = std::env::var("ORW_NC_PY_API_PYTHON") else {
        skipped(
            "requests of nc-py-api",
            "ORW_NC_PY_API_PYTHON names no Python that has it; scripts/test.sh needs python3 with venv, and PyPI",
        );
        return;
    };
    let output = tokio::process::Command::new(python)
        .args(["-c", include_str!("../../fixtures/nc_py_api.py")])
        .args([&format!("http://{address}"), ADMIN.0, ADMIN.1])
        .args(theirs)
        .output()
        .await
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(told(&output.stdout), "ok\n", "{}", told(&output.stderr));
}

#[tokio::test]
async fn nc_py_api_works_unmodified() {
    let db = installed().await;
    let mut sidecar = sidecar(&db);
    sidecar.start().await;
    nc_py_api(sidecar.listen, &[]).await;
}

#[tokio::test]
async fn nc_py_api_works_unmodified_before_nextcloud() {
    let nextcloud = Nextcloud::start().await;
    let db = installed().await;
    let mut sidecar = sidecar(&db)
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url())
        .without("ORW_ADMINS");
    sidecar.start().await;
    nc_py_api(sidecar.listen, &[THEIRS]).await;
    // What reached the stand-in was about the other app's event only.
    let seen = nextcloud.take_seen();
    let changes = seen.iter().filter(|seen| seen.method != "GET");
    if std::env::var_os("ORW_NC_PY_API_PYTHON").is_some() {
        assert_eq!(changes.count(), 4, "{seen:?}");
    }
}

/// Requests made up from the OpenAPI document, in both formats. `scripts/test_api.sh` names the program.
#[tokio::test]
#[ignore = "needs schemathesis, named by ORW_SCHEMATHESIS: make test-api"]
async fn no_request_from_the_document_is_answered_outside_of_it() {
    let program = std::env::var("ORW_SCHEMATHESIS").expect("ORW_SCHEMATHESIS");
    let examples = std::env::var("ORW_SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "30".to_owned());
    let db = installed().await;
    // Nothing that is sent to made-up receivers leaves this machine.
    let mut sidecar = sidecar(&db).with("ORW_BIND_ADDRESS", "127.0.0.1");
    sidecar.start().await;
    // The webhook that the document's example is about; it stays until it may be removed.
    let example = json!({"uri": "https://127.0.0.1:1/hook", "event": "*"});
    assert_eq!(sidecar.register(example).await, 1_000_000_000);
    for (format, more) in [
        ("application/json", &["--exclude-method", "DELETE"][..]),
        ("application/json", &[]),
        ("application/xml", &[]),
    ] {
        let output = tokio::process::Command::new(&program)
            .args(["run", concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json")])
            .args(["--url", &format!("http://{}", sidecar.listen)])
            .args(["--auth", &format!("{}:{}", ADMIN.0, ADMIN.1), "--no-color", "--seed", "1"])
            .args(["--header", &format!("Accept: {format}")])
            .args([
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            ])
            .args(["--max-examples", &examples])
            .args(more)
            .output()
            .await
            .unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        println!("{format}:\n{}", told(&output.stdout));
        assert!(
            output.status.success(),
            "{format}: {}\n{}",
            told(&output.stdout),
            told(&output.stderr)
        );
    }
}

#[tokio::test]
async fn no_secret_is_dumped_or_logged() {
    let receiver = crate::support::receiver::https().await;
    let mut nextcloud = Nextcloud::start().await;
    let db = installed().await;
    let folder = tempfile::tempdir().unwrap();
    let (ca, log) = (folder.path().join("ca.pem"), folder.path().join("log"));
    std::fs::write(&ca, receiver.ca_pem()).unwrap();
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), &ca)
        .with("ORW_NEXTCLOUD_URL", &nextcloud.url())
        .with("ORW_LOG", "trace")
        .without("ORW_ADMINS")
        .logging_to(&log);
    sidecar.start().await;
    let signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let hidden = json!({"uri": receiver.url("/hook?token=hidden-in-uri"), "secret": signing,
        "event": "*", "authMethod": "header",
        "authData": {"Authorization": "Bearer hidden-auth"}, "headers": {"X-Api-Key": "hidden-header"}});
    let id = sidecar.register(hidden.clone()).await;
    // What HTTP cannot carry is warned of, with the receiver's name and no more.
    let mut odd = hidden;
    odd["headers"] = json!({"X(Odd)": "hidden-header"});
    sidecar.register(odd).await;
    // Callers of every kind, right and wrong, on our routes and through to Nextcloud.
    let bearer = format!("Bearer {}", Nextcloud::BEARER);
    let cookie = format!("{}; other=hidden-cookie", Nextcloud::SESSION.0);
    for (path, more) in [
        (
            format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{id}"),
            "hidden-query",
        ),
        (
            "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks".to_owned(),
            "hidden-query",
        ),
        ("/index.php/apps/files".to_owned(), "hidden-query"),
        ("/index.php/s/hidden-share".to_owned(), "hidden-query"),
        (
            "/ocs/v2.php/apps/spreed/api/v4/room/hidden-share".to_owned(),
            "hidden-query",
        ),
        ("/websocket".to_owned(), "hidden-query"),
    ] {
        for (name, value) in [
            ("Authorization", bearer.as_str()),
            ("Authorization", "Basic aGlkZGVuOmhpZGRlbi1wYXNzd29yZA=="),
            ("Cookie", cookie.as_str()),
        ] {
            let request = format!(
                "GET {path}?x={more} HTTP/1.1\r\nHost: c\r\nOCS-APIRequest: true\r\n{name}: {value}\r\n\
                 requesttoken: {}\r\nConnection: close\r\n\r\n",
                Nextcloud::SESSION.1
            );
            crate::proxy::exchange(sidecar.listen, &request).await;
        }
    }
    // And a delivery that carries the webhook's own.
    let client = db.client().await;
    crate::support::rows::insert(&client, "oc_openregister_sources").await;
    receiver
        .wait_for(1, crate::support::wait::PATIENCE)
        .await
        .unwrap();
    nextcloud.kill().await;
    sidecar.api("GET", "/ocs/v2.php/cloud/user", Value::Null).await;
    sidecar.terminate().await;

    let bin = db.server().postgres.programs().bin().to_owned();
    let url = db.url(crate::support::postgres::DBA);
    let dump = tokio::process::Command::new(bin.join("pg_dump"))
        .args(["--dbname", &url])
        .output()
        .await
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        dump.contains("hidden-in-uri") && dump.len() > 10_000,
        "the dump is one"
    );
    assert!(
        log.contains("DEBUG") && log.contains("answered"),
        "the log tells all that it can"
    );
    for told in [
        "a webhook is registered with a header that HTTP cannot carry",
        "X(Odd)",
    ] {
        assert!(log.contains(told), "{told}");
    }
    for token in ["hidden-in-uri", "hidden-share"] {
        assert!(!log.contains(token), "{token} is in the log");
    }
    let basic = "YWRtaW46YWRtaW4tcGFzc3dvcmQ=";
    for secret in [
        signing,
        &signing[6..],
        "hidden-auth",
        "hidden-header",
        "hidden-cookie",
        "hidden-password",
        "aGlkZGVuOmhpZGRlbi1wYXNzd29yZA",
        "hidden-query",
        ADMIN.1,
        basic,
        Nextcloud::BEARER,
        "s3ss10n",
        Nextcloud::SESSION.1,
        crate::support::sidecar::MASTER_KEY,
    ] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for (place, text) in [("the dump", &dump), ("the log", &log)] {
            let at = text.find(secret).or_else(|| text.find(&hex));
            let around = at.map(|at| text[..at].lines().last().unwrap_or_default().to_owned());
            assert_eq!(around, None, "{secret} is in {place}");
        }
    }
}
