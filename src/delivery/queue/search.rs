//! Finds the deliveries that a filter names, newest first, in a log of any length.
//!
//! Guarantees: a search reads at most [`CHUNK`] rows in one statement, and begins no other statement after its deadline. What it did not
//! reach it says: the next search goes on there. Nothing is left out that a search has passed.
//!
//! A *way* (`ways`) is an index in the order of `id` that finds rows which meet a part of the filter; the rest is looked at row by row. If
//! several ways are open, each is tried for some rows, and the one that gets on fastest is taken. So it does not matter what PostgreSQL's
//! statistics say about partitions that it has not looked at yet. Times become ids: ids ascend with the time of `created_at`.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::conditions::{Parameters, Table, all, condition};
use super::filter::{DeliveryFilter, Field};
use super::transition::WEBHOOKS;
use super::ways::Way;

/// The most rows that one statement looks at.
const CHUNK: i64 = 20_000;
/// The same in the queue, if the event of each row has to be looked up.
const CHUNK_WITH_EVENTS: i64 = 5_000;
/// A webhook with fewer rows in the queue has few.
const FEW: i64 = 5_000;
/// Rows for which a way is tried.
const TRIED: i64 = 2_000;
/// By so much the clock of `created_at` may have been set back.
const CLOCK: TimeDelta = TimeDelta::minutes(10);

/// What is read of each row that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// What a list shows: see `entry`.
    Entries,
    /// `id` and `webhook`.
    Keys,
}

/// A search in one of the two tables, from the newest row to the oldest.
pub(super) struct Search<'f> {
    filter: &'f DeliveryFilter,
    table: Table,
    shape: Shape,
    /// A further condition for a row `l`, which is looked up for no more rows than are asked for.
    and: &'f str,
    /// Only days of the log from this one on.
    from_day: Option<NaiveDate>,
    /// Ids from here on …
    low: i64,
    /// … to below this one are still to be looked at.
    before: i64,
    /// Each with the ids that it passed for a row that it read; none: not tried yet.
    ways: Vec<(Way, Option<f64>)>,
    ended: bool,
}

impl<'f> Search<'f> {
    /// Begins a search for what is older than `before`.
    ///
    /// # Errors
    /// If a query fails.
    pub(super) async fn begin<C: GenericClient + Sync>(
        client: &C,
        filter: &'f DeliveryFilter,
        table: Table,
        (shape, and): (Shape, &'f str),
        before: Option<i64>,
    ) -> Result<Self, Error> {
        let mut search = Self {
            filter,
            table,
            shape,
            and,
            from_day: None,
            low: 0,
            before: before.unwrap_or(i64::MAX),
            ways: Way::of(filter, table)
                .into_iter()
                .map(|way| (way, None))
                .collect(),
            ended: !table.may_match(filter),
        };
        if search.ended {
            return Ok(search);
        }
        if let Some(since) = filter.since {
            search.low = first_since(client, table, since - CLOCK).await?;
        }
        if let Some(until) = filter.until {
            let end = first_since(client, table, until + CLOCK).await?;
            search.before = search.before.min(end);
        }
        if search.ways.len() > 1 && search.before == i64::MAX {
            // What a way passes is measured from here.
            search.before = newest(client).await? + 1;
        }
        search.ended = search.low >= search.before;
        Ok(search)
    }

    /// Leaves out the days of the log before this one: their partitions are not read.
    pub(super) const fn since_day(mut self, day: NaiveDate) -> Self {
        self.from_day = Some(day);
        self
    }

    /// The rows that were not looked at are older than this; `None` if there are none.
    pub(super) fn stopped(&self) -> Option<i64> {
        (!self.ended).then_some(self.before)
    }

    /// Up to `limit` rows, newest first; at least one statement is run, and none is begun after `deadline`. If there is a further condition,
    /// `limit` rows of the filter are looked at, and those that meet it are given.
    ///
    /// # Errors
    /// If a query fails.
    pub(super) async fn take<C: GenericClient + Sync>(
        &mut self,
        client: &C,
        limit: i64,
        deadline: Instant,
    ) -> Result<Vec<Row>, Error> {
        let mut found = Vec::new();
        let mut missing = limit;
        loop {
            if self.ended || missing <= 0 {
                return Ok(found);
            }
            let (rows, matched) = self.step(client, missing).await?;
            found.extend(rows);
            missing -= matched;
            if Instant::now() >= deadline {
                return Ok(found);
            }
        }
    }

    /// The way to take now: one that was not tried yet, or the one that gets on fastest.
    fn way(&self) -> usize {
        let pace = |(_, pace): &(Way, Option<f64>)| pace.unwrap_or(f64::INFINITY);
        let mut best = 0;
        for (place, way) in self.ways.iter().enumerate() {
            if self.ways.get(best).is_none_or(|known| pace(way) > pace(known)) {
                best = place;
            }
        }
        best
    }

    /// Runs one statement, for up to `limit` rows of the filter. Those of them that meet the further condition, and how many they were.
    async fn step<C: GenericClient + Sync>(
        &mut self,
        client: &C,
        limit: i64,
    ) -> Result<(Vec<Row>, i64), Error> {
        let place = self.way();
        let Some((way, pace)) = self.ways.get(place).copied() else {
            self.ended = true;
            return Ok((Vec::new(), 0));
        };
        let rest: Vec<Field> = Field::ALL
            .into_iter()
            .filter(|field| self.filter.names(*field) && !way.fields().contains(field))
            .collect();
        let exact = rest.is_empty();
        let with_events = self.table == Table::Queue && rest.contains(&Field::Class);
        let most = match way {
            Way::QueueOfWebhook => FEW,
            _ if way.is_unordered() => CHUNK,
            _ if exact => limit,
            _ if pace.is_none() => TRIED,
            _ if with_events => CHUNK_WITH_EVENTS,
            _ => CHUNK,
        };
        let (sql, parameters) = self.sql(way, &rest, most, limit);
        let rows = client.query_typed(&sql, &parameters.list()).await?;
        let Some(first) = rows.first() else {
            self.ended = true;
            return Ok((Vec::new(), 0));
        };
        let scanned: i64 = first.try_get("scanned")?;
        let matched: i64 = first.try_get("matched")?;
        let is_full = matched >= limit;
        let reached: Option<i64> = first.try_get(if is_full { "last" } else { "reached" })?;
        if scanned == most && way.is_unordered() {
            // Not all of them: this way says nothing about what is newest.
            self.ways.remove(place);
            if self.ways.is_empty() {
                self.ways.push((Way::whole(self.table), None));
            }
            return Ok((Vec::new(), 0));
        }
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if row.try_get::<_, Option<i64>>("id")?.is_some() {
                found.push(row);
            }
        }
        match reached {
            Some(reached) if is_full || scanned == most => {
                #[expect(clippy::cast_precision_loss, reason = "a comparison of paces")]
                let pace = (self.before - reached) as f64 / scanned.max(1) as f64;
                self.ways[place].1 = Some(pace);
                self.before = reached;
            }
            _ => self.ended = true,
        }
        Ok((found, matched))
    }

    fn sql(&self, way: Way, rest: &[Field], most: i64, limit: i64) -> (String, Parameters) {
        let mut parameters = Parameters::default();
        let low = parameters.add(self.low, Type::INT8);
        let before = parameters.add(self.before, Type::INT8);
        let most = parameters.add(most, Type::INT8);
        let limit = parameters.add(limit, Type::INT8);
        let mut range = format!("l.id >= {low} AND l.id < {before}");
        if let (Some(day), Table::Log) = (self.from_day, self.table) {
            range = format!("{range} AND l.day >= {}", parameters.add(day, Type::DATE));
        }
        let rows = way.rows(self.filter, self.table, (&range, &most), &mut parameters);
        let mut conditions: Vec<String> = rest
            .iter()
            .filter_map(|field| condition(self.filter, *field, self.table, &mut parameters))
            .collect();
        if way == Way::QueueOfWebhook {
            conditions.push(range);
        }
        let and = if self.and.is_empty() { "true" } else { self.and };
        let shown = match self.shape {
            Shape::Keys => "SELECT f.id, f.webhook FROM f",
            Shape::Entries => {
                "SELECT f.*, coalesce(f.event_id, e.id) AS known_id, coalesce(f.class, e.class) AS known_class FROM f LEFT JOIN LATERAL ( \
                    SELECT e.id, e.class FROM openregister_webhooks.event e \
                    WHERE e.day = f.event_day AND e.seq = f.event_seq AND (f.class IS NULL OR f.event_id IS NULL) LIMIT 1) e ON true"
            }
        };
        let conditions = all(&conditions);
        let sql = format!(
            "WITH RECURSIVE {WEBHOOKS}, s AS MATERIALIZED ({rows}), \
             m AS MATERIALIZED (SELECT * FROM s AS l WHERE {conditions} ORDER BY l.id DESC LIMIT {limit}), \
             f AS (SELECT * FROM m AS l WHERE {and}) \
             SELECT (SELECT count(*) FROM s) AS scanned, (SELECT min(s.id) FROM s) AS reached, \
                 (SELECT count(*) FROM m) AS matched, (SELECT min(m.id) FROM m) AS last, x.* \
             FROM (SELECT) one LEFT JOIN ({shown}) x ON true ORDER BY x.id DESC"
        );
        (sql, parameters)
    }
}

/// The smallest id of a row that was put into the queue at `at` or later; one more than the largest id if there is none. Each step
/// halves the ids, so that it costs some fifty look-ups.
async fn first_since<C: GenericClient + Sync>(
    client: &C,
    table: Table,
    at: DateTime<Utc>,
) -> Result<i64, Error> {
    let name = table.name();
    let sql = format!(
        "WITH RECURSIVE b (low, high) AS ( \
            SELECT 0::bigint, coalesce((SELECT l.id FROM {name} l ORDER BY l.id DESC LIMIT 1), 0) + 1 \
            UNION ALL \
            SELECT CASE WHEN p.created_at >= $1 THEN b.low ELSE (b.low + b.high) / 2 END, \
                   CASE WHEN p.created_at >= $1 THEN p.id ELSE b.high END \
            FROM b LEFT JOIN LATERAL ( \
                SELECT l.id, l.created_at FROM {name} l WHERE l.id > b.low AND l.id <= (b.low + b.high) / 2 ORDER BY l.id DESC LIMIT 1 \
            ) p ON true \
            WHERE b.high - b.low > 1) \
         SELECT b.high FROM b ORDER BY b.high - b.low LIMIT 1"
    );
    let rows = client.query_typed(&sql, &[(&at, Type::TIMESTAMPTZ)]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

/// The id of the newest delivery, finished or not; 0 if there is none.
///
/// # Errors
/// If the query fails.
pub(super) async fn newest<C: GenericClient + Sync>(client: &C) -> Result<i64, Error> {
    let sql = "SELECT greatest((SELECT l.id FROM openregister_webhooks.delivery_log l ORDER BY l.id DESC LIMIT 1), \
        (SELECT d.id FROM openregister_webhooks.delivery d ORDER BY d.id DESC LIMIT 1), 0)";
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

#[cfg(test)]
mod plans;
