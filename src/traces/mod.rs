//! Traces by OTLP: what happens to an event, as spans that a collector of OpenTelemetry joins with those of its consumers.
//!
//! Guarantees: off (without `ORW_OTLP_ENDPOINT`) nothing is made, and asking costs one comparison. On, a span never waits: it goes into a
//! bounded queue, and if that is full it is dropped and counted. Whatever the collector does, it harms nothing but the spans. A span
//! holds ids, names, times and figures: no address, no content, no error text, no secret.
//!
//! All deliveries of an event are one trace, whose id is the event's: every process and every attempt finds it without storing
//! anything, and so does a consumer that knows the `webhook-id`. A delivery is a span from the change to its end, its attempts are
//! spans below it, and both have a link to the batch that made the event. A batch is a trace of its own.

mod batches;
mod export;
mod ids;
mod metrics;
mod queue;
mod span;
mod transport;

pub use batches::StoredIn;
pub use export::Exporter;
pub use ids::{DeliveryIds, TraceParent};
pub(crate) use metrics::TraceMetrics;
pub use queue::Traces;
pub use span::{Attempt, Batch, Delivery, End};
pub use transport::{BadEndpoint, Endpoint};
