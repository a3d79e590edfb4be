#!/usr/bin/env bash
# Runs a fuzz target: fuzz/run.sh [target] [seconds] [further libFuzzer flags]
# Works with a stable compiler: coverage comes from LLVM's own pass, there is no sanitizer (the crate forbids unsafe code).
set -euo pipefail
cd "$(dirname "$0")"
name=${1:-filter}
seconds=${2:-60}
shift $(($# < 2 ? $# : 2))
host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
# --target keeps build scripts and procedural macros without the instrumentation.
RUSTFLAGS="$flags" cargo build --release --target "$host" --bin "$name"
mkdir -p "corpus/$name" artifacts
exec "target/$host/release/$name" "corpus/$name" "seeds/$name" -dict="$name.dict" -artifact_prefix=artifacts/ \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=4096 "$@"
