-- What goes into quarantine is a gap, too: one row for many changes of a table, until consumers are told.

ALTER TABLE openregister_webhooks.gap ADD COLUMN cause text NOT NULL DEFAULT 'capture';   -- or 'quarantine'
ALTER TABLE openregister_webhooks.gap ADD COLUMN changes   bigint;   -- how many of them; NULL: not known
ALTER TABLE openregister_webhooks.gap ADD COLUMN discarded bigint;   -- of these, how many the quarantine had no room for
