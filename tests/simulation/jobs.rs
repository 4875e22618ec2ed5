//! What producers publish in a run.

use bytes::Bytes;
use paceline::ports::{Place, Properties};
use serde_json::{Value, json};

use super::broker::REPLIES;
use super::chance::Dice;
use super::life::Chaos;
use super::mood::Mood;
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
    /// It pushes something: what reads, deletes or changes may be done twice.
    pub pushes: bool,
    /// Where its producer wants the receipts.
    pub reply_to: Option<&'static str>,
}

/// A producer's own queue that is gone.
const GONE: &str = "producer.gone";
/// A queue that no receipt may go to.
const OURS: &str = "paceline.jobs.shop";

/// Sorts of jobs.
#[derive(Debug, Clone, Copy)]
pub enum Sort {
    /// To few devices, outside the limit.
    Exempt,
    Counted,
    /// Of several notifications, one of which may be faulty.
    Several,
    Invalid,
    /// A call that makes no message.
    Call,
    Targeted,
    /// A campaign's settings.
    Update,
    Search,
    Campaign,
    /// To one user, of an account that does not send again what may have been taken.
    User,
    /// The same, of one that does.
    Loud,
}

impl Sort {
    /// All of them.
    pub const MIXED: [Self; 16] = [
        Self::Exempt,
        Self::Exempt,
        Self::Counted,
        Self::Counted,
        Self::Counted,
        Self::Counted,
        Self::Several,
        Self::Invalid,
        Self::Call,
        Self::Campaign,
        Self::User,
        Self::Loud,
        Self::Targeted,
        Self::Update,
        Self::Search,
        Self::Loud,
    ];
}

/// Jobs for a run.
pub fn draw(dice: &Dice, chaos: &Chaos, mood: &Mood) -> Vec<Published> {
    let [least, more] = mood.jobs;
    (0..least + dice.below(more)).map(|n| one(dice, chaos, mood, n)).collect()
}

fn one(dice: &Dice, chaos: &Chaos, mood: &Mood, n: u64) -> Published {
    let id = format!("job-{n}");
    let priority = *dice.pick(&["high", "normal", "low"]);
    let sort = *dice.pick(mood.sorts);
    let mut account = "shop";
    let (mut invalid, mut pushes) = (false, true);
    let call = |account: &str, operation: &str, payload: Value| {
        json!({"transactionId": id, "account": account, "operation": operation,
            "priority": priority, "payload": payload})
    };
    let mut deliveries = vec![id.clone()];
    let mut body = match sort {
        Sort::Exempt => exempt_job(&id),
        Sort::Counted => counted_job(&id, priority),
        Sort::Several => {
            let pieces = 2 + dice.below(6);
            deliveries = (0..pieces).map(|piece| format!("{id}#{piece}")).collect();
            several(&id, priority, pieces, dice.below(pieces * 2))
        }
        Sort::Invalid => {
            invalid = true;
            let mut job = counted_job(&id, priority);
            job["colour"] = json!("blue");
            job
        }
        Sort::Call => {
            pushes = false;
            let (operation, payload) = *dice.pick(&SHOP_CALLS);
            call("shop", operation, serde_json::from_str(payload).expect("JSON"))
        }
        Sort::Targeted => call(
            "shop",
            "createTargetedMessage",
            json!({"devices_filter": "A(\"AAAAA-BBBBB\", [\"iOS\"])", "send_date": "now", "content": "Hi"}),
        ),
        Sort::Update => {
            (account, pushes) = ("news", false);
            let campaign = "64a1b2c3d4e5f6a7b8c9d0e1";
            call(
                "news",
                "updateCampaign",
                json!({"campaign_id": campaign, "request_id": id,
                "updated_by": "marketing@news.example",
                "delivery_controls": {"ignore_frequency_capping": true}}),
            )
        }
        Sort::Search => {
            (account, pushes) = ("news", false);
            call("news", "searchCampaigns", json!({"request_id": id, "limit": 15, "page": 1}))
        }
        Sort::Campaign => {
            account = "news";
            let audience = *dice.pick(&["All Users", "Custom Segment"]);
            campaign(&id, audience)
        }
        Sort::User => {
            account = "news";
            user_job(&id)
        }
        Sort::Loud => {
            account = "loud";
            let mut job = user_job(&id);
            job["account"] = json!("loud");
            job
        }
    };
    let span_ms = u64::try_from(mood.publishing.as_millis()).expect("a sane length").max(60_000);
    let moment = |ms: u64| {
        let at = chaos.true_ms() + i64::try_from(ms).expect("small");
        json!(jiff::Timestamp::from_millisecond(at).expect("a moment of this century").to_string())
    };
    if dice.in_thousand(100) {
        body["notBefore"] = moment(dice.below(span_ms * 3 / 2));
    }
    if dice.in_thousand(100) {
        body["expiresAt"] = moment(span_ms * 5 / 3 + dice.below(span_ms * 2));
    }
    let times = if dice.in_thousand(150) { 2 } else { 1 };
    let copies = if dice.in_thousand(100) { 2 } else { 1 };
    let reply_to = dice.in_thousand(150).then(|| *dice.pick(&[REPLIES, REPLIES, GONE, OURS]));
    // A job that is refused for it ends as a whole.
    let reply_to = reply_to.filter(|queue| *queue != OURS || deliveries.len() == 1);
    let invalid = invalid || reply_to == Some(OURS);
    Published { account, deliveries, body, times, copies, invalid, pushes, reply_to }
}

/// Calls that make no message, with what they are about.
const SHOP_CALLS: [(&str, &str); 4] = [
    ("getMessageDetails", r#"{"message": "1234-5678ABCD-90EF1234"}"#),
    ("getPushHistory", r#"{"limitMessages": 100}"#),
    ("deleteMessage", r#"{"message": "1234-5678ABCD-90EF1234"}"#),
    ("cancelMessage", r#"{"message": "1234-5678ABCD-90EF1234"}"#),
];

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

fn campaign(id: &str, audience: &str) -> Value {
    let mut job = user_job(id);
    let payload = job["payload"].as_object_mut().expect("an object");
    payload.remove("targetUserAttributes");
    payload.insert("targetAudience".to_owned(), json!(audience));
    if audience == "Custom Segment" {
        payload.insert("customSegmentName".to_owned(), json!("Readers"));
    }
    job
}

/// A message on its way in.
pub type Message = (Place, Bytes, Properties);

impl Published {
    /// Whether its operation only reads.
    pub fn reads(&self) -> bool {
        let operation = self.body["operation"].as_str();
        matches!(operation, Some("getMessageDetails" | "getPushHistory" | "searchCampaigns"))
    }

    /// Its messages: place, body, properties.
    pub fn messages(&self) -> Vec<Message> {
        let place = Place::Jobs(account(self.account));
        let body = Bytes::from(self.body.to_string());
        let of_time = |time| {
            let name = format!("{}-{}-{time}", self.account, self.body["transactionId"]);
            let reply_to = self.reply_to.map(str::to_owned);
            let properties = Properties { message_id: Some(name), reply_to, ..Properties::default() };
            (0..self.copies).map(move |_| properties.clone())
        };
        let all = (0..self.times).flat_map(of_time);
        all.map(|properties| (place.clone(), body.clone(), properties)).collect()
    }
}
