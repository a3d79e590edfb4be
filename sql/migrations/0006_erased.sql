-- Objects whose data was erased: what was captured of them before, and is read only later, is dropped.
--
-- The outbox is read behind transactions that are still open, so erasing what can be seen is not enough. The object is kept
-- as a hash, for 30 days.
CREATE TABLE openregister_webhooks.erased (
    object    bytea       NOT NULL PRIMARY KEY,   -- SHA-256 of the lane, object:<uuid>
    at        timestamptz NOT NULL                -- changes made until then are dropped
);
