//! The sidecar as a whole: everything is made here, started, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capture::{self, CaptureSettings, CaptureStatus};
use crate::config::{Doorbell, Settings};
use crate::db::{Database, DbError};
use crate::delivery::{self, Client, Dispatcher, Guard, Outgoing, partitions};
use crate::doctor;
use crate::lifecycle::{Host, Lifecycle, LifecycleSettings};
use crate::measure::{self, Measured};
use crate::ocs::{
    Api, AuthError, Authenticator, Callers, ListenerTls, Server, Standalone, TlsFileError, Work,
};
use crate::pipeline::jobs::{Runner, RunnerSettings};
use crate::pipeline::{ActivityFinder, Pipeline, Registered};
use crate::proxy::{BadUrl, Proxy, Upstream};
use crate::registry::{Defaults, NoRandom, Registry, RegistryError};
use crate::telemetry::{self, Health, Metrics};

/// Connections in the pool that the API and everything but delivery share.
const POOL: usize = 21;
/// Connections for delivery alone: whatever the API is asked for, events are read and outcomes written.
const DELIVERY_POOL: usize = 3;
/// How often partitions are made and dropped.
const PARTITIONS: Duration = Duration::from_secs(3600);
/// How long the parts may take to end.
const ENDING: Duration = Duration::from_secs(20);

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Tls(#[from] delivery::tls::TlsError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Nextcloud(#[from] BadUrl),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error(transparent)]
    ListenerTls(#[from] TlsFileError),
    #[error(
        "cannot listen on {address}: {source}; set ORW_LISTEN or ORW_METRICS_LISTEN to an address of this machine that is free"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "a transaction-pooling PgBouncer sits between this machine and the database: give the server itself (its own port, usually 5432) \
         with ORW_DATABASE_URL, or set ORW_DOORBELL=poll"
    )]
    Pooled,
    #[error(
        "the PgBouncer between this machine and the database does not keep prepared statements: set its max_prepared_statements (1.21 or \
         later), or give the server itself with ORW_DATABASE_URL"
    )]
    PooledStatements,
    #[error("the routes contradict each other: {0}")]
    Routes(#[from] matchit::InsertError),
}

/// Runs until `shutdown`, then ends: no new work, what is in flight is finished or handed back.
///
/// # Errors
/// Where something that it needs at start is missing; once it runs, it waits for what goes away.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), RunError> {
    let tls = delivery::tls::client_config(settings.ca_file.as_deref())?;
    let database = Database::new(&settings.database_url, tls.clone())?;
    match (doctor::pooling(&database).await?, settings.doorbell) {
        (doctor::Pooling::None, _) | (doctor::Pooling::KeepsStatements, Doorbell::Poll) => {}
        (doctor::Pooling::ForgetsStatements, Doorbell::Poll) => return Err(RunError::PooledStatements),
        (_, Doorbell::Notify) => return Err(RunError::Pooled),
    }
    let pool = database.pool(POOL)?;
    let delivery_metrics = delivery::Metrics::default();
    let measured = Measured::default();
    let metrics = Metrics::with(|registry| {
        delivery_metrics.register(registry);
        measured.register(registry);
    });
    let defaults = Defaults {
        limits: settings.default_limits,
        retry: settings.default_retry.clone(),
    };
    let registry = Registry::open(pool.clone(), settings.master_key.as_ref(), defaults).await?;
    let nextcloud_tls = tls.clone();
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    for proxy in settings.proxies.shown() {
        tracing::info!("{proxy}");
    }
    let client = Client::new(Outgoing::of(&settings, tls));

    let (status, capture_status) = watch::channel(CaptureStatus::Away("starting".into()));
    let health = Health::new(metrics.clone(), capture_status.clone());
    let mut parts = JoinSet::new();

    if let Some(address) = settings.metrics_listen {
        let listener = listen(address).await?;
        parts.spawn(telemetry::serve(listener, health.clone(), shutdown.clone()));
    }
    let authenticator = authenticator(&settings, nextcloud_tls)?;
    let table_prefix: Arc<str> = settings.table_prefix.as_str().into();
    let api = Api::new(Arc::clone(&registry), Arc::new(guard), authenticator)?.with_work(Work {
        pool: pool.clone(),
        client: client.clone(),
        table_prefix: Arc::clone(&table_prefix),
    });
    let server = Server::bind(settings.listen, settings.trusted_proxies.clone())
        .await
        .map_err(|source| RunError::Listen {
            address: settings.listen,
            source,
        })?;
    let server = match &settings.tls {
        None => server,
        Some((certificate, key)) => {
            let tls = ListenerTls::load(certificate, key)?;
            let (watched, stop) = (Arc::clone(&tls), shutdown.clone());
            parts.spawn(async move { watched.watch(stop).await });
            server.with_tls(tls)
        }
    };
    parts.spawn(server.serve(Arc::new(api), shutdown.clone()));

    let wake = delivery::Wake::default();
    let host = || Host::new(database.clone(), settings.doorbell == Doorbell::Poll);
    let (activity, finder) = ActivityFinder::new(
        pool.clone(),
        host(),
        &settings.table_prefix,
        settings.actor_wait,
        wake.clone(),
    );
    parts.spawn(finder.run(shutdown.clone()));
    let pipeline = Pipeline::new(
        Arc::clone(&registry),
        Lifecycle::new(lifecycle_settings(&settings), host()),
        metrics.clone(),
        wake.clone(),
        activity,
        settings.actor_wait,
        Arc::clone(&table_prefix),
    );
    let jobs = Runner::new(
        pool.clone(),
        host(),
        Arc::clone(&registry),
        metrics.clone(),
        wake.clone(),
        RunnerSettings {
            table_prefix: Arc::clone(&table_prefix),
            actor_wait: settings.actor_wait,
        },
    );
    parts.spawn(run_jobs(jobs, capture_status.clone(), shutdown.clone()));
    let capture_settings = CaptureSettings {
        doorbell: settings.doorbell,
        poll_interval: settings.poll_interval,
        discovery_interval: settings.discovery_interval,
        batch_size: settings.batch_size,
        table_prefix,
        outbox: settings.outbox,
    };
    parts.spawn(capture::run(
        database.clone(),
        capture_settings,
        pipeline,
        status,
        shutdown.clone(),
    ));
    parts.spawn({
        let (registry, stop) = (Arc::clone(&registry), shutdown.clone());
        async move { registry.watch(stop).await }
    });
    parts.spawn(measure::run(
        pool.clone(),
        settings.outbox,
        measured,
        shutdown.clone(),
    ));
    parts.spawn(keep_partitions(pool.clone(), settings.clone(), shutdown.clone()));
    let deliver = Deliver {
        pool: database.pool(DELIVERY_POOL)?,
        database,
        registered: Arc::new(Registered::new(registry, metrics.clone())),
        client,
        options: delivery::Options {
            max_in_flight: settings.max_in_flight,
            max_bytes: settings.max_bytes_in_flight,
            own_sessions: settings.doorbell == Doorbell::Notify,
            metrics: delivery_metrics,
            ..delivery::Options::default()
        },
        wake,
    };
    parts.spawn(deliver.run(capture_status.clone(), shutdown.clone()));
    parts.spawn(observe(capture_status, metrics, shutdown.clone()));
    tracing::info!(listen = %settings.listen, version = env!("CARGO_PKG_VERSION"), "openregister-webhooks runs");

    shutdown.cancelled().await;
    let ended = tokio::time::timeout(ENDING, async { while parts.join_next().await.is_some() {} });
    if ended.await.is_err() {
        tracing::warn!(
            "some part did not end within {} s and is cut off",
            ENDING.as_secs()
        );
    }
    Ok(())
}

/// Nextcloud tells who calls, where there is one; else the configuration does.
fn authenticator(settings: &Settings, tls: rustls::ClientConfig) -> Result<Authenticator, RunError> {
    let Some(url) = &settings.nextcloud_url else {
        return Ok(Authenticator::Standalone(Standalone::new(&settings.admins, &[])?));
    };
    if !settings.admins.is_empty() {
        tracing::warn!(
            "ORW_ADMINS is not used: with ORW_NEXTCLOUD_URL, Nextcloud says who is an administrator"
        );
    }
    let upstream = Upstream::new(url, tls, settings.connect_timeout, settings.nextcloud_timeout)?;
    let proxy = Proxy::new(Arc::new(upstream))?;
    Ok(Authenticator::Nextcloud(Arc::new(Callers::new(Arc::new(proxy))?)))
}

fn lifecycle_settings(settings: &Settings) -> LifecycleSettings {
    let mut lifecycle = LifecycleSettings::new(&settings.table_prefix);
    lifecycle.actor_window = settings.actor_wait;
    if let Some(columns) = &settings.housekeeping_columns {
        lifecycle.object_housekeeping = columns.iter().cloned().collect();
        lifecycle.plain_housekeeping = columns.iter().cloned().collect();
    }
    lifecycle
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })
}

/// What the dispatcher is made of, each time it may deliver.
struct Deliver {
    database: Database,
    pool: deadpool_postgres::Pool,
    registered: Arc<Registered>,
    client: Client,
    options: delivery::Options,
    wake: delivery::Wake,
}

/// Whether this is the database that the position belongs to: a restored copy must not post to the receivers of the
/// original.
const fn may(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Leading | CaptureStatus::Standby)
}

const fn may_not(status: &CaptureStatus) -> bool {
    matches!(status, CaptureStatus::Held { .. })
}

/// Makes the steps of replays and backfills, where deliveries may be made.
async fn run_jobs(jobs: Runner, mut capture: watch::Receiver<CaptureStatus>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            known = becomes(&mut capture, may) => if !known { return },
            () = shutdown.cancelled() => return,
        }
        let stop = shutdown.child_token();
        let held = async {
            if becomes(&mut capture, may_not).await {
                stop.cancel();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { () = jobs.run(stop.clone()) => {}, () = held => {} }
    }
}

impl Deliver {
    /// Delivers while the database is the one that the position belongs to.
    async fn run(self, mut capture: watch::Receiver<CaptureStatus>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                known = becomes(&mut capture, may) => if !known { return },
                () = shutdown.cancelled() => return,
            }
            let stop = shutdown.child_token();
            let dispatcher = Dispatcher::new(
                self.database.clone(),
                self.pool.clone(),
                self.registered.clone(),
                self.client.clone(),
                self.options.clone(),
            )
            .woken_by(self.wake.clone());
            let held = async {
                if becomes(&mut capture, may_not).await {
                    stop.cancel();
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = dispatcher.run(stop.clone()) => {}, () = held => {} }
        }
    }
}

/// Waits until capture's status is one that `wanted` takes; `false` where capture has ended.
async fn becomes(
    capture: &mut watch::Receiver<CaptureStatus>,
    wanted: impl Fn(&CaptureStatus) -> bool,
) -> bool {
    capture.wait_for(|status| wanted(status)).await.is_ok()
}

/// Makes the coming days' partitions and drops those past their retention.
async fn keep_partitions(pool: deadpool_postgres::Pool, settings: Settings, shutdown: CancellationToken) {
    let days = |time: Duration| u32::try_from(time.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX);
    let retention = partitions::Retention {
        events: days(settings.change_retention),
        log: days(settings.log_retention),
        event_bytes: settings.change_max_bytes,
        log_bytes: settings.log_max_bytes,
    };
    while !shutdown.is_cancelled() {
        match pool.get().await {
            Ok(client) => {
                if let Err(error) = partitions::maintain(&**client, retention).await {
                    tracing::warn!(error = %crate::text::chain(&error), "partitions could not be kept; tried again in an hour");
                }
            }
            Err(error) => {
                tracing::debug!(error = %crate::text::chain(&error), "no connection to keep partitions with")
            }
        }
        tokio::select! { () = tokio::time::sleep(PARTITIONS) => {} () = shutdown.cancelled() => {} }
    }
}

/// Shows in the metrics what capture does.
async fn observe(mut capture: watch::Receiver<CaptureStatus>, metrics: Metrics, shutdown: CancellationToken) {
    loop {
        metrics
            .leading
            .set(i64::from(*capture.borrow_and_update() == CaptureStatus::Leading));
        tokio::select! {
            changed = capture.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}
