//! What is stored of messages, and the calls about one of them: `deleteMessage`, `cancelMessage`,
//! `getMessageDetails`.
//!
//! A message with a date in the future is `waiting` until then and `done` from then on; one that
//! is sent at once is `done`. The documentation names two more states, `pending` and `processing`,
//! which a message passes through; here it takes no time. A deleted message is gone; a cancelled
//! one stays, as `canceled`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{notification, ok, refused, text};
use crate::simulator::shelf::Shelf;
use crate::simulator::{Answer, Fate, Moment, Performed};

/// The most that is stored of an account, in bytes; beyond it the oldest messages go. With short
/// contents these are some 110,000 messages (measured: 65 MB).
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What a message takes beside its members and its code, in bytes.
const OVERHEAD: usize = 500;

/// The first message's number.
const FIRST_ID: u64 = 10_000_000_001;

/// The members that the calls about messages give back.
const MEMBERS: [&str; 20] = [
    "content",
    "title",
    "subtitle",
    "link",
    "ios_title",
    "ios_subtitle",
    "ios_root_params",
    "android_header",
    "android_root_params",
    "conditions",
    "conditions_operator",
    "filter",
    "rich_media",
    "rich_page_id",
    "page_id",
    "geozone",
    "campaign",
    "data",
    "platforms",
    "ignore_user_timezone",
];

/// The platforms of a message that names none.
const EVERY_PLATFORM: [i64; 10] = [1, 3, 7, 8, 9, 10, 11, 12, 13, 17];

/// A stored message.
pub(super) struct Message {
    pub(super) code: String,
    pub(super) created: Timestamp,
    pub(super) send_at: Timestamp,
    pub(super) applications: Vec<String>,
    /// How many users or devices it names.
    pub(super) targets: usize,
    canceled: bool,
    /// Some of its members, as JSON: smaller than a tree.
    members: Box<str>,
}

/// A message's state, in the documentation's words where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Waiting,
    Done,
    Canceled,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Canceled => "canceled",
        }
    }
}

impl Message {
    pub(super) fn status(&self, now: Timestamp) -> Status {
        match (self.canceled, self.send_at <= now) {
            (true, _) => Status::Canceled,
            (false, true) => Status::Done,
            (false, false) => Status::Waiting,
        }
    }

    pub(super) fn members(&self) -> Map<String, Value> {
        // It was written from such a map.
        serde_json::from_str(&self.members).unwrap_or_default()
    }
}

/// Where a message comes from.
pub(super) struct Origin {
    /// The applications that it goes to, or the group.
    pub(super) applications: Vec<String>,
    /// The time of day.
    pub(super) now: Timestamp,
}

/// An account's stored messages.
pub(super) struct Messages(Shelf<Message>);

impl Default for Messages {
    fn default() -> Self {
        Self(Shelf::new(FIRST_ID, MOST_BYTES))
    }
}

impl Messages {
    /// Stores a message.
    pub(super) fn keep(&mut self, code: String, members: &Map<String, Value>, origin: Origin) {
        let Origin { applications, now } = origin;
        let kept: Map<String, Value> = MEMBERS
            .iter()
            .filter_map(|member| Some(((*member).to_owned(), members.get(*member)?.clone())))
            .collect();
        let count = |key: &str| members.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        let message = Message {
            code,
            created: now,
            send_at: notification::send_at(members, now).unwrap_or(now),
            applications,
            targets: if members.contains_key("users") { count("users") } else { count("devices") },
            canceled: false,
            members: Value::Object(kept).to_string().into(),
        };
        let bytes = OVERHEAD + message.members.len();
        self.0.add(message, bytes);
    }

    /// All, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.0.newest_first()
    }

    fn with_code(&self, code: &str) -> Option<u64> {
        self.0.newest_first().find(|(_, message)| message.code == code).map(|(id, _)| id)
    }

    fn with_code_or_id(&self, wanted: &str) -> Option<u64> {
        self.with_code(wanted).or_else(|| wanted.parse().ok().filter(|&id| self.0.get(id).is_some()))
    }
}

/// The code or number that a call is about.
pub(super) fn wanted(content: &Map<String, Value>) -> Option<String> {
    match content.get("message")? {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(id) if id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

const REQUIRED: &str = "\"message\" is required";
const NOT_FOUND: &str = "Message not found";

/// Deletes a scheduled message that was not sent yet.
pub(super) fn delete(content: &Map<String, Value>, messages: &mut Messages, now: Moment) -> Performed {
    let sent = "A message that has already been sent can't be deleted";
    match waiting(content, messages, now, sent) {
        Ok(id) => {
            messages.0.remove(id);
            done()
        }
        Err(problem) => refused(problem),
    }
}

/// Stops a message that is not finished.
pub(super) fn cancel(content: &Map<String, Value>, messages: &mut Messages, now: Moment) -> Performed {
    let finished = "Only a message that is pending, waiting or processing can be canceled";
    match waiting(content, messages, now, finished) {
        Ok(id) => {
            if let Some(message) = messages.0.get_mut(id) {
                message.canceled = true;
            }
            done()
        }
        Err(problem) => refused(problem),
    }
}

/// The number of a message that waits for its time.
fn waiting(
    content: &Map<String, Value>,
    messages: &Messages,
    now: Moment,
    too_late: &'static str,
) -> Result<u64, &'static str> {
    let code = text(content, "message").ok_or(REQUIRED)?;
    let id = messages.with_code(code).ok_or(NOT_FOUND)?;
    match messages.0.get(id).map(|message| message.status(now.wall)) {
        Some(Status::Waiting) => Ok(id),
        Some(Status::Done | Status::Canceled) => Err(too_late),
        None => Err(NOT_FOUND),
    }
}

/// Success of the two calls that answer with nothing.
fn done() -> Performed {
    let answer = Answer::json(200, &json!({"status_code": 200, "status_message": "OK"}));
    Performed { answer, fates: vec![Fate::Done] }
}

/// Describes a message.
pub(super) fn details(content: &Map<String, Value>, messages: &mut Messages, now: Moment) -> Performed {
    let Some(wanted) = wanted(content) else { return refused(REQUIRED) };
    let found = messages.with_code_or_id(&wanted).and_then(|id| Some((id, messages.0.get(id)?)));
    let Some((id, message)) = found else { return refused(NOT_FOUND) };
    let described = described(id, message, now.wall);
    Performed { answer: ok(json!({"message": described})), fates: vec![Fate::Done] }
}

fn described(id: u64, message: &Message, now: Timestamp) -> Value {
    let members = message.members();
    let ignore = members.get("ignore_user_timezone").is_some_and(is_on);
    let mut described = json!({
        "id": id,
        "created": date(message.created),
        "send_date": date(message.send_at),
        "status": message.status(now).as_str(),
        "content": by_language(members.get("content")),
        "platforms": Value::from(platforms(&members)).to_string(),
        "ignore_user_timezone": if ignore { "1" } else { "0" },
        "code": message.code,
    });
    if let Some(data) = members.get("data") {
        described["data"] = parsed(data);
    }
    described
}

fn is_on(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_i64() == Some(1)
}

/// The platforms that a message goes to.
pub(super) fn platforms(members: &Map<String, Value>) -> Vec<i64> {
    match members.get("platforms").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(Value::as_i64).collect(),
        None => EVERY_PLATFORM.to_vec(),
    }
}

/// A text by language; an empty list where there is none.
pub(super) fn by_language(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => json!({"default": text}),
        Some(languages @ Value::Object(_)) => languages.clone(),
        Some(_) | None => json!([]),
    }
}

/// An object that may be given as a text of JSON.
pub(super) fn parsed(value: &Value) -> Value {
    let read = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    read.unwrap_or_else(|| value.clone())
}

/// A date as the calls about messages write it, in UTC.
pub(super) fn date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests;
