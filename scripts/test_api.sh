#!/bin/sh
# Sends the running API requests that schemathesis generates from docs/openapi.json, in JSON and XML; takes a few minutes.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
want_python schemathesis==4.32.5 ||
    fail "schemathesis cannot be installed: it needs python3 with venv, and PyPI"
export ORW_SCHEMATHESIS="$venv/bin/schemathesis"
run_some cargo test --locked --test it no_request_from_the_document -- --ignored --nocapture
