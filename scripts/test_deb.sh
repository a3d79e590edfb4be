#!/bin/sh
# Tests the Debian package as an administrator uses it, in a container with a fresh Debian, systemd and PostgreSQL: installs it, sets it up,
# starts its service, receives an event, upgrades it while rows are written, removes and purges it, and looks that nothing is left.
# DEBIAN_IMAGE is the Debian: of the release that the package is built on, or a later one.
. "$(dirname "$0")/common.sh"
find_engine || { say "SKIPPED: test-deb: neither docker nor podman works here"; exit 0; }
need_cargo

id=orw-test-deb-$$
image=openregister-webhooks-test-debian
work=$(mktemp -d)
clean() {
    "$engine" rm --force --volumes "$id" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
show_logs() { in_it journalctl --no-pager --lines 40; }

step "the package, and an older version of it"
mkdir "$work/context"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# Both have the same program: what is tested is the package.
build() { quietly env DEB_ARGS="--deb-version $1 --output $work/context/$2" scripts/deb.sh; }
build "$version-1" openregister-webhooks.deb
build "$version~older-1" older.deb
say "$(du -k "$work/context/openregister-webhooks.deb" | cut -f 1) kB"

step "a fresh Debian"
# shellcheck disable=SC2086  # several arguments are meant
quietly "$engine" build ${IMAGE_BUILD_ARGS:-} ${DEBIAN_IMAGE:+--build-arg "DEBIAN_IMAGE=$DEBIAN_IMAGE"} \
    --file tests/image/debian.Dockerfile --tag "$image" "$work/context"
# Without a network: what is left of it, loopback, is all that is used.
case "$engine" in
    *podman) boots="--systemd=always" ;;
    *) boots="--privileged --cgroupns=host --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs /run --tmpfs /run/lock" ;;
esac
# shellcheck disable=SC2086
"$engine" run --detach --name "$id" --network none $boots "$image" >/dev/null
in_it() { "$engine" exec "$id" "$@"; }
boots() { in_it systemctl is-system-running | grep -Eq 'running|degraded'; }
until_true "systemd has started" boots
for file in openregister-webhooks older; do "$engine" cp "$work/context/$file.deb" "$id:/root/$file.deb"; done
for file in openregister-0.2.13 seed; do "$engine" cp "crates/testkit/src/sql/$file.sql" "$id:/root/$file.sql"; done
until_true "PostgreSQL accepts connections" in_it pg_isready --quiet
database=$(random)
# 5432, unless that port was taken where the image was built.
port=$(in_it su postgres -c "psql --no-align --tuples-only --command 'SHOW port'")
url="postgres://nextcloud:$database@127.0.0.1:$port/nextcloud?sslmode=disable"
in_it su postgres -c "psql --quiet --command \"CREATE ROLE nextcloud LOGIN PASSWORD '$database'\" --command 'CREATE DATABASE nextcloud OWNER nextcloud'"
sql() { in_it psql --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@" "$url"; }
sql --file /root/openregister-0.2.13.sql --file /root/seed.sql >/dev/null
# Names of all files but those of PostgreSQL's data, of the test, of logs, and of what apt and dpkg keep for themselves.
files() {
    in_it find / -xdev '(' -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /root -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/postgresql -o -path /var/lib/systemd/timers ')' -prune -o -print | sort
}
files >"$work/before"

apt() { in_it env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$work/apt" 2>&1 || { cat "$work/apt" >&2; fail "apt-get $*"; }; }
orw() { in_it openregister-webhooks "$@" --config /etc/openregister-webhooks/config.toml; }
property() { in_it systemctl show --value --property "$1" openregister-webhooks; }
equal() { [ "$2" = "$3" ] || fail "$1: $2, expected $3"; }

step "install"
apt install --no-install-recommends /root/older.deb
equal "the service after the installation" "$(in_it systemctl is-enabled openregister-webhooks || true) $(property ActiveState)" "disabled inactive"
equal "owners and rights" "$(in_it sh -c 'cd /etc/openregister-webhooks && stat --format "%a %U:%G %n" . *')" \
    "750 root:openregister-webhooks .
640 root:openregister-webhooks admins
640 root:openregister-webhooks config.toml
640 root:openregister-webhooks master.key"
in_it su nobody -s /bin/sh -c 'cat /etc/openregister-webhooks/config.toml' >/dev/null 2>&1 && fail "everybody can read the settings"
in_it man --whatis openregister-webhooks >/dev/null || fail "the manual page cannot be found"
key=$(in_it cksum /etc/openregister-webhooks/master.key)

step "settings, and the service"
in_it sed -i -e "s|^#database_url = .*|database_url = \"$url\"|" \
    -e 's|^#targets_allow_http = .*|targets_allow_http = true\ntargets_allow = ["127.0.0.1"]|' /etc/openregister-webhooks/config.toml
password=$(random)
echo "$password" | "$engine" exec --interactive "$id" sh -c 'openregister-webhooks hash-password admin >/etc/openregister-webhooks/admins'
in_it systemctl enable --now openregister-webhooks 2>/dev/null
until_true "the service does its work" orw health
orw doctor >"$work/doctor" || { cat "$work/doctor" >&2; fail "doctor has found something"; }

step "what the service may do"
pid=$(property MainPID)
status=$(in_it cat "/proc/$pid/status")
user=$(in_it id --user openregister-webhooks)
echo "$status" | grep -Eq "^Uid:[[:space:]]+$user[[:space:]]+$user[[:space:]]+$user" || fail "the service runs as another user: $status"
for line in 'NoNewPrivs:[[:space:]]+1' 'Seccomp:[[:space:]]+2' 'CapEff:[[:space:]]+0+' 'CapBnd:[[:space:]]+0+'; do
    echo "$status" | grep -Eq "^$line\$" || fail "$line is not so: $status"
done
in_it systemd-analyze security --no-pager --threshold=20 openregister-webhooks >"$work/security" || { cat "$work/security" >&2; fail "it is not confined"; }
say "$(tail -n 1 "$work/security")"
in_it systemd-analyze verify openregister-webhooks.service || fail "systemd finds faults in the unit"

step "an event"
secret=whsec_$(head -c 32 /dev/urandom | base64)
echo "$secret" | "$engine" exec --interactive "$id" tee /root/secret >/dev/null
"$engine" exec --detach "$id" sh -c 'exec openregister-webhooks receive --port 9000 --brief --secret @/root/secret >/root/received 2>&1'
in_it curl --silent --show-error --fail-with-body -u "admin:$password" -X POST "http://127.0.0.1:8085/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks" \
    -H "OCS-APIRequest: true" -H "Content-Type: application/json" \
    -d '{"httpMethod": "POST", "uri": "http://127.0.0.1:9000/hook", "event": "OCA\\OpenRegister\\Event\\ObjectCreatedEvent", "secret": "'"$secret"'"}' \
    >"$work/registered" || fail "$(cat "$work/registered")"
write() {
    sql --command "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name)
                   VALUES (gen_random_uuid(), '1', '1', now(), now(), 'Ada')"
}
arrived() { [ "$(in_it grep -c 'POST /hook  ObjectCreatedEvent .*signature good' /root/received)" = "$1" ]; }
write
until_true "the event arrives, and its signature is good" arrived 1

step "upgrade"
in_it systemctl stop openregister-webhooks
write
in_it systemctl start openregister-webhooks
until_true "an event that was written while the service was stopped arrives" arrived 2
before=$(property MainPID)
apt install --no-install-recommends /root/openregister-webhooks.deb
equal "the version" "$(in_it dpkg-query --show --showformat '${Version}' openregister-webhooks)" "$version-1"
equal "the master key" "$(in_it cksum /etc/openregister-webhooks/master.key)" "$key"
equal "the service after the upgrade" "$(in_it systemctl is-enabled openregister-webhooks) $(property ActiveState)" "enabled active"
[ "$(property MainPID)" != "$before" ] || fail "the upgrade did not start the service again"
write
until_true "an event arrives after the upgrade" arrived 3
orw doctor >"$work/doctor" || { cat "$work/doctor" >&2; fail "doctor has found something after the upgrade"; }

step "remove and purge"
orw uninstall --yes >/dev/null
equal "the schema" "$(sql --command "SELECT count(*) FROM pg_namespace WHERE nspname = 'openregister_webhooks'")" 0
apt remove openregister-webhooks
in_it pgrep --full '/usr/bin/openregister-webhooks run' >/dev/null && fail "the service runs on"
in_it test -s /etc/openregister-webhooks/config.toml -a -s /etc/openregister-webhooks/master.key || fail "removing took the settings"
apt purge openregister-webhooks
files >"$work/after"
diff "$work/before" "$work/after" >"$work/left" || { cat "$work/left" >&2; fail "these files are there before or after only"; }
in_it getent passwd openregister-webhooks >/dev/null && fail "the user is left"
in_it getent group openregister-webhooks >/dev/null && fail "the group is left"
in_it systemctl list-units --all --no-legend 'openregister-webhooks*' | grep -q . && fail "systemd still knows the service"
say "test-deb: passed ($(in_it sh -c '. /etc/os-release && echo "$PRETTY_NAME"'), $(in_it cat /checked))"
