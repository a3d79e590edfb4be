-- What was written while nothing could be captured, and gaps without a sequence.

-- A writer that finds every change table locked exclusively says here which table it wrote to; the leader makes gaps of it.
-- Insert only for writers, without a sequence.
CREATE TABLE openregister_webhooks.missed (
    tbl text        NOT NULL,
    xid xid8        NOT NULL,
    at  timestamptz NOT NULL
);

-- A gap may be found in a session of Nextcloud (the hook on appconfig), where no sequence may be touched: lastval().
-- Microseconds since 1970 instead.
ALTER TABLE openregister_webhooks.gap ALTER COLUMN id DROP IDENTITY;
ALTER TABLE openregister_webhooks.gap ALTER COLUMN id
    SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
