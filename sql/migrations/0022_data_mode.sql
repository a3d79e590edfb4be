-- How much a webhook is told of an entity: everything, or only which one it is.

ALTER TABLE openregister_webhooks.webhook
    ADD COLUMN data_mode text NOT NULL DEFAULT 'full' CHECK (data_mode IN ('full', 'reference'));
