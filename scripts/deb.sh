#!/bin/sh
# Builds a Debian package of the program in target/debian: user, hardened service, settings, manual pages. docs/deployment.md says how to
# use it. Build it on the oldest release that it has to run on. MAINTAINER says who answers for it; DEB_ARGS has further arguments of
# cargo deb.
. "$(dirname "$0")/common.sh"
need_cargo
need_program dpkg-shlibdeps dpkg-dev
tools=$target/tools/cargo-deb-3.8.0
PATH="$tools/bin:$PATH"
if ! [ -x "$tools/bin/cargo-deb" ]; then
    say "compiling cargo-deb, which takes some minutes"
    quietly cargo install --locked --debug --root "$tools" cargo-deb@3.8.0
fi
# The allocator is built for one size of pages; machines of this kind have 4, 16 or 64 KiB.
[ "$(uname -m)" != aarch64 ] || export JEMALLOC_SYS_WITH_LG_PAGE=16
cargo build --locked --release --package openregister-webhooks --bin openregister-webhooks
# One page for each command, and that of the whole program.
rm -rf target/man
"$target/release/openregister-webhooks" man --dir target/man >/dev/null
# shellcheck disable=SC2086  # several arguments are meant
exec cargo deb --no-build --strip --package openregister-webhooks --maintainer "${MAINTAINER:-$(maintainer)}" ${DEB_ARGS:-}
