//! Live delivery with an empty log and with a large one, in turns, and what else is asked of the sidecar meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use super::large_log::Scene;
use super::views::lists;
use crate::page::visitor::Visitor;
use crate::support::postgres::DBA;
use crate::support::scene::API;
use crate::support::sidecar::ADMIN;
use crate::support::wait::PATIENCE;

/// How often the turns change: what happens on the machine meanwhile happens to both.
const TURNS: usize = 10;
/// People who watch the live view.
const WATCHERS: usize = 5;

/// What else is asked of the sidecar that delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// All lists of deliveries, one after another, without a pause.
    Lists,
    /// The live view, by [`WATCHERS`].
    Live,
}

/// Two sidecars with a database each, on one server.
pub(super) struct Pair {
    pub(super) empty: Scene,
    pub(super) full: Scene,
    /// Deliveries in the full log.
    pub(super) deliveries: i64,
}

/// Of the empty log and of the full one.
pub(super) type Both<T> = [T; 2];

impl Pair {
    pub(super) async fn new(deliveries: i64) -> Self {
        Self {
            empty: Scene::new().await,
            full: Scene::new().await,
            deliveries,
        }
    }

    /// Brings PostgreSQL to rest after the log was filled: what it would do in the background for minutes is done at once.
    pub(super) async fn settle(&self) {
        let dba = self.full.db.client_as(DBA).await;
        for sql in [
            "VACUUM (ANALYZE) openregister_webhooks.delivery_log",
            "VACUUM (ANALYZE) openregister_webhooks.attempt",
            "VACUUM (ANALYZE) openregister_webhooks.event",
            "VACUUM (ANALYZE) openregister_webhooks.minute_count",
            "CHECKPOINT",
        ] {
            dba.batch_execute(sql).await.unwrap();
        }
    }

    fn each(&mut self, turn: usize) -> [(usize, &mut Scene, i64); 2] {
        let (empty, full) = ((0, &mut self.empty, 0), (1, &mut self.full, self.deliveries));
        if turn.is_multiple_of(2) {
            [empty, full]
        } else {
            [full, empty]
        }
    }

    /// From the commit to the receipt, one object at a time: median, 99th percentile and maximum in ms.
    pub(super) async fn latency(&mut self, singles: usize, beside: Beside) -> Both<[f64; 3]> {
        let mut took: Both<Vec<f64>> = [Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            for (which, scene, deliveries) in self.each(turn) {
                let busy = Busy::begin(scene, beside, deliveries).await;
                scene.times(1).await;
                took[which].extend(scene.times((singles / TURNS).max(1)).await);
                busy.end((singles / TURNS).max(1)).await;
            }
        }
        took.map(spread)
    }

    /// Deliveries a second, of many at once: the median of the turns.
    pub(super) async fn rate(&mut self, burst: usize, beside: Beside) -> Both<f64> {
        let mut rates: Both<Vec<f64>> = [Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            for (which, scene, deliveries) in self.each(turn) {
                let busy = Busy::begin(scene, beside, deliveries).await;
                let began = Instant::now();
                scene.write(burst).await;
                scene.receiver.wait_for(scene.written, PATIENCE).await.unwrap();
                #[expect(clippy::cast_precision_loss, reason = "thousands")]
                rates[which].push(burst as f64 / began.elapsed().as_secs_f64());
                busy.end(1).await;
            }
        }
        println!("deliveries a second, {beside:?}, each turn: {rates:.0?}");
        rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        })
    }
}

/// Median, 99th percentile and maximum.
pub(super) fn spread(mut took: Vec<f64>) -> [f64; 3] {
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    [at(50), at(99), at(100)]
}

/// Those who ask meanwhile.
struct Busy {
    asking: JoinSet<()>,
    /// What they were answered: lists, or rows of the live view.
    answered: Arc<AtomicUsize>,
    beside: Beside,
}

impl Busy {
    async fn begin(scene: &Scene, beside: Beside, deliveries: i64) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let mut asking = JoinSet::new();
        match beside {
            Beside::Nothing => {}
            Beside::Lists => {
                let (sidecar, webhook) = (scene.sidecar.seen(), scene.webhook);
                let answered = Arc::clone(&answered);
                asking.spawn(async move {
                    for list in lists(deliveries, webhook).iter().cycle() {
                        let path = format!("{API}{}", list.path());
                        let reply = sidecar.api("GET", &path, json!({})).await;
                        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            Beside::Live => {
                for _ in 0..WATCHERS {
                    let visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
                    let answered = Arc::clone(&answered);
                    let mut watched = visitor.watch("/live/events").await;
                    asking.spawn(async move {
                        while let Some(piece) = watched.next().await {
                            answered.fetch_add(piece.matches("<tr").count(), Ordering::Relaxed);
                        }
                    });
                }
            }
        }
        Self {
            asking,
            answered,
            beside,
        }
    }

    /// Ends it; `delivered` deliveries at least were made meanwhile. That somebody asked, and was answered, is checked.
    async fn end(mut self, delivered: usize) {
        let wanted = match self.beside {
            Beside::Nothing => 0,
            Beside::Lists => 1,
            Beside::Live => delivered * WATCHERS,
        };
        let began = Instant::now();
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(
                began.elapsed() < PATIENCE,
                "{:?}: nobody is answered",
                self.beside
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if let Some(ended) = self.asking.try_join_next() {
            panic!("{:?}: ended before it was told to: {ended:?}", self.beside);
        }
        self.asking.shutdown().await;
    }
}
