-- Consumers are told of gaps, where their registration asks for it.

ALTER TABLE openregister_webhooks.webhook ADD COLUMN gap_events boolean NOT NULL DEFAULT false;

ALTER TABLE openregister_webhooks.gap ADD COLUMN told_at timestamptz;   -- NULL: consumers are still to be told
-- What was found before is no news.
UPDATE openregister_webhooks.gap SET told_at = clock_timestamp();
CREATE INDEX gap_untold ON openregister_webhooks.gap (id) WHERE told_at IS NULL;
