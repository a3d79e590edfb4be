"""Proves that the table of sync.py is equal to OpenRegister's objects: the same uuids, and the same content of each.

    SOURCE_DATABASE_URL=URL-OF-NEXTCLOUDS-DATABASE COPY_DATABASE_URL=URL-OF-THE-COPY python check.py

It reads Nextcloud's tables themselves, not events, and decides by rules of its own. Both sides are read in the order of the uuid, so it
needs little memory, however many objects there are. Nextcloud may go on writing: objects that differ are looked at again until they are
equal or `--wait` is over. The flags `--source` and `--copy` take the URLs as well, but every user of the machine can read flags in the list
of processes.

Exit codes: 0 they are equal, 1 they differ, 2 it could not be found out.
"""

import argparse
import json
import os
import re
import sys
import time
from datetime import datetime, timezone
from decimal import Decimal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

MOST_DIFFERENCES = 10_000
EMPTY = (None, "", [], {})
TRUE, FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no", "")


def tables(source, prefix, register):
    """OpenRegister's tables of objects: one for each register and schema, and the one for all of them."""
    pattern = f"^{re.escape(prefix)}openregister_(table_[0-9]+_[0-9]+|objects)$"
    found = source.execute(
        "SELECT c.oid::regclass::text, c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ %s"
        " AND pg_table_is_visible(c.oid) ORDER BY 1",
        (pattern,),
    )
    found = [(sql.SQL(table), name, name.endswith("openregister_objects")) for table, name in found]
    wanted = f"{prefix}openregister_table_{register}_"
    return [(table, old) for table, name, old in found if old or register is None or name.startswith(wanted)]


def source_query(found):
    """Of every object its uuid, its properties, and whether it is deleted; those of 0.2.13 and later begin columns with `_`."""
    new = """SELECT o._uuid::text, row_to_json(o)::text, o._deleted::text, false FROM {} o
             WHERE (%(uuids)s::text[] IS NULL OR o._uuid = ANY(%(uuids)s))"""
    old = """SELECT o.uuid::text, o.object::text, o.deleted::text, true FROM {} o
             WHERE (%(uuids)s::text[] IS NULL OR o.uuid = ANY(%(uuids)s))
               AND (%(register)s::text IS NULL OR o.register = %(register)s::text)"""
    parts = [sql.SQL(old if is_old else new).format(table) for table, is_old in found]
    # An object may be in both kinds of table while OpenRegister moves it: the new one counts.
    everything = sql.SQL(" UNION ALL ").join(parts)
    return sql.SQL('SELECT * FROM ({}) AS objects (uuid, content, deleted, old) ORDER BY uuid COLLATE "C", old').format(everything)


COPY = """SELECT uuid, data::text, sequence FROM openregister_object
          WHERE deleted_at IS NULL AND (%(uuids)s::text[] IS NULL OR uuid = ANY(%(uuids)s))
            AND (%(register)s::bigint IS NULL OR register_id = %(register)s) ORDER BY uuid COLLATE "C\""""


def parsed(text):
    return json.loads(text, parse_float=Decimal, parse_int=Decimal) if text is not None else None


def column_name(prop):
    """The column that OpenRegister stores a property in: firstName, first_name."""
    name = re.sub(rb"(?<=[a-z0-9])(?=[A-Z])", b"_", prop.encode()).lower()
    return re.sub(rb"[^a-z0-9]+", b"_", name).rstrip(b"_")[:63].decode()


def plain(value):
    """The value without the forms that say the same: JSON as a text, times with and without an offset, empty containers."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return plain(parsed(value))
        except ValueError:
            return value
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d|$)", value):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()} or []
    return value


def same(one, other):
    """Whether two values of a property say the same, where a column's type is not the one that the schema gives the property."""
    one, other = plain(one), plain(other)
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    if isinstance(other, bool):
        one, other = other, one
    if isinstance(one, bool):
        return str(other).lower() in (TRUE if one else FALSE)
    return isinstance(one, Decimal) != isinstance(other, Decimal) and str(one) == str(other)


def equal(content, old, data):
    """Whether an object's row says what the copy says. A property without a value may be left out."""
    source, copy = parsed(content), parsed(data)
    if copy is None:
        return False
    if old:
        source, copy = dict(source or {}), dict(copy)
        source.pop("id", None)
        copy.pop("id", None)
    else:
        copy = {column_name(name): value for name, value in copy.items()}
        # What OpenRegister says about the object begins with `_`; so may the column of a property that begins with a special letter.
        source = {name: value for name, value in source.items() if not name.startswith("_") or name in copy}
        unnamed = {column_name(name): name for name in source}
        source = {column: source[name] for column, name in unnamed.items()}
    return all(
        same(source.get(name), copy.get(name)) or (source.get(name) in EMPTY and copy.get(name) in EMPTY)
        for name in source.keys() | copy.keys()
    )


def source_objects(source, found, only):
    """(uuid, content, old) of every object that is not deleted, by uuid."""
    last = None
    with source.cursor(name="source") as cursor:
        cursor.itersize = 500
        cursor.execute(source_query(found), only)
        for uuid, content, deleted, old in cursor:
            if uuid != last and parsed(deleted) in EMPTY:
                last = uuid
                yield uuid, content, old


def copied_objects(copy, only):
    with copy.cursor(name="copy") as cursor:
        cursor.itersize = 500
        cursor.execute(COPY, only)
        yield from cursor


def compare(source, copy, found, register, uuids=None):
    """The number of objects, and the differences: {uuid: (what, sequence of the row in the copy)}."""
    differences, count = {}, 0
    with source.transaction(), copy.transaction():
        only = {"uuids": uuids, "register": register}
        left, right = source_objects(source, found, only), copied_objects(copy, only)
        theirs, ours = next(left, None), next(right, None)
        while (theirs or ours) and len(differences) < MOST_DIFFERENCES:
            if ours is None or (theirs is not None and theirs[0].encode() < ours[0].encode()):
                differences[theirs[0]] = ("is not in the copy", None)
                theirs, count = next(left, None), count + 1
            elif theirs is None or ours[0].encode() < theirs[0].encode():
                differences[ours[0]] = ("is not in OpenRegister any more", ours[2])
                ours = next(right, None)
            else:
                if not equal(theirs[1], theirs[2], ours[1]):
                    differences[theirs[0]] = ("has another content in the copy", ours[2])
                theirs, ours, count = next(left, None), next(right, None), count + 1
    return count, differences


def repair(copy, gone):
    """Marks what OpenRegister does not have any more as deleted, unless an event has changed the row meanwhile."""
    statement = "UPDATE openregister_object SET deleted_at = now(), data = NULL WHERE uuid = %s AND sequence = %s"
    with copy.transaction():
        return sum(copy.execute(statement, row).rowcount for row in gone.items())


def connect(url):
    """A connection; it waits for 10 s at most, unless the URL says otherwise."""
    return psycopg.connect(autocommit=True, **{"connect_timeout": 10, **conninfo_to_dict(url)})


def main():
    options = argparse.ArgumentParser(description="Compares the table of sync.py with OpenRegister's objects.")
    for flag, variable, what in (
        ("--source", "SOURCE_DATABASE_URL", "URL of Nextcloud's database, such as the sidecar's ORW_DATABASE_URL; only read"),
        ("--copy", "COPY_DATABASE_URL", "URL of the copy's database"),
    ):
        given = os.environ.get(variable)
        options.add_argument(flag, default=given, required=not given, help=f"{what}; better in the variable {variable}")
    options.add_argument("--prefix", default="oc_", help="the prefix of Nextcloud's tables")
    options.add_argument("--register", type=int, help="only the objects of the register with this numeric id")
    options.add_argument("--wait", type=float, default=60, help="how many seconds differences may take to go away")
    options.add_argument("--repair", action="store_true", help="mark as deleted in the copy what OpenRegister does not have any more")
    options = options.parse_args()
    with connect(options.source) as source, connect(options.copy) as copy:
        source.read_only = True
        found = tables(source, options.prefix, options.register)
        if not found:
            print("Nextcloud's database has no tables of OpenRegister that this role can see", file=sys.stderr)
            return 2
        count, differences = compare(source, copy, found, options.register)
        until = time.monotonic() + options.wait
        while differences and time.monotonic() < until:
            time.sleep(0.5)
            _, differences = compare(source, copy, found, options.register, list(differences))
        if options.repair:
            gone = {uuid: sequence for uuid, (what, sequence) in differences.items() if what.startswith("is not in OpenRegister")}
            print(f"{repair(copy, gone)} objects marked as deleted")
            differences = {uuid: what for uuid, what in differences.items() if uuid not in gone}
    for uuid, (what, _) in sorted(differences.items()):
        print(f"{uuid} {what}")
    if differences:
        more = " at least" if len(differences) >= MOST_DIFFERENCES else ""
        print(f"DIFFERENT: {count} objects compared,{more} {len(differences)} differ; a backfill sends them again")
        return 1
    print(f"EQUAL: {count} objects")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except psycopg.Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
