//! Where a page is played: a database, free ports in place of the usual ones, and, if the page asks for it, a sidecar that runs.

use orw_testkit::Generation;
use serde_json::json;

use super::page::{Action, Block, Kind, Page, Scene};
use super::session::Session;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::scene;
use crate::support::sidecar::{ADMIN, MASTER_KEY, free_port};
use crate::support::wait::{PATIENCE, until};

/// The object of the examples.
const OBJECT: &str = "0190a5e4-3b7c-7c1e-9f1a-2d6f5b8c9e01";
/// The connection string of the examples.
const URL: &str = "postgres://nextcloud:PASSWORD@localhost:5432/nextcloud?sslmode=disable";
/// What is typed where a password is asked for.
const PASSWORD: &str = "practice";
/// What pages call the terminals that they tell people to open.
const TERMINALS: [&str; 4] = ["first", "second", "third", "fourth"];

pub(super) struct Stage {
    session: Session,
    place: Place,
    /// The usual addresses, and those that take their place.
    instead: Vec<(String, String)>,
}

enum Place {
    /// The program is not installed.
    Database(Db),
    Running(Box<scene::Scene>),
}

impl Place {
    const fn db(&self) -> &Db {
        match self {
            Self::Database(db) => db,
            Self::Running(scene) => &scene.db,
        }
    }
}

impl Stage {
    pub(super) async fn set_up(page: &Page) -> Self {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut environment = Vec::new();
        let (place, listen, metrics, password) = if page.scene == Scene::Running {
            let scene = play().await;
            environment.extend([
                set("ORW_DATABASE_URL", &scene.db.url(NEXTCLOUD)),
                set("ORW_MASTER_KEY", MASTER_KEY),
                set("ORW_CA_FILE", &scene.path("ca.pem").display().to_string()),
                set("ORW_TARGETS_ALLOW", "127.0.0.0/8,localhost"),
                set("ORW_TARGETS_ALLOW_HTTP", "true"),
            ]);
            let (listen, metrics) = (scene.sidecar.listen, scene.sidecar.metrics);
            (Place::Running(Box::new(scene)), listen, metrics, ADMIN.1)
        } else {
            let db = Db::openregister(Generation::V0_2_13).await;
            (Place::Database(db), free_port(), free_port(), PASSWORD)
        };
        environment.push(set("ORW_LISTEN", &listen.to_string()));
        environment.push(set("ORW_METRICS_LISTEN", &metrics.to_string()));
        let receiver = free_port();
        let instead = [
            ("127.0.0.1:8085", listen.to_string()),
            ("localhost:8085", listen.to_string()),
            ("https://orw.example/", format!("http://{listen}/")),
            ("127.0.0.1:9650", metrics.to_string()),
            ("127.0.0.1:9000", receiver.to_string()),
            ("--port 9000", format!("--port {}", receiver.port())),
            (URL, place.db().url(NEXTCLOUD)),
            ("-u admin:password", "-u admin".to_owned()),
            ("-u admin", format!("-u admin:{password}")),
        ];
        let session = Session::new(environment);
        if page.scene == Scene::Running {
            session.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        }
        Self {
            session,
            place,
            instead: instead.map(|(usual, ours)| (usual.to_owned(), ours)).into(),
        }
    }

    fn adapted(&self, text: &str) -> String {
        let replace = |text: String, (usual, ours): &(String, String)| text.replace(usual, ours);
        let text = self.instead.iter().fold(text.to_owned(), replace);
        if matches!(self.place, Place::Database(_)) {
            return text;
        }
        // `ID` stands for the webhook that there is.
        let words = text.split_inclusive([' ', '\n']);
        let words = words.map(|word| match word.trim_end() {
            "ID" => word.replace("ID", "1000000000"),
            _ => word.to_owned(),
        });
        words.collect()
    }

    /// Runs a block.
    ///
    /// # Errors
    /// What it printed, and what it should have.
    pub(super) async fn run(&mut self, block: &Block) -> Result<(), String> {
        if !block.each {
            return self.run_here(block).await;
        }
        for name in TERMINALS {
            self.session.turn_to(name);
            self.run_here(block).await?;
        }
        Ok(())
    }

    async fn run_here(&mut self, block: &Block) -> Result<(), String> {
        let text = self.adapted(&block.text);
        match (block.kind, &block.terminal) {
            (Kind::Sql, _) => {
                let role = if block.superuser { DBA } else { NEXTCLOUD };
                let client = self.place.db().client_as(role).await;
                let done = client.batch_execute(&text).await;
                done.map_err(|error| said(&error))
            }
            (Kind::Console, _) => console(&self.session, &text).await,
            (Kind::Shell, Some(ready)) => self.session.open(&text, ready).await,
            (Kind::Shell, None) => self.shell(block, &text).await,
        }
    }

    async fn shell(&self, block: &Block, text: &str) -> Result<(), String> {
        let began = std::time::Instant::now();
        loop {
            let printed = self.session.run(text, &block.types).await;
            let complete = block
                .until
                .as_ref()
                .is_none_or(|text| printed.text.contains(text));
            if block.until.is_some() && !complete && began.elapsed() < PATIENCE {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
            if !complete || printed.code != block.exit {
                return Err(format!("exit code {}, printed:\n{}", printed.code, printed.text));
            }
            return match &block.shows {
                Some(text) if !printed.text.contains(text) => {
                    Err(format!("{text:?} is not in what it printed:\n{}", printed.text))
                }
                _ => Ok(()),
            };
        }
    }

    /// Does what people do between blocks.
    pub(super) async fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::WriteObject => {
                write_object(&self.place.db().client().await).await;
                Ok(())
            }
            Action::WaitFor(text) => {
                until(text, async || self.session.printed().contains(text)).await;
                Ok(())
            }
            Action::TurnTo(name) => {
                self.session.turn_to(name);
                Ok(())
            }
            Action::End(text) => self.session.end(&self.adapted(text)).await,
        }
    }

    pub(super) async fn tear_down(self) {
        self.session.close().await;
        if let Place::Running(mut scene) = self.place {
            scene.sidecar.terminate().await;
        }
    }
}

/// The sidecar runs, its first webhook has the id of the examples, and an event was delivered.
async fn play() -> scene::Scene {
    let scene = scene::Scene::on(Db::openregister(Generation::V0_2_13).await)
        .running()
        .await;
    let id = scene.register("*", json!({})).await;
    assert_eq!(id, 1_000_000_000);
    write_object(&scene.client).await;
    scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    scene
}

async fn write_object(client: &tokio_postgres::Client) {
    let insert = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
                  VALUES ($1, '1', '1', now(), now(), 'Ada', 36)";
    client.execute(insert, &[&OBJECT]).await.unwrap();
}

/// What the database says of an error.
fn said(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |refusal| refusal.message().to_owned())
}

/// Runs each command behind `$ ` and compares what it prints with the lines after it, where `…` stands for anything.
async fn console(session: &Session, text: &str) -> Result<(), String> {
    let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("$ ") {
            let mut command = command.to_owned();
            if let Some((_, end)) = command.split_once("<<'") {
                let end = end.trim_end_matches('\'').to_owned();
                for line in lines.by_ref() {
                    command = format!("{command}\n{line}");
                    if line == end {
                        break;
                    }
                }
            }
            commands.push((command, Vec::new()));
        } else if let Some((_, expected)) = commands.last_mut() {
            expected.push(line.trim_end());
        }
    }
    for (command, expected) in commands {
        // The exit code is shown by the commands themselves.
        let printed = session.run(&format!("set +e\n{command}\ntrue"), "").await;
        let wanted = expected.join("\n");
        let (wanted, got) = (wanted.trim_end(), printed.text.trim_end());
        if !fits(got, wanted) {
            return Err(format!("$ {command}\nprinted:\n{got}\nand not:\n{wanted}"));
        }
    }
    Ok(())
}

/// Whether a text is the expected one, in which `…` stands for anything.
fn fits(text: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        if at + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(fits("a b c", "a … c") && fits("a", "a") && fits("abc", "…") && fits("a1b2c", "a…b…c"));
    assert!(!fits("a b", "a … c") && !fits("ab", "a") && !fits("x", "y…"));
}
