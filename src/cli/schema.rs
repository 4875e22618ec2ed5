//! `paceline schema`: the JSON Schema of a job, for producers' own checks and editors.

use serde_json::{Map, Value, json};

use super::{Ended, Outcome, print};
use crate::job::{MAX_ID_CHARS, Priority};
use crate::providers::{self, Provider};

/// Prints the JSON Schema (2020-12) of a job
///
/// Holds for every account: which operations an account takes is its provider's. A job that fits
/// the schema may still break a rule that a schema can't state: `paceline validate` knows them all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline schema > job.schema.json")]
pub(super) struct Args {
    /// Accepted for uniformity: the schema is JSON in any case
    #[arg(long)]
    json: bool,
}

pub(super) fn run(_: &Args) -> Outcome {
    print(&format!("{:#}", job_schema(&providers::ALL)))?;
    Ok(Ended::Done)
}

/// The schema of a job for these providers' operations.
pub(crate) fn job_schema(providers: &[&'static dyn Provider]) -> Value {
    let operations: Vec<(&'static str, Value)> = providers
        .iter()
        .flat_map(|provider| {
            provider.operations().iter().map(|operation| (*operation, provider.payload_schema(operation)))
        })
        .collect();
    let names: Vec<&str> = operations.iter().map(|(name, _)| *name).collect();
    let payloads: Vec<Value> =
        operations.into_iter().map(|(name, schema)| payload_rule(name, schema)).collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "paceline job",
        "description": "What a producer publishes: one call of a provider's operation. At most 1 MiB.",
        "type": "object",
        "properties": envelope(&names),
        "required": ["transactionId", "account", "operation", "payload"],
        "additionalProperties": false,
    });
    // An empty allOf is not allowed.
    if !payloads.is_empty() {
        schema["allOf"] = payloads.into();
    }
    schema
}

fn envelope(operations: &[&str]) -> Value {
    json!({
        "transactionId": {
            "description": "Identity of the job within its account.",
            "type": "string",
            "pattern": "^[A-Za-z0-9._:-]+$",
            "minLength": 1,
            "maxLength": MAX_ID_CHARS,
        },
        "account": {
            "description": "An account of the configuration; equals the routing key.",
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{1,64}$",
        },
        "operation": { "description": "The provider's operation.", "enum": operations },
        "payload": {
            "description": "The provider's documented request, without credentials.",
            "type": "object",
        },
        "priority": {
            "description": "The lane in which a counted delivery waits for its permit.",
            "enum": Priority::ALL.map(Priority::as_str),
            "default": Priority::default().as_str(),
        },
        "notBefore": { "description": "Not sent earlier.", "type": "string", "format": "date-time" },
        "expiresAt": {
            "description": "Not sent later: it ends as expired.",
            "type": "string",
            "format": "date-time",
        },
        "meta": { "description": "Echoed in receipts, never sent.", "type": "object" },
    })
}

/// The payload's own schema becomes a resource of its own, so that its references to its own
/// definitions (`#/$defs/…`) still find them inside this document.
fn payload_rule(operation: &str, schema: Value) -> Value {
    let payload = match schema {
        Value::Object(members) => {
            let mut named = Map::new();
            named.insert("$id".to_owned(), format!("urn:paceline:payload:{operation}").into());
            named.extend(members.into_iter().filter(|(name, _)| name != "$id" && name != "$schema"));
            Value::Object(named)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            other
        }
    };
    json!({
        "if": { "properties": { "operation": { "const": operation } }, "required": ["operation"] },
        "then": { "properties": { "payload": payload } },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{ConfigError, Settings};
    use crate::providers::Gateway;
    use crate::simulator::Simulated;

    struct Fake;

    impl Provider for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }
        fn operations(&self) -> &'static [&'static str] {
            &["send", "read"]
        }
        fn keys(&self) -> &'static [crate::config::keys::Key] {
            &[]
        }
        fn configure(&self, _: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
            unreachable!("not part of the schema")
        }
        fn payload_schema(&self, operation: &str) -> Value {
            match operation {
                "send" => json!({
                    "type": "object",
                    "properties": { "to": { "$ref": "#/$defs/device" } },
                    "required": ["to"],
                    "$defs": { "device": { "type": "string" } },
                }),
                _ => json!({ "type": "object", "required": ["code"] }),
            }
        }
        fn simulated(&self) -> Arc<dyn Simulated> {
            unreachable!("not part of the schema")
        }
        fn samples(&self) -> &'static [&'static str] {
            &[]
        }
    }

    fn job(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut job = json!({
            "transactionId": "otp-1", "account": "shop", "operation": "send", "payload": { "to": "x" },
        });
        change(job.as_object_mut().unwrap());
        job
    }

    #[test]
    fn the_schema_takes_jobs_and_refuses_what_is_none() {
        let schema = job_schema(&[&Fake]);
        let validator =
            jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        let set = |name: &'static str, value: Value| {
            job(move |job| {
                job.insert(name.to_owned(), value);
            })
        };
        let longest = "a".repeat(MAX_ID_CHARS);
        let too_long = "a".repeat(MAX_ID_CHARS + 1);
        let cases = [
            (job(|_| {}), true),
            (set("priority", json!("low")), true),
            (set("expiresAt", json!("2026-01-01T00:00:00Z")), true),
            (set("meta", json!({ "any": 1 })), true),
            (set("transactionId", json!(longest)), true),
            (set("transactionId", json!(too_long)), false),
            (set("transactionId", json!("a b")), false),
            (set("transactionId", json!("a#0")), false),
            (set("transactionId", json!("")), false),
            (set("account", json!("a.b")), false),
            (set("operation", json!("steal")), false),
            (set("priority", json!("urgent")), false),
            (set("expiresAt", json!("tomorrow")), false),
            (set("unknown", json!(1)), false),
            (set("payload", json!("text")), false),
            (set("payload", json!({})), false),
            (set("payload", json!({ "to": 5 })), false),
            (set("operation", json!("read")), false),
            (job(|job| drop(job.remove("account"))), false),
            (json!([]), false),
        ];
        for (job, expected) in cases {
            assert_eq!(validator.is_valid(&job), expected, "{job}");
        }
        let read = job(|job| {
            job.insert("operation".into(), json!("read"));
            job.insert("payload".into(), json!({ "code": 1 }));
        });
        assert!(validator.is_valid(&read));
    }

    #[test]
    fn the_samples_of_every_provider_fit_the_schema() {
        let schema = job_schema(&providers::ALL);
        let validator =
            jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        for sample in providers::ALL.iter().flat_map(|provider| provider.samples()) {
            let job: Value = serde_json::from_str(sample).unwrap();
            let errors: Vec<String> = validator.iter_errors(&job).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{sample}\n{errors:?}");
        }
    }
}
