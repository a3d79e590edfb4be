//! The console within the test's process, on a database of its own; and the users that tests log in as.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use openregister_webhooks::console::{ALPN, Console, ConsoleUser, Context, Limits, ShownSettings};
use openregister_webhooks::database::Database;
use openregister_webhooks::delivery::Feed;
use openregister_webhooks::listener_tls::ListenerTls;
use openregister_webhooks::registry::{Defaults, Registry};
use openregister_webhooks::traces::Traces;
use orw_egress::{Client, Guard, Outgoing};
use orw_testkit::Generation;
use orw_testkit::certificate::{Authority, Flaw};
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::capture::{install, options};
use crate::support::cli::hash_password;
use crate::support::postgres::{DBA, Db, NEXTCLOUD, PASSWORD};
use crate::support::scene::Scene;
use crate::support::sidecar::{MASTER_KEY, free_port};

/// In clear.
pub(super) const OPERATOR: (&str, &str) = ("op", "op:password");
/// As PostgreSQL stores the password.
pub(super) const READER: (&str, &str) = ("reader", PASSWORD);
/// As `hash-password` makes it.
pub(super) const HASHED: (&str, &str) = ("hashed", "p\u{e4}ssword");

/// A console that is served until it is dropped.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    _db: Db,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

/// A certificate for localhost.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) authority: Authority,
}

impl Certificate {
    pub(super) fn new(folder: &Path) -> Self {
        let authority = Authority::new().unwrap();
        let leaf = authority.leaf(&["localhost"], Flaw::None).unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            certificate: put("console-cert.pem", leaf.certificate_pem()),
            key: put("console-key.pem", &leaf.key_pem()),
            ca: put("console-ca.pem", &authority.pem()),
            authority,
        }
    }
}

/// What `ORW_CONSOLE_USERS_FILE` holds in tests.
pub(super) async fn users(db: &Db) -> String {
    let role = db.role("stored").await;
    let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = $1";
    let row = db.client_as(DBA).await.query_one(sql, &[&role]).await.unwrap();
    let stored: String = row.get(0);
    assert!(stored.starts_with("SCRAM-SHA-256$"), "{stored}");
    let asked = ["--scram", HASHED.0, "--role", "operator"];
    let (code, hashed, said) = hash_password(&asked, HASHED.1);
    assert_eq!(code, 0, "{said}");
    format!(
        "# users\n{}:{}:operator\n{}:{stored}\n{hashed}",
        OPERATOR.0, OPERATOR.1, READER.0
    )
}

impl Served {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    /// With these limits.
    pub(super) async fn with(limits: Limits) -> Self {
        let db = Db::openregister(Generation::V0_2_13).await;
        install(&db, &options()).await;
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::new(folder.path());
        let tls = orw_egress::client_config(None).unwrap();
        let database = Database::new(&db.url(NEXTCLOUD).into(), tls.clone()).unwrap();
        let pool = database.pool(3).unwrap();
        let key = SecretString::from(MASTER_KEY);
        let registry = Registry::open(pool.clone(), Some(&key), Defaults::default())
            .await
            .unwrap();
        let context = Context {
            registry,
            pool,
            client: Client::new(Outgoing::new(Guard::new(Vec::new(), false), tls)),
            settings: ShownSettings::default(),
            feed: Feed::default(),
            traces: Traces::default(),
        };
        let listener = ListenerTls::load_for(&certificate.certificate, &certificate.key, ALPN).unwrap();
        let users = ConsoleUser::parse_all(&users(&db).await).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let console = Console::bind(any, &users, Some(&key), Some(listener), limits, context)
            .await
            .unwrap();
        let address = console.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(console.serve(stop.clone()));
        Self {
            address,
            authority: certificate.authority,
            _db: db,
            _folder: folder,
            _stop: stop.drop_guard(),
        }
    }
}

/// A scene with the console of the built program, without TLS; and its address.
pub(super) async fn process() -> (Scene, SocketAddr) {
    let setup = Scene::on(Db::openregister(Generation::V0_2_13).await).fast();
    let address = free_port();
    let file = setup.path("console-users");
    let db = Db::empty().await;
    std::fs::write(&file, users(&db).await).unwrap();
    let scene = setup
        .with("ORW_CONSOLE_LISTEN", &address.to_string())
        .with("ORW_CONSOLE_USERS_FILE", &file.display().to_string())
        .installed()
        .await;
    (scene, address)
}

/// The connection string of a user of the console.
pub(super) fn url(address: SocketAddr, (user, password): (&str, &str)) -> String {
    let password = password.replace(':', "%3A");
    format!(
        "postgres://{user}:{password}@localhost:{}/console?hostaddr={}",
        address.port(),
        address.ip()
    )
}
