//! What every measurement of delivery needs: a database, the program, the receiver, and what each of them has used.

use std::time::Duration;

use tokio_postgres::Client;

use super::receiver::Process;
use crate::cpu::{Cpu, Used};
use crate::server::{Database, Server};
use crate::sidecar::{Environment, Sidecar};
use crate::writers;

/// Objects that are written.
pub(super) const OBJECTS: i64 = 20_000;
/// A webhook whose own limits are not met here.
const UNLIMITED: [&str; 6] = ["--rate", "10000", "--burst", "100000", "--in-flight", "64"];
/// How the sessions of the program and of the writers are called.
const SIDECAR: &str = "openregister-webhooks";
const WRITER: &str = "writer";

/// More objects like those of `writers`: so many that none is written twice within a second.
const MULTIPLY: &str = "
    INSERT INTO oc_openregister_table_1_1 (_uuid, _uri, _register, _schema, _owner, _organisation, _folder, _name, _description,
        _created, _updated, _relations, name, first_name, age, score, active, email, tags, address)
    SELECT gen_random_uuid(), _uri, _register, _schema, _owner, _organisation, _folder, _name, _description,
        _created, _updated, _relations, name, first_name, age, score, active, email, tags, address
    FROM oc_openregister_table_1_1, generate_series(1, 24)";

pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) database: Database,
    pub(super) receiver: Process,
    pub(super) environment: Environment,
    _ca: tempfile::NamedTempFile,
}

/// CPU time by who used it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) sidecar: Cpu,
    /// The sessions of the program in the database.
    pub(super) sessions: Cpu,
    pub(super) writers: Cpu,
    pub(super) receiver: Cpu,
}

impl Spent {
    /// Seconds for 1,000 deliveries: all together, then each.
    pub(super) fn each_thousand(&self, deliveries: u64) -> [f64; 5] {
        let seconds = |cpu: Cpu| cpu.micros_each(deliveries) / 1000.0;
        let each = [self.sidecar, self.sessions, self.writers, self.receiver].map(seconds);
        [each.iter().sum(), each[0], each[1], each[2], each[3]]
    }
}

/// What they had used at a moment.
pub(super) struct Before([Used; 4]);

impl Scene {
    pub(super) async fn new(name: &str) -> Self {
        let server = Server::start().await;
        let database = server.database(name).await;
        writers::fill(&database).await;
        let client = database.connect().await;
        client.batch_execute(MULTIPLY).await.unwrap();
        database.install(false).await;
        let ca = tempfile::NamedTempFile::new().unwrap();
        let receiver = Process::start(ca.path());
        Self {
            environment: Environment::new(&database, Some(ca.path())),
            server,
            database,
            receiver,
            _ca: ca,
        }
    }

    /// Registers so many webhooks; their ids.
    pub(super) fn webhooks(&self, count: usize) -> Vec<String> {
        let uri = &self.receiver.url;
        let add = |_| {
            self.environment
                .add_webhook("ObjectUpdatedEvent", uri, &UNLIMITED)
        };
        (0..count).map(add).collect()
    }

    pub(super) fn remove(&self, webhooks: &[String]) {
        for webhook in webhooks {
            self.environment.remove_webhook(webhook);
        }
    }

    /// Sessions of Nextcloud.
    pub(super) async fn writers(&self, count: usize) -> Vec<Client> {
        let mut writers = Vec::with_capacity(count);
        for _ in 0..count {
            let client = self.database.connect().await;
            let name = format!("SET application_name = '{WRITER}'");
            client.batch_execute(&name).await.unwrap();
            writers.push(client);
        }
        writers
    }

    pub(super) async fn before(&self, sidecar: &Sidecar) -> Before {
        let sessions = self.server.backends(&self.database, SIDECAR).await;
        let writers = self.server.backends(&self.database, WRITER).await;
        Before([
            Used::by([sidecar.pid()]),
            Used::by(sessions),
            Used::by(writers),
            Used::by([self.receiver.pid()]),
        ])
    }

    pub(super) async fn since(&self, before: &Before, sidecar: &Sidecar) -> Spent {
        let now = self.before(sidecar).await;
        let used = |at: usize| now.0[at].since(&before.0[at]);
        Spent {
            sidecar: used(0),
            sessions: used(1),
            writers: used(2),
            receiver: used(3),
        }
    }
}

/// MiB of memory that a process has now (`VmRSS`), or had at most (`VmHWM`).
pub(super) fn mebibytes(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(line)).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes / 1024.0
}

/// How long a program that has nothing to do is left alone before it is looked at.
pub(super) const REST: Duration = Duration::from_secs(3);
