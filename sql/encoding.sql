-- Refuses to go on (SQLSTATE ORW02) in a database whose texts may be no UTF-8: what is not could be neither read nor delivered. What is
-- installed already is upgraded all the same; `doctor` names it.
DO $do$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8'::pg_catalog.name
       AND pg_catalog.to_regclass('openregister_webhooks.migration') IS NULL THEN
        RAISE EXCEPTION 'the database % is encoded in %, and events can only be made of UTF-8', pg_catalog.current_database(), pg_catalog.getdatabaseencoding()
        USING ERRCODE = 'ORW02', HINT = 'Nextcloud needs UTF-8 as well: dump the database, create it again with ENCODING ''UTF8'' TEMPLATE template0, restore the dump, and install again';
    END IF;
END $do$;
