use serde_json::json;

use crate::job::Finding;
use crate::providers::Gateway;
use crate::providers::pushwoosh::fields;
use crate::providers::pushwoosh::tests::{gateway, gateway_with, job};

use super::*;

/// A payload with one notification: the least that is valid, changed by `members`; null removes.
fn with(members: Value) -> Value {
    json!({"notifications": [changed(json!({"send_date": "now", "content": "x", "users": ["u"]}), members)]})
}

fn changed(mut base: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members are an object") };
    let object = base.as_object_mut().unwrap();
    for (name, value) in members {
        if value == json!("<none>") {
            object.remove(&name)
        } else {
            object.insert(name, value)
        };
    }
    base
}

/// Every finding of the job, of the whole job or of single notifications.
fn findings(gateway: &impl Gateway, payload: &Value) -> Vec<Finding> {
    match gateway.plan(&job(payload.clone())) {
        Err(findings) => findings,
        Ok(planned) => planned.into_iter().filter_map(Result::err).flat_map(|unfit| unfit.findings).collect(),
    }
}

fn places(gateway: &impl Gateway, payload: &Value) -> Vec<String> {
    findings(gateway, payload).into_iter().map(|finding| finding.pointer).collect()
}

/// Members of a notification, and where a finding is due below it.
fn notification_rows() -> Vec<(Value, Vec<&'static str>)> {
    let many = |n: usize| vec!["x"; n];
    vec![
        (json!({}), vec![]),
        (json!({"send_date": "2026-01-31 10:00"}), vec![]),
        (json!({"send_date": "2026-02-31 10:00"}), vec!["send_date"]),
        (json!({"send_date": "2026-01-31 10:00:00"}), vec![]),
        (json!({"send_date": null}), vec!["send_date"]),
        (json!({"send_date": "<none>"}), vec!["send_date"]),
        (json!({"content": {"en": "a", "de": "b"}}), vec![]),
        (json!({"content": ""}), vec![]),
        (json!({"content": {}}), vec!["content"]),
        (json!({"content": {"en": 1}}), vec!["content/en"]),
        (json!({"content": 5}), vec!["content"]),
        (json!({"content": null}), vec!["content"]),
        (json!({"content": "<none>"}), vec!["content"]),
        (json!({"ignore_user_timezone": false}), vec![]),
        (json!({"ignore_user_timezone": "false"}), vec!["ignore_user_timezone"]),
        (json!({"users": many(1000)}), vec![]),
        (json!({"users": many(1001)}), vec!["users"]),
        (json!({"users": []}), vec!["users"]),
        (json!({"users": null}), vec!["users"]),
        (json!({"users": "u"}), vec!["users"]),
        (json!({"users": ["u", ""]}), vec!["users/1"]),
        (json!({"users": ["u", 5]}), vec!["users/1"]),
        (json!({"devices": many(1000)}), vec![]),
        (json!({"devices": many(1001)}), vec!["devices"]),
        (json!({"devices": []}), vec!["devices"]),
        (json!({"devices": null}), vec!["devices"]),
        (json!({"devices": ["  "]}), vec!["devices/0"]),
        (json!({"devices": {"0": "d"}}), vec!["devices"]),
        (json!({"filter": "f"}), vec![]),
        (json!({"filter": ""}), vec!["filter"]),
        (json!({"filter": null}), vec!["filter"]),
        (json!({"conditions": [["Age", "EQ", 30]]}), vec![]),
        (json!({"conditions": []}), vec!["conditions"]),
        (json!({"conditions": [["Age", "IS", 30]]}), vec!["conditions/0/1"]),
        (json!({"filter": "f", "conditions": [["Age", "EQ", 30]]}), vec!["conditions"]),
        (json!({"filter": "f", "conditions": [["Age", "EQ", 30]], "devices": ["d"]}), vec!["conditions"]),
        (json!({"conditions_operator": "OR"}), vec![]),
        (json!({"conditions_operator": "or"}), vec!["conditions_operator"]),
        (json!({"platforms": [1, 3, 17]}), vec![]),
        (json!({"platforms": []}), vec!["platforms"]),
        (json!({"platforms": [1, 99]}), vec!["platforms/1"]),
        (json!({"platforms": ["1"]}), vec!["platforms/0"]),
        (json!({"platforms": 1}), vec!["platforms"]),
        (json!({"transactionId": "own-1"}), vec![]),
        (json!({"transactionId": "job-1#0"}), vec![]),
        (json!({"transactionId": "job-2#0"}), vec!["transactionId"]),
        (json!({"transactionId": "a b"}), vec!["transactionId"]),
        (json!({"transactionId": ""}), vec!["transactionId"]),
        (json!({"transactionId": 5}), vec!["transactionId"]),
        (json!({"transactionId": null}), vec!["transactionId"]),
        (json!({"send_rate": 100}), vec![]),
        (json!({"send_rate": 99}), vec!["send_rate"]),
        (json!({"send_rate": 1001}), vec!["send_rate"]),
        (json!({"capping_days": 30}), vec![]),
        (json!({"capping_days": 31}), vec!["capping_days"]),
        (json!({"inbox_days": 31}), vec!["inbox_days"]),
        (json!({"inbox_date": "2026-01-31"}), vec![]),
        (json!({"inbox_date": "2026-01-32"}), vec!["inbox_date"]),
        (json!({"minimize_link": 2}), vec![]),
        (json!({"minimize_link": true}), vec!["minimize_link"]),
        (json!({"data": "{}"}), vec![]),
        (json!({"data": []}), vec!["data"]),
        (json!({"unknown_member": [1]}), vec![]),
        (json!({"users": "<none>"}), vec![]),
        // SMS
        (json!({"users": "<none>", "platforms": [18], "devices": ["+123"]}), vec![]),
        (json!({"users": "<none>", "platforms": [18], "devices": ["+123", "+124"]}), vec!["devices"]),
        (json!({"users": "<none>", "platforms": [18]}), vec!["devices"]),
        (json!({"users": "<none>", "platforms": [1, 18], "devices": many(2)}), vec!["devices"]),
        (
            json!({"users": "<none>", "platforms": [18], "devices": ["+123"], "content": {"en": "x"}}),
            vec!["content"],
        ),
        (json!({"platforms": [18], "devices": ["+123"]}), vec!["users"]),
        // All at once.
        (
            json!({"send_date": "<none>", "content": 1, "devices": [], "send_rate": 5, "transactionId": "#"}),
            vec!["send_date", "content", "send_rate", "transactionId", "devices"],
        ),
    ]
}

#[test]
fn notifications_valid_and_invalid() {
    let validator = jsonschema::validator_for(&fields::create_message_schema()).unwrap();
    for (members, expected) in notification_rows() {
        let payload = with(members.clone());
        let expected: Vec<_> =
            expected.into_iter().map(|place| format!("/payload/notifications/0/{place}")).collect();
        assert_eq!(places(&gateway(), &payload), expected, "{members}");
        if expected.is_empty() {
            assert!(validator.is_valid(&payload), "the schema is stricter than the check: {members}");
        }
    }
}

#[test]
fn requests_valid_and_invalid() {
    let fit = json!({"send_date": "now", "content": "x", "filter": "f"});
    let device = json!({"send_date": "now", "content": "x", "devices": ["d"]});
    let n = |count: usize| vec![fit.clone(); count];
    let cases = [
        (json!({"notifications": n(1)}), vec![]),
        (json!({"notifications": n(1000)}), vec![]),
        (json!({"notifications": n(1001)}), vec!["/notifications"]),
        (json!({"notifications": []}), vec!["/notifications"]),
        (json!({"notifications": {"0": fit}}), vec!["/notifications"]),
        (json!({"notifications": null}), vec!["/notifications"]),
        (json!({}), vec!["/notifications"]),
        (json!({"notifications": ["text"]}), vec!["/notifications/0"]),
        (json!({"application": "A", "notifications": n(1)}), vec![]),
        (json!({"application": "", "notifications": n(1)}), vec!["/application"]),
        (json!({"application": null, "notifications": n(1)}), vec!["/application"]),
        (json!({"applications_group": "G", "notifications": n(1)}), vec![]),
        (json!({"applications_group": 5, "notifications": n(1)}), vec!["/applications_group"]),
        (
            json!({"application": "A", "applications_group": "G", "notifications": n(1)}),
            vec!["/applications_group"],
        ),
        (json!({"applications_group": "G", "notifications": [device]}), vec!["/notifications/0/devices"]),
        (
            json!({"applications_group": "G", "notifications": [with(json!({}))["notifications"][0]]}),
            vec!["/notifications/0/users"],
        ),
        (json!({"auth": "t", "notifications": n(1)}), vec!["/auth"]),
        (json!({"appId": "t", "signature": "s", "notifications": n(1)}), vec!["/appId", "/signature"]),
        (json!({"auth": null, "notifications": []}), vec!["/auth", "/notifications"]),
        (json!({"request": {"notifications": n(1)}}), vec!["/request"]),
        (json!({"request": {"auth": "t", "notifications": n(1)}}), vec!["/request", "/request/auth"]),
        (json!({"request": "text"}), vec!["/request"]),
        (json!({"unknown_member": 1, "notifications": n(1)}), vec![]),
        // A request-level finding does not hide those of the notifications.
        (
            json!({"auth": "t", "notifications": [fit, {}]}),
            vec!["/auth", "/notifications/1/send_date", "/notifications/1/content"],
        ),
    ];
    for (payload, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|place| format!("/payload{place}")).collect();
        assert_eq!(places(&gateway(), &payload), expected, "{payload:.120}");
    }
}

#[test]
fn a_credential_in_one_notification_stops_the_whole_job() {
    let fit = json!({"send_date": "now", "content": "x", "filter": "f"});
    let payload = json!({"notifications": [fit, changed(fit.clone(), json!({"auth": "t"}))]});
    let findings = gateway().plan(&job(payload)).unwrap_err();
    assert_eq!(findings[0].pointer, "/payload/notifications/1/auth");
}

#[test]
fn an_application_must_come_from_somewhere() {
    let bare = gateway_with(|account| account.application = None);
    assert_eq!(places(&bare, &with(json!({}))), ["/payload/application"]);
    let named = json!({"application": "A", "notifications": with(json!({}))["notifications"]});
    assert_eq!(places(&bare, &named), Vec::<String>::new());
}

#[test]
fn targeting_can_be_required() {
    let strict = gateway_with(|account| account.require_targeting = true);
    let none = json!({"users": "<none>"});
    assert_eq!(places(&strict, &with(none.clone())), ["/payload/notifications/0"]);
    assert_eq!(places(&gateway(), &with(none.clone())), Vec::<String>::new());
    for target in [json!({"users": ["u"]}), json!({"devices": ["d"]}), json!({"filter": "f"})] {
        let payload = with(changed(none.clone(), target));
        assert_eq!(places(&strict, &payload), Vec::<String>::new(), "{payload}");
    }
}

#[test]
fn findings_hold_no_data_of_customers() {
    let payload = with(json!({
        "send_date": "SECRET-date", "content": {"SECRET text": 5, "en": ["SECRET-text"]},
        "devices": ["SECRET-device", 5], "users": [["SECRET-user"]], "data": ["SECRET-data"],
        "filter": "SECRET-filter", "conditions": [["SECRET-tag", "SECRET-op", "SECRET-value"]],
        "transactionId": "SECRET id", "timezone": 5,
    }));
    let mut all = findings(&gateway(), &payload);
    assert!(all.len() >= 9, "{all:?}");
    all.extend(gateway().warnings(&job(payload)));
    for finding in all {
        assert!(!finding.to_string().contains("SECRET"), "{finding}");
    }
}

#[test]
fn warnings_name_what_is_likely_a_mistake() {
    let cases = [
        (json!({}), vec![]),
        (json!({"unknown_member": 1}), vec!["/unknown_member"]),
        (json!({"ios_ttl": 5}), vec![]),
        (json!({"users": "<none>"}), vec![""]),
        (json!({"devices": ["d"]}), vec!["/devices"]),
        (json!({"users": "<none>", "devices": ["d"], "filter": "f"}), vec!["/filter"]),
        (json!({"users": "<none>", "devices": ["d"], "platforms": [1]}), vec!["/platforms"]),
        (json!({"users": "<none>", "devices": ["+1"], "platforms": [18]}), vec![]),
        (json!({"conditions": [["Name", "ANY"]]}), vec!["/conditions/0"]),
    ];
    for (members, expected) in cases {
        let found: Vec<_> = gateway()
            .warnings(&job(with(members.clone())))
            .into_iter()
            .map(|warning| warning.pointer)
            .collect();
        let expected: Vec<_> =
            expected.into_iter().map(|place| format!("/payload/notifications/0{place}")).collect();
        assert_eq!(found, expected, "{members}");
    }
    let top = json!({"aplication": "A", "notifications": with(json!({}))["notifications"]});
    assert_eq!(gateway().warnings(&job(top))[0].pointer, "/payload/aplication");
}

#[test]
fn an_empty_list_of_platforms_is_refused_for_caution() {
    for (platforms, source) in [(json!([]), CAUTION), (json!([99]), SOURCE), (json!(1), SOURCE)] {
        let found = findings(&gateway(), &with(json!({ "platforms": platforms })));
        assert_eq!(found.iter().map(|one| one.source).collect::<Vec<_>>(), [source], "{platforms}");
    }
}
