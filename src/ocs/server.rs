//! The HTTP server: HTTP/1.1 and HTTP/2 over TCP or TLS.
//!
//! Guarantees: connections are counted and limited; a client that sends no request, or a header bit by bit, or
//! does not take its answer is cut off; a
//! header is bounded; on shutdown, requests under way end in peace within a bounded time.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::stall::Stall;
use super::tls::ListenerTls;
use crate::proxy::Arrival;
use crate::supervise::ending;

/// Connections at once.
const MOST_CONNECTIONS: usize = 4096;
/// How long the first request, and each header, may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(30);
const LARGEST_HEADER: usize = 64 * 1024;
const MOST_STREAMS: u32 = 100;
const PING_EACH: Duration = Duration::from_secs(20);
/// How long requests under way may take when the process stops.
const GRACE: Duration = ending::REQUESTS;
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);
/// After an error of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that listens and does not yet serve.
#[derive(Debug, Clone)]
pub struct Server {
    listener: Arc<TcpListener>,
    trusted_proxies: Vec<IpNet>,
    tls: Option<Arc<ListenerTls>>,
}

impl Server {
    /// Listens. `X-Forwarded-For` is believed from `trusted_proxies` only.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn bind(address: SocketAddr, trusted_proxies: Vec<IpNet>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener: Arc::new(listener),
            trusted_proxies,
            tls: None,
        })
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<ListenerTls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The address listened on: with the port that was chosen where it was 0.
    ///
    /// # Errors
    /// Where the operating system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets requests under way end.
    pub async fn serve(self, api: Arc<Api>, stop: CancellationToken) {
        let proxies: Arc<[IpNet]> = self.trusted_proxies.into();
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            let next = async {
                // Who comes when all places are taken waits in the kernel's queue.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (api, proxies, watcher) = (Arc::clone(&api), Arc::clone(&proxies), graceful.watcher());
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
            tokio::spawn(async move {
                match tls {
                    None => connection(stream, peer, api, proxies, false, watcher).await,
                    Some(tls) => match tokio::time::timeout(HEADER_TIME, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, peer, api, proxies, true, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection"),
                        Err(_) => tracing::debug!(%peer, "TLS was not agreed upon in time"),
                    },
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                "requests were cut off: they took longer than {} s to end",
                GRACE.as_secs()
            );
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    api: Arc<Api>,
    proxies: Arc<[IpNet]>,
    secure: bool,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let begun = Arc::new(AtomicBool::new(false));
    let service = {
        let begun = Arc::clone(&begun);
        service_fn(move |request: Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let peer = peer.ip().to_canonical();
            let arrival = Arrival {
                client: client(request.headers(), peer, &proxies),
                peer,
                trusted: trusts(&proxies, peer),
                secure,
            };
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.answer(request, arrival).await) }
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(LARGEST_HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(LARGEST_HEADER).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EACH)
        .keep_alive_timeout(PING_EACH);
    let serving = watcher.watch(
        builder
            .serve_connection_with_upgrades(TokioIo::new(Stall::new(stream, STALL)), service)
            .into_owned(),
    );
    tokio::pin!(serving);
    // The first bytes decide between HTTP/1.1 and HTTP/2, and nothing but this limits how long they may take.
    let result = tokio::select! {
        result = &mut serving => result,
        () = tokio::time::sleep(HEADER_TIME) => {
            if !begun.load(Ordering::Relaxed) {
                return;
            }
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// Who is behind trusted proxies: the last address of `X-Forwarded-For` that is no proxy of ours.
fn client(headers: &HeaderMap, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: IpAddr| trusts(proxies, address);
    if !trusted(peer) {
        return peer;
    }
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let hop = hop.trim();
        let bare = hop
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .map_or(hop, |(inner, _)| inner);
        let address = bare
            .parse::<IpAddr>()
            .or_else(|_| bare.parse::<SocketAddr>().map(|socket| socket.ip()));
        match address {
            Ok(address) => client = address.to_canonical(),
            // What a trusted proxy did not write can be anything.
            Err(_) => break,
        }
        if !trusted(client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let of = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            client(&headers, peer.parse().unwrap(), &proxies).to_string()
        };
        assert_eq!(of("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(of("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(
            of("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2"),
            "198.51.100.7"
        );
        assert_eq!(of("::ffff:10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(of("10.0.0.1", "198.51.100.7:5555"), "198.51.100.7");
        assert_eq!(of("10.0.0.1", "unknown"), "10.0.0.1");
        assert_eq!(
            client(&HeaderMap::new(), "10.0.0.1".parse().unwrap(), &proxies).to_string(),
            "10.0.0.1"
        );
    }
}
