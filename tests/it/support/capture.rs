//! Capture as it runs in production, with a consumer that records what it is given.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use openregister_webhooks::capture::{
    self, BatchTransaction, CaptureSettings, CaptureStatus, Change, Consumer, InstallOptions, Installed, Op,
};
use openregister_webhooks::capture::{DoorbellMode, OutboxLimits};
use openregister_webhooks::database::Database;
use orw_testkit::Generation;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_util::sync::CancellationToken;

use super::postgres::{Db, NEXTCLOUD, connect};
pub(crate) use crate::support::wait::PATIENCE;

/// A captured table for markers: what is written to it last is read last.
pub(crate) const SENTINEL: &str = "oc_openregister_table_999_999";

/// Everything is captured, whatever is registered.
pub(crate) fn options() -> InstallOptions {
    InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: None,
        capture_all: true,
    }
}

/// Creates our schema as it was after the migration `last`, without functions and triggers, which every
/// install replaces.
pub(crate) async fn older_schema(client: &Client, last: i32) {
    let sql = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let begin = "DROP SCHEMA IF EXISTS openregister_webhooks CASCADE";
    client.batch_execute(begin).await.unwrap();
    client
        .batch_execute(&read(sql.join("bootstrap.sql")))
        .await
        .unwrap();
    let files = std::fs::read_dir(sql.join("migrations")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let (version, name) = name.split_once('_').unwrap();
        let version: i32 = version.parse().unwrap();
        if version <= last {
            client.batch_execute(&read(file.clone())).await.unwrap();
            let applied = "INSERT INTO openregister_webhooks.migration (version, name) VALUES ($1, $2)";
            client.execute(applied, &[&version, &name]).await.unwrap();
        }
    }
}

/// Installs as the owner of Nextcloud's tables; panics if a table stayed busy.
pub(crate) async fn install(db: &Db, options: &InstallOptions) -> Installed {
    let mut client = db.client().await;
    let installed = capture::install(&mut client, options, |_, _| {}).await.unwrap();
    assert_eq!(installed.busy, Vec::<String>::new());
    installed
}

/// Removes everything again.
pub(crate) async fn uninstall(db: &Db) {
    capture::uninstall(&db.client().await, |_, _| {}).await.unwrap();
}

/// As in production, except that tables are discovered within a second.
pub(crate) fn settings() -> CaptureSettings {
    CaptureSettings {
        doorbell: DoorbellMode::Notify,
        poll_interval: Duration::from_millis(250),
        discovery_interval: Duration::from_secs(1),
        batch_size: 1000,
        table_prefix: Arc::from("oc_"),
        outbox: OutboxLimits::default(),
    }
}

/// Connections as `role`, as the program makes them.
pub(crate) fn database(db: &Db, role: &str) -> Database {
    let tls = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Database::new(&db.url(role).into(), tls).unwrap()
}

/// Keeps what was committed.
struct Recorder {
    pending: Vec<Change>,
    seen: watch::Sender<Vec<Change>>,
    terms: Arc<AtomicU32>,
}

impl Consumer for Recorder {
    type Error = Infallible;

    fn interrupted(&mut self) {
        self.terms.fetch_add(1, Ordering::Relaxed);
    }

    async fn consume(&mut self, _: &BatchTransaction<'_>, changes: Vec<Change>) -> Result<(), Infallible> {
        self.pending = changes;
        Ok(())
    }

    fn committed(&mut self) {
        let new = std::mem::take(&mut self.pending);
        self.seen.send_modify(|seen| seen.extend(new));
    }
}

/// The reader at work, as the owner of Nextcloud's tables.
pub(crate) struct Capture {
    seen: watch::Receiver<Vec<Change>>,
    /// How often the consumer was told that another process may have read.
    pub(crate) terms: Arc<AtomicU32>,
    status: watch::Receiver<CaptureStatus>,
    /// Losses that the reader has heard of and not stored.
    pub(crate) notices: capture::LossNotices,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    marker: Client,
    marks: AtomicU32,
}

impl Capture {
    pub(crate) async fn start(db: &Db) -> Self {
        Self::start_as(db, NEXTCLOUD, settings()).await
    }

    pub(crate) async fn start_as(db: &Db, role: &str, settings: CaptureSettings) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let (status_sender, status) = watch::channel(CaptureStatus::Away(String::new()));
        let shutdown = CancellationToken::new();
        let terms = Arc::<AtomicU32>::default();
        let recorder = Recorder {
            pending: Vec::new(),
            seen: sender,
            terms: Arc::clone(&terms),
        };
        let notices = capture::LossNotices::default();
        let run = capture::run(
            database(db, role),
            settings,
            recorder,
            status_sender,
            notices.clone(),
            shutdown.clone(),
        );
        let this = Self {
            seen,
            terms,
            status,
            notices,
            shutdown,
            task: tokio::spawn(run),
            marker: connect(&db.url(NEXTCLOUD)).await,
            marks: AtomicU32::new(0),
        };
        this.until_leading().await;
        this
    }

    pub(crate) async fn until_leading(&self) {
        let mut status = self.status.clone();
        let leading = status.wait_for(|status| *status == CaptureStatus::Leading);
        timeout(PATIENCE, leading).await.expect("nobody leads").unwrap();
    }

    /// What was read so far.
    pub(crate) fn seen(&self) -> Vec<Change> {
        self.seen.borrow().clone()
    }

    /// Waits until what was read is as `expected`, and returns it.
    pub(crate) async fn until(&self, what: &str, mut expected: impl FnMut(&[Change]) -> bool) -> Vec<Change> {
        let mut seen = self.seen.clone();
        let waited = timeout(PATIENCE, seen.wait_for(|seen| expected(seen))).await;
        match waited {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("{what} was not read; {} changes were", self.seen().len()),
        }
    }

    /// Everything that was committed before this was called. Needs the table [`SENTINEL`].
    pub(crate) async fn all(&self) -> Vec<Change> {
        let mark = format!("mark-{}", self.marks.fetch_add(1, Ordering::Relaxed));
        let insert = format!("INSERT INTO {SENTINEL} (_uuid) VALUES ($1)");
        self.marker.execute(&insert, &[&mark]).await.unwrap();
        let quoted = format!("\"_uuid\":\"{mark}\"");
        let mut changes = self
            .until("the sentinel", |seen| {
                seen.iter()
                    .any(|c| is_sentinel(c) && c.new.as_ref().is_some_and(|n| n.contains(&quoted)))
            })
            .await;
        changes.retain(|c| !is_sentinel(c));
        changes
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("capture does not stop")
            .unwrap();
    }
}

fn is_sentinel(change: &Change) -> bool {
    SENTINEL.ends_with(change.table.name())
}

/// A database of one generation with capture installed and running.
pub(crate) struct Scene {
    pub(crate) db: Db,
    /// As Nextcloud.
    pub(crate) client: Client,
    pub(crate) capture: Capture,
    /// The captured tables, by their full names.
    pub(crate) tables: Vec<String>,
}

impl Scene {
    pub(crate) async fn new(generation: Generation) -> Self {
        Self::on(Db::openregister(generation).await).await
    }

    pub(crate) async fn on(db: Db) -> Self {
        let client = db.client().await;
        let sentinel = format!("CREATE TABLE {SENTINEL} (_id bigserial PRIMARY KEY, _uuid text)");
        client.batch_execute(&sentinel).await.unwrap();
        let installed = install(&db, &options()).await;
        // So that the sentinel is captured also after capture_all is taken back.
        let webhook = "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) \
                       VALUES (1, 'admin', 'POST', 'https://localhost/', 'ObjectCreatedEvent', '{ObjectCreatedEvent}')";
        client.batch_execute(webhook).await.unwrap();
        let tables: Vec<String> = installed.captured.into_iter().filter(|t| t != SENTINEL).collect();
        assert!(tables.len() >= 12, "{tables:?}");
        let capture = Capture::start(&db).await;
        Self {
            db,
            client,
            capture,
            tables,
        }
    }

    /// What is in the quarantine: table and reason.
    pub(crate) async fn quarantined(&self) -> Vec<(String, String)> {
        let rows = self
            .client
            .query(
                "SELECT tbl, reason FROM openregister_webhooks.quarantine ORDER BY id",
                &[],
            )
            .await
            .unwrap();
        rows.iter().map(|r| (r.get(0), r.get(1))).collect()
    }
}

/// The changes of one table.
pub(crate) fn of<'a>(changes: &'a [Change], table: &str) -> Vec<&'a Change> {
    changes
        .iter()
        .filter(|c| table.strip_prefix("oc_") == Some(c.table.name()))
        .collect()
}

/// The operations of one table's changes.
pub(crate) fn ops(changes: &[Change], table: &str) -> Vec<Op> {
    of(changes, table).iter().map(|c| c.op).collect()
}

/// The audit table's changes are INSERTs alone.
pub(crate) fn is_audit(table: &str) -> bool {
    table.ends_with("_audit_trails")
}

/// Whether the table holds objects, of which an UPDATE without a difference is captured.
pub(crate) fn is_object(table: &str) -> bool {
    table.contains("_table_") || table.ends_with("_objects")
}
