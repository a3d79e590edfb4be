//! What every check is given.

use tokio_postgres::Client;

use super::finding::Finding;
use crate::config::Settings;
use crate::database::Database;

/// The findings of a check; an error becomes a finding of its own.
pub(super) type Checked = Result<Vec<Finding>, tokio_postgres::Error>;

/// The installation that is examined.
#[derive(Debug)]
pub(super) struct Examined<'a> {
    pub(super) client: &'a Client,
    pub(super) database: &'a Database,
    pub(super) settings: &'a Settings,
    /// The schema of Nextcloud's tables, and their prefix.
    pub(super) host_schema: String,
    pub(super) table_prefix: String,
}
