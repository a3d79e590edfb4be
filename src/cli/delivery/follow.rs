//! `delivery list --follow`: deliveries as they come and change.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use tokio_postgres::Client;

use super::print;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::delivery::queue::listing::{self, Entry, Query};

/// How often the deliveries are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// The newest deliveries, whose changes are noticed. What is older than these is not shown any more.
const WATCHED: usize = 1_000;
/// The most pages of one reading.
const PAGES: usize = 20;

/// What was shown of each delivery: its state and its attempts.
type Shown = BTreeMap<i64, (String, i32)>;

/// Prints the newest deliveries, and then each that comes or changes, until Ctrl-C or until nobody reads the output.
pub(super) async fn run(client: &Client, query: Query, json: bool) -> Result<(), Failure> {
    let mut shown = Shown::new();
    let mut first = listing::list(client, &query).await?.entries;
    loop {
        first.reverse();
        for entry in &first {
            show(entry, json);
            shown.insert(entry.id, known(entry));
        }
        while shown.len() > WATCHED {
            shown.pop_first();
        }
        if output::is_unread() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            stopped = tokio::signal::ctrl_c() => {
                return stopped.map_err(|error| Failure::Failed(format!("Ctrl-C cannot be waited for: {error}")));
            }
        }
        first = changed(client, &query, &shown).await?;
    }
}

fn known(entry: &Entry) -> (String, i32) {
    (entry.state.clone(), entry.attempts)
}

fn show(entry: &Entry, json: bool) {
    if json {
        output::json_line(&json!(entry));
    } else {
        output::one_line(print::line(entry, Utc::now()));
    }
}

/// What is new or has changed since it was shown, newest first.
async fn changed(client: &Client, query: &Query, shown: &Shown) -> Result<Vec<Entry>, Failure> {
    let oldest = shown.first_key_value().map(|(id, _)| *id);
    let mut query = Query {
        limit: listing::MAX_PAGE,
        ..query.clone()
    };
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page = listing::list(client, &query).await?;
        let watched = |entry: &Entry| oldest.is_none_or(|oldest| entry.id >= oldest);
        let ended = page.next.is_none() || !page.entries.iter().all(watched);
        found.extend(
            page.entries
                .into_iter()
                .filter(|entry| watched(entry) && shown.get(&entry.id) != Some(&known(entry))),
        );
        if ended {
            return Ok(found);
        }
        query.before = page.next;
    }
    output::note("more came than can be shown; `delivery list` shows the rest");
    Ok(found)
}
