use serde_json::json;

use super::super::tests::{call, engine, outcomes, send};
use super::*;
use crate::simulator::DeliveryOutcome::{Done, Refused};
use crate::simulator::engine::Engine;

fn history(engine: &mut Engine, request: Value) -> Vec<Value> {
    let value = call(engine, "getPushHistory", request, 60);
    value["response"]["rows"].as_array().unwrap_or_else(|| panic!("{value}")).clone()
}

fn codes(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["code"].as_str().unwrap()).collect()
}

#[test]
fn stored_messages_come_newest_first_and_unstored_ones_never() {
    let mut engine = engine(|_| {});
    let first = send(&mut engine, json!({"users": ["u"]}));
    send(&mut engine, json!({"devices": ["t"]}));
    let second = send(&mut engine, json!({"devices": ["t"], "send_date": "2030-01-31 10:00"}));
    let rows = history(&mut engine, json!({}));
    assert_eq!(codes(&rows), [second.as_str(), first.as_str()]);
    assert_eq!(outcomes(&engine), [Done]);
}

#[test]
fn pages_follow_one_another() {
    let mut engine = engine(|rules| rules.requests = None);
    let mut sent: Vec<String> = (0..25).map(|_| send(&mut engine, json!({}))).collect();
    sent.reverse();
    for spelling in ["lastNotificationID", "lastNotificationId"] {
        for as_text in [false, true] {
            let mut seen = Vec::new();
            let mut last = json!(0);
            loop {
                let rows = history(&mut engine, json!({"limitMessages": 10, spelling: last}));
                seen.extend(codes(&rows).into_iter().map(str::to_owned));
                let Some(row) = rows.last() else { break };
                last = if as_text { json!(row["id"].to_string()) } else { row["id"].clone() };
            }
            assert_eq!(seen, sent, "{spelling} {as_text}");
        }
    }
    assert_eq!(history(&mut engine, json!({"limitMessages": 10})).len(), 10);
}

#[test]
fn messages_are_found_by_each_kind_of_value() {
    let mut engine = engine(|_| {});
    let first = send(&mut engine, json!({"campaign": "C-1"}));
    let filter = r#"A("OTHER") + T("x", ANY, "")"#;
    let request = json!({"devices_filter": filter, "send_date": "now", "content": "hello"});
    let second = call(&mut engine, "createTargetedMessage", request, 1);
    let second = second["response"]["messageCode"].as_str().unwrap().to_owned();
    let all = history(&mut engine, json!({}));
    let id = |index: usize| all[index]["id"].clone();
    for (by, value, expected) in [
        ("notificationID", id(0), vec![&second]),
        ("notificationID", json!(id(1).to_string()), vec![&first]),
        ("notificationCode", json!(first), vec![&first]),
        ("applicationCode", json!("APP"), vec![&first]),
        ("applicationCode", json!("OTHER"), vec![&second]),
        ("campaignCode", json!("C-1"), vec![&first]),
        ("campaignCode", json!("C-2"), vec![]),
        ("", json!("ignored"), vec![&second, &first]),
    ] {
        let rows = history(&mut engine, json!({"searchBy": by, "value": value}));
        assert_eq!(codes(&rows), expected, "{by} {value}");
    }
    for (source, n) in [(json!(null), 2), (json!("API"), 2), (json!("CP"), 0), (json!("A/B Test"), 0)] {
        assert_eq!(history(&mut engine, json!({"source": source})).len(), n, "{source}");
    }
}

#[test]
fn wrong_questions_are_refused() {
    for (request, expected) in [
        (json!({"limitMessages": 9}), "limitMessages"),
        (json!({"limitMessages": 1001}), "limitMessages"),
        (json!({"limitMessages": "10"}), "limitMessages"),
        (json!({"source": "api"}), "source"),
        (json!({"searchBy": "code", "value": "x"}), "searchBy"),
        (json!({"searchBy": 1, "value": "x"}), "searchBy"),
        (json!({"searchBy": "campaignCode"}), "value"),
        (json!({"lastNotificationID": "x"}), "lastNotificationID"),
        (json!({"lastNotificationID": -1}), "lastNotificationID"),
    ] {
        let mut engine = engine(|_| {});
        let value = call(&mut engine, "getPushHistory", request.clone(), 0);
        assert_eq!(value["status_code"], 210, "{request}");
        assert!(value["status_message"].as_str().unwrap().contains(expected), "{request} {value}");
        assert_eq!(outcomes(&engine), [Refused]);
    }
}

#[test]
fn a_sent_message_has_the_documented_row() {
    let mut engine = engine(|_| {});
    let code = send(
        &mut engine,
        json!({
            "content": {"en": "Hello!"}, "title": "Hi", "users": ["u", "v"], "platforms": [3, 1],
            "link": "https://example.com", "filter": "Buyers", "data": {"a": 1},
            "android_root_params": {"k": "v"}, "rich_media": "R-1", "campaign": "C-1",
        }),
    );
    let row = history(&mut engine, json!({})).remove(0);
    let expected = json!({
        "id": 10_000_000_001_u64,
        "code": code,
        "createDate": "2026-03-01 10:00:00",
        "sendDate": "2026-03-01 10:00:00",
        "content": {"en": "Hello!"},
        "title": {"default": "Hi"},
        "subtitle": [],
        "url": "https://example.com",
        "ios_title": null,
        "ios_subtitle": null,
        "ios_root_params": null,
        "android_header": null,
        "android_root_params": {"k": "v"},
        "conditions": null,
        "conditions_operator": "AND",
        "filter_code": null,
        "filter_name": "Buyers",
        "filter_conditions": null,
        "richPageId": "R-1",
        "geozone": null,
        "campaignId": "C-1",
        "campaignName": "",
        "subscription_segments": null,
        "data": {"a": 1},
        "trackingCode": tracking_code(&code),
        "open": {"APP": {"ANDROID": 0}},
        "sent": {"APP": {"ANDROID": 2}},
        "ctr": {"APP": 0},
        "errors": "",
    });
    assert_eq!(row, expected);
}

#[test]
fn where_nothing_is_there_is_an_empty_text_or_list() {
    let mut engine = engine(|_| {});
    send(&mut engine, json!({"send_date": "2030-01-31 10:00"}));
    let request = json!({"devices_filter": r#"T("x", ANY, "")"#, "send_date": "now", "content": "hello"});
    call(&mut engine, "createTargetedMessage", request, 1);
    for row in history(&mut engine, json!({})) {
        for key in ["open", "sent", "ctr", "errors", "campaignId"] {
            assert_eq!(row[key], "", "{key}");
        }
        for key in ["title", "subtitle"] {
            assert_eq!(row[key], json!([]), "{key}");
        }
        assert_eq!(row["data"], Value::Null);
    }
}
