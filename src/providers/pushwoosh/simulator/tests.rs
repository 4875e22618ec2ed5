use std::sync::Arc;

use bytes::Bytes;
use serde_json::from_slice;

use super::*;
use crate::simulator::DeliveryOutcome::{Accepted, NotReached, Refused, Suppressed};
use crate::simulator::engine::Engine;
use crate::simulator::{DeliveryOutcome, Entry};

/// When the engines of the tests start.
const START: &str = "2026-03-01T10:00:00Z";

pub(super) fn engine(change: impl FnOnce(&mut Rules)) -> Engine {
    let start = START.parse().unwrap();
    let mut engine = Engine::new(vec![Arc::new(Simulator)], 1, 100_000, start);
    let mut rules = Simulator.rules();
    change(&mut rules);
    engine.set_rules("pushwoosh", rules).unwrap();
    engine
}

fn post(engine: &mut Engine, body: impl Into<Bytes>, now: Duration) -> (Answer, Value) {
    post_to(engine, "createMessage", body, now)
}

fn post_to(engine: &mut Engine, operation: &str, body: impl Into<Bytes>, now: Duration) -> (Answer, Value) {
    let request = Request {
        method: Method::POST,
        path: format!("/json/1.3/{operation}"),
        headers: Default::default(),
        body: body.into(),
    };
    let answer = engine.handle(&request, now).answer;
    let value = from_slice(&answer.body).unwrap_or_default();
    (answer, value)
}

/// Calls an operation with these members of `request`, so many seconds after the start; gives the
/// body of the answer.
pub(super) fn call(engine: &mut Engine, operation: &str, request: Value, seconds: u64) -> Value {
    call_as(engine, "token", operation, request, seconds)
}

/// The same with another token.
pub(super) fn call_as(
    engine: &mut Engine,
    token: &str,
    operation: &str,
    mut request: Value,
    seconds: u64,
) -> Value {
    request["auth"] = json!(token);
    let body = json!({"request": request}).to_string();
    let (answer, value) = post_to(engine, operation, body, Duration::from_secs(seconds));
    assert_eq!(answer.status, 200, "{operation}: {value}");
    value
}

/// Sends one notification at the start; its code.
pub(super) fn send(engine: &mut Engine, changes: Value) -> String {
    let request = json!({"application": "APP", "notifications": [with(changes)]});
    let value = call(engine, "createMessage", request, 0);
    value["response"]["Messages"][0].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

pub(super) fn with(changes: Value) -> Value {
    let mut notification = json!({"send_date": "now", "content": "hello"});
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            notification.as_object_mut().unwrap().remove(key);
        } else {
            notification[key] = value.clone();
        }
    }
    notification
}

fn body(notifications: &[Value]) -> String {
    json!({"request": {"auth": "token", "application": "APP", "notifications": notifications}}).to_string()
}

pub(super) fn last(engine: &Engine) -> Entry {
    engine.ledger().page(0, usize::MAX).entries.pop().unwrap()
}

pub(super) fn outcomes(engine: &Engine) -> Vec<DeliveryOutcome> {
    last(engine).deliveries.iter().map(|delivery| delivery.outcome).collect()
}

fn tokens(n: usize) -> Value {
    (0..n).map(|i| json!(format!("token-{i}"))).collect()
}

#[test]
fn a_batch_is_answered_with_its_codes_in_order() {
    let mut engine = engine(|_| {});
    let list = [
        with(json!({"users": ["u"], "transactionId": "a"})),
        with(json!({"devices": ["t"], "transactionId": "b"})),
        with(json!({"devices": tokens(9)})),
        with(json!({"devices": tokens(10), "transactionId": "c"})),
    ];
    let (answer, value) = post(&mut engine, body(&list), Duration::ZERO);
    assert_eq!(
        (answer.status, &value["status_code"], &value["status_message"]),
        (200, &json!(200), &json!("OK"))
    );
    let codes: Vec<&str> =
        value["response"]["Messages"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((codes.len(), codes[1], codes[2]), (4, NO_CODE, NO_CODE));
    assert!(codes[0] != NO_CODE && codes[3] != NO_CODE && codes[0] != codes[3], "{codes:?}");
    assert_eq!(value["response"].get("UnknownDevices"), None);
    assert_eq!(outcomes(&engine), [Accepted; 4]);
    let ids: Vec<Option<String>> = last(&engine).deliveries.into_iter().map(|delivery| delivery.id).collect();
    assert_eq!(ids, [Some("a".into()), Some("b".into()), None, Some("c".into())]);
}

#[test]
fn requests_are_counted_as_the_documentation_says() {
    let direct = |n: usize| with(json!({"devices": tokens(n)}));
    let cases = [
        ("one device", vec![direct(1)], false),
        ("ten devices", vec![direct(10)], false),
        ("eleven devices", vec![direct(11)], true),
        ("four and six devices", vec![direct(4), direct(6)], false),
        ("five and six devices", vec![direct(5), direct(6)], true),
        ("users", vec![with(json!({"users": ["u"]}))], true),
        ("users and devices", vec![with(json!({"users": ["u"], "devices": ["t"]}))], true),
        ("nobody named", vec![with(json!({}))], true),
        ("conditions", vec![with(json!({"conditions": [["a", "EQ", 1]]}))], true),
        ("a filter beside devices", vec![with(json!({"filter": "f", "devices": ["t"]}))], false),
        ("scheduled", vec![with(json!({"devices": ["t"], "send_date": "2030-01-31 10:00"}))], true),
        ("sms", vec![with(json!({"devices": ["+1"], "platforms": [18]}))], true),
        ("a counted one among them", vec![direct(1), with(json!({"users": ["u"]}))], true),
        ("no notifications", vec![], true),
    ];
    for (name, list, expected) in cases {
        let mut engine = engine(|_| {});
        post(&mut engine, body(&list), Duration::ZERO);
        assert_eq!(last(&engine).counted, expected, "{name}");
    }
}

#[test]
fn tracing_counts_and_stores_small_sends() {
    let mut engine = engine(|rules| rules.exempt_devices = 0);
    let (_, value) = post(&mut engine, body(&[with(json!({"devices": ["t"]}))]), Duration::ZERO);
    assert!(last(&engine).counted);
    assert_ne!(value["response"]["Messages"][0], NO_CODE);
}

#[test]
fn the_first_faulty_notification_stops_the_batch() {
    let good = || with(json!({"users": ["u"]}));
    let faults = [
        ("marker", with(json!({"content": "a faulty one"}))),
        ("marker in a language", with(json!({"content": {"en": "fine", "fr": "faulty"}}))),
        ("no content", with(json!({"content": null}))),
        ("content of another type", with(json!({"content": 7}))),
        ("content without a language", with(json!({"content": {}}))),
        ("no date", with(json!({"send_date": null}))),
        ("date with seconds", with(json!({"send_date": "2030-01-31 10:00:00"}))),
        ("no such timezone", with(json!({"timezone": "Mars/Olympus", "send_date": "2030-01-31 10:00"}))),
        ("no such date", with(json!({"send_date": "2030-02-30 10:00"}))),
        ("date without zeros", with(json!({"send_date": "2030-2-3 10:00"}))),
        ("devices of another type", with(json!({"devices": "t"}))),
        ("no devices in the list", with(json!({"devices": []}))),
        ("too many devices", with(json!({"devices": tokens(1001)}))),
        ("too many users", with(json!({"users": tokens(1001)}))),
        ("an empty user", with(json!({"users": [""]}))),
        ("filter and conditions", with(json!({"filter": "f", "conditions": [["a", "EQ", 1]]}))),
        ("conditions of another shape", with(json!({"conditions": [["a", "EQ"]]}))),
        ("an operand of another form", with(json!({"conditions": [["a", "IN", 1]]}))),
        ("no such operator", with(json!({"conditions": [["a", "LIKE", 1]]}))),
        ("no such conditions operator", with(json!({"conditions_operator": "XOR"}))),
        ("send rate", with(json!({"send_rate": 99}))),
        ("platforms of another type", with(json!({"platforms": ["iOS"]}))),
        ("transaction id of another type", with(json!({"transactionId": 5}))),
        ("sms to two", with(json!({"devices": ["+1", "+2"], "platforms": [18]}))),
        ("no object", json!("hello")),
    ];
    for (name, faulty) in faults {
        let mut engine = engine(|_| {});
        let (answer, value) = post(&mut engine, body(&[good(), good(), faulty, good()]), Duration::ZERO);
        assert_eq!((answer.status, &value["status_code"]), (200, &json!(210)), "{name}");
        assert_eq!(value["response"]["Messages"].as_array().map(Vec::len), Some(2), "{name}");
        assert_eq!(outcomes(&engine), [Accepted, Accepted, Refused, NotReached], "{name}");
    }
}

#[test]
fn well_formed_notifications_are_taken() {
    let fine = [
        with(json!({"content": {"en": "hello"}})),
        with(json!({"send_date": "2030-01-31 10:00"})),
        with(json!({"devices": tokens(1000)})),
        with(json!({"conditions": [["a", "NOTSET", ""]], "conditions_operator": "OR"})),
        with(json!({"devices": ["+1"], "platforms": [18]})),
        with(json!({"send_rate": 100, "capping_days": 30, "something_new": true})),
    ];
    for notification in fine {
        let mut engine = engine(|_| {});
        let (_, value) = post(&mut engine, body(std::slice::from_ref(&notification)), Duration::ZERO);
        assert_eq!(value["status_code"], 200, "{notification}");
    }
}

#[test]
fn requests_that_are_wrong_as_a_whole_are_refused_as_a_whole() {
    let request = |changes: Value| {
        let mut request = json!({"auth": "token", "application": "APP", "notifications": [with(json!({}))]});
        for (key, value) in changes.as_object().unwrap() {
            request[key] = value.clone();
        }
        json!({"request": request}).to_string()
    };
    let cases = [
        (request(json!({"application": null})), 200, 210),
        (request(json!({"applications_group": "G"})), 200, 210),
        (request(json!({"application": "unknown-app"})), 200, 210),
        (request(json!({"auth": null})), 200, 210),
        (request(json!({"notifications": []})), 200, 210),
        (request(json!({"notifications": "x"})), 200, 210),
        (request(json!({"notifications": vec![with(json!({})); 1000]})), 200, 200),
        (request(json!({"notifications": vec![with(json!({})); 1001]})), 400, 0),
        (json!({"auth": "token"}).to_string(), 400, 0),
        ("{".to_owned(), 400, 0),
        (" ".repeat(MAX_BODY_BYTES) + &request(json!({})), 400, 0),
    ];
    for (text, status, code) in cases {
        let mut engine = engine(|_| {});
        let shown: String = text.chars().take(200).collect();
        let (answer, value) = post(&mut engine, text, Duration::ZERO);
        let found = value["status_code"].as_i64().unwrap_or_default();
        assert_eq!((answer.status, found), (status, code), "{shown}");
        let accepted = engine.summary().counts.accepted;
        assert_eq!(accepted > 0, code == 200, "{shown}");
    }
}

#[test]
fn groups_take_no_lists() {
    for (targets, code) in
        [(json!({"users": ["u"]}), 210), (json!({"devices": ["t"]}), 210), (json!({}), 200)]
    {
        let mut engine = engine(|_| {});
        let request = json!({"auth": "t", "applications_group": "G", "notifications": [with(targets)]});
        let (_, value) = post(&mut engine, json!({"request": request}).to_string(), Duration::ZERO);
        assert_eq!(value["status_code"], code);
    }
}

#[test]
fn a_known_transaction_is_answered_and_not_taken_again() {
    let mut engine = engine(|_| {});
    let text = body(&[with(json!({"users": ["u"], "transactionId": "a"}))]);
    let (_, first) = post(&mut engine, text.clone(), Duration::ZERO);
    let (_, second) = post(&mut engine, text.clone(), Duration::from_millis(299_999));
    assert_eq!((outcomes(&engine), &second), (vec![Suppressed], &first));
    let (_, other_account) =
        post(&mut engine, text.replace("token", "other"), Duration::from_millis(299_999));
    assert_eq!((outcomes(&engine), other_account["status_code"].as_i64()), (vec![Accepted], Some(200)));
    let (_, third) = post(&mut engine, text, Duration::from_millis(300_000));
    assert_eq!(outcomes(&engine), [Accepted]);
    assert_ne!(third, first);
    let twice = engine.summary().accepted_twice;
    assert_eq!((twice.len(), twice[0].key.as_str(), twice[0].times), (1, "a", 2));
}

#[test]
fn a_known_transaction_keeps_its_place_in_a_batch() {
    let mut engine = engine(|_| {});
    let one = |id: &str| with(json!({"users": ["u"], "transactionId": id}));
    let (_, first) = post(&mut engine, body(&[one("b")]), Duration::ZERO);
    let (_, second) = post(&mut engine, body(&[one("a"), one("b"), one("c")]), Duration::ZERO);
    assert_eq!(outcomes(&engine), [Accepted, Suppressed, Accepted]);
    assert_eq!(second["response"]["Messages"][1], first["response"]["Messages"][0]);
}

#[test]
fn unknown_devices_stand_under_their_code() {
    let mut engine = engine(|_| {});
    let list = [
        with(json!({"devices": ["unknown-1", "t"]})),
        with(json!({"devices": ["unknown-2"]})),
        with(json!({"devices": ["unknown-3"], "users": ["u"]})),
        with(json!({"devices": ["unknown-4"], "send_date": "2030-01-31 10:00"})),
    ];
    let (_, value) = post(&mut engine, body(&list), Duration::ZERO);
    let scheduled = value["response"]["Messages"][3].as_str().unwrap();
    let expected = json!({NO_CODE: ["unknown-1", "unknown-2"], scheduled: ["unknown-4"]});
    assert_eq!(value["response"]["UnknownDevices"], expected);
}

#[test]
fn over_the_limit_it_says_so_either_way() {
    let counted = body(&[with(json!({"users": ["u"], "transactionId": "a"}))]);
    let exempt = body(&[with(json!({"devices": ["t"]}))]);
    for throttling in [Throttling::Status, Throttling::Body] {
        let mut engine = engine(|rules| {
            rules.requests = Some(1);
            rules.throttling = throttling;
        });
        post(&mut engine, counted.clone(), Duration::ZERO);
        let (answer, value) = post(&mut engine, counted.clone(), Duration::from_millis(30_500));
        match throttling {
            Throttling::Status => {
                assert_eq!(answer.status, 429);
                assert!(answer.headers.contains(&("retry-after", "30".to_owned())), "{:?}", answer.headers);
            }
            Throttling::Body => {
                assert_eq!((answer.status, &value["status_code"]), (200, &json!(210)));
                assert!(value["status_message"].as_str().unwrap().contains("limit"));
            }
        }
        assert_eq!((outcomes(&engine), last(&engine).throttled), (vec![NotReached], true));
        let (answer, _) = post(&mut engine, exempt.clone(), Duration::from_millis(30_500));
        assert_eq!((answer.status, outcomes(&engine)), (200, vec![Accepted]), "exempt requests get through");
    }
}

#[test]
fn tokens_that_are_not_on_the_list_are_denied() {
    let mut engine = engine(|rules| rules.credentials = Some(vec!["token".into()]));
    let text = body(&[with(json!({"users": ["u"]}))]);
    let (_, value) = post(&mut engine, text.replace("token", "wrong"), Duration::ZERO);
    assert_eq!(value, json!({"status_code": 210, "status_message": DENIED, "response": {"Messages": []}}));
    assert_eq!(outcomes(&engine), [Refused]);
    let (_, value) = post(&mut engine, text, Duration::ZERO);
    assert_eq!(value["status_code"], 200);
}

#[test]
fn faults_have_the_documented_shape() {
    let answer = Simulator.failure("createMessage", 500);
    let value: Value = from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &value["status_code"], &value["response"]), (500, &json!(500), &Value::Null));
}

#[test]
fn other_methods_and_paths_are_not_played() {
    for name in Operation::NAMES {
        let path = format!("/json/1.3/{name}");
        assert_eq!(Simulator.operation(&Method::POST, &path), Some(name));
        assert_eq!(Simulator.operation(&Method::GET, &path), None, "{name}");
        assert_eq!(Simulator.operation(&Method::POST, &path[..path.len() - 1]), None, "{name}");
        assert_eq!(Simulator.operation(&Method::POST, &path.replace("1.3", "1.4")), None, "{name}");
    }
}

#[test]
fn every_operation_answers_unreadable_bodies_and_wrong_tokens() {
    for name in Operation::NAMES {
        let mut engine = engine(|rules| rules.credentials = Some(vec!["right".into()]));
        for text in ["", "{", "[]", "{}", r#"{"request":[]}"#] {
            let (answer, _) = post_to(&mut engine, name, text, Duration::ZERO);
            assert_eq!((answer.status, answer.body.len()), (400, 0), "{name} {text:?}");
        }
        for request in [json!({"auth": "wrong"}), json!({})] {
            let body = json!({"request": request}).to_string();
            let (_, value) = post_to(&mut engine, name, body, Duration::ZERO);
            assert_eq!((&value["status_code"], &value["status_message"]), (&json!(210), &json!(DENIED)));
        }
    }
}

#[test]
fn only_the_two_calls_that_send_use_up_the_limit_and_they_share_it() {
    let requests = [
        ("deleteMessage", json!({"message": "x"}), false),
        ("cancelMessage", json!({"message": "x"}), false),
        ("getMessageDetails", json!({"message": "x"}), false),
        ("getPushHistory", json!({}), false),
        ("createTargetedMessage", json!({}), true),
        ("createMessage", json!({"notifications": [with(json!({"users": ["u"]}))]}), true),
    ];
    let mut engine = engine(|rules| rules.requests = Some(1));
    for (operation, mut request, counted) in requests {
        request["auth"] = json!("token");
        let body = json!({"request": request}).to_string();
        let (answer, _) = post_to(&mut engine, operation, body, Duration::ZERO);
        assert_eq!(last(&engine).counted, counted, "{operation}");
        let expected = if operation == "createMessage" { 429 } else { 200 };
        assert_eq!(answer.status, expected, "{operation}");
    }
    assert_eq!(engine.summary().accounts[0].most_in_window, 2);
}

#[test]
fn the_time_of_sending_goes_by_the_timezone() {
    let now: jiff::Timestamp = START.parse().unwrap();
    for (date, zone, expected) in [
        ("now", None, Some(START)),
        ("now", Some(json!("America/New_York")), Some(START)),
        ("2026-07-01 12:00", None, Some("2026-07-01T12:00:00Z")),
        ("2026-07-01 12:00", Some(json!("America/New_York")), Some("2026-07-01T16:00:00Z")),
        ("2026-12-01 12:00", Some(json!("America/New_York")), Some("2026-12-01T17:00:00Z")),
        ("2026-07-01 12:00", Some(json!("Nowhere")), None),
        ("2026-07-01 12:00", Some(json!(2)), None),
        ("2026-07-01T12:00", None, None),
        ("tomorrow", None, None),
    ] {
        let mut message = json!({"send_date": date});
        if let Some(zone) = &zone {
            message["timezone"] = zone.clone();
        }
        let found = notification::send_at(message.as_object().unwrap(), now);
        assert_eq!(found, expected.map(|time| time.parse().unwrap()), "{date} {zone:?}");
    }
}
