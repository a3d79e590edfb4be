#!/bin/sh
# Runs every command of the README and the manual against the built program, page by page, and says why it does not run the others.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
need_program psql postgresql-client
need_program curl "curl ca-certificates"
need_program openssl openssl
run_some cargo test --locked --test it docs_test_ -- --ignored --nocapture
