//! The queue beside a model of it: random schedules of enqueueing, claims, successes, failures, deliveries that are put off, lost
//! answers, lost outcomes, statements that are executed long after they were given up, crashes and takeovers, on a real PostgreSQL.
//!
//! What must hold:
//! * A delivery is sent only when everything before it in its lane has succeeded or was given up.
//! * It is sent again after a success only if that outcome was lost; no outcome of a living worker is lost.
//! * A lane has one head, its first row.
//! * Every lease of a living worker is noted, and after the worker has compared the notes with what it has in hand, nothing is leased
//!   to it that it does not know of.
//! * In the end everything is finished, once.
//!
//! A failure is shrunk to the shortest schedule that shows it.
//!
//! `ORW_TEST_SEED` and `ORW_TEST_CASES` choose other schedules, and how many.

mod checks;
mod steps;
mod workers;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use self::steps::step;
use self::world::World;
use crate::database::Database;
use orw_testkit::postgres::{Options, PrivatePostgres, Programs, SUPERUSER};

/// The value of an environment variable that is a number.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(cases: u32, steps: usize) {
    let seed = number("ORW_TEST_SEED").unwrap_or(20_261_125);
    let cases = number("ORW_TEST_CASES")
        .and_then(|n| n.try_into().ok())
        .unwrap_or(cases);
    let postgres = PrivatePostgres::start(Programs::find().expect("PostgreSQL"), Options::default())
        .expect("PostgreSQL");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = postgres.url(SUPERUSER, "postgres");
    let config = orw_egress::client_config(None).expect("TLS");
    let pool = Database::new(&url.into(), config)
        .and_then(|database| database.pool(4))
        .expect("a pool");
    runtime.block_on(async {
        let client = pool.get().await.expect("a connection");
        for schema in [
            "CREATE SCHEMA openregister_webhooks",
            include_str!("../../../../sql/migrations/0002_event.sql"),
            include_str!("../../../../sql/migrations/0004_delivery.sql"),
            include_str!("../../../../sql/migrations/0011_lane_index.sql"),
            include_str!("../../../../sql/migrations/0012_attempt_headers.sql"),
            include_str!("../../../../sql/migrations/0017_claims.sql"),
            include_str!("../../../../sql/migrations/0026_search.sql"),
            include_str!("../../../../sql/migrations/0027_put_back.sql"),
        ] {
            client.batch_execute(schema).await.expect("the schema");
        }
    });
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let repeats = std::cell::Cell::new(0);
    let result = runner.run(&prop::collection::vec(step(), 1..steps), |steps| {
        runtime.block_on(async {
            let mut world = World::new(&pool).await?;
            for step in steps {
                world.step(step).await?;
            }
            repeats.set(repeats.get() + world.finish().await?);
            Ok(())
        })
    });
    match result {
        Ok(()) => println!(
            "seed {seed}: {cases} schedules, {} repeats after lost outcomes",
            repeats.get()
        ),
        Err(TestError::Fail(reason, steps)) => panic!("seed {seed} (ORW_TEST_SEED): {reason}\n{steps:#?}"),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}

#[test]
fn successes_are_in_commit_order_whatever_happens() {
    run(32, 80);
}

/// The full size; `make soak`.
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_successes_are_in_commit_order_whatever_happens() {
    run(3000, 200);
}
