//! The compose file: what it names is there, what listens is private, secrets are files.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::files::{configuration, grace, path, run, text, words, yaml};

const FOLDER: &str = "deploy/compose";
const SECRETS: [&str; 4] = ["amqp_url", "pushwoosh_token", "moengage_push_key", "moengage_campaign_key"];

fn compose() -> Value {
    yaml("deploy/compose/compose.yml")
}

/// The names of a table.
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// What a service uses of a kind: a text, or a table with a `source`.
fn used<'a>(service: &'a Value, kind: &str) -> Vec<&'a str> {
    let all = service[kind].as_array().into_iter().flatten();
    all.map(|one| one.as_str().or_else(|| one["source"].as_str()).expect("a name")).collect()
}

#[test]
fn everything_that_a_service_names_is_there() {
    let compose = compose();
    for kind in ["networks", "secrets", "configs"] {
        let known = keys(&compose[kind]);
        let mut seen = BTreeSet::new();
        for (name, service) in compose["services"].as_object().expect("services") {
            for used in used(service, kind) {
                assert!(known.contains(used), "{name} uses {kind} {used}");
                seen.insert(used);
            }
        }
        assert_eq!(seen, known, "{kind} that nobody uses");
    }
    for kind in ["configs", "secrets"] {
        for (name, one) in compose[kind].as_object().expect(kind) {
            let file = one["file"].as_str().expect("a file");
            let made = file.strip_prefix("secrets/").is_some_and(|made| made == name);
            assert!(made || path(FOLDER).join(file).is_file(), "{kind} {name}: no {file}");
        }
    }
    for (name, service) in compose["services"].as_object().expect("services") {
        for depends in keys(&service["depends_on"]) {
            let on = &compose["services"][depends];
            assert!(
                on["healthcheck"]["test"].is_array(),
                "{name} waits for {depends}, which tells no health"
            );
        }
        for volume in words(&service["volumes"]) {
            let source = volume.split(':').next().expect("a source");
            let is_there = if source.starts_with('.') {
                path(FOLDER).join(source).exists()
            } else {
                keys(&compose["volumes"]).contains(source)
            };
            assert!(is_there, "{name}: {volume}");
        }
    }
}

#[test]
fn images_are_pinned_ports_are_on_loopback_and_secrets_in_files_alone() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().expect("services") {
        let image = service["image"].as_str().expect("an image");
        let built = service["build"].is_object();
        assert!(built || image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image}");
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to the network: {port}");
        }
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["PASS", "TOKEN", "KEY", "SECRET"].iter().any(|word| key.contains(word));
            let is_file =
                key.ends_with("__FILE") && value.as_str().is_some_and(|at| at.starts_with("/run/secrets/"));
            assert!(!is_secret || is_file, "{name}: {key}");
        }
    }
    assert_eq!(compose["networks"]["inside"]["internal"], true);
}

#[test]
fn the_worker_has_its_configuration_its_secrets_and_time_to_drain() {
    let config = configuration("deploy/compose/paceline.toml", "/run/secrets/", &SECRETS);
    let worker = &compose()["services"]["worker"];
    assert_eq!(used(worker, "secrets"), SECRETS);
    let stop = worker["stop_grace_period"].as_str().expect("a time").strip_suffix('s').expect("seconds");
    assert!(grace(Duration::from_secs(stop.parse().unwrap()), &config) >= Duration::from_secs(10));
    assert_eq!(config.admin.map(|address| address.port()), Some(9464));
    let scraped = yaml("deploy/compose/prometheus.yml");
    assert_eq!(scraped["scrape_configs"][0]["job_name"], "paceline");
    assert_eq!(scraped["scrape_configs"][0]["dns_sd_configs"][0]["port"], 9464);
}

#[test]
fn the_secrets_are_made_once_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    std::fs::copy(path("deploy/compose/secrets.sh"), &script).unwrap();
    run(&mut Command::new(&script));
    let made = folder.path().join("secrets");
    assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    let read = || -> Vec<(String, String)> {
        let compose = compose();
        let names = keys(&compose["secrets"]).into_iter().map(str::to_owned);
        names.map(|name| (name.clone(), std::fs::read_to_string(made.join(name)).unwrap())).collect()
    };
    let first = read();
    assert_eq!(std::fs::read_dir(&made).unwrap().count(), first.len(), "one file for each secret");
    run(&mut Command::new(&script));
    assert_eq!(read(), first, "what was there is left as it is");
    let of = |name: &str| first.iter().find(|(found, _)| found == name).unwrap().1.trim().to_owned();
    let user = of("rabbitmq_user");
    let password = user.lines().find_map(|line| line.strip_prefix("default_pass = ")).expect("a password");
    assert_eq!(of("amqp_url"), format!("amqp://paceline:{password}@rabbitmq:5672/%2f"));
    assert!(text(".gitignore").lines().any(|line| line == "deploy/compose/secrets/"));
}
