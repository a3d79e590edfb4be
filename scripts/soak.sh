#!/bin/sh
# Runs the long tests (named soak_…) one after another, in an optimised build.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
# shellcheck disable=SC2086  # several arguments are meant
run_some cargo test --locked --workspace --profile soak --lib --test it "${SOAK_ARGS:-soak_}" -- --ignored --nocapture --test-threads=1
