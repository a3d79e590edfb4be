//! What install is given, what it returns, and why it fails.

/// How to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: String,
    /// An existing role that will run the sidecar; `None` means the role that owns Nextcloud's tables.
    pub runtime_role: Option<String>,
    /// `ORW_CAPTURE=all`.
    pub capture_all: bool,
}

/// What install did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The migrations that this run applied.
    pub migrations: Vec<String>,
    /// The tables that are captured.
    pub captured: Vec<String>,
    /// Tables that stayed busy; discovery keeps trying.
    pub busy: Vec<String>,
}

/// Why install or uninstall failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "there is no table {0}appconfig in this database: is ORW_DATABASE_URL Nextcloud's database, and ORW_TABLE_PREFIX the \
         dbtableprefix of its config.php?"
    )]
    NotNextcloud(String),
    #[error(
        "{user} may not act for {owner}, who owns Nextcloud's tables: connect as {owner}, or run as a superuser: GRANT {owner} TO {user}"
    )]
    NotOwner { user: String, owner: String },
    #[error(
        "{owner} may not create a schema here; run as a superuser: GRANT CREATE ON DATABASE {database} TO {owner}"
    )]
    NoCreate { owner: String, database: String },
    #[error("there is no role {0}; create it first: CREATE ROLE {0} LOGIN PASSWORD '…'")]
    NoRole(String),
    #[error(
        "the schema openregister_webhooks is of version {found}, this program knows {known}: run the newer program, or restore the \
         older schema from a backup"
    )]
    Newer { found: i32, known: i32 },
    #[error("PostgreSQL {0} is too old: 14 or later is needed")]
    TooOld(String),
    #[error("these tables stayed busy: {0}; nothing else was changed, run it again")]
    Busy(String),
    #[error("another installation is at work in this database{0}; run it again when that has ended")]
    AtWork(String),
    #[error("{what}; {remedy}")]
    Encoding { what: String, remedy: String },
    #[error("{what}; {remedy}")]
    Foreign { what: String, remedy: String },
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}
