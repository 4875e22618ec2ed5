# Everything there is to do with a checkout. Needs Rust and git; installs the rest where it can.
.DEFAULT_GOAL := help
.PHONY: help run rehearse test model chaos bench measure picture check fuzz build install rules deploy-check packages

# Where `make install` puts things; DESTDIR comes before it, for packagers.
PREFIX ?= /usr/local
DESTDIR ?=
# What is installed.
BIN ?= target/release/paceline

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: packages ## the main job: broker, store, simulated providers, a worker, sample jobs, a table
	cargo build --release --locked
	@deploy/local/run.sh

rehearse: packages ## three incidents against the same system: how long until `status` and the console say what is wrong and what to do
	cargo build --release --locked
	@deploy/local/rehearse.sh

# Most tests wait for servers most of the time: two for each of the processors that CI has.
test: packages ## the whole suite, on private RabbitMQ and Redis servers
	RUST_TEST_THREADS=4 cargo test --locked
	cargo test --locked --features otlp --test traces

model: packages ## more of what the suite tries by chance: 3,000 seeds of the permits' model for each limit, 10,000 simulated runs (about half an hour)
	PACELINE_SEEDS=3000 cargo test --locked --test suite -- --nocapture no_window_is_above
	PACELINE_SIMULATION_SEEDS=10000 cargo test --locked --test simulation -- --nocapture

chaos: packages ## ten minutes in which everything goes wrong: 100,000 jobs, 4 workers, a fault every few seconds; what was lost or sent twice (seed printed)
	cargo bench --locked --bench chaos

bench: packages ## what a worker costs beyond the messages themselves: four programs in turn, five rounds, ratios (about 15 minutes)
	cargo bench --locked --bench floor

measure: packages ## the figures of the README: the limit against the simulated provider, for 1 to 8 workers, with faults, the memory of a worker, validate, one file without servers, dead letters, accounts, growth, each pure step (about two hours)
	cargo bench --locked --no-fail-fast --bench limit --bench pace --bench memory --bench validate --bench embedded --bench dead --bench accounts --bench growth --bench micro

picture: ## the pictures of the demo in the README, captured from a terminal; on a machine that is otherwise idle
	PACELINE_DEMO_CAPTURE=$(CURDIR)/deploy/demo cargo test --locked --release --test demo a_stranger

check: ## format, lint, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --bins --test traces --features otlp -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features --target-dir target -- -D warnings

fuzz: ## fuzzes decoder, rules and filter, a minute each; needs `cargo install cargo-fuzz`, nightly Rust and a C++ compiler
	for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=60 -max_len=65536 || exit 1; \
	done

build: ## the binary, target/release/paceline
	cargo build --release --locked

install: ## binary, man pages, shell completions and systemd unit under DESTDIR and PREFIX (/usr/local); `make build` first
	@test -x $(BIN) || { echo "paceline: there is no $(BIN); run make build first" >&2; exit 1; }
	deploy/install.sh "$(BIN)" "$(DESTDIR)" "$(PREFIX)"

rules: ## the alert rules once more, as the Prometheus operator takes them
	deploy/prometheus/operator.sh >deploy/kubernetes/components/prometheus-operator/prometheusrule.yaml

deploy-check: ## the Kubernetes, compose and Docker files by schemas and linters; needs kubectl and PyPI
	deploy/check.sh

packages:
	@deploy/local/packages.sh
