use std::time::Duration;

use super::*;
use crate::providers::pushwoosh::tests::{account, gateway, gateway_with, targeted_job};
use crate::providers::{Gateway, Repeat};

fn payload(more: Value) -> Value {
    let filter = "A(\"OWN00-00001\") * T(\"Language\", EQ, \"en\")";
    let mut payload = json!({"devices_filter": filter, "send_date": "now", "content": "x"});
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload
}

fn planned(more: Value) -> Delivery {
    gateway().plan(&targeted_job(payload(more))).unwrap().remove(0).unwrap()
}

#[test]
fn one_delivery_under_its_own_identity_or_the_job_s() {
    let cases = [(json!({}), "job-1"), (json!({"transactionId": "mine"}), "mine")];
    for (more, expected) in cases {
        let job = targeted_job(payload(more));
        let planned = gateway().plan(&job).unwrap();
        assert_eq!(planned.len(), 1);
        let delivery = planned[0].as_ref().unwrap();
        assert_eq!(delivery.id.as_str(), expected);
        assert_eq!(*delivery.job, job, "the job stays as it is");
        assert_eq!(delivery.class, Class::Counted(MESSAGES));
        assert_eq!(delivery.batch, None);
        assert_eq!(gateway().repeat(delivery), Repeat::Within(Duration::from_secs(86_400)));
        assert!(!gateway().reads(delivery));
        assert_eq!(gateway().fallback_pool(delivery), None);
    }
    let unfit = gateway().plan(&targeted_job(payload(json!({"transactionId": "mine", "content": 5}))));
    let unfit = unfit.unwrap().remove(0).unwrap_err();
    assert_eq!((unfit.id.as_str(), unfit.findings.len()), ("mine", 1));
}

#[test]
fn an_account_without_a_limit_counts_nothing() {
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    let delivery = unlimited.plan(&targeted_job(payload(json!({})))).unwrap().remove(0).unwrap();
    assert_eq!(delivery.class, Class::Exempt);
    assert_eq!(unlimited.fallback_pool(&delivery), Some(MESSAGES));
}

#[test]
fn a_secret_makes_the_whole_job_invalid() {
    for (more, expected) in [
        (json!({"auth": "t", "content": 5}), vec!["/payload/auth", "/payload/content"]),
        (json!({"request": {"auth": "t"}}), vec!["/payload/request", "/payload/request/auth"]),
    ] {
        let findings = gateway().plan(&targeted_job(payload(more))).unwrap_err();
        assert_eq!(findings.iter().map(|one| one.pointer.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_sources_of_what_is_refused() {
    let job = targeted_job(payload(json!({"filter": "f", "users": ["u"], "notifications": []})));
    let findings = gateway().plan(&job).unwrap().remove(0).unwrap_err().findings;
    let found: Vec<_> = findings.iter().map(|one| (one.pointer.as_str(), one.source)).collect();
    let expected =
        [("/payload/filter", SOURCE), ("/payload/users", CAUTION), ("/payload/notifications", CONTRACT)];
    assert_eq!(found, expected);
}

#[test]
fn a_request_is_flat_and_brings_no_application() {
    let delivery =
        planned(json!({"send_date": "2026-01-02 03:04:05", "page_id": 7, "new": {"b": 1, "a": 2}}));
    let request = gateway().request(&[&delivery]);
    assert_eq!(request.method, reqwest::Method::POST);
    assert_eq!(request.url.as_str(), "https://api.pushwoosh.com/json/1.3/createTargetedMessage");
    let expected = json!({"request": {
        "auth": "token-of-the-shop",
        "devices_filter": "A(\"OWN00-00001\") * T(\"Language\", EQ, \"en\")",
        "send_date": "2026-01-02 03:04", "content": "x", "page_id": 7, "new": {"b": 1, "a": 2},
        "ignore_user_timezone": false, "transactionId": "job-1",
    }});
    assert_eq!(String::from_utf8(request.body.to_vec()).unwrap(), expected.to_string());
    assert_eq!(gateway().request(&[&delivery]).body, request.body);
}

#[test]
fn filters_name_applications() {
    let cases = [
        (r#"A("OWN00-00001")"#, false),
        (r#"A ( "B" , ["iOS"]) + G("C")"#, true),
        (r#"AT("OWN00-00001", "Tag", IN, ["A(", "x"])"#, false),
        (r#"T("A", EQ, "G") * T("AT", IN, ["A"])"#, false),
    ];
    for (filter, another) in cases {
        let payload = payload(json!({ "devices_filter": filter }));
        assert_eq!(names_another_application(&account(), payload.as_object().unwrap()), another, "{filter}");
    }
}
