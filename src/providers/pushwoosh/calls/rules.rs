//! What the payloads of these calls must keep to before anything is sent.

use serde_json::{Value, json};

use super::Call;
use crate::job::Object;
use crate::providers::account::{CREDENTIALS, refuse_credentials};
use crate::providers::pushwoosh::fields::WRAPPER;
use crate::providers::pushwoosh::rules::{CAUTION, SOURCE, check_wrapper};
use crate::providers::shape::{
    Form, Member, Place, Report, Shape, Special, check_members, describe, is_blank, object_schema, optional,
    required, unknown_members,
};

/// The message that a call is about.
pub(super) const MESSAGE: &str = "message";

/// What `createMessage` answers in place of a code for a message that is not stored.
const NO_CODE: &str = "CODE_NOT_AVAILABLE";

const SEARCH_BY: &str = "searchBy";
const VALUE: &str = "value";

/// The name in the document's table and sample.
const LAST_ID: &str = "lastNotificationID";

/// The same, as the document's prose has it.
const LAST_ID_IN_PROSE: &str = "lastNotificationId";

/// What the history can be searched by.
const SEARCHES: [&str; 4] = ["notificationID", "notificationCode", "applicationCode", "campaignCode"];

const CODE: Form = Form {
    allowed: "the message's code, a text: the messageCode in the receipt of the delivery that made it",
    pattern: r"\S",
    fits: |text| !is_blank(text),
};

const CODE_OR_ID: Shape = Shape::AnyOf {
    shapes: &[Shape::Form(CODE), WHOLE],
    allowed: "the message's code as a text, or its id as a text or a whole number",
};

const WHOLE: Shape = Shape::Integer { min: 0, max: i64::MAX };

const NULL: Shape = Shape::Special(Special {
    check: |value, place, report| {
        if !value.is_null() {
            report.add(place, describe(value), "null");
        }
    },
    schema: || json!({"type": "null"}),
});

const SOURCES: Shape = Shape::AnyOf {
    shapes: &[
        NULL,
        Shape::OneOf(&["CP", "API", "GeoZone", "Beacon", "RSS", "AutoPush", "Twitter", "A/B Test"]),
    ],
    allowed: "null, CP, API, GeoZone, Beacon, RSS, AutoPush, Twitter, A/B Test",
};

const SEARCH: Shape = Shape::AnyOf {
    shapes: &[NULL, Shape::OneOf(&[""]), Shape::OneOf(&SEARCHES)],
    allowed: "null, an empty text, notificationID, notificationCode, applicationCode, campaignCode",
};

const SEARCHED: Shape = Shape::AnyOf {
    shapes: &[NULL, Shape::Text, WHOLE],
    allowed: "a text or a whole number: what to search for; null without a search",
};

const LAST: Shape = Shape::AnyOf {
    shapes: &[Shape::Text, WHOLE],
    allowed: "the last id of the previous page, as a text or a whole number; nothing for the first page",
};

static BY_CODE: [Member; 1] = [required(MESSAGE, Shape::Form(CODE))];

static BY_CODE_OR_ID: [Member; 1] = [required(MESSAGE, CODE_OR_ID)];

static HISTORY: [Member; 6] = [
    optional("limitMessages", Shape::Integer { min: 10, max: 1000 }),
    optional("source", SOURCES),
    optional(SEARCH_BY, SEARCH),
    optional(VALUE, SEARCHED),
    optional(LAST_ID, LAST),
    optional(LAST_ID_IN_PROSE, LAST),
];

/// The documented members, without the credential.
const fn table(call: Call) -> &'static [Member] {
    match call {
        Call::DeleteMessage | Call::CancelMessage => &BY_CODE,
        Call::GetMessageDetails => &BY_CODE_OR_ID,
        Call::GetPushHistory => &HISTORY,
    }
}

/// Whether the document has such a member.
pub(super) fn is_documented(call: Call, name: &str) -> bool {
    table(call).iter().any(|member| member.name == name)
}

/// Everything that is wrong with a payload.
pub(super) fn check(call: Call, payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    refuse_credentials(payload, place, &mut report);
    if let Some(wrapped) = payload.get(WRAPPER) {
        check_wrapper(wrapped, place.member(WRAPPER), &mut report);
        return report;
    }
    check_members(table(call), payload, place, &mut report);
    match call {
        Call::DeleteMessage | Call::CancelMessage | Call::GetMessageDetails => {
            check_stored(payload, &mut report);
        }
        Call::GetPushHistory => {
            check_search(payload, &mut report);
            check_spelling(payload, &mut report);
        }
    }
    report
}

fn check_stored(payload: &Object, report: &mut Report) {
    if payload.get(MESSAGE).is_some_and(is_no_code) {
        let found = format!("{NO_CODE}, which stands for a message that is not stored");
        let allowed = "a code: a message to a few devices is not stored and has none, so it can't be \
                       deleted, cancelled or looked up";
        report.add_from(CAUTION, Place::Payload.member(MESSAGE), found, allowed);
    }
}

fn is_no_code(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim() == NO_CODE)
}

/// A search without anything to search for is a slip, whose answer could only mislead.
fn check_search(payload: &Object, report: &mut Report) {
    if searches(payload) && payload.get(VALUE).is_none_or(is_nothing) {
        let found = payload.get(VALUE).map_or_else(|| "nothing".to_owned(), describe);
        let allowed = "what to search for: searchBy names what it is";
        report.add_from(CAUTION, Place::Payload.member(VALUE), found, allowed);
    }
}

fn searches(payload: &Object) -> bool {
    payload.get(SEARCH_BY).and_then(Value::as_str).is_some_and(|by| SEARCHES.contains(&by))
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(is_blank)
}

fn check_spelling(payload: &Object, report: &mut Report) {
    if payload.contains_key(LAST_ID) && payload.contains_key(LAST_ID_IN_PROSE) {
        let found = format!("both {LAST_ID} and {LAST_ID_IN_PROSE}");
        let allowed = format!("{LAST_ID} alone");
        report.add_from(CAUTION, Place::Payload.member(LAST_ID_IN_PROSE), found, allowed);
    }
}

/// Things worth knowing that break no rule.
pub(super) fn warnings(call: Call, payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    unknown_members(&[table(call), CREDENTIALS], payload, Place::Payload, &mut report);
    match call {
        Call::DeleteMessage | Call::CancelMessage => warn_of_id(payload, &mut report),
        Call::GetMessageDetails => {}
        Call::GetPushHistory => warn_of_search(payload, &mut report),
    }
    report
}

fn warn_of_id(payload: &Object, report: &mut Report) {
    if payload.get(MESSAGE).and_then(Value::as_str).is_some_and(is_number) {
        let allowed = "this, if it is a code: only getMessageDetails is documented to take ids";
        report.add(Place::Payload.member(MESSAGE), "a text of digits only, which looks like an id", allowed);
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn warn_of_search(payload: &Object, report: &mut Report) {
    let place = Place::Payload;
    let value = payload.get(VALUE);
    if !searches(payload) && value.is_some_and(|value| !is_nothing(value)) {
        let allowed = "this, but without searchBy nothing is searched for";
        report.add(place.member(VALUE), "a value without searchBy", allowed);
    }
    if value.is_some_and(is_no_code) {
        let allowed = "this, but a message that is not stored can't be found by it";
        report.add(place.member(VALUE), NO_CODE, allowed);
    }
    for name in [LAST_ID, LAST_ID_IN_PROSE] {
        if payload.get(name).and_then(Value::as_str).is_some_and(|text| !is_number(text)) {
            let allowed = "the id of a message, which is a number";
            report.add(place.member(name), "a text that is no number", allowed);
        }
    }
}

/// A member as it is sent. Where the document is read generously, its own table is written: ids of
/// messages are texts there, and one name has two spellings.
pub(super) fn as_documented(call: Call, name: &str, value: &Value) -> (String, Value) {
    let as_text = |value: &Value| match value {
        Value::Number(id) => Value::from(id.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => value.clone(),
    };
    let (name, value) = match call {
        Call::DeleteMessage | Call::CancelMessage => (name, value.clone()),
        Call::GetMessageDetails if name == MESSAGE => (name, as_text(value)),
        Call::GetMessageDetails => (name, value.clone()),
        Call::GetPushHistory if name == VALUE => (name, as_text(value)),
        Call::GetPushHistory if name == LAST_ID || name == LAST_ID_IN_PROSE => (LAST_ID, as_text(value)),
        Call::GetPushHistory => (name, value.clone()),
    };
    (name.to_owned(), value)
}

/// The JSON Schema (2020-12) of a payload. It accepts at least what [`check`] accepts.
pub(super) fn schema(call: Call) -> Value {
    let mut payload = object_schema(&[table(call), CREDENTIALS]);
    payload["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    payload["title"] = format!("Pushwoosh {}, the inside of `request`", call.name()).into();
    payload["properties"][WRAPPER] = json!(false);
    match call {
        Call::DeleteMessage | Call::CancelMessage | Call::GetMessageDetails => {
            payload["properties"][MESSAGE]["not"] = json!({"const": NO_CODE});
        }
        Call::GetPushHistory => {
            payload["if"] = json!({"properties": {SEARCH_BY: {"enum": SEARCHES}}, "required": [SEARCH_BY]});
            // A pattern speaks of texts only.
            payload["then"] = json!({
                "properties": {VALUE: {"type": ["string", "integer"], "pattern": r"\S"}},
                "required": [VALUE],
            });
            payload["not"] = json!({"required": [LAST_ID, LAST_ID_IN_PROSE]});
        }
    }
    payload
}

#[cfg(test)]
mod tests;
