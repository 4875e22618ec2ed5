use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::from_slice;

use super::*;
use crate::simulator::DeliveryOutcome::{Accepted, NotReached, Refused, Suppressed};
use crate::simulator::engine::Engine;
use crate::simulator::{DeliveryOutcome, Entry};

const WORKSPACE: &str = "DEMO01_DEBUG";
const KEY: &str = "push-key-1";

/// When the engines of the tests start.
const START: &str = "2026-03-01T10:00:00.123456Z";

pub(super) fn engine(change: impl FnOnce(&mut Rules)) -> Engine {
    let start = START.parse().unwrap();
    let mut engine = Engine::new(vec![Arc::new(Simulator)], 1, 100_000, start);
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

/// Makes a campaign at the start; its id.
pub(super) fn make(engine: &mut Engine, name: &str, changes: Value) -> String {
    let mut body: Value = serde_json::from_str(&body(changes)).unwrap();
    body["campaignName"] = json!(name);
    let (_, value) = post(engine, body.to_string(), Duration::ZERO);
    value["cid"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// A campaign call so many seconds after the start; the status and the body of its answer.
pub(super) fn call(engine: &mut Engine, id: &str, body: &str, seconds: u64) -> (u16, Value) {
    let basic = STANDARD.encode(format!("{WORKSPACE}:campaign-key"));
    let headers = [("authorization", format!("Basic {basic}")), ("moe-appkey", WORKSPACE.to_owned())];
    let (answer, value) = call_with(engine, id, body, &headers, seconds);
    (answer.status, value)
}

fn call_with(
    engine: &mut Engine,
    id: &str,
    body: &str,
    headers: &[(&'static str, String)],
    seconds: u64,
) -> (Answer, Value) {
    let headers = headers
        .iter()
        .map(|(name, value)| (hyper::header::HeaderName::from_static(name), value.parse().unwrap()));
    let request = Request {
        method: if id == "search" { Method::POST } else { Method::PATCH },
        path: format!("/core-services/v1/campaigns/{id}"),
        headers: headers.collect(),
        body: body.to_owned().into(),
    };
    let answer = engine.handle(&request, Duration::from_secs(seconds)).answer;
    let value = from_slice(&answer.body).unwrap_or_default();
    (answer, value)
}

/// The one campaign with this id, so many seconds after the start.
pub(super) fn campaign(engine: &mut Engine, id: &str, seconds: u64) -> Value {
    let body = json!({
        "request_id": "look", "limit": 15, "page": 1, "include_archive_campaigns": true,
        "campaign_fields": {"id": id},
    });
    let (status, mut value) = call(engine, "search", &body.to_string(), seconds);
    assert_eq!((status, value.as_array().map(Vec::len)), (200, Some(1)), "{value}");
    value[0].take()
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

pub(super) fn last(engine: &Engine) -> Entry {
    engine.ledger().page(0, usize::MAX).entries.pop().unwrap()
}

pub(super) fn outcomes(engine: &Engine) -> Vec<DeliveryOutcome> {
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
        json!({"conversionGoals": vec![json!({"name": "Bought", "eventName": "Bought"}); 5]}),
        json!({"payload": {"IOS": {"title": "a", "message": "b"}}}),
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
        (json!({"payload": {"WEB": {"title": "a", "message": "b"}}}), "payload has no content"),
        (json!({"payload": {"IOS": {"title": "a"}}}), "payload of IOS"),
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
        (
            json!({"campaignDelivery": {"type": "later", "date": "11/27/2030", "time": "04:33 PM", "timezone": "X"}}),
            "campaignDelivery",
        ),
        (
            json!({"conversionGoals": vec![json!({"name": "Bought", "eventName": "Bought"}); 6]}),
            "conversionGoals",
        ),
        (json!({"advancedSettings": {"ignoreFC": "yes"}}), "advancedSettings"),
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

#[test]
fn paths_and_methods_name_the_operations() {
    let campaigns = "/core-services/v1/campaigns";
    for (method, path, expected) in [
        (Method::POST, "/v2/transaction/sendpush".to_owned(), Some("sendPush")),
        (Method::GET, "/v2/transaction/sendpush".to_owned(), None),
        (Method::POST, format!("{campaigns}/search"), Some("searchCampaigns")),
        (Method::PATCH, format!("{campaigns}/search"), Some("updateCampaign")),
        (Method::PATCH, format!("{campaigns}/a%2Fb%3D"), Some("updateCampaign")),
        (Method::POST, format!("{campaigns}/a"), None),
        (Method::PATCH, format!("{campaigns}/"), None),
        (Method::PATCH, format!("{campaigns}/a/b"), None),
        (Method::POST, campaigns.to_owned(), None),
    ] {
        assert_eq!(Simulator.operation(&method, &path), expected, "{method} {path}");
    }
}

#[test]
fn campaign_calls_need_both_headers_and_these_to_agree() {
    let basic = |pair: &str| ("authorization", format!("Basic {}", STANDARD.encode(pair)));
    let workspace = |id: &str| ("moe-appkey", id.to_owned());
    let cases = [
        ("nothing", vec![]),
        ("no key header", vec![basic("W:key")]),
        ("no authorization", vec![workspace("W")]),
        ("another workspace", vec![basic("W:key"), workspace("V")]),
        ("no key", vec![basic("W:"), workspace("W")]),
        ("no workspace", vec![basic(":key"), workspace("")]),
        ("no pair", vec![basic("W"), workspace("W")]),
        ("another scheme", vec![("authorization", "Bearer VzprZXk=".to_owned()), workspace("W")]),
        ("no base64", vec![("authorization", "Basic W:key".to_owned()), workspace("W")]),
    ];
    for (name, headers) in cases {
        for id in ["search", "a-campaign"] {
            let mut engine = engine(|_| {});
            let (answer, value) = call_with(&mut engine, id, "{}", &headers, 0);
            assert_eq!(answer.status, 401, "{name}");
            assert_eq!(value["error"]["code"], "401 Authentication error", "{name}");
            assert_eq!(last(&engine).account, None, "{name}");
        }
    }
}

#[test]
fn what_a_401_holds_differs_by_operation() {
    let detail = json!({
        "code": "InvalidValue", "target": "APP_SECRET_KEY", "message": "Invalid APP_SECRET_KEY is provided.",
    });
    let nested = json!({"code": "InvalidValue", "target": "APP_SECRET_KEY", "message": [detail]});
    for (id, expected) in [("search", nested), ("a-campaign", detail)] {
        let (_, value) = call_with(&mut engine(|_| {}), id, "{}", &[], 0);
        let error = json!({
            "code": "401 Authentication error", "message": "Authentication required",
            "details": [expected], "request_id": "",
        });
        assert_eq!(value, json!({"error": error}));
    }
}

#[test]
fn the_two_keys_of_a_workspace_are_told_apart() {
    let body = r#"{"request_id":"1","limit":1,"page":1}"#;
    for (key, status) in [("campaign-key", 200), (KEY, 401)] {
        let mut engine = engine(|rules| {
            rules.credentials = Some(vec![format!("{WORKSPACE}:{KEY}")]);
            rules.campaign_credentials = Some(vec![format!("{WORKSPACE}:{key}")]);
        });
        assert_eq!(call(&mut engine, "search", body, 0).0, status);
        assert_eq!(post(&mut engine, self::body(json!({})), Duration::ZERO).1["status"], "Success");
        let accounts: Vec<_> = engine.summary().accounts.into_iter().map(|one| one.account).collect();
        assert_eq!(accounts, [crate::simulator::fingerprint("moengage", WORKSPACE)], "one account for both");
    }
}

#[test]
fn campaign_calls_have_a_limit_of_their_own_with_three_windows() {
    let mut engine = engine(|rules| rules.requests = Some(1));
    let body = r#"{"request_id":"1","limit":1,"page":1}"#;
    post(&mut engine, self::body(json!({})), Duration::ZERO);
    let statuses: Vec<u16> = (0..12).map(|_| call(&mut engine, "search", body, 0).0).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[429, 429]].concat());
    let mut taken = 10;
    for second in 1..60 {
        taken += (0..2).filter(|_| call(&mut engine, "search", body, second).0 == 200).count();
    }
    assert_eq!(taken, 100, "in the first minute");
    assert_eq!(call(&mut engine, "search", body, 60).0, 200);
    let summary = engine.summary();
    let account = &summary.accounts[0];
    let pools: Vec<_> =
        account.pools.iter().map(|pool| (pool.most_in_window, pool.window_seconds, pool.limit)).collect();
    assert_eq!(pools, [(12, 1.0, Some(10)), (130, 60.0, Some(100)), (131, 3600.0, Some(6000))]);
    assert_eq!((account.most_in_window, account.limit), (1, Some(1)), "the main limit is sendPush's");
    assert_eq!(account.counts.counted, 132);
}

#[test]
fn over_the_campaign_limit_there_is_an_error_object_and_a_moment() {
    let mut engine = engine(|rules| {
        rules.pools.insert("campaigns".into(), "1/1m".parse().unwrap());
    });
    let headers =
        [("authorization", format!("Basic {}", STANDARD.encode("W:key"))), ("moe-appkey", "W".to_owned())];
    call_with(&mut engine, "a", "{}", &headers, 0);
    let (answer, value) = call_with(&mut engine, "a", r#"{"request_id":"r-1"}"#, &headers, 20);
    assert_eq!((answer.status, outcomes(&engine)), (429, vec![NotReached]));
    let error = &value["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!("429 conflict"), &json!("rate_limit")));
    assert_eq!(error["request_id"], "r-1");
    let start: jiff::Timestamp = START.parse().unwrap();
    let reset = (start.as_second() + 60).to_string();
    assert!(answer.headers.contains(&("x-ratelimit-reset", reset)), "{:?}", answer.headers);
    assert!(answer.headers.contains(&("x-ratelimit-limit", "1".to_owned())), "{:?}", answer.headers);
}

#[test]
fn faults_have_the_shape_of_their_operation() {
    for operation in ["updateCampaign", "searchCampaigns"] {
        for status in [401, 429, 500, 503] {
            let answer = Simulator.failure(operation, status);
            let value: Value = from_slice(&answer.body).unwrap();
            assert_eq!(answer.status, status);
            let code = value["error"]["code"].as_str().unwrap();
            assert!(code.starts_with(&status.to_string()), "{value}");
            assert_eq!(value["error"].get("request_id").is_some(), status < 500, "{value}");
        }
    }
    assert_eq!(Simulator.failure("sendPush", 401), unauthorized());
    assert_eq!(Simulator.failure("sendPush", 429).body.len(), 0);
}
