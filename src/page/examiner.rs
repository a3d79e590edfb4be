//! The findings of `doctor`, kept for a moment.
//!
//! Guarantee: however many people look, the installation is examined at most once in [`VALID`], and nobody waits longer than
//! [`PATIENCE`] for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::config::Settings;
use crate::database::Database;
use crate::doctor::{self, Report};

/// How long findings are shown before the next examination begins.
const VALID: Duration = Duration::from_secs(60);
/// How long a view waits for the first findings; later ones show the older until the new ones are there.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Examines the installation when somebody looks.
#[derive(Debug, Clone)]
pub(crate) struct Examiner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    database: Database,
    kept: Mutex<Kept>,
    done: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    /// The last findings, and when they were found.
    last: Option<(Arc<Report>, DateTime<Utc>)>,
    begun: Option<Instant>,
    at_work: bool,
}

impl Examiner {
    pub(crate) fn new(settings: Arc<Settings>, database: Database) -> Self {
        Self(Arc::new(Inner {
            settings,
            database,
            kept: Mutex::default(),
            done: Notify::new(),
        }))
    }

    /// The last findings and their time; `None` if the first examination takes longer than one waits.
    pub(crate) async fn report(&self) -> Option<(Arc<Report>, DateTime<Utc>)> {
        let done = self.0.done.notified();
        tokio::pin!(done);
        done.as_mut().enable();
        if let Some(last) = self.last_or_begin() {
            return Some(last);
        }
        let _ = tokio::time::timeout(PATIENCE, done).await;
        self.kept().last.clone()
    }

    fn last_or_begin(&self) -> Option<(Arc<Report>, DateTime<Utc>)> {
        let mut kept = self.kept();
        let is_old = kept.begun.is_none_or(|begun| begun.elapsed() >= VALID);
        if is_old && !kept.at_work {
            kept.at_work = true;
            kept.begun = Some(Instant::now());
            let this = self.clone();
            tokio::spawn(async move {
                let working = Working(this.clone());
                let report = doctor::examine(&this.0.database, &this.0.settings).await;
                this.kept().last = Some((Arc::new(report), Utc::now()));
                drop(working);
            });
        }
        kept.last.clone()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An examination under way; however it ends, the next one may begin.
struct Working(Examiner);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.kept().at_work = false;
        self.0.0.done.notify_waiters();
    }
}
