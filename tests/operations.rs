//! What operators are given, held against what paceline does: alert rules, dashboard, deployment, runbook,
//! installation.
//!
//! Needs Debian's `prometheus` (with `promtool`) and `systemd` (for `systemd-analyze`); nothing of it has to
//! run as a service. Kubernetes' own schemas, compose's, and a linter for the Dockerfile are `make deploy-check`.

#[path = "operations/files.rs"]
mod files;
#[path = "operations/install.rs"]
mod install;
#[path = "operations/rules.rs"]
mod rules;
