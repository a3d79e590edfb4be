//! Connections to Nextcloud's database.
//!
//! Guarantees: every connection has a connect timeout, TCP keepalives and an application name; TLS is verified against
//! the system's roots and `ORW_CA_FILE`; no error or log names a password.

mod session;

use std::str::FromStr;
use std::time::Duration;

use deadpool::managed::QueueMode;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::Host;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use session::{Parameter, Session, Write};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(
        "ORW_DATABASE_URL is not a PostgreSQL connection string: {0}; it looks like postgres://user:password@host:5432/nextcloud"
    )]
    Url(#[source] tokio_postgres::Error),
    #[error("there is no connection to PostgreSQL: {0}")]
    Away(String),
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(#[source] tokio_postgres::Error),
    #[error("the pool of connections gave none: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}

/// How to connect; cheap to clone.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
}

/// Where the database is and who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, or the path of a socket; usually one.
    pub hosts: Vec<String>,
    pub database: String,
    pub user: String,
    /// Whether the connection string has a password.
    pub password: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.database, self.hosts.join(", "))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("dbname", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Reads the connection string.
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn new(url: &SecretString, tls: rustls::ClientConfig) -> Result<Self, DatabaseError> {
        let mut config = Config::from_str(url.expose_secret()).map_err(DatabaseError::Url)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("openregister-webhooks");
        }
        config
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30));
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
        })
    }

    /// Where the database is and who connects, for people; never the password.
    #[must_use]
    pub fn target(&self) -> Target {
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(i, host)| match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(i)),
                Host::Tcp(name) => format!("{name}:{}", port(i)),
                Host::Unix(path) => format!("{}/.s.PGSQL.{}", path.display(), port(i)),
            });
        let addresses = self.config.get_hostaddrs().iter().enumerate();
        let hosts: Vec<String> = if self.config.get_hosts().is_empty() {
            addresses.map(|(i, a)| format!("{a}:{}", port(i))).collect()
        } else {
            hosts.collect()
        };
        let user = self.config.get_user().map(str::to_owned);
        let user = user.or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        Target {
            hosts,
            database: self.config.get_dbname().unwrap_or(&user).to_owned(),
            user,
            password: self.config.get_password().is_some(),
        }
    }

    /// A connection outside the pools. The receiver rings for notifications and closes with the connection, so that whoever holds a
    /// session lock learns of its loss. It buffers one ring.
    ///
    /// # Errors
    /// [`DatabaseError::Connect`].
    pub async fn connect(&self) -> Result<(Client, Notifications), DatabaseError> {
        self.connect_hearing(|_| {}).await
    }

    /// The same; `hear` gets the payload of each notification before the receiver rings.
    ///
    /// # Errors
    /// [`DatabaseError::Connect`].
    pub(crate) async fn connect_hearing(
        &self,
        hear: impl Fn(&str) + Send + 'static,
    ) -> Result<(Client, Notifications), DatabaseError> {
        let (client, mut connection) = self
            .config
            .connect(self.tls.clone())
            .await
            .map_err(DatabaseError::Connect)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(message))) => {
                        hear(message.payload());
                        // A full channel means that the receiver will ring anyway.
                        let _ = sender.try_send(());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::debug!(error = %crate::error_text::chain(&error), "database connection ended");
                        return;
                    }
                    None => return,
                }
            }
        });
        Ok((client, Notifications { receiver }))
    }

    /// A pool for short transactions.
    ///
    /// # Errors
    /// If the pool cannot be built.
    pub fn pool(&self, size: usize) -> Result<Pool, DatabaseError> {
        self.pool_with(size, "")
    }

    /// A pool for short transactions; each of its connections runs `setup` first.
    ///
    /// # Errors
    /// If the pool cannot be built.
    pub fn pool_with(&self, size: usize, setup: &'static str) -> Result<Pool, DatabaseError> {
        let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move {
                if setup.is_empty() {
                    return Ok(());
                }
                client.batch_execute(setup).await.map_err(HookError::Backend)
            })
        });
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        Pool::builder(manager)
            .max_size(size)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(30)))
            .create_timeout(Some(CONNECT_TIMEOUT))
            // The connection that was used last has its plans and rows in the processor's caches.
            .queue_mode(QueueMode::Lifo)
            .post_create(prepare)
            .build()
            .map_err(|error| DatabaseError::Away(error.to_string()))
    }
}

/// Rings if a notification has arrived since the last ring; ends with the connection.
#[derive(Debug)]
pub struct Notifications {
    receiver: tokio::sync::mpsc::Receiver<()>,
}

impl Notifications {
    /// Waits for a notification; `false` when the connection has ended. Safe to cancel.
    pub async fn ring(&mut self) -> bool {
        self.receiver.recv().await.is_some()
    }

    /// Whether a notification has arrived since the last ring; takes it.
    pub fn has_rung(&mut self) -> bool {
        self.receiver.try_recv().is_ok()
    }
}
