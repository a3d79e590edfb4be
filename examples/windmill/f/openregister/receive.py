# requirements:
# psycopg[binary]==3.3.9
# standardwebhooks==1.1.0
# wmill==1.850.0

# Receives webhooks of openregister-webhooks in Windmill: verifies each, and stores it exactly once.
#
# Windmill answers 200 if a script fails, unless the script says another status. So `main` catches every error and answers 401 or 503: the
# sidecar then sends the delivery again. For the same reason nothing is verified in `preprocessor`.

import psycopg
import wmill
from standardwebhooks import Webhook

# A secret variable with the signing secret of the webhook (whsec_…), and a resource of the type postgresql.
SECRET = "f/openregister/webhook_secret"
DATABASE = "f/openregister/database"

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (webhook_id text PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
CREATE TABLE IF NOT EXISTS journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event text NOT NULL, uuid text, body json NOT NULL
)
"""
# Ids are kept for longer than the sidecar can send a delivery again (three days, unless it was configured otherwise).
FORGET = """
DELETE FROM inbox WHERE webhook_id IN (
    SELECT webhook_id FROM inbox WHERE received_at < now() - interval '30 days' LIMIT 10 FOR UPDATE SKIP LOCKED
)
"""


def preprocessor(event: dict):
    """Windmill calls this with the request; what it returns are the arguments of `main`."""
    return {"raw": event.get("raw_string"), "headers": event.get("headers")}


def main(raw: str, headers: dict):
    try:
        webhook = Webhook(wmill.get_variable(SECRET))
        try:
            # The text as it came: the signature covers it. Also refuses what was signed more than five minutes ago.
            event = webhook.verify(raw.encode(), headers)
        except Exception as error:  # whatever a stranger's request makes the library raise: it is not verified
            return answer(401, f"not accepted: {error}")
        headers = {name.lower(): value for name, value in headers.items()}
        if headers.get("orw-reason") == "test":
            return answer(200, "test")  # `openregister-webhooks webhook test`: nothing has happened
        return answer(200, "stored" if store(headers["webhook-id"], event, raw) else "repeat")
    except Exception as error:
        print(f"not stored: {error}")
        return answer(503, "try again later")


def answer(status: int, text: str):
    return {"windmill_status_code": status, "result": text}


def connect():
    """The resource's fields are those that Windmill's type postgresql has; a URL serves as well."""
    resource = wmill.get_resource(DATABASE)
    options = {"connect_timeout": 5, "options": "-c statement_timeout=5s"}
    if isinstance(resource, str):
        return psycopg.connect(resource, **options)
    known = {name: resource[name] for name in ("host", "port", "user", "password", "dbname", "sslmode") if resource.get(name)}
    return psycopg.connect(**known, **options)


def store(webhook_id: str, event: dict, raw: str) -> bool:
    """Writes the id and the effect in one transaction. False if the delivery has been here before."""
    with connect() as database:  # commits at the end, or rolls back
        if database.execute("SELECT to_regclass('journal')").fetchone() == (None,):
            database.execute(SCHEMA)
        inbox = database.execute("INSERT INTO inbox (webhook_id) VALUES (%s) ON CONFLICT DO NOTHING", (webhook_id,))
        if inbox.rowcount == 0:
            return False
        # The effect. Replace it with your own, in this transaction.
        uuid = event["data"].get("object", {}).get("uuid")
        database.execute("INSERT INTO journal (event, uuid, body) VALUES (%s, %s, %s)", (event["event"], uuid, raw))
        database.execute(FORGET)
        return True
