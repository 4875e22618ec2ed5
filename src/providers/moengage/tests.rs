use proptest::prelude::*;

use super::*;
use crate::job::{AccountName, Priority, TransactionId};
use crate::providers::pushwoosh::tests::any_json;

pub(super) fn account() -> Account {
    Account {
        base_url: data_center_url("01").unwrap(),
        workspace_id: "DEMO01_DEBUG".to_owned(),
        push_api_key: Secret::new("push-key-1"),
        requests_per_minute: Some(DEFAULT_REQUESTS_PER_MINUTE),
        on_unknown: OnUnknown::Dead,
    }
}

pub(super) fn gateway() -> Engaged {
    Engaged { account: account() }
}

pub(super) fn gateway_with(change: impl FnOnce(&mut Account)) -> Engaged {
    let mut account = account();
    change(&mut account);
    Engaged { account }
}

/// The least that is valid for an audience.
pub(super) fn push(audience: &str) -> Value {
    let mut push = json!({
        "campaignName": "Order updates",
        "targetPlatform": ["ANDROID"],
        "targetAudience": audience,
        "payload": {"ANDROID": {"title": "The secret title", "message": "The secret text"}},
        "campaignDelivery": {"type": "soon"},
    });
    match audience {
        "User" => {
            push["targetUserAttributes"] = json!({
                "attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": "user-4711",
            });
        }
        "Custom Segment" => push["customSegmentName"] = "Readers".into(),
        _ => {}
    }
    push
}

pub(super) fn job(payload: Value) -> Job {
    let Value::Object(payload) = payload else { panic!("a payload is an object") };
    Job {
        transaction_id: TransactionId::new("job-1").unwrap(),
        account: AccountName::new("news").unwrap(),
        operation: "sendPush".to_owned(),
        payload,
        priority: Priority::Normal,
        not_before: None,
        expires_at: None,
        meta: None,
    }
}

pub(super) fn planned(gateway: &Engaged, payload: Value) -> Delivery {
    gateway.plan(&job(payload)).unwrap().remove(0).unwrap()
}

#[test]
fn operations_are_the_ones_of_the_enum() {
    assert_eq!(MoEngage.operations(), ["sendPush"]);
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()), Some(operation));
        assert!(MoEngage.payload_schema(operation.name()).is_object());
    }
    assert_eq!(MoEngage.payload_schema("createMessage"), json!(false));
    let mut job = job(push("User"));
    job.operation = "updateCampaign".to_owned();
    assert_eq!(gateway().plan(&job).unwrap_err()[0].allowed, "sendPush");
}

#[test]
fn samples_are_valid_jobs_and_cover_every_audience() {
    let validator = jsonschema::validator_for(&fields::send_push_schema()).unwrap();
    let mut audiences = Vec::new();
    for text in MoEngage.samples() {
        let sample: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&sample["account"], &sample["operation"]), (&json!("news"), &json!("sendPush")));
        let job = job(sample["payload"].clone());
        let planned = gateway().plan(&job).unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
        assert!(planned.iter().all(Result::is_ok));
        assert!(gateway().warnings(&job).is_empty(), "{text}");
        assert!(validator.is_valid(&sample["payload"]), "{text}");
        audiences.push(sample["payload"]["targetAudience"].to_string());
    }
    for audience in ["All Users", "Custom Segment", "User"] {
        assert!(audiences.contains(&json!(audience).to_string()), "{audience}");
    }
}

#[test]
fn a_job_is_one_delivery() {
    let delivery = planned(&gateway(), push("User"));
    assert_eq!(delivery.id.as_str(), "job-1");
    assert_eq!(*delivery.job, job(push("User")));
    assert_eq!((delivery.class, delivery.batch.clone()), (Class::Counted(Pool("push")), None));
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(planned(&unlimited, push("User")).class, Class::Exempt);
    assert_eq!(gateway().fallback_pool(&delivery), None);
    assert_eq!(gateway().deliveries_per_request(), 1);
}

#[test]
fn what_may_be_repeated() {
    let resend = gateway_with(|account| account.on_unknown = OnUnknown::Resend);
    for (audience, dead, resent) in [
        ("All Users", Repeat::Always, Repeat::Always),
        ("Custom Segment", Repeat::Always, Repeat::Always),
        ("User", Repeat::Never, Repeat::Always),
    ] {
        assert_eq!(gateway().repeat(&planned(&gateway(), push(audience))), dead, "{audience}");
        assert_eq!(resend.repeat(&planned(&resend, push(audience))), resent, "{audience}");
    }
    for (word, expected) in
        [("dead", Some(OnUnknown::Dead)), ("resend", Some(OnUnknown::Resend)), ("Dead", None), ("", None)]
    {
        assert_eq!(OnUnknown::parse(word), expected);
    }
}

#[test]
fn the_pool_is_the_workspace_s() {
    let [(pool, key, windows)] = &gateway().pools()[..] else { panic!("one pool") };
    assert_eq!(*pool, Pool("push"));
    assert_eq!(windows[..], [Window { requests: 10_000, length: Duration::from_secs(60) }]);
    let rotated = gateway_with(|account| account.push_api_key = Secret::new("push-key-2"));
    assert_eq!(rotated.pools()[0].1, *key, "a new key brings no new limit");
    let other = gateway_with(|account| account.workspace_id = "OTHER".to_owned());
    assert_ne!(other.pools()[0].1, *key);
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    assert_eq!(unlimited.pools()[0].2, []);
}

#[test]
fn a_data_center_can_not_name_another_host() {
    for (name, host) in [
        ("01", Some("pushapi-01.moengage.com")),
        ("101", Some("pushapi-101.moengage.com")),
        ("EU-1", Some("pushapi-eu-1.moengage.com")),
        ("", None),
        ("01.evil.example/", None),
        ("01@evil", None),
        ("0 1", None),
        ("0123456789abcdef0", None),
    ] {
        let url = data_center_url(name).ok();
        assert_eq!(url.as_ref().and_then(Url::host_str), host, "{name:?}");
    }
}

const NAMES: &[&str] = &[
    "campaignName",
    "targetPlatform",
    "targetAudience",
    "payload",
    "campaignDelivery",
    "targetUserAttributes",
    "attribute",
    "attributeValue",
    "comparisonParameter",
    "type",
    "date",
    "time",
    "ANDROID",
    "conversionGoals",
];
const WORDS: &[&str] =
    &["User", "Custom Segment", "soon", "later", "in", "is", "ANDROID", "11/07/2016", "01:00 PM", ""];

proptest! {
    #[test]
    fn plan_never_panics(payload in any_json(NAMES, WORDS), part in any_json(NAMES, WORDS), at in 0..NAMES.len()) {
        if payload.is_object() {
            let job = job(payload);
            let _ = gateway().plan(&job);
            let _ = gateway().warnings(&job);
        }
        let mut nearly = push("User");
        nearly[NAMES[at]] = part;
        let job = job(nearly);
        if let Ok(planned) = gateway().plan(&job) {
            let delivery = planned[0].as_ref().unwrap();
            prop_assert_eq!(&gateway().plan(&delivery.job).unwrap(), &planned);
        }
        let _ = gateway().warnings(&job);
    }
}
