#!/bin/sh
# Tests the image as an administrator uses it: PostgreSQL, the sidecar (read-only, not root, no capabilities) and a receiver in containers
# on a network of their own. Installs, registers, writes a row, receives the signed event, stops and starts each container in turn while
# rows are written, and looks that every row that was committed has arrived. At the end nothing is left. Builds the image first, unless
# IMAGE names one. POSTGRES_IMAGE names another PostgreSQL.
. "$(dirname "$0")/common.sh"
find_engine || { say "SKIPPED: test-image: neither docker nor podman works here"; exit 0; }
command -v curl >/dev/null 2>&1 || fail "curl is not installed"
[ -n "${IMAGE:-}" ] || scripts/image.sh
image=${IMAGE:-openregister-webhooks:latest}

id=orw-test-$$
work=$(mktemp -d)
clean() {
    for name in sidecar receiver db install; do "$engine" rm --force --volumes "$id-$name" >/dev/null 2>&1 || true; done
    "$engine" network rm "$id" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
show_logs() {
    for name in db sidecar receiver; do say "-- log of $name"; "$engine" logs --tail 20 "$id-$name" || true; done
}

postgres=${POSTGRES_IMAGE:-docker.io/library/postgres:17}
if ! "$engine" image inspect "$postgres" >/dev/null 2>&1 && ! "$engine" pull --quiet "$postgres" >/dev/null 2>&1; then
    say "$postgres cannot be had here: a PostgreSQL of Debian takes its place"
    postgres=openregister-webhooks-test-postgres
    # shellcheck disable=SC2086  # several arguments are meant
    quietly "$engine" build ${IMAGE_BUILD_ARGS:-} --file tests/image/postgres.Dockerfile --tag "$postgres" tests/image
fi

step "secrets"
mkdir -m 0755 "$work/secrets"
put() { cat >"$work/secrets/$1" && chmod 0444 "$work/secrets/$1"; }
password=$(random)
owner=$(random)
runtime=$(random)
secret=whsec_$(head -c 32 /dev/urandom | base64)
random | put postgres_password
echo "$owner" | put nextcloud_db_password
echo "$runtime" | put sidecar_db_password
echo "postgres://nextcloud:$owner@db:5432/nextcloud?sslmode=disable" | put owner_database_url
echo "postgres://openregister_webhooks:$runtime@db:5432/nextcloud?sslmode=disable" | put sidecar_database_url
head -c 32 /dev/urandom | base64 | put master_key
echo "$secret" | put receiver_secret
echo "$password" | "$engine" run --rm --interactive --network none "$image" hash-password admin | put admins
secrets="--volume $work/secrets:/run/secrets:ro,z"

step "PostgreSQL with OpenRegister's tables"
"$engine" network create "$id" >/dev/null
# shellcheck disable=SC2086
"$engine" run --detach --name "$id-db" --network "$id" --network-alias db $secrets --volume "$PWD/docker/initdb:/docker-entrypoint-initdb.d:ro,z" \
    --env POSTGRES_DB=nextcloud --env POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password "$postgres" >/dev/null
sql() { "$engine" exec --interactive "$id-db" psql --username nextcloud --dbname nextcloud --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }
accepts() { "$engine" exec "$id-db" pg_isready --host=127.0.0.1 --username=nextcloud --dbname=nextcloud; }
until_true "PostgreSQL accepts connections" accepts
cat crates/testkit/src/sql/openregister-0.2.13.sql crates/testkit/src/sql/seed.sql | sql >/dev/null

# Read-only, without rights, without capabilities; nothing that it could write to, and little memory.
confined="--read-only --cap-drop ALL --security-opt no-new-privileges --memory 256m"
case "$engine" in *podman) confined="$confined --read-only-tmpfs=false" ;; esac

step "install, as the owner of the tables"
# shellcheck disable=SC2086
"$engine" run --rm --name "$id-install" --network "$id" $secrets $confined --env ORW_DATABASE_URL_FILE=/run/secrets/owner_database_url \
    "$image" install --runtime-role openregister_webhooks >"$work/installed"
grep -q 'tables are captured' "$work/installed" || fail "install did not say what it captured"

step "receiver and sidecar"
# shellcheck disable=SC2086
"$engine" run --detach --name "$id-receiver" --network "$id" --network-alias receiver $secrets $confined \
    "$image" receive --address 0.0.0.0 --port 9000 --secret @/run/secrets/receiver_secret >/dev/null
began=$(date +%s%3N)
# shellcheck disable=SC2086
"$engine" run --detach --name "$id-sidecar" --network "$id" --publish 127.0.0.1::8085 --stop-timeout 30 $secrets $confined \
    --env ORW_DATABASE_URL_FILE=/run/secrets/sidecar_database_url --env ORW_MASTER_KEY_FILE=/run/secrets/master_key \
    --env ORW_ADMINS_FILE=/run/secrets/admins --env ORW_TARGETS_ALLOW=receiver --env ORW_TARGETS_ALLOW_HTTP=true \
    --env ORW_RETRY_SCHEDULE=1s,1s,2s,5s,5s,5s,10s,10s,10s,30s "$image" >/dev/null
health() { "$engine" exec "$id-sidecar" openregister-webhooks health; }
until_true "the sidecar is ready" health
ready=$(date +%s%3N)
"$engine" inspect --format '{{json .Config.Healthcheck}}' "$id-sidecar" | grep -q '"health"' || fail "the image has no health check"
"$engine" exec "$id-sidecar" sh -c true >/dev/null 2>&1 && fail "the image has a shell"

step "what the process may do"
pid=$("$engine" inspect --format '{{.State.Pid}}' "$id-sidecar")
if [ -r "/proc/$pid/status" ]; then
    status=$(cat "/proc/$pid/status")
    echo "$status" | grep -Eq '^Uid:[[:space:]]+[1-9]' || fail "the sidecar runs as root"
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        echo "$status" | grep -Eq "^$set:[[:space:]]+0+\$" || fail "the sidecar has capabilities: $set"
    done
    echo "$status" | grep -Eq '^NoNewPrivs:[[:space:]]+1$' || fail "the sidecar can get new privileges"
else
    say "SKIPPED: test-image: rights of the process, because this machine does not show the container's processes"
fi
[ "$("$engine" inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$id-sidecar")" = true ] || fail "its file system can be written to"

step "the manual's curl, and a first event"
# The port changes when the container is started again.
api() { echo "http://$("$engine" port "$id-sidecar" 8085/tcp | head -n 1)"; }
printf 'user = "admin:%s"\n' "$password" >"$work/curl"
curl --silent --show-error --fail --config "$work/curl" --output "$work/registered" -X POST "$(api)/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks" \
    -H "OCS-APIRequest: true" -H "Content-Type: application/json" \
    -d '{"httpMethod": "POST", "uri": "http://receiver:9000/hook", "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent",
         "eventFilter": [], "secret": "'"$secret"'"}' || fail "the registration failed: $(cat "$work/registered")"
uuid() { printf '00000000-0000-4000-8000-%012d' "$1"; }
# Writes row number $1, and notes its uuid if it was committed.
write() {
    echo "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name)
          VALUES ('$(uuid "$1")', '1', '1', now(), now(), 'Ada') RETURNING _uuid" | sql 2>/dev/null >"$work/answer" &&
        [ -s "$work/answer" ] && cat "$work/answer" >>"$work/committed"
}
requests() { "$engine" logs "$id-receiver" 2>&1 | grep -c 'POST /hook' || true; }
# Whether every row that was committed has arrived.
complete() {
    "$engine" logs "$id-receiver" 2>&1 | grep -o '"uuid": "00000000-[^"]*"' | cut -d '"' -f 4 | sort -u >"$work/arrived"
    [ -s "$work/arrived" ] && ! grep -qvxFf "$work/arrived" "$work/committed"
}
: >"$work/committed"
write 1 || fail "the first row cannot be written"
until_true "the first event arrives" complete
"$engine" logs "$id-receiver" 2>&1 | grep -q 'POST /hook  ObjectCreatedEvent .*signature good' || fail "its signature is not good"

number=1
# Stops or kills a container and starts it again, with a writer at work all the time.
again() {
    step "$1: $2, start"
    ( from=$number; while [ -e "$work/writing" ]; do from=$((from + 1)); echo "$from" >"$work/number"; write "$from" || sleep 0.2; done ) &
    writer=$!
    sleep 1
    "$engine" "$2" "$id-$1" >/dev/null
    sleep 1
    "$engine" start "$id-$1" >/dev/null
    until_true "PostgreSQL accepts connections" accepts
    until_true "the sidecar is ready" health
    sleep 1
    rm -f "$work/writing"
    wait "$writer" || true
    number=$(cat "$work/number")
    until_true "every one of $(wc -l <"$work/committed") events has arrived" complete
}
for container in sidecar receiver db; do
    for how in stop kill; do
        : >"$work/writing"
        again "$container" "$how"
    done
done
"$engine" logs "$id-receiver" 2>&1 | grep 'POST /hook' | grep -v 'signature good' && fail "a signature was not good"

step "figures"
pid=$("$engine" inspect --format '{{.State.Pid}}' "$id-sidecar")
memory=$(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null || true)
size=$("$engine" image inspect --format '{{.Size}}' "$image")
say "image $((size / 1000 / 1000)) MB; ready $((ready - began)) ms after its container was created; $((${memory:-0} / 1024)) MiB resident;" \
    "$(wc -l <"$work/committed") rows committed, $(wc -l <"$work/arrived") of them arrived, in $(requests) requests"

step "taking all down"
clean
trap - EXIT
left=$("$engine" ps --all --format '{{.Names}}' | grep "^$id" || true)
left="$left$("$engine" network ls --format '{{.Name}}' | grep "^$id" || true)"
[ -z "$left" ] || fail "something is left: $left"
say "test-image: passed"
