#!/bin/sh
# Runs the benchmarks; docs/BENCHMARKS.md says what they measure, and what was measured.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
case "${BENCH:-proxy}" in proxy | \*) want_nginx ;; esac
# shellcheck disable=SC2086  # several arguments are meant
exec cargo bench --locked --workspace --bench "${BENCH:-*}" ${BENCH_ARGS:-}
