use serde_json::json;

use super::super::tests::{call, campaign, engine, make, outcomes};
use super::*;
use crate::simulator::DeliveryOutcome::{Done, Refused};
use crate::simulator::engine::Engine;

const HOUR: u64 = 3600;

fn question(changes: Value) -> Value {
    let mut question = json!({"request_id": "r-1", "limit": 15, "page": 1});
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            question.as_object_mut().unwrap().remove(key);
        } else {
            question[key] = value.clone();
        }
    }
    question
}

fn names(engine: &mut Engine, changes: Value, seconds: u64) -> Vec<String> {
    let (status, value) = call(engine, "search", &question(changes.clone()).to_string(), seconds);
    assert_eq!((status, outcomes(engine)), (200, vec![Done]), "{changes} {value}");
    let list = value.as_array().expect("a bare array");
    list.iter().map(|one| one["basic_details"]["name"].as_str().unwrap().to_owned()).collect()
}

fn delivered(delivery: Value) -> Value {
    json!({"targetAudience": "All Users", "campaignDelivery": delivery})
}

/// One campaign of each kind.
fn every_kind() -> Engine {
    let mut engine = engine(|_| {});
    let later = json!({"type": "later", "date": "03/01/2026", "time": "11:00 AM", "timezone": "UTC"});
    let periodic = json!({
        "type": "periodic", "endDate": "03/01/2026", "time": "11:00 AM", "timezone": "UTC", "repeatAfter": "1",
    });
    make(&mut engine, "to single users", json!({}));
    make(&mut engine, "to everybody", delivered(json!({"type": "soon"})));
    make(&mut engine, "later on", delivered(later));
    make(&mut engine, "every day", delivered(periodic));
    let mut archived = delivered(json!({"type": "soon"}));
    archived["campaignTags"] = json!(["old", "sale"]);
    make(&mut engine, "archived one", archived);
    engine
}

#[test]
fn states_follow_from_the_delivery() {
    let mut engine = every_kind();
    for (status, at_first, an_hour_later) in [
        ("ACTIVE", vec!["every day", "to single users"], vec!["to single users"]),
        ("SCHEDULED", vec!["later on"], vec![]),
        ("SENT", vec!["to everybody"], vec!["every day", "later on", "to everybody"]),
        ("sent", vec!["to everybody"], vec!["every day", "later on", "to everybody"]),
        ("STOPPED", vec![], vec![]),
    ] {
        let mut engine = every_kind();
        let filter = || json!({"campaign_fields": {"status": [status]}});
        assert_eq!(names(&mut engine, filter(), HOUR - 1), at_first, "{status}");
        assert_eq!(names(&mut engine, filter(), HOUR), an_hour_later, "{status}");
    }
    let both = json!({"campaign_fields": {"status": ["SCHEDULED", "SENT"]}});
    assert_eq!(names(&mut engine, both, 0), ["later on", "to everybody"]);
}

#[test]
fn filters_let_through_what_fits_all_of_them() {
    let unarchived = ["every day", "later on", "to everybody", "to single users"];
    for (fields, expected) in [
        (json!({}), &unarchived[..]),
        (json!({"channels": ["PUSH"]}), &unarchived),
        (json!({"channels": ["EMAIL", "SMS"]}), &[]),
        (json!({"created_by": [CREATOR]}), &unarchived),
        (json!({"created_by": ["john.doe@example.com"]}), &[]),
        (json!({"created_by": ["a@b", "\"a@b\"@c.d"]}), &[]),
        (json!({"delivery_type": ["BUSINESS_TRIGGERED"]}), &[]),
        (json!({"created_date": {}}), &unarchived),
        (json!({"created_date": {"from_date": "2026-03-01"}}), &unarchived),
        (json!({"created_date": {"from_date": "2026-03-02"}}), &[]),
        (json!({"created_date": {"to_date": "2026-03-01"}}), &unarchived),
        (json!({"created_date": {"to_date": "28-02-2026"}}), &[]),
        (json!({"created_date": {"from_date": "2026-03-01", "to_date": "2026-03-01"}}), &unarchived),
        (json!({"created_date": {"from_date": "28-02-2026", "to_date": "02-03-2026"}}), &unarchived),
        (json!({"created_date": {"from_date": "2026-03-02", "to_date": "2026-03-09"}}), &[]),
        (json!({"created_date": {"from_date": "2026-02-01", "to_date": "2026-02-28"}}), &[]),
        (json!({"delivery_type": ["PERIODIC"]}), &["every day"]),
        (json!({"delivery_type": ["ONE_TIME"], "status": ["SCHEDULED"]}), &["later on"]),
        (json!({"name": "later on"}), &["later on"]),
        (json!({"name": "later"}), &[]),
        (json!({"id": "no such id"}), &[]),
        (json!({"tags": ["sale"]}), &[]),
        (json!({"something_new": 1}), &unarchived),
    ] {
        let found = names(&mut every_kind(), json!({"campaign_fields": fields}), 0);
        assert_eq!(found, expected, "{fields}");
    }
}

#[test]
fn archived_campaigns_come_only_when_asked_for() {
    let mut engine = every_kind();
    let asked = |fields: Value| json!({"include_archive_campaigns": true, "campaign_fields": fields});
    assert_eq!(names(&mut engine, asked(json!({"tags": ["sale", "new"]})), 0), ["archived one"]);
    assert_eq!(names(&mut engine, asked(json!({"status": ["ARCHIVED"]})), 0), ["archived one"]);
    let not_asked = json!({"campaign_fields": {"status": ["ARCHIVED"]}});
    assert!(names(&mut engine, not_asked, 0).is_empty());
}

#[test]
fn pages_follow_one_another() {
    let mut engine = engine(|_| {});
    let made: Vec<String> = (0..7).map(|n| format!("campaign {n}")).collect();
    for name in &made {
        make(&mut engine, name, delivered(json!({"type": "soon"})));
    }
    let pages: Vec<Vec<String>> =
        (1..=4).map(|page| names(&mut engine, json!({"limit": 3, "page": page}), 0)).collect();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1, 0]);
    assert_eq!(pages.concat(), made.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn wrong_questions_are_refused() {
    for (changes, target) in [
        (json!({"request_id": null}), "request_id"),
        (json!({"request_id": ""}), "request_id"),
        (json!({"limit": null}), "limit"),
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 16}), "limit"),
        (json!({"limit": "5"}), "limit"),
        (json!({"page": null}), "page"),
        (json!({"page": 0}), "page"),
        (json!({"page": 1.5}), "page"),
        (json!({"include_child_campaigns": "true"}), "include_child_campaigns"),
        (json!({"include_archive_campaigns": 1}), "include_archive_campaigns"),
        (json!({"campaign_fields": []}), "campaign_fields"),
        (json!({"campaign_fields": {"channels": "PUSH"}}), "channels"),
        (json!({"campaign_fields": {"channels": ["FAX"]}}), "channels"),
        (json!({"campaign_fields": {"created_by": ["John"]}}), "created_by"),
        (json!({"campaign_fields": {"created_date": []}}), "created_date"),
        (json!({"campaign_fields": {"created_date": {"to_date": "2026-02-30"}}}), "to_date"),
        (
            json!({"campaign_fields": {"created_date": {"from_date": "1 March", "to_date": "2026-03-01"}}}),
            "from_date",
        ),
        (json!({"campaign_fields": {"delivery_type": ["BUSINESS"]}}), "delivery_type"),
        (json!({"campaign_fields": {"id": 7}}), "id"),
        (json!({"campaign_fields": {"name": ["x"]}}), "name"),
        (json!({"campaign_fields": {"status": ["DONE"]}}), "status"),
        (json!({"campaign_fields": {"tags": [1]}}), "tags"),
    ] {
        let mut engine = engine(|_| {});
        let (status, value) = call(&mut engine, "search", &question(changes.clone()).to_string(), 0);
        assert_eq!((status, &value["error"]["target"]), (400, &json!(target)), "{changes} {value}");
        assert_eq!(outcomes(&engine), [Refused], "{changes}");
    }
}

#[test]
fn a_campaign_has_the_documented_members() {
    let mut engine = engine(|_| {});
    let goals = json!([{"name": "Bought", "eventName": "OrderSuccess"}]);
    let made = json!({
        "targetAudience": "Custom Segment", "customSegmentName": "Buyers", "campaignTags": ["sale"],
        "conversionGoals": goals,
    });
    let id = make(&mut engine, "Spring sale", made);
    let push = json!({
        "template_type": "BASIC", "basic_details": {"title": "Order", "message": "On its way"},
    });
    let segment = json!({"filter_type": "custom_segments", "name": "Buyers"});
    let expected = json!({
        "channel": "PUSH",
        "created_by": CREATOR,
        "campaign_delivery_type": "ONE_TIME",
        "campaign_id": id,
        "status": "Sent",
        "created_at": "2026-03-01 10:00:00.123456",
        "sent_time": "2026-03-01 10:00:00",
        "basic_details": {"name": "Spring sale", "platforms": ["ANDROID", "IOS"], "tags": ["sale"]},
        "campaign_content": {"locales": ["default"], "content": {"push": {"android": push, "ios": push}}},
        "segmentation_details": {
            "is_all_user_campaign": false,
            "included_filters": {"filter_operator": "and", "filters": [segment]},
            "excluded_filters": {},
        },
        "scheduling_details": {"delivery_type": "ASAP", "start_time": "2026-03-01T10:00:00"},
        "conversion_goal_details": {"goals": [
            {"goal_name": "Bought", "goal_event_name": "OrderSuccess", "is_primary_goal": true},
        ]},
        "control_group_details": {
            "is_global_control_group_enabled": false,
            "is_campaign_control_group_enabled": false,
        },
        "delivery_controls": {},
        "trigger_condition": {},
        "utm_params": {},
        "connector": {},
    });
    assert_eq!(campaign(&mut engine, &id, 5), expected);
}

#[test]
fn single_users_share_one_stored_campaign_and_duplicates_make_none() {
    let mut engine = engine(|_| {});
    let first = make(&mut engine, "Order updates", json!({}));
    assert_eq!(make(&mut engine, "Order updates", json!({})), first);
    assert_eq!(names(&mut engine, json!({}), 0), ["Order updates"]);
}
