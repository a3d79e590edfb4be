-- The schema and the list of what is installed in it.
CREATE SCHEMA IF NOT EXISTS openregister_webhooks;
CREATE TABLE IF NOT EXISTS openregister_webhooks.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
