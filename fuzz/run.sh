#!/usr/bin/env bash
# Runs a fuzz target: fuzz/run.sh TARGET [SECONDS] [further libFuzzer flags]. The targets are the files of fuzz/targets.
# A stable compiler is enough: coverage comes from LLVM's own pass, and no sanitizer is used (the crates forbid unsafe code).
# What is found goes to fuzz/artifacts; to run it again: fuzz/run.sh TARGET 0 fuzz/artifacts/FILE
set -euo pipefail
cd "$(dirname "$0")"
name=${1:-}
seconds=${2:-60}
shift $(($# < 2 ? $# : 2))
if ! [ -f "targets/$name.dict" ]; then
    echo "usage: fuzz/run.sh TARGET [SECONDS]; targets: $(cd targets && ls -- *.dict | sed 's/\.dict$//' | tr '\n' ' ')" >&2
    exit 2
fi
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
# The lock file follows the crates by itself. --target keeps build scripts and procedural macros without the instrumentation.
RUSTFLAGS="$flags" cargo build --release --target "$host"
export ORW_FUZZ_TARGET=$name
program=$target/$host/release/fuzz
if [ "$seconds" = 0 ]; then
    cd ..
    exec "$program" "$@"
fi
mkdir -p "corpus/$name" artifacts
exec "$program" "corpus/$name" "seeds/$name" -dict="targets/$name.dict" -artifact_prefix=artifacts/ \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=4096 "$@"
