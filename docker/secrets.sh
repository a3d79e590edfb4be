#!/bin/sh
# Makes the passwords and keys of docker/compose.yaml in docker/secrets, each in a file of its own. A file that exists is kept, so this
# can be run again. Keep the directory: without master_key the secrets of webhooks are lost.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

for engine in ${CONTAINER_ENGINE:-docker podman}; do
    "$engine" info >/dev/null 2>&1 && break
    engine=
done
[ -n "$engine" ] || { echo "error: neither docker nor podman works here" >&2; exit 1; }
image=${ORW_IMAGE:-openregister-webhooks:latest}

# The files are read by users that exist in the containers only, so everybody may read them who gets that far: nobody but you enters
# the directory.
put() { cat >"$1.new" && chmod 0444 "$1.new" && mv -f "$1.new" "$1"; }
random() { od -A n -N 24 -t x1 /dev/urandom | tr -d ' \n'; }

for name in postgres_password nextcloud_db_password nextcloud_admin_password sidecar_db_password admin_password; do
    [ -s "$name" ] || random | put "$name"
done
[ -s master_key ] || head -c 32 /dev/urandom | base64 | put master_key
[ -s receiver_secret ] || echo "whsec_$(head -c 32 /dev/urandom | base64)" | put receiver_secret
[ -s owner_database_url ] ||
    echo "postgres://nextcloud:$(cat nextcloud_db_password)@db:5432/nextcloud?sslmode=disable" | put owner_database_url
[ -s sidecar_database_url ] ||
    echo "postgres://openregister_webhooks:$(cat sidecar_db_password)@db:5432/nextcloud?sslmode=disable" | put sidecar_database_url
if ! [ -s admins ]; then
    entry=$("$engine" run --rm --interactive --network none "$image" hash-password admin <admin_password) ||
        { echo "error: $image does not run; build it first: docker compose -f docker/compose.yaml build, or make image" >&2; exit 1; }
    echo "$entry" | put admins
fi
echo "docker/secrets holds the passwords; the sidecar's administrator is admin, the password is in docker/secrets/admin_password"
