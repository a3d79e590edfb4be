"""Receives webhooks of openregister-webhooks: verifies each, and stores it exactly once.

A delivery may come more than once: after a timeout, a crash on either side, or a replay. Its `webhook-id` is the same every time. So the
id and everything that the delivery changes are written in one transaction, before the answer. After a crash either both are there or
neither is, and if the answer was lost, the repeat finds the id and changes nothing.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from flask import Flask, request
from standardwebhooks import Webhook
from waitress import serve

# The signing secret of the webhook, whsec_…, in a file that only this program may read.
SECRET = Path(os.environ.get("WEBHOOK_SECRET_FILE", "secret")).read_text(encoding="ascii").strip()
DATABASE = os.environ.get("DATABASE", "webhooks.sqlite")
PORT = int(os.environ.get("PORT", "9001"))
# An update carries an object three times. A larger body gets 413; it is sent again, and given up in the end.
LARGEST_BODY = 16 * 1024 * 1024

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS inbox (webhook_id TEXT PRIMARY KEY, received_at INTEGER NOT NULL DEFAULT (unixepoch()));
CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, event TEXT NOT NULL, uuid TEXT, body TEXT NOT NULL);
"""
# Ids are kept for longer than the sidecar can send a delivery again (three days, unless it was configured otherwise).
FORGET = """DELETE FROM inbox WHERE webhook_id IN
            (SELECT webhook_id FROM inbox WHERE received_at < unixepoch() - 30 * 86400 LIMIT 10)"""

webhook = Webhook(SECRET)
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY


def connect():
    # Waits at most 5 s for another writer, so that the answer comes within the webhook's timeout of 15 s.
    return closing(sqlite3.connect(DATABASE, timeout=5, isolation_level=None))


def store(webhook_id, event, body):
    """Writes the id and the effect together. False if the delivery has been here before."""
    with connect() as database, database:  # commits at the end, or rolls back
        database.execute("BEGIN IMMEDIATE")
        new = database.execute("INSERT INTO inbox (webhook_id) VALUES (?) ON CONFLICT DO NOTHING", (webhook_id,))
        if new.rowcount == 0:
            return False
        # The effect. Replace it with your own, in this transaction.
        uuid = event["data"].get("object", {}).get("uuid")
        database.execute("INSERT INTO journal (event, uuid, body) VALUES (?, ?, ?)", (event["event"], uuid, body))
        database.execute(FORGET)
        return True


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
        new = store(request.headers["webhook-id"], event, body.decode())
    except sqlite3.OperationalError as error:  # locked, or the disk is full: it is sent again later
        app.logger.error("not stored: %s", error)
        return "try again later\n", 503
    print("stored" if new else "repeat", request.headers["webhook-id"], event["event"], flush=True)
    return "", 204


if __name__ == "__main__":
    with connect() as prepared:
        prepared.executescript(SCHEMA)
    # A server that is made for production; it reads a request whole before it calls `hook`.
    serve(app, host="127.0.0.1", port=PORT, threads=8, channel_timeout=30)
