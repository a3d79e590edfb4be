#!/bin/sh
# Runs the fuzz targets one after another; fuzz/run.sh says more.
. "$(dirname "$0")/common.sh"
need_cargo
need_program c++ "g++"
for dictionary in fuzz/targets/${FUZZ:-*}.dict; do
    name=$(basename "$dictionary" .dict)
    say "== $name"
    fuzz/run.sh "$name" "${FUZZ_SECONDS:-60}"
done
