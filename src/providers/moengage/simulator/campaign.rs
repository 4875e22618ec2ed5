//! What the documentation says of a `sendpush` body.

use jiff::civil::{Date, Time};
use serde_json::Value;

const MIN_NAME_CHARS: usize = 5;
const MAX_GOALS: usize = 5;
const MAX_ATTRIBUTE_VALUES: usize = 50;
const PLATFORMS: [&str; 3] = ["ANDROID", "IOS", "WEB"];

/// The campaign's name; empty when it has none.
pub(super) fn name(content: &Value) -> &str {
    text(content, "campaignName").unwrap_or_default()
}

/// Whether the audience is `User`.
pub(super) fn is_for_single_users(content: &Value) -> bool {
    text(content, "targetAudience") == Some("User")
}

/// What is wrong with the body, if anything. Never repeats a value of it.
pub(super) fn problem(content: &Value) -> Option<String> {
    identity(content)
        .or_else(|| platforms(content))
        .or_else(|| audience(content))
        .or_else(|| delivery(content))
        .or_else(|| goals(content))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn identity(content: &Value) -> Option<String> {
    let problem = if text(content, "appId").is_none_or(str::is_empty) {
        "appId is missing or not correct"
    } else if content.get("requestType").is_some_and(|kind| kind.as_str() != Some("push")) {
        "Request type is not correct"
    } else if name(content).is_empty() {
        "Campaign Name not found"
    } else if name(content).chars().count() < MIN_NAME_CHARS {
        "Campaign Name must have at least 5 characters"
    } else if !text(content, "signature").is_some_and(is_digest) {
        "Signature is missing or not correct"
    } else {
        return None;
    };
    Some(problem.to_owned())
}

fn is_digest(signature: &str) -> bool {
    signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn platforms(content: &Value) -> Option<String> {
    let Some(Value::Array(list)) = content.get("targetPlatform") else {
        return Some("targetPlatform is not of list type".to_owned());
    };
    let known = |platform: &Value| platform.as_str().is_some_and(|word| PLATFORMS.contains(&word));
    if list.is_empty() || !list.iter().all(known) {
        return Some("targetPlatform has a value that is not allowed".to_owned());
    }
    let Some(Value::Object(payload)) = content.get("payload") else {
        return Some("payload is missing".to_owned());
    };
    let complete = |platform: &str| {
        let parts: &[&str] = if platform == "WEB" {
            &["message", "title", "redirectURL", "iconURL"]
        } else {
            &["message", "title"]
        };
        payload.get(platform).is_some_and(|one| parts.iter().all(|part| text(one, part).is_some()))
    };
    let missing = list.iter().filter_map(Value::as_str).find(|platform| !complete(platform))?;
    Some(format!("payload of {missing} is not complete"))
}

fn audience(content: &Value) -> Option<String> {
    let problem = match text(content, "targetAudience") {
        Some("All Users") => return None,
        Some("Custom Segment") if text(content, "customSegmentName").is_some_and(|s| !s.is_empty()) => {
            return None;
        }
        Some("Custom Segment") => "customSegmentName is missing",
        Some("User") => return attributes(content.get("targetUserAttributes")),
        Some(_) | None => "targetAudience has a value that is not allowed",
    };
    Some(problem.to_owned())
}

fn attributes(attributes: Option<&Value>) -> Option<String> {
    let Some(attributes) = attributes.filter(|value| value.is_object()) else {
        return Some("targetUserAttributes is missing".to_owned());
    };
    let value = attributes.get("attributeValue");
    let fits = match text(attributes, "comparisonParameter") {
        Some("is") => value.is_some_and(Value::is_string),
        Some("in") => {
            let list = value.and_then(Value::as_array);
            list.is_some_and(|list| (1..=MAX_ATTRIBUTE_VALUES).contains(&list.len()))
        }
        Some(_) | None => false,
    };
    let named = text(attributes, "attribute").is_some_and(|attribute| !attribute.is_empty());
    (!fits || !named).then(|| "targetUserAttributes are not correct".to_owned())
}

fn delivery(content: &Value) -> Option<String> {
    let Some(delivery) = content.get("campaignDelivery").filter(|value| value.is_object()) else {
        return Some("campaignDelivery is missing".to_owned());
    };
    let date = |key: &str| {
        text(delivery, key).is_some_and(|date| date.len() == 10 && Date::strptime("%m/%d/%Y", date).is_ok())
    };
    let time = text(delivery, "time").is_some_and(|t| t.len() == 8 && Time::strptime("%I:%M %p", t).is_ok());
    let fits = match text(delivery, "type") {
        Some("soon") => true,
        Some("later") => date("date") && time,
        Some("periodic") => date("endDate") && time && text(delivery, "repeatAfter").is_some(),
        Some(_) | None => false,
    };
    (!fits).then(|| "campaignDelivery is not correct".to_owned())
}

fn goals(content: &Value) -> Option<String> {
    let goals = content.get("conversionGoals")?;
    let fits = goals.as_array().is_some_and(|list| list.len() <= MAX_GOALS);
    (!fits).then(|| "conversionGoals must be a list of at most 5".to_owned())
}
