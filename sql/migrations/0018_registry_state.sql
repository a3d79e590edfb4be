-- A database may be restored under a running process, and changed again: the same revision is then another state.

ALTER TABLE openregister_webhooks.registry
    ADD COLUMN state uuid NOT NULL DEFAULT gen_random_uuid();   -- another one with every change
