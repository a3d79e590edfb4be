#!/bin/sh
# Runs once, when PostgreSQL makes its data directory: the role that owns Nextcloud's tables, and the role that the sidecar runs as.
# Nextcloud would make a role of its own if it could, so its role may not make any.
set -eu
psql --set=ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\set nextcloud `cat /run/secrets/nextcloud_db_password`
\set sidecar `cat /run/secrets/sidecar_db_password`
CREATE ROLE nextcloud LOGIN PASSWORD :'nextcloud';
CREATE ROLE openregister_webhooks LOGIN PASSWORD :'sidecar';
ALTER DATABASE nextcloud OWNER TO nextcloud;
SQL
