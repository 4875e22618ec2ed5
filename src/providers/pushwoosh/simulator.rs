//! Pushwoosh as `paceline simulate` and the tests play it: `POST /json/1.3/createMessage`.
//!
//! Written from the provider's documentation and not from paceline's own rules, so that each
//! checks the other. What the documentation leaves open is played the way that is hardest for a
//! client: structure is checked strictly, and ten devices are free while fewer than ten are not
//! stored.
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
    Account, Answer, Call, Fate, Named, Performed, Request, Rules, Simulated, Throttling,
};

mod notification;

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
}

impl Operation {
    const ALL: [Self; 1] = [Self::CreateMessage];

    const fn as_str(self) -> &'static str {
        match self {
            Self::CreateMessage => "createMessage",
        }
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
            throttling: Throttling::Status,
            duplicate_window: Some(Duration::from_secs(300)),
            exempt_devices: 10,
            credentials: None,
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&'static str> {
        let name = path.strip_prefix(PATH)?;
        let known = Operation::ALL.into_iter().map(Operation::as_str).find(|known| *known == name)?;
        (method == Method::POST).then_some(known)
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
        let notifications = content.get("notifications").and_then(Value::as_array);
        if notifications.is_some_and(|list| list.len() > MAX_NOTIFICATIONS) {
            return Err(malformed());
        }
        let list = notifications.map(Vec::as_slice).unwrap_or_default();
        Ok(Call {
            operation,
            credential: content.get("auth").and_then(Value::as_str).unwrap_or_default().to_owned(),
            counted: notification::counted(list, rules.exempt_devices),
            deliveries: list.iter().map(named).collect(),
            content: Value::Object(content),
        })
    }

    fn denied(&self, call: &Call, accepted: &[String]) -> Option<Answer> {
        let known = accepted.contains(&call.credential);
        (!known).then(|| argument_error(DENIED, &[]))
    }

    fn throttled(&self, _: &Call, rules: &Rules, wait: Duration) -> Answer {
        match rules.throttling {
            Throttling::Status => self.failure(429).with_header("retry-after", whole_seconds(wait)),
            Throttling::Body => {
                let most = rules.requests.unwrap_or_default();
                argument_error(&format!("Request limit exceeded: {most} requests per minute"), &[])
            }
        }
    }

    fn failure(&self, status: u16) -> Answer {
        let message = match status {
            401 => "Unauthorized",
            429 => "Too Many Requests",
            500 => "Internal error",
            _ => "Service unavailable",
        };
        Answer::json(status, &json!({"status_code": status, "status_message": message, "response": null}))
    }

    fn perform(&self, call: &Call, account: &mut Account, rules: &Rules, now: Duration) -> Performed {
        if let Some(problem) = problem_of_request(&call.content) {
            let fates = vec![Fate::Refused; call.deliveries.len()];
            return Performed { answer: argument_error(problem, &[]), fates };
        }
        create(call, &mut Sending { account, rules, now })
    }
}

fn named(notification: &Value) -> Named {
    let id = notification.get("transactionId").and_then(Value::as_str).map(str::to_owned);
    Named { key: id.clone(), id }
}

/// What is wrong with the request as a whole.
fn problem_of_request(content: &Value) -> Option<&'static str> {
    let text = |key: &str| content.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let application = match (text("application"), text("applications_group")) {
        (Some(application), None) | (None, Some(application)) => application,
        (Some(_), Some(_)) => return Some("application and applications_group can't be used together"),
        (None, None) => return Some("application is required"),
    };
    if text("auth").is_none() || application.starts_with("unknown") {
        return Some(DENIED);
    }
    match content.get("notifications") {
        Some(Value::Array(list)) if !list.is_empty() => None,
        Some(_) | None => Some("\"notifications\" must be a non-empty array"),
    }
}

struct Sending<'a> {
    account: &'a mut Account,
    rules: &'a Rules,
    now: Duration,
}

/// Sends the notifications one by one; the first faulty one ends it.
fn create(call: &Call, sending: &mut Sending<'_>) -> Performed {
    let group = call.content.get("applications_group").is_some_and(Value::is_string);
    let list = call.content.get("notifications").and_then(Value::as_array);
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let mut codes = Vec::new();
    let mut fates = Vec::new();
    let mut unknown = Map::new();
    for notification in list {
        if let Some(problem) = notification::problem(notification, group) {
            fates.push(Fate::Refused);
            fates.resize(list.len(), Fate::NotReached);
            return Performed { answer: argument_error(&problem, &codes), fates };
        }
        let (code, fate) = sending.send(notification);
        note_unknown(&mut unknown, &code, notification);
        codes.push(code);
        fates.push(fate);
    }
    let mut response = json!({"Messages": codes});
    if !unknown.is_empty() {
        response["UnknownDevices"] = Value::Object(unknown);
    }
    let body = json!({"status_code": 200, "status_message": "OK", "response": response});
    Performed { answer: Answer::json(200, &body), fates }
}

impl Sending<'_> {
    fn send(&mut self, notification: &Value) -> (String, Fate) {
        let id = notification.get("transactionId").and_then(Value::as_str).unwrap_or_default();
        let key = format!("createMessage/{id}");
        if !id.is_empty()
            && let Some(code) = self.account.recall(&key, self.now)
        {
            return (code.to_owned(), Fate::Suppressed(code.to_owned()));
        }
        let code = if notification::is_stored(notification, self.rules.exempt_devices) {
            self.account.new_code()
        } else {
            NO_CODE.to_owned()
        };
        if !id.is_empty() {
            let until = self.rules.duplicate_window.map(|window| self.now + window);
            self.account.remember(key, code.clone(), until, self.now);
        }
        (code.clone(), Fate::Accepted(code))
    }
}

/// Devices stand under their message's code; those of several messages without one share a place.
fn note_unknown(unknown: &mut Map<String, Value>, code: &str, notification: &Value) {
    let tokens = notification::unknown_devices(notification);
    if tokens.is_empty() {
        return;
    }
    let place = unknown.entry(code).or_insert_with(|| json!([]));
    if let Value::Array(list) = place {
        list.extend(tokens.into_iter().map(Value::from));
    }
}

fn argument_error(message: &str, codes: &[String]) -> Answer {
    let body = json!({"status_code": 210, "status_message": message, "response": {"Messages": codes}});
    Answer::json(200, &body)
}

#[cfg(test)]
mod tests;
