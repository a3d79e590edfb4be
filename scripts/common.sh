# Sourced by the other scripts: goes to the project's root, and finds or installs what they need.

set -eu
cd "$(dirname "$0")/.."

# The tests run in parallel in one process and open many connections each; the usual soft limit is 1,024 files.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# Cargo, from PATH or from where rustup puts it, and a linker. Sets $target to the directory that cargo builds in: target/, unless
# CARGO_TARGET_DIR or a configuration file of cargo says otherwise.
need_cargo() {
    command -v cargo >/dev/null 2>&1 || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo is not installed; get Rust from https://rustup.rs, then run this again"
    use_installed_toolchain
    need_program cc "gcc libc6-dev"
    target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    [ -n "$target" ] || fail "cargo does not say where it builds"
}

# rust-toolchain.toml asks rustup for a version. Where that version is installed under another name only ("stable"), this
# uses it, so that rustup does not download it again.
use_installed_toolchain() {
    [ -z "${RUSTUP_TOOLCHAIN:-}" ] && command -v rustup >/dev/null 2>&1 || return 0
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    installed=$(rustup toolchain list | sed 's/ .*//')
    case " $installed" in *[[:space:]]"$wanted" | *[[:space:]]"$wanted"[-[:space:]]*) return 0 ;; esac
    for toolchain in $installed; do
        case $(rustup run "$toolchain" rustc --version 2>/dev/null) in
            "rustc $wanted "*)
                export RUSTUP_TOOLCHAIN="$toolchain"
                return 0
                ;;
        esac
    done
}

# Programs that tests start or that a build needs, by their Debian packages: installs them as root, says how as anybody else.
need_program() {
    command -v "$1" >/dev/null 2>&1 && return 0
    may_install || fail "$1 is not installed; run: sudo apt-get install -y $2"
    say "installing $2"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    # shellcheck disable=SC2086  # several packages are meant
    quietly apt-get install -y --no-install-recommends $2 && command -v "$1" >/dev/null 2>&1 ||
        fail "apt-get could not install $2"
}

# Looks for initdb and postgres in the same places as the program does.
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

# PgBouncer, which some tests connect through: installs it as root. For anybody else those tests are skipped.
want_pgbouncer() {
    if ! have_pgbouncer && may_install; then
        say "installing PgBouncer"
        install_without_service pgbouncer && have_pgbouncer || fail "apt-get could not install pgbouncer"
    fi
    if have_pgbouncer; then
        export ORW_TEST_PGBOUNCER=required
    fi
}

have_prometheus() {
    for bin in /usr/bin /usr/local/bin; do
        [ -x "$bin/prometheus" ] && [ -x "$bin/promtool" ] && return 0
    done
    return 1
}

# Prometheus and its promtool, which read the metrics, the alert rules and the dashboard's queries: installs them as root. For anybody
# else those tests are skipped.
want_prometheus() {
    if ! have_prometheus && may_install; then
        say "installing Prometheus"
        install_without_service prometheus && have_prometheus || fail "apt-get could not install prometheus"
    fi
    if have_prometheus; then
        export ORW_TEST_PROMETHEUS=required
    fi
}

# nginx, which the proxy is compared with: installs it as root. For anybody else the benchmark leaves that row out and says so.
want_nginx() {
    if ! [ -x /usr/sbin/nginx ] && may_install; then
        say "installing nginx-light"
        install_without_service nginx-light || say "apt-get could not install nginx-light: measured without it"
    fi
}

# Makes a virtual environment of Python in directory $1, once, with the packages that the other arguments tell pip to install.
# Fails if there is no Python with venv, or if PyPI cannot be reached.
python_environment() {
    venv=$1
    shift
    [ -e "$venv/.done" ] && return 0
    command -v python3 >/dev/null 2>&1 || return 1
    rm -rf "$venv"
    say "installing from PyPI into $venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"; } >/dev/null 2>&1 &&
        : >"$venv/.done"
}

# Sets $venv to an environment with one package of PyPI.
want_python() { python_environment "$target/python/$1" "$1"; }

# nc-py-api, a client of Nextcloud's API that was written elsewhere. Without it, the tests that use it are skipped.
want_nc_py_api() {
    if want_python nc-py-api==0.30.3; then
        export ORW_NC_PY_API_PYTHON="$venv/bin/python"
    fi
}

# The tools of scripts/tools.txt: release binaries from PyPI. If those cannot be had, the same versions from crates.io,
# compiled without optimisation.
need_tools() {
    tools=$target/tools/$(cksum <scripts/tools.txt | cut -d ' ' -f 1)
    PATH="$tools/bin:$PATH"
    python_environment "$tools" --require-hashes --no-deps --only-binary=:all: -r scripts/tools.txt && return 0
    for tool in $(sed -n 's/^astral-dev-toolchain-\(.*\)==\([0-9.]*\).*/\1@\2/p' scripts/tools.txt); do
        [ -x "$tools/bin/${tool%@*}" ] && continue
        say "PyPI has no binary of $tool for this machine, or cannot be reached: compiling it, which takes some minutes"
        quietly cargo install --locked --debug --root "$tools" "$tool"
    done
}

# Shows the output of a command only if it failed.
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

# Runs a test command and fails if no test ran, because a misspelt name would otherwise look like success.
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

# Sets $engine to docker or podman, whichever works here; CONTAINER_ENGINE names one. Fails if there is none.
find_engine() {
    for engine in ${CONTAINER_ENGINE:-docker podman}; do
        "$engine" info >/dev/null 2>&1 && return 0
    done
    return 1
}

# Who answers for images and packages, unless MAINTAINER says it: the one place is Cargo.toml.
maintainer() { sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml; }

step() { say "== $1"; }

# Waits until a command succeeds, for some minutes at most: until_true WHAT COMMAND… Then it says what it waited for, after `show_logs`,
# which a script defines if it has logs.
until_true() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 900 ]; then
            ! command -v show_logs >/dev/null 2>&1 || show_logs >&2 || true
            fail "waited in vain: $what"
        fi
        sleep 0.2
    done
}

# Some 190 random bits in letters and digits.
random() { od -A n -N 24 -t x1 /dev/urandom | tr -d ' \n'; }
