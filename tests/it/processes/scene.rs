//! Several sidecars on one database, writers that write no faster than events arrive, and a record of what arrived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orw_testkit::receiver::{Answer, Received};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::receiver::{Receiver, https};
use crate::support::sidecar::Sidecar;
pub(super) use crate::support::wait::PATIENCE;
use crate::support::wait::until_number;

/// How many changes may be written before the first of them has arrived: enough work for every process.
const LEAD: usize = 2_000;

/// The essentials of a request, so that the record of a whole run stays small.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) id: Arc<str>,
    pub(super) path: String,
    pub(super) object: String,
    pub(super) age: i64,
    pub(super) at: DateTime<Utc>,
}

impl Arrival {
    fn of(request: &Received) -> Self {
        let body = request.json();
        let data = &body["data"];
        let entity = data.get("newObject").unwrap_or(&data["object"]);
        Self {
            id: request.header("webhook-id").into(),
            path: request.path.clone(),
            object: entity["uuid"].as_str().unwrap_or_default().to_owned(),
            age: entity["data"]["age"].as_i64().unwrap_or_default(),
            at: request.at,
        }
    }
}

/// What has arrived, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) arrivals: Vec<Arrival>,
    ids: HashSet<Arc<str>>,
}

impl Seen {
    /// How many different events.
    pub(super) fn events(&self) -> usize {
        self.ids.len()
    }
}

pub(super) struct Scene {
    pub(super) db: Db,
    pub(super) client: Client,
    pub(super) receiver: Receiver,
    pub(super) sidecars: Vec<Sidecar>,
    pub(super) seen: Arc<watch::Sender<Seen>>,
    _ca: tempfile::NamedTempFile,
}

/// The uuid of the n-th object.
pub(super) fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// What the sessions of the n-th process are called.
fn name(n: usize) -> String {
    format!("sidecar-{n}")
}

impl Scene {
    /// So many processes, all ready.
    pub(super) async fn new(processes: usize) -> Self {
        let db = Db::openregister_0_2_13().await;
        let receiver = https().await;
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let record = Arc::clone(&seen);
        receiver.decide(move |request| {
            let arrival = Arrival::of(request);
            record.send_modify(|seen| {
                seen.ids.insert(Arc::clone(&arrival.id));
                seen.arrivals.push(arrival);
            });
            Answer::Status(200)
        });
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
        let url = db.url(NEXTCLOUD);
        let mut sidecars: Vec<Sidecar> = (0..processes)
            .map(|n| Sidecar::new(&format!("{url}&application_name={}", name(n)), ca.path()))
            .collect();
        let (code, _, errors) = sidecars[0].cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        for sidecar in &mut sidecars {
            sidecar.spawn();
        }
        for sidecar in &mut sidecars {
            sidecar.wait_ready().await;
        }
        Self {
            client: db.client().await,
            db,
            receiver,
            sidecars,
            seen,
            _ca: ca,
        }
    }

    /// Registers a webhook at this path, with a rate limit that is never reached and these further fields.
    pub(super) async fn register(&self, path: &str, event: &str, more: Value) -> i64 {
        let mut fields = json!({
            "uri": self.receiver.url(path),
            "event": format!("OCA\\OpenRegister\\Event\\{event}"),
            "rateLimit": {"perSecond": 10_000, "burst": 100_000},
        });
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.sidecars[0].register(fields).await
    }

    /// Objects `1..=count`, by one statement.
    pub(super) async fn create(&self, count: usize) {
        let sql = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
             SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'n', 0 \
             FROM generate_series(1, $1::bigint) g";
        self.client.execute(sql, &[&(count as i64)]).await.unwrap();
    }

    /// One change of the n-th object, committed.
    pub(super) async fn change(&self, n: usize) {
        assert_eq!(change(&self.client, n).await, 1);
    }

    /// Waits until so many different events have arrived.
    pub(super) async fn arrived(&self, events: usize) {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| seen.events() >= events));
        if waited.await.is_err() {
            panic!("{} of {events} events arrived", self.seen.borrow().events());
        }
        // What the receiver itself keeps is not needed.
        self.receiver.forget();
    }

    /// Waits until every delivery is done and its outcome is written.
    pub(super) async fn settled(&self) {
        self.until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
            .await;
    }

    async fn until(&self, sql: &str, expected: i64) {
        until_number(&self.client, sql, expected, PATIENCE).await;
    }

    /// Starts writers, each with its own objects, that write `changes` changes together and never get far ahead of what arrives.
    pub(super) async fn write(&self, writers: usize, objects: usize, changes: usize) -> Writing {
        let mut tasks = tokio::task::JoinSet::new();
        let already = self.seen.borrow().events();
        let lead = LEAD / writers;
        for writer in 0..writers {
            let client = self.db.client().await;
            let mut seen = self.seen.subscribe();
            tasks.spawn(async move {
                let mine: Vec<usize> = (1..=objects).filter(|n| n % writers == writer).collect();
                let share = changes / writers + usize::from(writer < changes % writers);
                for number in 0..share {
                    let far = |seen: &Seen| (seen.events() - already) / writers + lead < number;
                    let wait = seen.wait_for(|seen| !far(seen));
                    let waited = tokio::time::timeout(PATIENCE, wait).await;
                    waited.expect("nothing arrives any more").unwrap();
                    assert_eq!(change(&client, mine[number % mine.len()]).await, 1);
                }
            });
        }
        Writing(tasks)
    }

    /// The process that leads.
    pub(super) async fn leader(&self) -> usize {
        let wait = async {
            loop {
                for (n, sidecar) in self.sidecars.iter().enumerate() {
                    if sidecar.leads().await {
                        return n;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("nobody leads")
    }

    /// How many webhooks each process owns, and how many deliveries it has in hand.
    pub(super) async fn shares(&self) -> Vec<(i64, i64)> {
        let sql = "SELECT w.name, (SELECT count(*) FROM openregister_webhooks.webhook_owner o WHERE o.worker = w.id), \
                   (SELECT count(*) FROM openregister_webhooks.delivery d WHERE d.lease_owner = w.id) \
                   FROM openregister_webhooks.worker w";
        let mut shares: HashMap<String, (i64, i64)> = HashMap::new();
        for row in self.client.query(sql, &[]).await.unwrap() {
            let share = shares.entry(row.get(0)).or_default();
            share.0 += row.get::<_, i64>(1);
            share.1 += row.get::<_, i64>(2);
        }
        let of = |sidecar: &Sidecar| shares.get(&worker(sidecar)).copied().unwrap_or_default();
        self.sidecars.iter().map(of).collect()
    }

    /// Kills a process. Returns, once its sessions have ended, the events whose outcome it had not written, sent or not.
    pub(super) async fn kill(&mut self, victim: usize) -> HashSet<Arc<str>> {
        let worker = worker(&self.sidecars[victim]);
        self.sidecars[victim].kill().await;
        let dba = self.db.client_as(DBA).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1";
        let ended = async {
            while dba
                .query_one(sessions, &[&name(victim)])
                .await
                .unwrap()
                .get::<_, i64>(0)
                > 0
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            let what = "SELECT coalesce(string_agg(concat_ws(' ', pid, backend_start, state, wait_event_type, wait_event, pg_blocking_pids(pid)::text, query), E'\n'), '') \
                        FROM pg_stat_activity WHERE datname = current_database()";
            let sessions: String = dba.query_one(what, &[]).await.unwrap().get(0);
            panic!("its sessions do not end:\n{sessions}");
        }
        let leased = "SELECT e.id FROM openregister_webhooks.delivery d \
                      JOIN openregister_webhooks.event e ON (e.day, e.seq) = (d.event_day, d.event_seq) \
                      WHERE d.lease_owner IN (SELECT w.id FROM openregister_webhooks.worker w WHERE w.name = $1)";
        let rows = self.client.query(leased, &[&worker]).await.unwrap();
        rows.iter().map(|row| row.get::<_, &str>(0).into()).collect()
    }
}

/// The name of a running process in the table of workers.
fn worker(sidecar: &Sidecar) -> String {
    sidecar.pid().map_or_else(String::new, |pid| format!("pid {pid}"))
}

async fn change(client: &Client, n: usize) -> u64 {
    let sql =
        "UPDATE oc_openregister_table_1_1 SET age = age + 1, _updated = clock_timestamp() WHERE _uuid = $1";
    client.execute(sql, &[&uuid(n)]).await.unwrap()
}

/// Writers at work.
pub(super) struct Writing(tokio::task::JoinSet<()>);

impl Writing {
    /// Waits until all is written.
    pub(super) async fn done(self) {
        self.0.join_all().await;
    }
}
