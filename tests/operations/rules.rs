//! The alert rules: Prometheus' own tool accepts them, and each is tested firing and quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::files::{path, run, text, yaml};

const RULES: &str = "deploy/prometheus/rules.yml";
const TESTS: &str = "deploy/prometheus/tests.yml";

/// All alerts, in the order of the file.
pub fn alerts() -> Vec<Value> {
    let rules = yaml(RULES);
    let groups = rules["groups"].as_array().expect("groups").iter();
    let all = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
    all.filter(|rule| rule["alert"].is_string()).cloned().collect()
}

/// The name of an alert.
pub fn name(alert: &Value) -> &str {
    alert["alert"].as_str().expect("an alert")
}

fn promtool(arguments: &[&str]) -> String {
    run(Command::new("promtool").args(arguments).current_dir(path("")))
}

#[test]
fn promtool_accepts_the_rules_and_both_configurations() {
    let told = promtool(&["check", "rules", RULES]);
    assert!(told.contains("SUCCESS") && !told.contains("duplicate"), "{told}");
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"]);
    // Its rules lie beside it in the container only.
    promtool(&["check", "config", "--syntax-only", "deploy/compose/prometheus.yml"]);
}

#[test]
fn every_alert_fires_and_keeps_quiet_as_it_should() {
    promtool(&["test", "rules", TESTS]);
}

#[test]
fn every_alert_is_tested_firing_and_quiet() {
    let tests = yaml(TESTS);
    let mut cases: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for test in tests["tests"].as_array().expect("tests") {
        for case in test["alert_rule_test"].as_array().expect("cases") {
            let fires = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            cases.entry(case["alertname"].as_str().expect("a name").to_owned()).or_default().insert(fires);
        }
    }
    let wanted: BTreeMap<String, BTreeSet<bool>> =
        alerts().iter().map(|alert| (name(alert).to_owned(), BTreeSet::from([false, true]))).collect();
    assert_eq!(cases, wanted);
}

#[test]
fn every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() {
    let found = alerts();
    assert!(found.len() >= 10, "{} alerts", found.len());
    for alert in &found {
        let name = name(alert);
        let severity = alert["labels"]["severity"].as_str().expect(name);
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let [summary, description] =
            ["summary", "description"].map(|key| alert["annotations"][key].as_str().expect(name));
        assert!((15..=90).contains(&summary.len()), "{name}: {summary}");
        assert!((60..=400).contains(&description.len()), "{name}: {description}");
        let runbook = format!("deploy/runbook.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], runbook.as_str(), "{name}");
    }
}

#[test]
fn the_operators_rules_are_these_rules() {
    let made = run(&mut Command::new(path("deploy/prometheus/operator.sh")));
    let kept = "deploy/kubernetes/components/prometheus-operator/prometheusrule.yaml";
    assert_eq!(text(kept), made, "run make rules");
    assert_eq!(yaml(kept)["spec"], yaml(RULES));
}
