//! The HTTP server: HTTP/1.1 and HTTP/2 over TCP or TLS.
//!
//! Guarantees: connections are counted and limited, and whatever one client does, a place is left for the others
//! ([`crate::shares`]); a client that sends no request, sends a head too slowly or does not read its answer is cut off, sooner if
//! places are scarce; the size of a header is bounded; on shutdown, requests under way may finish within a bounded time.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Counted, LONGEST_HEAD, Overdue, handshake};
use super::api::Api;
use super::stall::Stall;
use crate::listener_tls::ListenerTls;
use crate::patience::Pace;
use crate::proxy::{self, Arrival};
use crate::shares::{Place, Shares};
use crate::supervise::ending;

/// How many connections are open at the same time.
const MOST_CONNECTIONS: usize = 4096;
const LARGEST_HEADER: usize = 64 * 1024;
const MOST_STREAMS: u32 = 100;
const PING_EACH: Duration = Duration::from_secs(20);
/// How long requests under way may take to end when the process stops.
const GRACE: Duration = ending::REQUESTS;
/// How long accepting pauses after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a connection is checked.
const LOOK: Duration = Duration::from_secs(1);
/// How long a connection that was idle for too long may take to close in good order.
const GOODBYE: Duration = Duration::from_secs(5);
/// The log says at most this often that connections are refused.
const LOG_EACH: Duration = Duration::from_secs(60);

/// A server that listens, but does not serve yet.
#[derive(Debug, Clone)]
pub struct Server {
    listener: Arc<TcpListener>,
    trusted_proxies: Vec<IpNet>,
    tls: Option<Arc<ListenerTls>>,
    /// Kept when serving starts again after a failure: connections that were accepted before may still be open.
    places: Arc<Shares>,
}

impl Server {
    /// Listens. `X-Forwarded-For` is believed from `trusted_proxies` only.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(address: SocketAddr, trusted_proxies: Vec<IpNet>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener: Arc::new(listener),
            trusted_proxies,
            tls: None,
            places: Shares::new(MOST_CONNECTIONS),
        })
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<ListenerTls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The address that it listens on. If the port was 0, this has the one that was chosen.
    ///
    /// # Errors
    /// If the operating system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Sets how many connections may be open; one network gets at most half of them.
    #[must_use]
    pub fn with_room_for(mut self, connections: usize) -> Self {
        self.places = Shares::new(connections);
        self
    }

    /// Serves until `stop`, then lets the requests under way finish.
    pub async fn serve(self, api: Arc<Api>, stop: CancellationToken) {
        let proxies: Arc<[IpNet]> = self.trusted_proxies.into();
        let places = self.places;
        let connections = TaskTracker::new();
        let mut logged = None;
        loop {
            let next = async {
                // While all places are taken, further clients wait in the kernel's queue.
                places.room().await;
                self.listener.accept().await
            };
            let accepted = tokio::select! {
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
            // A trusted proxy speaks for many clients. Each of them is counted when the head of its request has told who it is.
            let place = if trusts(&proxies, peer.ip().to_canonical()) {
                places.take_for_many()
            } else {
                places.take(peer.ip())
            };
            let Some(place) = place else {
                if logged.is_none_or(|logged: Instant| logged.elapsed() >= LOG_EACH) {
                    logged = Some(Instant::now());
                    tracing::warn!(client = %peer.ip(), "a connection was refused: this client already has as many connections as are free for others; a proxy that speaks for many clients belongs in ORW_TRUSTED_PROXIES");
                }
                continue;
            };
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                peer: peer.ip().to_canonical(),
                api: Arc::clone(&api),
                proxies: Arc::clone(&proxies),
                places: Arc::clone(&places),
                stop: stop.clone(),
            };
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
            connections.spawn(async move {
                match tls {
                    None => connection.serve(stream, false, place).await,
                    Some(tls) => {
                        let limit = handshake(connection.places.scarce());
                        match tokio::time::timeout(limit, tls.accept(stream)).await {
                            Ok(Ok(stream)) => connection.serve(stream, true, place).await,
                            Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
                            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
                        }
                    }
                }
            });
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
            tracing::warn!(
                "requests were cut off: they did not end within {} s",
                GRACE.as_secs()
            );
        }
    }
}

/// A connection that was accepted, and what serving it takes.
struct Connection {
    peer: IpAddr,
    api: Arc<Api>,
    proxies: Arc<[IpNet]>,
    places: Arc<Shares>,
    stop: CancellationToken,
}

impl Connection {
    async fn serve<S>(self, stream: S, secure: bool, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = self.peer;
        let activity = Activity::new(Instant::now());
        let service = {
            let (activity, api, proxies) = (Arc::clone(&activity), self.api, self.proxies);
            service_fn(move |request: Request<Incoming>| {
                let under_way = activity.begin();
                let arrival = Arrival {
                    client: client(request.headers(), peer, &proxies),
                    peer,
                    trusted: trusts(&proxies, peer),
                    secure,
                };
                let api = Arc::clone(&api);
                async move {
                    let response = api.answer(request, arrival).await;
                    Ok::<_, Infallible>(response.map(|body| Counted { body, under_way }))
                }
            })
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(LONGEST_HEAD)
            .max_buf_size(LARGEST_HEADER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(LARGEST_HEADER).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_EACH)
            .keep_alive_timeout(PING_EACH);
        let io = Stall::new(stream, Pace::default(), Arc::clone(&activity), place);
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        tokio::pin!(serving);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stopping, mut ending) = (false, None);
        loop {
            tokio::select! {
                result = &mut serving => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
                _ = look.tick() => {}
            }
            match (activity.overdue(Instant::now(), self.places.scarce()), ending) {
                (None, _) => {}
                (Some(Overdue::Idle), None) => {
                    ending = Some(Instant::now());
                    serving.as_mut().graceful_shutdown();
                }
                (Some(Overdue::Idle), Some(since)) if since.elapsed() < GOODBYE => {}
                (Some(overdue), _) => {
                    return tracing::debug!(%peer, ?overdue, "connection cut off: the client keeps it waiting for too long");
                }
            }
        }
    }
}

fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// The client's address. Behind trusted proxies it is the last address of `X-Forwarded-For` that is none of theirs.
fn client(headers: &HeaderMap, peer: IpAddr, proxies: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: IpAddr| trusts(proxies, address);
    if !trusted(peer) {
        return peer;
    }
    let mut client = peer;
    for hop in proxy::items(headers, &proxy::FORWARDED_FOR).rev() {
        // What no trusted proxy wrote can be anything, so the list ends here.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(hop_address) else {
            break;
        };
        client = address;
        if !trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(hop, |(inner, _)| inner);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| bare.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

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
        // A byte that is no text, in what the client itself claims, hides nobody.
        let mut headers = HeaderMap::new();
        let claimed = HeaderValue::from_bytes(b"\xff, 198.51.100.7").unwrap();
        headers.insert("x-forwarded-for", claimed);
        let told = client(&headers, "10.0.0.1".parse().unwrap(), &proxies);
        assert_eq!(told.to_string(), "198.51.100.7");
        headers.insert(
            "x-forwarded-for",
            HeaderValue::from_bytes(b"198.51.100.7, \xff").unwrap(),
        );
        let told = client(&headers, "10.0.0.1".parse().unwrap(), &proxies);
        assert_eq!(told.to_string(), "10.0.0.1");
        assert_eq!(
            client(&HeaderMap::new(), "10.0.0.1".parse().unwrap(), &proxies).to_string(),
            "10.0.0.1"
        );
    }
}
