//! A letter as a person may see it: without credentials, device tokens and names of users.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Facts;
use super::facts::plain;
use crate::pipeline::decode::is_credential;
use crate::pipeline::envelope::HISTORY;
use crate::pipeline::trail::Trail;
use crate::ports::Letter;

/// Members, of any object in a payload, whose values say who gets a push; capitals don't matter.
const WHO: [&str; 16] = [
    "devices",
    "users",
    "user_ids",
    "userid",
    "user_id",
    "hwid",
    "hwids",
    "push_token",
    "push_tokens",
    "device_token",
    "device_tokens",
    "tokens",
    "emails",
    "phones",
    "attributeValue",
    "customer_id",
];

/// A text this long shows its last four characters, so that a person can recognise what is known.
const TELLING: usize = 16;

/// A letter as a person may see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What it says of itself.
    #[serde(flatten)]
    pub facts: Facts,
    /// When the first request was made for it, where that is known.
    pub first_attempt_at: Option<Timestamp>,
    /// The attempts before the last one, oldest first: the first and the last fifteen of many.
    pub history: Vec<Tried>,
    /// The queue that also gets its receipts.
    pub reply_to: Option<String>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// Its job, masked; `None` where the body is no JSON object.
    pub job: Option<Value>,
}

/// An attempt that was followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// When it was made.
    pub at: Timestamp,
    /// What came of it.
    pub result: String,
}

/// Masks a letter.
pub fn masked(letter: &Letter) -> Shown {
    let header = |name: &str| letter.properties.header(name);
    let job = serde_json::from_slice::<Value>(&letter.body).ok().filter(Value::is_object);
    Shown {
        facts: Facts::of(letter),
        first_attempt_at: header("paceline-first-attempt-at").and_then(|text| text.parse().ok()),
        history: header(HISTORY).map(tried_of).unwrap_or_default(),
        reply_to: letter.properties.reply_to.as_deref().map(plain),
        traceparent: header("traceparent").map(plain),
        job: job.map(|mut job| {
            mask(&mut job, false);
            job
        }),
    }
}

fn tried_of(text: &str) -> Vec<Tried> {
    let tried = Trail::read(text).into_tried().into_iter();
    tried
        .filter_map(|one| {
            Some(Tried { at: Timestamp::from_millisecond(one.at_ms).ok()?, result: one.result })
        })
        .collect()
}

/// Masks what says who, and whatever is named like a credential.
fn mask(value: &mut Value, who: bool) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if is_credential(name) {
                    *value = Value::from("[masked]");
                } else {
                    mask(value, who || WHO.iter().any(|known| known.eq_ignore_ascii_case(name)));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, who)),
        Value::String(text) if who => *text = mask_text(text),
        Value::Number(_) if who => *value = Value::from("[masked]"),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

fn mask_text(text: &str) -> String {
    let count = text.chars().count();
    if count < TELLING {
        return "[masked]".to_owned();
    }
    let end: String = text.chars().skip(count - 4).collect();
    format!("[masked]{end}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::letters::filter::testing::letter;

    #[test]
    fn nobody_and_no_credential_can_be_recognised() {
        let cases = [
            (
                json!({"payload": {"notifications": [{"content": "Hi", "devices": ["short", "0123456789abcdef"]}]}}),
                json!({"payload": {"notifications": [{"content": "Hi", "devices": ["[masked]", "[masked]cdef"]}]}}),
            ),
            (
                json!({"payload": {"users": ["u", 7], "Auth": "s", "request": {"auth": {"x": "s"}}}}),
                json!({"payload": {"users": ["[masked]", "[masked]"], "Auth": "[masked]", "request": {"auth": "[masked]"}}}),
            ),
            (
                json!({"payload": {"targetUserAttributes": {"attribute": "ID", "attributeValue": "1234"}}}),
                json!({"payload": {"targetUserAttributes": {"attribute": "ID", "attributeValue": "[masked]"}}}),
            ),
            (
                json!({"meta": {"deep": {"hwid": {"a": ["x"]}}}, "n": 1.50}),
                json!({"meta": {"deep": {"hwid": {"a": ["[masked]"]}}}, "n": 1.50}),
            ),
        ];
        for (job, expected) in cases {
            assert_eq!(masked(&letter(&job.to_string(), &[])).job, Some(expected));
        }
    }

    #[test]
    fn earlier_attempts_are_told_with_their_times() {
        let headers = [
            ("paceline-history", "5000:failed,9000:unknown"),
            ("paceline-first-attempt-at", "1970-01-01T00:00:05Z"),
        ];
        let shown = masked(&letter("{}", &headers));
        let told: Vec<String> =
            shown.history.iter().map(|tried| format!("{} {}", tried.at, tried.result)).collect();
        assert_eq!(told, ["1970-01-01T00:00:05Z failed", "1970-01-01T00:00:09Z unknown"]);
        assert_eq!(shown.first_attempt_at, Some(Timestamp::from_second(5).unwrap()));
    }

    #[test]
    fn what_is_no_object_is_not_shown_at_all() {
        for body in ["{broken \"devices\"", "\"secret\"", "[\"devices\"]", ""] {
            assert_eq!(masked(&letter(body, &[])).job, None, "{body}");
        }
    }
}
