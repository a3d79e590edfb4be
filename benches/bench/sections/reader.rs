//! What it costs to read changes: CPU time of the sidecar and of its sessions, batches and write-ahead log for each change, beside
//! the CPU time of a plain UPDATE's session in the same round.
//!
//! The changes are written at a steady rate while the sidecar runs, and at once while it is stopped, so that it reads them in full batches.

use rustix::process::{Pid, Signal, kill_process};

use crate::Scope;
use crate::cpu::{Cpu, Used};
use crate::report::{Figure, Ratio, Report, Table};
use crate::rounds;
use crate::server::{Database, Server};
use crate::sidecar::{Environment, Sidecar};
use crate::wal;
use crate::writers::{self, Writers};

/// Changes a second, and how many.
const RATE: u32 = 1500;
const STEADY: u64 = 3000;
/// Changes that are read at once; ten full batches.
const BACKLOG: u64 = 10_000;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Unnamed,
    NoMatch,
    Enqueued,
}

const KINDS: [Kind; 4] = [Kind::Plain, Kind::Unnamed, Kind::NoMatch, Kind::Enqueued];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "the UPDATE itself, without triggers (CPU of its session)",
            Self::Unnamed => "read; no webhook for this event",
            Self::NoMatch => "read, stored; a webhook whose filter does not match",
            Self::Enqueued => "read, stored, enqueued for a paused webhook",
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

/// One measurement: for each change.
#[derive(Clone, Copy)]
struct Sample {
    sidecar: f64,
    sessions: f64,
    batches: f64,
    wal: f64,
}

impl Sample {
    fn cpu(&self) -> f64 {
        self.sidecar + self.sessions
    }
}

pub(super) async fn run(scope: Scope) -> Report {
    let server = Server::start().await;
    let mut variants = Vec::new();
    for kind in KINDS {
        variants.push(Variant::new(&server, kind).await);
    }
    let steady = rounds::in_turn(scope.rounds, &mut variants, async |variant| {
        variant.steady(&server).await
    })
    .await;
    let backlog = rounds::in_turn(scope.rounds, &mut variants, async |variant| {
        variant.backlog(&server).await
    })
    .await;
    let mut ratios = Vec::new();
    for (how, samples) in [("at 1,500 a second", &steady), ("in batches of 1,000", &backlog)] {
        for (kind, samples_of) in KINDS.into_iter().zip(samples).skip(1) {
            ratios.push(Ratio {
                name: format!("{how}: {}: CPU, of the UPDATE's", kind.name()),
                value: rounds::ratio(samples_of, &samples[0], Sample::cpu),
            });
        }
    }
    Report {
        tables: vec![
            table(&format!("{STEADY} changes at {RATE} a second"), &steady),
            table(&format!("{BACKLOG} changes in batches of 1,000"), &backlog),
        ],
        ratios,
    }
}

impl Variant {
    async fn new(server: &Server, kind: Kind) -> Self {
        let database = server.database(&format!("{kind:?}").to_lowercase()).await;
        writers::fill(&database).await;
        let environment = Environment::new(&database, None);
        let mut sidecar = None;
        if kind != Kind::Plain {
            database.install(false).await;
            let receiver = "https://localhost:1/";
            match kind {
                Kind::Plain => {}
                Kind::Unnamed => drop(environment.add_webhook("ObjectDeletedEvent", receiver, &[])),
                Kind::NoMatch => {
                    let filter = r#"{"event.newObject.data.name": "nobody"}"#;
                    environment.add_webhook("ObjectUpdatedEvent", receiver, &["--filter", filter]);
                }
                Kind::Enqueued => {
                    let webhook = environment.add_webhook("ObjectUpdatedEvent", receiver, &[]);
                    environment.pause_webhook(&webhook);
                }
            }
            sidecar = Some(environment.run().await);
        }
        let mut writers = Writers::connect(&database, 1, false).await;
        writers.write(1000).await;
        let variant = Self {
            kind,
            database,
            writers,
            sidecar,
        };
        variant.until_read().await;
        variant
    }

    /// Changes at a steady rate.
    async fn steady(&mut self, server: &Server) -> Sample {
        let before = self.usage(server).await;
        let written = self.writers.write_at(RATE, STEADY).await;
        self.until_read().await;
        let used = self.usage(server).await.since(&before, STEADY);
        self.sample(used, written.cpu, STEADY)
    }

    /// Changes that were all written before they are read.
    async fn backlog(&mut self, server: &Server) -> Sample {
        if let Some(sidecar) = &self.sidecar {
            signal(sidecar, Signal::STOP);
        }
        let written = self.writers.write(BACKLOG).await;
        let before = self.usage(server).await;
        if let Some(sidecar) = &self.sidecar {
            signal(sidecar, Signal::CONT);
        }
        self.until_read().await;
        let used = self.usage(server).await.since(&before, BACKLOG);
        self.sample(used, written.cpu, BACKLOG)
    }

    fn sample(&self, read: Sample, written: Cpu, changes: u64) -> Sample {
        if self.kind == Kind::Plain {
            return Sample {
                sidecar: 0.0,
                sessions: written.micros_each(changes),
                batches: 0.0,
                wal: 0.0,
            };
        }
        read
    }

    async fn usage(&self, server: &Server) -> Usage {
        let (mut sessions, mut batches) = (Vec::new(), 0);
        if self.sidecar.is_some() {
            sessions = server.backends(&self.database, "openregister-webhooks").await;
            let newest = "SELECT max(n) FROM (SELECT n FROM openregister_webhooks.position_0 \
                          UNION ALL SELECT n FROM openregister_webhooks.position_1) p";
            let client = self.database.connect().await;
            batches = client.query_one(newest, &[]).await.unwrap().get(0);
        }
        Usage {
            sidecar: Used::by(self.sidecar.iter().map(Sidecar::pid)),
            sessions: Used::by(sessions),
            batches,
            wal: wal::written(&server.dba).await,
        }
    }

    /// Waits until the sidecar has read everything.
    async fn until_read(&self) {
        if self.sidecar.is_some() {
            super::writer::until_read(&self.database.connect().await).await;
        }
    }
}

/// What was used by a moment.
struct Usage {
    sidecar: Used,
    sessions: Used,
    /// The reader stores a position with each batch.
    batches: i64,
    wal: u64,
}

impl Usage {
    /// For each of so many changes.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn since(&self, before: &Self, changes: u64) -> Sample {
        Sample {
            sidecar: self.sidecar.since(&before.sidecar).micros_each(changes),
            sessions: self.sessions.since(&before.sessions).micros_each(changes),
            batches: (self.batches - before.batches) as f64 / changes as f64,
            wal: (self.wal - before.wal) as f64 / changes as f64,
        }
    }
}

fn signal(sidecar: &Sidecar, signal: Signal) {
    let pid = i32::try_from(sidecar.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.unwrap(), signal).unwrap();
}

fn table(what: &str, samples: &[Vec<Sample>]) -> Table {
    let row = |(kind, own): (Kind, &Vec<Sample>)| {
        let median = |figure: fn(&Sample) -> f64| rounds::median(own.iter().map(figure));
        let read = kind != Kind::Plain;
        let of = |value, decimals| {
            if read {
                Figure::new(value, decimals)
            } else {
                Figure::NONE
            }
        };
        let figures = vec![
            of(median(|s| s.sidecar), 1),
            Figure::new(median(|s| s.sessions), 1),
            of(rounds::ratio(own, &samples[0], Sample::cpu), 2),
            of(median(|s| s.batches), 3),
            of(median(|s| s.wal), 0),
        ];
        (kind.name().to_owned(), figures)
    };
    Table {
        title: format!(
            "{what}: CPU time in µs a change, batches a change, bytes of write-ahead log a change while they are read, medians of {} rounds",
            samples[0].len()
        ),
        columns: [
            "",
            "sidecar",
            "its sessions",
            "both, of the UPDATE's",
            "batches",
            "WAL",
        ]
        .map(str::to_owned)
        .into(),
        rows: KINDS.into_iter().zip(samples).map(row).collect(),
    }
}
