#!/bin/sh
# The whole test suite, and at the end what of it was skipped, and why.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
need_program curl "curl ca-certificates"
want_pgbouncer
want_prometheus
want_nc_py_api

# A test that cannot run here, or a part of one, adds a line to this file.
ORW_TEST_SKIPPED=$(mktemp)
export ORW_TEST_SKIPPED
trap 'rm -f "$ORW_TEST_SKIPPED"' EXIT

status=0
# shellcheck disable=SC2086  # several arguments are meant
cargo test --locked --workspace ${TEST_ARGS:-} || status=$?
sort -u "$ORW_TEST_SKIPPED" >&2
exit "$status"
