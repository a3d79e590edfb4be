# The commands of this project; each does what its script under scripts/ says.
# All work as root and as an ordinary user, and a second run is quick.

.PHONY: help demo test test-api check bench test-matrix soak

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\): ## /  make \1\t/p' Makefile

demo: ## Show the main job: OpenRegister's writes arrive as webhooks (DEMO_ARGS=--keep leaves it running)
	@scripts/demo.sh

test: ## Run the whole test suite (TEST_ARGS=name runs a part)
	@scripts/test.sh

test-api: ## Try the API with requests made up from docs/openapi.json (schemathesis; needs PyPI)
	@scripts/test_api.sh

check: ## Formatting, lints, documentation, unused and unwanted dependencies, known vulnerabilities
	@scripts/check.sh

bench: ## Run the benchmarks of docs/BENCHMARKS.md
	@scripts/bench.sh

test-matrix: ## Install, capture and uninstall on PostgreSQL 14, 15, 16, 17 and 18
	@scripts/matrix.sh

soak: ## Run the long tests: crashes, restarts, long transactions (SOAK_ARGS=name runs one)
	@scripts/soak.sh
