//! `updateCampaign`: whole objects of a campaign in place of those it had.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::campaign::Delivery;
use super::campaigns::{Campaign, Campaigns, Status};
use super::errors::{self, Problem};
use super::request_id;
use crate::simulator::{Answer, Call, Fate, Moment, Performed};

/// The objects that can be changed.
const BLOCKS: [&str; 10] = [
    "basic_details",
    "campaign_content",
    "trigger_condition",
    "segmentation_details",
    "control_group_details",
    "scheduling_details",
    "conversion_goal_details",
    "delivery_controls",
    "advanced",
    "utm_params",
];

/// Those that are closed while a campaign is active.
const CLOSED_WHILE_ACTIVE: [&str; 3] =
    ["trigger_condition", "segmentation_details", "conversion_goal_details"];

const PLATFORMS: [&str; 3] = ["ANDROID", "IOS", "WEB"];

/// Changes a campaign.
pub(super) fn perform(call: &Call, campaigns: &mut Campaigns, now: Moment) -> Performed {
    match change(call, campaigns, now.wall) {
        Ok(()) => Performed { answer: Answer::empty(204), fates: vec![Fate::Done] },
        Err(answer) => Performed { answer, fates: vec![Fate::Refused] },
    }
}

fn change(call: &Call, campaigns: &mut Campaigns, now: Timestamp) -> Result<(), Answer> {
    let id = request_id(&call.content);
    let refused = |problem| errors::bad_request(&problem, id);
    let body = body(&call.content).map_err(refused)?;
    let found = campaigns.newest_first().find(|(_, campaign)| campaign.id == call.subject);
    let (number, campaign) = found.ok_or_else(|| errors::not_found(id))?;
    let mut campaign = campaign.clone();
    open(&campaign, body, now).map_err(refused)?;
    reschedule(&mut campaign, body, now).map_err(refused)?;
    let mut blocks = campaign.blocks();
    for block in BLOCKS.into_iter().filter_map(|name| Some((name, body.get(name)?))) {
        blocks.insert(block.0.to_owned(), block.1.clone());
    }
    campaign.set_blocks(blocks);
    campaign.updated = Some((now, text(body, "updated_by").unwrap_or_default().to_owned()));
    campaigns.replace(number, campaign);
    Ok(())
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The body, if it is well formed.
fn body(content: &Value) -> Result<&Map<String, Value>, Problem> {
    let body = content.as_object().ok_or_else(|| Problem::new("body", "The body is not a JSON object"))?;
    for key in ["request_id", "updated_by"] {
        if text(body, key).is_none() {
            return Err(Problem::new(key, format!("{key} key is mandatory field")));
        }
    }
    if !text(body, "updated_by").is_some_and(is_email) {
        return Err(Problem::new("updated_by", "updated_by must be an email id"));
    }
    let no_object = |name: &&str| body.get(*name).is_some_and(|block| !block.is_object());
    if let Some(name) = BLOCKS.into_iter().find(no_object) {
        return Err(Problem::new(name, format!("{name} must be an object")));
    }
    platforms(body)?;
    control_group(body)?;
    Ok(body)
}

/// A host need not have a dot, and what is quoted before it may hold anything but blanks.
pub(super) fn is_email(text: &str) -> bool {
    let quoted = |user: &str| user.len() > 2 && user.starts_with('"') && user.ends_with('"');
    let plain = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(user, host)| plain(user) && plain(host) && (quoted(user) || !user.contains('@')))
}

fn platforms(body: &Map<String, Value>) -> Result<(), Problem> {
    let Some(given) = body.get("basic_details").and_then(|details| details.get("platforms")) else {
        return Ok(());
    };
    let known = |platform: &Value| platform.as_str().is_some_and(|word| PLATFORMS.contains(&word));
    match given.as_array() {
        Some(list) if !list.is_empty() && list.iter().all(known) => Ok(()),
        Some(_) | None => Err(Problem::new("platforms", "platforms must be a list of ANDROID, IOS, WEB")),
    }
}

/// The sample writes the percentage as a text, the schema wants a number: both are taken.
fn control_group(body: &Map<String, Value>) -> Result<(), Problem> {
    let Some(details) = body.get("control_group_details") else { return Ok(()) };
    let percentage = details.get("campaign_control_group_percentage");
    let number = percentage
        .and_then(|value| value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok())));
    let on = details.get("is_campaign_control_group_enabled").and_then(Value::as_bool) == Some(true);
    match (percentage, number) {
        (None, _) if !on => Ok(()),
        (Some(_), Some(number)) if (0.0..=100.0).contains(&number) => Ok(()),
        _ => Err(Problem::new(
            "campaign_control_group_percentage",
            "campaign_control_group_percentage must be from 0 to 100",
        )),
    }
}

/// Whether the campaign's state allows such a change.
fn open(campaign: &Campaign, body: &Map<String, Value>, now: Timestamp) -> Result<(), Problem> {
    let status = campaign.status(now);
    match status {
        Status::Stopped | Status::Archived => {
            let word = status.as_str().to_lowercase();
            return Err(Problem::new("campaign_id", format!("A campaign that is {word} can't be updated")));
        }
        Status::Active | Status::Scheduled | Status::Paused | Status::Sent => {}
    }
    let scheduling = body.get("scheduling_details").and_then(Value::as_object);
    let had = campaign.blocks();
    let had = had.get("scheduling_details");
    let changes = |key: &str| {
        let new = scheduling.and_then(|scheduling| scheduling.get(key));
        new.is_some() && new != had.and_then(|had| had.get(key))
    };
    if changes("delivery_type") {
        return Err(Problem::new("delivery_type", "The scheduling type of a campaign can't be changed"));
    }
    if status != Status::Active {
        return Ok(());
    }
    let closed = CLOSED_WHILE_ACTIVE.into_iter().find(|name| body.contains_key(*name));
    match closed.or_else(|| changes("start_time").then_some("start_time")) {
        Some(name) => Err(Problem::new(name, format!("{name} of an active campaign can't be changed"))),
        None => Ok(()),
    }
}

/// Takes over a new time of sending or a new end.
fn reschedule(campaign: &mut Campaign, body: &Map<String, Value>, now: Timestamp) -> Result<(), Problem> {
    let Some(scheduling) = body.get("scheduling_details") else { return Ok(()) };
    let start = time(scheduling, "start_time")?;
    let expiry = time(scheduling, "expiry_time")?;
    let waiting = campaign.status(now) != Status::Sent;
    campaign.delivery = match campaign.delivery {
        Delivery::At(_) if waiting => start.map_or(campaign.delivery, Delivery::At),
        Delivery::Until(_) if waiting => expiry.map_or(campaign.delivery, Delivery::Until),
        Delivery::Once | Delivery::Reused | Delivery::At(_) | Delivery::Until(_) => campaign.delivery,
    };
    Ok(())
}

fn time(scheduling: &Value, key: &'static str) -> Result<Option<Timestamp>, Problem> {
    let Some(given) = scheduling.get(key) else { return Ok(None) };
    let read = given.as_str().and_then(|text| DateTime::strptime("%Y-%m-%dT%H:%M:%S", text).ok());
    let time = read.and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
    time.map(Some).ok_or_else(|| Problem::new(key, format!("{key} must be YYYY-MM-DDTHH:MM:SS")))
}

#[cfg(test)]
mod tests;
