//! The part that sends recorded spans to the collector.
//!
//! Guarantees: one request at a time, of at most [`BATCH`] records; each within some seconds; a failure costs its spans alone, and the
//! log says so once a minute at most. At the end of the process what waits is sent, within [`FAREWELL`].

use std::time::Duration;

use deadpool_postgres::Pool;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::batches;
use super::metrics::TraceMetrics;
use super::queue::Traces;
use super::span::Record;
use super::transport::{Endpoint, PATIENCE, Transport};

const NAME: &str = "openregister-webhooks";
/// Records in a request.
const BATCH: usize = 512;
/// How long records gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last request.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two lines of the log about failures.
const REMINDER: Duration = Duration::from_secs(60);

/// Sends spans.
#[derive(Debug)]
pub struct Exporter {
    exporter: SpanExporter,
    pool: Pool,
    metrics: TraceMetrics,
    scope: InstrumentationScope,
    /// Keeps its end of the channel when the part fails and is started again.
    records: Mutex<mpsc::Receiver<Record>>,
}

impl Exporter {
    /// An exporter to `endpoint`, and where to record spans for it. Batches are looked up over `pool`.
    ///
    /// # Errors
    /// If a variable `OTEL_EXPORTER_OTLP_…` of the environment holds what OpenTelemetry does not understand; the text says which.
    pub(crate) fn new(
        endpoint: &Endpoint,
        tls: rustls::ClientConfig,
        pool: Pool,
        metrics: TraceMetrics,
    ) -> Result<(Self, Traces), String> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Transport::new(endpoint, tls))
            .with_endpoint(endpoint.traces())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| crate::error_text::chain(&error))?;
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource::builder_empty()
            .with_service_name(NAME)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        exporter.set_resource(&resource);
        let (traces, records) = Traces::on(metrics.clone());
        let this = Self {
            exporter,
            pool,
            metrics,
            scope: InstrumentationScope::builder(NAME).with_version(version).build(),
            records: Mutex::new(records),
        };
        Ok((this, traces))
    }

    /// Exports until `stop`, and then what waits, for [`FAREWELL`] at most.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let mut records = self.records.lock().await;
        let farewell = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = self.work(&mut records, &stop) => {}
            () = farewell => tracing::debug!("the last spans were not exported in time"),
        }
    }

    async fn work(&self, records: &mut mpsc::Receiver<Record>, stop: &CancellationToken) {
        let mut gathered = Vec::with_capacity(BATCH);
        let mut said: Option<Instant> = None;
        while !stop.is_cancelled() {
            tokio::select! {
                received = records.recv_many(&mut gathered, BATCH) => if received == 0 { break },
                () = stop.cancelled() => break,
            }
            let more = async {
                while gathered.len() < BATCH {
                    let room = BATCH - gathered.len();
                    if records.recv_many(&mut gathered, room).await == 0 {
                        break;
                    }
                }
            };
            tokio::select! { _ = timeout(GATHER, more) => {} () = stop.cancelled() => {} }
            self.export(&mut gathered, &mut said).await;
        }
        while let Ok(record) = records.try_recv() {
            gathered.push(record);
        }
        self.export(&mut gathered, &mut said).await;
    }

    async fn export(&self, records: &mut Vec<Record>, said: &mut Option<Instant>) {
        if records.is_empty() {
            return;
        }
        let look_up = batches::look_up(&self.pool, records.iter().map(Record::stored));
        // Without the database spans go without their links.
        let known = match timeout(PATIENCE, look_up).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the batches of spans cannot be looked up");
                Default::default()
            }
            Err(_) => Default::default(),
        };
        let mut spans = Vec::with_capacity(2 * records.len());
        for record in records.drain(..) {
            let batch = known.get(&record.stored()).cloned();
            record.spans(batch, &self.scope, &mut spans);
        }
        let count = spans.len();
        let error = match timeout(2 * PATIENCE, self.exporter.export(spans)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(crate::error_text::chain(&error)),
            Err(_) => Some("it did not answer in time".to_owned()),
        };
        self.metrics.exported(count, error.is_none());
        if let Some(error) = error
            && said.is_none_or(|at| at.elapsed() >= REMINDER)
        {
            *said = Some(Instant::now());
            tracing::warn!(%error, spans = count, "the collector of ORW_OTLP_ENDPOINT takes no spans; they are lost, and deliveries go on");
        }
    }
}
