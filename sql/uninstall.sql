-- Uninstalls openregister-webhooks by hand:  psql -f sql/uninstall.sql  (as the owner of Nextcloud's tables)
-- Each table's triggers go in a transaction of its own that waits 50 ms at most; where a table was busy this file stops
-- before the schema is dropped: run it again. `DROP SCHEMA openregister_webhooks CASCADE` alone does it too, but holds
-- the locks of all tables until it is done.
\set ON_ERROR_STOP on
SET search_path = pg_catalog, pg_temp;
UPDATE openregister_webhooks.settings SET detaching = true;
SELECT format('SELECT openregister_webhooks.detach(%L)', c.relname)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'openregister_webhooks'
ORDER BY t.tgname DESC \gexec
SELECT format('SELECT openregister_webhooks.revoke_lookup(%L)', tbl)
FROM (SELECT DISTINCT tbl FROM openregister_webhooks.granted) g \gexec
DROP SCHEMA openregister_webhooks CASCADE;
