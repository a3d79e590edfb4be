//! A database with capture installed, a leader that reads it, and the events that come out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use openregister_webhooks::capture::{
    self, BatchTransaction, CaptureSettings, Change, Consumer, InstallOptions,
};
use openregister_webhooks::capture::{DoorbellMode, OutboxLimits};
use openregister_webhooks::database::Database;
use openregister_webhooks::lifecycle::{
    ActorState, Event, HostConnection, Lifecycle, LifecycleSettings, LookupError, Outcome, States, locks,
    store,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::wait::PATIENCE;

pub(super) struct Rig {
    pub(super) db: Db,
    events: watch::Receiver<Vec<Event>>,
    shutdown: CancellationToken,
    leader: Option<JoinHandle<()>>,
}

/// How the leader reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) batch_size: u32,
    /// Nothing is remembered from batch to batch, as if the process had been killed in between.
    pub(super) forgetful: bool,
}

impl Reading {
    pub(super) const NORMAL: Self = Self {
        batch_size: 1000,
        forgetful: false,
    };

    pub(super) const FORGETFUL: Self = Self {
        batch_size: 1,
        forgetful: true,
    };
}

/// Installs capture of everything.
pub(super) async fn install(db: &Db) {
    let mut client = db.client().await;
    let options = InstallOptions {
        table_prefix: "oc_".into(),
        runtime_role: None,
        capture_all: true,
    };
    capture::install(&mut client, &options, |_, _| {}).await.unwrap();
}

impl Rig {
    /// Starts to read what is captured in `db`, where [`install`] was called.
    pub(super) fn start(db: Db, reading: Reading) -> Self {
        let database = Database::new(
            &db.url(NEXTCLOUD).into(),
            orw_egress::client_config(None).unwrap(),
        )
        .unwrap();
        let (sender, events) = watch::channel(Vec::new());
        let collector = Collector {
            lifecycle: Lifecycle::new(
                LifecycleSettings::new("oc_"),
                HostConnection::new(database.clone(), false),
            ),
            reading,
            uncommitted: Outcome::default(),
            events: sender,
        };
        let settings = CaptureSettings {
            doorbell: DoorbellMode::Notify,
            poll_interval: Duration::from_millis(250),
            discovery_interval: Duration::from_secs(1),
            batch_size: reading.batch_size,
            table_prefix: Arc::from("oc_"),
            outbox: OutboxLimits::default(),
        };
        let shutdown = CancellationToken::new();
        let (status, _) = watch::channel(capture::CaptureStatus::Standby);
        let stop = shutdown.clone();
        let leader = tokio::spawn(capture::run(
            database,
            settings,
            collector,
            status,
            capture::LossNotices::default(),
            stop,
        ));
        Self {
            db,
            events,
            shutdown,
            leader: Some(leader),
        }
    }

    /// All events so far, once they satisfy `enough`.
    pub(super) async fn wait(&mut self, enough: impl FnMut(&Vec<Event>) -> bool) -> Vec<Event> {
        let so_far = self.events.clone();
        match tokio::time::timeout(PATIENCE, self.events.wait_for(enough)).await {
            Ok(events) => events.unwrap().clone(),
            Err(_) => {
                let lines: Vec<_> = so_far.borrow().iter().map(super::replay::line).collect();
                panic!("not within {PATIENCE:?}; so far: {lines:#?}")
            }
        }
    }

    /// All events up to a row that this call itself inserts, so nothing older is still to come.
    pub(super) async fn settled(&mut self, client: &Client) -> Vec<Event> {
        static COUNT: Mutex<u32> = Mutex::new(0);
        let name = {
            let mut count = COUNT.lock().unwrap();
            *count += 1;
            format!("the end {count}")
        };
        client
            .execute(
                "INSERT INTO oc_openregister_applications (uuid, name, created, updated) \
                 VALUES (gen_random_uuid(), $1, now(), now())",
                &[&name],
            )
            .await
            .unwrap();
        let called = |event: &Event| {
            let fields = event.states.current().fields();
            fields
                .get("name")
                .and_then(|name| name.as_str())
                .map(str::to_owned)
        };
        let is_end = |event: &Event| called(event).as_ref() == Some(&name);
        let events = self.wait(|events| events.iter().any(is_end)).await;
        let ends = |event: &Event| called(event).is_some_and(|name| name.starts_with("the end "));
        events.into_iter().filter(|event| !ends(event)).collect()
    }

    pub(super) async fn stop(mut self) -> Db {
        self.shutdown.cancel();
        if let Some(leader) = self.leader.take() {
            leader.await.unwrap();
        }
        self.db
    }
}

struct Collector {
    lifecycle: Lifecycle,
    reading: Reading,
    uncommitted: Outcome,
    events: watch::Sender<Vec<Event>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CollectorError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Store(#[from] tokio_postgres::Error),
}

impl Consumer for Collector {
    type Error = CollectorError;

    async fn consume(
        &mut self,
        tx: &BatchTransaction<'_>,
        changes: Vec<Change>,
    ) -> Result<(), CollectorError> {
        if self.reading.forgetful {
            self.lifecycle.forget();
        }
        let day = "2026-11-24".parse().unwrap();
        let outcome = self.lifecycle.process(&**tx, changes).await?;
        assert!(outcome.undecodable.is_empty(), "{:?}", outcome.undecodable);
        let keys = store::insert(&**tx, day, &outcome.events).await?;
        locks::store(&**tx, &outcome.locks).await?;
        assert_eq!(keys.len(), outcome.events.len());
        for ((_, seq), event) in keys.iter().zip(&outcome.events) {
            let sql = format!(
                "SELECT {} FROM openregister_webhooks.event WHERE seq = $1",
                store::COLUMNS
            );
            let stored = store::from_row(&tx.query_one(&sql, &[seq]).await?).unwrap();
            assert_eq!(format!("{stored:?}"), format!("{event:?}"));
        }
        self.uncommitted = outcome;
        Ok(())
    }

    fn committed(&mut self) {
        self.lifecycle.committed();
        let outcome = std::mem::take(&mut self.uncommitted);
        self.events.send_modify(|events| {
            events.extend(outcome.events);
            for found in outcome.actors {
                for event in events.iter_mut() {
                    if event.pid == found.pid
                        && event.lane == found.lane
                        && (found.since..=found.at).contains(&event.at)
                        && matches!(event.actor, ActorState::Awaited { .. })
                    {
                        event.actor = ActorState::Known(found.actor.clone());
                        if let States::Moved { transition, .. } = &mut event.states {
                            transition.action.clone_from(&found.transition);
                        }
                    }
                }
            }
        });
    }
}

/// Class and lane of each event.
pub(super) fn lanes(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("{} {}", event.class, event.lane.as_str()))
        .collect()
}
