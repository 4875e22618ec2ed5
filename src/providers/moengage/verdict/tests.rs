use std::time::Duration;

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
        Some(json!({"status": "Success", "requestId": "q-1", "responseId": "r-1", "cid": "c-1"}))
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
