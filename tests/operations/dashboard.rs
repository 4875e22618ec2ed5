//! The Grafana dashboard: what it asks for, and that it can be read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::files::{text, yaml};

const DASHBOARD: &str = "deploy/grafana/dashboard.json";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).expect("JSON")
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("panels")
}

/// Every expression of a panel, with the variables set to what a person sees at first.
pub fn expressions() -> Vec<String> {
    let dashboard = dashboard();
    let targets =
        panels(&dashboard).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let set = |target: &Value| {
        let expression = target["expr"].as_str().expect("an expression");
        expression.replace("$job", "paceline").replace("$account", ".*").replace("$__rate_interval", "1m")
    };
    let found: Vec<String> = targets.map(set).collect();
    for expression in &found {
        assert!(!expression.contains('$'), "a variable that nobody set: {expression}");
    }
    found
}

#[test]
fn every_panel_has_a_title_a_description_a_place_and_a_question() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect(title));
        assert!(x + w <= 24, "{title} is wider than the screen");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().expect(title);
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().expect(title);
            assert!(expression.contains("job=\"$job\""), "{title} mixes installations: {expression}");
        }
    }
    assert!(ids.len() > 20, "{} panels", ids.len());
}

#[test]
fn it_can_be_narrowed_to_an_account_and_is_provisioned() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<&str> =
        variables.iter().map(|variable| variable["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["datasource", "job", "account"]);
    let narrowed = expressions().len();
    let by_account = panels(&dashboard)
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .filter(|target| target["expr"].as_str().is_some_and(|text| text.contains("account=~\"$account\"")))
        .count();
    assert!(by_account * 4 > narrowed * 3, "{by_account} of {narrowed} go by the account");
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(sources["datasources"][0]["type"], "prometheus");
    let folder = yaml("deploy/grafana/provisioning/dashboards/paceline.yml");
    let mounted = folder["providers"][0]["options"]["path"].as_str().expect("a folder").to_owned();
    assert!(
        text("deploy/compose/compose.yml").contains(&format!("{DASHBOARD_MOUNT}:{mounted}/")),
        "{mounted}"
    );
}

/// How compose.yml names the file.
const DASHBOARD_MOUNT: &str = "../grafana/dashboard.json";
