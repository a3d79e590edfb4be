-- Capture: the outbox that the triggers write and the leader reads.
--
-- Nothing here has a sequence that a trigger touches: Nextcloud learns the id of an inserted row with lastval().
-- No column here has a type of, or a reference to, a table of Nextcloud: its upgrades stay free.

-- One row: how this installation is set up.
CREATE TABLE openregister_webhooks.settings (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    host_schema   text    NOT NULL DEFAULT 'public',   -- where Nextcloud's tables are
    table_prefix  text    NOT NULL DEFAULT 'oc_',
    runtime_role  text,                                -- NULL: the sidecar runs as the owner of this schema
    capture_all   boolean NOT NULL DEFAULT false,      -- ORW_CAPTURE=all
    discovered_at timestamptz,                         -- end of the first discovery: what appears later is new
    detaching     boolean NOT NULL DEFAULT false       -- uninstall is at work: attach nothing
);
INSERT INTO openregister_webhooks.settings DEFAULT VALUES;

-- The outbox, insert only. Three tables, so that one can be emptied by TRUNCATE while writers use another: no row is
-- ever deleted or updated, so no dead row is left for the reader to step over, whoever holds a snapshot open.
-- Autovacuum would only cost: the tables are emptied before they need it.
CREATE TABLE openregister_webhooks.change_0 (
    lsn     pg_lsn      NOT NULL,   -- pg_current_wal_insert_lsn() in the trigger: grows, per row in commit order
    xid     xid8        NOT NULL,   -- pg_current_xact_id(): visibility, and the second part of the key
    ordinal integer     NOT NULL,   -- third part; 0 but for rows that discovery captured in one statement
    tbl     text        NOT NULL,   -- the table, with prefix
    op      "char"      NOT NULL CHECK (op IN ('I', 'U', 'N', 'D')),   -- N: an UPDATE that changed nothing
    found   boolean     NOT NULL,   -- true: not seen by a trigger but found by discovery
    old     text,                   -- row_to_json before, as text: a json column may hold \u0000, which jsonb refuses
    new     text,                   -- row_to_json after
    fault   text,                   -- why an image is missing
    pid     integer     NOT NULL,
    at      timestamptz NOT NULL
) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE INDEX change_0_key ON openregister_webhooks.change_0 (lsn, xid, ordinal);
CREATE TABLE openregister_webhooks.change_1 (LIKE openregister_webhooks.change_0 INCLUDING CONSTRAINTS)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE INDEX change_1_key ON openregister_webhooks.change_1 (lsn, xid, ordinal);
CREATE TABLE openregister_webhooks.change_2 (LIKE openregister_webhooks.change_0 INCLUDING CONSTRAINTS)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE INDEX change_2_key ON openregister_webhooks.change_2 (lsn, xid, ordinal);

-- What a restore brought from another cluster, until `adopt` decides; the same columns.
CREATE TABLE openregister_webhooks.change_adopted (LIKE openregister_webhooks.change_0 INCLUDING CONSTRAINTS);
CREATE INDEX change_adopted_key ON openregister_webhooks.change_adopted (at, lsn, xid, ordinal);

CREATE VIEW openregister_webhooks.change AS
    SELECT * FROM openregister_webhooks.change_0
    UNION ALL SELECT * FROM openregister_webhooks.change_1
    UNION ALL SELECT * FROM openregister_webhooks.change_2;

-- How far the leader has read: the newest row of both tables counts. Insert only, the two emptied in turn, for the
-- same reason as above. A row says: every change visible in "snapshot" is read; where "window" is set, so is every
-- change visible in "window" up to the key (lsn, xid, ordinal).
CREATE TABLE openregister_webhooks.position_0 (
    n                 bigint NOT NULL,
    snapshot          text   NOT NULL,   -- pg_snapshot
    "window"          text,              -- pg_snapshot
    lsn               pg_lsn,
    xid               xid8,
    ordinal           integer,
    system_identifier bigint NOT NULL,   -- the cluster that the snapshots belong to
    database_oid      oid    NOT NULL,
    at                timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_enabled = false);
CREATE TABLE openregister_webhooks.position_1 (LIKE openregister_webhooks.position_0 INCLUDING DEFAULTS)
    WITH (autovacuum_enabled = false);

-- The tables that are known, by what they hold.
CREATE TABLE openregister_webhooks.captured_table (
    tbl        text PRIMARY KEY,
    relid      oid  NOT NULL,            -- another oid under the same name: dropped and created again
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Changes that could not be read: kept as they are, counted, and out of the way.
CREATE TABLE openregister_webhooks.quarantine (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lsn     pg_lsn NOT NULL, xid xid8 NOT NULL, ordinal integer NOT NULL,
    tbl     text NOT NULL, op "char" NOT NULL, found boolean NOT NULL,
    old     text, new text, pid integer NOT NULL, at timestamptz NOT NULL,
    reason  text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Stretches of which events may be missing, and what to do about it.
CREATE TABLE openregister_webhooks.gap (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tbl    text NOT NULL,
    reason text NOT NULL,
    remedy text NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Rights given to the runtime role on tables of Nextcloud, so that uninstall can take them back.
CREATE TABLE openregister_webhooks.granted (tbl text NOT NULL, role text NOT NULL, PRIMARY KEY (tbl, role));
