use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::job::{AccountName, Object, Priority, TransactionId};
use crate::providers::account::parse_base_url;

/// Every targeting but one; the samples name accounts as the documentation does.
pub(super) fn account() -> Account {
    Account {
        base_url: parse_base_url(DEFAULT_BASE_URL).unwrap(),
        api_token: Secret::new("token-of-the-shop"),
        application: Some("OWN00-00001".to_owned()),
        requests_per_minute: Some(DEFAULT_REQUESTS_PER_MINUTE),
        exempt_devices: 10,
        notifications_per_request: 20,
        require_targeting: false,
    }
}

#[test]
fn the_defaults_that_are_told_are_those_that_hold() {
    for (name, holds) in [
        ("base_url", format!("{DEFAULT_BASE_URL:?}")),
        ("requests_per_minute", DEFAULT_REQUESTS_PER_MINUTE.to_string()),
        ("exempt_devices", DEFAULT_EXEMPT_DEVICES.to_string()),
        ("notifications_per_request", DEFAULT_NOTIFICATIONS_PER_REQUEST.to_string()),
        ("require_targeting", false.to_string()),
    ] {
        let key = keys::ALL.iter().find(|key| key.name == name).unwrap();
        assert_eq!(key.default, Some(holds.as_str()), "{name}");
    }
}

pub(super) fn gateway() -> Pushed {
    Pushed { account: account() }
}

pub(super) fn gateway_with(change: impl FnOnce(&mut Account)) -> Pushed {
    let mut account = account();
    change(&mut account);
    Pushed { account }
}

pub(super) fn job(payload: Value) -> Job {
    let Value::Object(payload) = payload else { panic!("a payload is an object") };
    Job {
        transaction_id: TransactionId::new("job-1").unwrap(),
        account: AccountName::new("shop").unwrap(),
        operation: "createMessage".to_owned(),
        payload: payload.into(),
        priority: Priority::Normal,
        not_before: None,
        expires_at: None,
        meta: None,
    }
}

pub(super) fn targeted_job(payload: Value) -> Job {
    let mut job = job(payload);
    job.operation = "createTargetedMessage".to_owned();
    job
}

fn sample_job(text: &str) -> Job {
    let sample: Value = serde_json::from_str(text).unwrap();
    let mut job = job(sample["payload"].clone());
    job.transaction_id = TransactionId::new(sample["transactionId"].as_str().unwrap()).unwrap();
    job.operation = sample["operation"].as_str().unwrap().to_owned();
    job
}

#[test]
fn operations_are_the_ones_of_the_enum() {
    let names = [
        "createMessage",
        "createTargetedMessage",
        "deleteMessage",
        "cancelMessage",
        "getMessageDetails",
        "getPushHistory",
    ];
    assert_eq!(Pushwoosh.operations(), names);
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()), Some(operation));
        assert!(Pushwoosh.payload_schema(operation.name()).is_object());
    }
    assert_eq!(Pushwoosh.payload_schema("deleteEverything"), json!(false));
}

#[test]
fn an_unknown_operation_is_named_with_the_known_ones() {
    let mut job = job(json!({}));
    for (operation, found) in
        [("createMesage", "the operation createMesage"), ("a b", "a text of 3 characters")]
    {
        job.operation = operation.to_owned();
        let findings = gateway().plan(&job).unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].pointer, "/operation");
        assert_eq!(findings[0].found, found);
        assert_eq!(findings[0].allowed, Operation::NAMES.join(", "));
        assert!(gateway().warnings(&job).is_empty());
    }
}

#[test]
fn samples_are_valid_jobs_and_cover_every_operation() {
    let mut operations = Vec::new();
    for text in Pushwoosh.samples() {
        let sample: Value = serde_json::from_str(text).unwrap();
        assert_eq!(sample["account"], "shop");
        let job = sample_job(text);
        let planned = gateway().plan(&job).unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
        assert!(planned.iter().all(Result::is_ok), "{text}: {planned:?}");
        assert!(gateway().warnings(&job).len() < 2, "{text}");
        let schema = Pushwoosh.payload_schema(&job.operation);
        assert!(jsonschema::is_valid(&schema, &sample["payload"]), "{text}");
        operations.push(job.operation);
    }
    assert!(Pushwoosh.operations().iter().all(|name| operations.iter().any(|used| used == name)));
}

#[test]
fn pools_follow_the_credential_and_the_limit() {
    let [(pool, key, windows), (CALLS, _, unlimited)] = &gateway().pools()[..] else { panic!("two pools") };
    assert!(unlimited.is_empty(), "no limit of the other calls is known");
    assert_eq!(*pool, Pool::main("messages"));
    assert_eq!(windows[..], [Window { requests: 600, length: Duration::from_secs(60) }]);
    assert!(!key.0.contains("token-of-the-shop"));

    let same = gateway_with(|account| account.base_url = parse_base_url("https://cp.pushwoosh.com").unwrap());
    assert_eq!(same.pools()[0].1, *key, "one credential has one limit, whatever the address");
    let other = gateway_with(|account| account.api_token = Secret::new("another-token"));
    assert_ne!(other.pools()[0].1, *key);
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(unlimited.pools()[0].2, []);
}

#[test]
fn the_schemas_are_schemas() {
    for operation in Operation::ALL {
        jsonschema::meta::validate(&Pushwoosh.payload_schema(operation.name())).unwrap();
    }
}

/// The jobs of the table of rules, and whether each is valid; without the grammar inside the text of
/// a filter, of which a schema knows nothing.
fn table() -> Vec<(Job, bool)> {
    let lines = include_str!("../../../tests/rules/pushwoosh.jsonl").lines();
    let mut bases = Map::new();
    let mut jobs = Vec::new();
    for line in lines.map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if let Some(name) = line["base"].as_str() {
            bases.insert(name.to_owned(), line);
            continue;
        }
        if line["rule"].as_str().unwrap().starts_with("2.7") {
            continue;
        }
        let base = &bases[line["on"].as_str().unwrap()];
        let mut payload = base["payload"].clone();
        let place = base["at"].as_str().unwrap_or_default();
        let object = payload.pointer_mut(place).and_then(Value::as_object_mut).unwrap();
        for name in line["without"].as_array().into_iter().flatten() {
            object.remove(name.as_str().unwrap());
        }
        object.extend(line["with"].as_object().cloned().unwrap_or_default());
        let mut job = job(payload);
        job.transaction_id = TransactionId::new("t-1").unwrap();
        job.operation = base["operation"].as_str().unwrap().to_owned();
        jobs.push((job, line["finds"] == json!([])));
    }
    jobs
}

#[test]
fn the_schemas_take_every_valid_job_and_see_most_mistakes() {
    let validators = Operation::ALL
        .map(|operation| jsonschema::validator_for(&Pushwoosh.payload_schema(operation.name())).unwrap());
    let (mut seen, mut mistakes) = (0, 0);
    for (job, valid) in table() {
        let operation = Operation::parse(&job.operation).unwrap();
        let index = Operation::ALL.iter().position(|one| *one == operation).unwrap();
        let payload = Value::Object(Object::clone(&job.payload));
        let taken = validators[index].is_valid(&payload);
        if valid {
            assert!(taken, "the schema is stricter than the check: {payload}");
        } else {
            mistakes += 1;
            seen += usize::from(!taken);
        }
    }
    assert!(seen * 10 > mistakes * 9, "{seen} of {mistakes}");
}

#[test]
fn repeats_and_fallbacks() {
    let exempt = json!({"notifications": [{"send_date": "now", "content": "x", "devices": ["d"]}]});
    let counted = json!({"notifications": [{"send_date": "now", "content": "x", "users": ["u"]}]});
    let plan =
        |gateway: &Pushed, payload: &Value| gateway.plan(&job(payload.clone())).unwrap().remove(0).unwrap();
    let limited = gateway();
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(limited.fallback_pool(&plan(&limited, &exempt)), Some(MESSAGES));
    assert_eq!(limited.fallback_pool(&plan(&limited, &counted)), None);
    assert_eq!(unlimited.fallback_pool(&plan(&unlimited, &counted)), Some(MESSAGES));
    assert_eq!(limited.repeat(&plan(&limited, &counted)), Repeat::Within(Duration::from_secs(300)));
    assert_eq!(limited.deliveries_per_request(), 20);
    assert!(!limited.reads(&plan(&limited, &counted)));
}

/// Any JSON value, made mostly of names and values that the rules look at.
pub(crate) fn any_json(
    names: &'static [&'static str],
    words: &'static [&'static str],
) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2_i64..40).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(words).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let name = prop_oneof![9 => prop::sample::select(names).prop_map(str::to_owned), 1 => ".{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

const NAMES: &[&str] = &[
    "notifications",
    "application",
    "applications_group",
    "auth",
    "request",
    "send_date",
    "content",
    "devices",
    "users",
    "filter",
    "conditions",
    "platforms",
    "transactionId",
    "send_rate",
    "data",
    "en",
    "devices_filter",
    "geozone",
    "lat",
    "timezone",
    "ios_badges",
    "ios_root_params",
    "safari_title",
    "wns_content",
];
const WORDS: &[&str] = &[
    "now",
    "2026-01-01 10:00",
    "EQ",
    "BETWEEN",
    "NOTSET",
    "job-1#0",
    "job-1",
    "+123",
    "",
    "A(\"a\")",
    "90 days ago",
];

/// Payloads of which a good part is valid.
fn likely_payload() -> impl Strategy<Value = Value> {
    let target = prop_oneof![
        Just(json!({"devices": ["d1"]})),
        Just(json!({"users": ["u1"], "devices": ["d1"]})),
        Just(json!({"filter": "f"})),
        Just(json!({"conditions": [["a", "ANY"]]})),
        Just(json!({"devices": []})),
        Just(json!({})),
    ];
    let own = prop_oneof![
        Just(json!({})),
        Just(json!({"transactionId": "own"})),
        Just(json!({"transactionId": "job-1#1"}))
    ];
    let date = prop_oneof![Just("now"), Just("2026-01-01 10:00"), Just("2026-99-01 10:00")];
    let notification = (target, own, date, any_json(NAMES, WORDS)).prop_map(|(target, own, date, data)| {
        let mut object = Object::new();
        object.insert("send_date".into(), date.into());
        object.insert("content".into(), "text".into());
        object.insert("data".into(), data);
        for part in [target, own] {
            object.extend(part.as_object().unwrap().clone());
        }
        Value::Object(object)
    });
    prop::collection::vec(notification, 1..5).prop_map(|list| json!({"notifications": list}))
}

proptest! {
    #[test]
    fn plan_never_panics(payload in any_json(NAMES, WORDS), sms in any::<bool>(), targeted in any::<bool>()) {
        let payload = if payload.is_object() { payload } else { json!({"notifications": [payload]}) };
        let job = if targeted { targeted_job(payload) } else { job(payload) };
        let gateway = gateway_with(|account| account.require_targeting = sms);
        let _ = gateway.plan(&job);
        let _ = gateway.warnings(&job);
    }

    /// What a lane or a dead letter carries is again a job, with the same one delivery.
    #[test]
    fn a_planned_delivery_s_job_plans_to_itself(payload in likely_payload()) {
        let gateway = gateway();
        let Ok(planned) = gateway.plan(&job(payload)) else { return Ok(()) };
        for entry in planned {
            match entry {
                Ok(delivery) => {
                    let again = gateway.plan(&delivery.job).unwrap();
                    prop_assert_eq!(again.len(), 1);
                    prop_assert_eq!(again[0].as_ref(), Ok(&delivery));
                    prop_assert_eq!(gateway.request(&[&delivery]).body, gateway.request(&[&delivery]).body);
                }
                Err(unfit) => {
                    let again = gateway.plan(&unfit.job).unwrap();
                    prop_assert_eq!(again.len(), 1);
                    // Alone it may keep the identity that another one had before it.
                    if unfit.findings.iter().any(|one| one.pointer.ends_with("/transactionId")) {
                        continue;
                    }
                    let other = again[0].as_ref().unwrap_err();
                    prop_assert_eq!(&other.id, &unfit.id);
                    prop_assert_eq!(&other.job, &unfit.job);
                }
            }
        }
    }
}
