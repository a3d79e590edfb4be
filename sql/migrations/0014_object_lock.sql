-- Locks that were announced (ObjectLockedEvent) and whose end was not: an unlock gives an event where its object has a row here.
--
-- OpenRegister 0.2.13 keeps locks in memory: all that its database tells of them are rows in the audit trail, and it writes an
-- "unlock" there after every update, whether or not the object was locked.

CREATE TABLE openregister_webhooks.object_lock (
    uuid   text        NOT NULL PRIMARY KEY,
    audit  bigint,                             -- the audit row that told; NULL: the object's own row holds the lock
    epoch  bigint      NOT NULL,               -- counts only while this is the epoch of object_capture
    set_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX object_lock_age ON openregister_webhooks.object_lock (set_at);

-- One row: how often the capture of objects was switched on. What happened while it was off is not known.
CREATE TABLE openregister_webhooks.object_capture (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint  NOT NULL DEFAULT 0
);
INSERT INTO openregister_webhooks.object_capture DEFAULT VALUES;

-- What was announced before this table existed.
INSERT INTO openregister_webhooks.object_lock (uuid, epoch)
SELECT substr(e.lane, 8), 0
FROM (SELECT DISTINCT ON (lane) lane, class FROM openregister_webhooks.event
      WHERE class IN ('ObjectLockedEvent', 'ObjectUnlockedEvent', 'ObjectDeletedEvent') AND starts_with(lane, 'object:')
      ORDER BY lane, day DESC, seq DESC) e
WHERE e.class = 'ObjectLockedEvent';
