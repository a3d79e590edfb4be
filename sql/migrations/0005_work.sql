-- Long work in small steps: replays and backfills; and what counts the outcomes of each webhook.
--
-- A step is one transaction: it locks the job's row, puts a batch of deliveries into the queue and writes how far it is.
-- So any process goes on where another was killed, and nothing is enqueued twice.

CREATE TABLE openregister_webhooks.job (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('replay', 'backfill')),
    webhook     bigint      NOT NULL,
    -- A replay holds the webhook's new events back behind its own, so "cancelling" it still hands those over, in order.
    state       text        NOT NULL DEFAULT 'running'
                            CHECK (state IN ('running', 'cancelling', 'done', 'cancelled')),
    ask         text        NOT NULL,              -- JSON: what was asked for
    place       text        NOT NULL,              -- JSON: how far it is
    expected    bigint,                            -- objects there were at the start, as PostgreSQL estimates
    seen        bigint      NOT NULL DEFAULT 0,    -- events or objects looked at
    enqueued    bigint      NOT NULL DEFAULT 0,    -- deliveries that came of them
    note        text,                              -- what the asker should know of its limits
    waiting     text,                              -- why it makes no progress now
    who         text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
) WITH (fillfactor = 50);
-- One at a time for a webhook: two would not keep the order of each other's objects.
CREATE UNIQUE INDEX job_active ON openregister_webhooks.job (webhook) WHERE state IN ('running', 'cancelling');

-- The webhook that an event was made for, by a backfill; NULL for what the stream of changes gave.
ALTER TABLE openregister_webhooks.event ADD COLUMN made_for bigint;

-- What came of each webhook's deliveries, by UTC day; written once a second by the process that delivers for it.
CREATE TABLE openregister_webhooks.webhook_count (
    webhook   bigint NOT NULL,
    day       date   NOT NULL,
    outcome   text   NOT NULL,                     -- succeeded, given_up, or the cause of a failed attempt
    count     bigint NOT NULL,
    total_ms  bigint NOT NULL,                     -- of the attempts' durations
    PRIMARY KEY (webhook, day, outcome)
) WITH (fillfactor = 50);

-- Finding what did not succeed without looking at what did.
CREATE INDEX delivery_log_unsucceeded ON openregister_webhooks.delivery_log (id) WHERE state <> 'succeeded';
