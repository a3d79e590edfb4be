-- Delivery: the queue of unfinished deliveries, the log of finished ones, and what every attempt met with.
--
-- docs/delivery-states.md has the state machine. In short: a row of "delivery" is unfinished; the first row of a lane
-- (webhook, lane) has "head" set, and only heads are taken; finishing one moves it to "delivery_log" and makes its
-- successor the head, in one transaction.

-- The processes that deliver. A row of "delivery" is leased exactly as long as the worker in "lease_owner" is alive:
-- one heartbeat a process instead of one write a lease.
CREATE TABLE openregister_webhooks.worker (
    id            uuid        PRIMARY KEY,
    name          text        NOT NULL,            -- host and process, for people
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_until   timestamptz NOT NULL,
    backend_pid   integer     NOT NULL,            -- of the connection that beats: when it is gone, so is the worker
    backend_start timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Which worker delivers for a webhook: one at a time, so that its limits hold in total. Free where the worker is dead.
CREATE TABLE openregister_webhooks.webhook_owner (
    webhook bigint      PRIMARY KEY,
    worker  uuid        NOT NULL,
    since   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- "delivery": claiming changes no indexed column, so it is a heap-only update; the free 30 % of a page are for that.
CREATE TABLE openregister_webhooks.delivery (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- ascending = order within a lane
    webhook     bigint      NOT NULL,
    event_day   date        NOT NULL,            -- openregister_webhooks.event (day, seq); no foreign key, since
    event_seq   bigint      NOT NULL,            -- events go by partition, which a foreign key would forbid
    lane        text        NOT NULL,
    head        boolean     NOT NULL,            -- first of its lane (or the webhook has no order): may be taken
    awaiting    boolean     NOT NULL DEFAULT false,   -- the row that names the user may still come, until due_at
    state       text        NOT NULL CHECK (state IN ('pending', 'awaiting_user', 'leased', 'retrying')),
    attempt     integer     NOT NULL DEFAULT 0,  -- attempts made
    due_at      timestamptz NOT NULL,
    lease_owner uuid,                            -- worker.id
    fence       bigint      NOT NULL DEFAULT 0,  -- grows with every lease: an outcome must name the current one
    reason      text        NOT NULL CHECK (reason IN ('live', 'retry', 'replay', 'backfill', 'test')),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline_at timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.1);

-- Taking what is due: only heads are in it, so a million rows behind one failing head cost nothing.
CREATE INDEX delivery_due ON openregister_webhooks.delivery (webhook, due_at, id) WHERE head;
-- The end of a lane (enqueue) and its first (settle).
CREATE INDEX delivery_lane ON openregister_webhooks.delivery (webhook, lane, id);
-- The row that names the user has come: which deliveries wait for it?
CREATE INDEX delivery_awaiting ON openregister_webhooks.delivery (event_seq) WHERE awaiting;

-- Finished deliveries, by the UTC day they finished on.
CREATE TABLE openregister_webhooks.delivery_log (
    day         date        NOT NULL,
    id          bigint      NOT NULL,            -- delivery.id
    webhook     bigint      NOT NULL,
    event_day   date        NOT NULL,
    event_seq   bigint      NOT NULL,
    event_id    text,                            -- the webhook-id, where the event could be read
    class       text,
    lane        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('succeeded', 'given_up', 'cancelled')),
    reason      text        NOT NULL,
    attempt     integer     NOT NULL,
    status      integer,                         -- of the last attempt
    cause       text,                            -- why it was given up or cancelled
    created_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE INDEX delivery_log_webhook ON openregister_webhooks.delivery_log (webhook, id);
CREATE INDEX delivery_log_failed ON openregister_webhooks.delivery_log (webhook, id) WHERE state = 'given_up';
CREATE INDEX delivery_log_lane ON openregister_webhooks.delivery_log (lane, id);
CREATE TABLE openregister_webhooks.delivery_log_default
    PARTITION OF openregister_webhooks.delivery_log DEFAULT;

-- Every attempt, by the UTC day it was made on.
CREATE TABLE openregister_webhooks.attempt (
    day         date        NOT NULL,
    delivery    bigint      NOT NULL,
    number      integer     NOT NULL,            -- 1 is the first; a probe out of turn repeats the number
    webhook     bigint      NOT NULL,
    at          timestamptz NOT NULL,            -- when it began
    duration_ms integer     NOT NULL,
    status      integer,                         -- NULL where no response came
    cause       text,                            -- NULL for success; dns, connect, tls, timeout, guard, status, …
    error       text,
    response    text,                            -- the beginning of the response body
    probe       boolean     NOT NULL DEFAULT false
) PARTITION BY RANGE (day);
CREATE INDEX attempt_delivery ON openregister_webhooks.attempt (delivery);
CREATE TABLE openregister_webhooks.attempt_default PARTITION OF openregister_webhooks.attempt DEFAULT;

-- How each webhook's receiver is doing; kept over restarts, since "failing for five days" outlives a process.
CREATE TABLE openregister_webhooks.webhook_health (
    webhook       bigint      PRIMARY KEY,
    failures      integer     NOT NULL DEFAULT 0,   -- in a row
    failing_since timestamptz,                      -- the first failure since the last success
    last_success  timestamptz,
    last_failure  timestamptz,
    last_cause    text
) WITH (fillfactor = 50);

-- Partitions: the role that runs the sidecar owns nothing, so these run with their owner's rights. They touch our own
-- partitioned tables only. A partition is made aside and attached, which locks the parent lightly; a day that has
-- rows in the default partition already stays there.
CREATE FUNCTION openregister_webhooks.ensure_partitions(days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET client_min_messages = warning
AS $$
DECLARE
    today   date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    parent  text;
    at      date;
    name    text;
    taken   boolean;
    made    integer := 0;
BEGIN
    IF days IS NULL OR days NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'ensure_partitions: days must be 0 to 60, not %', days;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('openregister_webhooks.partitions', 0));
    FOREACH parent IN ARRAY ARRAY['event', 'delivery_log', 'attempt'] LOOP
        FOR at IN SELECT today + i FROM generate_series(0, days) AS i LOOP
            name := parent || '_' || to_char(at, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(format('openregister_webhooks.%I', name)) IS NOT NULL;
            EXECUTE format('SELECT EXISTS (SELECT FROM openregister_webhooks.%I WHERE day = $1)', parent || '_default')
                INTO taken USING at;
            CONTINUE WHEN taken;
            EXECUTE format('CREATE TABLE openregister_webhooks.%I (LIKE openregister_webhooks.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                           name, parent);
            EXECUTE format('ALTER TABLE openregister_webhooks.%I ATTACH PARTITION openregister_webhooks.%I FOR VALUES FROM (%L) TO (%L)',
                           parent, name, at, at + 1);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- Drops the partitions of "which" ('event' or 'log') whose days are before "before"; for the default partition deletes
-- such rows. Events that a pending delivery still needs stay.
CREATE FUNCTION openregister_webhooks.drop_partitions(which text, before date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET client_min_messages = warning
AS $$
DECLARE
    parents text[];
    parent  text;
    child   text;
    at      date;
    dropped integer := 0;
BEGIN
    parents := CASE which WHEN 'event' THEN ARRAY['event'] WHEN 'log' THEN ARRAY['delivery_log', 'attempt'] END;
    IF parents IS NULL OR before IS NULL THEN
        RAISE EXCEPTION 'drop_partitions: which must be event or log, and before a date';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('openregister_webhooks.partitions', 0));
    FOREACH parent IN ARRAY parents LOOP
        FOR child, at IN
            SELECT c.relname, to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD')
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = format('openregister_webhooks.%I', parent)::regclass
              AND c.relname ~ '_[0-9]{8}$'
        LOOP
            CONTINUE WHEN at >= before;
            CONTINUE WHEN which = 'event'
                AND EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.event_day = at);
            EXECUTE format('DROP TABLE openregister_webhooks.%I', child);
            dropped := dropped + 1;
        END LOOP;
        EXECUTE format('DELETE FROM openregister_webhooks.%I p WHERE p.day < $1%s', parent || '_default',
            CASE which WHEN 'event'
                THEN ' AND NOT EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.event_day = p.day AND d.event_seq = p.seq)'
                ELSE '' END)
            USING before;
    END LOOP;
    RETURN dropped;
END $$;

-- Takes out of the queue what can never be delivered, at most "most" rows a call; says how many. Deliveries of webhooks
-- that are gone are cancelled; where "before" is given, deliveries of events of earlier days are given up: events are
-- kept no longer, also for a webhook that is paused. Leased rows are left to their worker.
CREATE FUNCTION openregister_webhooks.clean_deliveries(before date, most integer) RETURNS integer
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
            WHERE f.webhook = l.webhook AND f.lane = l.lane ORDER BY f.id LIMIT 1
        ) f
        WHERE d.id = f.id AND NOT f.head;
    END IF;
    RETURN moved;
END $$;

REVOKE ALL ON FUNCTION openregister_webhooks.clean_deliveries(date, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION openregister_webhooks.ensure_partitions(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION openregister_webhooks.drop_partitions(text, date) FROM PUBLIC;

SELECT openregister_webhooks.ensure_partitions(7);
