//! Sessions that write objects as OpenRegister writes them.
//!
//! An update of OpenRegister sets `_updated` to the second, as text. (A time with microseconds is the mark of a bulk import, and makes the
//! reader look up when it was.)

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_postgres::{Client, Statement};

use crate::cpu::{Cpu, Used};
use crate::server::Database;

/// Rows that are written: each session has its own.
pub(crate) const ROWS: usize = 800;

/// The rows, with images of about 1 kB.
const FILL: &str = "
    INSERT INTO oc_openregister_table_1_1 (_uuid, _uri, _register, _schema, _owner, _organisation, _folder, _name, _description,
        _created, _updated, _relations, name, first_name, age, score, active, email, tags, address)
    SELECT u, 'http://localhost/index.php/apps/openregister/api/objects/1/1/' || u, '1', '1', 'admin',
           '3f1c8a52-6c0e-4a8e-9d52-0f6f7d0b4c11', (1000 + n)::text, 'Person ' || n, n::text, date_trunc('second', now()),
           date_trunc('second', now()), '[]', 'Person ' || n, 'First', 0, 1.5, true, 'person' || n || '@example.org',
           '[\"one\", \"two\", \"three\"]', '{\"street\": \"A long street in a small town 12\", \"city\": \"Utrecht\", \"zip\": \"3511 AB\"}'
    FROM generate_series(1, 800) n, concat('00000000-0000-4000-8000-', lpad(n::text, 12, '0')) AS u";

/// `$1`: the uuid, `$2`: the time to the second, `$3`: the name, `$4`: the age.
pub(crate) const UPDATE: &str = "
    UPDATE oc_openregister_table_1_1 SET _name = $3::text, _updated = $2::text::timestamp, name = $3::text, age = $4 WHERE _uuid = $1";

/// The uuid of a row.
pub(crate) fn uuid(row: usize) -> String {
    format!("00000000-0000-4000-8000-{row:012}")
}

/// The time as OpenRegister writes it.
pub(crate) fn second() -> String {
    Utc::now().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// An age that no row has: each update changes its row.
pub(crate) fn age() -> i32 {
    static LAST: AtomicI32 = AtomicI32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Creates the rows.
pub(crate) async fn fill(database: &Database) {
    let made = database.connect().await.execute(FILL, &[]).await.unwrap();
    assert_eq!(made, u64::try_from(ROWS).unwrap());
}

/// One session of Nextcloud.
struct Session {
    client: Client,
    update: Statement,
    backend: u32,
    /// Its rows are those of this remainder.
    number: usize,
    written: usize,
}

impl Session {
    async fn write(&mut self, sessions: usize) {
        let rows = ROWS / sessions;
        let row = self.number + sessions * (self.written % rows) + 1;
        let name = format!("Person {row}");
        let changed = self
            .client
            .execute(&self.update, &[&uuid(row), &second(), &name, &age()])
            .await
            .unwrap();
        assert_eq!(changed, 1, "row {row}");
        self.written += 1;
    }
}

/// The process that serves a session.
pub(crate) async fn backend(client: &Client) -> u32 {
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
    u32::try_from(row.get::<_, i32>(0)).unwrap()
}

/// The CPU time of the first change of a new session. PHP has one for each request, and it plans and compiles everything anew.
pub(crate) async fn first_change(database: &Database) -> Cpu {
    let client = database.connect().await;
    let backend = [backend(&client).await];
    let before = Used::by(backend);
    let name = "Person 1".to_owned();
    client
        .execute(UPDATE, &[&uuid(1), &second(), &name, &age()])
        .await
        .unwrap();
    Used::by(backend).since(&before)
}

/// Sessions that write side by side.
pub(crate) struct Writers(Vec<Session>);

/// What sessions wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) changes: u64,
    pub(crate) elapsed: Duration,
    /// Of the sessions' backends.
    pub(crate) cpu: Cpu,
}

impl Written {
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.changes).unwrap()) / self.elapsed.as_secs_f64()
    }
}

impl Writers {
    /// `flush`: whether a commit waits until the log is on the disk.
    pub(crate) async fn connect(database: &Database, sessions: usize, flush: bool) -> Self {
        let mut connected = Vec::new();
        for number in 0..sessions {
            let client = database.connect().await;
            let flush = if flush { "on" } else { "off" };
            client
                .batch_execute(&format!("SET synchronous_commit = {flush}"))
                .await
                .unwrap();
            let backend = backend(&client).await;
            connected.push(Session {
                update: client.prepare(UPDATE).await.unwrap(),
                client,
                backend,
                number,
                written: 0,
            });
        }
        Self(connected)
    }

    /// Each session writes until the time is over, one row a transaction.
    pub(crate) async fn write_for(&mut self, time: Duration) -> Written {
        self.write_while(move |began, _| began.elapsed() < time).await
    }

    /// Each session writes so many rows, one a transaction.
    pub(crate) async fn write(&mut self, changes: u64) -> Written {
        self.write_while(move |_, written| written < changes).await
    }

    /// Each session writes so many rows, one a transaction, at this many a second.
    pub(crate) async fn write_at(&mut self, rate: u32, changes: u64) -> Written {
        let pace = Some(Duration::from_secs(1) / rate);
        self.write_paced(move |_, written| written < changes, pace).await
    }

    async fn write_while(&mut self, go_on: impl Fn(Instant, u64) -> bool + Copy + Send + 'static) -> Written {
        self.write_paced(go_on, None).await
    }

    /// `pace`: from one write of a session to its next.
    async fn write_paced(
        &mut self,
        go_on: impl Fn(Instant, u64) -> bool + Copy + Send + 'static,
        pace: Option<Duration>,
    ) -> Written {
        let sessions = self.0.len();
        let backends: Vec<u32> = self.0.iter().map(|session| session.backend).collect();
        let before = Used::by(backends.clone());
        let began = Instant::now();
        let writing: Vec<_> = self
            .0
            .drain(..)
            .map(|mut session| {
                tokio::spawn(async move {
                    let mut written = 0;
                    while go_on(began, written) {
                        if let Some(pace) = pace {
                            let due = began + pace * u32::try_from(written).unwrap();
                            tokio::time::sleep_until(due.into()).await;
                        }
                        session.write(sessions).await;
                        written += 1;
                    }
                    (session, written)
                })
            })
            .collect();
        let mut changes = 0;
        for writer in writing {
            let (session, written) = writer.await.unwrap();
            self.0.push(session);
            changes += written;
        }
        let elapsed = began.elapsed();
        let cpu = Used::by(backends).since(&before);
        Written {
            changes,
            elapsed,
            cpu,
        }
    }
}
