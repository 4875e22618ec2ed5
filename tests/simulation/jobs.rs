//! What producers publish in a run.

use std::sync::Arc;

use bytes::Bytes;
use paceline::ports::{Place, Properties};
use serde_json::{Value, json};

use super::chance::Dice;
use super::life::Chaos;
use crate::jobs::{account, counted_job, exempt_job, notification, user_job};

/// One job and its messages.
pub struct Published {
    pub account: &'static str,
    /// Its deliveries, by their ids.
    pub deliveries: Vec<String>,
    pub body: Value,
    /// How often it is published, each time with a name of its own.
    pub times: u64,
    /// So often each message is put into the queue: its confirm was lost, and the producer tried
    /// again with the same name.
    pub copies: u64,
    /// It breaks the rules.
    pub invalid: bool,
}

/// Jobs for a run, of all kinds.
pub fn draw(dice: &Dice, chaos: &Chaos) -> Vec<Published> {
    let count = 5 + dice.below(35);
    (0..count).map(|n| one(dice, chaos, n)).collect()
}

fn one(dice: &Dice, chaos: &Chaos, n: u64) -> Published {
    let id = format!("job-{n}");
    let priority = *dice.pick(&["high", "normal", "low"]);
    let kind = dice.below(12);
    let mut account = "shop";
    let mut invalid = false;
    let mut deliveries = vec![id.clone()];
    let mut body = match kind {
        0..=1 => exempt_job(&id),
        2..=5 => counted_job(&id, priority),
        6 => {
            let pieces = 2 + dice.below(6);
            deliveries = (0..pieces).map(|piece| format!("{id}#{piece}")).collect();
            several(&id, priority, pieces, dice.below(pieces * 2))
        }
        7 => {
            invalid = true;
            let mut job = counted_job(&id, priority);
            job["colour"] = json!("blue");
            job
        }
        8 => json!({"transactionId": id, "account": "shop", "operation": "getMessageDetails",
            "payload": {"message": "1234-5678ABCD-90EF1234"}}),
        9 => {
            account = "news";
            everyone(&id)
        }
        10 => {
            account = "news";
            user_job(&id)
        }
        _ => {
            account = "loud";
            let mut job = user_job(&id);
            job["account"] = json!("loud");
            job
        }
    };
    let moment = |ms: u64| {
        let at = chaos.true_ms() + i64::try_from(ms).expect("small");
        json!(jiff::Timestamp::from_millisecond(at).expect("a moment of this century").to_string())
    };
    if dice.in_thousand(100) {
        body["notBefore"] = moment(dice.below(90_000));
    }
    if dice.in_thousand(100) {
        body["expiresAt"] = moment(100_000 + dice.below(120_000));
    }
    let times = if dice.in_thousand(150) { 2 } else { 1 };
    let copies = if dice.in_thousand(100) { 2 } else { 1 };
    Published { account, deliveries, body, times, copies, invalid }
}

fn several(id: &str, priority: &str, pieces: u64, faulty: u64) -> Value {
    let notifications: Vec<Value> = (0..pieces)
        .map(|piece| {
            let content = if piece == faulty { "faulty" } else { "fine" };
            notification(&format!("{content} {id} {piece}"), json!({"users": [format!("user-{id}-{piece}")]}))
        })
        .collect();
    json!({"transactionId": id, "account": "shop", "operation": "createMessage", "priority": priority,
        "payload": {"notifications": notifications}})
}

fn everyone(id: &str) -> Value {
    let mut job = user_job(id);
    let payload = job["payload"].as_object_mut().expect("an object");
    payload.remove("targetUserAttributes");
    payload.insert("targetAudience".to_owned(), json!("All Users"));
    job
}

/// A message on its way in.
pub type Message = (Place, Bytes, Properties);

impl Published {
    /// Its messages: place, body, properties.
    pub fn messages(&self, dice: &Arc<Dice>) -> Vec<Message> {
        let place = Place::Jobs(account(self.account));
        let body = Bytes::from(self.body.to_string());
        (0..self.times)
            .flat_map(|time| {
                let name = format!("{}-{}-{time}", self.account, self.body["transactionId"]);
                let properties = Properties { message_id: Some(name), ..Properties::default() };
                (0..self.copies).map(move |_| properties.clone())
            })
            .map(|mut properties| {
                if dice.in_thousand(100) {
                    properties.reply_to = Some("producer.replies".to_owned());
                }
                (place.clone(), body.clone(), properties)
            })
            .collect()
    }
}
