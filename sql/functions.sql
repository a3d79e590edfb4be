-- Functions of capture. Replaced as a whole at every install; safe while writers are at work.
--
-- All run with the rights of their owner (the owner of Nextcloud's tables) and a pinned search_path. PUBLIC may call
-- none of them; a trigger needs no such right when it fires.

-- Advisory locks, each name's eight letters read as a number: 5715726729067189317 is 'ORW-GATE' (the reader sleeps),
-- 5715726729151332676 'ORW-LEAD' (a leader lives), 5715726729101595476 'ORW-INST' (an installation is at work).

-- What writers need to know is kept in two functions, not in a table: to call a function takes no lock that DROP
-- SCHEMA or VACUUM FULL could hold, a changed one is seen by every command that starts later, whatever its snapshot, and
-- the planner folds the call into a constant. They are STABLE, not IMMUTABLE: plans then follow a replacement.
DO $do$ BEGIN
    IF to_regprocedure('openregister_webhooks.slot()') IS NULL THEN
        -- The change table that writers use now: 0, 1 or 2.
        CREATE FUNCTION openregister_webhooks.slot() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 0';
    END IF;
    IF to_regprocedure('openregister_webhooks.kinds()') IS NULL THEN
        -- The bits of the captured kinds: registers (2) and schemas (4) always.
        CREATE FUNCTION openregister_webhooks.kinds() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 6';
    END IF;
    IF to_regprocedure('openregister_webhooks.outbox_limit()') IS NULL THEN
        -- The bytes that a change table may have before nothing more is captured; 0: no limit (ORW_OUTBOX_POLICY=warn).
        CREATE FUNCTION openregister_webhooks.outbox_limit() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 0::bigint';
    END IF;
END $do$;

-- Whether a change table, on which the caller has a lock, is beyond the limit. Asked once a transaction, and only where there
-- is a limit. The size needs a lock on the table's TOAST table, which nobody but a superuser who names it can hold
-- exclusively: 1 ms, then lock_not_available.
CREATE OR REPLACE FUNCTION openregister_webhooks.outbox_full(target integer) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $$
    SELECT pg_table_size(CASE target WHEN 0 THEN 'openregister_webhooks.change_0' WHEN 1 THEN 'openregister_webhooks.change_1'
                                     ELSE 'openregister_webhooks.change_2' END::regclass) >= openregister_webhooks.outbox_limit()
$$;

-- Triggers. Three functions: capture_object() and capture_audit() for the tables that almost every write of OpenRegister goes to, and
-- capture() for the other kinds. All of them write a change into a change table, in the writer's own transaction, and
--  * never wait: the lock on a change table (so that nobody can empty or drop it before the transaction ends) is taken NOWAIT, and where it is
--    not to be had, another of the three tables serves. A DROP SCHEMA … CASCADE takes our tables first and Nextcloud's next; a writer
--    that waited for ours while it holds Nextcloud's would deadlock with it, and PostgreSQL would cancel the writer;
--  * never raise: a block catches everything. It writes nothing, so its subtransaction gets no xid and takes no place in the list of
--    subtransactions; the lock outlives it. A row may be small where it lies and beyond PostgreSQL's limit of 1 GiB as JSON (a numeric of ten
--    bytes may have 131,072 digits): no size tells beforehand, and the write must not fail for it;
--  * ring the doorbell where the reader sleeps. The reader holds the gate only while it sleeps. Whoever gets a share of it keeps the
--    reader from falling asleep until the transaction has ended; whoever does not, rings. A full queue of notifications would fail the COMMIT;
--    then the reader's slow poll must do.

-- Stores a change that does not go the short way of capture_object() and capture_audit(): of another kind, or where there is a limit, or
-- the change table in use is locked, or the row cannot be written as JSON ("fault" says why an image is missing).
--
-- The first such change of a transaction takes a lock on a change table; a setting local to the transaction remembers which. A ROLLBACK TO
-- SAVEPOINT takes back both the setting and the lock behind it. One that somebody set in the session is not believed: it does not name
-- this transaction.
-- Where a limit is set and the table is beyond it, the transaction is not captured; the first one that writes to a table of
-- Nextcloud then says so in "missed".
CREATE OR REPLACE FUNCTION openregister_webhooks.store(host_table text, operation "char", before text, after text, fault text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held      text;
    target    integer;
    full_file oid;
BEGIN
    IF operation = 'N' THEN
        before := NULL;   -- an UPDATE that changed nothing
    END IF;
    IF octet_length(before) > 16777216 THEN
        fault := format('the row before has %s bytes, more than 16777216', octet_length(before));
        before := NULL;
    END IF;
    IF octet_length(after) > 16777216 THEN
        fault := format('the row after has %s bytes, more than 16777216', octet_length(after));
        after := NULL;
    END IF;

    held := current_setting('openregister_webhooks.held', true);
    IF held LIKE pg_current_xact_id() || ':%' THEN
        held := split_part(held, ':', 2);
    ELSE
        held := NULL;
        FOR step IN 0..2 LOOP
            target := (openregister_webhooks.slot() + step) % 3;
            BEGIN
                IF target = 0 THEN LOCK TABLE ONLY openregister_webhooks.change_0 IN ROW EXCLUSIVE MODE NOWAIT;
                ELSIF target = 1 THEN LOCK TABLE ONLY openregister_webhooks.change_1 IN ROW EXCLUSIVE MODE NOWAIT;
                ELSE LOCK TABLE ONLY openregister_webhooks.change_2 IN ROW EXCLUSIVE MODE NOWAIT;
                END IF;
                IF NOT pg_try_advisory_xact_lock_shared(5715726729067189317) AND pg_notification_queue_usage() < 0.5 THEN
                    PERFORM pg_notify('openregister_webhooks', '');
                END IF;
                held := target;
                EXIT;
            EXCEPTION WHEN OTHERS THEN
                NULL;   -- being emptied, or being dropped: the next one
            END;
        END LOOP;
        IF held IS NULL THEN
            -- The host goes on, but what is lost is said: once a transaction and table, in a table of its own; where that
            -- is locked, too, to the reader, if one listens.
            IF current_setting('openregister_webhooks.missed', true) = pg_current_xact_id() || ':' || host_table THEN
                RETURN;
            END IF;
            PERFORM set_config('openregister_webhooks.missed', pg_current_xact_id() || ':' || host_table, true);
            RAISE LOG 'openregister_webhooks: changes of % are not captured: every change table is locked exclusively (is the schema being dropped?)', host_table;
            BEGIN
                LOCK TABLE openregister_webhooks.missed IN ROW EXCLUSIVE MODE NOWAIT;
                held := '';
            EXCEPTION WHEN OTHERS THEN
                IF pg_notification_queue_usage() < 0.5 THEN
                    PERFORM pg_notify('openregister_webhooks', 'missed ' || host_table);
                END IF;
            END;
            -- Beyond 1 MiB a row for each table of Nextcloud is enough: it stays small however long nobody reads. A condition of its
            -- own: to look at one that names the table takes its lock, which is ours only here.
            IF held = '' THEN
                IF pg_relation_size('openregister_webhooks.missed') < 1048576
                   OR NOT EXISTS (SELECT FROM openregister_webhooks.missed m WHERE m.tbl = host_table AND m.filled IS NULL) THEN
                    INSERT INTO openregister_webhooks.missed VALUES (host_table, pg_current_xact_id(), clock_timestamp());
                END IF;
            END IF;
            RETURN;
        END IF;
        IF openregister_webhooks.outbox_limit() > 0 THEN
            BEGIN
                IF openregister_webhooks.outbox_full(held::integer) THEN
                    held := 'full ' || held;
                END IF;
            EXCEPTION WHEN OTHERS THEN
                NULL;   -- in doubt it is captured
            END;
        END IF;
        PERFORM set_config('openregister_webhooks.held', pg_current_xact_id() || ':' || held, true);
    END IF;

    IF held LIKE 'full %' THEN
        -- Said once a full table and table of Nextcloud, so this stays small however long nobody reads.
        IF current_setting('openregister_webhooks.missed', true) = pg_current_xact_id() || ':' || host_table THEN
            RETURN;
        END IF;
        PERFORM set_config('openregister_webhooks.missed', pg_current_xact_id() || ':' || host_table, true);
        BEGIN
            full_file := pg_relation_filenode(('openregister_webhooks.change_' || split_part(held, ' ', 2))::regclass);
            LOCK TABLE openregister_webhooks.missed IN ROW EXCLUSIVE MODE NOWAIT;
            IF EXISTS (SELECT FROM openregister_webhooks.missed m WHERE m.tbl = host_table AND m.filled = full_file) THEN
                RETURN;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE LOG 'openregister_webhooks: changes of % are not captured: the outbox is full; %', host_table, SQLERRM;
            IF pg_notification_queue_usage() < 0.5 THEN
                PERFORM pg_notify('openregister_webhooks', 'missed ' || host_table);
            END IF;
            RETURN;
        END;
        RAISE LOG 'openregister_webhooks: changes of % are not captured: the outbox is full (ORW_OUTBOX_POLICY=stop)', host_table;
        INSERT INTO openregister_webhooks.missed VALUES (host_table, pg_current_xact_id(), clock_timestamp(), full_file);
        RETURN;
    END IF;

    IF held = '0' THEN
        INSERT INTO openregister_webhooks.change_0 VALUES (pg_current_wal_insert_lsn(), pg_current_xact_id(), 0,
            host_table, operation, false, before, after, fault, pg_backend_pid(), clock_timestamp());
    ELSIF held = '1' THEN
        INSERT INTO openregister_webhooks.change_1 VALUES (pg_current_wal_insert_lsn(), pg_current_xact_id(), 0,
            host_table, operation, false, before, after, fault, pg_backend_pid(), clock_timestamp());
    ELSE
        INSERT INTO openregister_webhooks.change_2 VALUES (pg_current_wal_insert_lsn(), pg_current_xact_id(), 0,
            host_table, operation, false, before, after, fault, pg_backend_pid(), clock_timestamp());
    END IF;
END $$;

-- What the short way below leaves to store(): "trouble" is why. Whether an image could not be made shows in what is missing.
CREATE OR REPLACE FUNCTION openregister_webhooks.store_unusual(host_table text, made_by text, before text, after text, trouble text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fault text;
BEGIN
    IF (before IS NULL AND made_by <> 'INSERT') OR (after IS NULL AND made_by <> 'DELETE') THEN
        fault := 'the row cannot be written as JSON: ' || trouble;
    END IF;
    PERFORM openregister_webhooks.store(host_table, CASE WHEN fault IS NULL AND before = after THEN 'N' ELSE made_by::"char" END, before, after, fault);
END $$;

-- The short way. What it costs beside a trigger that does nothing but INSERT two row_to_json: docs/BENCHMARKS.md.
-- What each part costs, and what was tried: docs/decisions/0012-short-way.md and 0020-cost-of-the-trigger.md.
--  * No argument and no SET search_path, which together cost more than the decision that nothing is to be captured. SET is what else
--    makes a function with the owner's rights safe in a session of somebody else; here it is that every function, operator, type and table
--    is named with its schema, and that nothing is used which finds one by itself (IN, LIKE, BETWEEN, NULLIF, IS DISTINCT FROM). A test reads it.
--  * Few statements, and few functions and operators in them: a session of PHP makes few changes, and its first one plans each of them. Later
--    changes initialise each expression again in every transaction, and PostgreSQL then checks the right to call each function. What kinds(), slot()
--    and outbox_limit() decide is folded into a constant, so the function has one path for each change table instead of a variable.
--  * ONLY: without it, LOCK TABLE looks for tables that inherit.
--  * The lock is taken again with each row, which is cheaper than to remember it in a setting. A transaction may so use two change
--    tables, each under its lock.
--  * Whatever is unusual is left to store(), by an error (the block's handler runs after its subtransaction, so what it writes is not part of one).
DO $do$
DECLARE
    short_way text := $template$
CREATE OR REPLACE FUNCTION openregister_webhooks.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before  pg_catalog.text;
    after   pg_catalog.text;
    trouble pg_catalog.text;
BEGIN
    IF openregister_webhooks.kinds() OPERATOR(pg_catalog.&) 1 OPERATOR(pg_catalog.=) 0 THEN
        RETURN NULL;   -- no registration names objects
    END IF;
    IF openregister_webhooks.outbox_limit() OPERATOR(pg_catalog.=) 0 AND openregister_webhooks.slot() OPERATOR(pg_catalog.=) 0 THEN
        {path 0}
    ELSIF openregister_webhooks.outbox_limit() OPERATOR(pg_catalog.=) 0 AND openregister_webhooks.slot() OPERATOR(pg_catalog.=) 1 THEN
        {path 1}
    ELSIF openregister_webhooks.outbox_limit() OPERATOR(pg_catalog.=) 0 THEN
        {path 2}
    ELSE
        BEGIN
            {images}
        EXCEPTION WHEN OTHERS THEN
            trouble := SQLERRM;
        END;
        PERFORM openregister_webhooks.store_unusual(TG_TABLE_NAME::pg_catalog.text, TG_OP, before, after, trouble);
    END IF;
    RETURN NULL;
END $$
$template$;
    path text := $template$BEGIN
            {images}
            IF {too_large}
               OR NOT pg_catalog.pg_try_advisory_xact_lock_shared(5715726729067189317) THEN
                IF {too_large} THEN
                    RAISE SQLSTATE 'ORW00';
                ELSIF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5::pg_catalog.float8
                      AND pg_catalog.pg_notify('openregister_webhooks', '') IS NULL THEN
                    NULL;   -- the condition rings; PERFORM would run a query
                END IF;
            END IF;
            LOCK TABLE ONLY openregister_webhooks.{change table} IN ROW EXCLUSIVE MODE NOWAIT;
        EXCEPTION WHEN OTHERS THEN
            PERFORM openregister_webhooks.store_unusual(TG_TABLE_NAME::pg_catalog.text, TG_OP, before, after, SQLERRM);
            RETURN NULL;
        END;
        INSERT INTO openregister_webhooks.{change table} VALUES (pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_xact_id(), 0, TG_TABLE_NAME,
            {operation}, false, {old}, after, NULL, pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp());$template$;
    -- Of an object even an UPDATE that changes nothing is needed ('N'): 0.2.13 locks by one.
    object text[] := ARRAY['capture_object',
        $own$before := pg_catalog.row_to_json(OLD)::pg_catalog.text;   -- NULL where there is none
            after := pg_catalog.row_to_json(NEW)::pg_catalog.text;$own$,
        $own$pg_catalog.octet_length(before) OPERATOR(pg_catalog.>) 16777216 OR pg_catalog.octet_length(after) OPERATOR(pg_catalog.>) 16777216$own$,
        $own$CASE WHEN before IS NULL THEN 'I' WHEN after IS NULL THEN 'D'
                 WHEN before OPERATOR(pg_catalog.=) after THEN 'N' ELSE 'U' END::pg_catalog."char"$own$,
        $own$CASE WHEN before OPERATOR(pg_catalog.=) after THEN NULL ELSE before END$own$];
    -- Reading an object is no event. The text is searched, since json that holds \u0000 cannot be taken apart.
    audit text[] := ARRAY['capture_audit',
        $own$after := pg_catalog.row_to_json(NEW)::pg_catalog.text;
            IF pg_catalog."position"(pg_catalog.split_part(after, '"changed":', 1), '"action":"read"') OPERATOR(pg_catalog.>) 0 THEN
                RETURN NULL;
            END IF;$own$,
        $own$pg_catalog.octet_length(after) OPERATOR(pg_catalog.>) 16777216$own$,
        $own$'I'::pg_catalog."char"$own$,
        'NULL'];
    parts text[];
    code  text;
BEGIN
    FOREACH parts SLICE 1 IN ARRAY ARRAY[object, audit] LOOP
        code := short_way;
        FOR n IN 0..2 LOOP
            code := replace(code, '{path ' || n || '}', replace(path, '{change table}', 'change_' || n));
        END LOOP;
        code := replace(replace(code, '{name}', parts[1]), '{images}', parts[2]);
        EXECUTE replace(replace(replace(code, '{too_large}', parts[3]), '{operation}', parts[4]), '{old}', parts[5]);
    END LOOP;
END $do$;

-- The trigger of the other kinds, and of tables whose trigger an earlier version made. Arguments: the bit of the kind; 'object', 'audit'
-- or 'plain'.
CREATE OR REPLACE FUNCTION openregister_webhooks.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text;
    after  text;
    fault  text;
BEGIN
    IF openregister_webhooks.kinds() & TG_ARGV[0]::integer = 0 THEN
        RETURN NULL;   -- no registration names this kind
    END IF;
    BEGIN
        before := row_to_json(OLD);
        after := row_to_json(NEW);
    EXCEPTION WHEN OTHERS THEN
        fault := 'the row cannot be written as JSON: ' || SQLERRM;
    END;
    IF TG_ARGV[1] = 'audit' THEN
        IF position('"action":"read"' IN split_part(after, '"changed":', 1)) > 0 THEN
            RETURN NULL;
        END IF;
    ELSIF before = after THEN
        IF TG_ARGV[1] = 'object' THEN
            PERFORM openregister_webhooks.store(TG_TABLE_NAME::text, 'N', NULL, after, fault);
        END IF;
        RETURN NULL;
    END IF;
    PERFORM openregister_webhooks.store(TG_TABLE_NAME::text, TG_OP::"char", before, after, fault);
    RETURN NULL;
END $$;

-- The trigger's arguments for a table of Nextcloud, by its full name; NULL for a table that is not captured.
CREATE OR REPLACE FUNCTION openregister_webhooks.trigger_arguments(tbl text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN name ~ '^openregister_table_[0-9]{1,18}_[0-9]{1,18}$' THEN '1, object'
        WHEN name = 'openregister_objects'       THEN '1, object'
        WHEN name = 'openregister_audit_trails'  THEN '1, audit'
        WHEN name = 'openregister_registers'     THEN '2, plain'
        WHEN name = 'openregister_schemas'       THEN '4, plain'
        WHEN name = 'openregister_applications'  THEN '8, plain'
        WHEN name = 'openregister_agents'        THEN '16, plain'
        WHEN name = 'openregister_sources'       THEN '32, plain'
        WHEN name = 'openregister_configurations' THEN '64, plain'
        WHEN name IN ('openregister_view', 'openregister_views') THEN '128, plain'
        WHEN name = 'openregister_conversations' THEN '256, plain'
        WHEN name = 'openregister_organisations' THEN '512, plain'
    END
    FROM (SELECT substr(tbl, length(s.table_prefix) + 1) AS name
          FROM openregister_webhooks.settings s WHERE starts_with(tbl, s.table_prefix)) n
$$;

-- Nextcloud's own tables, and no others: whoever may create in its schema can make a table, a view or a foreign table by any name
-- that is free, with policies, types and index conditions that run functions with the rights of whoever reads it. A table is
-- Nextcloud's where its owner is that of appconfig, it is an ordinary table, and no policy decides what is read from it.
-- Everything that reads, writes, grants or captures such a table asks here.
CREATE OR REPLACE VIEW openregister_webhooks.host_table AS
    SELECT c.relname::text AS tbl, c.oid AS relid
    FROM openregister_webhooks.settings s
    JOIN pg_namespace n ON n.nspname = s.host_schema
    JOIN pg_class h ON h.relnamespace = n.oid AND h.relname = s.table_prefix || 'appconfig' AND h.relkind = 'r'
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relowner = h.relowner AND c.relkind = 'r' AND NOT c.relrowsecurity
                   AND starts_with(c.relname, s.table_prefix);

-- Keeps tables of Nextcloud's as they are until the transaction ends: nobody can drop, rename or alter them, so in the statements
-- that follow their names mean them. Writers do not mind this lock (ACCESS SHARE, which a SELECT takes, too).
-- Raises undefined_table where one is not there, or is not Nextcloud's own: then what follows in the transaction is not run.
-- It takes the locks with the owner's rights: LOCK TABLE wants a right on the whole table, the runtime role has some columns only.
CREATE OR REPLACE FUNCTION openregister_webhooks.hold(wanted text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place text := (SELECT s.host_schema FROM openregister_webhooks.settings s);
    name  text;
    full_name text;
    id    oid;
BEGIN
    FOREACH name IN ARRAY wanted LOOP
        full_name := format('%I.%I', place, name);
        id := to_regclass(full_name);
        -- Before the lock, so that nobody makes us wait for a table of his; and after it, since the name may have changed hands.
        IF id IS NOT NULL AND EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', full_name);
            IF to_regclass(full_name) IS NOT DISTINCT FROM id
               AND EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
                CONTINUE;
            END IF;
        END IF;
        IF id IS NULL THEN
            RAISE undefined_table USING MESSAGE = format('the table %s does not exist', full_name);
        END IF;
        RAISE undefined_table USING MESSAGE = format('%s is no table of Nextcloud''s own', full_name),
            HINT = 'its owner is another than that of appconfig, or it is a view, or it has row security: `doctor` says';
    END LOOP;
END $$;

-- The tables that should be captured: name, oid, whether an enabled trigger of ours is on it, whether it is known.
CREATE OR REPLACE FUNCTION openregister_webhooks.capturable()
RETURNS TABLE (tbl text, relid oid, attached boolean, enabled boolean, known boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.tbl, h.relid, t.oid IS NOT NULL, coalesce(t.tgenabled IN ('O', 'A'), false), k.tbl IS NOT NULL
    FROM openregister_webhooks.host_table h
    LEFT JOIN pg_trigger t ON t.tgrelid = h.relid AND t.tgname = 'openregister_webhooks_capture' AND NOT t.tgisinternal
    LEFT JOIN openregister_webhooks.captured_table k ON k.tbl = h.tbl AND k.relid = h.relid
    -- What is captured is not asked about again: with thousands of tables that is most of the work of each discovery.
    WHERE (t.oid IS NOT NULL AND k.tbl IS NOT NULL) OR openregister_webhooks.trigger_arguments(h.tbl) IS NOT NULL
    ORDER BY h.relid
$$;

-- Puts the capture trigger on one table, unless it is there. True when it is there at the end. Takes the table's lock
-- for an instant, waits at most 50 ms for it (writers queue behind a waiting lock), scans nothing.
-- What is in a table that appeared after the first discovery becomes 'I' changes with found = true, under the same
-- lock, so that no later change can overtake them; above 10,000 rows, and without copy, a gap is recorded instead. A
-- table that has its trigger already but is not known came with a restore (its oid is another then), or was renamed: its
-- rows are no news.
CREATE OR REPLACE FUNCTION openregister_webhooks.attach(wanted text, copy boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    setup     openregister_webhooks.settings%ROWTYPE;
    arguments text := openregister_webhooks.trigger_arguments(wanted);
    host      text;
    id        oid;
    is_known  boolean;
    had_ours  boolean;
    call      text := CASE arguments WHEN '1, object' THEN 'capture_object()' WHEN '1, audit' THEN 'capture_audit()'
                                     ELSE 'capture(' || arguments || ')' END;
    present   integer := 0;
    trouble   text;
BEGIN
    SELECT * INTO setup FROM openregister_webhooks.settings;
    host := format('%I.%I', setup.host_schema, wanted);
    id := to_regclass(host);
    IF arguments IS NULL OR id IS NULL OR setup.detaching
       OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
        RETURN false;
    END IF;
    -- One that an earlier version made calls capture() where another function is better now; one that is disabled stays as it is.
    IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = id AND t.tgname = 'openregister_webhooks_capture'
                  AND NOT (t.tgfoid = 'openregister_webhooks.capture()'::regprocedure AND t.tgenabled = 'O' AND call NOT LIKE 'capture(%'))
       AND EXISTS (SELECT FROM openregister_webhooks.captured_table k WHERE k.tbl = wanted AND k.relid = id) THEN
        RETURN true;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', host);
    IF to_regclass(host) IS DISTINCT FROM id OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
        RETURN false;   -- replaced meanwhile: the next discovery; or none of Nextcloud's own
    END IF;
    is_known := EXISTS (SELECT FROM openregister_webhooks.captured_table k WHERE k.tbl = wanted AND k.relid = id);
    had_ours := EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = id AND t.tgname = 'openregister_webhooks_capture');
    IF NOT had_ours THEN
        IF is_known THEN
            INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES (wanted,
                'the capture trigger had been dropped; it is back, what was written meanwhile is not captured',
                'openregister-webhooks backfill --table ' || wanted);
        END IF;
    END IF;
    IF NOT had_ours OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = id AND t.tgname = 'openregister_webhooks_capture'
                                  AND t.tgfoid = 'openregister_webhooks.capture()'::regprocedure AND t.tgenabled = 'O') THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER openregister_webhooks_capture AFTER INSERT%s ON %s FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.%s',
            CASE WHEN arguments LIKE '%audit' THEN '' ELSE ' OR UPDATE OR DELETE' END, host, call);
    END IF;
    IF setup.runtime_role IS NOT NULL THEN
        PERFORM openregister_webhooks.grant_lookup(wanted);
    END IF;
    IF NOT is_known THEN
        INSERT INTO openregister_webhooks.captured_table AS k (tbl, relid) VALUES (wanted, id)
            ON CONFLICT (tbl) DO UPDATE SET relid = excluded.relid, first_seen = clock_timestamp();
        IF setup.discovered_at IS NOT NULL AND arguments NOT LIKE '%audit' AND NOT had_ours THEN
            EXECUTE format('SELECT count(*) FROM (SELECT FROM ONLY %s LIMIT 10001) r', host) INTO present;
            IF present > 10000 THEN
                trouble := 'it held more than 10000 rows when it was found';
            ELSIF present > 0 AND NOT copy THEN
                trouble := 'it held more than could be copied in time when it was found';
            ELSIF present > 0 AND openregister_webhooks.kinds() & split_part(arguments, ',', 1)::integer <> 0 THEN
                -- A row that is too large must not keep the table from being captured from now on.
                BEGIN
                    EXECUTE format('INSERT INTO openregister_webhooks.change_%s SELECT pg_current_wal_insert_lsn(), pg_current_xact_id(), row_number() OVER ()::integer, %L, ''I'', true, NULL, CASE WHEN octet_length(j) <= 16777216 THEN j END, CASE WHEN octet_length(j) > 16777216 THEN format(''the row found has %%s bytes, more than 16777216'', octet_length(j)) END, pg_backend_pid(), clock_timestamp() FROM (SELECT row_to_json("orw row")::text AS j FROM ONLY %s AS "orw row" OFFSET 0) rows',
                        openregister_webhooks.slot(), wanted, host);
                    IF NOT pg_try_advisory_xact_lock_shared(5715726729067189317) AND pg_notification_queue_usage() < 0.5 THEN
                        PERFORM pg_notify('openregister_webhooks', '');
                    END IF;
                EXCEPTION
                    WHEN lock_not_available OR deadlock_detected THEN
                        RAISE;   -- to be tried again
                    WHEN OTHERS THEN
                        trouble := 'what it held when it was found could not be copied: ' || SQLERRM;
                END;
            END IF;
            IF trouble IS NOT NULL THEN
                INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES (wanted,
                    'the table appeared without its trigger; ' || trouble,
                    'openregister-webhooks backfill --table ' || wanted);
            END IF;
        END IF;
    END IF;
    RETURN true;
END $$;

-- The hook on Nextcloud's appconfig: OpenRegister writes table_version_{register}_{schema} there after CREATE TABLE and
-- before the first INSERT. Whatever goes wrong is left to discovery; the application's write never fails for it.
CREATE OR REPLACE FUNCTION openregister_webhooks.appconfig_hook() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    -- With an older snapshot the rows that are in the table could not all be seen.
    IF NEW.appid = 'openregister' AND starts_with(NEW.configkey, 'table_version_')
       AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        PERFORM openregister_webhooks.attach(s.table_prefix || 'openregister_table_' || substr(NEW.configkey, 15))
        FROM openregister_webhooks.settings s;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION openregister_webhooks.attach_hook() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    host text := (SELECT format('%I.%I', s.host_schema, s.table_prefix || 'appconfig') FROM openregister_webhooks.settings s);
    id   oid := to_regclass(host);
BEGIN
    IF id IS NULL OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = id AND t.tgname = 'openregister_webhooks_hook') THEN
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', host);
        IF to_regclass(host) IS DISTINCT FROM id OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
            RETURN false;
        END IF;
        EXECUTE format('CREATE TRIGGER openregister_webhooks_hook AFTER INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.appconfig_hook()', host);
    END IF;
    RETURN true;
END $$;

-- Takes our triggers off one table: those that run our functions, which nobody else may put on a table. Waits at most 50 ms for
-- its lock: raises lock_not_available, to be tried again.
CREATE OR REPLACE FUNCTION openregister_webhooks.detach(wanted text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    host text := (SELECT format('%I.%I', s.host_schema, wanted) FROM openregister_webhooks.settings s);
    name text;
BEGIN
    FOR name IN SELECT t.tgname FROM pg_trigger t WHERE t.tgrelid = to_regclass(host)
                   AND t.tgfoid IN ('openregister_webhooks.capture()'::regprocedure, 'openregister_webhooks.capture_object()'::regprocedure,
                                    'openregister_webhooks.capture_audit()'::regprocedure, 'openregister_webhooks.appconfig_hook()'::regprocedure) LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', name, host);
    END LOOP;
END $$;

-- The tables of Nextcloud that the runtime role looks things up in, and the columns; NULL: whole rows, of what is captured anyway.
DROP FUNCTION IF EXISTS openregister_webhooks.lookups();
CREATE FUNCTION openregister_webhooks.lookups() RETURNS TABLE (tbl text, columns text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.table_prefix || t.name, t.columns FROM openregister_webhooks.settings s,
        (VALUES ('users', '{uid,displayname}'::text[]), ('accounts', '{uid,data}'), ('group_user', '{uid,gid}'),
                ('activity', '{activity_id,app,subject,user,object_type,object_id,timestamp,xmin}')) AS t (name, columns)
    UNION ALL SELECT c.tbl, NULL FROM openregister_webhooks.capturable() c
$$;

-- Lets the runtime role look things up in one table of Nextcloud, in the columns that there are, and remembers it; what it may do
-- anyway is not given. What an earlier version or an earlier role was given on the table is taken back.
-- GRANT writes the table's row in the catalog: without a lock an ALTER TABLE at the same time would fail. Writers do not
-- mind this lock; it is waited for 50 ms at most.
CREATE OR REPLACE FUNCTION openregister_webhooks.grant_lookup(wanted text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    setup  openregister_webhooks.settings%ROWTYPE;
    host   text;
    id     oid;
    every  text[];
    listed text;
    former text;
BEGIN
    SELECT * INTO setup FROM openregister_webhooks.settings;
    host := format('%I.%I', setup.host_schema, wanted);
    id := to_regclass(host);
    IF setup.runtime_role IS NULL OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
        RETURN;
    END IF;
    SELECT l.columns INTO every FROM openregister_webhooks.lookups() l WHERE l.tbl = wanted;
    IF NOT FOUND THEN
        RETURN;   -- nothing is looked up there
    END IF;
    SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.name) INTO listed
    FROM unnest(every) AS c (name) JOIN pg_attribute a ON a.attrelid = id AND a.attname = c.name AND NOT a.attisdropped;
    IF every IS NOT NULL AND listed IS NULL THEN
        RETURN;   -- none of the columns is there
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', host);
    IF to_regclass(host) IS DISTINCT FROM id OR NOT EXISTS (SELECT FROM openregister_webhooks.host_table h WHERE h.relid = id) THEN
        RETURN;
    END IF;
    -- This takes back rights on columns, too.
    FOR former IN SELECT g.role FROM openregister_webhooks.granted g JOIN pg_roles r ON r.rolname = g.role
                  WHERE g.tbl = wanted AND (every IS NOT NULL OR g.role <> setup.runtime_role) LOOP
        EXECUTE format('REVOKE SELECT ON %s FROM %I', host, former);
    END LOOP;
    DELETE FROM openregister_webhooks.granted g WHERE g.tbl = wanted AND g.role <> setup.runtime_role;
    IF has_table_privilege(setup.runtime_role, id, 'SELECT') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT SELECT %s ON %s TO %I', '(' || listed || ')', host, setup.runtime_role);   -- no list: whole rows
    INSERT INTO openregister_webhooks.granted VALUES (wanted, setup.runtime_role) ON CONFLICT DO NOTHING;
END $$;

-- Takes back what was granted on one table.
CREATE OR REPLACE FUNCTION openregister_webhooks.revoke_lookup(wanted text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    host text := (SELECT format('%I.%I', s.host_schema, wanted) FROM openregister_webhooks.settings s);
    role text;
BEGIN
    -- Of the owner's tables alone: one that a stranger made since by that name is none of ours.
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = to_regclass(host) AND pg_get_userbyid(c.relowner) = current_user) THEN
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', host);
        FOR role IN SELECT g.role FROM openregister_webhooks.granted g JOIN pg_roles r ON r.rolname = g.role WHERE g.tbl = wanted LOOP
            EXECUTE format('REVOKE SELECT ON %s FROM %I', host, role);
        END LOOP;
    END IF;
    DELETE FROM openregister_webhooks.granted g WHERE g.tbl = wanted;
END $$;

-- Tables on which an earlier version gave more than is needed today.
CREATE OR REPLACE FUNCTION openregister_webhooks.outdated_lookups() RETURNS TABLE (tbl text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT g.tbl FROM openregister_webhooks.granted g
    WHERE NOT EXISTS (SELECT FROM openregister_webhooks.lookups() l WHERE l.tbl = g.tbl)
$$;

-- Recomputes which kinds are captured: those that a registration names (enabled or not), registers and schemas always,
-- all with capture_all. True where a kind was switched on.
CREATE OR REPLACE FUNCTION openregister_webhooks.set_kinds() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted integer;
    before integer;
BEGIN
    -- One at a time, and what the one before registered is seen.
    LOCK TABLE openregister_webhooks.settings IN SHARE ROW EXCLUSIVE MODE;
    SELECT coalesce(bit_or(k.bit), 0) INTO wanted
    FROM (VALUES ('Object', 1), ('Register', 2), ('Schema', 4), ('Application', 8), ('Agent', 16), ('Source', 32),
                 ('Configuration', 64), ('View', 128), ('Conversation', 256), ('Organisation', 512)) AS k (name, bit),
         openregister_webhooks.settings s
    WHERE s.capture_all OR k.bit IN (2, 4)
       OR EXISTS (SELECT FROM openregister_webhooks.webhook w, unnest(w.classes) AS c (class)
                  WHERE c.class ~ ('^' || k.name || '(Created|Updated|Deleted|Locked|Unlocked|Reverted|Transitioned)Event$'));
    before := openregister_webhooks.kinds();
    IF wanted <> before THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION openregister_webhooks.kinds() RETURNS integer LANGUAGE sql STABLE AS %L', 'SELECT ' || wanted);
    END IF;
    IF wanted & ~before & 1 <> 0 THEN
        -- Which locks ended while objects were not captured is not known.
        UPDATE openregister_webhooks.object_capture SET epoch = epoch + 1;
    END IF;
    RETURN wanted & ~before <> 0;
END $$;

-- Sets the limit of a change table in bytes; 0: none.
CREATE OR REPLACE FUNCTION openregister_webhooks.set_outbox_limit(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    IF wanted IS NULL OR wanted < 0 THEN
        RAISE EXCEPTION 'set_outbox_limit: must be 0 or more, not %', wanted;
    END IF;
    IF openregister_webhooks.outbox_limit() <> wanted THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION openregister_webhooks.outbox_limit() RETURNS bigint LANGUAGE sql STABLE AS %L', 'SELECT ' || wanted || '::bigint');
    END IF;
END $$;

-- Sends writers to another change table that is empty, if one is; the number of the one in use afterwards. A transaction
-- that stays open keeps the table that it wrote to from being emptied; the other two then take turns.
CREATE OR REPLACE FUNCTION openregister_webhooks.turn() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    used      integer := openregister_webhooks.slot();
    following integer;
    vacant    boolean;
BEGIN
    FOR step IN 1..2 LOOP
        following := (used + step) % 3;
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM openregister_webhooks.change_%s)', following) INTO vacant;
        IF vacant THEN
            EXECUTE format('CREATE OR REPLACE FUNCTION openregister_webhooks.slot() RETURNS integer LANGUAGE sql STABLE AS %L', 'SELECT ' || following);
            RETURN following;
        END IF;
    END LOOP;
    RETURN used;
END $$;

-- Gives a change table its form of today, if it has an older one. To be called under the table's exclusive lock: the leader does when it has
-- emptied the table, so no writer meets a lock that it would not have met anyway.
CREATE OR REPLACE FUNCTION openregister_webhooks.form_change_table(target integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    name     text := CASE target WHEN 0 THEN 'change_0' WHEN 1 THEN 'change_1' WHEN 2 THEN 'change_2' END;
    relation regclass := 'openregister_webhooks.' || name;
    old      text;
BEGIN
    IF name IS NULL OR EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.reloptions @> ARRAY['toast_tuple_target=8160']) THEN
        RETURN;
    END IF;
    -- A CHECK is planned again by each INSERT, which costs a writer more than the INSERT's index; only functions of ours insert.
    FOR old IN SELECT k.conname FROM pg_constraint k WHERE k.conrelid = relation AND k.contype = 'c' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', relation, old);
    END LOOP;
    -- What fits into a page stays as it is: pglz took more time than all the rest of the trigger.
    EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 8160)', relation);
    BEGIN
        EXECUTE format('ALTER TABLE %s ALTER old SET COMPRESSION lz4, ALTER new SET COMPRESSION lz4', relation);
    EXCEPTION WHEN OTHERS THEN
        NULL;   -- a server without lz4
    END;
END $$;
-- Before the first trigger there is no writer, and so nobody who could be met.
SELECT openregister_webhooks.form_change_table(n) FROM generate_series(0, 2) n
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = 'openregister_webhooks_capture');

-- The queue. The program's module src/delivery/queue has every statement that changes "delivery"; functions here only read it. The function
-- clean_deliveries of migration 0011 is called by earlier versions alone, and stays for their processes.

-- Drops partitions of "which" ('event' or 'log'), whole days, the oldest first, until the rest takes "most" bytes or less. Today's partition
-- always stays, and so do events that a pending delivery needs.
CREATE OR REPLACE FUNCTION openregister_webhooks.trim_partitions(which text, most bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET client_min_messages = warning AS $$
DECLARE
    today    date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    parents  regclass[];
    total    bigint;
    at       date;
    bytes    bigint;
    children text[];
    child    text;
    dropped  integer := 0;
BEGIN
    parents := CASE which WHEN 'event' THEN ARRAY['openregister_webhooks.event']
                          WHEN 'log' THEN ARRAY['openregister_webhooks.delivery_log', 'openregister_webhooks.attempt'] END::regclass[];
    IF parents IS NULL OR most IS NULL OR most <= 0 THEN
        RAISE EXCEPTION 'trim_partitions: which must be event or log, and most a number of bytes';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('openregister_webhooks.partitions', 0));
    SELECT sum(pg_total_relation_size(i.inhrelid)) INTO total FROM pg_inherits i WHERE i.inhparent = ANY (parents);
    FOR at, bytes, children IN
        SELECT p.day, sum(pg_total_relation_size(p.oid)), array_agg(p.relname::text)
        FROM (SELECT c.oid, c.relname, to_date(substring(c.relname FROM '_([0-9]{8})$'), 'YYYYMMDD') AS day
              FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = ANY (parents) AND c.relname ~ '_[0-9]{8}$') p
        WHERE p.day < today GROUP BY p.day ORDER BY p.day
    LOOP
        EXIT WHEN total <= most;
        CONTINUE WHEN which = 'event'
            AND EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.event_day = at);
        FOREACH child IN ARRAY children LOOP
            EXECUTE format('DROP TABLE openregister_webhooks.%I', child);
            dropped := dropped + 1;
        END LOOP;
        total := total - bytes;
    END LOOP;
    RETURN dropped;
END $$;

-- Makes one index of the log that a day does not have yet (see migration 26), the newest day first, and says how many it made: until 0, call it
-- again. Where "most" is given, only days that take so many bytes or less. Writers of that day wait meanwhile; a day that is over has none.
CREATE OR REPLACE FUNCTION openregister_webhooks.index_log(most bigint DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET client_min_messages = warning AS $$
DECLARE
    missing record;
    name    text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('openregister_webhooks.partitions', 0)) THEN
        RETURN 0;
    END IF;
    SELECT i.oid::regclass AS parent, i.relname AS index, c.relname AS day, pg_get_indexdef(i.oid) AS definition INTO missing
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_inherits p ON p.inhparent = x.indrelid JOIN pg_class c ON c.oid = p.inhrelid
    WHERE x.indrelid = 'openregister_webhooks.delivery_log'::regclass AND NOT x.indisvalid
      AND (most IS NULL OR pg_relation_size(c.oid) <= most)
      AND NOT EXISTS (SELECT FROM pg_inherits a JOIN pg_index d ON d.indexrelid = a.inhrelid
                      WHERE a.inhparent = i.oid AND d.indrelid = c.oid)
    ORDER BY c.relname DESC, i.relname LIMIT 1;
    IF missing IS NULL THEN
        RETURN 0;
    END IF;
    name := missing.day || replace(missing.index, 'delivery_log', '');
    EXECUTE regexp_replace(missing.definition, '^CREATE INDEX .* ON ONLY .* USING ',
        format('CREATE INDEX %I ON openregister_webhooks.%I USING ', name, missing.day));
    EXECUTE format('ALTER INDEX %s ATTACH PARTITION openregister_webhooks.%I', missing.parent, name);
    RETURN 1;
END $$;

-- Removes what is kept no longer (docs/storage.md has the whole list), at most "most" rows of each table a call, and says how many
-- rows that were: until 0, call it again. Does nothing where another process is at it. What is still needed stays whatever its
-- age: gaps that nobody was told of, jobs at work, what is known of an erased object while older changes are unread. "log_days" is for
-- finished jobs, told gaps and the quarantine. Audit rows are kept for 30 days at least, whoever calls this, but for
-- those in the middle of more than 100,000.
CREATE OR REPLACE FUNCTION openregister_webhooks.clean(log_days integer, audit_days integer, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    now     timestamptz := clock_timestamp();
    ended   timestamptz := now - make_interval(days => greatest(log_days, 1));
    audited timestamptz := now - make_interval(days => greatest(audit_days, 30));
    today   date        := (now AT TIME ZONE 'UTC')::date;
    host    text        := (SELECT s.host_schema FROM openregister_webhooks.settings s);
    total   bigint      := 0;
    step    bigint;
    needed  timestamptz;
BEGIN
    IF log_days IS NULL OR audit_days IS NULL OR most IS NULL OR most < 1 THEN
        RAISE EXCEPTION 'clean: needs two numbers of days and a number of rows, 1 or more';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('openregister_webhooks.clean', 0)) THEN
        RETURN 0;
    END IF;

    -- By age, and beyond 100,000 rows the oldest.
    DELETE FROM openregister_webhooks.audit WHERE id IN (
        SELECT a.id FROM (SELECT id, at FROM openregister_webhooks.audit ORDER BY id LIMIT most) a
        WHERE a.at < audited
           OR (a.at < now - interval '30 days' AND a.id <= (SELECT id FROM openregister_webhooks.audit ORDER BY id DESC OFFSET 100000 LIMIT 1)));
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;
    -- Where the last 30 days alone have more, those in the middle: whoever may append cannot push out what was there before.
    IF step = 0 THEN
        DELETE FROM openregister_webhooks.audit WHERE id IN (
            SELECT a.id FROM openregister_webhooks.audit a
            WHERE a.id > (SELECT id FROM openregister_webhooks.audit ORDER BY id OFFSET 49999 LIMIT 1)
              AND a.id <= (SELECT id FROM openregister_webhooks.audit ORDER BY id DESC OFFSET 50000 LIMIT 1)
            ORDER BY a.id LIMIT most);
        GET DIAGNOSTICS step = ROW_COUNT;
        total := total + step;
    END IF;

    DELETE FROM openregister_webhooks.job WHERE id IN (
        SELECT j.id FROM openregister_webhooks.job j
        WHERE j.state IN ('done', 'cancelled') AND (coalesce(j.finished_at, j.updated_at) < ended
            OR j.id <= (SELECT f.id FROM openregister_webhooks.job f WHERE f.state IN ('done', 'cancelled') ORDER BY f.id DESC OFFSET 10000 LIMIT 1))
        ORDER BY j.id LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    DELETE FROM openregister_webhooks.gap WHERE told_at IS NOT NULL AND id IN (
        SELECT g.id FROM openregister_webhooks.gap g
        WHERE g.told_at IS NOT NULL AND (g.told_at < ended
            OR g.id <= (SELECT f.id FROM openregister_webhooks.gap f WHERE f.told_at IS NOT NULL ORDER BY f.id DESC OFFSET 10000 LIMIT 1))
        ORDER BY g.id LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    DELETE FROM openregister_webhooks.quarantine WHERE id IN (
        SELECT q.id FROM openregister_webhooks.quarantine q WHERE q.seen_at < ended ORDER BY q.id LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    -- Figures are of 30 days.
    DELETE FROM openregister_webhooks.webhook_count WHERE ctid = ANY (ARRAY(
        SELECT c.ctid FROM openregister_webhooks.webhook_count c WHERE c.day < today - 31 LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    -- Figures of minutes are kept for a day, and for the hour that may pass until this runs again.
    DELETE FROM openregister_webhooks.minute_count WHERE ctid = ANY (ARRAY(
        SELECT c.ctid FROM openregister_webhooks.minute_count c WHERE c.minute < now - interval '25 hours'
        ORDER BY c.minute LIMIT most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    -- Of webhooks that are gone, when nothing of theirs is in the queue any more.
    DELETE FROM openregister_webhooks.webhook_health WHERE webhook IN (
        SELECT h.webhook FROM openregister_webhooks.webhook_health h
        WHERE NOT EXISTS (SELECT FROM openregister_webhooks.webhook w WHERE w.id = h.webhook)
          AND NOT EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.webhook = h.webhook)
        LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;
    DELETE FROM openregister_webhooks.webhook_owner WHERE webhook IN (
        SELECT o.webhook FROM openregister_webhooks.webhook_owner o
        WHERE NOT EXISTS (SELECT FROM openregister_webhooks.webhook w WHERE w.id = o.webhook)
          AND NOT EXISTS (SELECT FROM openregister_webhooks.delivery d WHERE d.webhook = o.webhook)
        LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    DELETE FROM openregister_webhooks.worker WHERE id IN (
        SELECT w.id FROM openregister_webhooks.worker w WHERE w.alive_until < now - interval '1 day' LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    -- What was captured before an object was erased is dropped when it is read: as long as something so old is unread, or a job began
    -- so early, it must be known.
    SELECT least(now - interval '30 days',
        (SELECT at FROM openregister_webhooks.change_0 ORDER BY lsn, xid, ordinal LIMIT 1),
        (SELECT at FROM openregister_webhooks.change_1 ORDER BY lsn, xid, ordinal LIMIT 1),
        (SELECT at FROM openregister_webhooks.change_2 ORDER BY lsn, xid, ordinal LIMIT 1),
        (SELECT min(at) FROM openregister_webhooks.change_adopted),
        (SELECT min(created_at) FROM openregister_webhooks.job WHERE state IN ('running', 'cancelling'))) INTO needed;
    DELETE FROM openregister_webhooks.erased WHERE object IN (
        SELECT e.object FROM openregister_webhooks.erased e WHERE e.at < needed LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;

    -- Tables of Nextcloud that were dropped.
    DELETE FROM openregister_webhooks.captured_table k
    WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.relid) AND to_regclass(format('%I.%I', host, k.tbl)) IS NULL;
    GET DIAGNOSTICS step = ROW_COUNT;
    total := total + step;
    RETURN total;
END $$;

-- Gives what is in quarantine (all of it, or one row) to the reader again, in its old order and with its old time, for
-- when a newer program can read it; how many. What has no row image stays: there is nothing to read. What came later of
-- the same objects was delivered meanwhile.
CREATE OR REPLACE FUNCTION openregister_webhooks.retry_quarantined(wanted bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    count bigint;
BEGIN
    EXECUTE format('WITH again AS (DELETE FROM openregister_webhooks.quarantine
                                   WHERE ($1 IS NULL OR id = $1) AND (old IS NOT NULL OR new IS NOT NULL) RETURNING *)
        INSERT INTO openregister_webhooks.change_%s
        SELECT $2, pg_current_xact_id(), row_number() OVER (ORDER BY found DESC, lsn, xid, ordinal, id)::integer, tbl, op, found, old, new, NULL, pid, at
        FROM again', openregister_webhooks.slot()) USING wanted, pg_current_wal_insert_lsn();
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;

-- From now on secrets are bound to their registration's origin; called in the transaction that has sealed them all anew. There
-- is no way back for the runtime role: a text that was sealed before must not be taken for good again.
CREATE OR REPLACE FUNCTION openregister_webhooks.seal_to_origin() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE openregister_webhooks.settings SET sealed_to_origin = true WHERE NOT sealed_to_origin
$$;

-- Then a process of an older version, which seals in the old form, cannot store a registration that no other process could read.
CREATE OR REPLACE FUNCTION openregister_webhooks.check_sealed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT s.sealed_to_origin FROM openregister_webhooks.settings s)
       AND EXISTS (SELECT FROM unnest(ARRAY[NEW.headers, NEW.auth_data, NEW.secrets, NEW.client_certificate]) AS c (stored)
                   WHERE substring(c.stored FROM 1 FOR 1) < '\x02'::bytea) THEN
        RAISE EXCEPTION 'registrations are kept in the form of a newer version of openregister-webhooks'
            USING HINT = 'this process is older: end it and start the version that is installed';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER check_sealed BEFORE INSERT OR UPDATE ON openregister_webhooks.webhook
    FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.check_sealed();

-- Sets up how this installation is to be; called by install.
CREATE OR REPLACE FUNCTION openregister_webhooks.set_capture_all(wanted boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE openregister_webhooks.settings SET capture_all = wanted WHERE capture_all <> wanted;
    PERFORM openregister_webhooks.set_kinds();
END $$;

-- Ends the first discovery: what appears from now on is new.
CREATE OR REPLACE FUNCTION openregister_webhooks.discovered() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE openregister_webhooks.settings SET discovered_at = clock_timestamp() WHERE discovered_at IS NULL
$$;

-- Erases a value, such as an object's uuid, from what the audit table says of replays that were asked for; the one change of
-- audit rows that there is.
CREATE OR REPLACE FUNCTION openregister_webhooks.erase_from_audit(wanted text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- As a value of the JSON, so after a colon: it stays JSON whatever is wanted.
    UPDATE openregister_webhooks.audit SET detail = replace(detail, ':' || to_json(wanted)::text, ':"erased"')
    WHERE action = 'replay' AND position(':' || to_json(wanted)::text IN detail) > 0
$$;

-- What tools that speak SQL read, and the console, too (docs/console.md): one view for each SHOW. No secret is in them, so whoever may
-- read them needs no right on the tables below; the views read those with their owner's rights. Columns are only ever added at the end.
CREATE OR REPLACE VIEW openregister_webhooks.show_webhooks AS
    SELECT w.id, w.status, w.status_reason AS reason, w.status_since AS since, w.event, upper(w.http_method) AS method, w.uri, w.format,
           w.ordering, w.user_id AS registered_by, w.app_id, w.created_at, w.updated_at
    FROM openregister_webhooks.webhook w;

CREATE OR REPLACE VIEW openregister_webhooks.show_deliveries AS
    SELECT d.id, d.webhook, d.state, e.class, e.id AS event_id, d.lane, d.reason, d.attempt AS attempts, d.status,
           d.cause, d.created_at, d.due_at, NULL::timestamptz AS finished_at
    FROM openregister_webhooks.delivery d
    LEFT JOIN openregister_webhooks.event e ON e.day = d.event_day AND e.seq = d.event_seq
    UNION ALL
    SELECT l.id, l.webhook, l.state, l.class, l.event_id, l.lane, l.reason, l.attempt, l.status, l.cause, l.created_at, NULL, l.finished_at
    FROM openregister_webhooks.delivery_log l;

-- Without the answer's headers and body, in which a receiver may have put what is nobody else's business.
CREATE OR REPLACE VIEW openregister_webhooks.show_attempts AS
    SELECT a.delivery, a.number, a.webhook, a.at, a.duration_ms, a.status, a.cause, a.error, a.probe
    FROM openregister_webhooks.attempt a;

-- What waits where. Unread changes are counted up to 100,000.
CREATE OR REPLACE VIEW openregister_webhooks.show_lag AS
    WITH position AS MATERIALIZED (
        SELECT snapshot::pg_snapshot AS read, "window"::pg_snapshot AS reading, lsn, xid, ordinal
        FROM (SELECT * FROM openregister_webhooks.position_0 UNION ALL SELECT * FROM openregister_webhooks.position_1) p
        ORDER BY n DESC LIMIT 1
    ), unread AS (
        SELECT c.at FROM openregister_webhooks.change c LEFT JOIN position p ON true
        WHERE coalesce(NOT pg_visible_in_snapshot(c.xid, p.read), true)
          AND NOT coalesce(pg_visible_in_snapshot(c.xid, p.reading) AND (c.lsn, c.xid, c.ordinal) <= (p.lsn, p.xid, p.ordinal), false)
        LIMIT 100000
    ), stage (place, stage, waiting, oldest_at) AS (
        SELECT 1, 'outbox'::text, count(*), min(u.at) FROM unread u
        UNION ALL
        SELECT s.place, s.state, count(d.id), min(d.created_at)
        FROM (VALUES (2, 'awaiting_user'), (3, 'pending'), (4, 'leased'), (5, 'retrying')) AS s (place, state)
        LEFT JOIN openregister_webhooks.delivery d ON d.state = s.state GROUP BY s.place, s.state
    )
    SELECT s.place, s.stage, s.waiting, s.oldest_at,
           coalesce(greatest(0, extract(epoch FROM clock_timestamp() - s.oldest_at)), 0)::float8 AS oldest_seconds
    FROM stage s;

CREATE OR REPLACE VIEW openregister_webhooks.show_stats AS
    SELECT w.id AS webhook, coalesce(d.pending, 0) AS pending, coalesce(d.retrying, 0) AS retrying, coalesce(d.leased, 0) AS leased,
           d.oldest_pending, coalesce(c.succeeded, 0) AS succeeded, coalesce(c.given_up, 0) AS given_up,
           coalesce(c.failed_attempts, 0) AS failed_attempts, coalesce(h.failures, 0)::bigint AS failures_in_a_row,
           h.last_success, h.last_failure, h.last_cause
    FROM openregister_webhooks.webhook w
    LEFT JOIN (SELECT d.webhook, count(*) AS pending, count(*) FILTER (WHERE d.state = 'retrying') AS retrying,
                      count(*) FILTER (WHERE d.state = 'leased') AS leased, min(d.created_at) AS oldest_pending
               FROM openregister_webhooks.delivery d GROUP BY d.webhook) d ON d.webhook = w.id
    LEFT JOIN (SELECT c.webhook, sum(c.count) FILTER (WHERE c.outcome = 'succeeded')::bigint AS succeeded,
                      sum(c.count) FILTER (WHERE c.outcome = 'given_up')::bigint AS given_up,
                      sum(c.count) FILTER (WHERE c.outcome NOT IN ('succeeded', 'given_up'))::bigint AS failed_attempts
               FROM openregister_webhooks.webhook_count c
               WHERE c.day > (clock_timestamp() AT TIME ZONE 'UTC')::date - 30 GROUP BY c.webhook) c ON c.webhook = w.id
    LEFT JOIN openregister_webhooks.webhook_health h ON h.webhook = w.id;

-- The tables that are known, and whether an enabled trigger of ours is on each.
CREATE OR REPLACE VIEW openregister_webhooks.show_tables AS
    SELECT k.tbl AS table_name, coalesce(t.tgenabled IN ('O', 'A'), false) AS captured, k.first_seen,
           greatest(c.reltuples, 0)::bigint AS estimated_rows
    FROM openregister_webhooks.captured_table k
    LEFT JOIN pg_class c ON c.oid = k.relid
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'openregister_webhooks_capture' AND NOT t.tgisinternal;

CREATE OR REPLACE VIEW openregister_webhooks.show_workers AS
    SELECT w.id::text AS id, w.name, w.alive_until > clock_timestamp() AS alive,
           (SELECT count(*) FROM openregister_webhooks.webhook_owner o WHERE o.worker = w.id) AS webhooks,
           w.started_at, w.beat_at, w.alive_until
    FROM openregister_webhooks.worker w;

CREATE OR REPLACE VIEW openregister_webhooks.show_gaps AS
    SELECT g.id, g.tbl AS table_name, g.since, g.until, g.cause, g.reason, g.remedy, g.at AS recorded_at, g.told_at AS announced_at
    FROM openregister_webhooks.gap g;

CREATE OR REPLACE VIEW openregister_webhooks.show_jobs AS
    SELECT j.id, j.kind, j.webhook, j.state, j.expected, j.seen, j.enqueued, j.note, j.waiting, j.who AS started_by, j.created_at, j.finished_at
    FROM openregister_webhooks.job j;

-- What the runtime role may do with our relations; what is not here it may not. Partitions are reached through their tables.
CREATE OR REPLACE VIEW openregister_webhooks.runtime_right AS
    SELECT c.oid AS relid, c.relkind, r.privilege, CASE WHEN c.relname = 'audit' AND r.privilege = 'INSERT' THEN 'who, client, action, webhook_id, detail' END AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL unnest(CASE
        WHEN c.relkind = 'S' THEN ARRAY['USAGE']
        WHEN c.relkind = 'v' OR c.relname IN ('settings', 'captured_table', 'granted', 'migration') THEN ARRAY['SELECT']
        WHEN c.relname = 'audit' THEN ARRAY['SELECT', 'INSERT']
        WHEN c.relname = 'registry' THEN ARRAY['SELECT', 'UPDATE']
        WHEN c.relname = 'master_key' THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']   -- UPDATE: LOCK TABLE wants it
        WHEN c.relname IN ('change_0', 'change_1', 'change_2', 'change_adopted', 'position_0', 'position_1')
            THEN ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']
        ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) AS r (privilege)
    WHERE n.nspname = 'openregister_webhooks' AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition;

-- Lets the runtime role do its work in our schema, and nothing beyond: what runtime_right says, and the functions above but those that
-- only an owner calls; nor the trigger functions, which it could put on a table of its own, with casts of its own, to run them
-- with the owner's rights. What it, or the runtime role before it, was given by an earlier version is taken back.
CREATE OR REPLACE FUNCTION openregister_webhooks.grant_runtime() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    runtime text := (SELECT s.runtime_role FROM openregister_webhooks.settings s);
    former  text;
    given   record;
BEGIN
    IF runtime IS NULL THEN
        RETURN;
    END IF;
    FOR former IN SELECT r.rolname FROM pg_roles r
                  WHERE (r.rolname = runtime OR r.rolname IN (SELECT g.role FROM openregister_webhooks.granted g)) AND r.rolname <> current_user LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA openregister_webhooks FROM %I', former);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA openregister_webhooks FROM %I', former);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA openregister_webhooks FROM %I', former);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA openregister_webhooks FROM %I', former);
    END LOOP;
    IF runtime = current_user THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA openregister_webhooks TO %I', runtime);
    FOR given IN SELECT r.privilege || coalesce(' (' || r.columns || ')', '') AS privilege, CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END AS class, r.relid::regclass AS name
                 FROM openregister_webhooks.runtime_right r LOOP
        EXECUTE format('GRANT %s ON %s%s TO %I', given.privilege, given.class, given.name, runtime);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA openregister_webhooks TO %I', runtime);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION openregister_webhooks.capture(), openregister_webhooks.capture_object(), openregister_webhooks.capture_audit(), '
        'openregister_webhooks.store(text, "char", text, text, text), openregister_webhooks.store_unusual(text, text, text, text, text), openregister_webhooks.appconfig_hook(), openregister_webhooks.check_sealed(), '
        'openregister_webhooks.grant_runtime(), openregister_webhooks.detach(text), openregister_webhooks.grant_lookup(text), openregister_webhooks.revoke_lookup(text), '
        'openregister_webhooks.lookups(), openregister_webhooks.outdated_lookups(), openregister_webhooks.set_capture_all(boolean) FROM %I', runtime);
END $$;

-- Days of the log with few rows get at once what indexes they miss; the others get them while the sidecar runs.
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN openregister_webhooks.index_log(8388608) = 0;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA openregister_webhooks FROM PUBLIC;
