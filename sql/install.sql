-- Installs openregister-webhooks by hand:
--     psql -v ON_ERROR_STOP=1 -f sql/install.sql  (connected to Nextcloud's database as the owner of Nextcloud's tables)
-- The program's `install` does the same and waits for busy tables more patiently. Both may be run again at any time.
-- Options: -v prefix=oc_  -v runtime_role=NAME (a role that exists)
\if :{?prefix}
\else
\set prefix oc_
\endif
\if :{?runtime_role}
\else
\set runtime_role ''
\endif

-- Nothing may run in a schema that somebody else made.
\set ON_ERROR_STOP on
\set appconfig :prefix 'appconfig'
SELECT n.nspname AS host_schema FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.quote_ident(:'appconfig')::pg_catalog.regclass::pg_catalog.oid \gset
\ir encoding.sql
-- From here on nothing but PostgreSQL's own functions and operators is found without its schema's name.
SET search_path = pg_catalog, pg_temp;

BEGIN;
SELECT pg_advisory_xact_lock(5715726729101595476);
SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'openregister_webhooks') AS fresh \gset
\if :fresh
CREATE SCHEMA openregister_webhooks;
\endif
\ir ownership.sql
\ir bootstrap.sql
SELECT NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 1) AS m1,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 2) AS m2,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 3) AS m3,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 4) AS m4,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 5) AS m5,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 6) AS m6,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 7) AS m7,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 8) AS m8,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 9) AS m9,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 10) AS m10,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 11) AS m11,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 12) AS m12,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 13) AS m13,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 14) AS m14,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 15) AS m15,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 16) AS m16,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 17) AS m17,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 18) AS m18,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 19) AS m19,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 20) AS m20,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 21) AS m21,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 22) AS m22,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 23) AS m23,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 24) AS m24,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 25) AS m25,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 26) AS m26,
       NOT EXISTS (SELECT FROM openregister_webhooks.migration WHERE version = 27) AS m27 \gset
\if :m1
\ir migrations/0001_capture.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (1, 'capture');
\endif
\if :m2
\ir migrations/0002_event.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (2, 'event');
\endif
\if :m3
\ir migrations/0003_registry.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (3, 'registry');
\endif
\if :m4
\ir migrations/0004_delivery.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (4, 'delivery');
\endif
\if :m5
\ir migrations/0005_work.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (5, 'work');
\endif
\if :m6
\ir migrations/0006_erased.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (6, 'erased');
\endif
\if :m7
\ir migrations/0007_losses.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (7, 'losses');
\endif
\if :m8
\ir migrations/0008_client_certificate.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (8, 'client_certificate');
\endif
\if :m9
\ir migrations/0009_outbox_limit.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (9, 'outbox_limit');
\endif
\if :m10
\ir migrations/0010_gap_events.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (10, 'gap_events');
\endif
\if :m11
\ir migrations/0011_lane_index.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (11, 'lane_index');
\endif
\if :m12
\ir migrations/0012_attempt_headers.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (12, 'attempt_headers');
\endif
\if :m13
\ir migrations/0013_quarantine_gap.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (13, 'quarantine_gap');
\endif
\if :m14
\ir migrations/0014_object_lock.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (14, 'object_lock');
\endif
\if :m15
\ir migrations/0015_health_revision.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (15, 'health_revision');
\endif
\if :m16
\ir migrations/0016_sealed_to_origin.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (16, 'sealed_to_origin');
\endif
\if :m17
\ir migrations/0017_claims.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (17, 'claims');
\endif
\if :m18
\ir migrations/0018_registry_state.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (18, 'registry_state');
\endif
\if :m19
\ir migrations/0019_event_batch.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (19, 'event_batch');
\endif
\if :m20
\ir migrations/0020_change_table_form.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (20, 'change_table_form');
\endif
\if :m21
\ir migrations/0021_token_needed.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (21, 'token_needed');
\endif
\if :m22
\ir migrations/0022_data_mode.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (22, 'data_mode');
\endif
\if :m23
\ir migrations/0023_event_compression.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (23, 'event_compression');
\endif
\if :m24
\ir migrations/0024_format_options.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (24, 'format_options');
\endif
\if :m25
\ir migrations/0025_handshake.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (25, 'handshake');
\endif
\if :m26
\ir migrations/0026_search.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (26, 'search');
\endif
\if :m27
\ir migrations/0027_put_back.sql
INSERT INTO openregister_webhooks.migration (version, name) VALUES (27, 'put_back');
\endif
\ir functions.sql
UPDATE openregister_webhooks.settings SET detaching = false, table_prefix = :'prefix', runtime_role = nullif(:'runtime_role', ''),
    host_schema = :'host_schema';
SELECT openregister_webhooks.grant_runtime();
COMMIT;

-- One table a transaction, each waiting 50 ms at most. A table that was busy says so: run this file again.
\set ON_ERROR_STOP off
SELECT format('SELECT %L AS table, openregister_webhooks.attach(%L) AS captured', tbl, tbl) FROM openregister_webhooks.capturable() \gexec
SELECT format('SELECT openregister_webhooks.grant_lookup(%L)', tbl) FROM openregister_webhooks.lookups() \gexec
SELECT format('SELECT openregister_webhooks.revoke_lookup(%L)', tbl) FROM openregister_webhooks.outdated_lookups() \gexec
SELECT openregister_webhooks.attach_hook() AS hook;
SELECT openregister_webhooks.set_kinds() IS NOT NULL AS kinds;
SELECT openregister_webhooks.discovered() IS NOT NULL AS discovered
WHERE NOT EXISTS (SELECT FROM openregister_webhooks.capturable() WHERE NOT attached);
