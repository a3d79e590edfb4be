# The commands of this project. Each runs a script below scripts/.
# All of them work as root and as an ordinary user, and are quick when they run again.

.PHONY: help demo test test-api test-page test-consumers test-n8n check docs docs-test bless bench bench-figures bench-check test-matrix soak chaos fuzz image test-image deb test-deb

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\): ## /  make \1\t/p' Makefile

demo: ## Show the program at work: OpenRegister's writes arrive as webhooks (DEMO_ARGS=--keep leaves it running)
	@scripts/demo.sh

test: ## Run the whole test suite (TEST_ARGS=name runs the tests with this name)
	@scripts/test.sh

test-api: ## Test the API with requests generated from docs/openapi.json (schemathesis; needs PyPI)
	@scripts/test_api.sh

test-page: ## Use the page in Chromium: every action, with and without JavaScript (PICTURES=dir keeps pictures; needs npm)
	@scripts/test_page.sh

test-consumers: ## Run the programs of examples/ against the sidecar while both are killed (needs PyPI, npm, crates.io, PHP)
	@scripts/test_consumers.sh

test-n8n: ## Run the workflow of examples/n8n in n8n, installed from npm for the time of the test (1.8 GB)
	@scripts/test_n8n.sh

check: ## Check formatting, lints, documentation, unused and unwanted dependencies, known vulnerabilities
	@scripts/check.sh

docs: ## Build the manual as a book in target/book, and check its links and anchors
	@scripts/docs.sh

docs-test: ## Run every command of the README and the manual against the built program
	@scripts/docs_test.sh

bless: ## Write the generated pages of docs/ anew from the program: events, schemas, commands, settings
	@scripts/bless.sh

bench: ## Run the benchmarks of docs/BENCHMARKS.md (BENCH=name runs one)
	@scripts/bench.sh

bench-figures: ## Measure what docs/BENCHMARKS.md says of writers, reader, delivery, growth and memory, and write it there (20 minutes, on a machine that is not busy)
	@BENCH="writer reader delivery growth memory" BENCH_ARGS=--write ORW_TEST_BENCH_ROUNDS=3 ORW_TEST_BENCH_SECONDS=3 scripts/bench.sh

bench-check: ## Fail if capture takes more CPU or log, beside its references, than benches/baseline.json allows
	@BENCH_ARGS=--check scripts/bench.sh

test-matrix: ## Test installation, capture and removal on PostgreSQL 14, 15, 16, 17 and 18
	@scripts/matrix.sh

soak: ## Run the long tests: crashes, restarts, long transactions (SOAK_ARGS=name runs one)
	@scripts/soak.sh

chaos: ## Run the long tests of processes that are killed, paused and restarted at random
	@SOAK_ARGS=processes:: scripts/soak.sh

image: ## Build the container image with docker or podman (docker/Dockerfile)
	@scripts/image.sh

test-image: ## Test the image: database, sidecar and receiver in containers, each stopped in turn (skipped without docker and podman)
	@scripts/test_image.sh
	@scripts/test_compose.sh

deb: ## Build a Debian package of the program, its service and its manual pages
	@scripts/deb.sh

test-deb: ## Test the Debian package in a fresh Debian with systemd: installed, upgraded, purged (skipped without docker and podman)
	@scripts/test_deb.sh

fuzz: ## Fuzz each parser for a minute (FUZZ=name picks one, FUZZ_SECONDS=600 takes longer)
	@scripts/fuzz.sh
