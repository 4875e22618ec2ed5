//! The sample jobs. Each kind is told by the first word of its id.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::setting::{NEWS, SHOP};

/// What a job is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A code for one device, at once: uses up no limit.
    Code,
    /// A message to a user, now and then.
    Order,
    /// One of many that are in no hurry.
    Letter,
    /// One that is.
    Alarm,
    /// Several notifications, one of them faulty.
    Digest,
    /// Published twice.
    Payment,
    /// Not to be sent before a time.
    Reminder,
    /// Not to be sent after a time, which is over.
    Taxi,
    /// Breaks the provider's rules.
    Mistake,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Code,
        Self::Order,
        Self::Letter,
        Self::Alarm,
        Self::Digest,
        Self::Payment,
        Self::Reminder,
        Self::Taxi,
        Self::Mistake,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Order => "order",
            Self::Letter => "letter",
            Self::Alarm => "alarm",
            Self::Digest => "digest",
            Self::Payment => "payment",
            Self::Reminder => "reminder",
            Self::Taxi => "taxi",
            Self::Mistake => "mistake",
        }
    }

    /// The kind of a job or delivery with this id.
    pub(super) fn of(id: &str) -> Option<Self> {
        let word = id.split('-').next()?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A job and how many deliveries it has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    pub(super) account: &'static str,
    pub(super) deliveries: u64,
    pub(super) body: Value,
}

/// The number of the faulty notification in a digest of [`DIGEST`], from 1.
pub(super) const FAULTY: usize = 3;
/// Notifications of a digest.
pub(super) const DIGEST: usize = 6;

/// Makes jobs, each with an id of its own.
pub(super) struct Writer {
    rng: StdRng,
    written: BTreeMap<Kind, u64>,
}

impl Writer {
    /// Chance begins at `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), written: BTreeMap::new() }
    }

    fn id(&mut self, kind: Kind) -> String {
        let number = self.written.entry(kind).or_default();
        *number += 1;
        format!("{}-{number}", kind.word())
    }

    /// A one-time code for a device.
    pub(super) fn code(&mut self) -> Sample {
        let (id, code) = (self.id(Kind::Code), self.rng.random_range(100_000..1_000_000));
        let device = format!("{:016x}", self.rng.random::<u64>());
        let notification =
            json!({"send_date": "now", "content": format!("Your code is {code}"), "devices": [device]});
        shop(Kind::Code, id, "high", vec![notification])
    }

    /// A message to a user of either account, urgent or not.
    pub(super) fn message(&mut self, kind: Kind, account: &'static str) -> Sample {
        let (id, user) = (self.id(kind), self.user());
        let (priority, text) = match kind {
            Kind::Alarm => ("high", "Unusual login: was it you?"),
            Kind::Letter => ("low", "What is new this week"),
            _ => ("normal", "Your order is on its way"),
        };
        if account == NEWS {
            return news(kind, id, priority, &user, text);
        }
        shop(kind, id, priority, vec![to_user(&user, text)])
    }

    /// Several notifications, the third of them faulty.
    pub(super) fn digest(&mut self) -> Sample {
        let id = self.id(Kind::Digest);
        let notifications = (1..=DIGEST).map(|number| {
            let text =
                if number == FAULTY { "faulty: the provider refuses it" } else { "Three new messages" };
            to_user(&self.user(), text)
        });
        let notifications = notifications.collect();
        shop(Kind::Digest, id, "high", notifications)
    }

    /// One and the same job twice.
    pub(super) fn payment_twice(&mut self) -> [Sample; 2] {
        let (id, user) = (self.id(Kind::Payment), self.user());
        let one = shop(Kind::Payment, id, "high", vec![to_user(&user, "We have your payment")]);
        [one.clone(), one]
    }

    /// One that must not be sent before `not_before`.
    pub(super) fn reminder(&mut self, not_before: Timestamp) -> Sample {
        let (id, user) = (self.id(Kind::Reminder), self.user());
        let mut sample = shop(Kind::Reminder, id, "high", vec![to_user(&user, "Your table is ready soon")]);
        sample.body["notBefore"] = json!(not_before.to_string());
        sample
    }

    /// One whose time is over.
    pub(super) fn taxi(&mut self, now: Timestamp) -> Sample {
        let (id, user) = (self.id(Kind::Taxi), self.user());
        let mut sample = news(Kind::Taxi, id, "high", &user, "Your taxi is here");
        sample.body["expiresAt"] = json!((now - Duration::from_secs(1)).to_string());
        sample
    }

    /// One with a date that is none.
    pub(super) fn mistake(&mut self) -> Sample {
        let (id, user) = (self.id(Kind::Mistake), self.user());
        let mut notification = to_user(&user, "See you");
        notification["send_date"] = json!("tomorrow");
        shop(Kind::Mistake, id, "high", vec![notification])
    }

    fn user(&mut self) -> String {
        format!("user_{}", self.rng.random_range(1..1_000_000))
    }
}

fn to_user(user: &str, text: &str) -> Value {
    json!({"send_date": "now", "content": text, "users": [user]})
}

fn shop(kind: Kind, id: String, priority: &str, notifications: Vec<Value>) -> Sample {
    let deliveries = notifications.len() as u64;
    let body = json!({
        "transactionId": id, "account": SHOP, "operation": "createMessage", "priority": priority,
        "payload": {"notifications": notifications},
    });
    Sample { kind, account: SHOP, deliveries, body }
}

fn news(kind: Kind, id: String, priority: &str, user: &str, text: &str) -> Sample {
    let body = json!({
        "transactionId": id, "account": NEWS, "operation": "sendPush", "priority": priority,
        "payload": {
            "campaignName": format!("Campaign {id}"), "requestType": "push", "targetPlatform": ["ANDROID"],
            "targetAudience": "User",
            "targetUserAttributes": {
                "attribute": "USER_ATTRIBUTE_UNIQUE_ID", "comparisonParameter": "is", "attributeValue": user,
            },
            "payload": {"ANDROID": {"message": text, "title": "Hello"}},
            "campaignDelivery": {"type": "soon"},
        },
    });
    Sample { kind, account: NEWS, deliveries: 1, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_told_by_its_id_and_the_seed_repeats_it() {
        let all = |seed| {
            let mut writer = Writer::new(seed);
            let now = Timestamp::UNIX_EPOCH;
            let [payment, again] = writer.payment_twice();
            assert_eq!(payment, again);
            vec![
                payment,
                writer.code(),
                writer.message(Kind::Order, SHOP),
                writer.message(Kind::Letter, NEWS),
                writer.message(Kind::Alarm, SHOP),
                writer.digest(),
                writer.reminder(now),
                writer.taxi(now),
                writer.mistake(),
            ]
        };
        for sample in all(7) {
            let id = sample.body["transactionId"].as_str().unwrap();
            assert_eq!(Kind::of(id), Some(sample.kind), "{id}");
            assert_eq!(sample.body["account"], sample.account);
        }
        assert_eq!((all(7) == all(7), all(7) == all(8)), (true, false));
        assert_eq!(Kind::of("else-1"), None);
    }
}
