#!/bin/sh
# The whole test suite.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
want_pgbouncer
want_nc_py_api
# shellcheck disable=SC2086  # several arguments are meant
exec cargo test --locked --workspace ${TEST_ARGS:-}
