//! One session: what a client that has logged in asks, and the answers, in the simple and in the extended protocol.
//!
//! Guarantees: a message is answered before the next one is read; a command takes a limited time; a session that does nothing for too
//! long ends, sooner if connections are scarce; whatever a client sends, the session takes a bounded amount of memory.

mod execute;
mod extended;
mod notify;
mod prepared;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SERVER_VERSION;
use super::commands::Context;
use super::error::{ConsoleError, code};
use super::frame::LONGEST;
use super::limits::Limits;
use super::login::User;
use super::sessions::Registered;
use super::wire::{Wire, WireError};
use crate::shares::Shares;
use crate::terminal::Line;
use notify::Attempts;
use prepared::{Named, Portal, Prepared};

/// How often an idle session looks whether connections are scarce, at most.
const LOOK: Duration = Duration::from_secs(10);

/// One session.
pub(super) struct Session {
    wire: Wire,
    user: User,
    context: Context,
    registered: Registered,
    stop: CancellationToken,
    places: Arc<Shares>,
    limits: Limits,
    statements: Named<Arc<Prepared>>,
    portals: Named<Portal>,
    transaction: TransactionStatus,
    /// After an error in the extended protocol everything is skipped until the client says `Sync`.
    skipping: bool,
    /// The attempts that are told of, after `LISTEN`.
    listening: Option<Attempts>,
}

/// Why a session ends.
pub(super) enum End {
    /// The client said so, or it went away.
    Left,
    /// The client is told why.
    Told(ConsoleError),
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error.as_told() {
            Some(told) => Self::Told(told),
            None => {
                tracing::debug!(%error, "console: a session ended");
                Self::Left
            }
        }
    }
}

impl Session {
    pub(super) fn new(
        wire: Wire,
        user: User,
        context: Context,
        registered: Registered,
        stop: CancellationToken,
        (places, limits): (Arc<Shares>, Limits),
    ) -> Self {
        Self {
            wire,
            user,
            context,
            registered,
            stop,
            places,
            limits,
            statements: Named::default(),
            portals: Named::default(),
            transaction: TransactionStatus::Idle,
            skipping: false,
            listening: None,
        }
    }

    /// Greets the client and serves it until it leaves.
    pub(super) async fn run(mut self, application: &str) {
        let end = match self.greet(application).await {
            Ok(()) => self.serve().await,
            Err(error) => error.into(),
        };
        let told = match end {
            End::Left => None,
            End::Told(error) => Some(error),
        };
        self.wire.end(told).await;
    }

    /// What PostgreSQL sends after a login.
    async fn greet(&mut self, application: &str) -> Result<(), WireError> {
        self.wire
            .feed(PgWireBackendMessage::Authentication(Authentication::Ok))
            .await?;
        let application: String = Line(application).to_string().chars().take(64).collect();
        let user = self.user.name.clone();
        for (name, value) in [
            ("server_version", SERVER_VERSION),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"),
            ("TimeZone", "UTC"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "off"),
            ("in_hot_standby", "off"),
            ("default_transaction_read_only", "off"),
            ("application_name", &application),
            ("session_authorization", &user),
        ] {
            let status = ParameterStatus::new(name.to_owned(), value.to_owned());
            self.wire
                .feed(PgWireBackendMessage::ParameterStatus(status))
                .await?;
        }
        let key = SecretKey::I32(i32::from_be_bytes(self.registered.key));
        let key = BackendKeyData::new(self.registered.pid, key);
        self.wire.feed(PgWireBackendMessage::BackendKeyData(key)).await?;
        self.ready().await
    }

    async fn serve(&mut self) -> End {
        loop {
            let message = match self.next().await {
                Ok(message) => message,
                Err(end) => return end,
            };
            if let Err(end) = self.handle(message).await {
                return end;
            }
        }
    }

    /// The next message. While the session is idle nothing of the last answer is kept.
    async fn next(&mut self) -> Result<PgWireFrontendMessage, End> {
        if self.wire.is_quiet() && self.portals.is_empty() {
            self.wire.shrink();
        }
        let since = Instant::now();
        loop {
            // As in PostgreSQL, nothing is told within a transaction, or in the middle of an exchange.
            let may_tell =
                self.transaction == TransactionStatus::Idle && self.portals.is_empty() && !self.skipping;
            let look = tokio::time::sleep(LOOK.min(self.limits.idle(true)));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    let message = "openregister-webhooks ends";
                    return Err(End::Told(ConsoleError::fatal(code::SHUTDOWN, message)));
                }
                message = self.wire.receive(LONGEST) => return Ok(message?),
                heard = notify::next(&mut self.listening), if may_tell && self.wire.is_quiet() => {
                    self.tell(heard).await?;
                    continue;
                }
                () = look => {}
            }
            // Who listens waits for us, not we for it.
            if self.listening.is_some() {
                continue;
            }
            if since.elapsed() >= self.limits.idle(self.places.scarce()) {
                let message = "the session did nothing for too long";
                return Err(End::Told(ConsoleError::fatal(code::IDLE, message)));
            }
        }
    }

    async fn handle(&mut self, message: PgWireFrontendMessage) -> Result<(), End> {
        if self.skipping
            && !matches!(
                message,
                PgWireFrontendMessage::Sync(_) | PgWireFrontendMessage::Terminate(_)
            )
        {
            return Ok(());
        }
        match message {
            PgWireFrontendMessage::Terminate(_) => Err(End::Left),
            PgWireFrontendMessage::Query(query) => self.simple(&query.query).await,
            PgWireFrontendMessage::Sync(_) => {
                self.skipping = false;
                // Portals live as long as their transaction.
                if self.transaction == TransactionStatus::Idle {
                    self.portals.clear();
                }
                Ok(self.ready().await?)
            }
            PgWireFrontendMessage::Flush(_) => Ok(self.wire.flush().await?),
            other => match self.extended(other).await? {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.skipping = true;
                    self.failed(error).await
                }
            },
        }
    }

    /// The simple protocol: every command of a text, until one fails.
    async fn simple(&mut self, text: &str) -> Result<(), End> {
        match prepared::split(text) {
            Ok(commands) if commands.is_empty() => {
                let empty = pgwire::messages::response::EmptyQueryResponse::new();
                self.wire
                    .feed(PgWireBackendMessage::EmptyQueryResponse(empty))
                    .await?;
            }
            Ok(commands) => {
                for tokens in commands {
                    if let Err(error) = self.command(&tokens).await? {
                        self.failed(error).await?;
                        break;
                    }
                }
            }
            Err(error) => self.failed(error).await?,
        }
        self.portals.clear();
        Ok(self.ready().await?)
    }

    /// Tells the client of an error; the session ends if that is fatal.
    async fn failed(&mut self, error: ConsoleError) -> Result<(), End> {
        if error.is_fatal() {
            return Err(End::Told(error));
        }
        self.transaction = self.transaction.to_error_state();
        let response = PgWireBackendMessage::ErrorResponse(error.response());
        Ok(self.wire.feed(response).await?)
    }

    async fn ready(&mut self) -> Result<(), WireError> {
        let ready = ReadyForQuery::new(self.transaction);
        self.wire.feed(PgWireBackendMessage::ReadyForQuery(ready)).await?;
        self.wire.flush().await
    }
}
