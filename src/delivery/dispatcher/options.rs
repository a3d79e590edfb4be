//! How the dispatcher works.

use std::time::Duration;

use crate::delivery::feed::Feed;
use crate::delivery::metrics::Metrics;
use crate::supervise::ending;
use crate::traces::Traces;

/// How the dispatcher works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests in flight over all webhooks.
    pub max_in_flight: u32,
    /// Bytes of events in flight over all webhooks; one webhook gets at most a quarter, but always one event.
    pub max_bytes: u64,
    /// Bytes of events that are read with their leases and not sent yet, over all webhooks. The others are read when they are sent.
    pub read_ahead: u64,
    /// How often to look at every webhook, even if nobody woke the dispatcher.
    pub poll: Duration,
    /// How long a shutdown waits for requests in flight.
    pub drain: Duration,
    /// How often to look for leases that nobody knows of. It is done at once after an answer was lost.
    pub reconcile: Duration,
    /// How long to wait for an answer of the database. Then it counts as lost, and its connection is closed.
    pub query_timeout: Duration,
    /// Whether a database session is ours alone. Behind a transaction pooler it is not, and we set nothing in it, since its next
    /// user would find it.
    pub own_sessions: bool,
    pub metrics: Metrics,
    pub traces: Traces,
    /// Is told of every attempt.
    pub feed: Feed,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_in_flight: 512,
            max_bytes: 8 << 20,
            read_ahead: 4 << 20,
            poll: Duration::from_secs(5),
            drain: ending::REQUESTS,
            reconcile: Duration::from_secs(5),
            // The server itself ends a statement after 30 s.
            query_timeout: Duration::from_secs(35),
            own_sessions: true,
            metrics: Metrics::default(),
            traces: Traces::default(),
            feed: Feed::default(),
        }
    }
}
