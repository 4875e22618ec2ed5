//! The Kubernetes files: kustomizations name what is there, the Deployment is what the restricted standard
//! asks for, and what belongs together fits together. Kubernetes' own schemas are `make deploy-check`.

use std::time::Duration;

use serde_json::{Value, json};

use super::files::{configuration, grace, path, text, words, yaml};

const ROOT: &str = "deploy/kubernetes";
const KUSTOMIZATIONS: [&str; 4] =
    ["base", "overlays/example", "components/keda", "components/prometheus-operator"];
/// Kinds of operators, whose schemas are kept with this test.
const SCHEMAS: [(&str, &str); 3] = [
    ("components/keda/scaledobject.yaml", include_str!("schemas/ScaledObject.json")),
    ("components/prometheus-operator/servicemonitor.yaml", include_str!("schemas/ServiceMonitor.json")),
    ("components/prometheus-operator/prometheusrule.yaml", include_str!("schemas/PrometheusRule.json")),
];

fn file(name: &str) -> Value {
    yaml(&format!("{ROOT}/{name}"))
}

fn deployment() -> Value {
    file("base/deployment.yaml")
}

fn worker(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn kustomizations_name_every_file_and_every_file_is_named() {
    for folder in KUSTOMIZATIONS {
        let kustomization = file(&format!("{folder}/kustomization.yaml"));
        let kind = kustomization["kind"].as_str().expect("a kind");
        assert_eq!(kind == "Component", folder.starts_with("components/"), "{folder}");
        let at = path(ROOT).join(folder);
        let resources = words(&kustomization["resources"]);
        for named in resources.iter().chain(&words(&kustomization["components"])) {
            let target = at.join(named);
            assert!(target.is_file() || target.join("kustomization.yaml").is_file(), "{folder}: {named}");
        }
        for entry in std::fs::read_dir(&at).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let generated = kustomization["configMapGenerator"][0]["files"][0] == name.as_str();
            let known = resources.contains(&name.as_str()) || generated;
            assert!(known || ["kustomization.yaml", "README.md"].contains(&name.as_str()), "{folder}/{name}");
        }
    }
}

#[test]
fn every_object_has_its_kind_and_a_name() {
    for folder in KUSTOMIZATIONS {
        for name in words(&file(&format!("{folder}/kustomization.yaml"))["resources"]) {
            if !name.ends_with(".yaml") {
                continue;
            }
            let object = file(&format!("{folder}/{name}"));
            for key in ["/apiVersion", "/kind", "/metadata/name"] {
                assert!(object.pointer(key).is_some_and(Value::is_string), "{folder}/{name}: no {key}");
            }
        }
    }
}

#[test]
fn objects_of_operators_fit_their_schemas() {
    for (name, schema) in SCHEMAS {
        let schema: Value = serde_json::from_str(schema).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let object = file(name);
        let errors: Vec<String> = validator
            .iter_errors(&object)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let mut wrong = object;
        wrong["spec"]["nonsense"] = json!(1);
        assert!(!validator.is_valid(&wrong), "{name}: its schema takes anything");
    }
}

#[test]
fn the_deployment_is_what_the_restricted_standard_asks_for() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    let image_user = format!("USER {0}:{0}", security["runAsUser"]);
    assert!(text("deploy/docker/Dockerfile").lines().any(|line| line == image_user), "{image_user}");
    let worker = worker(&deployment);
    assert_eq!(
        worker["securityContext"],
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
    );
    assert!(
        worker["resources"]["limits"]["memory"].is_string() && worker["resources"]["requests"].is_object()
    );
    let namespace = file("overlays/example/namespace.yaml");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn probes_ports_and_the_grace_period_are_the_workers() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    let worker = worker(&deployment);
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(worker[probe]["httpGet"], json!({"path": path, "port": "metrics"}));
    }
    assert_eq!(worker["ports"], json!([{"name": "metrics", "containerPort": 9464}]));
    let stop = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().expect("seconds"));
    // Broker and store are asked one after the other.
    let patience = paceline::admin::PATIENCE.as_secs() * 2;
    assert!(worker["readinessProbe"]["timeoutSeconds"].as_u64() > Some(patience));
    for name in ["base/paceline.toml", "overlays/example/paceline.toml"] {
        let config = configuration(
            &format!("{ROOT}/{name}"),
            "/run/secrets/paceline/",
            &["amqp-url", "redis-url", "pushwoosh-token", "moengage-push-key", "moengage-campaign-key"],
        );
        assert!(grace(stop, &config) >= Duration::from_secs(20), "{name}");
        assert_eq!(
            config.admin.map(|address| address.to_string()).as_deref(),
            Some("0.0.0.0:9464"),
            "{name}"
        );
    }
    let mounts = worker["volumeMounts"].as_array().expect("mounts");
    let mounted: Vec<&str> =
        mounts.iter().map(|mount| mount["mountPath"].as_str().expect("a path")).collect();
    assert_eq!(mounted, ["/etc/paceline", "/run/secrets/paceline"]);
    assert_eq!(worker["env"], json!([{"name": "PACELINE_CONFIG", "value": "/etc/paceline/paceline.toml"}]));
}

#[test]
fn policies_and_monitors_choose_the_workers_and_nobody_else() {
    let chosen = json!({"matchLabels": {"app.kubernetes.io/name": "paceline"}});
    let labels = &file("base/kustomization.yaml")["labels"][0];
    assert_eq!(labels["pairs"], chosen["matchLabels"]);
    assert_eq!((&labels["includeSelectors"], &labels["includeTemplates"]), (&json!(true), &json!(true)));
    // An empty selector of a policy means every pod of the namespace.
    assert_eq!(file("base/poddisruptionbudget.yaml")["spec"]["selector"], chosen);
    let policy = file("base/networkpolicy.yaml");
    assert_eq!(policy["spec"]["podSelector"], chosen);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["ingress"][0]["ports"], json!([{"port": "metrics", "protocol": "TCP"}]));
    assert_eq!(file("components/prometheus-operator/servicemonitor.yaml")["spec"]["selector"], chosen);
    assert_eq!(
        file("base/service.yaml")["metadata"]["name"],
        "paceline",
        "the scrape's job is called after it"
    );
}

#[test]
fn scaling_looks_at_job_queues_alone_and_leaves_out_what_is_paused() {
    let scaled = file("components/keda/scaledobject.yaml");
    let spec = &scaled["spec"];
    assert_eq!(spec["scaleTargetRef"]["name"], deployment()["metadata"]["name"]);
    assert!(spec["minReplicaCount"].as_u64() <= spec["maxReplicaCount"].as_u64());
    let query = spec["triggers"][0]["metadata"]["query"].as_str().expect("a query");
    // Lanes hold what a provider's limit holds back.
    assert_eq!(query.matches("paceline_queue_depth").count(), query.matches("queue=\"jobs\"").count());
    assert!(query.contains("unless on (account) max by (account) (paceline_account_paused"), "{query}");
    let patch = file("components/keda/kustomization.yaml")["patches"][0]["patch"].to_string();
    assert!(patch.contains("/spec/replicas"), "two would set the number of workers");
}
