//! Building requests.

use serde::Serialize;
use serde_json::Value;

use super::fields::NOTIFICATIONS;
use super::fields::dates::whole_minutes;
use super::{Account, conditions};
use crate::job::{Delivery, DeliveryId, Job, Object, json_of};
use crate::ports::WireRequest;
use crate::providers::account;
use crate::providers::account::{CREDENTIALS, endpoint};

/// The request that carries all these deliveries, which have the same envelope.
pub(super) fn create_message(account: &Account, deliveries: &[&Delivery]) -> WireRequest {
    let payload = deliveries.first().map(|delivery| &delivery.job.payload);
    let envelope = payload.map(|payload| envelope(account, payload)).unwrap_or_default();
    let notifications: Vec<Value> =
        deliveries.iter().map(|delivery| notification(&delivery.job, &delivery.id).into()).collect();
    let mut request = Object::new();
    request.insert("auth".to_owned(), account.api_token.expose().into());
    request.extend(envelope);
    request.insert(NOTIFICATIONS.name.to_owned(), notifications.into());
    call(account, "createMessage", request)
}

#[derive(Serialize)]
struct Call {
    request: Object,
}

/// A call of the provider, of what stands inside `request`, `auth` included.
pub(super) fn call(account: &Account, name: &str, request: Object) -> WireRequest {
    WireRequest {
        method: reqwest::Method::POST,
        url: endpoint(&account.base_url, &format!("json/1.3/{name}")),
        headers: Vec::new(),
        body: json_of(&Call { request }).into(),
    }
}

/// The members of the request beside the credential and the notifications: the payload's, with the
/// account's application where the payload names none.
pub(super) fn envelope(account: &Account, payload: &Object) -> Object {
    let ours =
        |name: &str| name == NOTIFICATIONS.name || CREDENTIALS.iter().any(|member| member.name == name);
    let mut envelope: Object = payload
        .iter()
        .filter(|(name, _)| !ours(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(application) = &account.application
        && uses_default(payload)
    {
        envelope.insert("application".to_owned(), application.as_str().into());
    }
    envelope
}

fn uses_default(payload: &Object) -> bool {
    !payload.contains_key("application") && !payload.contains_key("applications_group")
}

/// Whether the request goes to the account's own application, named or not.
pub(super) fn is_own_application(account: &Account, payload: &Object) -> bool {
    let named = payload.get("application").and_then(Value::as_str);
    uses_default(payload) || (named.is_some() && named == account.application.as_deref())
}

/// The notification as it is sent. Always the same for the same delivery: the provider recognises a
/// repeated attempt by its `transactionId`.
pub(super) fn notification(job: &Job, id: &DeliveryId) -> Object {
    let given = job.payload.get(NOTIFICATIONS.name).and_then(|list| list.get(0)).and_then(Value::as_object);
    let mut notification = given.cloned().unwrap_or_default();
    complete(&mut notification, id);
    conditions::complete(&mut notification);
    notification
}

/// Gives a message what it is always sent with.
pub(super) fn complete(message: &mut Object, id: &DeliveryId) {
    // The document marks it as required in one place and omits it in others: always sent.
    message.entry("ignore_user_timezone").or_insert(Value::Bool(false));
    message.insert("transactionId".to_owned(), id.as_str().into());
    if let Some(Value::String(date)) = message.get_mut("send_date")
        && let Some(minutes) = whole_minutes(date)
    {
        *date = minutes.to_owned();
    }
}

/// The address that opens a connection without being a call.
pub(super) fn warm_up_url(account: &Account) -> reqwest::Url {
    account::root(&account.base_url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::Gateway;
    use crate::providers::pushwoosh::tests::{account, gateway, job};

    fn sent(gateway: &crate::providers::pushwoosh::Pushed, payloads: &[Value]) -> (WireRequest, Value) {
        let planned: Vec<Delivery> = payloads
            .iter()
            .flat_map(|payload| gateway.plan(&job(payload.clone())).unwrap())
            .map(Result::unwrap)
            .collect();
        let request = gateway.request(&planned.iter().collect::<Vec<_>>());
        let body = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    }

    #[test]
    fn a_request_holds_what_the_document_asks_for() {
        let payload = json!({"notifications": [{
            "send_date": "now", "content": {"en": "Hi"}, "devices": ["d1"], "data": {"b": 1, "a": 2},
        }]});
        let (request, body) = sent(&gateway(), &[payload]);
        assert_eq!(request.method, reqwest::Method::POST);
        assert_eq!(request.url.as_str(), "https://api.pushwoosh.com/json/1.3/createMessage");
        assert!(request.headers.is_empty());
        let expected = json!({"request": {
            "auth": "token-of-the-shop",
            "application": "OWN00-00001",
            "notifications": [{
                "send_date": "now", "content": {"en": "Hi"}, "devices": ["d1"], "data": {"b": 1, "a": 2},
                "ignore_user_timezone": false, "transactionId": "job-1",
            }],
        }});
        // As texts: the order of members is part of what is sent unchanged on a repeat.
        assert_eq!(body.to_string(), expected.to_string());
    }

    #[test]
    fn what_the_producer_says_is_kept() {
        let payload = json!({
            "applications_group": "GROUP",
            "something_new": {"x": [1]},
            "notifications": [{
                "send_date": "2026-01-02 03:04", "content": "Hi", "ignore_user_timezone": true,
                "transactionId": "mine", "conditions": [["Name", "ANY"]], "ios_new_member": 5,
            }],
        });
        let (_, body) = sent(&gateway(), &[payload]);
        let request = &body["request"];
        assert_eq!(request["applications_group"], "GROUP");
        assert_eq!(request.get("application"), None);
        assert_eq!(request["something_new"], json!({"x": [1]}));
        let notification = &request["notifications"][0];
        assert_eq!(notification["ignore_user_timezone"], true);
        assert_eq!(notification["transactionId"], "mine");
        assert_eq!(notification["conditions"], json!([["Name", "ANY", ""]]));
        assert_eq!(notification["ios_new_member"], 5);
    }

    #[test]
    fn a_shared_request_carries_every_notification_in_order() {
        let payload = json!({"notifications": [
            {"send_date": "now", "content": "1", "users": ["a"]},
            {"send_date": "now", "content": "2", "users": ["b"], "transactionId": "own"},
            {"send_date": "now", "content": "3", "users": ["c"]},
        ]});
        let (_, body) = sent(&gateway(), &[payload]);
        let list = body["request"]["notifications"].as_array().unwrap();
        let of =
            |name: &str| list.iter().map(|one| one[name].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(of("transactionId"), ["job-1#0", "own", "job-1#2"]);
        assert_eq!(of("content"), ["1", "2", "3"]);
    }

    #[test]
    fn the_account_s_address_may_have_a_path() {
        let mut account = account();
        account.base_url = reqwest::Url::parse("http://127.0.0.1:9999/proxy/").unwrap();
        let request = call(&account, "createMessage", Object::new());
        assert_eq!(request.url.as_str(), "http://127.0.0.1:9999/proxy/json/1.3/createMessage");
        assert_eq!(warm_up_url(&account).as_str(), "http://127.0.0.1:9999/");
    }

    #[test]
    fn the_account_s_own_application() {
        let cases = [
            (json!({}), true),
            (json!({"application": "OWN00-00001"}), true),
            (json!({"application": "OTHER-00001"}), false),
            (json!({"applications_group": "GROUP"}), false),
        ];
        for (payload, expected) in cases {
            let own = is_own_application(&account(), payload.as_object().unwrap());
            assert_eq!(own, expected, "{payload}");
        }
    }
}
