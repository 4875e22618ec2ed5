//! A real Prometheus scrapes a real worker: what rules, dashboard and scaling ask for is there.

use std::collections::BTreeSet;

use paceline::simulator::faults::FaultPlan;
use serde_json::{Value, json};

use super::dashboard;
use super::files::yaml;
use super::prometheus::Prometheus;
use super::support::jobs::{counted_job, exempt_job, user_job};
use super::support::world::{Options, World};

/// The metrics of the public interface. A histogram is known by its count.
const CONTRACT: [&str; 15] = [
    "paceline_jobs_received_total",
    "paceline_deliveries_settled_total",
    "paceline_deliveries_retried_total",
    "paceline_provider_requests_total",
    "paceline_provider_request_duration_seconds_count",
    "paceline_delivery_age_seconds_count",
    "paceline_permit_wait_seconds_count",
    "paceline_requests_in_flight",
    "paceline_circuit_state",
    "paceline_account_paused",
    "paceline_limit_used_ratio",
    "paceline_queue_depth",
    "paceline_oldest_age_seconds",
    "paceline_dead_letters",
    "paceline_dependency_up",
];

/// Told only when a minute had enough counted requests; that it is told, and how it is called, is
/// checked in `src/metrics.rs`.
const RARE: &str = "paceline_round_trip_spread_seconds";

/// A run in which every kind of thing happens once.
async fn eventful() -> World {
    let more = "[circuit]\ncredentials_pause = \"1s\"";
    let mut world = World::with(Options { embedded: false, more, ..Options::default() }).await;
    world.start_worker().await;
    world.provider.set_faults(FaultPlan::parse(&["pushwoosh:503*1"]).expect("a plan"));
    let mut unsound = counted_job("unsound", "normal");
    unsound["payload"]["notifications"][0]["send_date"] = json!("soon");
    world
        .publish(&[
            counted_job("urgent", "high"),
            counted_job("usual", "normal"),
            exempt_job("exempt"),
            user_job("user"),
            unsound,
        ])
        .await;
    world.settle().await;
    world
}

/// The names of metrics in an expression.
fn names(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || "_:".contains(letter)));
    words.filter(|word| word.starts_with("paceline_")).collect()
}

/// Every rule was evaluated without an error.
async fn rules_are_evaluated(prometheus: &Prometheus) -> bool {
    let data = prometheus.data("rules").await.unwrap_or_default();
    let groups = data["groups"].as_array().cloned().unwrap_or_default();
    let rules: Vec<Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
    for rule in &rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
    rules.len() > super::rules::alerts().len() && rules.iter().all(|rule| rule["health"] == "ok")
}

async fn every_name_is_told(prometheus: &Prometheus) -> BTreeSet<String> {
    for name in CONTRACT {
        prometheus
            .until(name, || async { prometheus.query(name).await.is_ok_and(|found| !found.is_empty()) })
            .await;
    }
    let told = prometheus.data("label/__name__/values").await.expect("names");
    super::files::words(&told).into_iter().map(str::to_owned).collect()
}

/// Asks it, and waits for an answer with something in it where something has to be.
async fn is_answered(prometheus: &Prometheus, told: &BTreeSet<String>, expression: &str) {
    prometheus.query(expression).await.unwrap_or_else(|error| panic!("{expression}\n{error}"));
    for name in names(expression) {
        assert!(name == RARE || told.contains(name), "{name} is not told: {expression}");
    }
    // What only shows trouble, or what waits, has nothing to show here.
    let may_be_empty = expression.contains("> 0") || expression.contains(RARE);
    if !may_be_empty {
        prometheus
            .until(expression, || async {
                prometheus.query(expression).await.is_ok_and(|found| !found.is_empty())
            })
            .await;
    }
}

/// Whether an alert of the account waits for its time to fire, or fires.
async fn is_noticed(prometheus: &Prometheus, alert: &str) -> bool {
    let alerts = prometheus.data("alerts").await.unwrap_or_default();
    let all = alerts["alerts"].as_array().cloned().unwrap_or_default();
    all.iter().any(|one| one["labels"]["alertname"] == alert && one["labels"]["account"] == "shop")
}

/// The provider refuses the credential for a while: from its answer to the alert, and back.
async fn a_revoked_credential_is_noticed(world: &mut World, prometheus: &Prometheus) {
    const ALERT: &str = "PacelineCredentialsRefused";
    assert!(!is_noticed(prometheus, ALERT).await);
    world.provider.set_faults(FaultPlan::parse(&["pushwoosh:401@100%"]).expect("a plan"));
    world.publish(&[counted_job("refused", "high")]).await;
    prometheus.until("the alert is pending", || is_noticed(prometheus, ALERT)).await;
    world.provider.set_faults(FaultPlan::default());
    world.settle().await;
    prometheus.until("the alert is over", || async { !is_noticed(prometheus, ALERT).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_is_told_what_rules_dashboard_and_scaling_ask_for() {
    let mut world = eventful().await;
    let prometheus = Prometheus::scraping(&world.workers[0].admin).await;
    prometheus
        .until("the target is up", || async {
            let up = prometheus.query("up{job=\"paceline\"} == 1").await;
            up.is_ok_and(|found| found.len() == 1)
        })
        .await;
    let told = every_name_is_told(&prometheus).await;
    prometheus.until("every rule is evaluated", || rules_are_evaluated(&prometheus)).await;
    for rule in yaml("deploy/prometheus/rules.yml")["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
    {
        for name in names(rule["expr"].as_str().expect("an expression")) {
            assert!(name == RARE || told.contains(name), "{name} is not told: {rule}");
        }
    }
    for expression in dashboard::expressions() {
        is_answered(&prometheus, &told, &expression).await;
    }
    let scaling = yaml("deploy/kubernetes/components/keda/scaledobject.yaml");
    let query = scaling["spec"]["triggers"][0]["metadata"]["query"].as_str().expect("a query");
    is_answered(&prometheus, &told, query).await;
    a_revoked_credential_is_noticed(&mut world, &prometheus).await;
    drop(prometheus);
    world.finish().await;
}

#[test]
fn names_of_metrics_are_found_in_expressions() {
    let expression =
        "sum by (le) (rate(paceline_a_bucket{b=\"c\"}[5m])) / account:paceline_d:max > paceline_e";
    assert_eq!(names(expression), BTreeSet::from(["paceline_a_bucket", "paceline_e"]));
}
