//! Building requests.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::fields::NOTIFICATIONS;
use super::fields::dates::whole_minutes;
use super::{Account, conditions};
use crate::job::{Delivery, DeliveryId, Job, Object, json_of};
use crate::ports::WireRequest;
use crate::providers::account::CREDENTIALS;

/// The request that carries all these deliveries, which have the same envelope.
pub(super) fn create_message(account: &Account, deliveries: &[&Delivery]) -> WireRequest {
    let notifications = deliveries.iter().map(|delivery| notification(&delivery.job, &delivery.id)).collect();
    let payload = deliveries.first().map(|delivery| &*delivery.job.payload);
    call(account, "createMessage", &CreateMessage { account, payload, notifications })
}

/// The inside of a `createMessage`; borrowed, because its parts may be large.
struct CreateMessage<'a> {
    account: &'a Account,
    payload: Option<&'a Object>,
    notifications: Vec<Completed<'a>>,
}

impl Serialize for CreateMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("auth", self.account.api_token.expose())?;
        if let Some(payload) = self.payload {
            for (name, value) in beside_notifications(payload) {
                map.serialize_entry(name, value)?;
            }
            if let Some(application) = own_application(self.account, payload) {
                map.serialize_entry("application", application)?;
            }
        }
        map.serialize_entry(NOTIFICATIONS.name, &self.notifications)?;
        map.end()
    }
}

#[derive(Serialize)]
struct Call<'a, T> {
    request: &'a T,
}

/// A call of the provider, of what stands inside `request`, `auth` included.
pub(super) fn call(account: &Account, name: &str, request: &impl Serialize) -> WireRequest {
    WireRequest {
        method: reqwest::Method::POST,
        url: account.base_url.endpoint(&format!("json/1.3/{name}")),
        headers: Vec::new(),
        body: json_of(&Call { request }).into(),
    }
}

/// The members of the request beside the credential and the notifications: the payload's, with the
/// account's application where the payload names none.
pub(super) fn envelope(account: &Account, payload: &Object) -> Object {
    let mut envelope: Object =
        beside_notifications(payload).map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(application) = own_application(account, payload) {
        envelope.insert("application".to_owned(), application.into());
    }
    envelope
}

fn beside_notifications(payload: &Object) -> impl Iterator<Item = (&String, &Value)> {
    let ours =
        |name: &str| name == NOTIFICATIONS.name || CREDENTIALS.iter().any(|member| member.name == name);
    payload.iter().filter(move |(name, _)| !ours(name))
}

/// The account's application, where the payload names none.
fn own_application<'a>(account: &'a Account, payload: &Object) -> Option<&'a str> {
    account.application.as_deref().filter(|_| uses_default(payload))
}

fn uses_default(payload: &Object) -> bool {
    !payload.contains_key("application") && !payload.contains_key("applications_group")
}

/// Whether the request goes to the account's own application, named or not.
pub(super) fn is_own_application(account: &Account, payload: &Object) -> bool {
    let named = payload.get("application").and_then(Value::as_str);
    uses_default(payload) || (named.is_some() && named == account.application.as_deref())
}

/// A message as it is sent: a producer's, with some members set.
pub(super) struct Completed<'a> {
    given: Option<&'a Object>,
    set: Vec<(&'static str, Value)>,
}

impl<'a> Completed<'a> {
    /// With what a message is always sent with.
    pub(super) fn message(given: Option<&'a Object>, id: &DeliveryId) -> Self {
        let member = |name| given.and_then(|given| given.get(name));
        let mut set = Vec::with_capacity(3);
        // The document marks it as required in one place and omits it in others: always sent.
        if member("ignore_user_timezone").is_none() {
            set.push(("ignore_user_timezone", Value::Bool(false)));
        }
        set.push(("transactionId", id.as_str().into()));
        if let Some(minutes) = member("send_date").and_then(Value::as_str).and_then(whole_minutes) {
            set.push(("send_date", minutes.into()));
        }
        Self { given, set }
    }

    /// Its members, the producer's in their order.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        let given = self.given.into_iter().flatten().map(|(name, value)| (name.as_str(), value));
        let set = |name: &str| self.set.iter().find(|(of, _)| *of == name).map(|(_, value)| value);
        let new =
            self.set.iter().filter(|(name, _)| self.given.is_none_or(|given| !given.contains_key(*name)));
        given
            .map(move |(name, value)| (name, set(name).unwrap_or(value)))
            .chain(new.map(|(name, value)| (*name, value)))
    }
}

impl Serialize for Completed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members())
    }
}

/// The notification as it is sent. Always the same for the same delivery: the provider recognises a
/// repeated attempt by its `transactionId`.
pub(super) fn notification<'a>(job: &'a Job, id: &DeliveryId) -> Completed<'a> {
    let given = job.payload.get(NOTIFICATIONS.name).and_then(|list| list.get(0)).and_then(Value::as_object);
    let mut notification = Completed::message(given, id);
    if let Some(conditions) = given.and_then(|given| given.get("conditions")) {
        notification.set.push(("conditions", conditions::completed(conditions)));
    }
    notification
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
        account.base_url = crate::providers::account::parse_base_url("http://127.0.0.1:9999/proxy/").unwrap();
        let request = call(&account, "createMessage", &Object::new());
        assert_eq!(request.url.as_str(), "http://127.0.0.1:9999/proxy/json/1.3/createMessage");
        assert_eq!(account.base_url.root().as_str(), "http://127.0.0.1:9999/");
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
