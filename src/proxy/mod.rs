//! The reverse proxy to Nextcloud: what is not ours streams through.
//!
//! Guarantees: a body of any size passes in either direction without being held; what a client says of its own address is
//! replaced unless a trusted proxy says it; one client leaves places for the others; a request that two readers could understand differently is refused, never
//! passed on; every wait, header and number of requests under way is bounded; where Nextcloud is away, the caller reads
//! so at once. `ORW_NEXTCLOUD_URL` is the administrator's own setting: the address guard of deliveries does not apply to it.

mod ask;
mod body;
mod connect;
mod error;
mod forward;
mod headers;
mod stream;
mod target;
mod tunnel;
mod upstream;

pub use crate::patience::Pace;
pub(crate) use ask::Answered;
pub use error::ProxyError;
pub use forward::{Limits, Proxy};
pub use headers::Arrival;
pub(crate) use headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, items};
pub use upstream::{BadUrl, Upstream};

pub(crate) use target::{canonical, host};

/// Anything that ends a body early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body, in memory or streamed.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;
