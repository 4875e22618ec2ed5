use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::job::Finding;
use crate::providers::Gateway;
use crate::providers::pushwoosh::calls::tests::{ALL, call_job};
use crate::providers::pushwoosh::tests::{any_json, gateway};

const BY_MESSAGE: [Call; 3] = [Call::DeleteMessage, Call::CancelMessage, Call::GetMessageDetails];

fn findings(call: Call, payload: &Value) -> Vec<Finding> {
    gateway().plan(&call_job(call, payload.clone())).err().unwrap_or_default()
}

fn places(findings: Vec<Finding>) -> Vec<String> {
    findings.into_iter().map(|finding| finding.pointer.replacen("/payload/", "", 1)).collect()
}

/// Payloads of a call, where findings are due, and whether the schema tells too.
fn rows() -> Vec<(Call, Value, Vec<&'static str>, bool)> {
    let mut rows = Vec::new();
    for call in BY_MESSAGE {
        let by_id = call == Call::GetMessageDetails;
        let id: Vec<&'static str> = if by_id { vec![] } else { vec!["message"] };
        rows.extend([
            (call, json!({"message": "XXXX-92B4C3C5-A7F5EF70"}), vec![], true),
            (call, json!({"message": "2068991743"}), vec![], true),
            (call, json!({"message": "x", "something": null}), vec![], true),
            (call, json!({"message": 2068991743}), id.clone(), true),
            (call, json!({"message": 0}), id, true),
            (call, json!({"message": -1}), vec!["message"], true),
            (call, json!({"message": 1.5}), vec!["message"], true),
            (call, json!({"message": ""}), vec!["message"], true),
            (call, json!({"message": " \t"}), vec!["message"], true),
            (call, json!({"message": null}), vec!["message"], true),
            (call, json!({"message": ["x"]}), vec!["message"], true),
            (call, json!({"message": {"code": "x"}}), vec!["message"], true),
            (call, json!({"message": "CODE_NOT_AVAILABLE"}), vec!["message"], true),
            (call, json!({"message": " CODE_NOT_AVAILABLE\n"}), vec!["message"], false),
            (call, json!({}), vec!["message"], true),
            (call, json!({"auth": "t", "message": "x"}), vec!["auth"], true),
            (
                call,
                json!({"auth": null, "appId": 1, "signature": ""}),
                vec!["auth", "appId", "signature", "message"],
                true,
            ),
            (call, json!({"request": {"message": "x"}}), vec!["request"], true),
            (call, json!({"request": {"auth": "t", "message": "x"}}), vec!["request", "request/auth"], true),
            (call, json!({"request": "x", "auth": "t", "message": 1.5}), vec!["auth", "request"], true),
        ]);
    }
    let history = |payload, places, told| (Call::GetPushHistory, payload, places, told);
    rows.extend([
        history(json!({}), vec![], true),
        history(json!({"limitMessages": 10}), vec![], true),
        history(json!({"limitMessages": 1000}), vec![], true),
        history(json!({"limitMessages": 9}), vec!["limitMessages"], true),
        history(json!({"limitMessages": 1001}), vec!["limitMessages"], true),
        history(json!({"limitMessages": "100"}), vec!["limitMessages"], true),
        history(json!({"limitMessages": null}), vec!["limitMessages"], true),
        history(json!({"source": null}), vec![], true),
        history(json!({"source": "A/B Test"}), vec![], true),
        history(json!({"source": "api"}), vec!["source"], true),
        history(json!({"source": ""}), vec!["source"], true),
        history(json!({"source": ["API"]}), vec!["source"], true),
        history(json!({"searchBy": null}), vec![], true),
        history(json!({"searchBy": "", "value": ""}), vec![], true),
        history(json!({"searchBy": "", "value": null}), vec![], true),
        history(json!({"searchBy": "campaignCode", "value": "C"}), vec![], true),
        history(json!({"searchBy": "notificationID", "value": 17}), vec![], true),
        history(json!({"searchBy": "campaigncode", "value": "C"}), vec!["searchBy"], true),
        history(json!({"searchBy": 5, "value": "C"}), vec!["searchBy"], true),
        history(json!({"searchBy": "campaignCode"}), vec!["value"], true),
        history(json!({"searchBy": "campaignCode", "value": null}), vec!["value"], true),
        history(json!({"searchBy": "campaignCode", "value": " "}), vec!["value"], true),
        history(json!({"searchBy": "campaignCode", "value": ["C"]}), vec!["value"], true),
        history(json!({"value": true}), vec!["value"], true),
        history(json!({"value": "C"}), vec![], true),
        history(json!({"lastNotificationID": 0}), vec![], true),
        history(json!({"lastNotificationID": "10191609202"}), vec![], true),
        history(json!({"lastNotificationId": 10191609202_u64}), vec![], true),
        history(json!({"lastNotificationID": -1}), vec!["lastNotificationID"], true),
        history(json!({"lastNotificationID": 1.5}), vec!["lastNotificationID"], true),
        history(json!({"lastNotificationID": null}), vec!["lastNotificationID"], true),
        history(json!({"lastNotificationId": []}), vec!["lastNotificationId"], true),
        history(json!({"lastNotificationID": 1, "lastNotificationId": 1}), vec!["lastNotificationId"], true),
        history(json!({"auth": "t"}), vec!["auth"], true),
        history(json!({"request": {}}), vec!["request"], true),
        history(
            json!({"signature": 1, "limitMessages": 1, "source": 1, "searchBy": "campaignCode"}),
            vec!["signature", "limitMessages", "source", "value"],
            true,
        ),
    ]);
    rows
}

#[test]
fn payloads_valid_and_invalid() {
    for (call, payload, expected, told) in rows() {
        let found = findings(call, &payload);
        assert!(found.iter().all(|one| !one.found.is_empty() && !one.allowed.is_empty()), "{found:?}");
        assert_eq!(places(found), expected, "{call:?} {payload}");
        let valid = jsonschema::is_valid(&schema(call), &payload);
        assert_eq!(valid, expected.is_empty() || !told, "the schema, {call:?} {payload}");
    }
}

#[test]
fn the_schemas_are_schemas() {
    for call in ALL {
        jsonschema::meta::validate(&schema(call)).unwrap();
    }
}

#[test]
fn a_message_without_a_code_is_explained() {
    for call in BY_MESSAGE {
        let [finding] = &findings(call, &json!({"message": "CODE_NOT_AVAILABLE"}))[..] else { panic!() };
        assert!(finding.allowed.contains("not stored"), "{finding}");
    }
}

#[test]
fn warnings_name_what_is_likely_a_mistake() {
    let rows = [
        (Call::DeleteMessage, json!({"message": "C-1"}), vec![]),
        (Call::DeleteMessage, json!({"message": "2068991743"}), vec!["message"]),
        (Call::CancelMessage, json!({"message": "2068991743"}), vec!["message"]),
        (Call::GetMessageDetails, json!({"message": "2068991743"}), vec![]),
        (Call::DeleteMessage, json!({"message": "C-1", "application": "A"}), vec!["application"]),
        (Call::GetMessageDetails, json!({"messages": []}), vec!["messages"]),
        (Call::GetPushHistory, json!({"limitMessages": 10, "limit": 5}), vec!["limit"]),
        (Call::GetPushHistory, json!({"searchBy": "campaignCode", "value": "C"}), vec![]),
        (Call::GetPushHistory, json!({"searchBy": "", "value": ""}), vec![]),
        (Call::GetPushHistory, json!({"searchBy": null, "value": "C"}), vec!["value"]),
        (Call::GetPushHistory, json!({"value": 17}), vec!["value"]),
        (
            Call::GetPushHistory,
            json!({"searchBy": "notificationCode", "value": "CODE_NOT_AVAILABLE"}),
            vec!["value"],
        ),
        (Call::GetPushHistory, json!({"lastNotificationID": "17"}), vec![]),
        (Call::GetPushHistory, json!({"lastNotificationID": "C-17"}), vec!["lastNotificationID"]),
        (Call::GetPushHistory, json!({"lastNotificationId": ""}), vec!["lastNotificationId"]),
    ];
    for (call, payload, expected) in rows {
        let found = gateway().warnings(&call_job(call, payload.clone()));
        assert_eq!(places(found), expected, "{call:?} {payload}");
    }
}

#[test]
fn findings_hold_nothing_of_the_payload() {
    let payload = json!({
        "message": ["SECRET"], "request_": "SECRET", "SECRET member": "SECRET", "limitMessages": "SECRET",
        "source": "SECRET", "searchBy": "SECRET", "value": ["SECRET"], "lastNotificationID": {"SECRET": 1},
        "auth": "SECRET",
    });
    for call in ALL {
        let mut all = findings(call, &payload);
        assert!(all.len() >= 2, "{all:?}");
        all.extend(gateway().warnings(&call_job(call, payload.clone())));
        for finding in all {
            assert!(!finding.to_string().contains("SECRET"), "{finding}");
        }
    }
}

const NAMES: &[&str] = &[
    "message",
    "limitMessages",
    "source",
    "searchBy",
    "value",
    "lastNotificationID",
    "lastNotificationId",
    "auth",
    "request",
];
const WORDS: &[&str] = &["C-1", "17", "", " ", "CODE_NOT_AVAILABLE", "API", "campaignCode", "notificationID"];

#[test]
fn what_is_blank_to_the_schema_is_blank_to_the_check() {
    for (text, fits) in [("\u{feff}", false), (" \u{feff}\t", false), ("\u{feff}x", true)] {
        let payload = json!({"message": text});
        let planned = gateway().plan(&call_job(Call::DeleteMessage, payload.clone())).is_ok();
        let valid = jsonschema::is_valid(&schema(Call::DeleteMessage), &payload);
        assert_eq!((planned, valid), (fits, fits), "{text:?}");
    }
}

proptest! {
    /// The schema refuses nothing that the check accepts, and nothing panics.
    #[test]
    fn the_schema_accepts_what_the_check_accepts(payload in any_json(NAMES, WORDS)) {
        let payload = if payload.is_object() { payload } else { json!({"message": payload}) };
        for call in ALL {
            let _ = gateway().warnings(&call_job(call, payload.clone()));
            if let Ok(planned) = gateway().plan(&call_job(call, payload.clone())) {
                let delivery = planned[0].as_ref().unwrap();
                prop_assert!(jsonschema::is_valid(&schema(call), &payload), "{:?} {}", call, payload);
                prop_assert_eq!(&gateway().plan(&delivery.job).unwrap(), &planned);
                let request = gateway().request(&[delivery]);
                prop_assert!(serde_json::from_slice::<Value>(&request.body).is_ok());
            }
        }
    }
}
