# Everything there is to do with a checkout. Needs Rust and git; installs the rest where it can.
.DEFAULT_GOAL := help
.PHONY: help run test model chaos measure picture check fuzz packages

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: packages ## the main job: broker, store, simulated providers, a worker, sample jobs, a table
	cargo build --release --locked
	@deploy/local/run.sh

# Most tests wait for servers most of the time: two for each of the processors that CI has.
test: packages ## the whole suite, on private RabbitMQ and Redis servers
	RUST_TEST_THREADS=4 cargo test --locked

model: packages ## more of what the suite tries by chance: 3,000 seeds of the permits' model for each limit, 10,000 simulated runs (about half an hour)
	PACELINE_SEEDS=3000 cargo test --locked --test suite -- --nocapture no_window_is_above
	PACELINE_SIMULATION_SEEDS=10000 cargo test --locked --test simulation -- --nocapture

chaos: packages ## ten minutes in which everything goes wrong: 100,000 jobs, 4 workers, a fault every few seconds; what was lost or sent twice (seed printed)
	cargo bench --locked --bench chaos

measure: packages ## the figures of the README: the limit against the simulated provider, for 1 to 8 workers, with faults, the memory of a worker, validate, and one file without servers (about an hour)
	cargo bench --locked --no-fail-fast --bench limit --bench pace --bench memory --bench validate --bench embedded --bench dead

picture: ## the pictures of the demo in the README, captured from a terminal; on a machine that is otherwise idle
	PACELINE_DEMO_CAPTURE=$(CURDIR)/deploy/demo cargo test --locked --release --test demo a_stranger

check: ## format, lint, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features --target-dir target -- -D warnings

fuzz: ## fuzzes decoder, rules and filter, a minute each; needs `cargo install cargo-fuzz`, nightly Rust and a C++ compiler
	for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=60 -max_len=65536 || exit 1; \
	done

packages:
	@deploy/local/packages.sh
