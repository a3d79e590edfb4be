-- The outbox's limit: what was left out while it was full, and when a gap began and ended.

-- The file of the change table that was full (pg_relation_filenode); NULL: every table was locked. An emptied table has a
-- new file, and it cannot be emptied before everybody who wrote this has ended: then the gap is over.
ALTER TABLE openregister_webhooks.missed ADD COLUMN filled oid;

ALTER TABLE openregister_webhooks.gap ADD COLUMN since timestamptz;   -- NULL: not known
ALTER TABLE openregister_webhooks.gap ADD COLUMN until timestamptz;   -- NULL: not known
