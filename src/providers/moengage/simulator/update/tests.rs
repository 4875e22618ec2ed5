use serde_json::json;

use super::super::tests::{call, campaign, engine, last, make, outcomes};
use super::*;
use crate::simulator::DeliveryOutcome::{Done, Refused};
use crate::simulator::engine::Engine;

/// An hour after the start of the tests' engines, in India.
const LATER: &str = r#"{"type": "later", "date": "03/01/2026", "time": "04:30 PM"}"#;
const HOUR: u64 = 3600;

fn scheduled() -> Value {
    let delivery: Value = serde_json::from_str(LATER).unwrap();
    json!({"targetAudience": "All Users", "campaignDelivery": delivery})
}

fn periodic() -> Value {
    let delivery =
        json!({"type": "periodic", "endDate": "03/01/2026", "time": "04:30 PM", "repeatAfter": "1"});
    json!({"targetAudience": "All Users", "campaignDelivery": delivery})
}

fn update(engine: &mut Engine, id: &str, changes: Value, seconds: u64) -> (u16, Value) {
    let mut body = json!({"request_id": "r-1", "updated_by": "john.doe@example.com"});
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    call(engine, id, &body.to_string(), seconds)
}

#[test]
fn whole_objects_are_replaced_and_the_others_stay() {
    let mut engine = engine(|_| {});
    let id = make(&mut engine, "Spring sale", scheduled());
    let before = campaign(&mut engine, &id, 1);
    let details = json!({"name": "Summer sale", "team": "t"});
    let (status, body) =
        update(&mut engine, &id, json!({"basic_details": details, "delivery_controls": {"a": 1}}), 2);
    assert_eq!((status, body), (204, Value::Null));
    assert_eq!(outcomes(&engine), [Done]);
    assert_eq!(last(&engine).deliveries[0].id.as_deref(), Some(id.as_str()));
    let after = campaign(&mut engine, &id, 3);
    assert_eq!((&after["basic_details"], &after["delivery_controls"]), (&details, &json!({"a": 1})));
    assert_eq!(after["campaign_content"], before["campaign_content"]);
    assert_eq!(after["updated_by"], "john.doe@example.com");
    assert_eq!(after["updated_at"], "2026-03-01 10:00:02.123456");
    assert_eq!((before.get("updated_by"), before.get("updated_at")), (None, None));
}

#[test]
fn the_id_in_the_path_is_decoded() {
    let mut engine = engine(|_| {});
    let id = make(&mut engine, "Spring sale", scheduled());
    assert_eq!(update(&mut engine, &id.replace('-', "%2D"), json!({}), 1).0, 204);
    let (status, value) = update(&mut engine, "a%2Fb%20c", json!({}), 1);
    assert_eq!((status, &value["error"]["code"]), (404, &json!("404 Not Found")));
    assert_eq!(
        (&value["error"]["target"], &value["error"]["request_id"]),
        (&json!("campaign_id"), &json!("r-1"))
    );
    assert_eq!(
        (outcomes(&engine), last(&engine).deliveries[0].id.as_deref()),
        (vec![Refused], Some("a/b c"))
    );
}

#[test]
fn a_missing_member_is_answered_as_in_the_sample() {
    let mut engine = engine(|_| {});
    let id = make(&mut engine, "Spring sale", scheduled());
    let (status, value) = update(&mut engine, &id, json!({"request_id": null}), 0);
    let message = "request_id key is mandatory field";
    let error = json!({
        "code": "400 Bad Request", "message": message, "target": "request_id",
        "details": [{"target": "request_id", "message": message}], "request_id": "",
    });
    assert_eq!((status, value), (400, json!({"error": error})));
}

#[test]
fn wrong_bodies_are_refused() {
    let cases = [
        (json!({"request_id": 7}), "request_id"),
        (json!({"updated_by": null}), "updated_by"),
        (json!({"updated_by": "John"}), "updated_by"),
        (json!({"updated_by": "a@b@c.de"}), "updated_by"),
        (json!({"basic_details": []}), "basic_details"),
        (json!({"delivery_controls": "x"}), "delivery_controls"),
        (json!({"advanced": 1}), "advanced"),
        (json!({"basic_details": {"platforms": ["ios"]}}), "platforms"),
        (json!({"basic_details": {"platforms": "IOS"}}), "platforms"),
        (
            json!({"control_group_details": {"is_campaign_control_group_enabled": true}}),
            "campaign_control_group_percentage",
        ),
        (
            json!({"control_group_details": {"campaign_control_group_percentage": 101}}),
            "campaign_control_group_percentage",
        ),
        (json!({"scheduling_details": {"start_time": "2026-07-20 13:55:00"}}), "start_time"),
        (json!({"scheduling_details": {"expiry_time": "2026-07-20T13:55:00Z"}}), "expiry_time"),
        (json!({"scheduling_details": {"delivery_type": "ASAP"}}), "delivery_type"),
    ];
    for (changes, target) in cases {
        let mut engine = engine(|_| {});
        let id = make(&mut engine, "Spring sale", scheduled());
        let (status, value) = update(&mut engine, &id, changes.clone(), 0);
        assert_eq!((status, &value["error"]["target"]), (400, &json!(target)), "{changes} {value}");
        assert_eq!(outcomes(&engine), [Refused], "{changes}");
        assert_eq!(campaign(&mut engine, &id, 0).get("updated_at"), None, "nothing was changed");
    }
}

#[test]
fn unreadable_bodies_are_bad_requests_that_count() {
    let mut engine = engine(|_| {});
    for (id, body) in [("a", "{"), ("a", "[]"), ("search", ""), ("search", "7")] {
        let (status, value) = call(&mut engine, id, body, 0);
        assert_eq!((status, &value["error"]["code"]), (400, &json!("400 Bad Request")), "{id} {body:?}");
        assert!(last(&engine).counted);
    }
}

#[test]
fn documented_bodies_are_taken() {
    for changes in [
        json!({"updated_by": "a@b"}),
        json!({}),
        json!({"channel": "PUSH", "utm_params": {}, "something_new": 1}),
        json!({"control_group_details":
            {"is_campaign_control_group_enabled": true, "campaign_control_group_percentage": "5"}}),
        json!({"control_group_details": {"campaign_control_group_percentage": 2.0}}),
        json!({"basic_details": {"platforms": ["ANDROID", "IOS", "WEB"]}}),
        json!({"scheduling_details": {"delivery_type": "AT_FIXED_TIME", "start_time": "2026-07-20T13:55:00"}}),
        json!({"trigger_condition": {}, "segmentation_details": {}, "conversion_goal_details": {}}),
    ] {
        let mut engine = engine(|_| {});
        let id = make(&mut engine, "Spring sale", scheduled());
        assert_eq!(update(&mut engine, &id, changes.clone(), 0).0, 204, "{changes}");
    }
}

#[test]
fn closed_campaigns_are_not_changed() {
    for (name, expected) in
        [("stopped one", 400), ("archived one", 400), ("paused one", 204), ("An ordinary one", 204)]
    {
        let mut engine = engine(|_| {});
        let id = make(&mut engine, name, scheduled());
        assert_eq!(update(&mut engine, &id, json!({}), 0).0, expected, "{name}");
    }
}

#[test]
fn parts_of_an_active_campaign_are_closed() {
    for (changes, active, waiting) in [
        (json!({"trigger_condition": {}}), 400, 204),
        (json!({"segmentation_details": {}}), 400, 204),
        (json!({"conversion_goal_details": {}}), 400, 204),
        (json!({"scheduling_details": {"start_time": "2026-07-20T13:55:00"}}), 400, 204),
        (json!({"scheduling_details": {"expiry_time": "2026-07-20T13:55:00"}}), 204, 204),
        (json!({"campaign_content": {}}), 204, 204),
    ] {
        for (made, expected) in [(periodic(), active), (scheduled(), waiting)] {
            let mut engine = engine(|_| {});
            let id = make(&mut engine, "Spring sale", made);
            assert_eq!(update(&mut engine, &id, changes.clone(), 0).0, expected, "{changes}");
        }
    }
}

#[test]
fn a_new_time_holds() {
    for (made, member, before, after) in
        [(scheduled(), "start_time", "Scheduled", "Sent"), (periodic(), "expiry_time", "Active", "Sent")]
    {
        let mut engine = engine(|_| {});
        let id = make(&mut engine, "Spring sale", made);
        let changes = json!({"scheduling_details": {member: "2026-03-01T12:00:00"}});
        assert_eq!(update(&mut engine, &id, changes, 0).0, 204);
        for (seconds, status) in [(HOUR, before), (2 * HOUR - 1, before), (2 * HOUR, after)] {
            assert_eq!(campaign(&mut engine, &id, seconds)["status"], status, "{member} {seconds}");
        }
    }
}
