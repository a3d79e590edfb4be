//! A queue, webhooks in memory, and dispatchers that deliver to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::future::BoxFuture;
use openregister_webhooks::database::Database;
use openregister_webhooks::delivery::{
    Dispatcher, EventRef, NewDelivery, Options, Reason, Wake, Webhooks, enqueue,
};
use openregister_webhooks::lifecycle::{Event, Lane};
use openregister_webhooks::registry::{
    Auth, BodyOptions, DataMode, EventPattern, EventSource, Format, HttpMethod, Limits, Ordering,
    RetryPolicy, Status, Webhook, WebhookId,
};
use openregister_webhooks::supervise::Reported;
use orw_egress::{AllowedTarget, Client, Guard, Outgoing};
use orw_filter::Filter;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::capture::older_schema;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::wait::{number, until_number};

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Webhooks in memory, with their revisions in the database.
pub(super) struct Fixed {
    stored: std::sync::mpsc::Sender<(i64, i64, std::sync::mpsc::Sender<()>)>,
    webhooks: Mutex<BTreeMap<WebhookId, Arc<Webhook>>>,
    unwanted: Mutex<Vec<WebhookId>>,
}

impl Fixed {
    /// Revisions are stored at `url` by a thread, so that `put` can be called from code that is not async.
    fn new(url: String) -> Self {
        let (stored, rows) = std::sync::mpsc::channel::<(i64, i64, std::sync::mpsc::Sender<()>)>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let client = runtime.block_on(crate::support::postgres::connect(&url));
            let sql = "INSERT INTO openregister_webhooks.webhook (id, revision, user_id, http_method, uri, event, classes) OVERRIDING SYSTEM VALUE \
                VALUES ($1, $2, 'test', 'POST', 'https://example.com/', '*', '{}') \
                ON CONFLICT (id) DO UPDATE SET revision = excluded.revision";
            for (id, revision, done) in rows {
                runtime.block_on(client.execute(sql, &[&id, &revision])).unwrap();
                done.send(()).unwrap();
            }
        });
        Self {
            stored,
            webhooks: Mutex::default(),
            unwanted: Mutex::default(),
        }
    }

    pub(super) fn put(&self, mut webhook: Webhook) {
        let mut all = self.webhooks.lock().unwrap();
        webhook.revision = all.get(&webhook.id).map_or(1, |w| w.revision + 1);
        let (done, stored) = std::sync::mpsc::channel();
        self.stored.send((webhook.id.0, webhook.revision, done)).unwrap();
        stored.recv().unwrap();
        all.insert(webhook.id, Arc::new(webhook));
    }

    pub(super) fn change(&self, id: WebhookId, change: impl FnOnce(&mut Webhook)) {
        let mut webhook = Webhook::clone(&self.get(id).unwrap());
        change(&mut webhook);
        self.put(webhook);
    }

    pub(super) fn remove(&self, id: WebhookId) {
        self.webhooks.lock().unwrap().remove(&id);
    }

    pub(super) fn unwant(&self, id: WebhookId) {
        self.unwanted.lock().unwrap().push(id);
    }
}

impl Webhooks for Fixed {
    fn get(&self, id: WebhookId) -> Option<Arc<Webhook>> {
        self.webhooks.lock().unwrap().get(&id).cloned()
    }

    fn all(&self) -> Vec<Arc<Webhook>> {
        self.webhooks.lock().unwrap().values().cloned().collect()
    }

    fn wants(&self, webhook: &Webhook, _: &Event) -> bool {
        !self.unwanted.lock().unwrap().contains(&webhook.id)
    }

    fn disable(&self, id: WebhookId, revision: i64, reason: String) -> BoxFuture<'_, ()> {
        let since = chrono::Utc::now();
        if self.get(id).is_some_and(|webhook| webhook.revision == revision) {
            self.change(id, |w| w.status = Status::Disabled { reason, since });
        }
        Box::pin(async {})
    }
}

/// A webhook that posts to `uri` as fast as it can.
pub(super) fn webhook(id: i64, uri: String) -> Webhook {
    Webhook {
        id: WebhookId(id),
        revision: 0,
        app_id: None,
        user_id: "admin".into(),
        method: HttpMethod::Post,
        http_method: "POST".into(),
        target: uri.parse().unwrap(),
        uri,
        event: EventPattern::parse("*").unwrap(),
        event_filter: serde_json::json!({}),
        filter: Arc::new(Filter::parse(&serde_json::json!({})).unwrap()),
        user_id_filter: None,
        headers: None,
        auth: Auth::None,
        auth_data_set: false,
        token_needed: serde_json::json!([]),
        format: Format::Documented,
        data_mode: DataMode::Full,
        options: BodyOptions::default(),
        source: EventSource::default(),
        client_certificate: None,
        legacy_signature: false,
        gap_events: false,
        handshake: None,
        secrets: vec![SECRET.to_owned().into()],
        status: Status::Enabled,
        limits: Limits {
            per_second: 1_000_000,
            burst: 1_000_000,
            max_in_flight: 64,
            // Tests of timeouts set their own.
            timeout: Duration::from_secs(60),
            per_minute: None,
        },
        ordering: Ordering::Object,
        retry: RetryPolicy {
            max_attempts: 11,
            schedule: vec![Duration::from_millis(20)],
        },
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
    }
}

/// A database with our schema in it.
pub(super) struct Rig {
    pub(super) db: Db,
    pub(super) pool: Pool,
    pub(super) webhooks: Arc<Fixed>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        let db = Db::empty().await;
        let client = db.client().await;
        older_schema(&client, i32::MAX).await;
        let pool = database(&db).pool(8).unwrap();
        let url = db.url(NEXTCLOUD);
        Self {
            db,
            pool,
            webhooks: Arc::new(Fixed::new(url)),
        }
    }

    /// Stores an event of an object and says where.
    pub(super) async fn event(&self, object: &str, number: usize) -> EventRef {
        self.events(object, number..number + 1).await[0]
    }

    pub(super) async fn events(&self, object: &str, numbers: std::ops::Range<usize>) -> Vec<EventRef> {
        let sql = "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
            SELECT (now() AT TIME ZONE 'UTC')::date, 'evt_' || $1 || '_' || n, 'ObjectCreatedEvent', 'object:' || $1, \
            clock_timestamp(), 1, json_build_object('uuid', $1, 'number', n)::text, false \
            FROM generate_series($2::bigint, $3::bigint - 1) n RETURNING day, seq";
        let (from, to) = (numbers.start as i64, numbers.end as i64);
        let client = self.pool.get().await.unwrap();
        let rows = client.query(sql, &[&object, &from, &to]).await.unwrap();
        rows.iter()
            .map(|row| EventRef {
                day: row.get(0),
                seq: row.get(1),
            })
            .collect()
    }

    /// Enqueues and commits; the test wakes the dispatcher.
    pub(super) async fn enqueue(&self, deliveries: &[NewDelivery]) {
        let mut client = self.pool.get().await.unwrap();
        let tx = client.transaction().await.unwrap();
        enqueue(&*tx, deliveries).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// `count` events of `object`, to the webhook.
    pub(super) async fn send(&self, webhook: i64, object: &str, numbers: std::ops::Range<usize>) {
        let events = self.events(object, numbers).await;
        let new: Vec<_> = events.into_iter().map(|e| delivery(webhook, object, e)).collect();
        self.enqueue(&new).await;
    }

    /// A dispatcher that trusts the receiver's authority and may connect to loopback.
    pub(super) fn dispatcher(&self, ca_pem: &str) -> Running {
        self.dispatcher_with(ca_pem, Options::default())
    }

    pub(super) fn dispatcher_with(&self, ca_pem: &str, options: Options) -> Running {
        self.dispatcher_over(&self.db.url(NEXTCLOUD), ca_pem, options)
    }

    /// The same, with this connection string for the database.
    pub(super) fn dispatcher_over(&self, url: &str, ca_pem: &str, options: Options) -> Running {
        let dispatcher = Dispatcher::new(
            database_at(url),
            database_at(url).pool(6).unwrap(),
            Arc::clone(&self.webhooks) as Arc<dyn Webhooks>,
            client(ca_pem),
            options,
        );
        let wake = dispatcher.wake();
        let stop = CancellationToken::new();
        let task = tokio::spawn(dispatcher.run(stop.clone()));
        Running { wake, stop, task }
    }

    /// One number from one query.
    pub(super) async fn count(&self, sql: &str) -> i64 {
        number(&self.pool.get().await.unwrap(), sql).await
    }

    /// Waits until a query gives this number.
    pub(super) async fn until(&self, sql: &str, expected: i64) {
        let client = self.pool.get().await.unwrap();
        until_number(&client, sql, expected, Duration::from_secs(60)).await;
    }
}

pub(super) fn client(ca_pem: &str) -> Client {
    Client::new(to_loopback(ca_pem))
}

/// What a client is made of that trusts an authority and may connect to loopback.
pub(super) fn to_loopback(ca_pem: &str) -> Outgoing {
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), ca_pem).unwrap();
    let allow = ["127.0.0.0/8", "::1/128"].map(|n| AllowedTarget::Network(n.parse().unwrap()));
    let guard = Guard::new(allow.to_vec(), true);
    Outgoing::new(guard, orw_egress::client_config(Some(ca.path())).unwrap())
}

pub(super) fn database(db: &Db) -> Database {
    database_at(&db.url(NEXTCLOUD))
}

fn database_at(url: &str) -> Database {
    Database::new(&url.into(), orw_egress::client_config(None).unwrap()).unwrap()
}

pub(super) fn delivery(webhook: i64, object: &str, event: EventRef) -> NewDelivery {
    NewDelivery {
        webhook: WebhookId(webhook),
        event,
        lane: Lane::object(object),
        ordered: true,
        await_user: None,
        reason: Reason::Live,
    }
}

/// A dispatcher at work.
pub(super) struct Running {
    pub(super) wake: Wake,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Result<(), Reported>>,
}

impl Running {
    pub(super) fn wake(&self, webhook: i64) {
        self.wake.wake([WebhookId(webhook)]);
    }

    /// Shuts it down and waits for its end.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}
