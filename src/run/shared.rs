//! What several parts of the sidecar share.

use std::sync::Arc;

use deadpool_postgres::Pool;
use orw_egress::Client;
use tokio::sync::watch;

use super::error::RunError;
use super::installing;
use crate::capture::{self, CaptureStatus, DoorbellMode};
use crate::config::Settings;
use crate::database::Database;
use crate::delivery::{self, Wake};
use crate::doctor;
use crate::lifecycle::HostConnection;
use crate::listener_tls::CertificateEnd;
use crate::measure::Measured;
use crate::pipeline;
use crate::registry::{self, Defaults, Registry};
use crate::supervise::Board;
use crate::telemetry::MetricRegistry;
use crate::traces::{Exporter, TraceMetrics, Traces};

/// The connections in the pool that everything but delivery shares, the API included.
const POOL: usize = 21;

/// What every part may be made from; cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) table_prefix: Arc<str>,
    pub(super) tls: rustls::ClientConfig,
    pub(super) database: Database,
    pub(super) pool: Pool,
    pub(super) registry: Arc<Registry>,
    pub(super) client: Client,
    pub(super) wake: Wake,
    /// What capture does. It also decides whether deliveries may be made.
    pub(super) status: watch::Sender<CaptureStatus>,
    /// Which parts run.
    pub(super) board: Board,
    /// Every metric of the process.
    pub(super) metrics: MetricRegistry,
    pub(super) pipeline_metrics: pipeline::Metrics,
    pub(super) delivery_metrics: delivery::Metrics,
    /// The attempts of this process.
    pub(super) feed: delivery::Feed,
    pub(super) measured: Measured,
    /// Where spans are recorded, and who sends them; off without `ORW_OTLP_ENDPOINT`.
    pub(super) traces: Traces,
    pub(super) exporter: Option<Arc<Exporter>>,
    /// When the listener's certificate ends.
    pub(super) certificate_end: CertificateEnd,
}

impl Shared {
    pub(super) async fn new(settings: Settings) -> Result<Self, RunError> {
        let tls = orw_egress::client_config(settings.ca_file.as_deref())?;
        let database = Database::new(&settings.database_url, tls.clone())?;
        check_pooling(&database, settings.doorbell).await?;
        if settings.install_at_start {
            if doctor::is_pooled(&database).await? {
                return Err(RunError::PooledInstall);
            }
            installing::install(&settings, &database).await?;
        }
        let pool = database.pool(POOL)?;
        let defaults = Defaults {
            limits: settings.default_limits,
            retry: settings.default_retry.clone(),
            source: settings.event_source.clone(),
        };
        let registry = Registry::open(pool.clone(), settings.master_key.as_ref(), defaults).await?;
        for advice in settings.advice() {
            tracing::warn!("{advice}");
        }
        for proxy in settings.proxies.shown() {
            tracing::info!("{proxy}");
        }
        let status = watch::Sender::new(CaptureStatus::Away("starting".into()));
        let board = Board::default();
        let pipeline_metrics = pipeline::Metrics::default();
        let delivery_metrics = delivery::Metrics::default();
        let measured = Measured::default();
        let trace_metrics = TraceMetrics::default();
        let (exporter, traces) = exporter(&settings, &tls, &pool, &trace_metrics)?;
        let certificate_end = CertificateEnd::default();
        let metrics = MetricRegistry::with(|metrics| {
            board.register(metrics);
            capture::metrics::register(metrics, status.subscribe());
            registry::metrics::register(metrics, Arc::clone(&registry));
            pipeline_metrics.register(metrics);
            delivery_metrics.register(metrics);
            measured.register(metrics);
            trace_metrics.register(metrics);
            certificate_end.register(metrics);
        });
        Ok(Self {
            table_prefix: settings.table_prefix.as_str().into(),
            client: Client::new(settings.outgoing(tls.clone())),
            tls,
            database,
            pool,
            registry,
            wake: Wake::default(),
            status,
            board,
            metrics,
            pipeline_metrics,
            delivery_metrics,
            feed: delivery::Feed::default(),
            measured,
            traces,
            exporter,
            certificate_end,
            settings: Arc::new(settings),
        })
    }

    /// Look-ups in Nextcloud's tables, on connections of their own.
    pub(super) fn host(&self) -> HostConnection {
        HostConnection::new(
            self.database.clone(),
            self.settings.doorbell == DoorbellMode::Poll,
        )
    }
}

/// Who sends spans, and where they are recorded.
fn exporter(
    settings: &Settings,
    tls: &rustls::ClientConfig,
    pool: &Pool,
    metrics: &TraceMetrics,
) -> Result<(Option<Arc<Exporter>>, Traces), RunError> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok((None, Traces::default()));
    };
    let made = Exporter::new(endpoint, tls.clone(), pool.clone(), metrics.clone());
    let (exporter, traces) = made.map_err(RunError::Traces)?;
    Ok((Some(Arc::new(exporter)), traces))
}

/// Refuses a connection pooler between this machine and the database that does not keep what the settings need.
async fn check_pooling(database: &Database, doorbell: DoorbellMode) -> Result<(), RunError> {
    match (doctor::pooling(database).await?, doorbell) {
        (doctor::Pooling::None, _) | (doctor::Pooling::KeepsStatements, DoorbellMode::Poll) => Ok(()),
        (doctor::Pooling::ForgetsStatements, DoorbellMode::Poll) => Err(RunError::PooledStatements),
        (_, DoorbellMode::Notify) => Err(RunError::Pooled),
    }
}
