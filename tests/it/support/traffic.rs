//! Many writers at work, each statement timed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::postgres::{Db, NEXTCLOUD, connect};

/// What a writer does, over and over.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// One statement.
    Autocommit(String),
    /// Two statements on one table.
    Transaction(String, String),
}

/// Writers that write until they are stopped.
pub(crate) struct Traffic {
    stop: watch::Sender<bool>,
    /// How many statements each writer has committed.
    written: watch::Sender<Vec<u64>>,
    writers: JoinSet<Report>,
}

/// What a writer experienced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Statements that changed a row and were committed.
    pub(crate) committed: u64,
    pub(crate) errors: Vec<String>,
    /// When each statement began, and what it took.
    pub(crate) times: Vec<(Instant, Duration)>,
}

impl Report {
    pub(crate) fn longest(&self) -> Duration {
        self.times.iter().map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// Of the statements that were running at any time from `from` to `to`.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let mut times: Vec<Duration> = self
            .times
            .iter()
            .filter(|(began, took)| *began <= to && *began + *took >= from)
            .map(|(_, took)| *took)
            .collect();
        times.sort();
        times
    }
}

impl Traffic {
    /// `writers` writers; the n-th does what `work(n)` says, and pauses after each round.
    pub(crate) async fn start(
        db: &Db,
        writers: usize,
        pause: Duration,
        work: impl Fn(usize) -> Work,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (written, _) = watch::channel(vec![0; writers]);
        let mut this = Self {
            stop,
            written,
            writers: JoinSet::new(),
        };
        for n in 0..writers {
            let client = connect(&db.url(NEXTCLOUD)).await;
            let (work, stopped, written) = (work(n), stopped.clone(), this.written.clone());
            this.writers.spawn(async move {
                let mut report = Report::default();
                while !*stopped.borrow() {
                    let statements: Vec<&str> = match &work {
                        Work::Autocommit(one) => vec![one],
                        Work::Transaction(one, two) => vec!["BEGIN", one, two, "COMMIT"],
                    };
                    let mut failed = false;
                    for statement in &statements {
                        let began = Instant::now();
                        let done = client.batch_execute(statement).await;
                        report.times.push((began, began.elapsed()));
                        if let Err(error) = done {
                            report.errors.push(format!("{statement}: {error:?}"));
                            let _ = client.batch_execute("ROLLBACK").await;
                            failed = true;
                            break;
                        }
                    }
                    if !failed {
                        let count = if statements.len() == 1 { 1 } else { 2 };
                        report.committed += count;
                        written.send_modify(|each| each[n] += count);
                    }
                    tokio::time::sleep(pause).await;
                }
                report
            });
        }
        this
    }

    /// Waits until so many more statements are committed.
    pub(crate) async fn more(&self, count: u64) {
        let until = self.written.borrow().iter().sum::<u64>() + count;
        self.until(|each| each.iter().sum::<u64>() >= until).await;
    }

    /// Waits until every writer has committed so many more statements: none of them waits for what the caller holds.
    pub(crate) async fn more_of_each(&self, count: u64) {
        let until: Vec<u64> = self.written.borrow().iter().map(|n| n + count).collect();
        self.until(|each| each.iter().zip(&until).all(|(n, until)| n >= until))
            .await;
    }

    async fn until(&self, enough: impl Fn(&[u64]) -> bool) {
        let mut written = self.written.subscribe();
        let waited =
            tokio::time::timeout(super::capture::PATIENCE, written.wait_for(|each| enough(each))).await;
        waited.expect("writers stand still").unwrap();
    }

    pub(crate) async fn stop(self) -> Report {
        self.stop.send_replace(true);
        let mut all = Report::default();
        for report in self.writers.join_all().await {
            all.committed += report.committed;
            all.errors.extend(report.errors);
            all.times.extend(report.times);
        }
        all
    }
}

/// An INSERT into each table in turn, every other writer two in a transaction.
pub(crate) fn inserts(insertions: Arc<Vec<String>>) -> impl Fn(usize) -> Work {
    move |n| {
        let insertion = insertions[n % insertions.len()].clone();
        if n.is_multiple_of(2) {
            Work::Autocommit(insertion)
        } else {
            Work::Transaction(insertion.clone(), insertion)
        }
    }
}
