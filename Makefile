# `make` lists the targets. Each target first installs its own tools, inside this folder.

PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .tools/bin/uv
# Building it takes a minute; the folder's name has the version, so that it is built once.
VERSITYGW_VERSION := 1.8.0
VERSITYGW := .tools/versitygw-$(VERSITYGW_VERSION)
GOFAKES3_VERSION := 1.2.0
GOFAKES3 := .tools/gofakes3-$(GOFAKES3_VERSION)
GRPCURL_VERSION := v1.9.3
BIN := .venv/bin
# The environment of the audiocraft renderer: a project with a lock file of its own.
AUDIOCRAFT := UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-audiocraft $(UV) sync -q --frozen --inexact --python $(PYTHON) \
	--project services/renderer/audiocraft-environment
# Extras and dependency groups of each environment. `make demo` needs no development tools.
FOR_USE := --extra all
FOR_TESTS := $(FOR_USE) --extra hub --extra jwt --extra separator --group test
FOR_ALL := $(FOR_USE) --extra hub --extra jwt --extra separator --group dev
# Tests that every change must pass; `make nightly` runs all.
QUICK := not slow and not engine and not audiocraft

PROMPT ?= rainy lo-fi, 82 bpm, F minor
DURATION ?= 60
SEED ?= 7
FONT ?= /usr/share/sounds/sf2/FluidR3_GM.sf2
# `make chaos` takes SEED only from its caller; it draws one otherwise.
CHAOS_SEED = $(if $(filter file,$(origin SEED)),,--seed $(SEED))
PIECES ?= 100
MINUTES ?= 10
SHAPE ?= embedded

.DEFAULT_GOAL := help
.PHONY: help setup setup-musicgen setup-diffusion setup-audiocraft setup-test setup-dev demo up up-cluster serve test test-cluster test-engine test-audiocraft nightly \
	fleet versitygw gofakes3 grpcurl chaos lint format types contracts extras image generate benchmarks accuracy clients rust segue lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
		  echo "hint: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .tools || { echo "hint: Debian and Ubuntu need: apt install python3-venv"; exit 1; }
	@echo "fetching uv $(UV_VERSION) into .tools"
	@.tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

setup: $(UV) ## Install `segued` and its dependencies into .venv
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_USE)

setup-musicgen: $(UV) ## Install the MusicGen engine too (with torch, about 5 GB)
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_USE) --extra musicgen

setup-diffusion: $(UV) ## Install the diffusion models' libraries too (with torch, about 5 GB)
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_USE) --extra diffusion

setup-audiocraft: $(UV) ## Install the audiocraft renderer into .venv-audiocraft (with torch, about 6 GB)
	@$(AUDIOCRAFT)

setup-test: $(UV)
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_TESTS)

setup-dev: $(UV)
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_ALL)

demo: setup ## Compose a piece: make demo PROMPT="…" DURATION=90 SEED=7
	@$(BIN)/segued compose "$(PROMPT)" --duration "$(DURATION)" --seed "$(SEED)" --voices auto \
		--output out/demo.flac --picture out/demo.png --force
	@$(BIN)/segued voices list 2>/dev/null | grep -q . || \
		echo "voices:  synthesised; for recorded ones: apt install fluid-soundfont-gm && $(BIN)/segued voices build $(FONT) --license MIT"
	@echo "play it: $$(command -v ffplay >/dev/null && echo ffplay -autoexit || echo 'open it with any player:') out/demo.flac"
	@echo "next:    make demo PROMPT=\"sunny funk, 108 bpm, E minor\" DURATION=90 SEED=3, or $(BIN)/segued serve"

up: .env .secrets/role-token ## Start the mesh in containers, with new tokens
	@docker compose up --build --detach --wait
	@echo "ready: SEGUE_CLIENT_TOKEN=$$(sed -n 's/SEGUE_TOKEN=//p' .env) $(BIN)/segued compose \"$(PROMPT)\" --server 127.0.0.1:7300"

up-cluster: .env .secrets/role-token ## Start two gateways, two conductors and three renderers in containers, on Redis and S3
	@grep -q ^SEGUE_STORAGE_SECRET= .env || \
		$(PYTHON) -c 'import secrets; print("SEGUE_STORAGE_SECRET=" + secrets.token_urlsafe(32))' >> .env
	@docker compose --profile cluster up --build --detach --wait gateway-1 gateway-2
	@echo "ready: SEGUE_CLIENT_TOKEN=$$(sed -n 's/SEGUE_TOKEN=//p' .env) $(BIN)/segued compose \"$(PROMPT)\" --server 127.0.0.1:7310"

.env:
	@umask 077; $(PYTHON) -c 'import secrets; print("SEGUE_TOKEN=" + secrets.token_urlsafe(32))' > .env

# Containers run as another user, so the file is readable; its folder is not.
.secrets/role-token:
	@mkdir -p -m 700 .secrets
	@umask 022; $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(32))' > $@

serve: setup ## Start the server on 127.0.0.1:7300
	@$(BIN)/segued serve

test: setup-test ## Run all quick tests
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "$(QUICK)" $(PYTEST)

# What a cluster may do otherwise than one process: streams, resumption, faults, owners, and the tests of real processes.
CLUSTER := $(addprefix tests/mesh/test_mesh_,$(addsuffix .py,composition cursors broken_connections outages takeover owners \
	tenants silent_faults uploads)) tests/mesh/test_mesh_crashes.py tests/fleet

test-cluster: setup-test ## Run the tests of streams, resumption, faults and owners on a cluster (needs redis-server and `make versitygw`)
	@PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/pytest -q -n 2 --dist loadfile -m "$(QUICK)" --shape cluster $(CLUSTER) $(PYTEST)

test-engine: $(UV) ## Run the tests of the engines that need torch (installs it)
	@$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_TESTS) --extra musicgen --extra diffusion --group engine
	@$(BIN)/pytest -q -m "engine and not slow" tests/engine tests/diffusion tests/contract $(PYTEST)

test-audiocraft: setup-test ## Run the tests of the audiocraft renderer in its environment (installs torch)
	@$(AUDIOCRAFT) --group test
	@.venv-audiocraft/bin/pytest -q -m "audiocraft and not slow" tests/audiocraft $(PYTEST)

NIGHTLY := PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/pytest -q --require-reference --examples new
MESH := -n 2 --dist loadfile tests/mesh

# A part that fails does not keep the next one from running.
nightly: setup-dev versitygw gofakes3 grpcurl rust ## Run all tests with slow ones, the mesh on both shapes; missing programs fail (needs Go and cargo, installs torch)
	@failed=0; for part in "--ignore=tests/mesh" "$(MESH)" "$(MESH) --shape cluster"; do \
		echo "== $$part"; $(NIGHTLY) -m "not engine and not audiocraft" $$part $(PYTEST) || failed=1; \
	done; \
	$(UV) sync -q --frozen --inexact --python $(PYTHON) $(FOR_TESTS) --extra musicgen --extra diffusion --group engine && \
	$(AUDIOCRAFT) --group test && \
	$(NIGHTLY) -m engine tests/engine tests/diffusion tests/contract $(PYTEST) || failed=1; \
	.venv-audiocraft/bin/pytest -q --examples new -m audiocraft tests/audiocraft tests/contract $(PYTEST) || failed=1; \
	exit $$failed

fleet: setup-test ## Start a cluster of processes on Redis and S3, and print its addresses (needs redis-server and `make versitygw`)
	@PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/python -m tests.fleet

versitygw: $(UV) ## Build the S3 server of the tests and of `make fleet` into .tools/bin (needs Go)
	@[ -x $(VERSITYGW)/versitygw ] || \
		GOBIN="$(CURDIR)/$(VERSITYGW)" go install github.com/versity/versitygw/cmd/versitygw@v$(VERSITYGW_VERSION)
	@ln -sf "$(CURDIR)/$(VERSITYGW)/versitygw" .tools/bin/versitygw

gofakes3: $(UV) ## Build the second S3 server, for the artifact tests of `make nightly`, into .tools/bin (needs Go)
	@[ -x $(GOFAKES3)/gofakes3 ] || \
		GOBIN="$(CURDIR)/$(GOFAKES3)" go install github.com/johannesboyne/gofakes3/cmd/gofakes3@v$(GOFAKES3_VERSION)
	@ln -sf "$(CURDIR)/$(GOFAKES3)/gofakes3" .tools/bin/gofakes3

grpcurl: $(UV) ## Build the client of the examples in docs/grpcurl.md into .tools/bin (needs Go)
	@[ -x .tools/bin/grpcurl ] || GOBIN="$(CURDIR)/.tools/bin" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)

chaos: setup-test ## Cause random faults in a whole mesh and check its guarantees: make chaos SHAPE=cluster SEED=1 PIECES=100 FAULTS=20 MINUTES=10
	@PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/python -m tests.chaos --shape $(SHAPE) --pieces $(PIECES) --minutes $(MINUTES) \
		$(if $(FAULTS),--faults $(FAULTS)) $(CHAOS_SEED)

lint: setup-dev ## Check style and the import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

format: setup-dev ## Format the code and the proto files
	@$(BIN)/ruff check --fix -q .
	@$(BIN)/ruff format -q .
	@$(BIN)/buf format -w protos

types: setup-dev ## Check types with mypy and pyright
	@$(BIN)/mypy
	@$(BIN)/basedpyright

contracts: setup-dev ## Check the contract: lint, format, compatibility, generated files
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code protos >/dev/null || { echo "hint: make format"; exit 1; }
	@$(BIN)/buf breaking protos --against protos/segue.binpb
	@$(BIN)/python scripts/generate.py --check
	@$(BIN)/python scripts/blocking_client.py --check
	@$(BIN)/python scripts/error_page.py --check

extras: setup-dev ## Start every role with only its extra installed, as in its image
	@$(BIN)/python -m scripts.check_extras

image: setup-dev ## Write protos/segue.binpb, the base of the compatibility check
	@$(BIN)/buf build protos -o protos/segue.binpb

generate: setup-dev ## Generate the Python stubs, the blocking client and docs/errors.md
	@$(BIN)/python scripts/generate.py
	@$(BIN)/python scripts/blocking_client.py
	@$(BIN)/python scripts/error_page.py

benchmarks: setup-test ## Measure speed and memory, and print the tables of docs/benchmarks.md
	@$(BIN)/python -m benchmarks

accuracy: setup-test ## Measure the analyzer's tempos, beats, bars, keys, chords and structure; PEER_PYTHON=… has aubio and essentia
	@$(BIN)/python -m benchmarks.analysis --peers $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON)) --dev 0.3 --robustness 0.1
	@$(BIN)/python -m benchmarks.structure

clients: setup-dev rust ## Build and test the clients and their documentation
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "$(QUICK)" tests/sdk tests/docs $(PYTEST)

rust: setup ## Check, build and test the Rust client, also against the real service
	@cd clients/rust && cargo fmt --check && cargo clippy -q --locked --all-targets -- -D warnings && \
		cargo test -q --locked -- --include-ignored

segue: ## Build the Rust command line: clients/rust/target/release/segue
	@cd clients/rust && cargo build --release --locked
	@echo "built: clients/rust/target/release/segue"

lock: $(UV) ## Update uv.lock after a change of pyproject.toml
	@$(UV) lock
	@$(UV) lock --project services/renderer/audiocraft-environment

clean: ## Remove environments, caches and builds; keep compositions
	@rm -rf .venv .venv-audiocraft .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache clients/rust/target
