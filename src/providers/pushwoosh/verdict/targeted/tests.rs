use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::pushwoosh::tests::{gateway, targeted_job};

const OWN: &str = r#"A("OWN00-00001") * T("Name", EQ, "Ada Lovelace")"#;

fn judge_for(filter: &str, answer: &WireAnswer, after_unknown: bool) -> Verdict {
    let payload = json!({"devices_filter": filter, "send_date": "now", "content": "The secret text"});
    let delivery = gateway().plan(&targeted_job(payload)).unwrap().remove(0).unwrap();
    gateway().verdict(&[&delivery], answer, after_unknown)
}

fn judge(answer: &WireAnswer) -> Verdict {
    judge_for(OWN, answer, false)
}

fn http(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> WireAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    WireAnswer::Response { status, headers, body: body.into().into() }
}

fn reply(code: u64, message: &str, response: Value) -> WireAnswer {
    let body = json!({"status_code": code, "status_message": message, "response": response});
    http(200, &[], body.to_string())
}

#[test]
fn accepted_with_its_codes() {
    let both = json!({"messageCode": "97B0-C7473871", "trackingCode": "T-43B4"});
    for (response, code, kept) in [
        (both.clone(), Some("97B0-C7473871"), Some(both)),
        (json!({"messageCode": "97B0"}), Some("97B0"), Some(json!({"messageCode": "97B0"}))),
        (json!({"messageCode": "97B0", "more": 1}), Some("97B0"), Some(json!({"messageCode": "97B0"}))),
        (json!({"messageCode": ""}), None, None),
        (json!({}), None, None),
        (json!([]), None, None),
        (json!(null), None, None),
    ] {
        let Verdict::Accepted(list) = judge(&reply(200, "OK", response.clone())) else {
            panic!("{response}")
        };
        let [acceptance] = &list[..] else { panic!("one acceptance") };
        assert_eq!(acceptance.message_code.as_deref(), code, "{response}");
        let mut expected = json!({"status_code": 200, "status_message": "OK"});
        if let Some(kept) = kept {
            expected["response"] = kept;
        }
        assert_eq!(acceptance.response, Some(Json::of(&expected)), "{response}");
    }
    let bare = http(200, &[], r#"{"status_code": 200, "status_message": "OK"}"#);
    assert_eq!(judge(&bare).label(), "accepted");
    let odd = reply(210, "Something", json!({"messageCode": "97B0"}));
    assert_eq!(judge(&odd).label(), "accepted", "a message that has a code exists");
}

#[test]
fn errors_of_the_filter_are_told_without_its_values() {
    let errors = json!([
        {"message": "Invalid tag set specification. \")\" expected.", "type": "syntax"},
        {"message": "Ada Lovelace is no value of Name in OWN00-00001", "type": "semantic"},
        {"type": "syntax"},
        5,
    ]);
    let answer = reply(210, "Errors occurred while compiling filter", json!({ "errors": errors }));
    let expected = "Errors occurred while compiling filter: Invalid tag set specification. \")\" expected.; \
                    [hidden] is no value of Name in OWN00-00001";
    assert_eq!(judge(&answer), Verdict::Refused { reason: expected.into() });
    for errors in [json!([]), json!(null), json!("text"), json!([{}])] {
        let answer = reply(210, "Errors occurred while compiling filter", json!({ "errors": errors }));
        let expected = Verdict::Refused { reason: "Errors occurred while compiling filter".into() };
        assert_eq!(judge(&answer), expected, "{errors}");
    }
    let many: Vec<_> =
        (0..100).map(|n| json!({"message": format!("error {n} {}", "x".repeat(50))})).collect();
    let Verdict::Refused { reason } = judge(&reply(210, "Errors", json!({ "errors": many }))) else {
        panic!()
    };
    assert!(reason.chars().count() <= 301, "{reason}");
}

#[test]
fn denied_access_blames_the_account_unless_the_filter_names_another_application() {
    let denied = reply(210, "Access denied or application not found", json!(null));
    for (filter, expected) in [
        (OWN, "misconfigured"),
        (r#"T("Name", EQ, "A(")"#, "misconfigured"),
        (r#"A("OTHER-00001")"#, "refused"),
        (r#"A("OWN00-00001") + G("GROUP")"#, "refused"),
        (r#"AT("OTHER-00001", "Name", NOTSET, "")"#, "refused"),
    ] {
        assert_eq!(judge_for(filter, &denied, false).label(), expected, "{filter}");
    }
}

#[test]
fn limits_and_duplicates() {
    let throttled = reply(210, "Requests limit exceeded", json!(null));
    assert_eq!(judge(&throttled), Verdict::Throttled { retry_after: None });
    let wait = http(429, &[("retry-after", "7")], "");
    assert_eq!(judge(&wait), Verdict::Throttled { retry_after: Some(Duration::from_secs(7)) });
    for (after_unknown, text, expected) in [
        (false, "Duplicate transactionId", "accepted_before"),
        (true, "Message already created", "accepted_before"),
        (false, "Message already created", "refused"),
        (true, "Invalid content", "refused"),
    ] {
        let verdict = judge_for(OWN, &reply(210, text, json!(null)), after_unknown);
        assert_eq!(verdict.label(), expected, "{after_unknown} {text}");
    }
}

#[test]
fn what_is_not_an_answer_of_the_operation() {
    for (answer, expected) in [
        (WireAnswer::NotSent("x".into()), "not_sent"),
        (WireAnswer::Lost("x".into()), "unknown"),
        (http(500, &[], ""), "unknown"),
        (http(503, &[], ""), "failed"),
        (http(400, &[], ""), "refused"),
        (http(401, &[], ""), "misconfigured"),
        (http(200, &[], "<html>"), "unknown"),
        (reply(500, "Internal error", json!(null)), "unknown"),
        (reply(299, "text", json!(null)), "unknown"),
    ] {
        assert_eq!(judge(&answer).label(), expected, "{answer:?}");
    }
}

#[test]
fn no_secret_and_no_customer_data_comes_back_in_a_text() {
    let text = "bad token-of-the-shop for Ada Lovelace: The secret text\n\u{1b}[31m";
    for answer in [
        reply(210, text, json!({"errors": [{"message": text}]})),
        reply(210, text, json!(null)),
        reply(200, text, json!({"messageCode": text, "trackingCode": text})),
        reply(299, text, json!(null)),
        WireAnswer::NotSent(text.into()),
        WireAnswer::Lost(text.into()),
    ] {
        let shown = format!("{:?}", judge(&answer));
        for secret in ["token-of-the-shop", "Ada Lovelace", "The secret text", "\\u{1b}", "\\n"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_producer_s_words_decide_nothing() {
    let judge_with = |more: Value, text: &str, after_unknown: bool| {
        let mut payload = json!({"devices_filter": OWN, "send_date": "now", "content": "x"});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let delivery = gateway().plan(&targeted_job(payload)).unwrap().remove(0).unwrap();
        gateway().verdict(&[&delivery], &reply(210, text, json!(null)), after_unknown)
    };
    let booked = "Your transaction was already booked";
    for (more, text, expected) in [
        (
            json!({"devices_filter": "T(\"Clicks per minute\", EQ, 1)"}),
            "Tag \"Clicks per minute\" not found",
            "refused",
        ),
        (json!({"devices_filter": "G(\"Access denied\")"}), "Group Access denied is unknown", "refused"),
        (json!({"campaign": "no-limit-2026"}), "Campaign \"no-limit-2026\" not found", "refused"),
        (json!({"transactionId": "rate-limit-test"}), "Invalid id rate-limit-test", "refused"),
        (json!({ "content": booked }), "Liquid error in \"Your transaction was already booked\"", "refused"),
        (json!({"content": "Access denied to your card"}), "Error: Access denied to your card", "refused"),
        (json!({"content": "denied"}), "Access denied or application not found", "misconfigured"),
        (json!({"content": "Limit"}), "Requests limit exceeded", "throttled"),
        (json!({"content": "Duplicate"}), "Duplicate transactionId", "accepted_before"),
    ] {
        for after_unknown in [false, true] {
            let verdict = judge_with(more.clone(), text, after_unknown);
            assert_eq!(verdict.label(), expected, "{more} {text} {after_unknown}");
        }
    }
}

#[test]
fn numbers_of_a_filter_are_hidden_and_codes_stay_whole() {
    let filter = r#"T("Customer", EQ, 4711234)"#;
    let refused = judge_for(filter, &reply(210, "4711234 is no customer", json!(null)), false);
    assert_eq!(refused, Verdict::Refused { reason: "[hidden] is no customer".into() });
    let filter = r#"T("Customer", EQ, 1029)"#;
    let both = json!({"messageCode": "97B0-1029AE20", "trackingCode": "1029-T"});
    let Verdict::Accepted(list) = judge_for(filter, &reply(200, "OK", both.clone()), false) else { panic!() };
    assert_eq!(list[0].message_code.as_deref(), Some("97B0-1029AE20"));
    let told = json!({"status_code": 200, "status_message": "OK", "response": both});
    assert_eq!(list[0].response, Some(Json::of(&told)));
}
