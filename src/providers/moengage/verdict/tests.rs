use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::moengage::tests::{gateway, planned, push};

fn judge(answer: &WireAnswer) -> Verdict {
    judge_for("User", answer, false)
}

fn judge_for(audience: &str, answer: &WireAnswer, after_unknown: bool) -> Verdict {
    gateway().verdict(&[&planned(&gateway(), push(audience))], answer, after_unknown)
}

fn http(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> WireAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    WireAnswer::Response { status, headers, body: body.into().into() }
}

fn fail(text: &str) -> WireAnswer {
    let body = json!({"status": "Fail", "Error_Message": text, "responseId": "r-1", "requestId": ""});
    http(200, &[], body.to_string())
}

#[test]
fn what_never_got_an_answer() {
    assert_eq!(judge(&WireAnswer::NotSent("dns".into())), Verdict::NotSent { cause: "dns".into() });
    assert_eq!(
        judge(&WireAnswer::Lost("reset".into())),
        Verdict::Unknown { cause: "reset".into(), fault: false }
    );
}

#[test]
fn success() {
    let full =
        json!({"status": "Success", "requestId": "q-1", "responseId": "r-1", "cid": "c-1", "extra": 1});
    let Verdict::Accepted(list) = judge(&http(200, &[], full.to_string())) else { panic!() };
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].message_code.as_deref(), Some("r-1"));
    assert_eq!(
        list[0].response,
        Some(Json::of(&json!({"status": "Success", "requestId": "q-1", "responseId": "r-1", "cid": "c-1"})))
    );
    for (body, code) in [
        (json!({"status": "success", "cid": "c-1"}), Some("c-1")),
        (json!({"status": "SUCCESS", "responseId": "", "cid": "c-1"}), Some("c-1")),
        (json!({"status": "Success"}), None),
        (json!({"status": "Success", "responseId": 5}), None),
    ] {
        let Verdict::Accepted(list) = judge(&http(200, &[], body.to_string())) else { panic!("{body}") };
        assert_eq!(list[0].message_code.as_deref(), code, "{body}");
    }
}

#[test]
fn failures_under_http_200() {
    for (text, expected) in [
        ("Campaign Name not found", "refused"),
        ("Campaign Name too short (must be >= 5 chars)", "refused"),
        ("Invalid Request Type", "refused"),
        ("Key not of Type List or Value not allowed", "refused"),
        ("Error parsing parameters", "refused"),
        ("something new", "refused"),
        ("", "refused"),
        ("Duplicate campaign name", "refused"),
        ("Request limit exceeded", "throttled"),
        ("request limit exceeded for this workspace", "throttled"),
        ("Signature is not verified", "misconfigured"),
        ("Signature missing", "misconfigured"),
        ("Invalid appId", "misconfigured"),
        ("appId not present", "misconfigured"),
        ("Campaign name missing", "refused"),
        ("Signature missing or not verified", "misconfigured"),
        ("Duplicate campaign name in this workspace", "refused"),
        ("Too many requests", "throttled"),
        ("attributeValue has too many values, limit is 50", "refused"),
        ("campaignThrottleRpm is above the limit", "refused"),
        ("conversionGoals: limit is 5 goals", "refused"),
    ] {
        assert_eq!(judge(&fail(text)).label(), expected, "{text:?}");
    }
    assert_eq!(judge(&fail("")), Verdict::Refused { reason: "Fail without a reason".into() });
    let first_version = http(200, &[], r#"{"status": "fail", "msg": "Signature is not verified"}"#);
    assert_eq!(judge(&first_version), Verdict::Misconfigured { cause: "Signature is not verified".into() });
    let body = json!({"status": "Fail", "Error_Message": "Request limit exceeded"}).to_string();
    let waiting = http(200, &[("x-ratelimit-reset", "12")], body);
    assert_eq!(judge(&waiting), Verdict::Throttled { retry_after: Some(Duration::from_secs(12)) });
}

#[test]
fn an_explanation_is_found_however_it_is_laid_out() {
    for (body, expected) in [
        (json!({"status": "Fail", "error_message": "Request limit exceeded"}), "throttled"),
        (json!({"status": "FAIL", "Error_Message": ["Signature is not verified"]}), "misconfigured"),
        (json!({"status": "fail", "Error_Message": {"reason": "Request limit exceeded"}}), "throttled"),
        (json!({"status": "Fail", "Error_Message": 5}), "refused"),
        (json!({"status": "Fail", "Error_Message": "", "msg": "Request limit exceeded"}), "throttled"),
        (json!({"status": "Fail"}), "refused"),
    ] {
        assert_eq!(judge(&http(200, &[], body.to_string())).label(), expected, "{body}");
    }
    let several = json!({"status": "Fail", "Error_Message": ["a", {"b": "c"}]}).to_string();
    assert_eq!(judge(&http(200, &[], several)), Verdict::Refused { reason: "a; c".into() });
}

#[test]
fn a_name_that_is_repeated_decides_nothing() {
    for (name, text, expected) in [
        ("Card limit reached", "Duplicate campaign name: Card limit reached", "refused"),
        ("Card limit reached", "Request limit exceeded", "throttled"),
        ("Your signature is due", "Value not allowed in Your signature is due", "refused"),
        ("Too many requests", "Duplicate campaign name Too many requests", "refused"),
    ] {
        let mut payload = push("All Users");
        payload["campaignName"] = name.into();
        let delivery = planned(&gateway(), payload);
        let verdict = gateway().verdict(&[&delivery], &fail(text), false);
        assert_eq!(verdict.label(), expected, "{text:?}");
    }
}

#[test]
fn words_of_the_producer_decide_nothing() {
    let goal = |event: &str| json!({"conversionGoals": [{"name": "Goal", "eventName": event}]});
    let segment = |name: &str| json!({"customSegmentName": name});
    let content = |title: &str| json!({"payload": {"ANDROID": {"title": title, "message": "M"}}});
    let name = |name: &str| json!({"campaignName": name});
    for (given, text, after_unknown, expected) in [
        (goal("Duplicate order"), "Event Duplicate order not found", true, "refused"),
        (goal("Duplicate order"), "Event DUPLICATE ORDER not found in the campaign", true, "refused"),
        (goal("Duplicate order"), "Duplicate event Duplicate order", true, "refused"),
        (goal("Credit limit"), "Event Credit limit not found", false, "refused"),
        (content("Credit limit"), "Value credit limit not allowed", false, "refused"),
        (json!({"campaignTags": ["limit"]}), "Unknown name: limit", false, "refused"),
        (content("Users"), "Too many users", false, "refused"),
        (goal("Workspace created"), "Event Workspace created not found", false, "refused"),
        (goal("Workspace created"), "Workspace created", false, "refused"),
        (goal("Other"), "Workspace created", false, "refused"),
        (segment("Signature"), "Signature is not verified", false, "misconfigured"),
        (segment("Signature"), "Segment Signature not found", false, "refused"),
        (name("Request limit"), "Request limit exceeded", false, "throttled"),
        (name("Request limit"), " REQUEST LIMIT EXCEEDED. ", false, "throttled"),
        (name("Request limit"), "Campaign Request limit not found", false, "refused"),
        (segment("Duplicate"), "Duplicate campaign name", true, "accepted_before"),
        (segment("Duplicate"), "Duplicate campaign name", false, "refused"),
        (segment("Duplicate"), "Segment Duplicate is no campaign name", true, "refused"),
        (name("Sunday offers"), "Duplicate campaign Sunday offers", true, "accepted_before"),
        (name("Sunday offers"), "Duplicate key", true, "refused"),
        (name("Sunday offers"), "The campaign is in this workspace already", true, "refused"),
    ] {
        let mut payload = push("Custom Segment");
        for (member, value) in given.as_object().unwrap() {
            payload[member] = value.clone();
        }
        let verdict = gateway().verdict(&[&planned(&gateway(), payload)], &fail(text), after_unknown);
        assert_eq!(verdict.label(), expected, "{given} {text:?}");
    }
}

#[test]
fn every_text_that_was_sent_is_hidden() {
    let mut payload = push("User");
    payload["targetUserAttributes"]["attributeValue"] = "u1".into();
    payload["campaignTags"] = json!(["tag-of-ours"]);
    payload["conversionGoals"] = json!([{"name": "goal-of-ours", "eventName": "event-of-ours"}]);
    let delivery = planned(&gateway(), payload);
    let text = "Order updates: tag-of-ours, goal-of-ours, event-of-ours for u1, u12";
    let Verdict::Refused { reason } = gateway().verdict(&[&delivery], &fail(text), false) else { panic!() };
    assert_eq!(reason, "[hidden]: [hidden], [hidden], [hidden] for [hidden], u12");
}

#[test]
fn a_limit_s_reset_may_be_a_moment() {
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (headers, wait) in [
        (vec![("x-envoy-ratelimited", "true"), ("x-ratelimit-reset", "23"), date], Some(23)),
        (vec![("x-ratelimit-limit", "5, 5;w=60"), ("x-ratelimit-reset", "784111797"), date], Some(20)),
        (vec![("x-ratelimit-remaining", "0")], None),
    ] {
        let expected = Verdict::Throttled { retry_after: wait.map(Duration::from_secs) };
        assert_eq!(judge(&http(429, &headers, "")), expected, "{headers:?}");
    }
}

#[test]
fn a_taken_name_means_our_lost_attempt_only_where_names_are_unique() {
    for (audience, after_unknown, expected) in [
        ("All Users", true, "accepted_before"),
        ("Custom Segment", true, "accepted_before"),
        ("User", true, "refused"),
        ("All Users", false, "refused"),
        ("Custom Segment", false, "refused"),
        ("User", false, "refused"),
    ] {
        let verdict = judge_for(audience, &fail("Duplicate campaign name"), after_unknown);
        assert_eq!(verdict.label(), expected, "{audience} {after_unknown}");
    }
    // Any other refusal after a lost attempt is a refusal.
    assert_eq!(judge_for("All Users", &fail("Invalid Request Type"), true).label(), "refused");
}

#[test]
fn success_that_can_not_be_read_is_unknown() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        "null",
        r#"{"status": "Succ"#,
        r#"{"status": 200}"#,
        r#"{"status": "Queued"}"#,
    ] {
        let Verdict::Unknown { fault: false, .. } = judge(&http(200, &[], body)) else { panic!("{body}") };
    }
}

#[test]
fn statuses_of_http() {
    let headers = [("x-ratelimit-reset", "33")];
    let wait = Some(Duration::from_secs(33));
    for (status, body, expected) in [
        (401, "[]", Verdict::Misconfigured { cause: "HTTP 401".into() }),
        (
            404,
            r#"{"code": 404, "status": "error", "reason": "no such path"}"#,
            Verdict::Misconfigured { cause: "HTTP 404: no such path".into() },
        ),
        (429, "", Verdict::Throttled { retry_after: wait }),
        (
            500,
            r#"{"code": 500, "status": "error", "reason": "broken", "reference": "x"}"#,
            Verdict::Unknown { cause: "HTTP 500: broken".into(), fault: true },
        ),
        (502, "<html>", Verdict::Unknown { cause: "HTTP 502".into(), fault: true }),
        (503, "", Verdict::Failed { cause: "HTTP 503".into(), retry_after: wait }),
        (400, "", Verdict::Refused { reason: "HTTP 400".into() }),
    ] {
        assert_eq!(judge(&http(status, &headers, body)), expected, "{status}");
    }
}

#[test]
fn no_secret_and_no_customer_data_comes_back_in_a_text() {
    let signature = "9685baefdc2d2ca0db047213812e24de37db23d39215b417ea583d9d09751ef7";
    let text = format!("push-key-1 {signature} DEMO01_DEBUG user-4711 The secret text\n");
    let success = json!({"status": "Success", "responseId": text, "cid": text}).to_string();
    for answer in [
        fail(&text),
        fail(&format!("Signature {text}")),
        http(200, &[], success),
        http(404, &[], json!({"reason": text}).to_string()),
        WireAnswer::Lost(text.clone()),
    ] {
        let shown = format!("{:?}", judge(&answer));
        assert!(shown.contains("[hidden]"), "{shown}");
        for secret in ["push-key-1", signature, "DEMO01_DEBUG", "user-4711", "secret", "\\n"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
