//! Who gets series of its own, and that none ever goes down.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::*;
use crate::delivery::queue::{AttemptRecord, Claimed, EventRef, Followed, Reason, WorkerId};
use crate::delivery::response_excerpt::ResponseExcerpt;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

fn record(webhook: i64, failed: bool) -> OutcomeRecord {
    let delivery = Claimed {
        worker: WorkerId::new(),
        id: 1,
        webhook: WebhookId(webhook),
        event: EventRef {
            day: NaiveDate::default(),
            seq: 1,
        },
        lane: Lane::object("1"),
        attempt: 0,
        fence: 1,
        reason: Reason::Live,
        awaited: false,
        due: true,
        due_since: Instant::now(),
        overdue: false,
        size: 1,
        followed: Followed::default(),
    };
    OutcomeRecord {
        delivery,
        outcome: if failed {
            Outcome::Retry(Duration::ZERO)
        } else {
            Outcome::Succeeded
        },
        attempt: Some(AttemptRecord {
            at: DateTime::UNIX_EPOCH,
            duration: Duration::from_millis(5),
            number: 1,
            status: None,
            cause: failed.then_some("timeout"),
            error: None,
            answer: ResponseExcerpt::default(),
            probe: false,
            latency: None,
        }),
        event: None,
    }
}

/// The attempts of each series.
fn shown(metrics: &WebhookMetrics) -> BTreeMap<String, u64> {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let series = text
        .lines()
        .filter(|line| line.starts_with("webhook_attempts_total{"));
    series
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(labels, value)| (labels.to_owned(), value.parse().unwrap()))
        .collect()
}

fn named(metrics: &WebhookMetrics, webhook: i64) -> bool {
    let name = format!("webhook=\"{webhook}\"");
    shown(metrics).keys().any(|labels| labels.contains(&name))
}

#[test]
fn ten_thousand_webhooks_have_series_for_those_that_fail_or_are_busy() {
    let metrics = WebhookMetrics::default();
    let mut now = Instant::now();
    let all: Vec<OutcomeRecord> = (0..10_000).map(|id| record(id, false)).collect();
    metrics.count_at(now, &all);
    assert_eq!(shown(&metrics).len(), 2 * (NAMED + 1));
    assert!(named(&metrics, 0) && !named(&metrics, 9_000));
    // One becomes busy and another one fails; after a while they are named, and the number of series stays what it was.
    for _ in 0..17 {
        let busy = (0..100).map(|_| record(9_000, false));
        let busy: Vec<_> = busy.chain([record(9_001, true)]).collect();
        metrics.count_at(now, &busy);
        now += REVIEW;
    }
    assert!(named(&metrics, 9_000) && named(&metrics, 9_001));
    assert_eq!(shown(&metrics).len(), 2 * (NAMED + 1));
    // Those that are idle are forgotten.
    assert!(metrics.lock().webhooks.len() <= NAMED + 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Whatever happens, everything is counted once, no series goes down as long as it is there, and the number of them is bounded.
    #[test]
    fn no_series_goes_down(steps in prop::collection::vec((0_i64..120, any::<bool>(), 0_u64..400), 1..200)) {
        let metrics = WebhookMetrics::default();
        let mut now = Instant::now();
        let mut before = shown(&metrics);
        for (webhook, failed, pause) in steps {
            now += Duration::from_secs(pause);
            let sum: u64 = before.values().sum();
            metrics.count_at(now, [&record(webhook, failed)]);
            let after = shown(&metrics);
            prop_assert!(after.len() <= 2 * (NAMED + 1));
            let gone = before.iter().filter(|(labels, _)| !after.contains_key(*labels));
            let vanished: u64 = gone.map(|(_, count)| count).sum();
            prop_assert_eq!(after.values().sum::<u64>() + vanished, sum + 1);
            for (labels, count) in &after {
                prop_assert!(before.get(labels).is_none_or(|earlier| earlier <= count), "{} fell", labels);
            }
            before = after;
        }
    }
}
