//! A private PostgreSQL for measurements: `fsync` on, no checkpoint in between; what is compared gets a database each.

use openregister_webhooks::capture::{InstallOptions, install};
use orw_testkit::Generation;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::postgres::{Options, PrivatePostgres, Programs, SUPERUSER};
use tokio_postgres::{Client, NoTls};

pub(crate) struct Server {
    postgres: PrivatePostgres,
    /// A session of the superuser.
    pub(crate) dba: Client,
}

/// A database with the tables of OpenRegister 0.2.13.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        // After a checkpoint the first change of a page writes the whole page to the log: that would meet one of those compared.
        let settings = [("max_wal_size", "16GB"), ("checkpoint_timeout", "1h")];
        let options = Options {
            durable: true,
            settings: settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Options::default()
        };
        let postgres = PrivatePostgres::start(Programs::find().unwrap(), options).unwrap();
        nextcloud::create_owner(&postgres).await.unwrap();
        let dba = connect(&postgres.url(SUPERUSER, "postgres")).await;
        Self { postgres, dba }
    }

    pub(crate) async fn database(&self, name: &str) -> Database {
        nextcloud::create_database(&self.postgres, name, Some(Generation::V0_2_13))
            .await
            .unwrap();
        Database {
            url: self.postgres.url(OWNER, name),
            name: name.to_owned(),
        }
    }

    /// The processes that serve the sessions of this program (such as `openregister-webhooks`) in a database.
    pub(crate) async fn backends(&self, database: &Database, application: &str) -> Vec<u32> {
        let query = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name = $2";
        let rows = self
            .dba
            .query(query, &[&database.name, &application])
            .await
            .unwrap();
        rows.iter()
            .map(|row| u32::try_from(row.get::<_, i32>(0)).unwrap())
            .collect()
    }
}

impl Server {
    /// How many transactions there were in a database.
    pub(crate) async fn transactions(&self, database: &Database) -> i64 {
        let query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
        let row = self.dba.query_one(query, &[&database.name]).await.unwrap();
        row.get(0)
    }
}

impl Database {
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// Installs capture; `capture_all`: of every kind, whoever is registered.
    pub(crate) async fn install(&self, capture_all: bool) {
        let options = InstallOptions {
            table_prefix: "oc_".to_owned(),
            runtime_role: None,
            capture_all,
        };
        install(&mut self.connect().await, &options, |_, _| {})
            .await
            .unwrap();
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
