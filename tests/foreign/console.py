"""The SQL console with psycopg, as it is: console.py CONNECTION; the connection's user is a reader."""

import datetime
import sys

import psycopg

with psycopg.connect(sys.argv[1]) as connection:
    assert connection.info.dbname == "console"
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            # Within a transaction that psycopg begins by itself, and prepared after some runs.
            for _ in range(8):
                webhooks = cursor.execute("SHOW WEBHOOKS").fetchall()
                names = [column.name for column in cursor.description]
            first = dict(zip(names, webhooks[0]))
            assert isinstance(first["id"], int), first
            assert isinstance(first["created_at"], datetime.datetime), first
            assert first["created_at"].utcoffset() == datetime.timedelta(0), first
            found = cursor.execute("SHOW DELIVERIES WEBHOOK %s LIMIT %s", (first["id"], 5)).fetchall()
            assert found == [], found
            assert isinstance(cursor.execute("SHOW WORKERS").fetchone()[2], bool)
    try:
        connection.execute("PAUSE %s", (first["id"],))
    except psycopg.errors.InsufficientPrivilege as error:
        assert "may only look" in str(error), error
    else:
        raise AssertionError("a reader changed something")
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)
print("ok")
