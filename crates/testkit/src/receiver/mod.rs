//! A webhook receiver over HTTPS (or HTTP) on loopback that records what arrives and fails on demand.
//!
//! Guarantees: a request is recorded whole before it is answered; its arrival time is taken when its last byte came;
//! bodies are bounded; when the receiver is dropped, every connection ends and the port is free.

mod answer;
mod socket;

pub use answer::Answer;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use self::answer::Body;
use self::socket::{Reset, Socket};
use crate::certificate::{Authority, CertificateError, Flaw};

/// The largest body that is read.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Why there is no receiver, or why what was waited for did not come.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the receiver cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "after {waited:?} only {arrived} requests had arrived, and what was waited for was not among them"
    )]
    Timeout { waited: Duration, arrived: usize },
}

/// How the receiver is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// HTTPS; else HTTP.
    pub tls: bool,
    /// What is wrong with its certificate.
    pub flaw: Flaw,
    /// The protocols it offers by ALPN.
    pub protocols: Vec<&'static str>,
    /// Only clients with a certificate of the receiver's authority are served.
    pub ask_clients: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: true,
            flaw: Flaw::None,
            protocols: vec!["h2", "http/1.1"],
            ask_clients: false,
        }
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its place in the order of arrival, from 0.
    pub number: usize,
    /// The connection it came over: equal numbers, the same connection.
    pub connection: u64,
    pub version: Version,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: DateTime<Utc>,
    pub instant: Instant,
    /// What it got.
    pub answer: Answer,
}

impl Received {
    /// A header's value; empty where there is none or it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The receiver.
pub struct Receiver {
    address: SocketAddr,
    authority: Authority,
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("address", &self.address)
            .field("received", &self.count())
            .finish_non_exhaustive()
    }
}

struct Shared {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    connections: AtomicU64,
}

/// Decides the answer from the request (whose own `answer` is not yet set).
type Decide = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Script {
    next: VecDeque<Answer>,
    then: Decide,
}

impl Receiver {
    /// Starts one that answers every request with 200.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(options: Options) -> Result<Self, ReceiverError> {
        let authority = Authority::new()?;
        let acceptor = if options.tls {
            let leaf = authority.leaf(&["localhost", "127.0.0.1", "::1"], options.flaw)?;
            let config = authority.server_config(&leaf, &options.protocols, options.ask_clients)?;
            Some(TlsAcceptor::from(Arc::new(config)))
        } else {
            None
        };
        let shared = Arc::new(Shared {
            script: Mutex::new(Script {
                next: VecDeque::new(),
                then: Arc::new(|_| Answer::Status(200)),
            }),
            received: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicU64::new(0),
        });
        let mut this = Self {
            address: options.address,
            authority,
            shared,
            acceptor,
            listening: Mutex::new(None),
        };
        this.address = this.listen().await?;
        Ok(this)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` (which begins with `/`), by the name `localhost`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    /// PEM of the authority that signed its certificate, for `ORW_CA_FILE`.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// The authority itself, for clients that need roots or a certificate.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The next requests get these answers, in order of arrival; later ones what was set with [`Self::always`].
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.shared.script).next.extend(answers);
    }

    /// From now on every request gets this answer.
    pub fn always(&self, answer: Answer) {
        self.decide(move |_| answer.clone());
    }

    /// From now on the answer depends on the request.
    pub fn decide(&self, decide: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        lock(&self.shared.script).then = Arc::new(decide);
    }

    /// What has arrived, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// What has arrived after the first `n`.
    #[must_use]
    pub fn received_since(&self, n: usize) -> Vec<Received> {
        lock(&self.shared.received).get(n..).unwrap_or_default().to_vec()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Forgets what has arrived; numbers begin anew. No arrival: whoever waits for one is not woken.
    pub fn forget(&self) {
        let mut received = lock(&self.shared.received);
        received.clear();
        self.shared.count.send_if_modified(|count| {
            *count = 0;
            false
        });
    }

    /// Waits until `n` requests have arrived and gives all.
    ///
    /// # Errors
    /// [`ReceiverError::Timeout`].
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Result<Vec<Received>, ReceiverError> {
        self.wait_until(|received| received.len() >= n, timeout).await
    }

    /// Waits until what has arrived satisfies `condition` and gives it.
    ///
    /// # Errors
    /// [`ReceiverError::Timeout`].
    pub async fn wait_until(
        &self,
        condition: impl Fn(&[Received]) -> bool,
        timeout: Duration,
    ) -> Result<Vec<Received>, ReceiverError> {
        let mut count = self.shared.count.subscribe();
        let wait = async {
            loop {
                count.mark_unchanged();
                {
                    let received = lock(&self.shared.received);
                    if condition(&received) {
                        return received.clone();
                    }
                }
                if count.changed().await.is_err() {
                    // The sender lives as long as we do.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(timeout, wait)
            .await
            .map_err(|_| ReceiverError::Timeout {
                waited: timeout,
                arrived: self.count(),
            })
    }

    /// Changes whenever a request arrives; the value is how many have.
    #[must_use]
    pub fn arrivals(&self) -> watch::Receiver<usize> {
        self.shared.count.subscribe()
    }

    /// Ends every connection and refuses new ones until [`Self::resume`].
    pub async fn pause(&self) {
        let listening = lock(&self.listening).take();
        if let Some(task) = listening {
            task.abort();
            let _ = task.await;
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// Where somebody else took it.
    pub async fn resume(&self) -> Result<(), ReceiverError> {
        self.listen().await.map(|_| ())
    }

    async fn listen(&self) -> Result<SocketAddr, ReceiverError> {
        let failed = |source| ReceiverError::Listen {
            address: self.address,
            source,
        };
        let listener = TcpListener::bind(self.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(accept(listener, self.acceptor.clone(), Arc::clone(&self.shared)));
        if let Some(old) = lock(&self.listening).replace(task) {
            old.abort();
        }
        Ok(address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
    }
}

/// Connections end with the set they are in.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
    let reset = Reset::default();
    let socket = Socket::new(stream, reset.clone());
    let service = service_fn(move |request| answer(request, connection, reset.clone(), Arc::clone(&shared)));
    let builder = auto::Builder::new(TokioExecutor::new());
    // How a connection ends is the client's business; what matters was recorded.
    match acceptor {
        Some(acceptor) => {
            if let Ok(tls) = acceptor.accept(socket).await {
                let _ = builder.serve_connection(TokioIo::new(tls), service).await;
            }
        }
        None => drop(builder.serve_connection(TokioIo::new(socket), service).await),
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: u64,
    reset: Reset,
    shared: Arc<Shared>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY)
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    let mut request = Received {
        number: 0,
        connection,
        version: head.version,
        method: head.method,
        path: head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        headers: head.headers,
        body,
        at: Utc::now(),
        instant: Instant::now(),
        answer: Answer::Hang,
    };
    let answer = {
        let mut received = lock(&shared.received);
        request.number = received.len();
        let planned = {
            let mut script = lock(&shared.script);
            script.next.pop_front().ok_or_else(|| Arc::clone(&script.then))
        };
        let answer = planned.unwrap_or_else(|decide| decide(&request));
        request.answer = answer.clone();
        received.push(request);
        shared.count.send_replace(received.len());
        answer
    };
    answer.give(&reset).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
