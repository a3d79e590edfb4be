#!/bin/sh
# Everything that can be said of the source without running it; what is quick comes first.
. "$(dirname "$0")/common.sh"
need_cargo
need_tools

step() { say "== $1"; }

step "formatting"
cargo fmt --all -- --check
step "unused and misplaced dependencies"
quietly cargo shear
step "licences, sources, duplicates and bans of dependencies"
cargo deny --locked check --hide-inclusion-graph licenses sources bans
step "lints"
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
step "known vulnerabilities"
if cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check --hide-inclusion-graph advisories
    say "all checks passed"
else
    missing="known vulnerabilities were NOT CHECKED: https://github.com/rustsec/advisory-db cannot be reached from here"
    [ "${CHECK_ADVISORIES:-}" != required ] || fail "$missing"
    say "all other checks passed"
    say "$missing (CHECK_ADVISORIES=required makes this an error)"
fi
