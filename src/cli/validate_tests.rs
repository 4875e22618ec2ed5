use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{ConfigError, Environment, Settings, load_text};
use crate::job::{Class, Delivery, DeliveryId, Pool};
use crate::ports::{PoolKey, Window};
use crate::ports::{WireAnswer, WireRequest};
use crate::providers::{Gateway, Planned, Provider, Repeat};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

/// Plans one delivery for each member of the payload; its value says what comes of it.
struct Fake;

impl Provider for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn operations(&self) -> &'static [&'static str] {
        &["send"]
    }
    fn keys(&self) -> &'static [crate::config::keys::Key] {
        &[]
    }
    fn configure(&self, _: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        Ok(Arc::new(Self))
    }
    fn payload_schema(&self, _: &str) -> serde_json::Value {
        true.into()
    }
    fn simulated(&self) -> Arc<dyn Simulated> {
        unreachable!("nothing is sent")
    }
    fn samples(&self) -> &'static [&'static str] {
        &[]
    }
}

fn finding(text: &str) -> Finding {
    Finding::new("/payload", text, "something else", "the fake's rules")
}

impl Gateway for Fake {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        if job.operation != "send" {
            return Err(vec![finding("another operation")]);
        }
        let own = Arc::new(job.clone());
        let plan = |(index, good): (usize, &serde_json::Value)| {
            let id = DeliveryId::nth(&job.transaction_id, index);
            if good.as_bool() == Some(true) {
                Ok(Delivery { id, job: own.clone(), class: Class::Exempt, batch: None })
            } else {
                Err(Unfit { id, job: own.clone(), findings: vec![finding("a bad one")] })
            }
        };
        Ok(job.payload.values().enumerate().map(plan).collect())
    }
    fn warnings(&self, job: &Job) -> Vec<Finding> {
        if job.payload.contains_key("odd") { vec![finding("an odd member")] } else { Vec::new() }
    }
    fn request(&self, _: &[&Delivery]) -> WireRequest {
        unreachable!("nothing is sent")
    }
    fn verdict(&self, _: &[&Delivery], _: &WireAnswer, _: bool) -> Verdict {
        unreachable!("nothing is sent")
    }
    fn repeat(&self, _: &Delivery) -> Repeat {
        Repeat::Never
    }
    fn reads(&self, _: &Delivery) -> bool {
        unreachable!("nothing is sent")
    }
    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        let window = Window { requests: 2, length: Duration::from_secs(60) };
        vec![(Pool::main("push"), PoolKey("fake".into()), vec![window])]
    }
    fn fallback_pool(&self, _: &Delivery) -> Option<Pool> {
        None
    }
    fn deliveries_per_request(&self) -> usize {
        1
    }
    fn warm_up_url(&self, _: &Delivery) -> &reqwest::Url {
        unreachable!("nothing is sent")
    }
}

fn config() -> Config {
    let text = "[accounts.news]\nprovider = \"fake\"\n[accounts.shop]\nprovider = \"fake\"";
    let loaded = load_text(text, None, &Environment::default(), &[&Fake]).unwrap_or_else(|e| panic!("{e}"));
    loaded.config
}

fn line(account: &str, operation: &str, payload: &str) -> Line {
    let text = format!(
        r#"{{"transactionId":"t-1","account":"{account}","operation":"{operation}","payload":{payload}}}"#
    );
    Line { number: 7, body: Some(text.into()) }
}

#[test]
fn every_line_is_told_as_a_worker_would_judge_it() {
    let long = Line { number: 7, body: None };
    let no_json = Line { number: 7, body: Some("{".into()) };
    let cases: [(Line, bool, usize, &[&str]); 7] = [
        (line("shop", "send", r#"{"a":true,"b":true}"#), true, 2, &[]),
        (
            line("shop", "send", r#"{"odd":true}"#),
            true,
            1,
            &[
                "line 7 (t-1): warning: /payload: found an odd member, allowed: something else (the fake's rules)",
            ],
        ),
        (
            line("shop", "send", r#"{"a":true,"b":false}"#),
            false,
            1,
            &[
                "line 7 (t-1): delivery t-1#1: /payload: found a bad one, allowed: something else (the fake's rules)",
            ],
        ),
        (
            line("shop", "read", "{}"),
            false,
            0,
            &["line 7 (t-1): /payload: found another operation, allowed: something else (the fake's rules)"],
        ),
        (
            line("shpo", "send", "{}"),
            false,
            0,
            &[
                "line 7 (t-1): /account: found the account shpo, which is not configured, allowed: one of news, \
               shop (configuration)",
            ],
        ),
        (
            long,
            false,
            0,
            &["line 7: the job: found a line of more than 1048576 bytes, allowed: at most 1048576 \
                            bytes (paceline job format)"],
        ),
        (no_json, false, 0, &[]),
    ];
    let config = config();
    for (line, valid, deliveries, expected) in cases {
        let report = check(&line, &config);
        assert_eq!((report.valid, report.deliveries), (valid, deliveries), "{line:?}");
        assert_eq!(report.findings.is_empty(), valid, "{line:?}");
        if !expected.is_empty() || valid {
            assert_eq!(report.to_string().lines().collect::<Vec<_>>(), expected, "{line:?}");
        }
    }
}

#[test]
fn machines_get_the_same() {
    let report = check(&line("shop", "send", r#"{"odd":false}"#), &config());
    let found = serde_json::to_value(Told::Line(&report)).unwrap();
    let one = |text: &str| {
        serde_json::json!({
            "pointer": "/payload", "found": text, "allowed": "something else", "source": "the fake's rules"
        })
    };
    let mut bad = one("a bad one");
    bad["delivery"] = "t-1#0".into();
    let expected = serde_json::json!({
        "kind": "line", "line": 7, "transactionId": "t-1", "valid": false, "deliveries": 0,
        "findings": [bad], "warnings": [one("an odd member")],
    });
    assert_eq!(found, expected);
    let mut summary = Summary::default();
    summary.add(&Summary::of(&report));
    let expected = serde_json::json!({
        "kind": "summary", "jobs": 1, "valid": 0, "invalid": 1, "withWarnings": 1, "deliveries": 0,
    });
    assert_eq!(serde_json::to_value(Told::Summary(&summary)).unwrap(), expected);
}

#[test]
fn an_excerpt_stands_below_its_finding_and_beside_it_for_machines() {
    let excerpt = "T(\"····\", XX, 1)\n           ^";
    let mut report = check(&line("shop", "send", r#"{"odd":true}"#), &config());
    report.warnings[0].finding.excerpt = Some(excerpt.to_owned());
    let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[1..], ["    T(\"····\", XX, 1)", "               ^"]);
    let told = serde_json::to_value(Told::Line(&report)).unwrap();
    assert_eq!(told["warnings"][0]["excerpt"], excerpt);
}

#[test]
fn the_output_has_a_line_for_what_there_is_to_say_and_a_summary() {
    let said = |told: Told<'_>, json| {
        let mut out = String::new();
        told.write(json, &mut out).unwrap();
        out
    };
    let good = check(&line("shop", "send", r#"{"a":true}"#), &config());
    let bad = check(&line("shop", "send", r#"{"a":1}"#), &config());
    for json in [false, true] {
        assert_eq!(said(Told::Line(&good), json), "");
        let text = said(Told::Line(&bad), json);
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    }
    let mut summary = Summary::of(&good);
    summary.add(&Summary::of(&bad));
    assert_eq!(
        said(Told::Summary(&summary), false),
        "2 jobs: 1 valid, 1 invalid, 0 with warnings; 1 deliveries\n"
    );
    summary.stopped_after_line = Some(7);
    assert_eq!(
        said(Told::Summary(&summary), false),
        "2 jobs: 1 valid, 1 invalid, 0 with warnings; 1 deliveries; stopped after line 7, the lines behind it were not checked\n"
    );
    assert!(said(Told::Summary(&summary), true).contains(r#""stoppedAfterLine":7"#));
}
