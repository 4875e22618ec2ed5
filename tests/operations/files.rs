//! The files of the checkout, and what is said of them again and again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use paceline::config::{Config, Environment, load_text};
use serde_json::Value;

/// A path of the checkout.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file of the checkout.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A YAML file of one document.
pub fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The members of a list of texts; none where there is no list.
pub fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|word| word.as_str().expect("a text")).collect()
}

/// Runs a program to its end and gives all that it printed; it must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    assert!(output.status.success(), "{command:?}\n{}\n{}", told[0], told[1]);
    told.concat()
}

/// The configuration of a file of the checkout, whose secrets are expected in `secrets`. Each secret that
/// it names must be among `known`.
pub fn configuration(name: &str, secrets: &str, known: &[&str]) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    for secret in known {
        let text = match *secret {
            "amqp_url" | "amqp-url" => "amqp://paceline:password@rabbitmq:5672/%2f",
            "redis-url" => "redis://redis:6379/0",
            _ => "a-credential",
        };
        std::fs::write(folder.path().join(secret), text).expect("a secret");
    }
    let moved = text(name).replace(secrets, &format!("{}/", folder.path().display()));
    let environment = Environment::of([]);
    load_text(&moved, Some(&path(name)), &environment, &paceline::providers::ALL)
        .unwrap_or_else(|errors| panic!("{name}: {errors}"))
        .config
}

/// What is left of a supervisor's time to end a worker when its drain is over.
pub fn grace(given: Duration, config: &Config) -> Duration {
    given.checked_sub(config.worker.drain).expect("longer than the drain")
}
