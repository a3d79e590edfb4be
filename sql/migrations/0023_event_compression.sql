-- The states of an event are compressed with lz4 if the server has it: that takes a fraction of the time of pglz, and the reader does
-- it for every event. What is stored stays as it is; partitions that are made later take over the setting.
DO $do$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT 'openregister_webhooks.event'::regclass
                UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'openregister_webhooks.event'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN new SET COMPRESSION lz4, ALTER COLUMN old SET COMPRESSION lz4', part);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    NULL;   -- this server was built without lz4
END $do$;
