//! Who changed a register or a schema. No audit row says so; the activity app does, in a row that the same request writes
//! a moment after the change.
//!
//! Guarantees: it is looked up only if a delivery waits for it, by an index of that table, on a connection of its own and never in
//! the reader's transaction, so it delays nothing else; a delivery waits no longer than it would wait for an audit row; nobody is
//! named if it might be the wrong user: if changes of two users overlap and their rows name different users, none is taken. A
//! restart forgets the requests under way: those deliveries go out when their wait is over, with what the row itself says.

mod choose;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use self::choose::{Row, Verdict, choose};
use crate::delivery::queue::resolve_user;
use crate::delivery::{EventRef, Wake};
use crate::lifecycle::{ActivityLookup, Actor, HostConnection, HostError, LookupError, look_up_users, store};
use orw_model::ActorSource;

/// How many batches of requests may wait to be taken up.
const BATCHES: usize = 64;
/// How many requests may be under way; more are dropped.
const UNDER_WAY: usize = 4096;
/// The waits between two looks: the first and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(80));
/// By how much the clocks of the application's and the database's machines may differ, in seconds.
const SKEW: i64 = 5;
/// How long a table that does not exist, or may not be read, is not queried again.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// A change and the stored event that it gave.
#[derive(Debug, Clone)]
pub(super) struct ActivityRequest {
    pub(super) event: EventRef,
    pub(super) change: ActivityLookup,
    /// Whether a delivery waits for it. A change for which none waits still shows whose activity a row is not.
    pub(super) needed: bool,
}

/// Through this the pipeline hands over its requests; cheap to clone.
#[derive(Debug, Clone)]
pub struct ActivityRequests(mpsc::Sender<Vec<ActivityRequest>>);

impl ActivityRequests {
    /// Hands the requests over. If too many are waiting already, these are dropped, and the deliveries go out when their wait is over.
    pub(super) fn request(&self, requests: Vec<ActivityRequest>) {
        if !requests.is_empty() && self.0.try_send(requests).is_err() {
            tracing::warn!(
                "who changed some registers or schemas is not looked up: too many changes at once"
            );
        }
    }
}

/// Finds out who made the changes of the requests.
#[derive(Debug)]
pub struct ActivityFinder {
    pool: deadpool_postgres::Pool,
    host: HostConnection,
    table_prefix: String,
    wait: Duration,
    wake: Wake,
    questions: mpsc::Receiver<Vec<ActivityRequest>>,
    open: Vec<Open>,
    given_up: Option<Instant>,
}

/// A request under way.
#[derive(Debug)]
struct Open {
    asked: ActivityRequest,
    until: Instant,
    /// Answered, or no delivery waits for it. It is kept because another change may compete with it for an activity.
    answered: bool,
}

/// Why a look found nothing out.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error(transparent)]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the activities cannot be read: {0}")]
    Read(#[source] HostError),
    #[error("who did it cannot be stored: {0}")]
    Write(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Users(#[from] LookupError),
}

impl ActivityFinder {
    /// `wait`: how long a delivery waits for it.
    #[must_use]
    pub fn new(
        pool: deadpool_postgres::Pool,
        host: HostConnection,
        table_prefix: &str,
        wait: Duration,
        wake: Wake,
    ) -> (ActivityRequests, Self) {
        let (sender, questions) = mpsc::channel(BATCHES);
        let finder = Self {
            pool,
            host,
            table_prefix: table_prefix.to_owned(),
            wait,
            wake,
            questions,
            open: Vec::new(),
            given_up: None,
        };
        (ActivityRequests(sender), finder)
    }

    /// Runs until `shutdown`, or until nobody can ask any more. What an earlier run had under way is forgotten.
    pub async fn run(&mut self, shutdown: CancellationToken) {
        self.open.clear();
        let mut pause = PAUSE.0;
        loop {
            let waiting = self.open.iter().any(|open| !open.answered);
            tokio::select! {
                () = shutdown.cancelled() => return,
                asked = self.questions.recv() => {
                    let Some(asked) = asked else { return };
                    self.take_up(asked);
                    pause = PAUSE.0;
                }
                () = tokio::time::sleep(pause), if waiting => {
                    if let Err(error) = self.look().await {
                        tracing::debug!(error = %crate::error_text::chain(&error), "who changed registers and schemas is looked for again");
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
            self.forget();
        }
    }

    fn take_up(&mut self, asked: Vec<ActivityRequest>) {
        let until = Instant::now() + self.wait;
        let room = UNDER_WAY.saturating_sub(self.open.len());
        self.open.extend(asked.into_iter().take(room).map(|asked| Open {
            answered: !asked.needed,
            asked,
            until,
        }));
    }

    /// Forgets requests that can no longer compete with others.
    fn forget(&mut self) {
        let now = Instant::now();
        let wait = self.wait;
        self.open.retain(|open| now < open.until + wait);
    }

    async fn look(&mut self) -> Result<(), FindError> {
        let now = Instant::now();
        let places: Vec<usize> = (0..self.open.len()).filter(|n| !self.open[*n].answered).collect();
        let rows = if self.given_up.is_some_and(|at| now - at < GIVEN_UP) {
            HashMap::new()
        } else {
            match self.rows(&places).await {
                Ok(rows) => rows,
                Err(error) if error.is_gone() || error.is_forbidden() => {
                    tracing::info!(
                        error = %crate::error_text::chain(&error),
                        "the table of the activity app cannot be read: who changes registers and schemas stays unknown"
                    );
                    self.given_up = Some(now);
                    return Ok(());
                }
                Err(error) => return Err(FindError::Read(error)),
            }
        };
        let given_up = self.given_up.is_some_and(|at| now - at < GIVEN_UP);
        let mut answers: Vec<(usize, Option<String>)> = Vec::new();
        for place in places {
            let open = &self.open[place];
            let last = given_up || now >= open.until;
            let rivals = self.open.iter().map(|other| &other.asked.change);
            let found = rows.get(&place).map_or(&[][..], Vec::as_slice);
            match choose(&open.asked.change, rivals, found, last) {
                Verdict::By(user) => answers.push((place, Some(user))),
                Verdict::Nobody => answers.push((place, None)),
                Verdict::Wait => {}
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        let uids: BTreeSet<String> = answers.iter().filter_map(|(_, user)| user.clone()).collect();
        let users = if uids.is_empty() {
            HashMap::new()
        } else {
            look_up_users(&mut self.host, &self.table_prefix, &uids).await?
        };
        let actor = |uid: String| {
            let user = users.get(&uid).cloned().unwrap_or_default();
            Actor {
                uid,
                display_name: user.display_name,
                groups: user.groups,
                source: ActorSource::Activity,
            }
        };
        let (places, found): (Vec<usize>, Vec<Option<Actor>>) = answers
            .into_iter()
            .map(|(place, uid)| (place, uid.map(actor)))
            .unzip();
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let limit = self.wait.as_millis().max(50);
        tx.batch_execute(&format!("SET LOCAL statement_timeout = {limit}"))
            .await?;
        let events: Vec<EventRef> = places.iter().map(|n| self.open[*n].asked.event).collect();
        let keys: Vec<_> = events.iter().map(|event| (event.day, event.seq)).collect();
        store::update_actors(&*tx, &keys, &found).await?;
        let woken = resolve_user(&*tx, &events).await?;
        tx.commit().await?;
        for place in places {
            self.open[place].answered = true;
        }
        if !woken.is_empty() {
            self.wake.wake(woken);
        }
        Ok(())
    }

    /// The activities that may belong to the changes at `places`, by place.
    async fn rows(&mut self, places: &[usize]) -> Result<HashMap<usize, Vec<Row>>, HostError> {
        let changes: Vec<&ActivityLookup> = places.iter().map(|n| &self.open[*n].asked.change).collect();
        let kinds: Vec<&str> = changes.iter().map(|change| change.kind.name()).collect();
        let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
        let subjects: Vec<String> = changes.iter().map(|change| subject(change)).collect();
        let after = i64::try_from(self.wait.as_secs()).unwrap_or(i64::MAX / 4) + 1 + SKEW;
        let since: Vec<i64> = changes
            .iter()
            .map(|change| change.at.timestamp() - SKEW)
            .collect();
        let until: Vec<i64> = changes
            .iter()
            .map(|change| change.at.timestamp() + after)
            .collect();
        let mut tables = self.host.tables().await?;
        let table = tables.name(&format!("{}activity", self.table_prefix));
        let sql = format!(
            "SELECT w.n, a.\"user\"::text, a.xid \
             FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::int8[]) \
                  WITH ORDINALITY AS w (kind, id, subject, since, until, n), \
             LATERAL (SELECT r.\"user\", r.xmin::text AS xid FROM {table} r \
                       WHERE r.object_type = w.kind AND r.object_id = w.id AND r.app = 'openregister' \
                         AND r.subject = w.subject AND r.\"timestamp\" BETWEEN w.since AND w.until \
                       ORDER BY r.activity_id LIMIT 100) a"
        );
        let found = self
            .host
            .query(
                &tables,
                &[&sql],
                &[
                    (&kinds, Type::TEXT_ARRAY),
                    (&ids, Type::INT8_ARRAY),
                    (&subjects, Type::TEXT_ARRAY),
                    (&since, Type::INT8_ARRAY),
                    (&until, Type::INT8_ARRAY),
                ],
            )
            .await?;
        let mut rows: HashMap<usize, Vec<Row>> = HashMap::new();
        for row in found {
            let place = usize::try_from(row.get::<_, i64>(0) - 1)
                .ok()
                .and_then(|n| places.get(n).copied());
            if let (Some(place), Ok(xid)) = (place, row.get::<_, &str>(2).parse()) {
                rows.entry(place).or_default().push(Row {
                    xid,
                    user: row.get(1),
                });
            }
        }
        Ok(rows)
    }
}

/// What the activity app calls the change: `register_updated`.
fn subject(change: &ActivityLookup) -> String {
    format!(
        "{}_{}",
        change.kind.name(),
        change.action.name().to_ascii_lowercase()
    )
}
