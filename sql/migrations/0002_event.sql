-- Events: what the reader made of the changes; kept for delivery and replay, dropped by day.
--
-- Written by the leader only, in the transaction that moves the reader's position. "new" and "old" are the canonical
-- JSON of the entity's states (src/openregister/entity.rs) as text, never jsonb: a value may hold \u0000.

CREATE TABLE openregister_webhooks.event (
    seq       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    day       date        NOT NULL,            -- UTC day of insertion: the partition
    id        text        NOT NULL,            -- evt_…: the webhook-id
    class     text        NOT NULL,            -- ObjectCreatedEvent, …
    lane      text        NOT NULL,            -- object:<uuid> or <table>:<id>
    at        timestamptz NOT NULL,            -- when the change was made
    pid       integer     NOT NULL,            -- the backend that made it
    new       text        NOT NULL,            -- the state after; for Deleted the last state
    old       text,                            -- the state before, for Updated
    actor     text,                            -- JSON {"uid","displayName","groups"}; NULL where nobody can tell
    awaiting  boolean     NOT NULL,            -- the audit row that names the actor may still come
    PRIMARY KEY (day, seq)
) PARTITION BY RANGE (day);

CREATE INDEX event_id ON openregister_webhooks.event (id);
CREATE INDEX event_lane ON openregister_webhooks.event (lane, seq);
CREATE TABLE openregister_webhooks.event_default PARTITION OF openregister_webhooks.event DEFAULT;
