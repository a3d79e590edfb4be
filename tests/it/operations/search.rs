//! Whatever a filter names, its pages show the deliveries that plain SQL and plain comparisons find, each once, in the order of their ids.

use chrono::{DateTime, TimeDelta, Utc};
use openregister_webhooks::delivery::queue::listing::{self, DeliveryFilter, MAX_PAGE, Query};
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{install, options};
use crate::support::dice::Dice;
use crate::support::postgres::Db;

/// Three days of the log, and a queue in which one webhook has many deliveries: so many that a search takes several statements.
const FILL: &str = "DO $$ DECLARE d date; BEGIN FOR ago IN REVERSE 2..0 LOOP \
        d := (clock_timestamp() AT TIME ZONE 'UTC')::date - ago; \
        IF ago > 0 THEN EXECUTE format('CREATE TABLE openregister_webhooks.delivery_log_%s PARTITION OF openregister_webhooks.delivery_log \
            FOR VALUES FROM (%L) TO (%L)', to_char(d, 'YYYYMMDD'), d, d + 1); END IF; \
        INSERT INTO openregister_webhooks.delivery_log (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, \
                attempt, status, cause, created_at, finished_at) \
            SELECT d, n, CASE WHEN n % 10 = 0 THEN 1 + n / 10 % 5 ELSE 1 END, d, n, 'evt_' || n / 2, \
                CASE WHEN n % 1499 = 0 THEN 'AgentDeletedEvent' WHEN n % 9 = 0 THEN 'ObjectCreatedEvent' ELSE 'ObjectUpdatedEvent' END, \
                'object:o' || n % 700, \
                CASE WHEN n % 40 = 0 THEN 'given_up' WHEN n % 333 = 0 THEN 'cancelled' ELSE 'succeeded' END, 'live', 1, \
                CASE WHEN n % 40 = 0 THEN (ARRAY[500, 503, NULL, 404])[1 + n / 40 % 4] WHEN n % 333 = 0 THEN NULL WHEN n % 13 = 0 THEN 204 ELSE 200 END, \
                CASE WHEN n % 40 = 0 THEN (ARRAY['status', 'status', 'timeout', 'status'])[1 + n / 40 % 4] WHEN n % 333 = 0 THEN 'the webhook was deleted' END, \
                d + n * interval '1 s', d + n * interval '1 s' \
            FROM generate_series((2 - ago) * 9000 + 1, (3 - ago) * 9000) n; \
    END LOOP; \
    PERFORM setval('openregister_webhooks.delivery_id_seq', 27000); \
    INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
        SELECT d, 'evt_' || 13500 + n / 2, CASE WHEN n % 499 = 0 THEN 'AgentDeletedEvent' ELSE 'ObjectUpdatedEvent' END, 'object:o' || n % 700, now(), 1, '{}', false \
        FROM generate_series(1, 6000) n; \
    INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, attempt, due_at, reason, deadline_at, created_at, status, cause) \
        SELECT CASE WHEN e.seq % 10 = 0 THEN 2 ELSE 1 END, e.day, e.seq, e.lane, e.seq <= 700, CASE WHEN e.seq % 30 = 0 THEN 'retrying' ELSE 'pending' END, \
            0, now(), 'live', now(), d + interval '8 h' + e.seq * interval '1 s', CASE WHEN e.seq % 60 = 0 THEN 503 END, CASE WHEN e.seq % 30 = 0 THEN 'status' END \
        FROM openregister_webhooks.event e ORDER BY e.seq; \
    END $$";

/// A delivery, as plain SQL shows it.
struct Row {
    id: i64,
    webhook: i64,
    state: String,
    class: Option<String>,
    event_id: Option<String>,
    lane: String,
    status: Option<i32>,
    cause: Option<String>,
    created_at: DateTime<Utc>,
}

async fn rows(client: &Client) -> Vec<Row> {
    let sql = "SELECT id, webhook, state, class, event_id, lane, status, cause, created_at \
        FROM openregister_webhooks.show_deliveries ORDER BY id DESC";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| Row {
            id: row.get(0),
            webhook: row.get(1),
            state: row.get(2),
            class: row.get(3),
            event_id: row.get(4),
            lane: row.get(5),
            status: row.get(6),
            cause: row.get(7),
            created_at: row.get(8),
        })
        .collect()
}

impl Row {
    /// What a filter's field means.
    fn fits(&self, name: &str, text: &str) -> bool {
        match name {
            "webhook" => self.webhook.to_string() == text,
            "state" => text.split(',').any(|state| state == self.state),
            "class" => self.class.as_deref() == Some(text),
            "object" => self.lane == format!("object:{text}"),
            "webhookId" => self.event_id.as_deref() == Some(text),
            "status" => self.status.is_some_and(|status| match text.strip_suffix("xx") {
                Some(hundreds) => (status / 100).to_string() == hundreds,
                None => status.to_string() == text,
            }),
            "cause" => self.cause.as_deref() == Some(text),
            "since" => self.created_at >= text.parse::<DateTime<Utc>>().unwrap(),
            "until" => self.created_at < text.parse::<DateTime<Utc>>().unwrap(),
            other => panic!("{other}"),
        }
    }
}

/// A filter, as a list of fields; each is named in one of four.
fn made_up(dice: &mut Dice, first: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut name = |dice: &mut Dice, name, values: &[&str]| {
        if dice.roll(4) == 0 {
            fields.push((name, dice.pick(values).to_owned()));
        }
    };
    name(dice, "webhook", &["1", "2", "3", "7"]);
    name(
        dice,
        "state",
        &[
            "given_up",
            "cancelled",
            "given_up,cancelled",
            "succeeded",
            "pending",
            "retrying",
            "retrying,given_up",
            "pending,succeeded",
        ],
    );
    name(
        dice,
        "class",
        &["ObjectUpdatedEvent", "ObjectCreatedEvent", "AgentDeletedEvent"],
    );
    name(dice, "status", &["500", "503", "204", "5xx", "2xx", "4xx"]);
    name(dice, "cause", &["status", "timeout", "the webhook was deleted"]);
    let at = |seconds: i64| (first + TimeDelta::seconds(seconds)).to_rfc3339();
    let since = i64::try_from(dice.roll(250_000)).unwrap();
    if dice.roll(4) == 0 {
        fields.push(("since", at(since)));
    }
    if dice.roll(4) == 0 {
        fields.push((
            "until",
            at(since + 1 + i64::try_from(dice.roll(200_000)).unwrap()),
        ));
    }
    if dice.roll(8) == 0 {
        fields.push(("object", format!("o{}", dice.roll(710))));
    }
    if dice.roll(8) == 0 {
        fields.push(("webhookId", format!("evt_{}", dice.roll(17_000))));
    }
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_the_filter_names_whatever_it_names() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db, &options()).await;
    let client = db.client().await;
    client.batch_execute(FILL).await.unwrap();
    let all = rows(&client).await;
    assert_eq!(all.len(), 33_000);
    let first = all.last().unwrap().created_at;
    let seed = 20_261_129;
    let mut dice = Dice::new(seed);
    let (mut found, mut ended) = (0, 0);
    for round in 0..250 {
        // Half of them with statistics.
        if round == 125 {
            client.batch_execute("ANALYZE").await.unwrap();
        }
        let fields = made_up(&mut dice, first);
        let filter = DeliveryFilter::parse(fields.iter().map(|(name, text)| (*name, text.as_str()))).unwrap();
        let mut expected = all
            .iter()
            .filter(|row| fields.iter().all(|(name, text)| row.fits(name, text)));
        let limit = dice.pick(&[7, 100, MAX_PAGE]);
        let mut query = Query {
            filter,
            before: None,
            limit,
        };
        // Common ones are not read to their ends.
        for _ in 0..12 {
            let page = listing::list(&client, &query).await.unwrap();
            assert!(page.entries.len() <= usize::from(limit));
            for entry in &page.entries {
                let row = expected
                    .next()
                    .unwrap_or_else(|| panic!("{fields:?} also shows {entry:?}"));
                assert_eq!(
                    (entry.id, &entry.state, entry.status),
                    (row.id, &row.state, row.status),
                    "{fields:?}"
                );
                assert_eq!(
                    (&entry.class, &entry.event_id),
                    (&row.class, &row.event_id),
                    "{fields:?}"
                );
            }
            found += page.entries.len();
            let Some(next) = page.next else {
                let missing = expected.next().map(|row| row.id);
                assert_eq!(missing, None, "{fields:?} ends too early");
                ended += 1;
                break;
            };
            assert!(
                query.before.is_none_or(|before| next < before),
                "{fields:?} goes on"
            );
            query.before = Some(next);
        }
    }
    assert!(
        found > 10_000 && ended > 100,
        "{found} found, {ended} read to the end"
    );
}
