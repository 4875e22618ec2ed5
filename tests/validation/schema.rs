//! `paceline schema` against the rules: what is valid fits it, and it refuses what it reasonably
//! can, so that an editor or a pipeline finds most mistakes without paceline.

use std::collections::BTreeMap;
use std::process::Command;

use paceline::providers::ALL;
use serde_json::{Value, json};

use crate::judge::samples;

/// The least part of the invalid rows that the schema must refuse. A schema can't state every rule:
/// days that exist, members that depend on one another, what depends on the account.
const LEAST_REFUSED: f64 = 0.5;

/// As a producer gets it.
fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).arg("schema").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).expect("a schema")
}

#[test]
fn it_is_one_of_2020_12_and_names_every_operation() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let operations: Vec<&str> = ALL.iter().flat_map(|provider| provider.operations()).copied().collect();
    assert_eq!(schema["properties"]["operation"]["enum"], json!(operations));
    for rule in schema["allOf"].as_array().expect("a rule for each operation") {
        let payload = &rule["then"]["properties"]["payload"];
        assert!(payload["properties"].as_object().is_some_and(|members| !members.is_empty()), "{rule}");
        jsonschema::draft202012::meta::validate(payload).unwrap();
    }
    assert_eq!(schema["allOf"].as_array().map(Vec::len), Some(operations.len()));
}

#[test]
fn valid_jobs_fit_it() {
    let validator = validator(&schema());
    let files =
        include_str!("../../config/jobs.jsonl").lines().map(|line| serde_json::from_str(line).unwrap());
    let files: Vec<Value> = files.filter(|job: &Value| job["transactionId"] != "mistaken").collect();
    assert!(files.len() > 5);
    for job in samples().iter().chain(&files) {
        let errors: Vec<String> = validator.iter_errors(job).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{job}\n{errors:?}");
    }
}

/// The rows of `tests/rules.rs`, as jobs; whether each is valid for an account of its kind.
fn rows() -> Vec<(String, Value, bool)> {
    let tables = [include_str!("../rules/pushwoosh.jsonl"), include_str!("../rules/moengage.jsonl")];
    let mut rows = Vec::new();
    for table in tables {
        let mut bases: BTreeMap<String, Value> = BTreeMap::new();
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let line: Value = serde_json::from_str(line).expect("JSON");
            match (line["base"].as_str(), line["on"].as_str()) {
                (Some(name), _) => drop(bases.insert(name.to_owned(), line.clone())),
                (None, Some(on)) => {
                    rows.push((line.to_string(), job(&bases[on], &line), line["finds"] == json!([])))
                }
                (None, None) => panic!("neither base nor row: {line}"),
            }
        }
    }
    rows
}

fn job(base: &Value, row: &Value) -> Value {
    let mut payload = base["payload"].clone();
    let at = base["at"].as_str().unwrap_or_default();
    let target = payload.pointer_mut(at).and_then(Value::as_object_mut).expect("an object");
    for name in row["without"].as_array().into_iter().flatten() {
        target.shift_remove(name.as_str().expect("a name"));
    }
    target.extend(row["with"].as_object().cloned().unwrap_or_default());
    json!({"transactionId": "t-1", "account": "test", "operation": base["operation"], "payload": payload})
}

#[test]
fn every_valid_row_fits_it_and_most_invalid_ones_do_not() {
    let validator = validator(&schema());
    let (valid, invalid): (Vec<_>, Vec<_>) = rows().into_iter().partition(|(_, _, valid)| *valid);
    assert!(!valid.is_empty() && !invalid.is_empty());
    let wrong: Vec<String> = valid
        .iter()
        .filter_map(|(row, job, _)| validator.validate(job).err().map(|error| format!("{row}: {error}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let let_through: Vec<&String> =
        invalid.iter().filter(|(_, job, _)| validator.is_valid(job)).map(|(row, _, _)| row).collect();
    let refused = 1.0 - let_through.len() as f64 / invalid.len() as f64;
    assert!(refused >= LEAST_REFUSED, "it refuses {refused:.2} of {}, not {let_through:#?}", invalid.len());
    println!("the schema refuses {:.1} % of {} invalid rows", refused * 100.0, invalid.len());
}
