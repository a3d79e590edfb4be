//! What capture costs Nextcloud's writes: one row of about 1 kB a transaction, updated as OpenRegister does it.
//!
//! Each of the compared has a database of its own on one server, so that they can take turns quickly. Sidecars run all the time; while
//! nothing is written to their database they do next to nothing.

mod large;

use std::time::Duration;

use crate::Scope;
use crate::cpu::{Cpu, Used};
use crate::references;
use crate::report::{Figure, Ratio, Report, Table};
use crate::rounds;
use crate::server::{Database, Server};
use crate::sidecar::{Environment, Sidecar};
use crate::wal;
use crate::writers::{self, Writers, Written};

/// Updates of one round, of which the CPU time is taken: few, so that what is compared meets the same caches and the same neighbours.
const UPDATES: u64 = 100;
/// How many such rounds there are for each round of the rates.
const COST_ROUNDS: usize = 20;
/// How many first changes of a session there are for each round of the rates.
const FIRST_ROUNDS: usize = 10;
/// Sessions that write as fast as they can, side by side.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Minimal,
    Textbook,
    Unsubscribed,
    Unread,
    Read,
    ReadAll,
}

const KINDS: [Kind; 7] = [
    Kind::Plain,
    Kind::Minimal,
    Kind::Textbook,
    Kind::Unsubscribed,
    Kind::Unread,
    Kind::Read,
    Kind::ReadAll,
];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "without triggers",
            Self::Minimal => "minimal trigger, unread",
            Self::Textbook => "textbook trigger, unread",
            Self::Unsubscribed => "installed, no webhook for objects",
            Self::Unread => "captured, not read",
            Self::Read => "captured and read, webhook for deletions",
            Self::ReadAll => "captured and read, `ORW_CAPTURE=all`",
        }
    }

    /// What empties the table that nobody reads.
    const fn emptying(self) -> Option<&'static str> {
        match self {
            Self::Minimal => Some("TRUNCATE minimal_change"),
            Self::Textbook => Some("TRUNCATE textbook_change"),
            Self::Unread => Some(
                "TRUNCATE openregister_webhooks.change_0, openregister_webhooks.change_1, openregister_webhooks.change_2",
            ),
            _ => None,
        }
    }
}

/// One of the compared, ready.
struct Variant {
    kind: Kind,
    database: Database,
    writers: Writers,
    sidecar: Option<Sidecar>,
}

/// One measurement.
struct Sample {
    written: Written,
    wal: u64,
    /// Of the sidecar and its sessions, until everything is read.
    reader: Cpu,
}

impl Sample {
    fn micros(&self) -> f64 {
        self.written.cpu.micros_each(self.written.changes)
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn wal_each(&self) -> f64 {
        self.wal as f64 / self.written.changes as f64
    }
}

pub(super) async fn run(scope: Scope) -> Report {
    let server = Server::start().await;
    let mut variants = Vec::new();
    for kind in KINDS {
        variants.push(Variant::new(&server, kind).await);
    }
    let cost = costs(scope, &server, &mut variants).await;
    let first = rounds::in_turn(scope.rounds * FIRST_ROUNDS, &mut variants, async |variant| {
        writers::first_change(&variant.database).await
    })
    .await;
    let mut tables = vec![cost_table(&cost), first_table(&first)];
    if !scope.ratios_only {
        tables.push(rates(scope, &server, &mut variants).await);
        tables.push(large::table(scope, &server, &mut variants).await);
    }
    Report {
        tables,
        ratios: ratios(&cost),
    }
}

/// The cost of a change, by variant and round. Sessions are begun anew now and then: where a
/// session's memory happens to lie changes its cost for as long as it lives.
async fn costs(scope: Scope, server: &Server, variants: &mut [Variant]) -> Vec<Vec<Sample>> {
    let mut costs: Vec<Vec<Sample>> = variants.iter().map(|_| Vec::new()).collect();
    for _ in 0..scope.rounds {
        for variant in &mut *variants {
            variant.writers = Writers::connect(&variant.database, 1, false).await;
            variant.writers.write(UPDATES).await;
        }
        let samples = rounds::in_turn(COST_ROUNDS, variants, async |variant| {
            variant
                .measure(server, async |writers| writers.write(UPDATES).await)
                .await
        })
        .await;
        for (all, some) in costs.iter_mut().zip(samples) {
            all.extend(some);
        }
    }
    costs
}

impl Variant {
    async fn new(server: &Server, kind: Kind) -> Self {
        let database = server.database(&format!("{kind:?}").to_lowercase()).await;
        writers::fill(&database).await;
        let environment = Environment::new(&database, None);
        match kind {
            Kind::Plain => {}
            Kind::Minimal => references::install_minimal(&database).await,
            Kind::Textbook => references::install_textbook(&database).await,
            Kind::Unsubscribed | Kind::Read => database.install(false).await,
            Kind::Unread | Kind::ReadAll => database.install(true).await,
        }
        let sidecar = match kind {
            Kind::Read | Kind::ReadAll => Some(environment.run().await),
            _ => None,
        };
        if kind == Kind::Read {
            environment.add_webhook("ObjectDeletedEvent", "https://localhost:1/", &[]);
        }
        Self {
            kind,
            writers: Writers::connect(&database, 1, false).await,
            database,
            sidecar,
        }
    }

    /// Measures what `write` does, and waits until a sidecar has read it.
    async fn measure(&mut self, server: &Server, write: impl AsyncFn(&mut Writers) -> Written) -> Sample {
        let reading = self.reading(server).await;
        let before = Used::by(reading.clone());
        let log = wal::written(&server.dba).await;
        let written = write(&mut self.writers).await;
        let wal = wal::written(&server.dba).await - log;
        let client = self.database.connect().await;
        if self.sidecar.is_some() {
            until_read(&client).await;
        }
        let reader = Used::by(reading).since(&before);
        Sample { written, wal, reader }
    }

    /// Empties what nobody reads. Every plan that names it is made anew then, so this is not done between short measurements.
    async fn empty(&self) {
        if let Some(sql) = self.kind.emptying() {
            self.database.connect().await.batch_execute(sql).await.unwrap();
        }
    }

    /// The sidecar's process and those of its sessions.
    async fn reading(&self, server: &Server) -> Vec<u32> {
        let Some(sidecar) = &self.sidecar else {
            return Vec::new();
        };
        let mut processes = server.backends(&self.database, "openregister-webhooks").await;
        processes.push(sidecar.pid());
        processes
    }
}

/// Waits until the sidecar has read everything.
pub(super) async fn until_read(client: &tokio_postgres::Client) {
    const UNREAD: &str = "
        SELECT EXISTS (SELECT FROM openregister_webhooks.change c WHERE NOT pg_visible_in_snapshot(c.xid, (
            SELECT snapshot::pg_snapshot FROM (SELECT * FROM openregister_webhooks.position_0
                UNION ALL SELECT * FROM openregister_webhooks.position_1) p ORDER BY n DESC LIMIT 1)))";
    while client.query_one(UNREAD, &[]).await.unwrap().get(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn place(kind: Kind) -> usize {
    KINDS.iter().position(|k| *k == kind).unwrap()
}

/// How much more than without triggers: microseconds of the writer's session for each change, by round.
fn extra(cost: &[Vec<Sample>], kind: Kind) -> Vec<f64> {
    let pairs = cost[place(kind)].iter().zip(&cost[place(Kind::Plain)]);
    pairs.map(|(one, plain)| one.micros() - plain.micros()).collect()
}

fn cost_table(cost: &[Vec<Sample>]) -> Table {
    let of_minimal = rounds::median(extra(cost, Kind::Minimal));
    let wal_of = |samples: &[Sample]| rounds::median(samples.iter().map(Sample::wal_each));
    let plain_wal = wal_of(&cost[place(Kind::Plain)]);
    let row = |kind: Kind| {
        let samples = &cost[place(kind)];
        let median = |figure: fn(&Sample) -> f64| rounds::median(samples.iter().map(figure));
        let extra = rounds::median(extra(cost, kind));
        let reads = matches!(kind, Kind::Read | Kind::ReadAll);
        let of = |value: f64, decimals, shown| {
            if shown {
                Figure::new(value, decimals)
            } else {
                Figure::NONE
            }
        };
        let captures = kind != Kind::Plain;
        let figures = vec![
            Figure::new(median(Sample::micros), 1),
            Figure::new(
                rounds::mean(
                    samples
                        .iter()
                        .map(|s| crate::cpu::micros_each(s.written.cpu.system, s.written.changes)),
                ),
                1,
            ),
            of(extra, 1, captures),
            of(extra / of_minimal, 2, captures),
            Figure::new(wal_of(samples), 0),
            of(wal_of(samples) - plain_wal, 0, captures),
            of(median(|s| s.reader.micros_each(s.written.changes)), 1, reads),
        ];
        (kind.name().to_owned(), figures)
    };
    Table {
        title: format!(
            "One client, one row a transaction, medians of {} rounds of {UPDATES} updates, without \
             waiting for the disk: CPU time of the writer's session in µs a change, bytes of \
             write-ahead log a change, CPU time of the sidecar and its sessions in µs a change (at the pace of this one client)",
            cost[0].len()
        ),
        columns: [
            "",
            "CPU",
            "of it system (mean)",
            "extra",
            "extra, of the minimal trigger's",
            "WAL",
            "extra",
            "reader's CPU",
        ]
        .map(str::to_owned)
        .into(),
        rows: KINDS.map(row).into(),
    }
}

fn first_table(first: &[Vec<Cpu>]) -> Table {
    let micros = |cpu: &Cpu| cpu.micros_each(1);
    let row = |kind: Kind| {
        let own = &first[place(kind)];
        let extra = own.iter().zip(&first[place(Kind::Plain)]);
        let extra = rounds::median(extra.map(|(one, plain)| micros(one) - micros(plain)));
        let extra = if kind == Kind::Plain {
            Figure::NONE
        } else {
            Figure::new(extra, 0)
        };
        (
            kind.name().to_owned(),
            vec![Figure::new(rounds::median(own.iter().map(micros)), 0), extra],
        )
    };
    Table {
        title: format!(
            "The first change of a new session, which plans and compiles everything, medians of {} rounds: CPU time of the session in µs",
            first[0].len()
        ),
        columns: ["", "CPU", "extra"].map(str::to_owned).into(),
        rows: KINDS.map(row).into(),
    }
}

fn ratios(cost: &[Vec<Sample>]) -> Vec<Ratio> {
    let minimal = extra(cost, Kind::Minimal);
    let of_minimal = |kind| rounds::median(extra(cost, kind)) / rounds::median(minimal.clone());
    let wal_of = |kind: Kind| rounds::median(cost[place(kind)].iter().map(Sample::wal_each));
    let of_plain = |kind: Kind| rounds::ratio(&cost[place(kind)], &cost[place(Kind::Plain)], Sample::micros);
    let ratio = |name: &str, value| Ratio {
        name: name.to_owned(),
        value,
    };
    vec![
        ratio(
            "captured: the session's extra CPU, of the minimal trigger's",
            of_minimal(Kind::Unread),
        ),
        ratio(
            "no webhook: the session's CPU, of that without triggers",
            of_plain(Kind::Unsubscribed),
        ),
        ratio(
            "captured: WAL, of the minimal trigger's",
            wal_of(Kind::Unread) / wal_of(Kind::Minimal),
        ),
    ]
}

/// Updates a second, as fast as the clients can.
async fn rates(scope: Scope, server: &Server, variants: &mut [Variant]) -> Table {
    let mut columns = vec![String::new()];
    let mut rows: Vec<(String, Vec<Figure>)> = KINDS.map(|kind| (kind.name().to_owned(), Vec::new())).into();
    for clients in CLIENTS {
        for variant in &mut *variants {
            variant.writers = Writers::connect(&variant.database, clients, true).await;
        }
        let samples = rounds::in_turn(scope.rounds, variants, async |variant| {
            let sample = variant
                .measure(server, async |writers| writers.write_for(scope.seconds).await)
                .await;
            variant.empty().await;
            sample
        })
        .await;
        columns.push(format!(
            "a second, {clients} client{}",
            if clients == 1 { "" } else { "s" }
        ));
        columns.extend(["of that without", "of the minimal", "of the textbook"].map(str::to_owned));
        for (kind, (_, figures)) in KINDS.into_iter().zip(&mut rows) {
            let own = &samples[place(kind)];
            let of = |other| {
                Figure::new(
                    rounds::ratio(own, &samples[place(other)], |s| s.written.rate()),
                    2,
                )
            };
            figures.push(Figure::new(
                rounds::median(own.iter().map(|s| s.written.rate())),
                0,
            ));
            figures.extend([of(Kind::Plain), of(Kind::Minimal), of(Kind::Textbook)]);
        }
    }
    Table {
        title: format!(
            "Updates a second, as fast as the clients can, medians of {} rounds",
            scope.rounds
        ),
        columns,
        rows,
    }
}
