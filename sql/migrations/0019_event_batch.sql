-- Which transaction stored an event: it names the batch, to which traces have a link. NULL: stored by an earlier version.

ALTER TABLE openregister_webhooks.event ADD COLUMN batch xid8;
-- A default that is set afterwards is for new rows alone: no row is written.
ALTER TABLE openregister_webhooks.event ALTER COLUMN batch SET DEFAULT pg_current_xact_id();
