//! The listener of the console.
//!
//! Guarantees: connections are counted and limited, and whatever one client does, a place is left for the others ([`crate::shares`]); a
//! client that has not logged in within a time is cut off; without TLS nobody logs in from another machine if there is a certificate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commands::Context;
use super::credentials::Credentials;
use super::error::{ConsoleError, code};
use super::limits::Limits;
use super::login::Logins;
use super::opening::{Opening, open};
use super::session::Session;
use super::sessions::Sessions;
use super::users::ConsoleUser;
use super::wire::Wire;
use crate::listener_tls::{Current, ListenerTls};
use crate::shares::{Place, Shares};
use crate::supervise::ending;

/// How long accepting pauses after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);
/// The log says at most this often that connections are refused.
const LOG_EACH: Duration = Duration::from_secs(60);
/// When the operating system asks whether a silent client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The console, which listens but does not serve yet; cheap to clone.
#[derive(Clone)]
pub struct Console {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
}

/// What every connection needs. Kept when serving starts again after a failure: connections that were accepted before may still be open.
struct Shared {
    context: Context,
    logins: Logins,
    sessions: Sessions,
    tls: Option<Arc<ListenerTls>>,
    places: Arc<Shares>,
    limits: Limits,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// Listens, for these users. `master_key` is `ORW_MASTER_KEY`; `tls` speaks [`ALPN`](super::ALPN).
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        users: &[ConsoleUser],
        master_key: Option<&SecretString>,
        tls: Option<Arc<ListenerTls>>,
        limits: Limits,
        context: Context,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener: Arc::new(listener),
            shared: Arc::new(Shared {
                context,
                logins: Logins::new(Credentials::new(users, master_key)),
                sessions: Sessions::default(),
                tls,
                places: Shares::new(limits.connections),
                limits,
            }),
        })
    }

    /// The address that it listens on. If the port was 0, this has the one that was chosen.
    ///
    /// # Errors
    /// If the operating system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`; then commands that run may finish within a bounded time.
    pub async fn serve(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let mut logged = None;
        loop {
            let next = async {
                // While all places are taken, further clients wait in the kernel's queue.
                self.shared.places.room().await;
                self.listener.accept().await
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "console: a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let client = peer.ip().to_canonical();
            let Some(place) = self.shared.places.take(client) else {
                if logged.is_none_or(|logged: Instant| logged.elapsed() >= LOG_EACH) {
                    logged = Some(Instant::now());
                    tracing::warn!(%client, "console: a connection was refused: this client already has as many as are free for others");
                }
                continue;
            };
            let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
            connections.spawn(async move { shared.connection(stream, client, place, stop).await });
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(ending::REQUESTS, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "console: commands were cut off: they did not end within {} s",
                ending::REQUESTS.as_secs()
            );
        }
    }
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        client: IpAddr,
        place: Place,
        stop: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let limit = self.limits.login(place.scarce());
        let begun = tokio::select! {
            begun = tokio::time::timeout(limit, self.begin(stream, client, &stop)) => begun,
            () = stop.cancelled() => return,
        };
        match begun {
            Ok(Some((session, application))) => session.run(&application).await,
            Ok(None) => {}
            Err(_) => tracing::debug!(%client, "console: a client took too long to log in"),
        }
    }

    /// The connection's beginning and the login; `None` if there is no session. Everything that it waits for is within the caller's limit.
    async fn begin(
        &self,
        stream: TcpStream,
        client: IpAddr,
        stop: &CancellationToken,
    ) -> Option<(Session, String)> {
        let (io, startup, tls) = match open(stream, self.tls.as_deref()).await {
            Ok(Opening::Session { io, startup, tls }) => (io, startup, tls),
            Ok(Opening::Cancel { pid, key }) => {
                self.cancel(client, pid, key);
                return None;
            }
            Ok(Opening::Refused { io, error }) => {
                Wire::new(io).end(Some(error)).await;
                return None;
            }
            Err(error) => {
                tracing::debug!(%client, %error, "console: a connection ended before it began");
                return None;
            }
        };
        let mut wire = Wire::new(io);
        if let Some(error) = self.refuses(tls.as_deref(), client) {
            wire.end(Some(error)).await;
            return None;
        }
        let user = match self
            .logins
            .log_in(&mut wire, &startup, tls.as_deref(), client)
            .await
        {
            Ok(user) => user,
            Err(error) => {
                tracing::debug!(%client, %error, "console: a login failed");
                wire.end(error.as_told()).await;
                return None;
            }
        };
        let registered = match self.sessions.enter() {
            Ok(registered) => registered,
            Err(error) => {
                wire.end(Some(ConsoleError::fatal(code::INTERNAL, error.to_string())))
                    .await;
                return None;
            }
        };
        tracing::debug!(user = user.name, role = %user.role, %client, tls = tls.is_some(), "console: logged in");
        let session = Session::new(
            wire,
            user,
            self.context.clone(),
            registered,
            stop.clone(),
            (Arc::clone(&self.places), self.limits),
        );
        Some((
            session,
            startup
                .parameters
                .get("application_name")
                .cloned()
                .unwrap_or_default(),
        ))
    }

    /// Where there is a certificate, passwords and answers do not cross a network in clear.
    fn refuses(&self, tls: Option<&Current>, client: IpAddr) -> Option<ConsoleError> {
        if self.tls.is_none() || tls.is_some() || client.is_loopback() {
            return None;
        }
        let error = ConsoleError::fatal(
            code::BAD_AUTHORIZATION,
            "this console demands TLS from other machines",
        );
        Some(error.with_hint("connect with sslmode=require, or better verify-full"))
    }

    /// A request to cancel. Wrong keys count as wrong passwords, so that nobody finds one by trying.
    fn cancel(&self, client: IpAddr, pid: i32, key: [u8; 4]) {
        if self.logins.charge(client) && self.sessions.cancel(pid, key) {
            self.logins.refund(client);
        }
    }
}

/// Asks the operating system to notice that a client is gone.
fn keep_alive(stream: &TcpStream) {
    let keep = rustix::net::sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE));
    if let Err(error) = keep {
        tracing::debug!(%error, "console: keepalive cannot be switched on");
    }
}
