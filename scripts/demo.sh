#!/bin/sh
# Shows the program at work; `openregister-webhooks demo --help` says what it does.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
cargo build --locked --bin openregister-webhooks
# shellcheck disable=SC2086  # several arguments are meant
exec cargo run --quiet --locked --bin openregister-webhooks -- demo ${DEMO_ARGS:-}
