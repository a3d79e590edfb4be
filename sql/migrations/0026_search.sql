-- Deliveries are found by class, by webhook-id, by status and by cause; bulk retries are jobs; figures for each minute.

-- What came of the last attempt of an unfinished delivery. No index: an outcome stays a heap-only update.
ALTER TABLE openregister_webhooks.delivery
    ADD COLUMN status integer,             -- NULL: no attempt, or no response
    ADD COLUMN cause  text;                -- NULL: no attempt

-- A log of millions of rows is not indexed here: writers of the log would wait for the end. New days get these indexes when they are
-- made; days that exist get them one by one, in index_log() of sql/functions.sql, and until then a search reads more rows.
CREATE INDEX delivery_log_class ON ONLY openregister_webhooks.delivery_log (class, id);
-- Only equality is asked for, and a hash takes a third of the room.
CREATE INDEX delivery_log_event ON ONLY openregister_webhooks.delivery_log USING hash (event_id);
-- Of failures alone: a success writes nothing here.
CREATE INDEX delivery_log_cause ON ONLY openregister_webhooks.delivery_log (cause, id) WHERE state <> 'succeeded';
CREATE INDEX delivery_log_status ON ONLY openregister_webhooks.delivery_log (status, id) WHERE state <> 'succeeded';

ALTER TABLE IF EXISTS openregister_webhooks.job DROP CONSTRAINT IF EXISTS job_kind_check;
ALTER TABLE IF EXISTS openregister_webhooks.job ADD CONSTRAINT job_kind_check CHECK (kind IN ('replay', 'backfill', 'retry'));

-- What came of deliveries in each minute of the last day. A process writes its own rows, as a whole, some seconds apart: so a write can be
-- repeated, and what several processes counted is added up by whoever reads.
CREATE TABLE openregister_webhooks.minute_count (
    webhook      bigint      NOT NULL,     -- 0: all webhooks
    minute       timestamptz NOT NULL,     -- its beginning
    writer       uuid        NOT NULL,     -- of the process, as long as it runs
    succeeded    integer     NOT NULL,     -- deliveries
    given_up     integer     NOT NULL,     -- deliveries
    failed       integer     NOT NULL,     -- attempts
    last_success timestamptz,
    buckets      smallint[]  NOT NULL,     -- from the change to the receipt: src/delivery/histogram.rs
    counts       integer[]   NOT NULL,     -- of each bucket
    PRIMARY KEY (webhook, minute, writer)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
-- For what is removed.
CREATE INDEX minute_count_minute ON openregister_webhooks.minute_count (minute);
