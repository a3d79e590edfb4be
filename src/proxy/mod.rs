//! The reverse proxy to Nextcloud: requests that are not ours stream through.
//!
//! Guarantees: a body of any size passes in either direction without being held in memory; what a client claims about its own
//! address is replaced, unless a trusted proxy says it; one client leaves places for the others; a request that two servers could
//! read differently is refused, never forwarded; every wait, every header and the number of requests under way is bounded; if
//! Nextcloud cannot be reached, the caller is told so at once. `ORW_NEXTCLOUD_URL` is the administrator's own setting: the address
//! guard of deliveries does not apply to it.

mod arrival;
mod body;
mod connect;
mod error;
mod fetch;
mod forward;
mod headers;
mod stream;
mod target;
mod tunnel;
mod upstream;

pub use arrival::Arrival;
pub use body::Body;
pub use error::{BoxError, ProxyError};
pub(crate) use fetch::BufferedResponse;
pub use forward::{Limits, Proxy};
pub(crate) use headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, items};
pub use upstream::{BadUrl, Upstream};

pub(crate) use target::{canonical, host};
