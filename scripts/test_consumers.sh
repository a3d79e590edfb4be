#!/bin/sh
# Runs the programs of examples/ against the sidecar, while both are killed at random (ORW_CONSUMERS_EVENTS=10000). What they need is
# installed below cargo's directory, from PyPI, npm and crates.io; PHP as a package of Debian, as root. A program whose runtime or packages
# cannot be had is left out, and the end of the output says so.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres

ORW_TEST_SKIPPED=$(mktemp)
export ORW_TEST_SKIPPED
trap 'rm -f "$ORW_TEST_SKIPPED"' EXIT

# The name of a directory for what these files ask for.
kept() {
    name=$1
    shift
    echo "$target/consumers/$name-$(cat "$@" | cksum | cut -d ' ' -f 1)"
}

requirements="examples/python/requirements.txt examples/sync/requirements.txt tests/foreign/windmill.txt"
# shellcheck disable=SC2086  # several files are meant
venv=$(kept python $requirements)
set --
for file in $requirements; do set -- "$@" -r "$file"; done
if python_environment "$venv" "$@"; then
    export ORW_CONSUMERS_PYTHON="$venv/bin/python"
fi

folder=$(kept node examples/node/package-lock.json)
if command -v npm >/dev/null 2>&1; then
    mkdir -p "$folder"
    cp examples/node/package.json examples/node/package-lock.json "$folder"
    [ -e "$folder/.done" ] || {
        say "installing from npm into $folder"
        (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund) >/dev/null 2>&1 && : >"$folder/.done"
    } || true
    cp examples/node/consumer.mjs "$folder"
    if [ -e "$folder/.done" ]; then
        export ORW_CONSUMERS_NODE="$folder"
    fi
fi

have_php() { php -r 'exit(extension_loaded("pdo_sqlite") ? 0 : 1);' 2>/dev/null; }
if ! have_php && may_install; then
    say "installing php-cli and php-sqlite3"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install -y --no-install-recommends php-cli php-sqlite3 || true
fi
if have_php; then
    export ORW_CONSUMERS_PHP=php
fi

if quietly cargo build --locked --quiet --manifest-path examples/rust/Cargo.toml --target-dir "$target/consumers/rust"; then
    export ORW_CONSUMERS_RUST="$target/consumers/rust/debug/openregister-webhooks-consumer"
fi

status=0
run_some cargo test --locked --test it consumers:: -- --include-ignored --skip consumers::n8n --nocapture --test-threads=1 || status=$?
sort -u "$ORW_TEST_SKIPPED" >&2
exit "$status"
