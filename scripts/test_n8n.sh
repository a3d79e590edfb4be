#!/bin/sh
# Runs the workflow of examples/n8n in n8n itself, which is installed from npm into a temporary directory (1.8 GB) and removed at the end.
# It needs Node.js 20.19 or later and some minutes.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres
version=1.123.81

command -v npm >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1 || fail "npm and python3 are not installed"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# n8n asks for xlsx by an address that is no registry's; the workflow does not use it.
printf '{"private": true, "dependencies": {"n8n": "%s"}, "overrides": {"xlsx": "0.18.5"}}\n' "$version" >"$folder/package.json"
say "installing n8n $version from npm into $folder"
(cd "$folder" && quietly npm install --ignore-scripts --no-audit --no-fund)
export ORW_N8N="node $folder/node_modules/n8n/bin/n8n"
run_some cargo test --locked --test it consumers::n8n -- --include-ignored --nocapture --test-threads=1
