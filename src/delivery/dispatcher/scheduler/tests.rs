//! What the scheduler does in states that no test of the whole program can bring about at will.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate};
use futures::future::BoxFuture;
use serde_json::json;

use super::super::attempt::Context;
use super::super::options::Options;
use super::super::recorder::Outcomes;
use super::super::wake::Wake;
use super::*;
use crate::database::Database;
use crate::delivery::dispatcher::slot::Ready;
use crate::delivery::dispatcher::{health, session};
use crate::delivery::events::Events;
use crate::delivery::queue::{Claimed, EventRef, Followed, Reason, Taken, WorkerId};
use crate::delivery::webhooks::Webhooks;
use crate::lifecycle::{Event, Lane};
use crate::registry::WebhookId;
use crate::registry::{
    Auth, BodyOptions, DataMode, EventPattern, EventSource, Format, HttpMethod, Limits, Ordering,
    RetryPolicy, Status, Webhook,
};
use crate::supervise::Crew;
use crate::supervise::Part;
use orw_egress::{Client, Guard, Outgoing};
use orw_filter::Filter;

const ID: WebhookId = WebhookId(1);

/// The one webhook.
#[derive(Clone)]
struct One(Arc<Mutex<Arc<Webhook>>>);

impl One {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(webhook()))))
    }

    /// Changes the registration.
    fn change(&self, change: impl FnOnce(&mut Webhook)) {
        let mut stored = self.0.lock().unwrap();
        let mut webhook = Webhook::clone(&stored);
        webhook.revision += 1;
        change(&mut webhook);
        *stored = Arc::new(webhook);
    }
}

impl Webhooks for One {
    fn get(&self, id: WebhookId) -> Option<Arc<Webhook>> {
        (id == ID).then(|| Arc::clone(&self.0.lock().unwrap()))
    }

    fn all(&self) -> Vec<Arc<Webhook>> {
        vec![Arc::clone(&self.0.lock().unwrap())]
    }

    fn wants(&self, _: &Webhook, _: &Event) -> bool {
        true
    }

    fn disable(&self, _: WebhookId, _: i64, _: String) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn webhook() -> Webhook {
    let uri = "https://example.org/".to_owned();
    Webhook {
        id: ID,
        revision: 1,
        app_id: None,
        user_id: "admin".to_owned(),
        method: HttpMethod::Post,
        http_method: "POST".to_owned(),
        target: uri.parse().unwrap(),
        uri,
        event: EventPattern::parse("*").unwrap(),
        event_filter: json!({}),
        filter: Arc::new(Filter::parse(&json!({})).unwrap()),
        user_id_filter: None,
        headers: None,
        auth: Auth::None,
        auth_data_set: false,
        token_needed: serde_json::json!([]),
        format: Format::Documented,
        data_mode: DataMode::Full,
        options: BodyOptions::default(),
        source: EventSource::default(),
        secrets: Vec::new(),
        client_certificate: None,
        legacy_signature: false,
        gap_events: false,
        handshake: None,
        status: Status::Enabled,
        limits: Limits::default(),
        ordering: Ordering::Object,
        retry: RetryPolicy::default(),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    }
}

pub(super) fn leased(worker: WorkerId, id: i64) -> Claimed {
    Claimed {
        worker,
        id,
        webhook: ID,
        event: EventRef {
            day: NaiveDate::default(),
            seq: id,
        },
        lane: Lane::object(&id.to_string()),
        attempt: 0,
        fence: 1,
        reason: Reason::Live,
        awaited: false,
        due: true,
        due_since: Instant::now(),
        overdue: false,
        size: 1,
        followed: Followed::default(),
    }
}

/// A scheduler that has leases to send for, and a database that is never there.
fn scheduler(crew: &mut Crew, session: WorkerSession, one: One) -> Scheduler {
    let tls = orw_egress::client_config(None).unwrap();
    let url = "postgres://nobody@127.0.0.1:1/nothing".to_owned().into();
    let pool = Database::new(&url, tls.clone()).unwrap().pool(1).unwrap();
    let webhooks: Arc<dyn Webhooks> = Arc::new(one);
    let query_timeout = Options::default().query_timeout;
    let context = Context {
        client: Client::new(Outgoing::new(Guard::new(Vec::new(), false), tls)),
        pool: pool.clone(),
        query_timeout,
        events: Events::start(crew, pool.clone(), query_timeout),
        webhooks: Arc::clone(&webhooks),
        metrics: crate::delivery::Metrics::default(),
        traces: crate::traces::Traces::default(),
        feed: crate::delivery::Feed::default(),
        requests: crate::delivery::dispatcher::requests::Requests::default(),
    };
    let (outcomes, _) = Outcomes::channel();
    Scheduler::new(
        pool.clone(),
        Arc::clone(&webhooks),
        Arc::new(context),
        Options::default(),
        Wake::default(),
        session,
        Part::alone("delivery"),
        outcomes,
        health::start(crew, pool, query_timeout, webhooks),
        Vec::new(),
    )
}

/// The worker may be given up and replaced before the scheduler knows; other processes may have taken what it had leased.
#[tokio::test]
async fn what_was_leased_for_a_former_worker_is_not_sent_for_the_next() {
    let (former, next) = (WorkerId::new(), WorkerId::new());
    let (session, changes) = session::WorkerSession::of(former);
    let mut crew = Crew::default();
    let mut scheduler = scheduler(&mut crew, session, One::new());
    scheduler.look(ID);
    let slot = scheduler.slots.get_mut(&ID).unwrap();
    let now = Instant::now();
    let leases = [(former, 1), (former, 2), (next, 3), (next, 4)];
    slot.ready.extend(leases.map(|(worker, id)| {
        let taken = Taken {
            delivery: leased(worker, id),
            event: None,
        };
        Ready::new(taken, now)
    }));
    scheduler.held = 4;
    changes.send_replace(None);
    changes.send_replace(Some(next));
    scheduler.take_turns(ID);
    scheduler.send_ready();
    let mut sent: Vec<i64> = scheduler.running.values().map(|delivery| delivery.id).collect();
    sent.sort_unstable();
    assert_eq!(sent, [3, 4]);
    assert_eq!(scheduler.held, 0);
}

/// Failures of an address do not count for the next one; any other change keeps them.
#[tokio::test]
async fn the_breaker_is_that_of_an_address() {
    let (session, _changes) = session::WorkerSession::of(WorkerId::new());
    let (mut crew, one) = (Crew::default(), One::new());
    let mut scheduler = scheduler(&mut crew, session, one.clone());
    scheduler.look(ID);
    let slot = scheduler.slots.get_mut(&ID).unwrap();
    slot.success_stored = true;
    for seed in 0..5 {
        slot.breaker.failed(seed, Instant::now());
    }
    one.change(|webhook| webhook.user_id_filter = Some("ada".to_owned()));
    scheduler.look(ID);
    let slot = &scheduler.slots[&ID];
    assert_eq!(slot.want(Instant::now()), super::super::slot::Wanted::Probe);
    assert_eq!(slot.breaker.failures(), 5);
    one.change(|webhook| webhook.target = "https://example.com/".parse().unwrap());
    scheduler.look(ID);
    let slot = &scheduler.slots[&ID];
    let wanted = slot.want(Instant::now());
    assert!(
        matches!(wanted, super::super::slot::Wanted::Due(2..)),
        "{wanted:?}"
    );
    assert_eq!(slot.breaker.failures(), 0);
    assert!(
        !slot.success_stored,
        "the next success is news of this registration"
    );
}

/// Leases without their events, of so many bytes each.
fn ready(scheduler: &mut Scheduler, worker: WorkerId, sizes: impl IntoIterator<Item = u64>) {
    let slot = scheduler.slots.get_mut(&ID).unwrap();
    for (size, id) in sizes.into_iter().zip(1..) {
        let delivery = Claimed {
            size,
            ..leased(worker, id)
        };
        slot.ready.push_back(Ready::new(
            Taken {
                delivery,
                event: None,
            },
            Instant::now(),
        ));
        scheduler.held += 1;
    }
    scheduler.take_turns(ID);
}

#[tokio::test]
async fn one_large_delivery_is_sent_beside_small_ones_that_leave_no_room() {
    let (mut crew, worker) = (Crew::default(), WorkerId::new());
    let (session, _changes) = session::WorkerSession::of(worker);
    let mut scheduler = scheduler(&mut crew, session, One::new());
    let most = scheduler.options.max_bytes;
    scheduler.look(ID);
    // Other webhooks' requests.
    scheduler.bytes = most - 1;
    ready(&mut scheduler, worker, [most / 2, 2]);
    scheduler.send_ready();
    let sent = |scheduler: &Scheduler| -> Vec<i64> { scheduler.running.values().map(|one| one.id).collect() };
    assert_eq!(sent(&scheduler), [1]);
    assert_eq!((scheduler.bytes, scheduler.beside), (most - 1, Some(1)));
    let done = scheduler.tasks.join_next_with_id().await.unwrap();
    scheduler.ended(done);
    assert_eq!((scheduler.bytes, scheduler.beside), (most - 1, None));
    // A small one waits: room for it comes soon.
    scheduler.send_ready();
    assert!(sent(&scheduler).is_empty());
    scheduler.bytes = 0;
    scheduler.send_ready();
    assert_eq!(sent(&scheduler), [2]);
}

#[tokio::test]
async fn leases_of_a_receiver_that_became_slow_are_given_back() {
    let (mut crew, worker) = (Crew::default(), WorkerId::new());
    let (session, _changes) = session::WorkerSession::of(worker);
    let mut scheduler = scheduler(&mut crew, session, One::new());
    scheduler.look(ID);
    let slot = scheduler.slots.get_mut(&ID).unwrap();
    let (in_flight, most) = (slot.webhook.limits.max_in_flight, 512);
    (0..10).for_each(|_| slot.ahead.ran_dry());
    assert_eq!(slot.ahead.get(), most);
    ready(&mut scheduler, worker, vec![1; 500]);
    scheduler.send_ready();
    let in_flight = usize::try_from(in_flight).unwrap();
    let left = scheduler.slots[&ID].ready.len();
    assert_eq!(scheduler.running.len(), in_flight);
    assert!(left <= in_flight, "{left}");
    assert_eq!(scheduler.held, left);
    assert_eq!(scheduler.unrecorded.len(), 500 - in_flight - left);
}
