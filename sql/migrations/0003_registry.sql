-- Registrations: who wants which events where, and who changed that when.
--
-- "headers", "auth_data" and "secrets" are encrypted by the program (XChaCha20-Poly1305 with ORW_MASTER_KEY; bound to
-- the webhook's id and the column), so a dump holds none of them in clear. A column that is NULL although it has a
-- documented default takes that default, also when the default changes later.

CREATE TABLE openregister_webhooks.webhook (
    -- From 1,000,000,000, so that no id ever meets one of Nextcloud's own.
    id             bigint      NOT NULL PRIMARY KEY
                               GENERATED ALWAYS AS IDENTITY (START WITH 1000000000 MINVALUE 1000000000),
    revision       bigint      NOT NULL,                 -- the registry's revision that wrote this row
    app_id         text,
    user_id        text        NOT NULL,                 -- who registered or last updated it
    http_method    text        NOT NULL,                 -- as it was sent: "post" stays "post"
    uri            text        NOT NULL,
    event          text        NOT NULL,                 -- a class or a pattern
    classes        text[]      NOT NULL,                 -- the short names that "event" stands for; read by set_kinds()
    event_filter   text        NOT NULL DEFAULT '[]',    -- JSON; text, because it may hold \u0000
    user_id_filter text        NOT NULL DEFAULT '',
    headers        bytea,
    auth_method    text        NOT NULL DEFAULT 'none',
    auth_data      bytea,
    secrets        bytea,                                -- the signing secrets, newest first, old ones with their end
    format         text        NOT NULL DEFAULT 'documented',
    status         text        NOT NULL DEFAULT 'enabled' CHECK (status IN ('enabled', 'paused', 'disabled')),
    status_reason  text,
    status_since   timestamptz NOT NULL DEFAULT now(),
    per_second     integer,
    burst          integer,
    max_in_flight  integer,
    timeout_ms     integer,
    ordering       text        NOT NULL DEFAULT 'object',
    max_attempts   integer,
    schedule       bigint[],                             -- milliseconds
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhook_uri ON openregister_webhooks.webhook (md5(uri));
CREATE INDEX webhook_app ON openregister_webhooks.webhook (app_id) WHERE app_id IS NOT NULL;

-- One row. Every change of a registration takes its lock and raises it, so changes have one order and a process knows
-- with one cheap read whether it has seen them all.
CREATE TABLE openregister_webhooks.registry (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint  NOT NULL
);
INSERT INTO openregister_webhooks.registry (revision) VALUES (1);

-- A known text under each key in use: a wrong key is noticed at start, before anything is read or written with it.
CREATE TABLE openregister_webhooks.master_key (
    key_id      text        NOT NULL PRIMARY KEY,
    check_value bytea       NOT NULL,
    since       timestamptz NOT NULL DEFAULT now()
);

-- Who registered, changed, disabled, rotated what, when, from where. Never a secret.
CREATE TABLE openregister_webhooks.audit (
    id         bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    who        text        NOT NULL,
    client     text,                                     -- the client's address; NULL for the command line
    action     text        NOT NULL,
    webhook_id bigint      NOT NULL,
    detail     text        NOT NULL DEFAULT '{}'         -- JSON
);

CREATE INDEX audit_webhook ON openregister_webhooks.audit (webhook_id, id);
