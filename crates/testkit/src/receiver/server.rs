//! The receiver itself: started, told what to answer, asked what arrived.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::answer::Answer;
use super::connection::accept;
use super::received::Received;
use super::record::Record;
use crate::certificate::{Authority, CertificateError, Flaw};
use crate::mutex::lock;
#[cfg(feature = "faults")]
use crate::port::HeldPort;

/// The receiver could not be started, or a wait ended without result.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the receiver cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("after {waited:?} {arrived} requests had arrived, and they were not what was waited for")]
    Timeout { waited: Duration, arrived: usize },
}

/// How the receiver listens.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its address; port 0 takes a free one.
    pub address: SocketAddr,
    /// HTTPS if true, otherwise HTTP.
    pub tls: bool,
    /// A flaw of its certificate.
    pub flaw: Flaw,
    /// The protocols that it offers by ALPN.
    pub protocols: Vec<&'static str>,
    /// Whether clients need a certificate of the receiver's authority.
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

/// A running receiver; it ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    authority: Authority,
    record: Arc<Record>,
    acceptor: Option<TlsAcceptor>,
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Keeps the port while the receiver is paused; none if the caller named the port.
    #[cfg(feature = "faults")]
    _held: Option<HeldPort>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("address", &self.address)
            .field("received", &self.count())
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Starts a receiver that answers every request with 200.
    ///
    /// # Errors
    /// If it cannot listen, or its certificate cannot be made.
    pub async fn start(options: Options) -> Result<Self, ReceiverError> {
        let authority = Authority::new()?;
        let acceptor = if options.tls {
            let leaf = authority.leaf(&["localhost", "127.0.0.1", "::1"], options.flaw)?;
            let config = authority.server_config(&leaf, &options.protocols, options.ask_clients)?;
            Some(TlsAcceptor::from(Arc::new(config)))
        } else {
            None
        };
        #[cfg(feature = "faults")]
        let held = hold(options.address)?;
        let mut this = Self {
            #[cfg(feature = "faults")]
            address: held.as_ref().map_or(options.address, HeldPort::address),
            #[cfg(not(feature = "faults"))]
            address: options.address,
            authority,
            record: Arc::new(Record::new()),
            acceptor,
            listening: Mutex::new(None),
            #[cfg(feature = "faults")]
            _held: held,
        };
        this.address = this.listen().await?;
        Ok(this)
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` (which begins with `/`), with the host name `localhost`.
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

    /// The authority itself, for clients that need its root or a certificate of it.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Sets the answers to the next requests, in order of arrival. Later requests are answered as set with [`Self::always`] or
    /// [`Self::decide`].
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.record.next(answers);
    }

    /// Answers every request like this from now on.
    pub fn always(&self, answer: Answer) {
        self.decide(move |_| answer.clone());
    }

    /// Decides the answer from the request from now on.
    pub fn decide(&self, decide: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.record.then(Arc::new(decide));
    }

    /// All requests, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.record.received().clone()
    }

    /// All requests but the first `n`.
    #[must_use]
    pub fn received_since(&self, n: usize) -> Vec<Received> {
        self.record.received().get(n..).unwrap_or_default().to_vec()
    }

    /// The number of requests.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.record.count().borrow()
    }

    /// Forgets all requests; numbers start from 0 again. Nobody who waits for an arrival is woken.
    pub fn forget(&self) {
        self.record.clear();
    }

    /// Waits until `n` requests have arrived and returns all of them.
    ///
    /// # Errors
    /// [`ReceiverError::Timeout`].
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Result<Vec<Received>, ReceiverError> {
        self.wait_until(|received| received.len() >= n, timeout).await
    }

    /// Waits until the requests satisfy `condition` and returns them.
    ///
    /// # Errors
    /// [`ReceiverError::Timeout`].
    pub async fn wait_until(
        &self,
        condition: impl Fn(&[Received]) -> bool,
        timeout: Duration,
    ) -> Result<Vec<Received>, ReceiverError> {
        let mut count = self.record.count();
        let wait = async {
            loop {
                count.mark_unchanged();
                {
                    let received = self.record.received();
                    if condition(&received) {
                        return received.clone();
                    }
                }
                if count.changed().await.is_err() {
                    // The record sends as long as the receiver exists.
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

    /// The number of requests; it changes whenever one arrives.
    #[must_use]
    pub fn arrivals(&self) -> watch::Receiver<usize> {
        self.record.count()
    }

    /// Ends every connection and refuses new ones until [`Self::resume`].
    #[cfg(feature = "faults")]
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
    /// If the system refuses it.
    #[cfg(feature = "faults")]
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
        let task = tokio::spawn(accept(listener, self.acceptor.clone(), Arc::clone(&self.record)));
        if let Some(old) = lock(&self.listening).replace(task) {
            old.abort();
        }
        Ok(address)
    }
}

/// A port that stays the receiver's own while it is paused, if any port will do.
#[cfg(feature = "faults")]
fn hold(address: SocketAddr) -> Result<Option<HeldPort>, ReceiverError> {
    let any = address.port() == 0;
    let held = any.then(|| HeldPort::take_at(address.ip())).transpose();
    held.map_err(|source| ReceiverError::Listen { address, source })
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
    }
}
