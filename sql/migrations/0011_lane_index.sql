-- A row is found by the primary key alone, a lane by its index alone, whatever the statistics say.
--
-- Where statistics are of a time when the queue was (almost) empty, PostgreSQL believes that reading a whole index costs as
-- little as looking one row up. It then looked for ids in the index of lanes, and for the first row of a lane in the primary
-- key: with a million rows waiting, seconds for each row, until the next ANALYZE. Now neither index can serve for the
-- other: lanes are in the order of (id + 0), which is another expression than id.

DROP INDEX IF EXISTS openregister_webhooks.delivery_lane;
-- The end of a lane (enqueue) and its first (settle).
CREATE INDEX delivery_lane ON openregister_webhooks.delivery (webhook, lane, (id + 0));

-- Takes out of the queue what can never be delivered, at most "most" rows a call; says how many. Deliveries of webhooks
-- that are gone are cancelled; where "before" is given, deliveries of events of earlier days are given up: events are
-- kept no longer, also for a webhook that is paused. Leased rows are left to their worker.
CREATE OR REPLACE FUNCTION openregister_webhooks.clean_deliveries(before date, most integer) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    today   date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    orphans bigint[];
    lanes   text[];
    hooks   bigint[];
    moved   integer := 0;
    step    integer;
BEGIN
    IF to_regclass('openregister_webhooks.webhook') IS NOT NULL THEN
        WITH RECURSIVE w AS (
            (SELECT d.webhook FROM openregister_webhooks.delivery d ORDER BY d.webhook LIMIT 1)
            UNION ALL
            SELECT (SELECT d.webhook FROM openregister_webhooks.delivery d WHERE d.webhook > w.webhook ORDER BY d.webhook LIMIT 1)
            FROM w WHERE w.webhook IS NOT NULL
        )
        SELECT array_agg(w.webhook) INTO orphans FROM w
        WHERE w.webhook IS NOT NULL AND NOT EXISTS (SELECT FROM openregister_webhooks.webhook r WHERE r.id = w.webhook);
    END IF;
    IF orphans IS NOT NULL THEN
        WITH old AS MATERIALIZED (
            SELECT d.id FROM openregister_webhooks.delivery d WHERE d.webhook = ANY (orphans)
            LIMIT most FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM openregister_webhooks.delivery d WHERE d.id = ANY (ARRAY(SELECT o.id FROM old o)) RETURNING d.*
        )
        INSERT INTO openregister_webhooks.delivery_log
            (day, id, webhook, event_day, event_seq, lane, state, reason, attempt, cause, created_at)
        SELECT today, g.id, g.webhook, g.event_day, g.event_seq, g.lane, 'cancelled', g.reason, g.attempt,
            'the webhook was deleted', g.created_at FROM gone g;
        GET DIAGNOSTICS moved = ROW_COUNT;
    END IF;
    IF before IS NOT NULL AND moved < most THEN
        WITH old AS MATERIALIZED (
            SELECT d.id FROM openregister_webhooks.delivery d WHERE d.event_day < before AND d.lease_owner IS NULL
            ORDER BY d.id LIMIT most - moved FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM openregister_webhooks.delivery d WHERE d.id = ANY (ARRAY(SELECT o.id FROM old o)) RETURNING d.*
        ), logged AS (
            INSERT INTO openregister_webhooks.delivery_log
                (day, id, webhook, event_day, event_seq, lane, state, reason, attempt, cause, created_at)
            SELECT today, g.id, g.webhook, g.event_day, g.event_seq, g.lane, 'given_up', g.reason, g.attempt, 'expired',
                g.created_at FROM gone g
        )
        SELECT array_agg(g.webhook), array_agg(g.lane), count(*) INTO hooks, lanes, step FROM gone g;
        moved := moved + step;
        -- A statement of its own, with its own snapshot: see "settle" and "enqueue" in src/delivery/queue/.
        UPDATE openregister_webhooks.delivery d SET head = true
        FROM (SELECT DISTINCT l.webhook, l.lane FROM unnest(hooks, lanes) AS l(webhook, lane)) l
        CROSS JOIN LATERAL (
            SELECT f.id, f.head FROM openregister_webhooks.delivery f
            WHERE f.webhook = l.webhook AND f.lane = l.lane ORDER BY f.id + 0 LIMIT 1
        ) f
        WHERE d.id = ANY (ARRAY[f.id]) AND NOT f.head;
    END IF;
    RETURN moved;
END $$;
