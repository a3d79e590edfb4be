#!/bin/sh
# The page in a real browser: every action, with and without JavaScript, axe, pictures of each view (PICTURES=directory keeps them).
# Skipped, with the reason, where Chromium or the packages of npm cannot be had.
. "$(dirname "$0")/common.sh"
need_cargo
need_postgres

skip() { say "SKIPPED: the page in a browser: $*"; exit 0; }

if ! command -v chromium >/dev/null 2>&1 && may_install; then
    say "installing Chromium"
    { quietly apt-get update && quietly apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } || true
fi
ORW_PAGE_CHROMIUM=$(command -v chromium || command -v chromium-browser) || skip "there is no chromium"
export ORW_PAGE_CHROMIUM
command -v npm >/dev/null 2>&1 || skip "there is no npm"
ORW_PAGE_MODULES=$target/page-test
export ORW_PAGE_MODULES
if ! [ -e "$ORW_PAGE_MODULES/.done" ]; then
    say "installing playwright-core and axe-core from npm"
    mkdir -p "$ORW_PAGE_MODULES"
    npm install --prefix "$ORW_PAGE_MODULES" --no-save --no-audit --no-fund --ignore-scripts --loglevel error \
        playwright-core@1.65.1 axe-core@4.14.1 >/dev/null 2>&1 || skip "npm cannot install playwright-core and axe-core"
    : >"$ORW_PAGE_MODULES/.done"
fi
if [ -n "${PICTURES:-}" ]; then
    mkdir -p "$PICTURES"
    ORW_PAGE_PICTURES=$(cd "$PICTURES" && pwd)
    export ORW_PAGE_PICTURES
fi
run_some cargo test --locked --test it a_browser_does -- --ignored --nocapture --test-threads 1
