//! What capture is compared with: the least that a trigger can do, and the trigger of the textbooks.

use crate::server::Database;

/// One INSERT with two `row_to_json`, into a table without an index. It captures, but guarantees nothing.
const MINIMAL: &str = "
    CREATE TABLE minimal_change (tbl text, op text, old json, new json, at timestamptz);
    CREATE FUNCTION minimal() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO minimal_change VALUES (TG_TABLE_NAME, TG_OP, row_to_json(OLD), row_to_json(NEW), clock_timestamp());
        RETURN NULL;
    END $$;
    CREATE TRIGGER minimal AFTER INSERT OR UPDATE OR DELETE ON oc_openregister_table_1_1
        FOR EACH ROW EXECUTE FUNCTION minimal()";

/// A sequence, `jsonb`, and a NOTIFY in every transaction. Nobody listens, which is to its advantage.
const TEXTBOOK: &str = "
    CREATE TABLE textbook_change (id bigserial PRIMARY KEY, tbl text, op text, old jsonb, new jsonb, at timestamptz DEFAULT now());
    CREATE FUNCTION textbook() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        number bigint;
    BEGIN
        INSERT INTO textbook_change (tbl, op, old, new) VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW))
            RETURNING id INTO number;
        PERFORM pg_notify('textbook', number::text);
        RETURN NULL;
    END $$;
    CREATE TRIGGER textbook AFTER INSERT OR UPDATE OR DELETE ON oc_openregister_table_1_1
        FOR EACH ROW EXECUTE FUNCTION textbook()";

pub(crate) async fn install_minimal(database: &Database) {
    database.connect().await.batch_execute(MINIMAL).await.unwrap();
}

pub(crate) async fn install_textbook(database: &Database) {
    database.connect().await.batch_execute(TEXTBOOK).await.unwrap();
}
