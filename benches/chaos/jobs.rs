//! What is published: jobs of all operations, drawn from the seed.

use jiff::{Timestamp, ToSpan};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, notification, user_job};

/// What the calls about messages and campaigns are about, made before anything goes wrong.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// Codes of scheduled messages.
    pub messages: Vec<String>,
    /// Ids of campaigns.
    pub campaigns: Vec<String>,
}

/// A job to be published.
pub struct Drawn {
    pub body: Value,
    /// Its deliveries, by their ids.
    pub deliveries: Vec<String>,
    /// How often it is published, each time as a message of its own.
    pub times: usize,
}

impl Drawn {
    /// Its account.
    pub fn account(&self) -> &str {
        self.body["account"].as_str().expect("every job has one")
    }
}

/// Draws jobs one by one.
pub struct Draw {
    rng: StdRng,
    subjects: Subjects,
    drawn: u64,
}

impl Draw {
    /// The same jobs for the same seed.
    pub fn new(seed: u64, subjects: Subjects) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), subjects, drawn: 0 }
    }

    /// The next job.
    pub fn next(&mut self) -> Drawn {
        let id = format!("job-{}", self.drawn);
        self.drawn += 1;
        let priority = ["high", "normal", "low"][self.rng.random_range(0..3)];
        let (mut body, deliveries) = match self.rng.random_range(0..1_000) {
            0..440 => one(exempt_job(&id), id),
            440..620 => one(counted_job(&id, priority), id),
            620..660 => self.several(&id, priority),
            660..880 => one(user_job(&id), id),
            880..930 => one(everyone(&id), id),
            930..950 => one(of_account("loud", user_job(&id)), id),
            950..965 => one(targeted(&id), id),
            965..985 => one(self.about_a_message(&id), id),
            985..991 => one(self.about_a_campaign(&id), id),
            _ => one(invalid(&id), id),
        };
        self.set_times(&mut body);
        let times = if self.rng.random_bool(0.02) { 2 } else { 1 };
        Drawn { body, deliveries, times }
    }

    fn several(&mut self, id: &str, priority: &str) -> (Value, Vec<String>) {
        let pieces = self.rng.random_range(2..6);
        // An eighth of them have one that the provider refuses, and with it whatever shares its
        // request and comes behind it: more of them, and the limit is spent on little else.
        let faulty = self.rng.random_range(0..pieces * 8);
        let piece = |n: u32| {
            let content = if n == faulty { "faulty" } else { "fine" };
            notification(&format!("{content} {id} {n}"), json!({"users": [format!("user-{id}-{n}")]}))
        };
        let notifications: Vec<Value> = (0..pieces).map(piece).collect();
        let body = json!({"transactionId": id, "account": "shop", "operation": "createMessage",
            "priority": priority, "payload": {"notifications": notifications}});
        (body, (0..pieces).map(|n| format!("{id}#{n}")).collect())
    }

    fn about_a_message(&mut self, id: &str) -> Value {
        let code = self.subjects.messages[self.rng.random_range(0..self.subjects.messages.len())].clone();
        let (operation, payload) = match self.rng.random_range(0..4) {
            0 => ("getMessageDetails", json!({"message": code})),
            1 => ("getPushHistory", json!({"limitMessages": 10})),
            2 => ("cancelMessage", json!({"message": code})),
            _ => ("deleteMessage", json!({"message": code})),
        };
        job("shop", operation, id, payload)
    }

    fn about_a_campaign(&mut self, id: &str) -> Value {
        let campaigns = &self.subjects.campaigns;
        let campaign = campaigns[self.rng.random_range(0..campaigns.len())].clone();
        if self.rng.random_bool(0.5) {
            job("news", "searchCampaigns", id, json!({"request_id": id, "limit": 1, "page": 1}))
        } else {
            let update = json!({"campaign_id": campaign, "request_id": id, "updated_by": "on-call@news.example",
                "basic_details": {"name": format!("Renamed by {id}")}});
            job("news", "updateCampaign", id, update)
        }
    }

    fn set_times(&mut self, body: &mut Value) {
        let mut within = |seconds: std::ops::Range<i64>| {
            let at = Timestamp::now() + self.rng.random_range(seconds).seconds();
            json!(at.to_string())
        };
        let (scheduled, expiring) = (within(1..60), within(20..120));
        if self.rng.random_bool(0.03) {
            body["notBefore"] = scheduled;
        } else if self.rng.random_bool(0.03) {
            body["expiresAt"] = expiring;
        }
    }
}

fn one(body: Value, id: String) -> (Value, Vec<String>) {
    (body, vec![id])
}

/// A job of an operation.
pub fn job(account: &str, operation: &str, id: &str, payload: Value) -> Value {
    json!({"transactionId": id, "account": account, "operation": operation, "payload": payload})
}

/// A message that waits at the provider until long after the run.
pub fn scheduled(id: &str) -> Value {
    let later = notification("Happy New Year", json!({"users": ["u"], "send_date": "2098-12-31 23:00"}));
    job("shop", "createMessage", id, json!({"notifications": [later]}))
}

/// A push to everybody, which makes a campaign.
pub fn everyone(id: &str) -> Value {
    let mut push = user_job(id);
    let payload = push["payload"].as_object_mut().expect("an object");
    payload.remove("targetUserAttributes");
    payload.insert("targetAudience".to_owned(), json!("All Users"));
    push
}

fn of_account(account: &str, mut job: Value) -> Value {
    job["account"] = json!(account);
    job
}

fn targeted(id: &str) -> Value {
    let payload = json!({
        "devices_filter": "A(\"XXXXX-XXXXX\", [\"iOS\", \"Android\"]) * T(\"Age\", GTE, 18)",
        "send_date": "now", "content": format!("targeted {id}"),
    });
    job("shop", "createTargetedMessage", id, payload)
}

fn invalid(id: &str) -> Value {
    let mut job = counted_job(id, "normal");
    job["colour"] = json!("blue");
    job
}
