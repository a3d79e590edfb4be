//! The connector: name → vetted addresses → TCP, or a tunnel through the proxy → TLS.
//!
//! Guarantees: every address that is connected to, or that a proxy is asked for, has been accepted by the guard in this very
//! call; all steps together take no longer than the connect timeout, and an error says which step failed; a client
//! certificate is shown to the receiver only, never to a proxy.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::certificate::{ClientCertificate, Fingerprint};
use crate::guard::Guard;
use crate::proxy::{CONNECT_STEP, ConnectBy, Proxies, ProxyFault, ProxyUrl, host_port, tunnel};
use crate::refused::Refused;
use crate::resolve::Resolve;
use crate::stream::{Meter, Metered, RecordsTlsFault, Stream};
use crate::target::Target;
use crate::trust::{CERTIFICATE_REQUESTED, ClientIdentity, explain};

/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 4;
/// How many client certificates' TLS sessions are remembered.
const MAX_IDENTITIES: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
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
    #[error("TLS with {host}: {why}")]
    Tls { host: String, why: String },
    #[error("no connection to {host} within {} s ({step})", .after.as_secs_f32())]
    Timeout {
        host: String,
        after: Duration,
        step: &'static str,
    },
    #[error("the proxy {proxy}: {source}")]
    Proxy {
        proxy: String,
        #[source]
        source: ProxyFault,
    },
}

/// An established connection.
pub(crate) struct Connected {
    pub(crate) io: Box<dyn Stream>,
    /// HTTP/2 was agreed on.
    pub(crate) h2: bool,
    pub(crate) meter: Meter,
}

/// Makes connections.
pub(crate) struct Connector {
    pub(crate) guard: Arc<Guard>,
    /// For receivers, without a client certificate; ALPN is set.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) timeout: Duration,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) proxies: Proxies,
    /// By client certificate: TLS sessions of one must not be resumed for another.
    pub(crate) identities: Mutex<HashMap<Fingerprint, Arc<ClientConfig>>>,
}

/// Where a request would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The addresses (or, for a proxy that looks names up itself, the name), each with its port, in the order in which they are tried.
    pub to: Vec<String>,
    /// The proxy is asked to connect to each of them. False also if `NO_PROXY` names only some.
    pub proxied: bool,
}

/// One way to reach a target.
enum Route {
    Direct(SocketAddr),
    /// Through the proxy, asked for this `host:port`.
    Tunnel(String),
}

impl Connector {
    /// Connects to `target`, showing `identity` where there is one.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        identity: Option<&ClientCertificate>,
    ) -> Result<Connected, ConnectError> {
        let deadline = Instant::now() + self.timeout;
        let late = |step| ConnectError::Timeout {
            host: target.host.clone(),
            after: self.timeout,
            step,
        };
        let proxy = self.proxies.of(target.tls, &target.host, target.port);
        let routes = timeout_at(deadline, self.routes(target, proxy.is_some()))
            .await
            .map_err(|_| late("looking up its name"))??;
        let (io, meter) = self.try_routes(target, &routes, proxy, deadline).await?;
        if !target.tls {
            return Ok(Connected { io, h2: false, meter });
        }
        let tls_error = |source: &io::Error| ConnectError::Tls {
            host: target.host.clone(),
            why: explain(source, identity.is_some()).unwrap_or_else(|| source.to_string()),
        };
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| tls_error(&io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let tls = TlsConnector::from(self.config(identity));
        let handshake = async {
            let tls = tls.connect(name, io).await;
            (tls, CERTIFICATE_REQUESTED.with(Cell::get))
        };
        let (tls, wanted) = timeout_at(deadline, CERTIFICATE_REQUESTED.scope(Cell::new(false), handshake))
            .await
            .map_err(|_| late("TLS handshake"))?;
        let tls = tls.map_err(|error| tls_error(&error))?;
        if wanted {
            meter.certificate_requested();
        }
        let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let words: fn(&io::Error) -> Option<String> = match identity {
            Some(_) => |error| explain(error, true),
            None => |error| explain(error, false),
        };
        Ok(Connected {
            io: Box::new(RecordsTlsFault::new(tls, meter.clone(), words)),
            h2,
            meter,
        })
    }

    /// Where a connection to `target` would lead; nothing is connected to. It takes as long as the resolver does.
    pub(crate) async fn destination(&self, target: &Target) -> Result<Destination, ConnectError> {
        let proxied = self.proxies.of(target.tls, &target.host, target.port).is_some();
        let routes = self.routes(target, proxied).await?;
        let proxied = routes.iter().all(|route| matches!(route, Route::Tunnel(_)));
        let to = routes.into_iter().map(|route| match route {
            Route::Direct(address) => address.to_string(),
            Route::Tunnel(to) => to,
        });
        Ok(Destination {
            to: to.collect(),
            proxied,
        })
    }

    /// The routes to `target` that the guard accepts, at most [`MAX_ADDRESSES`].
    async fn routes(&self, target: &Target, proxied: bool) -> Result<Vec<Route>, ConnectError> {
        let host = || target.host.clone();
        let by_name = proxied && self.proxies.connect_by == ConnectBy::Name;
        let found = match target.literal {
            Some(address) => vec![address],
            None => match self.resolver.resolve(&target.host).await {
                Ok(found) => found,
                Err(_) if by_name => {
                    self.guard.check_name(&target.host)?;
                    return Ok(vec![Route::Tunnel(host_port(&target.host, target.port))]);
                }
                Err(source) => return Err(ConnectError::Dns { host: host(), source }),
            },
        };
        let mut refused = None;
        let mut vetted = Vec::with_capacity(found.len().min(MAX_ADDRESSES));
        for address in found {
            match self.guard.check(&target.host, address) {
                // A resolver may give an IPv4-mapped IPv6 address: connect to the IPv4 address that was judged.
                Ok(()) if vetted.len() < MAX_ADDRESSES => vetted.push(address.to_canonical()),
                Ok(()) => {}
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            // A proxy that is asked by name may choose any of them.
            Some(why) if vetted.is_empty() || by_name => return Err(why.into()),
            None if vetted.is_empty() => return Err(ConnectError::NoAddress { host: host() }),
            _ => {}
        }
        let mut routes = Vec::with_capacity(vetted.len());
        for address in vetted {
            if !proxied || self.proxies.bypasses(address, target.port) {
                routes.push(Route::Direct(SocketAddr::new(address, target.port)));
            } else if by_name {
                return Ok(vec![Route::Tunnel(host_port(&target.host, target.port))]);
            } else {
                routes.push(Route::Tunnel(host_port(&address.to_string(), target.port)));
            }
        }
        Ok(routes)
    }

    /// Tries the routes one after the other, each with an equal share of the time that is left.
    async fn try_routes(
        &self,
        target: &Target,
        routes: &[Route],
        proxy: Option<&Arc<ProxyUrl>>,
        deadline: Instant,
    ) -> Result<(Box<dyn Stream>, Meter), ConnectError> {
        let mut last = None;
        for (i, route) in routes.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(routes.len() - i).unwrap_or(1);
            let until = Instant::now() + share;
            let tried = match (route, proxy) {
                (Route::Direct(address), _) => match timeout_at(until, self.dial(*address)).await {
                    Ok(Ok(tcp)) => {
                        let (io, meter) = Metered::new(tcp);
                        Ok((Box::new(io) as Box<dyn Stream>, meter))
                    }
                    Ok(Err(source)) => Err(ConnectError::Tcp {
                        address: *address,
                        source,
                    }),
                    Err(_) => Err(ConnectError::Timeout {
                        host: address.to_string(),
                        after: share,
                        step: "connecting",
                    }),
                },
                (Route::Tunnel(to), Some(proxy)) => match self.tunnel(proxy, to, until).await {
                    Ok(up) => Ok(up),
                    Err(source) => {
                        let of_the_proxy = !source.is_of_the_address();
                        let proxy = proxy.to_string();
                        let error = ConnectError::Proxy { proxy, source };
                        if of_the_proxy {
                            return Err(error);
                        }
                        Err(error)
                    }
                },
                // `routes` makes tunnels only where there is a proxy.
                (Route::Tunnel(_), None) => continue,
            };
            match tried {
                Ok(up) => return Ok(up),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::NoAddress {
            host: target.host.clone(),
        }))
    }

    /// A tunnel through `proxy` to `to`. The administrator chose the proxy, so the guard does not judge its address.
    async fn tunnel(
        &self,
        proxy: &ProxyUrl,
        to: &str,
        until: Instant,
    ) -> Result<(Box<dyn Stream>, Meter), ProxyFault> {
        let addresses = match proxy.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => timeout_at(until, self.resolver.resolve(&proxy.host))
                .await
                .map_err(|_| ProxyFault::Timeout("looking up its name"))?
                .map_err(ProxyFault::Dns)?,
        };
        let tcp = timeout_at(until, async {
            let mut last = ProxyFault::NoAddress;
            for address in addresses.into_iter().take(MAX_ADDRESSES) {
                match self.dial(SocketAddr::new(address, proxy.port)).await {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => last = ProxyFault::Connect(error),
                }
            }
            Err(last)
        })
        .await
        .map_err(|_| ProxyFault::Timeout("connecting"))??;
        let (tcp, meter) = Metered::new(tcp);
        let mut io: Box<dyn Stream> = Box::new(tcp);
        if proxy.tls {
            let tls_error = |error: io::Error| {
                ProxyFault::Tls(explain(&error, false).unwrap_or_else(|| error.to_string()))
            };
            let name = ServerName::try_from(proxy.host.clone())
                .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
            let mut config = ClientConfig::clone(&self.tls);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let tls = TlsConnector::from(Arc::new(config));
            let tls = timeout_at(until, tls.connect(name, io))
                .await
                .map_err(|_| ProxyFault::Timeout("TLS handshake"))?
                .map_err(tls_error)?;
            io = Box::new(tls);
        }
        timeout_at(until, tunnel(&mut io, proxy, to))
            .await
            .map_err(|_| ProxyFault::Timeout(CONNECT_STEP))??;
        Ok((io, meter))
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
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
        let tcp = socket.connect(address).await?;
        // A webhook is one small write each way; waiting to fill a segment would only delay it.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    /// The TLS configuration; each client certificate has one with sessions of its own.
    fn config(&self, identity: Option<&ClientCertificate>) -> Arc<ClientConfig> {
        let Some(identity) = identity else {
            return Arc::clone(&self.tls);
        };
        let mut known = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_IDENTITIES && !known.contains_key(identity.fingerprint()) {
            known.clear();
        }
        let config = known.entry(*identity.fingerprint()).or_insert_with(|| {
            let mut config = ClientConfig::clone(&self.tls);
            config.client_auth_cert_resolver = Arc::new(ClientIdentity(Some(identity.certified_key())));
            config.resumption = Resumption::default();
            Arc::new(config)
        });
        Arc::clone(config)
    }
}
