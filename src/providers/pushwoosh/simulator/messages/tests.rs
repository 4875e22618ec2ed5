use serde_json::json;

use super::super::NO_CODE;
use super::super::tests::{call, call_as, engine, outcomes, send, with};
use super::*;
use crate::simulator::DeliveryOutcome::{Done, Refused};
use crate::simulator::engine::Engine;

/// An hour after the start of the tests' engines.
const LATER: &str = "2026-03-01 11:00";
const HOUR: u64 = 3600;

fn about(engine: &mut Engine, operation: &str, message: &str, seconds: u64) -> (i64, String) {
    let value = call(engine, operation, json!({"message": message}), seconds);
    let text = value["status_message"].as_str().unwrap_or_default().to_owned();
    (value["status_code"].as_i64().unwrap(), text)
}

fn status(engine: &mut Engine, message: &str, seconds: u64) -> Value {
    let value = call(engine, "getMessageDetails", json!({"message": message}), seconds);
    value["response"]["message"]["status"].clone()
}

#[test]
fn a_scheduled_message_waits_until_its_time() {
    for (changes, last_waiting) in [
        (json!({"users": ["u"], "send_date": LATER}), HOUR - 1),
        (json!({"devices": ["t"], "send_date": LATER}), HOUR - 1),
        (json!({"send_date": "2026-03-01 07:00", "timezone": "America/New_York"}), 2 * HOUR - 1),
    ] {
        let mut engine = engine(|_| {});
        let code = send(&mut engine, changes.clone());
        assert_eq!(status(&mut engine, &code, last_waiting), "waiting", "{changes}");
        assert_eq!(status(&mut engine, &code, last_waiting + 1), "done", "{changes}");
    }
}

#[test]
fn messages_that_are_past_or_now_are_done() {
    for date in ["now", "2026-03-01 10:00", "2020-01-01 00:00"] {
        let mut engine = engine(|_| {});
        let code = send(&mut engine, json!({"users": ["u"], "send_date": date}));
        assert_eq!(status(&mut engine, &code, 0), "done", "{date}");
    }
}

#[test]
fn deleting_takes_a_waiting_message_away() {
    let mut engine = engine(|_| {});
    let code = send(&mut engine, json!({"send_date": LATER}));
    let value = call(&mut engine, "deleteMessage", json!({"message": code}), 1);
    assert_eq!(value, json!({"status_code": 200, "status_message": "OK"}));
    assert_eq!(outcomes(&engine), [Done]);
    for operation in ["deleteMessage", "cancelMessage", "getMessageDetails"] {
        assert_eq!(about(&mut engine, operation, &code, 2), (210, NOT_FOUND.to_owned()), "{operation}");
        assert_eq!(outcomes(&engine), [Refused], "{operation}");
    }
}

#[test]
fn cancelling_stops_a_waiting_message_for_good() {
    let mut engine = engine(|_| {});
    let code = send(&mut engine, json!({"send_date": LATER}));
    let value = call(&mut engine, "cancelMessage", json!({"message": code}), 1);
    assert_eq!(value, json!({"status_code": 200, "status_message": "OK"}));
    assert_eq!(status(&mut engine, &code, 2 * HOUR), "canceled");
    assert_eq!(about(&mut engine, "cancelMessage", &code, 2).0, 210);
    assert_eq!(about(&mut engine, "deleteMessage", &code, 2).0, 210);
}

#[test]
fn what_can_not_be_deleted_or_cancelled_is_refused() {
    for operation in ["deleteMessage", "cancelMessage"] {
        let mut engine = engine(|_| {});
        let sent = send(&mut engine, json!({"users": ["u"]}));
        let scheduled = send(&mut engine, json!({"send_date": LATER}));
        let unstored = send(&mut engine, json!({"devices": ["t"]}));
        assert_eq!(unstored, NO_CODE);
        for (message, seconds) in
            [(sent.as_str(), 0), (scheduled.as_str(), HOUR), (NO_CODE, 0), ("C3F8-C3863ED4-334AD4F1", 0)]
        {
            assert_eq!(about(&mut engine, operation, message, seconds).0, 210, "{operation} {message}");
        }
        for request in [json!({}), json!({"message": ""}), json!({"message": ["x"]})] {
            let value = call(&mut engine, operation, request.clone(), HOUR);
            assert_eq!(value["status_message"], REQUIRED, "{operation} {request}");
        }
    }
}

#[test]
fn other_accounts_messages_are_not_found() {
    let mut engine = engine(|_| {});
    let code = send(&mut engine, json!({"send_date": LATER}));
    for operation in ["deleteMessage", "cancelMessage", "getMessageDetails"] {
        let value = call_as(&mut engine, "other", operation, json!({"message": code}), 1);
        assert_eq!(value["status_message"], NOT_FOUND, "{operation}");
    }
    assert_eq!(status(&mut engine, &code, 2), "waiting");
}

#[test]
fn details_have_the_documented_shape_by_code_and_by_id() {
    let mut engine = engine(|_| {});
    let code = send(
        &mut engine,
        json!({
            "content": {"en": "Hello!"}, "platforms": [1], "ignore_user_timezone": true,
            "data": {"key": "value"}, "send_date": LATER, "users": ["u"],
        }),
    );
    let value = call(&mut engine, "getMessageDetails", json!({"message": code}), 5);
    let expected = json!({
        "id": FIRST_ID,
        "created": "2026-03-01 10:00:00",
        "send_date": "2026-03-01 11:00:00",
        "status": "waiting",
        "content": {"en": "Hello!"},
        "platforms": "[1]",
        "ignore_user_timezone": "1",
        "code": code,
        "data": {"key": "value"},
    });
    assert_eq!(value["response"], json!({"message": expected}));
    for id in [json!(FIRST_ID), json!(FIRST_ID.to_string())] {
        let by_id = call(&mut engine, "getMessageDetails", json!({"message": id}), 5);
        assert_eq!(by_id, value, "{id}");
    }
    assert_eq!(outcomes(&engine), [Done]);
}

#[test]
fn details_of_a_plain_message_have_their_defaults() {
    let mut engine = engine(|_| {});
    let code = send(&mut engine, json!({"data": "{\"key\":1}"}));
    let message = call(&mut engine, "getMessageDetails", json!({"message": code}), 0);
    let message = &message["response"]["message"];
    assert_eq!(message["platforms"], "[1,3,7,8,9,10,11,12,13,17]");
    assert_eq!(message["ignore_user_timezone"], "0");
    assert_eq!(message["content"], json!({"default": "hello"}));
    assert_eq!(message["data"], json!({"key": 1}));
}

#[test]
fn a_known_transaction_is_stored_once() {
    let mut engine = engine(|_| {});
    let one = || json!({"application": "APP", "notifications": [with(json!({"transactionId": "a"}))]});
    call(&mut engine, "createMessage", one(), 0);
    call(&mut engine, "createMessage", one(), 1);
    let rows = call(&mut engine, "getPushHistory", json!({}), 2);
    assert_eq!(rows["response"]["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn the_oldest_messages_go_when_there_are_too_many() {
    let mut messages = Messages::default();
    let content = json!({"content": "x".repeat(1024 * 1024)});
    for number in 0..100 {
        let origin = Origin { applications: Vec::new(), now: Timestamp::UNIX_EPOCH };
        messages.keep(format!("code-{number}"), content.as_object().unwrap(), origin);
    }
    let kept: Vec<u64> = messages.newest_first().map(|(id, _)| id).collect();
    assert_eq!((kept.len(), kept[0]), (63, FIRST_ID + 99));
    assert_eq!(messages.with_code("code-0"), None);
}
