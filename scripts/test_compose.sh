#!/bin/sh
# Tests docker/compose.yaml and docker/compose.front.yaml as README describes them, from the secrets to the first event, with stand-ins for
# the images of Nextcloud and n8n (tests/image), so that it needs no other image than those that are built here.
. "$(dirname "$0")/common.sh"
find_engine || { say "SKIPPED: test-compose: neither docker nor podman works here"; exit 0; }
case "$engine" in
    *docker) compose="docker compose" ;;
    *) compose=podman-compose ;;
esac
$compose version >/dev/null 2>&1 || { say "SKIPPED: test-compose: $compose does not work here"; exit 0; }
image=${IMAGE:-openregister-webhooks:latest}
"$engine" image inspect "$image" >/dev/null 2>&1 || scripts/image.sh
# The ports are those of the file: on a machine where something else has them, this cannot run.
for port in 8080 8085 5678; do
    ! curl --silent --output /dev/null "http://127.0.0.1:$port/" || { say "SKIPPED: test-compose: port $port of this machine is taken"; exit 0; }
done

work=$(mktemp -d)
chmod 0755 "$work"
cp -R docker "$work/"
rm -rf "$work/docker/secrets"
cd "$work"
export ORW_IMAGE="$image" POSTGRES_IMAGE=openregister-webhooks-test-postgres NEXTCLOUD_IMAGE=openregister-webhooks-test-standin
export N8N_IMAGE="$NEXTCLOUD_IMAGE" CONTAINER_ENGINE="$engine"
root=$OLDPWD
only="-p orw-test-$$ -f docker/compose.yaml"
front="$only -f docker/compose.front.yaml"
clean() {
    cd "$work"
    # shellcheck disable=SC2086
    $compose $only --profile n8n down --volumes >/dev/null 2>&1 || true
    cd "$root"
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
# shellcheck disable=SC2086
show_logs() { $compose $only logs 2>&1 | tail -n 60; }

step "stand-ins"
# shellcheck disable=SC2086
quietly "$engine" build ${IMAGE_BUILD_ARGS:-} --file "$root/tests/image/postgres.Dockerfile" --tag "$POSTGRES_IMAGE" "$root/tests/image"
mkdir context && cp -R "$root/tests" "$root/crates" context/
# shellcheck disable=SC2086
quietly "$engine" build ${IMAGE_BUILD_ARGS:-} --file "$root/tests/image/standin.Dockerfile" --tag "$NEXTCLOUD_IMAGE" context

step "secrets, and everything up"
docker/secrets.sh
before=$(cksum docker/secrets/*)
docker/secrets.sh >/dev/null
[ "$before" = "$(cksum docker/secrets/*)" ] || fail "docker/secrets.sh changed what was there"
ready() { curl --silent --fail --output /dev/null http://127.0.0.1:8080/status.php; }
# shellcheck disable=SC2086
case "$compose $("$engine" wait --help 2>&1)" in
    "docker "* | *healthy*) quietly $compose $only --profile n8n up --detach ;;
    *)
        # Podman before 4.6 waits neither for a health check nor for the end of another service: the order of the file, by hand.
        say "this podman does not wait for health checks: the services are started one after another"
        quietly $compose $only --profile n8n up --detach --no-deps db receiver n8n
        until_true "PostgreSQL accepts connections" $compose $only exec -T db pg_isready --host=127.0.0.1 --username=nextcloud --dbname=nextcloud
        quietly $compose $only up --detach --no-deps nextcloud
        until_true "Nextcloud answers" ready
        quietly $compose $only run --rm -T --no-deps install
        quietly $compose $only up --detach --no-deps webhooks
        ;;
esac
listens() { curl --silent --fail --output /dev/null http://127.0.0.1:8085/status.php; }
until_true "the sidecar listens" listens

register() {
    curl --silent --show-error --fail-with-body -X POST "http://127.0.0.1:8085/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks" \
        -H "OCS-APIRequest: true" -u "admin:$(cat "docker/secrets/$1")" -H "Content-Type: application/json" \
        -d '{"httpMethod": "POST", "uri": "'"$2"'", "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent", "eventFilter": [],
             "secret": "'"$(cat docker/secrets/receiver_secret)"'"}'
}
write() {
    # shellcheck disable=SC2086
    $compose $only exec -T db psql --username nextcloud --dbname nextcloud --set=ON_ERROR_STOP=1 --command \
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name) VALUES ('$1', '1', '1', now(), now(), 'Ada')"
}
# Both engines' Compose put these labels on what they start.
said() {
    "$engine" logs "$("$engine" ps --all --quiet --filter "label=com.docker.compose.project=orw-test-$$" \
        --filter "label=com.docker.compose.service=$1")" 2>&1
}

step "the manual's curl, for the receiver and for n8n"
register admin_password http://receiver:9000/hook >registered || fail "$(cat registered)"
register admin_password http://n8n:5678/webhook/orw >registered || fail "$(cat registered)"
write 11111111-1111-4111-8111-111111111111 >/dev/null
received() { said receiver | grep -q 'POST /hook  ObjectCreatedEvent .*signature good'; }
until_true "the receiver prints the event, and its signature is good" received
at_n8n() { said n8n | grep -q 'POST /webhook/orw .*11111111-1111-4111-8111-111111111111'; }
until_true "n8n gets it, too" at_n8n

step "the sidecar as the front door"
# shellcheck disable=SC2086
quietly $compose $front up --detach --no-deps webhooks nextcloud
passes() { curl --silent http://127.0.0.1:8085/ | grep -q 'stand-in for Nextcloud'; }
until_true "Nextcloud is reached through the sidecar" passes
# shellcheck disable=SC2086
register admin_password http://receiver:9000/other >/dev/null 2>&1 && fail "an administrator of the sidecar alone was let in"
until_registered() { register nextcloud_admin_password http://receiver:9000/front >registered; }
until_true "Nextcloud's administrator registers a webhook" until_registered
write 22222222-2222-4222-8222-222222222222 >/dev/null
at_front() { said receiver | grep -q 'POST /front  ObjectCreatedEvent .*signature good'; }
until_true "the event arrives" at_front
say "test-compose: passed ($($compose version 2>/dev/null | head -n 1))"
