#!/bin/sh
# Runs the benchmarks; docs/BENCHMARKS.md says what they measure, and what was measured.
# BENCH=name runs one section; BENCH_ARGS=--write puts its tables into docs/BENCHMARKS.md.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
case "${BENCH_ARGS:-}" in
    *--check* | *--bless*) ;;
    *) [ "${BENCH:-proxy}" != proxy ] || want_nginx ;;
esac
# shellcheck disable=SC2086  # several arguments are meant
exec cargo bench --locked --bench bench -- ${BENCH:-} ${BENCH_ARGS:-}
