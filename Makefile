# Everything there is to do with a checkout. Needs Rust and git; installs the rest where it can.
.DEFAULT_GOAL := help
.PHONY: help run test measure check packages

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: packages ## the main job: broker, store, simulated providers, a worker, sample jobs, a table
	cargo build --release --locked
	@deploy/local/run.sh

test: packages ## the whole suite, on private RabbitMQ and Redis servers
	cargo test --locked

measure: packages ## the figures of the README, against the simulated provider (about 5 minutes)
	cargo bench --locked --bench limit

check: ## format, lint, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

packages:
	@deploy/local/packages.sh
