//! Pushwoosh as `paceline simulate` and the tests play it: `POST /json/1.3/<operation>`.
//!
//! Written from the provider's documentation and not from paceline's own rules, so that each
//! checks the other. What the documentation leaves open is played the way that is hardest for a
//! client: structure is checked strictly, and ten devices are free while fewer than ten are not
//! stored.
//!
//! Reading order: `notification` (what one message must look like), `conditions` (of its tags), `create` and `targeted`
//! (the two calls that send), `messages` (what is stored of them, and the calls about one
//! message), `history`.
//!
//! Markers, for tests that want an answer without a fault of the whole provider:
//! - a content with the word `faulty` in it is a faulty notification;
//! - a device that begins with `unknown` is one that the provider does not know;
//! - an application that begins with `unknown` is one that does not exist.

use std::time::Duration;

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::simulator::engine::whole_seconds;
use crate::simulator::{
    Account, Answer, Call, Fate, Moment, Named, Over, Performed, Pool, Request, Rules, Simulated, Throttling,
};

mod conditions;
mod create;
mod history;
mod messages;
mod notification;
mod targeted;

const PATH: &str = "/json/1.3/";
const MAX_BODY_BYTES: usize = 10_000_000;
const MAX_NOTIFICATIONS: usize = 1000;

/// What a message that is not stored has in place of a code.
const NO_CODE: &str = "CODE_NOT_AVAILABLE";

/// Fewer devices than this are sent to without the message being stored.
const STORED_FROM: usize = 10;

const DENIED: &str = "Access denied or application not found";

/// The operations that are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    CreateMessage,
    CreateTargetedMessage,
    DeleteMessage,
    CancelMessage,
    GetMessageDetails,
    GetPushHistory,
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::CreateMessage,
        Self::CreateTargetedMessage,
        Self::DeleteMessage,
        Self::CancelMessage,
        Self::GetMessageDetails,
        Self::GetPushHistory,
    ];
    const NAMES: [&'static str; 6] = {
        let mut names = [""; 6];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    const fn name(self) -> &'static str {
        match self {
            Self::CreateMessage => "createMessage",
            Self::CreateTargetedMessage => "createTargetedMessage",
            Self::DeleteMessage => "deleteMessage",
            Self::CancelMessage => "cancelMessage",
            Self::GetMessageDetails => "getMessageDetails",
            Self::GetPushHistory => "getPushHistory",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// What a request is about, one by one.
    fn deliveries(self, content: &Map<String, Value>) -> Vec<Named> {
        match self {
            Self::CreateMessage => create::notifications(content).iter().map(create::named).collect(),
            Self::CreateTargetedMessage => vec![targeted::named(content)],
            Self::DeleteMessage | Self::CancelMessage | Self::GetMessageDetails => {
                vec![Named { id: messages::wanted(content), key: None }]
            }
            Self::GetPushHistory => vec![Named::default()],
        }
    }

    /// The limit that a request uses up.
    fn pool(self, content: &Map<String, Value>, rules: &Rules) -> Option<Pool> {
        let counted = match self {
            Self::CreateMessage => {
                notification::counted(create::notifications(content), rules.exempt_devices)
            }
            Self::CreateTargetedMessage => true,
            Self::DeleteMessage | Self::CancelMessage | Self::GetMessageDetails | Self::GetPushHistory => {
                false
            }
        };
        counted.then_some(Pool::Main)
    }
}

/// Pushwoosh, played.
pub struct Simulator;

impl Simulated for Simulator {
    fn name(&self) -> &'static str {
        "pushwoosh"
    }

    fn rules(&self) -> Rules {
        Rules {
            requests: Some(600),
            window: Duration::from_secs(60),
            pools: Default::default(),
            throttling: Throttling::Status,
            duplicate_window: Some(Duration::from_secs(300)),
            targeted_duplicate_window: Some(Duration::from_secs(24 * 60 * 60)),
            exempt_devices: 10,
            credentials: None,
            campaign_credentials: None,
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &Operation::NAMES
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&'static str> {
        let found = Operation::parse(path.strip_prefix(PATH)?)?;
        (method == Method::POST).then_some(found.name())
    }

    fn read(&self, operation: &'static str, request: &Request, rules: &Rules) -> Result<Call, Answer> {
        let malformed = || Answer::empty(400);
        if request.body.len() > MAX_BODY_BYTES {
            return Err(malformed());
        }
        let mut body: Value = serde_json::from_slice(&request.body).map_err(|_| malformed())?;
        let Some(Value::Object(content)) = body.get_mut("request").map(Value::take) else {
            return Err(malformed());
        };
        if create::notifications(&content).len() > MAX_NOTIFICATIONS {
            return Err(malformed());
        }
        let played = Operation::parse(operation).ok_or_else(malformed)?;
        Ok(Call {
            operation,
            credential: text(&content, "auth").unwrap_or_default().to_owned(),
            secret: String::new(),
            subject: String::new(),
            pool: played.pool(&content, rules),
            deliveries: played.deliveries(&content),
            content: Value::Object(content),
        })
    }

    fn denied(&self, call: &Call, rules: &Rules) -> Option<Answer> {
        let known = match &rules.credentials {
            Some(accepted) => accepted.contains(&call.credential),
            None => !call.credential.is_empty(),
        };
        (!known).then(|| argument_error(DENIED, response_of_error(call)))
    }

    fn throttled(&self, call: &Call, rules: &Rules, over: Over, _: Moment) -> Answer {
        match rules.throttling {
            Throttling::Status => {
                self.failure(call.operation, 429).with_header("retry-after", whole_seconds(over.wait))
            }
            Throttling::Body => {
                let message = format!("Request limit exceeded: {} requests per minute", over.limit);
                argument_error(&message, response_of_error(call))
            }
        }
    }

    fn failure(&self, _: &'static str, status: u16) -> Answer {
        let message = match status {
            401 => "Unauthorized",
            429 => "Too Many Requests",
            500 => "Internal error",
            _ => "Service unavailable",
        };
        Answer::json(status, &json!({"status_code": status, "status_message": message, "response": null}))
    }

    fn perform(&self, call: &Call, account: &mut Account, rules: &Rules, now: Moment) -> Performed {
        let empty = Map::new();
        let content = call.content.as_object().unwrap_or(&empty);
        match Operation::parse(call.operation) {
            Some(Operation::CreateMessage) => create::perform(content, account, rules, now),
            Some(Operation::CreateTargetedMessage) => targeted::perform(content, account, rules, now),
            Some(Operation::DeleteMessage) => messages::delete(content, account.state(), now),
            Some(Operation::CancelMessage) => messages::cancel(content, account.state(), now),
            Some(Operation::GetMessageDetails) => messages::details(content, account.state(), now),
            Some(Operation::GetPushHistory) => history::perform(content, account.state(), now),
            None => refused("no such operation"),
        }
    }
}

/// A member that is a text and not empty.
fn text<'a>(content: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    content.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What stands under `response` beside an error: `createMessage` lists the codes of what was sent.
fn response_of_error(call: &Call) -> Value {
    if call.operation == Operation::CreateMessage.name() { json!({"Messages": []}) } else { Value::Null }
}

fn argument_error(message: &str, response: Value) -> Answer {
    Answer::json(200, &json!({"status_code": 210, "status_message": message, "response": response}))
}

/// A refusal of a call that is one delivery.
fn refused(message: &str) -> Performed {
    Performed { answer: argument_error(message, Value::Null), fates: vec![Fate::Refused] }
}

fn ok(response: Value) -> Answer {
    Answer::json(200, &json!({"status_code": 200, "status_message": "OK", "response": response}))
}

#[cfg(test)]
mod tests;
