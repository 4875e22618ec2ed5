use serde_json::json;

use super::*;
use crate::providers::pushwoosh::tests::{account, gateway, gateway_with, job};
use crate::providers::pushwoosh::{Operation, Pushwoosh};
use crate::providers::{Gateway, Provider, Repeat};

pub(super) const ALL: [Call; 4] =
    [Call::DeleteMessage, Call::CancelMessage, Call::GetMessageDetails, Call::GetPushHistory];

/// A job of a call.
pub(super) fn call_job(call: Call, payload: Value) -> Job {
    Job { operation: call.name().to_owned(), ..job(payload) }
}

/// A valid payload of a call.
pub(super) fn payload(call: Call) -> Value {
    match call {
        Call::DeleteMessage | Call::CancelMessage | Call::GetMessageDetails => {
            json!({"message": "XXXX-92B4C3C5-A7F5EF70"})
        }
        Call::GetPushHistory => json!({"limitMessages": 10}),
    }
}

/// The one delivery of a valid payload.
pub(super) fn delivery(call: Call, payload: Value) -> Delivery {
    let mut planned = gateway().plan(&call_job(call, payload)).unwrap();
    assert_eq!(planned.len(), 1);
    planned.remove(0).unwrap()
}

#[test]
fn every_call_is_an_operation() {
    for call in ALL {
        assert_eq!(Operation::parse(call.name()), Some(Operation::Call(call)));
        assert!(Pushwoosh.operations().contains(&call.name()));
    }
    let calls = Operation::ALL.iter().filter(|operation| matches!(operation, Operation::Call(_)));
    assert_eq!(calls.count(), ALL.len());
}

#[test]
fn one_delivery_under_the_job_s_identity_in_queues_of_its_own() {
    for (call, reads) in ALL.into_iter().zip([false, false, true, true]) {
        let one = delivery(call, payload(call));
        assert_eq!(one.id.as_str(), "job-1");
        assert_eq!((one.class, &one.batch), (Class::Counted(CALLS), &None));
        assert_eq!(*one.job, call_job(call, payload(call)));
        for gateway in [gateway(), gateway_with(|account| account.requests_per_minute = None)] {
            assert_eq!(gateway.fallback_pool(&one), None);
            assert_eq!(gateway.repeat(&one), Repeat::Harmless);
            assert_eq!(gateway.reads(&one), reads, "{call:?}");
        }
    }
}

#[test]
fn requests_hold_the_credential_and_the_payload() {
    let history = json!({
        "limitMessages": 1000, "source": null, "searchBy": "notificationID", "value": 10191609202_u64,
        "lastNotificationID": 0, "new": {"a": [1]},
    });
    let rows = [
        (
            Call::DeleteMessage,
            json!({"message": "C-1", "message_id": 5}),
            json!({"message": "C-1", "message_id": 5}),
        ),
        (Call::CancelMessage, json!({"message": "C-1"}), json!({"message": "C-1"})),
        (Call::GetMessageDetails, json!({"message": "C-1"}), json!({"message": "C-1"})),
        (Call::GetMessageDetails, json!({"message": 2068991743}), json!({"message": "2068991743"})),
        (Call::GetPushHistory, json!({}), json!({})),
        (
            Call::GetPushHistory,
            history,
            json!({
                "limitMessages": 1000, "source": null, "searchBy": "notificationID", "value": "10191609202",
                "lastNotificationID": "0", "new": {"a": [1]},
            }),
        ),
        (
            Call::GetPushHistory,
            json!({"lastNotificationId": "17", "searchBy": ""}),
            json!({"lastNotificationID": "17", "searchBy": ""}),
        ),
    ];
    for (call, payload, expected) in rows {
        let request = gateway().request(&[&delivery(call, payload)]);
        assert_eq!(request.method, reqwest::Method::POST);
        let url = format!("https://api.pushwoosh.com/json/1.3/{}", call.name());
        assert_eq!(request.url.as_str(), url);
        assert!(request.headers.is_empty());
        let mut whole = Object::new();
        whole.insert("auth".to_owned(), account().api_token.expose().into());
        whole.extend(expected.as_object().unwrap().clone());
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        // As texts: the order of members is part of what is sent.
        assert_eq!(body.to_string(), json!({"request": whole}).to_string());
    }
}
