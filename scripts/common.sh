# Sourced by the other scripts: where the project is, and what they need.

set -eu
cd "$(dirname "$0")/.."

# The tests run side by side in one process, with many connections each; the usual soft limit is 1,024.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Cargo, from PATH or from where rustup puts it.
need_cargo() {
    command -v cargo >/dev/null 2>&1 || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo is not installed; get Rust from https://rustup.rs, then run this again"
}

# initdb and postgres, where the program looks for them too.
have_postgres() {
    if [ -n "${ORW_TEST_PG_BIN:-}" ]; then
        [ -x "$ORW_TEST_PG_BIN/initdb" ] && [ -x "$ORW_TEST_PG_BIN/postgres" ] && return 0
        fail "ORW_TEST_PG_BIN=$ORW_TEST_PG_BIN has no initdb and postgres"
    fi
    for bin in /usr/lib/postgresql/*/bin; do
        [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return 0
    done
    command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1
}

# PostgreSQL's server programs: installs them as root, says how as anybody else.
need_postgres() {
    have_postgres && return 0
    [ "$(id -u)" -eq 0 ] ||
        fail "PostgreSQL's server programs are not installed; run: sudo apt-get install -y postgresql"
    command -v apt-get >/dev/null 2>&1 ||
        fail "PostgreSQL's server programs (initdb, postgres) are not installed; install them, or name their directory in ORW_TEST_PG_BIN"
    say "installing PostgreSQL's server programs"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install -y --no-install-recommends postgresql-common
    # The package would start a server of its own on port 5432; nobody asked for one.
    conf=/etc/postgresql-common/createcluster.conf
    cp -p "$conf" "$conf.orw"
    echo 'create_main_cluster = false' >>"$conf"
    status=0
    quietly apt-get install -y --no-install-recommends postgresql || status=$?
    mv "$conf.orw" "$conf"
    [ "$status" -eq 0 ] && have_postgres || fail "apt-get could not install postgresql"
}

have_pgbouncer() {
    [ -x /usr/sbin/pgbouncer ] || [ -x /usr/bin/pgbouncer ] || [ -x /usr/local/bin/pgbouncer ]
}

# Installs a Debian package that would start a service, without the service: nobody asked for one. Root only.
install_without_service() {
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    policy=/usr/sbin/policy-rc.d
    ours=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && ours=yes; }
    status=0
    quietly apt-get install -y --no-install-recommends "$1" || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    return "$status"
}

may_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; }

# PgBouncer, which some tests stand behind: installs it as root. As anybody else those tests are skipped, and say so.
want_pgbouncer() {
    if ! have_pgbouncer && may_install; then
        say "installing PgBouncer"
        install_without_service pgbouncer && have_pgbouncer || fail "apt-get could not install pgbouncer"
    fi
    if have_pgbouncer; then
        export ORW_TEST_PGBOUNCER=required
    else
        say "pgbouncer is not installed: the tests that need it are SKIPPED; to have them: sudo apt-get install -y pgbouncer"
    fi
}

# nginx, which the proxy is measured beside: installs it as root. As anybody else that row is left out, and the benchmark says so.
want_nginx() {
    if ! [ -x /usr/sbin/nginx ] && may_install; then
        say "installing nginx-light"
        install_without_service nginx-light || say "apt-get could not install nginx-light: measured without it"
    fi
}

# A package from PyPI in a virtual environment of its own below target/; fails where there is no Python or no PyPI.
want_python() {
    venv="target/python/$1"
    [ -e "$venv/.done" ] && return 0
    command -v python3 >/dev/null 2>&1 || return 1
    rm -rf "$venv"
    say "installing $1 into $venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$1"; } >/dev/null 2>&1 &&
        : >"$venv/.done"
}

# nc-py-api, a client of Nextcloud's API that no one here wrote.
want_nc_py_api() {
    if want_python nc-py-api==0.30.3; then
        ORW_NC_PY_API_PYTHON="$PWD/target/python/nc-py-api==0.30.3/bin/python"
        export ORW_NC_PY_API_PYTHON
    else
        say "nc-py-api is not installed (no python3 with venv, or PyPI cannot be reached): the tests that need it are SKIPPED"
    fi
}

# Shows what a command said only if it failed.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
    else
        status=$?
        cat "$log" >&2
        rm -f "$log"
        say "error: $* failed"
        return "$status"
    fi
}

# A cargo tool from PATH or target/tools; installs it there once.
need_tool() {
    PATH="$PWD/target/tools/bin:$PATH"
    command -v "$1" >/dev/null 2>&1 && return 0
    say "installing $1 into target/tools"
    quietly cargo install --locked --debug --root target/tools "$1"
}

# Runs the tests of one name prefix and fails if there are none: a suite that ran nothing has shown nothing.
run_some() {
    out=$(mktemp)
    status=0
    { "$@" || echo "$?" >"$out.status"; } | tee "$out"
    [ -f "$out.status" ] && status=$(cat "$out.status") && rm -f "$out.status"
    if [ "$status" -eq 0 ] && ! grep -q '^running [1-9]' "$out"; then
        say "error: no test ran: $*"
        status=1
    fi
    rm -f "$out"
    return "$status"
}
