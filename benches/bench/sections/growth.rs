//! Growth: what 10,000 registrations and 2,000 captured tables cost a registration that gets events.
//!
//! The same load, 100 changes a second of one table, each for one webhook, goes to databases that differ in what else there is. Each has a
//! program of its own; all of these run for the whole time, and the loads take turns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_postgres::Client;

use super::delivery::receiver::{DIGITS, MARK, Process};
use crate::Scope;
use crate::cpu::Used;
use crate::report::{Figure, Report, Table};
use crate::rounds;
use crate::server::{Database, Server};
use crate::sidecar::{Environment, Sidecar};
use crate::writers::{self, age, backend, second};

/// Changes a second.
const RATE: u32 = 100;
/// Changes before it is measured: plans are made, connections opened, references read.
const WARM: u32 = 200;
/// Registrations in all, as many as there may be.
const REGISTRATIONS: i64 = 10_000;
/// Tables of objects in all.
const TABLES: i64 = 2_000;

/// The organisation of the objects.
const OURS: &str = "3f1c8a52-6c0e-4a8e-9d52-0f6f7d0b4c11";

/// `$1`: the uuid, `$2`: the time to the second, `$3`: the name, `$4`: the age.
const CREATE: &str = "
    INSERT INTO oc_openregister_table_1_1 (_uuid, _uri, _register, _schema, _owner, _organisation, _folder, _name, _description,
        _created, _updated, _relations, name, first_name, age, score, active, email, tags, address)
    SELECT $1::text, _uri, _register, _schema, _owner, _organisation, _folder, $3::text, _description,
        $2::text::timestamp, $2::text::timestamp, _relations, $3::text, first_name, $4, score, active, email, tags, address
    FROM oc_openregister_table_1_1 WHERE _uuid = '00000000-0000-4000-8000-000000000001'";

/// What else there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    OtherEvents,
    OtherFilters,
    Tables,
}

const KINDS: [Kind; 4] = [Kind::Alone, Kind::OtherEvents, Kind::OtherFilters, Kind::Tables];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone => "two registrations, one table of objects",
            Self::OtherEvents => "10,000 registrations, the others of other events",
            Self::OtherFilters => "10,000 registrations of these events, each for an organisation of its own",
            Self::Tables => "2,000 captured tables",
        }
    }

    /// Makes it, before capture is installed.
    async fn before_install(self, client: &Client) {
        if self == Self::Tables {
            // In transactions of their own: the locks of all of them are more than there may be.
            let make = format!(
                "DO $$ BEGIN FOR n IN 2 .. {TABLES} LOOP \
                     EXECUTE format('CREATE TABLE oc_openregister_table_1_%s (LIKE oc_openregister_table_1_1 INCLUDING ALL)', n); \
                     COMMIT; \
                 END LOOP; END $$"
            );
            client.batch_execute(&make).await.unwrap();
        }
    }

    /// Makes it, beside the registrations that are there. The program does not run yet.
    async fn beside_registrations(self, client: &Client) {
        let columns = match self {
            Self::Alone | Self::Tables => return,
            Self::OtherEvents => "'SourceUpdatedEvent', ARRAY['SourceUpdatedEvent'], event_filter",
            Self::OtherFilters => "event, classes, replace(event_filter, '3f1c8a52', lpad(n::text, 8, '0'))",
        };
        // Copies without secrets, which are sealed for one registration.
        let copy = format!(
            "INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes, event_filter) \
             SELECT revision, user_id, http_method, uri, {columns} \
             FROM openregister_webhooks.webhook, generate_series(2, {REGISTRATIONS} / 2) n"
        );
        let made = client.execute(&copy, &[]).await.unwrap();
        assert_eq!(i64::try_from(made).unwrap(), REGISTRATIONS - 2);
    }
}

/// What is done to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Updates,
    Creations,
}

const LOADS: [Load; 2] = [Load::Updates, Load::Creations];

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Updates => "updates",
            Self::Creations => "creations",
        }
    }

    const fn statement(self) -> &'static str {
        match self {
            Self::Updates => writers::UPDATE,
            Self::Creations => CREATE,
        }
    }

    fn uuid(self, number: u32) -> String {
        match self {
            Self::Updates => writers::uuid(usize::try_from(number).unwrap() % writers::ROWS + 1),
            Self::Creations => format!("00000000-0000-4000-9000-{number:012}"),
        }
    }
}

/// One of the compared, ready.
struct Variant {
    database: Database,
    sidecar: Sidecar,
    writer: Client,
    backend: u32,
    /// The number of the next write.
    next: u32,
    load: Load,
}

/// One measurement: milliseconds, and microseconds of CPU for each change.
struct Sample {
    median: f64,
    slow: f64,
    sidecar: f64,
    sessions: f64,
    writer: f64,
}

pub(super) async fn run(scope: Scope) -> Report {
    let server = Server::start().await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    let receiver = Process::start(ca.path());
    let mut variants = Vec::new();
    for kind in KINDS {
        let mut variant = Variant::new(&server, kind, &receiver, ca.path()).await;
        for load in LOADS {
            variant.load = load;
            variant.measure(&server, &receiver, WARM).await;
        }
        variants.push(variant);
    }
    let mut tables = Vec::new();
    let count = RATE * u32::try_from(scope.seconds.as_secs()).unwrap();
    for load in LOADS {
        let samples = rounds::in_turn(scope.rounds, &mut variants, async |variant| {
            variant.load = load;
            variant.measure(&server, &receiver, count).await
        })
        .await;
        tables.push(table(load, &samples));
    }
    Report {
        tables,
        ratios: Vec::new(),
    }
}

impl Variant {
    async fn new(server: &Server, kind: Kind, receiver: &Process, ca: &std::path::Path) -> Self {
        let database = server.database(&format!("{kind:?}").to_lowercase()).await;
        writers::fill(&database).await;
        let client = database.connect().await;
        kind.before_install(&client).await;
        database.install(false).await;
        let environment = Environment::new(&database, Some(ca));
        let filter = format!(r#"{{"event.object.organisation": "{OURS}"}}"#);
        let updates = format!(r#"{{"event.newObject.organisation": "{OURS}"}}"#);
        for (event, filter) in [("ObjectUpdatedEvent", updates), ("ObjectCreatedEvent", filter)] {
            let options = ["--rate", "10000", "--burst", "100000", "--filter", &filter];
            environment.add_webhook(event, &receiver.url, &options);
        }
        kind.beside_registrations(&client).await;
        let sidecar = environment.run().await;
        let writer = database.connect().await;
        let backend = backend(&writer).await;
        Self {
            database,
            sidecar,
            writer,
            backend,
            next: 0,
            load: Load::Updates,
        }
    }

    /// Writes so many changes, and waits for their events.
    async fn measure(&mut self, server: &Server, receiver: &Process, count: u32) -> Sample {
        receiver.reset();
        let sessions = server.backends(&self.database, "openregister-webhooks").await;
        let used = || {
            [
                Used::by([self.sidecar.pid()]),
                Used::by(sessions.clone()),
                Used::by([self.backend]),
            ]
        };
        let before = used();
        let committed = self.write(count).await;
        receiver.until(count.into()).await;
        let after = used();
        let [sidecar, sessions, writer] =
            [0, 1, 2].map(|part| after[part].since(&before[part]).micros_each(count.into()));
        self.next += count;
        let arrived = receiver.arrived();
        let times = arrived.at.iter().filter_map(|(number, at)| {
            let micros = at - committed.get(number)?;
            Some(f64::from(i32::try_from(micros).ok()?) / 1000.0)
        });
        let mut times: Vec<f64> = times.collect();
        assert_eq!(times.len(), usize::try_from(count).unwrap());
        times.sort_by(f64::total_cmp);
        let part = |part: usize| times[(times.len() - 1) * part / 100];
        Sample {
            median: part(50),
            slow: part(99),
            sidecar,
            sessions,
            writer,
        }
    }

    /// When each write was known to be committed, in microseconds of the wall clock, by its number.
    async fn write(&self, count: u32) -> BTreeMap<u32, i64> {
        let statement = self.writer.prepare(self.load.statement()).await.unwrap();
        let began = Instant::now();
        let mut committed = BTreeMap::new();
        for n in 0..count {
            let due = began + Duration::from_secs(1) / RATE * n;
            tokio::time::sleep_until(due.into()).await;
            let number = self.next + n;
            let name = format!("{MARK}{number:0DIGITS$}");
            let written = self
                .writer
                .execute(&statement, &[&self.load.uuid(number), &second(), &name, &age()])
                .await
                .unwrap();
            assert_eq!(written, 1);
            committed.insert(number, Utc::now().timestamp_micros());
        }
        committed
    }
}

fn table(load: Load, samples: &[Vec<Sample>]) -> Table {
    let row = |(kind, own): (Kind, &Vec<Sample>)| {
        let mut figures = Vec::new();
        let mut show = |figure: fn(&Sample) -> f64, decimals| {
            figures.push(Figure::new(rounds::median(own.iter().map(figure)), decimals));
            let ratio = rounds::ratio(own, &samples[0], figure);
            figures.push(Figure::new(ratio, 2));
        };
        show(|s| s.median, 2);
        show(|s| s.slow, 1);
        show(|s| s.sidecar + s.sessions, 0);
        show(|s| s.writer, 0);
        for figure in [|s: &Sample| s.sidecar, |s: &Sample| s.sessions] {
            figures.push(Figure::new(rounds::median(own.iter().map(figure)), 0));
        }
        (kind.name().to_owned(), figures)
    };
    Table {
        title: format!(
            "{RATE} {} a second of one table, each for one webhook: milliseconds from the commit to the receipt, and CPU time in µs a change; \
             each beside what it is of the first row's; medians of {} rounds",
            load.name(),
            samples[0].len()
        ),
        columns: [
            "",
            "median ms",
            "of the first row's",
            "99 %",
            "of the first row's",
            "program and its sessions",
            "of the first row's",
            "writer's session",
            "of the first row's",
            "program",
            "its sessions",
        ]
        .map(str::to_owned)
        .into(),
        rows: KINDS.into_iter().zip(samples).map(row).collect(),
    }
}
