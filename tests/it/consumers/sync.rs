//! The copy that `examples/sync` keeps is equal to OpenRegister's objects, and its check would say so if it were not.

use std::process::Command;

use orw_testkit::Generation;
use orw_testkit::writer::{Object, Place, Row, Writer};
use serde_json::{Value, json};

use super::program::{Program, SECRET, example, installed};
use crate::support::dice::Dice;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::Scene;
use crate::support::skipped::skipped;

struct Plan {
    generation: Generation,
    /// Objects that are there before the copy begins.
    before: usize,
    /// Writes while it is kept.
    writes: usize,
    /// How often each of the two processes is killed.
    kills: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-consumers installs what it needs"]
async fn a_copy_is_equal_while_processes_are_killed_whatever_the_generation() {
    let Some(python) = installed("ORW_CONSUMERS_PYTHON") else {
        return skipped(
            "the copy of examples/sync",
            "Python or its packages are not installed",
        );
    };
    for (generation, before, writes, kills) in [
        (Generation::V0_2_13, 500, 2_000, 5),
        (Generation::V0_2_9, 50, 200, 1),
        (Generation::V2_1, 50, 200, 1),
    ] {
        let plan = Plan {
            generation,
            before,
            writes,
            kills,
        };
        Copying::prepare(&python, &plan).await.run(&plan).await;
    }
}

struct Copying {
    python: String,
    scene: Scene,
    sync: Program,
    writer: Writer,
    webhook: i64,
    dice: Dice,
    objects: Vec<Object>,
    deleted: Vec<Object>,
}

/// Properties of every type that the schema has, some of them missing.
fn properties(dice: &mut Dice) -> Row {
    let number = dice.roll(1_000_000);
    let mut all = json!({
        "name": format!("Ada \"{number}\" Lövelace"), "firstName": "2024-01-15", "age": number, "score": 9.90, "active": number.is_multiple_of(2),
        "born": "1815-12-10", "seen": "2026-01-15T10:30:00+00:00", "email": "ada@example.org", "tags": ["a", number.to_string()],
        "address": {"street": "Kerkstraat", "no": 12}, "when": "true", "nickname": null
    });
    let all = all.as_object_mut().unwrap();
    for name in ["score", "born", "tags", "address"] {
        if dice.roll(4) == 0 {
            all.insert(name.to_owned(), Value::Null);
        }
    }
    all.clone()
}

impl Copying {
    async fn prepare(python: &str, plan: &Plan) -> Self {
        let scene = Scene::on(Db::openregister(plan.generation).await)
            .fast()
            .with("ORW_TARGETS_ALLOW_HTTP", "true")
            .with("ORW_RETRY_SCHEDULE", &["1s"; 50].join(","))
            .running()
            .await;
        let writer = Writer::connect(&scene.db.url(NEXTCLOUD), plan.generation)
            .await
            .unwrap();
        let mut dice = Dice::new(plan.before as u64);
        let mut objects = Vec::new();
        for _ in 0..plan.before {
            objects.push(
                writer
                    .create(Place::PEOPLE, &properties(&mut dice))
                    .await
                    .unwrap(),
            );
        }
        let mut sync = Program::sync(python).await;
        sync.start().await;
        let webhook = json!({"uri": sync.url(), "event": r"OCA\OpenRegister\Event\Object*", "secret": SECRET, "gapEvents": true});
        let webhook = scene.sidecar.register(webhook).await;
        Self {
            python: python.to_owned(),
            scene,
            sync,
            writer,
            webhook,
            dice,
            objects,
            deleted: Vec::new(),
        }
    }

    async fn run(&mut self, plan: &Plan) {
        // The backfill runs among the writes.
        self.backfill().await;
        let kills = 2 * plan.kills;
        let pause = plan.writes / (kills + 1);
        for write in 0..plan.writes {
            self.write().await;
            if write > 0 && write.is_multiple_of(pause) {
                // An odd one is the copy's, an even one the sidecar's.
                if (write / pause).is_multiple_of(2) {
                    self.scene.sidecar.kill().await;
                    self.scene.sidecar.start().await;
                } else {
                    self.sync.kill().await;
                    self.sync.start().await;
                }
            }
        }
        self.scene.settled().await;
        let (code, said) = self.check(&[]);
        println!("{:?}, {kills} kills: {said}", plan.generation);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains(&format!("EQUAL: {} objects", self.objects.len())),
            "{said}"
        );
        self.the_check_finds_what_differs_and_a_backfill_mends_it().await;
    }

    async fn backfill(&self) {
        let id = self.webhook.to_string();
        self.scene
            .json(&["backfill", "--webhook", &id, "--background", "--json"])
            .await;
    }

    /// One write as OpenRegister does it.
    async fn write(&mut self) {
        let place = usize::try_from(self.dice.roll(self.objects.len() as u64)).unwrap();
        match self.dice.roll(20) {
            0..=3 => {
                let new = self
                    .writer
                    .create(Place::PEOPLE, &properties(&mut self.dice))
                    .await;
                self.objects.push(new.unwrap());
            }
            4 | 5 if self.objects.len() > 10 => {
                let gone = self.objects.swap_remove(place);
                self.writer.soft_delete(&gone).await.unwrap();
                self.deleted.push(gone);
            }
            6 if self.objects.len() > 10 => {
                let gone = self.objects.swap_remove(place);
                self.writer.purge(&gone).await.unwrap();
            }
            7 => {
                if let Some(back) = self.deleted.pop() {
                    self.writer.restore(&back).await.unwrap();
                    self.objects.push(back);
                }
            }
            8 => self.writer.lock(&self.objects[place], 3600).await.unwrap(),
            9 => self.writer.unlock(&self.objects[place]).await.unwrap(),
            _ => {
                let properties = properties(&mut self.dice);
                self.writer.put(&self.objects[place], &properties).await.unwrap();
            }
        }
    }

    /// Runs `check.py`.
    fn check(&self, more: &[&str]) -> (Option<i32>, String) {
        let (source, copy) = (self.scene.db.url(NEXTCLOUD), self.sync.database());
        let mut check = Command::new(&self.python);
        check.arg(example("sync/check.py"));
        check
            .args(["--source", &source, "--copy", &copy, "--wait", "2"])
            .args(more);
        let done = check.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (
            done.status.code(),
            format!("{}{}", text(&done.stdout), text(&done.stderr)),
        )
    }

    async fn the_check_finds_what_differs_and_a_backfill_mends_it(&self) {
        let copy = self.sync.client().await;
        let [changed, lost] = [0, 1].map(|n| self.objects[n].uuid.clone());
        let tamper = [
            format!("UPDATE openregister_object SET data = '{{\"name\": \"Eve\"}}' WHERE uuid = '{changed}'"),
            format!("DELETE FROM openregister_object WHERE uuid = '{lost}'"),
            "INSERT INTO openregister_object (uuid, data, sequence) VALUES ('stranger', '{}', 1)".to_owned(),
        ];
        copy.batch_execute(&tamper.join("; ")).await.unwrap();
        // One property each, of every type.
        let properties = [
            ("name", "\"Eve\""),
            ("age", "-1"),
            ("score", "9.91"),
            ("active", "\"neither\""),
            ("born", "\"1815-12-11\""),
            ("seen", "\"2026-01-15T10:30:01+00:00\""),
            ("tags", "[\"a\"]"),
            ("address", "{\"street\": \"Kerkstraat\", \"no\": 13}"),
            ("nickname", "\"Ada\""),
        ];
        for (object, (name, value)) in self.objects[2..].iter().zip(properties) {
            let sql = "UPDATE openregister_object SET data = jsonb_set(data::jsonb, ARRAY[$2], $3::text::jsonb) WHERE uuid = $1";
            let done = copy.execute(sql, &[&object.uuid, &name, &value]).await.unwrap();
            assert_eq!(done, 1);
        }
        let (code, said) = self.check(&[]);
        assert_eq!(code, Some(1), "{said}");
        for expected in [
            format!("{changed} has another content in the copy"),
            format!("{lost} is not in the copy"),
            "stranger is not in OpenRegister any more".to_owned(),
            "12 differ".to_owned(),
        ] {
            assert!(said.contains(&expected), "{expected} is not in {said}");
        }
        let (code, said) = self.check(&["--repair"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("1 objects marked as deleted") && said.contains("11 differ"),
            "{said}"
        );
        self.backfill().await;
        self.scene.settled().await;
        let (code, said) = self.check(&[]);
        assert_eq!(code, Some(0), "{said}");
    }
}
