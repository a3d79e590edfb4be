-- Refuses to go on (SQLSTATE ORW01) where the schema, or something in it, is somebody else's: whoever may create a schema in
-- this database could have made it first, and what is in it would run with our rights. Changes nothing.
-- Whose it must be: openregister_webhooks.owner, where that is set, else the current user. What is a superuser's is no stranger's: it
-- could do anything anyway; but the schema to install into must be the installer's.
DO $do$
DECLARE
    wanted    text := coalesce(nullif(current_setting('openregister_webhooks.owner', true), ''), current_user);
    strangers text[];
BEGIN
    SELECT array_agg(format('%s of %s', s.what, s.who) ORDER BY s.place, s.what) INTO strangers
    FROM (
        WITH place AS (SELECT n.oid, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = 'openregister_webhooks'),
             mine AS (SELECT c.oid, c.relname, c.relowner, c.relkind FROM pg_class c JOIN place p ON p.oid = c.relnamespace)
        SELECT 1 AS place, 'the schema itself' AS what, pg_get_userbyid(p.nspowner)::text AS who
          FROM place p WHERE pg_get_userbyid(p.nspowner)::text <> wanted
        UNION ALL
        SELECT 2, 'the right to create in it', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
          FROM place p, aclexplode(p.nspacl) a
         WHERE a.privilege_type = 'CREATE' AND a.grantee <> p.nspowner AND pg_get_userbyid(a.grantee)::text <> wanted
        UNION ALL
        SELECT 3, format('the relation %s', m.relname), pg_get_userbyid(m.relowner)::text
          FROM mine m WHERE pg_get_userbyid(m.relowner)::text <> wanted
        UNION ALL
        SELECT 4, format('the function %s', f.proname), pg_get_userbyid(f.proowner)::text
          FROM pg_proc f JOIN place p ON p.oid = f.pronamespace WHERE pg_get_userbyid(f.proowner)::text <> wanted
        UNION ALL
        SELECT 5, format('the type %s', t.typname), pg_get_userbyid(t.typowner)::text
          FROM pg_type t JOIN place p ON p.oid = t.typnamespace WHERE pg_get_userbyid(t.typowner)::text <> wanted
        UNION ALL
        SELECT 6, format('the operator %s', o.oprname), pg_get_userbyid(o.oprowner)::text
          FROM pg_operator o JOIN place p ON p.oid = o.oprnamespace WHERE pg_get_userbyid(o.oprowner)::text <> wanted
        UNION ALL
        -- A trigger on one of our tables runs with the rights of whoever writes there: our capture function.
        SELECT 7, format('the trigger %s on %s', t.tgname, m.relname), pg_get_userbyid(f.proowner)::text
          FROM pg_trigger t JOIN mine m ON m.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid
         WHERE NOT t.tgisinternal AND pg_get_userbyid(f.proowner)::text <> wanted
    ) s
    WHERE (s.place = 1 AND current_setting('openregister_webhooks.owner', true) IS NULL)
       OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = s.who AND r.rolsuper);
    IF strangers IS NOT NULL THEN
        RAISE EXCEPTION 'the schema openregister_webhooks is not wholly that of %: there is %', wanted,
            array_to_string(strangers[1:5], ', ') || CASE WHEN cardinality(strangers) > 5 THEN format(' and %s more', cardinality(strangers) - 5) ELSE '' END
        USING ERRCODE = 'ORW01', HINT = format('look at what is in it (\dn+, \df openregister_webhooks.*, as a superuser). If it is nobody''s you know: DROP SCHEMA openregister_webhooks CASCADE, find out who made it, and install again. If all of it is this program''s: give it to %1$s (ALTER ... OWNER TO %1$I, REVOKE CREATE ON SCHEMA openregister_webhooks)', wanted);
    END IF;
END $do$;
