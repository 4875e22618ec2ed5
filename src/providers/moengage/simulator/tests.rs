use std::sync::Arc;

use bytes::Bytes;
use serde_json::from_slice;

use super::*;
use crate::simulator::DeliveryOutcome::{Accepted, NotReached, Refused, Suppressed};
use crate::simulator::engine::Engine;
use crate::simulator::{DeliveryOutcome, Entry};

const WORKSPACE: &str = "DEMO01_DEBUG";
const KEY: &str = "push-key-1";

fn engine(change: impl FnOnce(&mut Rules)) -> Engine {
    let mut engine = Engine::new(vec![Arc::new(Simulator)], 1, 100_000);
    let mut rules = Simulator.rules();
    change(&mut rules);
    engine.set_rules("moengage", rules).unwrap();
    engine
}

fn post(engine: &mut Engine, body: impl Into<Bytes>, now: Duration) -> (Answer, Value) {
    let request = Request {
        method: Method::POST,
        path: "/v2/transaction/sendpush".into(),
        headers: Default::default(),
        body: body.into(),
    };
    let answer = engine.handle(&request, now).answer;
    let value = from_slice(&answer.body).unwrap_or_default();
    (answer, value)
}

fn body(changes: Value) -> String {
    let mut body = json!({
        "appId": WORKSPACE,
        "campaignName": "Order updates",
        "signature": signature(WORKSPACE, "Order updates", KEY),
        "requestType": "push",
        "targetPlatform": ["ANDROID", "IOS"],
        "targetAudience": "User",
        "targetUserAttributes":
            {"attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": "u-1"},
        "payload": {
            "ANDROID": {"title": "Order", "message": "On its way"},
            "IOS": {"title": "Order", "message": "On its way"},
        },
        "campaignDelivery": {"type": "soon"},
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body.to_string()
}

fn last(engine: &Engine) -> Entry {
    engine.ledger().page(0, usize::MAX).entries.pop().unwrap()
}

fn outcomes(engine: &Engine) -> Vec<DeliveryOutcome> {
    last(engine).deliveries.iter().map(|delivery| delivery.outcome).collect()
}

#[test]
fn signatures_follow_the_documented_rule() {
    for (name, expected) in [
        ("Order updates", "9685baefdc2d2ca0db047213812e24de37db23d39215b417ea583d9d09751ef7"),
        ("Five5", "ef7a57038946b9d10d9430a2a70f7f583ec077ca7cdbbcf43fca470e86007b35"),
        ("Grüße|A", "0e515318729ea9d2d708ef2fa92ea4f7cd6f56f14fe11e5d1ff287515e673933"),
    ] {
        assert_eq!(signature(WORKSPACE, name, KEY), expected, "{name}");
    }
}

#[test]
fn every_audience_is_taken() {
    let list: Vec<String> = (0..50).map(|i| format!("u-{i}")).collect();
    let in_list = json!({"attribute": "PUSH_ID", "comparisonParameter": "in", "attributeValue": list});
    let cases = [
        json!({}),
        json!({"targetUserAttributes": in_list}),
        json!({"targetAudience": "All Users", "targetUserAttributes": null}),
        json!({"targetAudience": "Custom Segment", "customSegmentName": "Buyers"}),
        json!({"requestType": null}),
        json!({"campaignDelivery": {"type": "later", "date": "11/27/2030", "time": "04:33 PM"}}),
        json!({"campaignDelivery":
            {"type": "periodic", "endDate": "11/27/2030", "time": "04:33 AM", "repeatAfter": "1"}}),
        json!({"conversionGoals": [{}, {}, {}, {}, {}]}),
    ];
    for changes in cases {
        let mut engine = engine(|_| {});
        let (answer, value) = post(&mut engine, body(changes.clone()), Duration::ZERO);
        assert_eq!((answer.status, &value["status"]), (200, &json!("Success")), "{changes} {value}");
        assert!(["requestId", "responseId", "cid"].iter().all(|key| value[*key].is_string()), "{value}");
        let entry = last(&engine);
        assert!(entry.counted);
        assert_eq!(entry.deliveries[0].id.as_deref(), Some("Order updates"));
        assert_eq!(outcomes(&engine), [Accepted]);
    }
}

#[test]
fn wrong_bodies_fail_under_status_200() {
    let attributes = |comparison: &str, value: Value| {
        json!({"targetUserAttributes":
            {"attribute": "PUSH_ID", "comparisonParameter": comparison, "attributeValue": value}})
    };
    let cases = [
        (json!({"appId": null}), "appId"),
        (json!({"requestType": "email"}), "Request type"),
        (json!({"campaignName": null}), "Campaign Name not found"),
        (json!({"campaignName": "Four"}), "at least 5"),
        (json!({"signature": null}), "Signature"),
        (json!({"signature": "abc"}), "Signature"),
        (json!({"targetPlatform": "IOS"}), "list type"),
        (json!({"targetPlatform": []}), "not allowed"),
        (json!({"targetPlatform": ["ios"]}), "not allowed"),
        (json!({"payload": null}), "payload"),
        (json!({"payload": {"IOS": {"title": "a", "message": "b"}}}), "payload of ANDROID"),
        (
            json!({"targetPlatform": ["WEB"], "payload": {"WEB": {"title": "a", "message": "b"}}}),
            "payload of WEB",
        ),
        (json!({"targetAudience": null}), "targetAudience"),
        (json!({"targetAudience": "all users"}), "targetAudience"),
        (json!({"targetAudience": "Custom Segment"}), "customSegmentName"),
        (json!({"targetUserAttributes": null}), "targetUserAttributes"),
        (attributes("is", json!(["a"])), "targetUserAttributes"),
        (attributes("in", json!("a")), "targetUserAttributes"),
        (attributes("in", json!(vec!["a"; 51])), "targetUserAttributes"),
        (attributes("like", json!("a")), "targetUserAttributes"),
        (json!({"campaignDelivery": null}), "campaignDelivery"),
        (json!({"campaignDelivery": {"type": "now"}}), "campaignDelivery"),
        (
            json!({"campaignDelivery": {"type": "later", "date": "27/11/2030", "time": "04:33 PM"}}),
            "campaignDelivery",
        ),
        (
            json!({"campaignDelivery": {"type": "later", "date": "11/27/2030", "time": "16:33"}}),
            "campaignDelivery",
        ),
        (json!({"conversionGoals": [{}, {}, {}, {}, {}, {}]}), "conversionGoals"),
    ];
    for (changes, expected) in cases {
        let mut engine = engine(|_| {});
        let (answer, value) = post(&mut engine, body(changes.clone()), Duration::ZERO);
        assert_eq!(
            (answer.status, &value["status"], &value["requestId"]),
            (200, &json!("Fail"), &json!("")),
            "{changes}"
        );
        assert!(value["Error_Message"].as_str().unwrap().contains(expected), "{changes} {value}");
        assert_eq!(outcomes(&engine), [Refused], "{changes}");
    }
}

#[test]
fn what_can_not_be_read_is_answered_like_a_bad_credential() {
    for text in ["{", "[]", ""] {
        let mut engine = engine(|_| {});
        let (answer, value) = post(&mut engine, text, Duration::ZERO);
        assert_eq!((answer.status, value), (401, json!([])), "{text:?}");
        assert_eq!(last(&engine).account, None);
    }
}

#[test]
fn with_credentials_the_signature_is_checked() {
    let mut engine = engine(|rules| rules.credentials = Some(vec![format!("{WORKSPACE}:{KEY}")]));
    let other = signature(WORKSPACE, "Order updates", "push-key-2");
    let cases = [
        (json!({}), 200, json!("Success"), Value::Null),
        (json!({"signature": other}), 200, json!("Fail"), json!("Signature is not verified")),
        (json!({"campaignName": "Another name"}), 200, json!("Fail"), json!("Signature is not verified")),
        (json!({"appId": "OTHER"}), 401, Value::Null, Value::Null),
    ];
    for (changes, status, word, message) in cases {
        let (answer, value) = post(&mut engine, body(changes.clone()), Duration::ZERO);
        assert_eq!(answer.status, status, "{changes}");
        assert_eq!((&value["status"], &value["Error_Message"]), (&word, &message), "{changes}");
    }
}

#[test]
fn campaign_names_are_unique_except_for_single_users() {
    for (audience, second) in [
        (json!({"targetAudience": "All Users"}), Suppressed),
        (json!({"targetAudience": "Custom Segment", "customSegmentName": "Buyers"}), Suppressed),
        (json!({}), Accepted),
    ] {
        let mut engine = engine(|_| {});
        post(&mut engine, body(audience.clone()), Duration::ZERO);
        let (answer, value) = post(&mut engine, body(audience.clone()), Duration::from_secs(1_000_000));
        assert_eq!((answer.status, outcomes(&engine)), (200, vec![second]), "{audience}");
        let refused = value["Error_Message"] == "Duplicate campaign name";
        assert_eq!(refused, second == Suppressed, "{value}");
        assert_eq!(engine.summary().accepted_twice.len(), usize::from(second == Accepted));
    }
}

#[test]
fn sends_to_different_users_are_told_apart() {
    let mut engine = engine(|_| {});
    for user in ["u-1", "u-2"] {
        post(&mut engine, body(json!({})).replace("u-1", user), Duration::ZERO);
    }
    let summary = engine.summary();
    assert_eq!((summary.counts.accepted, summary.accepted_twice.len()), (2, 0));
}

#[test]
fn over_the_limit_it_says_so_either_way() {
    for throttling in [Throttling::Body, Throttling::Status] {
        let mut engine = engine(|rules| {
            rules.requests = Some(1);
            rules.throttling = throttling;
        });
        post(&mut engine, body(json!({})), Duration::ZERO);
        let (answer, value) = post(&mut engine, body(json!({})), Duration::from_secs(20));
        match throttling {
            Throttling::Body => {
                assert_eq!((answer.status, &value["status"]), (200, &json!("Fail")));
                assert_eq!(value["Error_Message"], "Request limit exceeded");
            }
            Throttling::Status => {
                assert_eq!((answer.status, answer.body.len()), (429, 0));
                assert!(answer.headers.contains(&("x-ratelimit-reset", "40".to_owned())));
            }
        }
        assert_eq!(outcomes(&engine), [NotReached]);
    }
}
