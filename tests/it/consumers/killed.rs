//! The consumers of `examples/` lose nothing and double nothing while they and the sidecar are killed at random.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use orw_testkit::Generation;
use serde_json::json;

use super::journal::{ages, change, check};
use super::program::{Program, SECRET, consumers};
use crate::support::dice::Dice;
use crate::support::postgres::Db;
use crate::support::scene::{Scene, uuid};

const OBJECTS: i32 = 200;
/// How many changes may be written that the slowest consumer does not have yet: enough to be at work, few enough that processes are
/// killed while changes are captured, too.
const LEAD: i64 = 1_000;
/// A bound for the whole run: nothing but a hang reaches it.
const LONGEST: Duration = Duration::from_secs(3600);

/// When a process is killed: when so many deliveries have succeeded.
struct Fault {
    /// A consumer, or the sidecar.
    victim: Option<usize>,
    due: i64,
}

struct Run {
    scene: Scene,
    programs: Vec<Program>,
    /// The webhook of each program.
    webhooks: Vec<i64>,
    changes: i64,
    dice: Dice,
    faults: Vec<Fault>,
    /// What is down, and until when.
    down: Vec<(Option<usize>, Instant)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-consumers installs what it needs"]
async fn consumers_lose_nothing_and_double_nothing_while_processes_are_killed() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| {
            text.parse().unwrap_or_else(|e| panic!("{name}: {e}"))
        })
    };
    let seed = number("ORW_TEST_SEED", u64::from(std::process::id()));
    let events = number("ORW_CONSUMERS_EVENTS", 10_000);
    println!("seed {seed} (ORW_TEST_SEED), {events} events (ORW_CONSUMERS_EVENTS)");
    let run = async {
        let mut run = Run::prepare(i64::try_from(events).unwrap(), Dice::new(seed)).await;
        run.until_all_is_delivered().await;
        run.nothing_is_lost_or_doubled().await;
        run.a_replay_changes_nothing().await;
    };
    tokio::time::timeout(LONGEST, run).await.expect("it hangs");
}

impl Run {
    async fn prepare(changes: i64, mut dice: Dice) -> Self {
        let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
            .fast()
            .with("ORW_TARGETS_ALLOW_HTTP", "true")
            .with("ORW_LOG", "error")
            .with("ORW_RETRY_SCHEDULE", &["1s"; 50].join(","))
            .running()
            .await;
        let mut programs = consumers().await;
        for program in &mut programs {
            program.start().await;
        }
        let mut webhooks = Vec::new();
        for program in &programs {
            let event = r"OCA\OpenRegister\Event\ObjectUpdatedEvent";
            let webhook = json!({"uri": program.url(), "event": event, "secret": SECRET});
            webhooks.push(scene.sidecar.register(webhook).await);
        }
        scene.objects(1, OBJECTS).await;
        // Each consumer six times and the sidecar eight times, and less often if there are few events.
        let kills = |most: i64| most.min(changes / 100).max(1);
        let victims = (0..programs.len())
            .map(|n| (Some(n), kills(6)))
            .chain([(None, kills(8))]);
        let mut faults: Vec<Fault> = victims
            .flat_map(|(victim, kills)| (0..kills).map(move |_| victim))
            .map(|victim| {
                let due = dice.roll(u64::try_from(changes * 9 / 10).unwrap());
                Fault {
                    victim,
                    due: 1 + i64::try_from(due).unwrap(),
                }
            })
            .collect();
        faults.sort_by_key(|fault| fault.due);
        Self {
            scene,
            programs,
            webhooks,
            changes,
            dice,
            faults,
            down: Vec::new(),
        }
    }

    /// Writes, kills and starts again, until every consumer has been sent everything and all processes run.
    async fn until_all_is_delivered(&mut self) {
        let mut writer = self.scene.db.client().await;
        let (mut written, mut spoke) = (0, Instant::now());
        let kills = self.faults.len();
        loop {
            let delivered = self.delivered().await;
            let slowest = delivered.iter().copied().min().unwrap();
            if spoke.elapsed() > Duration::from_secs(5) {
                spoke = Instant::now();
                println!(
                    "written {written}, delivered {delivered:?}, kills to come {}",
                    self.faults.len()
                );
            }
            if slowest == self.changes && self.faults.is_empty() && self.down.is_empty() {
                println!("{kills} kills");
                return;
            }
            while written < self.changes.min(slowest + LEAD) {
                let length = (1 + self.dice.roll(8)).min(u64::try_from(self.changes - written).unwrap());
                let mut objects: Vec<String> = (0..length)
                    .map(|_| {
                        uuid(1 + i32::try_from(self.dice.roll(u64::try_from(OBJECTS).unwrap())).unwrap())
                    })
                    .collect();
                objects.sort_unstable();
                change(&mut writer, &objects).await;
                written += i64::try_from(length).unwrap();
            }
            self.kill_what_is_due(&delivered).await;
            self.start_what_was_down_long_enough().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many deliveries of each webhook have succeeded.
    async fn delivered(&self) -> Vec<i64> {
        let sql =
            "SELECT webhook, state, count(*) FROM openregister_webhooks.delivery_log GROUP BY webhook, state";
        let mut succeeded = HashMap::new();
        for row in self.scene.client.query(sql, &[]).await.unwrap() {
            let state: &str = row.get(1);
            assert_eq!(state, "succeeded", "webhook {}", row.get::<_, i64>(0));
            succeeded.insert(row.get::<_, i64>(0), row.get::<_, i64>(2));
        }
        let of = |webhook: &i64| succeeded.get(webhook).copied().unwrap_or_default();
        self.webhooks.iter().map(of).collect()
    }

    async fn kill_what_is_due(&mut self, delivered: &[i64]) {
        let all = delivered.iter().sum::<i64>() / i64::try_from(delivered.len()).unwrap();
        let is_down = |victim: Option<usize>, down: &[(Option<usize>, Instant)]| {
            down.iter().any(|(other, _)| *other == victim)
        };
        for fault in std::mem::take(&mut self.faults) {
            let progress = fault.victim.map_or(all, |n| delivered[n]);
            if progress < fault.due || is_down(fault.victim, &self.down) {
                self.faults.push(fault);
                continue;
            }
            match fault.victim {
                Some(n) => self.programs[n].kill().await,
                None => self.scene.sidecar.kill().await,
            }
            let pause = Duration::from_millis(self.dice.roll(1000));
            self.down.push((fault.victim, Instant::now() + pause));
        }
    }

    async fn start_what_was_down_long_enough(&mut self) {
        for (victim, until) in std::mem::take(&mut self.down) {
            match victim {
                _ if Instant::now() < until => self.down.push((victim, until)),
                Some(n) => self.programs[n].start().await,
                None => self.scene.sidecar.start().await,
            }
        }
    }

    async fn nothing_is_lost_or_doubled(&self) {
        let ages = ages(&self.scene.client).await;
        assert_eq!(ages.values().sum::<i64>(), self.changes);
        let mut all = 0;
        for program in &self.programs {
            assert!(program.runs());
            assert_eq!(check(&program.journal().await, &ages), Ok(()), "{}", program.name);
            let repeats = program.log().matches("repeat evt_").count();
            all += repeats;
            println!(
                "{}: {} changes, each once; {repeats} repeats dropped",
                program.name, self.changes
            );
        }
        // A run in which nothing was sent twice has not tested what it is for. With few kills that can happen.
        assert!(all > 0 || self.changes < 10_000, "no delivery was repeated");
    }

    /// Everything is sent once more with the same ids, and nothing of it is stored.
    async fn a_replay_changes_nothing(&self) {
        for webhook in &self.webhooks {
            self.scene.sidecar.replay(*webhook).await;
        }
        self.scene.settled().await;
        let delivered = self.delivered().await;
        assert!(
            delivered.iter().all(|count| *count == 2 * self.changes),
            "{delivered:?}"
        );
        let ages = ages(&self.scene.client).await;
        for program in &self.programs {
            assert_eq!(check(&program.journal().await, &ages), Ok(()), "{}", program.name);
        }
        println!("a replay of all of it changed nothing");
    }
}
