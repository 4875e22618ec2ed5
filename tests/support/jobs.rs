//! Jobs and message properties as producers make them.

use paceline::job::{AccountName, Line, Pool};
use paceline::ports::{Place, Properties};
use serde_json::{Value, json};
use uuid::Uuid;

/// An account's name.
pub fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

/// The queues of both accounts.
pub fn places() -> Vec<Place> {
    places_of("shop", "calls").into_iter().chain(places_of("news", "campaigns")).collect()
}

/// The queues of further accounts of MoEngage.
pub fn places_beside(accounts: &[&str]) -> Vec<Place> {
    accounts.iter().flat_map(|name| places_of(name, "campaigns")).collect()
}

fn places_of(name: &str, beside: &'static str) -> Vec<Place> {
    Place::of_account(&account(name), &[Line::MAIN, Pool::beside(beside).line()])
}

/// A job for few devices, sent at once: exempt.
pub fn exempt_job(id: &str) -> Value {
    json!({
        "transactionId": id, "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [notification(&format!("exempt {id}"), json!({"devices": [format!("device-{id}")]}))]},
    })
}

/// A job for users: counted.
pub fn counted_job(id: &str, priority: &str) -> Value {
    json!({
        "transactionId": id, "account": "shop", "operation": "createMessage", "priority": priority,
        "payload": {"notifications": [notification(&format!("counted {id}"), json!({"users": [format!("user-{id}")]}))]},
    })
}

/// A job of MoEngage for one user.
pub fn user_job(id: &str) -> Value {
    json!({
        "transactionId": id, "account": "news", "operation": "sendPush",
        "payload": {
            "campaignName": format!("Campaign {id}"), "requestType": "push", "targetPlatform": ["ANDROID"],
            "targetAudience": "User",
            "targetUserAttributes": {"attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": id},
            "payload": {"ANDROID": {"message": "m", "title": "t"}},
            "campaignDelivery": {"type": "soon"},
        },
    })
}

/// A notification with some more members.
pub fn notification(content: &str, more: Value) -> Value {
    let mut members = json!({"send_date": "now", "content": content});
    let more = more.as_object().expect("an object").clone();
    members.as_object_mut().expect("an object").extend(more);
    members
}

/// Properties as a producer sets them.
pub fn properties() -> Properties {
    Properties { message_id: Some(Uuid::new_v4().to_string()), ..Properties::default() }
}
