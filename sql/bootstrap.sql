-- The schema and the list of what is installed in it.
CREATE SCHEMA IF NOT EXISTS openregister_webhooks;
CREATE TABLE IF NOT EXISTS openregister_webhooks.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A registration locks "registry" before "settings". Migration 16 changes "settings" and migration 18 "registry": without this lock
-- an upgrade and a registration by a process of the older version could wait for each other. No trigger reads "registry".
DO $$ BEGIN
    IF to_regclass('openregister_webhooks.registry') IS NOT NULL
       AND NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 18) THEN
        LOCK TABLE openregister_webhooks.registry IN ACCESS EXCLUSIVE MODE;
    END IF;
END $$;
