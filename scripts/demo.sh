#!/bin/sh
# The main job, to be seen: see `openregister-webhooks demo --help`.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
cargo build --locked --bin openregister-webhooks
# shellcheck disable=SC2086  # several arguments are meant
exec target/debug/openregister-webhooks demo ${DEMO_ARGS:-}
