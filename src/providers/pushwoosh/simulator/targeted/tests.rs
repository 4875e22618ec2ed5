use serde_json::json;

use super::super::tests::{call, engine, last, outcomes, send};
use super::*;
use crate::simulator::DeliveryOutcome::{Accepted, Refused, Suppressed};

const DAY: u64 = 86_400;

fn request(changes: Value) -> Value {
    let mut request = json!({"devices_filter": r#"A("APP")"#, "send_date": "now", "content": "hello"});
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            request.as_object_mut().unwrap().remove(key);
        } else {
            request[key] = value.clone();
        }
    }
    request
}

#[test]
fn a_message_is_answered_with_its_codes_and_is_stored() {
    let mut engine = engine(|_| {});
    let value = call(&mut engine, "createTargetedMessage", request(json!({"transactionId": "a"})), 0);
    assert_eq!((&value["status_code"], &value["status_message"]), (&json!(200), &json!("OK")));
    let code = value["response"]["messageCode"].as_str().unwrap();
    assert!(value["response"]["trackingCode"].as_str().unwrap().starts_with("T-"), "{value}");
    let entry = last(&engine);
    assert_eq!((entry.counted, outcomes(&engine)), (true, vec![Accepted]));
    assert_eq!(entry.deliveries[0].id.as_deref(), Some("a"));
    assert_eq!(entry.deliveries[0].code.as_deref(), Some(code));
    let details = call(&mut engine, "getMessageDetails", json!({"message": code}), 1);
    assert_eq!(details["response"]["message"]["status"], "done");
}

#[test]
fn an_id_is_known_for_a_day_and_only_to_this_call() {
    let mut engine = engine(|_| {});
    let labelled = || request(json!({"transactionId": "a"}));
    send(&mut engine, json!({"users": ["u"], "transactionId": "a"}));
    let mut seen = Vec::new();
    for seconds in [0, 1, DAY - 1, DAY] {
        seen.push(call(&mut engine, "createTargetedMessage", labelled(), seconds));
    }
    assert_eq!((&seen[1], &seen[2]), (&seen[0], &seen[0]));
    assert_ne!(seen[3], seen[0]);
    let outcomes: Vec<_> =
        engine.ledger().page(0, 10).entries[1..].iter().map(|entry| entry.deliveries[0].outcome).collect();
    assert_eq!(outcomes, [Accepted, Suppressed, Suppressed, Accepted]);
    let twice = engine.summary().accepted_twice;
    assert_eq!((twice.len(), twice[0].key.as_str()), (1, "createTargetedMessage/a"));
}

#[test]
fn the_window_can_be_shortened() {
    let mut engine =
        engine(|rules| rules.targeted_duplicate_window = Some(std::time::Duration::from_secs(5)));
    let labelled = || request(json!({"transactionId": "a"}));
    for (seconds, outcome) in [(0, Accepted), (4, Suppressed), (5, Accepted)] {
        call(&mut engine, "createTargetedMessage", labelled(), seconds);
        assert_eq!(outcomes(&engine), [outcome], "after {seconds} s");
    }
}

#[test]
fn wrong_requests_are_refused() {
    let cases = [
        (json!({"devices_filter": null}), "devices_filter"),
        (json!({"devices_filter": ""}), "devices_filter"),
        (json!({"devices_filter": ["A"]}), "devices_filter"),
        (json!({"send_date": null}), "send_date"),
        (json!({"send_date": "2030-01-31"}), "send_date"),
        (json!({"content": null}), "content"),
        (json!({"content": "a faulty one"}), "parsed"),
        (json!({"send_rate": 1}), "send_rate"),
        (json!({"application": "APP"}), "application"),
        (json!({"applications_group": "G"}), "applications_group"),
        (json!({"platforms": [1]}), "platforms"),
        (json!({"devices": ["t"]}), "devices"),
        (json!({"filter": "f"}), "filter"),
        (json!({"conditions": []}), "conditions"),
        (json!({"devices_filter": r#"A("unknown-app")"#}), "application not found"),
    ];
    for (changes, expected) in cases {
        let mut engine = engine(|_| {});
        let value = call(&mut engine, "createTargetedMessage", request(changes.clone()), 0);
        assert_eq!(value["status_code"], 210, "{changes}");
        assert!(value["status_message"].as_str().unwrap().contains(expected), "{changes} {value}");
        assert_eq!(outcomes(&engine), [Refused], "{changes}");
    }
}

#[test]
fn other_members_of_create_message_are_taken() {
    for changes in [
        json!({"users": ["u"], "preset": "P", "rich_media": "R", "page_id": 7, "something_new": true}),
        json!({"send_date": "2030-01-31 10:00", "timezone": "Europe/Berlin", "ignore_user_timezone": true}),
        json!({"content": {"en": "hello"}, "link": "https://example.com", "minimize_link": 0}),
    ] {
        let value = call(&mut engine(|_| {}), "createTargetedMessage", request(changes.clone()), 0);
        assert_eq!(value["status_code"], 200, "{changes} {value}");
    }
}

#[test]
fn a_filter_that_does_not_compile_is_answered_with_its_errors() {
    let request = request(json!({"devices_filter": r#"T("Age", EQ, 30"#}));
    let value = call(&mut engine(|_| {}), "createTargetedMessage", request, 0);
    assert_eq!(
        value,
        json!({
            "status_code": 210,
            "status_message": "Errors occurred while compiling filter",
            "response": {"errors": [
                {"message": "Invalid tag set specification. \")\" expected.", "type": "syntax"},
            ]},
        })
    );
}

#[test]
fn filters_name_their_applications() {
    for (filter, expected) in [
        (r#"A("1")"#, &["1"][..]),
        (r#"T ("Age", EQ, 30)"#, &[]),
        (r#"G("11111-11111", ["iOS","Android"])"#, &[]),
        (r#"A("1", ["iOS"]) * (AT("2", "v", IN, ["(", ")"]) + T("x", NOTSET, ""))"#, &["1", "2"]),
        (r#"( A("1") + A("2") ) \ A("3")"#, &["1", "2", "3"]),
        (r#"((A("1")))"#, &["1"]),
        (r#"T("n", BETWEEN, [-1, 5])"#, &[]),
    ] {
        assert_eq!(scan(filter), Ok(expected.iter().map(|&name| name.to_owned()).collect()), "{filter}");
    }
}

#[test]
fn broken_filters_are_noticed() {
    for filter in [
        r#"A("1"#,
        r#"A("1""#,
        r#"A("1"))"#,
        r#"(A("1")"#,
        r#"T("n", BETWEEN, [1,5)"#,
        r#"T("n", IN, 1,5])"#,
        r#"A("1") +"#,
        r#"+ A("1")"#,
        r#"A("1") A("2")"#,
        r#"A("1") - A("2")"#,
        r#"B("1")"#,
        r#"AT"#,
        r#"()"#,
        r#"["1"]"#,
        "A(“1”)",
        "hello",
        "   ",
    ] {
        assert!(scan(filter).is_err(), "{filter}");
    }
}
