//! What the documentation says of a `sendpush` body.
//!
//! Here is what stands at its top, and the time of sending; of the objects inside, `target`,
//! `content`, `goals` and `settings` each read one. `part` is how they name what an object holds.
//! What is not documented is let through.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde_json::Value;

mod content;
mod goals;
mod part;
mod settings;
mod target;

use part::{is_filled, is_texts};

/// The timezone where none is named.
const INDIA: &str = "Asia/Calcutta";

const MIN_NAME_CHARS: usize = 5;
const PLATFORMS: [&str; 3] = ["ANDROID", "IOS", "WEB"];

/// When a campaign is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// At once.
    Once,
    /// At once, and again by each request under its name.
    Reused,
    /// At this time.
    At(Timestamp),
    /// Again and again until then.
    Until(Timestamp),
}

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
        .or_else(|| content::problem(content))
        .or_else(|| audience(content))
        .or_else(|| delivery_problem(content))
        .or_else(|| tags(content))
        .or_else(|| goals::problem(content.get("conversionGoals")?))
        .or_else(|| settings::problem(content.get("advancedSettings")?))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn identity(content: &Value) -> Option<String> {
    let problem = if text(content, "appId").is_none_or(str::is_empty) {
        "appId is missing or not correct"
    } else if content.get("requestType").is_some_and(|kind| kind.as_str() != Some("push")) {
        "Request type is not correct"
    } else if name(content).trim().is_empty() {
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
    None
}

fn audience(content: &Value) -> Option<String> {
    let problem = match text(content, "targetAudience") {
        Some("All Users") => return None,
        Some("Custom Segment") if content.get("customSegmentName").is_some_and(is_filled) => return None,
        Some("Custom Segment") => "customSegmentName is missing",
        Some("User") => return target::problem(content.get("targetUserAttributes")),
        Some(_) | None => "targetAudience has a value that is not allowed",
    };
    Some(problem.to_owned())
}

fn delivery_problem(content: &Value) -> Option<String> {
    let problem = match content.get("campaignDelivery") {
        Some(Value::Object(_)) if delivery(content).is_some() => return None,
        Some(Value::Object(_)) => "campaignDelivery is not correct",
        Some(_) | None => "campaignDelivery is missing",
    };
    Some(problem.to_owned())
}

/// When the campaign is to be sent; `None` where that is not well formed.
pub(super) fn delivery(content: &Value) -> Option<Delivery> {
    let delivery = content.get("campaignDelivery")?;
    match text(delivery, "type")? {
        "soon" if is_for_single_users(content) => Some(Delivery::Reused),
        "soon" => Some(Delivery::Once),
        "later" => moment(delivery, "date").map(Delivery::At),
        "periodic" => {
            text(delivery, "repeatAfter")?.parse::<u32>().ok().filter(|&days| days > 0)?;
            moment(delivery, "endDate").map(Delivery::Until)
        }
        _ => None,
    }
}

fn moment(delivery: &Value, date_key: &str) -> Option<Timestamp> {
    let date = text(delivery, date_key).filter(|date| date.len() == 10)?;
    let capitals = |time: &str| time.ends_with(" AM") || time.ends_with(" PM");
    let time = text(delivery, "time").filter(|time| time.len() == 8 && capitals(time))?;
    let date = Date::strptime("%m/%d/%Y", date).ok()?;
    let time = Time::strptime("%I:%M %p", time).ok()?;
    let zone = delivery.get("timezone").map_or(Some(INDIA), Value::as_str)?;
    TimeZone::get(zone).ok()?.to_timestamp(date.to_datetime(time)).ok()
}

fn tags(content: &Value) -> Option<String> {
    let tags = content.get("campaignTags")?;
    (!is_texts(tags))
        .then(|| "campaignTags is not of list type or has a value that is not allowed".to_owned())
}

#[cfg(test)]
mod tests;
