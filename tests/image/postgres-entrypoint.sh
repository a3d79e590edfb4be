#!/bin/sh
# Makes the data directory at the first start, runs what lies in /docker-entrypoint-initdb.d, and becomes the server.
set -eu
data=/var/lib/postgresql/data
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PATH
if [ "$(id -u)" -eq 0 ]; then
    mkdir -p "$data"
    chown postgres "$data"
    chmod 0700 "$data"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if ! [ -s "$data/PG_VERSION" ]; then
    password=${POSTGRES_PASSWORD_FILE:-}
    if [ -z "$password" ]; then
        password=$(mktemp)
        printf '%s' "$POSTGRES_PASSWORD" >"$password"
    fi
    initdb --pgdata="$data" --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --no-sync >/dev/null
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    pg_ctl --pgdata="$data" --options="-c listen_addresses='' -k /var/run/postgresql" --wait start >/dev/null
    [ "${POSTGRES_DB:-postgres}" = postgres ] || createdb "$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) sh "$file" ;;
            *.sql) psql --set=ON_ERROR_STOP=1 --quiet --dbname "${POSTGRES_DB:-postgres}" --file "$file" ;;
        esac
    done
    pg_ctl --pgdata="$data" --mode=fast --wait stop >/dev/null
fi
exec postgres -D "$data" -c listen_addresses='*' "$@"
