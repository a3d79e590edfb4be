#!/bin/sh
# `php occ app:install openregister` makes OpenRegister's tables; another call of it changes nothing.
set -eu
case "$*" in "/var/www/html/occ app:install openregister" | "/var/www/html/occ app:enable openregister") ;; *) exit 64 ;; esac
PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
export PGPASSWORD
cat /srv/openregister-0.2.13.sql /srv/seed.sql |
    psql --set=ON_ERROR_STOP=1 --quiet --single-transaction --host "$POSTGRES_HOST" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" >/dev/null
echo "openregister enabled"
