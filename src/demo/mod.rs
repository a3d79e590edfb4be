//! The demo shows the program at work; a part of it, the database, is there to practise with.
//!
//! Guarantees: it uses only what it starts itself, and leaves nothing behind; it reports success only if exactly the
//! events that its writes must cause have arrived, signed and in order.

mod client;
mod error;
mod plan;
mod practice;
mod report;
mod sidecar;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::client::{Administrator, ROUTE};
pub use self::error::DemoError;
pub use self::practice::practice;
use self::report::{Registered, Tally, Webhooks};
use self::sidecar::{Environment, Sidecar};
use orw_model::EntityKind;
use orw_testkit::Generation;
use orw_testkit::guardian::Guardian;
use orw_testkit::nextcloud::{self, OWNER};
use orw_testkit::postgres::{self, PrivatePostgres, Programs};
use orw_testkit::receiver::{self, Received, Receiver};
use orw_testkit::writer::WriterError;

/// How long the events of one write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long late events may take at the end.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// The administrator of the sidecars.
const ADMIN: &str = "admin";

/// One generation: its database and its sidecar.
struct Stage {
    generation: Generation,
    url: String,
    sidecar: Sidecar,
}

/// Runs the demo and returns whether everything that was expected arrived. With `keep`, everything then runs until Ctrl-C.
///
/// # Errors
/// If something that the demo needs does not work.
pub async fn run(out: &mut (impl Write + Send), keep: bool) -> Result<bool, DemoError> {
    let (dir, _remove) = make_directory()?;
    let password = random()[..16].to_owned();
    let programs = Programs::find()?;
    writeln!(
        out,
        "PostgreSQL    {}, private, removed at the end",
        programs.version()?
    )?;
    let postgres =
        tokio::task::spawn_blocking(|| PrivatePostgres::start(programs, postgres::Options::default()));
    let postgres = Arc::new(postgres.await??);
    nextcloud::create_owner(&postgres).await?;
    let receiver = Receiver::start(receiver::Options::default()).await?;
    let ca = dir.join("ca.pem");
    write(&ca, &receiver.ca_pem())?;
    writeln!(
        out,
        "receiver      {} (HTTPS, its authority is in {})",
        receiver.url(""),
        ca.display()
    )?;

    let mut stages = Vec::new();
    let mut webhooks = Webhooks::new();
    for generation in Generation::ALL {
        let (stage, registered) = set_up(&postgres, &receiver, generation, &dir, &ca, &password).await?;
        writeln!(
            out,
            "OpenRegister  {generation}: database {}, sidecar http://{}, {} webhooks",
            generation.database(),
            stage.sidecar.address(),
            registered.len()
        )?;
        stages.push(stage);
        webhooks.extend(registered);
    }

    report::heading(out)?;
    let late = AtomicBool::new(false);
    let writers = stages.iter().map(|stage| async {
        let arrived = async |expected: &plan::Expected| {
            let complete = |received: &[Received]| {
                Tally::of(received, &webhooks).total(stage.generation) >= expected.total()
            };
            // The summary reports what is missing; from here on the writes do not wait for events.
            if !late.load(Ordering::Relaxed) && receiver.wait_until(complete, PATIENCE).await.is_err() {
                late.store(true, Ordering::Relaxed);
            }
        };
        let expected = plan::perform(&stage.url, stage.generation, arrived).await?;
        Ok::<_, WriterError>((stage.generation, expected))
    });
    let mut printed = 0;
    let written = futures::future::try_join_all(writers);
    let expected = follow(out, &receiver, &webhooks, &mut printed, written).await??;
    if late.load(Ordering::Relaxed) {
        let complete = |received: &[Received]| {
            let tally = Tally::of(received, &webhooks);
            expected
                .iter()
                .all(|(generation, expected)| tally.total(*generation) >= expected.total())
        };
        let complete = receiver.wait_until(complete, LAST_PATIENCE);
        let _ = follow(out, &receiver, &webhooks, &mut printed, complete).await?;
    }
    for stage in &mut stages {
        stage.sidecar.check()?;
    }
    let good = Tally::of(&receiver.received(), &webhooks).summary(out, &expected)?;
    if keep {
        invite(out, &postgres, &receiver, &stages, &password)?;
        let stop = async { tokio::signal::ctrl_c().await };
        follow(out, &receiver, &webhooks, &mut printed, stop).await??;
    }
    // Each of them waits for a process.
    tokio::task::spawn_blocking(move || drop((stages, postgres))).await?;
    Ok(good)
}

/// Prints what arrives until `task` ends.
async fn follow<T>(
    out: &mut impl Write,
    receiver: &Receiver,
    webhooks: &Webhooks,
    printed: &mut usize,
    task: impl Future<Output = T>,
) -> io::Result<T> {
    let mut arrivals = receiver.arrivals();
    let mut task = std::pin::pin!(task);
    loop {
        let done = tokio::select! {
            done = &mut task => Some(done),
            Ok(()) = arrivals.changed() => None,
        };
        arrivals.mark_unchanged();
        for request in receiver.received_since(*printed) {
            report::line(out, &request, webhooks)?;
            *printed += 1;
        }
        out.flush()?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
}

/// Sets up the database, the sidecar, and a webhook for each kind of entity.
async fn set_up(
    postgres: &PrivatePostgres,
    receiver: &Receiver,
    generation: Generation,
    dir: &Path,
    ca: &Path,
    password: &str,
) -> Result<(Stage, Webhooks), DemoError> {
    let database = generation.database();
    nextcloud::create_database(postgres, database, Some(generation)).await?;
    let url = postgres.url(OWNER, database);
    let environment: Environment = vec![
        ("ORW_DATABASE_URL", url.clone()),
        ("ORW_ADMINS", format!("{ADMIN}:{password}")),
        ("ORW_MASTER_KEY", random()),
        ("ORW_TARGETS_ALLOW", "localhost,127.0.0.0/8,::1".to_owned()),
        ("ORW_CA_FILE", ca.display().to_string()),
    ];
    let log_dir = dir.to_owned();
    let start = move || Sidecar::start(&log_dir, database, &environment);
    let mut sidecar = tokio::task::spawn_blocking(start).await??;
    let administrator = Administrator::new(sidecar.address(), ADMIN, password);
    administrator.wait(&mut sidecar).await?;
    let mut webhooks = BTreeMap::new();
    for kind in EntityKind::ALL {
        let path = format!("/{generation}/{}", kind.name());
        let event = format!(r"OCA\OpenRegister\Event\{}*", kind.class_name());
        let secret = format!("whsec_{}", random());
        let id = administrator
            .register(&event, &receiver.url(&path), &secret)
            .await?;
        let secret = SecretString::from(secret);
        webhooks.insert(
            path,
            Registered {
                generation,
                id,
                secret,
            },
        );
    }
    let stage = Stage {
        generation,
        url,
        sidecar,
    };
    Ok((stage, webhooks))
}

/// Prints how to go on from here.
fn invite(
    out: &mut impl Write,
    postgres: &PrivatePostgres,
    receiver: &Receiver,
    stages: &[Stage],
    password: &str,
) -> io::Result<()> {
    writeln!(out, "\nEverything keeps running until Ctrl-C.")?;
    for stage in stages {
        let (generation, database) = (stage.generation, stage.generation.database());
        let insert = match generation {
            Generation::V0_2_13 | Generation::V2_1 => {
                "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) \
                 VALUES (gen_random_uuid(), '1', '1', 'Me')"
            }
            Generation::V0_2_9 => {
                "INSERT INTO oc_openregister_objects (uuid, register, schema, object) \
                 VALUES (gen_random_uuid(), '1', '1', '{\\\"name\\\": \\\"Me\\\"}')"
            }
        };
        let (socket, port) = (postgres.socket_dir(), postgres.port());
        writeln!(out, "\nOpenRegister {generation}")?;
        writeln!(
            out,
            "  write a row: psql -h {} -p {port} -U {OWNER} {database} -c \"{insert}\"",
            socket.display()
        )?;
        writeln!(
            out,
            "  register:    curl -X POST 'http://{}{ROUTE}' -u '{ADMIN}:{password}' -H 'OCS-APIRequest: true' \\\n                 \
             -H 'Content-Type: application/json' \\\n                 \
             -d '{{\"httpMethod\": \"POST\", \"uri\": \"{}\", \"event\": \"OCA\\\\OpenRegister\\\\Event\\\\ObjectCreatedEvent\"}}'",
            stage.sidecar.address(),
            receiver.url("/mine"),
        )?;
        writeln!(out, "  log:         {}", stage.sidecar.log().display())?;
    }
    writeln!(out, "\nWhat arrives at {} is printed here.", receiver.url("/…"))?;
    out.flush()
}

/// A directory that is removed when this process ends.
fn make_directory() -> Result<(PathBuf, Guardian), DemoError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let name = format!(
        "orw-demo-{}-{:08x}",
        std::process::id(),
        Uuid::now_v7().as_u128() & 0xffff_ffff
    );
    let dir = std::env::temp_dir().join(name);
    let io = |source| DemoError::Io {
        what: dir.display().to_string(),
        source,
    };
    std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(io)?;
    let guardian = Guardian::of_directory(&dir).map_err(io)?;
    Ok((dir, guardian))
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    std::fs::write(path, text).map_err(|source| DemoError::Io {
        what: path.display().to_string(),
        source,
    })
}

/// 32 random bytes in base64.
fn random() -> String {
    let mut hash = Sha256::new();
    for _ in 0..4 {
        hash.update(Uuid::now_v7().as_bytes());
    }
    STANDARD.encode(hash.finalize())
}
