#!/bin/sh
# Requests made up from docs/openapi.json, against the running API, in JSON and XML (schemathesis, a few minutes).
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
want_python schemathesis==4.32.5 ||
    fail "schemathesis cannot be installed: it needs python3 with venv, and PyPI"
ORW_SCHEMATHESIS="$PWD/target/python/schemathesis==4.32.5/bin/schemathesis"
export ORW_SCHEMATHESIS
run_some cargo test --locked --test it no_request_from_the_document -- --ignored --nocapture
