#!/bin/sh
# Writes the pages of docs/ that are generated from the program anew.
. "$(dirname "$0")/common.sh"
need_cargo
for test in catalogue reference; do ORW_TEST_BLESS=1 run_some cargo test --locked --lib "$test"; done
git status --short docs 2>/dev/null || true
