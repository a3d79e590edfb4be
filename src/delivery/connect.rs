//! The connector: name → vetted addresses → TCP → TLS.
//!
//! Guarantees: a connection is made to no address that the guard has not let through in this very call; it is up within
//! the connect timeout, all steps together, or it is an error that says which step failed.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::guard::{Guard, Refused, Target};

/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{host} cannot be resolved: {source}")]
    Dns {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("cannot connect to {address}: {source}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("TLS with {host}: {source}")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("no connection to {host} within {} s ({step})", .after.as_secs_f32())]
    Timeout {
        host: String,
        after: Duration,
        step: &'static str,
    },
}

/// Makes connections for deliveries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    guard: Arc<Guard>,
    tls: TlsConnector,
    bind: Option<IpAddr>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        guard: Arc<Guard>,
        tls: Arc<ClientConfig>,
        bind: Option<IpAddr>,
        timeout: Duration,
    ) -> Self {
        Self {
            guard,
            tls: TlsConnector::from(tls),
            bind,
            timeout,
        }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let target = self.guard.target(&uri)?;
        let deadline = Instant::now() + self.timeout;
        let late = |step| ConnectError::Timeout {
            host: target.host.clone(),
            after: self.timeout,
            step,
        };
        let addresses = timeout_at(deadline, self.resolve(&target))
            .await
            .map_err(|_| late("looking up its name"))??;
        let tcp = timeout_at(deadline, self.dial(&addresses, deadline))
            .await
            .map_err(|_| late("connecting"))??;
        // A webhook is one small write each way; waiting to fill a segment would only delay it.
        let _ = tcp.set_nodelay(true);
        if !target.tls {
            return Ok(TokioIo::new(Stream::Plain(tcp)));
        }
        let tls_error = |source| ConnectError::Tls {
            host: target.host.clone(),
            source,
        };
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = timeout_at(deadline, self.tls.connect(name, tcp))
            .await
            .map_err(|_| late("TLS handshake"))?
            .map_err(tls_error)?;
        Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
    }

    /// The addresses of `target` that the guard lets through, at most [`MAX_ADDRESSES`].
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
        let found: Vec<SocketAddr> = match target.literal() {
            Some(address) => vec![SocketAddr::new(address, target.port)],
            None => tokio::net::lookup_host((target.host.as_str(), target.port))
                .await
                .map_err(|source| ConnectError::Dns {
                    host: target.host.clone(),
                    source,
                })?
                .collect(),
        };
        let mut refused = None;
        let mut vetted = Vec::with_capacity(found.len().min(MAX_ADDRESSES));
        for address in found {
            // Some forms of a resolver's answer hide an IPv4 address; connect to what was judged.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            match self.guard.check(&target.host, address.ip()) {
                Ok(()) if vetted.len() < MAX_ADDRESSES => vetted.push(address),
                Ok(()) => {}
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if vetted.is_empty() => Err(why.into()),
            _ if vetted.is_empty() => Err(ConnectError::NoAddress {
                host: target.host.clone(),
            }),
            _ => Ok(vetted),
        }
    }

    /// Tries the addresses one after the other, each with an equal share of the time that is left.
    async fn dial(&self, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ConnectError> {
        let mut last = None;
        for (i, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - i).unwrap_or(1);
            match tokio::time::timeout(share, self.dial_one(*address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(source)) => {
                    last = Some(ConnectError::Tcp {
                        address: *address,
                        source,
                    });
                }
                Err(_) => {
                    last = Some(ConnectError::Timeout {
                        host: address.to_string(),
                        after: share,
                        step: "connecting",
                    });
                }
            }
        }
        // `resolve` gives at least one address.
        Err(last.unwrap_or(ConnectError::NoAddress { host: String::new() }))
    }

    async fn dial_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bind) = self.bind
            && bind.is_ipv4() == address.is_ipv4()
        {
            socket.bind(SocketAddr::new(bind, 0))?;
        }
        socket.connect(address).await
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            Self::Tls(tls) => match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Connected::new().negotiated_h2(),
                _ => Connected::new(),
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
