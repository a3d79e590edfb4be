//! Names to addresses.
//!
//! Guarantees: at most `MAX_LOOKUPS` look-ups run at once, so a name server that does not answer occupies no more threads.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// Look-ups under way; each blocks a thread of its own.
const MAX_LOOKUPS: usize = 64;

/// Resolves names. Its answers are not trusted: the guard judges every address.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host` (lower case, no trailing dot), in the order in which to try them.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver, with `/etc/hosts` and everything else that belongs to it.
#[derive(Debug, Clone)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (host, turns) = (host.to_owned(), Arc::clone(&self.0));
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            // A task of its own: a look-up cannot be cancelled, so it keeps its permit until it ends even if nobody waits any more.
            let found = tokio::spawn(async move {
                let found: Vec<IpAddr> = tokio::net::lookup_host((host.as_str(), 0))
                    .await?
                    .map(|address| address.ip())
                    .collect();
                drop(turn);
                Ok::<_, io::Error>(found)
            });
            found.await.map_err(io::Error::other)?
        })
    }
}
