//! A private PostgreSQL for this test binary, and a database of its own for every test.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use orw_testkit::Generation;
use orw_testkit::nextcloud;
use orw_testkit::postgres::{Options, PrivatePostgres, Programs, SUPERUSER};
use tokio_postgres::{Client, NoTls};

/// The unprivileged role that owns Nextcloud's database and tables, as in a real installation.
pub(crate) const NEXTCLOUD: &str = nextcloud::OWNER;
/// Its password over TCP.
pub(crate) const PASSWORD: &str = nextcloud::OWNER_PASSWORD;
/// The superuser, for what a DBA does.
pub(crate) const DBA: &str = SUPERUSER;

/// The template database with the tables that the tour of OpenRegister 0.2.13.80 left.
const TOUR_0_2_13_80: &str = "openregister_0_2_13_80";

/// A server with the template databases in it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) postgres: Arc<PrivatePostgres>,
    janitor: Sender<String>,
}

/// The server that tests share, started by the first one that asks.
static SHARED: OnceLock<Server> = OnceLock::new();

impl Server {
    /// The server that tests share. Never stop it.
    pub(crate) fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::start(Options::default()))
    }

    /// A server for one test that stops, restarts, kills or reconfigures it.
    pub(crate) async fn dedicated(options: Options) -> Self {
        tokio::task::spawn_blocking(|| Self::start(options))
            .await
            .unwrap()
    }

    fn start(options: Options) -> Self {
        let postgres = Programs::find()
            .and_then(|programs| PrivatePostgres::start(programs, options))
            .unwrap_or_else(|error| panic!("{error}"));
        let postgres = Arc::new(postgres);
        off_runtime({
            let postgres = Arc::clone(&postgres);
            move || async move { prepare(&postgres).await }
        });
        let janitor = spawn_janitor(postgres.url(DBA, "postgres"));
        Self { postgres, janitor }
    }

    /// A new database with nothing in it, owned by `nextcloud`.
    pub(crate) async fn empty(&self) -> Db {
        self.create("empty").await
    }

    /// A new database with OpenRegister's tables and the seed rows, owned by `nextcloud`.
    pub(crate) async fn openregister(&self, generation: Generation) -> Db {
        self.create(generation.database()).await
    }

    async fn create(&self, template: &str) -> Db {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        let client = connect(&self.postgres.url(DBA, "postgres")).await;
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {NEXTCLOUD}");
        client.batch_execute(&statement).await.unwrap();
        Db {
            server: self.clone(),
            name,
        }
    }
}

/// A database of one test; dropped, whoever is connected, when the test ends.
#[derive(Debug)]
pub(crate) struct Db {
    server: Server,
    name: String,
}

impl Db {
    /// On the shared server: nothing in it, owned by `nextcloud`.
    pub(crate) async fn empty() -> Self {
        shared().await.empty().await
    }

    /// On the shared server: OpenRegister 0.2.13 (magic tables).
    pub(crate) async fn openregister_0_2_13() -> Self {
        shared().await.openregister(Generation::V0_2_13).await
    }

    /// On the shared server: OpenRegister 0.2.9 (blob table).
    pub(crate) async fn openregister_0_2_9() -> Self {
        shared().await.openregister(Generation::V0_2_9).await
    }

    /// On the shared server: the tables of OpenRegister 0.2.13.80 as a recorded tour of it left them, without any row.
    pub(crate) async fn tour_0_2_13_80() -> Self {
        shared().await.create(TOUR_0_2_13_80).await
    }

    /// On the shared server: this generation.
    pub(crate) async fn openregister(generation: Generation) -> Self {
        shared().await.openregister(generation).await
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// The connection string of `role`; see [`NEXTCLOUD`] and [`DBA`].
    pub(crate) fn url(&self, role: &str) -> String {
        self.server.postgres.url(role, &self.name)
    }

    /// A connection as `nextcloud`.
    pub(crate) async fn client(&self) -> Client {
        self.client_as(NEXTCLOUD).await
    }

    pub(crate) async fn client_as(&self, role: &str) -> Client {
        connect(&self.url(role)).await
    }

    /// A new role that may log in and has no right at all; roles belong to the server, so its name is unique.
    pub(crate) async fn role(&self, prefix: &str) -> String {
        let name = format!("{prefix}_{}", uuid::Uuid::now_v7().simple());
        let statement = format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'");
        self.client_as(DBA).await.batch_execute(&statement).await.unwrap();
        name
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // The janitor ends with its server; then there is nothing to drop.
        let _ = self.server.janitor.send(std::mem::take(&mut self.name));
    }
}

async fn shared() -> &'static Server {
    tokio::task::spawn_blocking(Server::shared).await.unwrap()
}

/// A connection whose driver runs on the current runtime.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

/// The role, and the databases that others are copied from.
async fn prepare(postgres: &PrivatePostgres) {
    nextcloud::create_owner(postgres).await.unwrap();
    let dba = connect(&postgres.url(DBA, "postgres")).await;
    let generations = [Generation::V0_2_13, Generation::V0_2_9, Generation::V2_1]
        .map(|generation| (generation.database(), Some(generation)));
    for (name, generation) in [("empty", None), (TOUR_0_2_13_80, None)]
        .into_iter()
        .chain(generations)
    {
        nextcloud::create_database(postgres, name, generation)
            .await
            .unwrap();
        if name == TOUR_0_2_13_80 {
            let owner = connect(&postgres.url(NEXTCLOUD, name)).await;
            let tables = include_str!("../../fixtures/openregister-0.2.13.80.sql");
            owner.batch_execute(tables).await.unwrap();
        }
        // A database cannot be copied while anybody is connected to it.
        let close = format!("ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false");
        dba.batch_execute(&close).await.unwrap();
    }
}

/// Drops databases one after another, so that no test waits for it.
fn spawn_janitor(url: String) -> Sender<String> {
    let (sender, receiver) = channel::<String>();
    std::thread::spawn(move || {
        for name in receiver {
            let url = url.clone();
            // The server of the test may be stopped, or gone: then nothing is left to drop.
            let _ = std::panic::catch_unwind(|| {
                off_runtime(move || async move {
                    if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                        tokio::spawn(connection);
                        let _ = client
                            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                            .await;
                    }
                });
            });
        }
    });
    sender
}

/// Runs a future on a new thread with a runtime of its own, and waits for it: can be called from any runtime and from none.
fn off_runtime<F, T>(future: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = T>,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future());
    })
    .join()
    .unwrap();
}
