//! Programs of others: psql, pgbench, psycopg, tokio-postgres, node-postgres; with TLS and without.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orw_testkit::Generation;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::scene::{Certificate, OPERATOR, READER, url, users};
use crate::support::foreign::{node, python, run, script};
use crate::support::postgres::Db;
use crate::support::receiver::client_config;
use crate::support::scene::Scene;
use crate::support::sidecar::free_port;
use crate::support::skipped::skipped;

const PSYCOPG: &str = "3.3.9";
const NODE_POSTGRES: &str = "8.23.1";
const EVENT: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";

/// The built program with a certificate, and one webhook.
struct Secure {
    scene: Scene,
    address: SocketAddr,
    certificate: Certificate,
}

impl Secure {
    async fn start() -> Self {
        let setup = Scene::on(Db::openregister(Generation::V0_2_13).await);
        let folder = setup.path("");
        let certificate = Certificate::new(&folder);
        let file = folder.join("console-users");
        std::fs::write(&file, users(&Db::empty().await).await).unwrap();
        let address = free_port();
        let path = |path: &Path| path.display().to_string();
        let mut scene = setup
            .with("ORW_CONSOLE_LISTEN", &address.to_string())
            .with("ORW_CONSOLE_USERS_FILE", &path(&file))
            .with("ORW_TLS_CERT_FILE", &path(&certificate.certificate))
            .with("ORW_TLS_KEY_FILE", &path(&certificate.key))
            .installed()
            .await;
        scene
            .json(&[
                "webhook",
                "add",
                "--uri",
                &scene.receiver.url("/hook"),
                "--event",
                EVENT,
                "--json",
            ])
            .await;
        scene.sidecar.start().await;
        Self {
            scene,
            address,
            certificate,
        }
    }

    /// With psql's own form of the connection, and what else it says.
    fn conninfo(&self, user: &str, more: &str) -> String {
        let Self { address, .. } = self;
        format!(
            "host=localhost hostaddr={} port={} dbname=console user={user} {more}",
            address.ip(),
            address.port()
        )
    }

    fn verified(&self) -> String {
        format!(
            "sslmode=verify-full sslrootcert={} channel_binding=require",
            self.certificate.ca.display()
        )
    }

    /// psql, without the settings of whoever runs the tests.
    fn psql(&self, (user, password): (&str, &str), more: &str) -> Command {
        let mut psql = Command::new(program("psql").unwrap());
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &self.conninfo(user, more)])
            .env("PGPASSWORD", password)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        psql
    }

    /// What psql prints for these commands: exit code, standard output, standard error.
    fn script(&self, user: (&str, &str), more: &str, commands: &str) -> (Option<i32>, String, String) {
        let mut psql = self.psql(user, more).spawn().unwrap();
        // Who is refused reads nothing.
        let _ = psql.stdin.take().unwrap().write_all(commands.as_bytes());
        let done = psql.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code(), text(done.stdout), text(done.stderr))
    }
}

/// A client program of PostgreSQL.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = newest.map(|entry| entry.path().join("bin")).collect();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_and_pgbench_work_with_and_without_tls() {
    let secure = Secure::start().await;
    if program("psql").is_none() || program("pgbench").is_none() {
        return skipped(
            "the console with psql and pgbench",
            "they are not installed; run: sudo apt-get install -y postgresql-client postgresql-contrib",
        );
    }
    let verified = secure.verified();
    for (more, shown) in [
        ("sslmode=disable", "console"),
        (verified.as_str(), "SSL connection (protocol: TLSv1.3"),
    ] {
        let (code, out, errors) = secure.script(
            OPERATOR,
            more,
            "\\conninfo\n\\x\nSHOW WEBHOOKS;\n\\x\n\\pset format unaligned\nSHOW VERSION;SHOW LAG;\n",
        );
        assert_eq!(code, Some(0), "{out}{errors}");
        for part in [
            shown,
            "-[ RECORD 1 ]",
            "event ",
            EVENT,
            "version|schema|postgresql",
            "(5 rows)",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
    }
    // Wrong passwords and unknown users, in psql's words.
    let told = |user: &str| {
        let (code, _, errors) = secure.script((user, "wrong"), "sslmode=require", "SHOW VERSION;");
        assert_eq!(code, Some(2), "{errors}");
        errors.replace(user, "")
    };
    assert_eq!(told("op"), told("nobody"));
    watches(&secure);
    for mode in ["extended", "prepared", "simple"] {
        bench(&secure, mode, &verified);
    }
    assert_eq!(
        secure
            .scene
            .count("SELECT count(*) FROM openregister_webhooks.webhook")
            .await,
        1
    );
}

/// `\watch` asks again and again, until psql ends.
fn watches(secure: &Secure) {
    let mut psql = secure.psql(READER, "sslmode=disable").spawn().unwrap();
    let mut stdin = psql.stdin.take().unwrap();
    stdin.write_all(b"SHOW LAG \\watch 0.05\n").unwrap();
    let lines = BufReader::new(psql.stdout.take().unwrap()).lines();
    let answers = lines.map_while(Result::ok).filter(|line| line.contains("outbox"));
    assert_eq!(answers.take(3).count(), 3);
    psql.kill().unwrap();
    psql.wait().unwrap();
}

fn bench(secure: &Secure, mode: &str, more: &str) {
    let file = secure.scene.path("stats.sql");
    std::fs::write(&file, "SHOW STATS;\n").unwrap();
    let done = run(Command::new(program("pgbench").unwrap())
        .args(["-n", "-M", mode, "-c", "4", "-j", "2", "-t", "25", "-f"])
        .arg(&file)
        .arg(secure.conninfo(READER.0, more))
        .env("PGPASSWORD", READER.1));
    let done = done.unwrap();
    assert!(
        done.contains("number of transactions actually processed: 100/100"),
        "{done}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_work() {
    let secure = Secure::start().await;
    // tokio-postgres, bound to the certificate.
    let mut config: tokio_postgres::Config = url(secure.address, READER).parse().unwrap();
    config
        .ssl_mode(SslMode::Require)
        .channel_binding(ChannelBinding::Require);
    let tls = MakeRustlsConnect::new(client_config(&secure.certificate.authority));
    let (client, connection) = config.connect(tls).await.unwrap();
    tokio::spawn(connection);
    let webhooks = client.query("SHOW WEBHOOKS", &[]).await.unwrap();
    assert_eq!(webhooks[0].get::<_, &str>("event"), EVENT);
    match python("psycopg", "[binary]", PSYCOPG) {
        Ok(python) => {
            let conninfo = secure.conninfo(READER.0, &format!("{} password={}", secure.verified(), READER.1));
            let said = run(Command::new(python).arg(script("console.py")).arg(conninfo));
            assert_eq!(said.as_deref(), Ok("ok"));
        }
        Err(reason) => skipped("the console with psycopg of PyPI", &reason),
    }
    match node("pg", NODE_POSTGRES) {
        Ok(packages) => {
            let (user, password) = READER;
            let connection = format!(
                "postgres://{user}:{password}@localhost:{}/console",
                secure.address.port()
            );
            let mut node = Command::new("node");
            let said = run(node.arg(script("console.mjs")).arg(packages).arg(connection));
            assert_eq!(said.as_deref(), Ok("ok"));
        }
        Err(reason) => skipped("the console with pg of npm", &reason),
    }
}
