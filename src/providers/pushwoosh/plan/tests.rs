use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::pushwoosh::tests::{gateway, gateway_with, job};

fn to(target: Value) -> Value {
    let mut notification = json!({"send_date": "now", "content": "x"});
    notification.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
    notification
}

fn ids(planned: &Planned) -> Vec<(bool, String)> {
    let id = |entry: &Result<Delivery, Unfit>| match entry {
        Ok(delivery) => (true, delivery.id.to_string()),
        Err(unfit) => (false, unfit.id.to_string()),
    };
    planned.iter().map(id).collect()
}

#[test]
fn delivery_ids() {
    let user = || to(json!({"users": ["u"]}));
    let own = |id: &str| to(json!({"users": ["u"], "transactionId": id}));
    let cases = [
        (json!([user()]), vec![(true, "job-1")]),
        (json!([own("mine")]), vec![(true, "mine")]),
        (json!([own("job-1#4")]), vec![(true, "job-1#4")]),
        (json!([user(), user()]), vec![(true, "job-1#0"), (true, "job-1#1")]),
        (json!([user(), own("mine"), user()]), vec![(true, "job-1#0"), (true, "mine"), (true, "job-1#2")]),
        (json!([own("same"), own("same")]), vec![(true, "same"), (false, "job-1#1")]),
        (json!([own("job-1#1"), user()]), vec![(false, "job-1#0"), (true, "job-1#1")]),
        (json!([user(), own("job-1#1")]), vec![(true, "job-1#0"), (true, "job-1#1")]),
        (json!([own("a b"), user()]), vec![(false, "job-1#0"), (true, "job-1#1")]),
        (json!([own("a b")]), vec![(false, "job-1")]),
        (json!([7, user()]), vec![(false, "job-1#0"), (true, "job-1#1")]),
    ];
    for (notifications, expected) in cases {
        let planned = gateway().plan(&job(json!({"notifications": notifications}))).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|(fit, id)| (fit, id.to_owned())).collect();
        assert_eq!(ids(&planned), expected, "{notifications}");
    }
}

#[test]
fn a_delivery_carries_the_job_with_itself_alone() {
    let one = job(json!({"application": "A", "notifications": [to(json!({"users": ["u"]}))]}));
    let planned = gateway().plan(&one).unwrap();
    assert_eq!(*planned[0].as_ref().unwrap().job, one, "an only notification stays as it is");

    let bad = json!({"send_date": "later"});
    let mut two = job(json!({"application": "A", "notifications": [to(json!({"users": ["u"]})), bad]}));
    two.meta = Some(json!({"m": 1}).as_object().unwrap().clone());
    let planned = gateway().plan(&two).unwrap();
    let first = planned[0].as_ref().unwrap();
    let expected = json!({"application": "A", "notifications": [
        {"send_date": "now", "content": "x", "users": ["u"], "transactionId": "job-1#0"},
    ]});
    assert_eq!(Value::Object(Object::clone(&first.job.payload)), expected);
    assert_eq!(first.job.meta, two.meta);
    let second = planned[1].as_ref().unwrap_err();
    assert_eq!(
        second.job.payload["notifications"],
        json!([{"send_date": "later", "transactionId": "job-1#1"}])
    );
    assert_eq!(second.findings.len(), 2, "{:?}", second.findings);
}

#[test]
fn classes_and_who_may_share_a_request() {
    let messages = Class::Counted(MESSAGES);
    let few = to(json!({"devices": ["d"]}));
    let many = to(json!({"devices": vec!["d"; 11]}));
    let unlimited = gateway_with(|account| account.requests_per_minute = None);
    let traced = gateway_with(|account| account.exempt_devices = 0);
    for (gateway, notification, class) in [
        (&gateway(), &few, Class::Exempt),
        (&gateway(), &many, messages),
        (&traced, &few, messages),
        (&unlimited, &many, Class::Exempt),
    ] {
        let planned = gateway.plan(&job(json!({"notifications": [notification]}))).unwrap();
        let delivery = planned[0].as_ref().unwrap();
        assert_eq!(delivery.class, class, "{notification}");
        assert_eq!(delivery.batch.is_some(), class == messages, "exempt ones go alone");
    }
}

#[test]
fn equal_requests_share_and_others_do_not() {
    let key =
        |payload: Value| gateway().plan(&job(payload)).unwrap()[0].as_ref().unwrap().batch.clone().unwrap();
    let list = json!([to(json!({"users": ["u"]}))]);
    let own = key(json!({"notifications": list}));
    assert_eq!(own, key(json!({"application": "OWN00-00001", "notifications": list})));
    assert_eq!(own, key(json!({"notifications": [to(json!({"filter": "f"}))]})));
    assert_ne!(own, key(json!({"application": "OTHER", "notifications": list})));
    assert_ne!(
        own,
        key(
            json!({"applications_group": "OWN00-00001", "notifications": list.as_array().map(|_| vec![to(json!({"filter": "f"}))])})
        )
    );
    let extra = |x: Value| key(json!({"new": x, "notifications": list}));
    assert_eq!(extra(json!({"a": 1, "b": [2]})), extra(json!({"b": [2], "a": 1})));
    assert_ne!(extra(json!({"a": 1, "b": [2]})), extra(json!({"b": [2], "a": 2})));
    assert_ne!(extra(json!("1")), extra(json!(1)));
}

#[test]
fn a_full_request_stays_below_the_provider_s_size() {
    let notification = |bytes: usize| to(json!({"users": ["u"], "link": "x".repeat(bytes)}));
    for (most, bytes, shares) in [
        (20, 400_000, true),
        (20, 600_000, false),
        (1000, 9_000, true),
        (1000, 10_000, false),
        (1, 10, false),
    ] {
        let gateway = gateway_with(|account| account.notifications_per_request = most);
        let payload = json!({"notifications": [notification(bytes)]});
        let planned = gateway.plan(&job(payload)).unwrap();
        let delivery = planned[0].as_ref().unwrap();
        assert_eq!(delivery.batch.is_some(), shares, "{most} of {bytes} bytes");
        if shares {
            let request = gateway.request(&vec![delivery; most]);
            assert!(request.body.len() <= LARGEST_REQUEST, "{} bytes", request.body.len());
        }
    }
}

#[test]
fn a_job_can_not_ask_for_gigabytes() {
    let list = vec![to(json!({"users": ["u"]})); 1000];
    let fat = |bytes: usize| json!({"new": "x".repeat(bytes), "notifications": list});
    assert!(gateway().plan(&job(fat(10_000))).is_ok());
    let findings = gateway().plan(&job(fat(100_000))).unwrap_err();
    assert_eq!(findings[0].pointer, "/payload/notifications");
    let mut meta = job(fat(10));
    meta.meta = Some(json!({"m": "x".repeat(100_000)}).as_object().unwrap().clone());
    assert!(gateway().plan(&meta).is_err());
    let single = json!({"new": "x".repeat(100_000), "notifications": [to(json!({"users": ["u"]}))]});
    assert!(gateway().plan(&job(single)).is_ok());
}
