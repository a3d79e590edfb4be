"""Keeps a table in another PostgreSQL equal to OpenRegister's objects, from webhooks of openregister-webhooks.

Each event of an object carries its whole state, and `ORW-Sequence` ascends with the changes of an object. So a row is replaced if the event is
newer than the row, and left alone otherwise. That makes a repeat, and an old event that is retried by hand, harmless: no list of the
deliveries that were received is needed. A deleted object leaves a row without data, so that no older event brings it back.
"""

import json
import os
from pathlib import Path

from flask import Flask, request
from psycopg import OperationalError
from psycopg_pool import ConnectionPool, PoolTimeout
from standardwebhooks import Webhook
from waitress import serve

# The signing secret of the webhook, whsec_…, in a file that only this program may read.
SECRET = Path(os.environ.get("WEBHOOK_SECRET_FILE", "secret")).read_text(encoding="ascii").strip()
DATABASE_URL = os.environ["DATABASE_URL"]
PORT = int(os.environ.get("PORT", "9005"))
# An update carries an object three times. A larger body gets 413; it is sent again, and given up in the end.
LARGEST_BODY = 16 * 1024 * 1024

SCHEMA = """
CREATE TABLE IF NOT EXISTS openregister_object (
    uuid text PRIMARY KEY,
    register text,                    -- slugs, as in the event
    schema text,
    register_id bigint,
    schema_id bigint,
    data json,                        -- the properties, with every digit as it came
    organisation text,
    created timestamptz,
    updated timestamptz,
    sequence bigint NOT NULL,         -- ORW-Sequence of the event that this row is from
    deleted_at timestamptz            -- if it was deleted: when this was learnt
);
CREATE OR REPLACE VIEW openregister_current AS
    SELECT uuid, register, schema, data, organisation, created, updated FROM openregister_object WHERE deleted_at IS NULL;
CREATE TABLE IF NOT EXISTS openregister_gap (
    webhook_id text PRIMARY KEY, gap json NOT NULL, learnt_at timestamptz NOT NULL DEFAULT now()
);
-- Nothing older can come any more: the sidecar keeps events for three days, unless it was configured otherwise.
DELETE FROM openregister_object WHERE deleted_at < now() - interval '30 days';
"""

APPLY = """
INSERT INTO openregister_object AS mine
       (uuid, register, schema, register_id, schema_id, data, organisation, created, updated, sequence, deleted_at)
SELECT o->>'uuid', o->>'register', o->>'schema', (o->>'registerId')::bigint, (o->>'schemaId')::bigint,
       CASE WHEN NOT %(deleted)s THEN o->'data' END, o->>'organisation', (o->>'created')::timestamptz,
       (o->>'updated')::timestamptz, %(sequence)s, CASE WHEN %(deleted)s THEN now() END
FROM (SELECT %(body)s::json->'data'->'object') AS event (o)
ON CONFLICT (uuid) DO UPDATE SET
       register = excluded.register, schema = excluded.schema, register_id = excluded.register_id,
       schema_id = excluded.schema_id, data = excluded.data, organisation = excluded.organisation,
       created = excluded.created, updated = excluded.updated, sequence = excluded.sequence, deleted_at = excluded.deleted_at
WHERE mine.sequence < excluded.sequence
"""
GAP = "INSERT INTO openregister_gap (webhook_id, gap) VALUES (%s, %s) ON CONFLICT DO NOTHING"

webhook = Webhook(SECRET)
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
# No wait is longer than 5 s, so that the answer comes within the webhook's timeout of 15 s.
pool = ConnectionPool(
    DATABASE_URL,
    kwargs={"connect_timeout": 5, "options": "-c statement_timeout=5s"},
    min_size=1,
    max_size=8,
    timeout=5,
    check=ConnectionPool.check_connection,
    open=False,
)


def apply(webhook_id, event, body, sequence):
    """Changes the row of the object; False if the row was as new as the event."""
    with pool.connection() as database:  # commits at the end, or rolls back
        if event["event"] == "openregister-webhooks.gap":
            # Events may be missing. A backfill sends the state of all objects; `check.py --repair` finds those that are gone.
            database.execute(GAP, (webhook_id, json.dumps(event["data"]["gap"])))
            app.logger.warning("GAP: %s: %s", event["data"]["gap"]["reason"], event["data"]["gap"]["remedy"])
            return True
        if not event["data"].get("object", {}).get("uuid"):
            return False  # an event of another kind of entity: register the webhook for `Object*` alone
        deleted = event["event"].endswith(r"\ObjectDeletedEvent")
        done = database.execute(APPLY, {"body": body, "sequence": sequence, "deleted": deleted})
        return done.rowcount == 1


@app.post("/hook")
def hook():
    body = request.get_data()  # the bytes as they came: the signature covers them
    try:
        # Also refuses what was signed more than five minutes ago.
        event = webhook.verify(body, dict(request.headers))
    except Exception as error:  # whatever a stranger's request makes the library raise: it is not verified
        return f"not accepted: {error}\n", 401
    if request.headers.get("ORW-Reason") == "test":
        return "", 204  # `openregister-webhooks webhook test`: nothing has happened
    try:
        new = apply(request.headers["webhook-id"], event, body.decode(), int(request.headers["ORW-Sequence"]))
    except (OperationalError, PoolTimeout) as error:  # the database is away: it is sent again later
        app.logger.error("not stored: %s", error)
        return "try again later\n", 503
    print("stored" if new else "repeat", request.headers["webhook-id"], event["event"], flush=True)
    return "", 204


if __name__ == "__main__":
    pool.open(wait=True, timeout=10)
    with pool.connection() as prepared:
        prepared.execute(SCHEMA)
    serve(app, host="127.0.0.1", port=PORT, threads=8, channel_timeout=30)
