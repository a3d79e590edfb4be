-- Health is that of one revision of a registration: what was found out about an address does not count for the next one.

ALTER TABLE openregister_webhooks.webhook_health ADD COLUMN revision bigint NOT NULL DEFAULT 0;   -- webhook.revision
UPDATE openregister_webhooks.webhook_health h SET revision = w.revision FROM openregister_webhooks.webhook w WHERE w.id = h.webhook;
