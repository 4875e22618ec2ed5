//! `getPushHistory`: the stored messages, newest first, a page at a time.

use serde_json::{Map, Value, json};

use super::messages::{Message, Messages, Status, by_language, date, parsed, platforms};
use super::targeted::tracking_code;
use super::{ok, refused, text};
use crate::simulator::{Fate, Moment, Performed};

const SOURCES: [&str; 8] = ["CP", "API", "GeoZone", "Beacon", "RSS", "AutoPush", "Twitter", "A/B Test"];

/// Where all messages of the simulator come from.
const OWN_SOURCE: &str = "API";

const LEAST: u64 = 10;
const MOST: u64 = 1000;

/// What is asked for.
struct Query {
    limit: usize,
    search: Option<(Search, String)>,
    /// Only messages older than this one.
    before: Option<u64>,
    /// Only what another source sent: nothing.
    elsewhere: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    NotificationId,
    NotificationCode,
    ApplicationCode,
    CampaignCode,
}

impl Search {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "notificationID" => Some(Self::NotificationId),
            "notificationCode" => Some(Self::NotificationCode),
            "applicationCode" => Some(Self::ApplicationCode),
            "campaignCode" => Some(Self::CampaignCode),
            _ => None,
        }
    }

    fn finds(self, value: &str, id: u64, message: &Message) -> bool {
        match self {
            Self::NotificationId => id.to_string() == value,
            Self::NotificationCode => message.code == value,
            Self::ApplicationCode => message.applications.iter().any(|application| application == value),
            Self::CampaignCode => text(&message.members(), "campaign") == Some(value),
        }
    }
}

/// Lists messages.
pub(super) fn perform(content: &Map<String, Value>, messages: &mut Messages, now: Moment) -> Performed {
    let query = match read(content) {
        Ok(query) => query,
        Err(problem) => return refused(problem),
    };
    let rows: Vec<Value> = messages
        .newest_first()
        .filter(|(id, message)| query.takes(*id, message))
        .take(query.limit)
        .map(|(id, message)| row(id, message, now))
        .collect();
    Performed { answer: ok(json!({"rows": rows})), fates: vec![Fate::Done] }
}

fn read(content: &Map<String, Value>) -> Result<Query, &'static str> {
    Ok(Query {
        limit: limit(content)?,
        search: search(content)?,
        before: last_id(content)?,
        elsewhere: source(content)?.is_some_and(|source| source != OWN_SOURCE),
    })
}

impl Query {
    fn takes(&self, id: u64, message: &Message) -> bool {
        !self.elsewhere
            && self.before.is_none_or(|before| id < before)
            && self.search.as_ref().is_none_or(|(search, value)| search.finds(value, id, message))
    }
}

/// A member that is there and not null.
fn given<'a>(content: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    content.get(key).filter(|value| !value.is_null())
}

fn limit(content: &Map<String, Value>) -> Result<usize, &'static str> {
    let number = given(content, "limitMessages").map_or(Some(MOST), Value::as_u64);
    let limit = number.filter(|number| (LEAST..=MOST).contains(number));
    limit.map(|limit| limit as usize).ok_or("\"limitMessages\" must be an integer from 10 to 1000")
}

fn source(content: &Map<String, Value>) -> Result<Option<&str>, &'static str> {
    let Some(source) = given(content, "source") else { return Ok(None) };
    let known = source.as_str().filter(|word| SOURCES.contains(word));
    known.map(Some).ok_or("\"source\" has a value that is not allowed")
}

fn search(content: &Map<String, Value>) -> Result<Option<(Search, String)>, &'static str> {
    let word = match given(content, "searchBy") {
        None => return Ok(None),
        Some(word) => word.as_str(),
    };
    if word == Some("") {
        return Ok(None);
    }
    let search = word.and_then(Search::parse).ok_or("\"searchBy\" has a value that is not allowed")?;
    match given(content, "value") {
        Some(Value::String(value)) => Ok(Some((search, value.clone()))),
        Some(Value::Number(value)) => Ok(Some((search, value.to_string()))),
        Some(_) | None => Err("\"value\" is required with \"searchBy\""),
    }
}

/// The table spells the member one way and the text below it another. 0 and an empty text are the
/// first page.
fn last_id(content: &Map<String, Value>) -> Result<Option<u64>, &'static str> {
    let value = given(content, "lastNotificationID").or_else(|| given(content, "lastNotificationId"));
    let id = match value {
        None => Some(0),
        Some(Value::String(id)) if id.is_empty() => Some(0),
        Some(Value::String(id)) => id.parse().ok(),
        Some(value) => value.as_u64(),
    };
    match id {
        Some(0) => Ok(None),
        Some(id) => Ok(Some(id)),
        None => Err("\"lastNotificationID\" must be the id of a message"),
    }
}

/// One message. What was opened is nobody's; what was sent is as many as the message names, all of
/// them on its first platform.
fn row(id: u64, message: &Message, now: Moment) -> Value {
    let members = message.members();
    let member = |key: &str| members.get(key).cloned().unwrap_or_default();
    let page = ["rich_media", "rich_page_id", "page_id"].into_iter().find_map(|key| members.get(key));
    json!({
        "id": id,
        "code": message.code,
        "createDate": date(message.created),
        "sendDate": date(message.send_at),
        "content": by_language(members.get("content")),
        "title": by_language(members.get("title")),
        "subtitle": by_language(members.get("subtitle")),
        "url": member("link"),
        "ios_title": member("ios_title"),
        "ios_subtitle": member("ios_subtitle"),
        "ios_root_params": member("ios_root_params"),
        "android_header": member("android_header"),
        "android_root_params": member("android_root_params"),
        "conditions": member("conditions"),
        "conditions_operator": text(&members, "conditions_operator").unwrap_or("AND"),
        "filter_code": null,
        "filter_name": member("filter"),
        "filter_conditions": null,
        "richPageId": page,
        "geozone": member("geozone"),
        "campaignId": text(&members, "campaign").unwrap_or_default(),
        "campaignName": "",
        "subscription_segments": null,
        "data": members.get("data").map(parsed),
        "trackingCode": tracking_code(&message.code),
        "open": statistics(message, now, |platform| json!({platform: 0})),
        "sent": statistics(message, now, |platform| json!({platform: message.targets})),
        "ctr": statistics(message, now, |_| json!(0)),
        "errors": "",
    })
}

/// Figures by application; an empty text where there are none.
fn statistics(message: &Message, now: Moment, figures: impl Fn(&str) -> Value) -> Value {
    let sent = message.status(now.wall) == Status::Done;
    if !sent || message.applications.is_empty() {
        return json!("");
    }
    let platform = platforms(&message.members()).first().map_or("IOS", |&platform| platform_name(platform));
    message.applications.iter().map(|application| (application.clone(), figures(platform))).collect()
}

/// As the documentation's samples write them.
fn platform_name(platform: i64) -> &'static str {
    match platform {
        3 => "ANDROID",
        7 => "OSX",
        8 => "WINDOWS",
        9 => "AMAZON",
        10 => "SAFARI",
        11 => "CHROME",
        12 => "FIREFOX",
        13 => "IE",
        17 => "HUAWEI_ANDROID",
        18 => "SMS",
        _ => "IOS",
    }
}

#[cfg(test)]
mod tests;
