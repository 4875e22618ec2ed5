//! What operators are given, held against what paceline does: alert rules, dashboard, deployment, runbook,
//! installation.
//!
//! Needs Debian's `prometheus` (with `promtool`) and `systemd` (for `systemd-analyze`); nothing of it has to
//! run as a service. Kubernetes' own schemas, compose's, and a linter for the Dockerfile are `make deploy-check`.

#[path = "operations/compose.rs"]
mod compose;
#[path = "operations/dashboard.rs"]
mod dashboard;
#[path = "operations/files.rs"]
mod files;
#[path = "operations/image.rs"]
mod image;
#[path = "operations/install.rs"]
mod install;
#[path = "operations/kubernetes.rs"]
mod kubernetes;
#[path = "operations/prometheus.rs"]
mod prometheus;
#[path = "operations/rules.rs"]
mod rules;
#[path = "operations/runbook.rs"]
mod runbook;
#[path = "operations/scrape.rs"]
mod scrape;
#[path = "operations/unit.rs"]
mod unit;

#[allow(dead_code, unused_imports, reason = "the suite uses all of it, these tests only some")]
mod support;
