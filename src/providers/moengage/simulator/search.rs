//! `searchCampaigns`: the stored campaigns that fit some filters, newest first, a page at a time.
//!
//! What the documentation leaves open: a name fits as a whole, and the order is as said above.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::campaigns::{CREATOR, Campaign, Campaigns, Status};
use super::errors::{self, Problem};
use super::request_id;
use super::update::is_email;
use crate::simulator::{Answer, Call, Fate, Moment, Performed};

const MOST: u64 = 15;

/// What every campaign here is.
const CHANNEL: &str = "PUSH";
const CHANNELS: [&str; 3] = [CHANNEL, "EMAIL", "SMS"];
/// With the two spellings of the one that businesses trigger.
const DELIVERY_TYPES: [&str; 8] = [
    "ONE_TIME",
    "PERIODIC",
    "EVENT_TRIGGERED",
    "BUSINESS_EVENT_TRIGGERED",
    "BUSINESS_TRIGGERED",
    "DEVICE_TRIGGERED",
    "LOCATION_TRIGGERED",
    "BROADCAST_LIVE_ACTIVITY",
];

/// What is asked for.
struct Query {
    limit: usize,
    skip: usize,
    filters: Filters,
    archived_too: bool,
}

/// An absent filter lets everything through.
#[derive(Default)]
struct Filters {
    channels: Option<Vec<String>>,
    created_by: Option<Vec<String>>,
    created_from: Option<Date>,
    created_to: Option<Date>,
    delivery_type: Option<Vec<String>>,
    id: Option<String>,
    name: Option<String>,
    status: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// Lists campaigns: a bare array.
pub(super) fn perform(call: &Call, campaigns: &mut Campaigns, now: Moment) -> Performed {
    let query = match read(&call.content) {
        Ok(query) => query,
        Err(problem) => {
            let answer = errors::bad_request(&problem, request_id(&call.content));
            return Performed { answer, fates: vec![Fate::Refused] };
        }
    };
    let found: Vec<Value> = campaigns
        .newest_first()
        .filter(|(_, campaign)| query.takes(campaign, now.wall))
        .skip(query.skip)
        .take(query.limit)
        .map(|(_, campaign)| described(campaign, now.wall))
        .collect();
    Performed { answer: Answer::json(200, &Value::from(found)), fates: vec![Fate::Done] }
}

fn read(content: &Value) -> Result<Query, Problem> {
    let body = content.as_object().ok_or_else(|| Problem::new("body", "The body is not a JSON object"))?;
    if request_id(content).is_empty() {
        return Err(Problem::new("request_id", "request_id key is mandatory field"));
    }
    let limit = number(body, "limit", MOST)?;
    let page = number(body, "page", u64::MAX)?;
    flag(body, "include_child_campaigns")?;
    let filters = match body.get("campaign_fields") {
        None => Filters::default(),
        Some(Value::Object(fields)) => filters(fields)?,
        Some(_) => return Err(Problem::new("campaign_fields", "campaign_fields must be an object")),
    };
    let skip = usize::try_from((page - 1).saturating_mul(limit)).unwrap_or(usize::MAX);
    let archived_too = flag(body, "include_archive_campaigns")?;
    Ok(Query { limit: limit as usize, skip, filters, archived_too })
}

fn number(body: &Map<String, Value>, key: &'static str, most: u64) -> Result<u64, Problem> {
    let Some(given) = body.get(key) else {
        return Err(Problem::new(key, format!("{key} key is mandatory field")));
    };
    let fitting = given.as_u64().filter(|number| (1..=most).contains(number));
    fitting.ok_or_else(|| match most {
        u64::MAX => Problem::new(key, format!("{key} must be an integer from 1")),
        most => Problem::new(key, format!("{key} must be an integer from 1 to {most}")),
    })
}

fn flag(body: &Map<String, Value>, key: &'static str) -> Result<bool, Problem> {
    match body.get(key) {
        None => Ok(false),
        Some(given) => given.as_bool().ok_or_else(|| Problem::new(key, format!("{key} must be a boolean"))),
    }
}

fn filters(fields: &Map<String, Value>) -> Result<Filters, Problem> {
    let statuses = Status::ALL.map(Status::as_str);
    if fields.get("created_date").is_some_and(|dates| !dates.is_object()) {
        return Err(Problem::new("created_date", "created_date must be an object"));
    }
    Ok(Filters {
        channels: words(fields, "channels", |word| is_one_of(&CHANNELS, word))?,
        created_by: words(fields, "created_by", is_email)?,
        created_from: date(fields, "from_date")?,
        created_to: date(fields, "to_date")?,
        delivery_type: words(fields, "delivery_type", |word| is_one_of(&DELIVERY_TYPES, word))?,
        id: word(fields, "id")?,
        name: word(fields, "name")?,
        status: words(fields, "status", |word| is_one_of(&statuses, word))?,
        tags: words(fields, "tags", |_| true)?,
    })
}

fn is_one_of(known: &[&str], word: &str) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn word(fields: &Map<String, Value>, key: &'static str) -> Result<Option<String>, Problem> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(word)) => Ok(Some(word.clone())),
        Some(_) => Err(Problem::new(key, format!("{key} must be a string"))),
    }
}

fn words(
    fields: &Map<String, Value>,
    key: &'static str,
    fits: impl Fn(&str) -> bool,
) -> Result<Option<Vec<String>>, Problem> {
    let Some(given) = fields.get(key) else { return Ok(None) };
    let list = given.as_array().ok_or_else(|| Problem::new(key, format!("{key} must be a list")))?;
    let fitting = |value: &Value| value.as_str().filter(|word| fits(word)).map(str::to_owned);
    let words = list.iter().map(fitting).collect::<Option<Vec<String>>>();
    words.map(Some).ok_or_else(|| Problem::new(key, format!("{key} has a value that is not allowed")))
}

/// An end of `created_date`; neither is said to be needed. The sample writes the day first, the
/// schema recommends the year first: both are taken.
fn date(fields: &Map<String, Value>, key: &'static str) -> Result<Option<Date>, Problem> {
    let Some(given) = fields.get("created_date").and_then(|dates| dates.get(key)) else { return Ok(None) };
    let text = given.as_str().filter(|text| text.len() == 10);
    let read = |form| text.and_then(|text| Date::strptime(form, text).ok());
    let date = read("%Y-%m-%d").or_else(|| read("%d-%m-%Y"));
    date.map(Some).ok_or_else(|| Problem::new(key, format!("{key} must be YYYY-MM-DD or DD-MM-YYYY")))
}

impl Query {
    fn takes(&self, campaign: &Campaign, now: Timestamp) -> bool {
        let status = campaign.status(now);
        (self.archived_too || status != Status::Archived) && self.filters.take(campaign, status)
    }
}

impl Filters {
    fn take(&self, campaign: &Campaign, status: Status) -> bool {
        let among = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| one.eq_ignore_ascii_case(word)))
        };
        let day = campaign.created.to_zoned(TimeZone::UTC).date();
        among(&self.channels, CHANNEL)
            && among(&self.created_by, CREATOR)
            && self.created_from.is_none_or(|from| from <= day)
            && self.created_to.is_none_or(|to| day <= to)
            && among(&self.delivery_type, campaign.delivery_type())
            && self.id.as_ref().is_none_or(|id| *id == campaign.id)
            && among(&self.status, status.as_str())
            && self.take_details(campaign)
    }

    /// By what stands in the campaign's objects, which are read only where it is asked for.
    fn take_details(&self, campaign: &Campaign) -> bool {
        if self.name.is_none() && self.tags.is_none() {
            return true;
        }
        let blocks = campaign.blocks();
        let detail = |key: &str| blocks.get("basic_details").and_then(|details| details.get(key));
        let name = detail("name").and_then(Value::as_str);
        let tags = detail("tags").and_then(Value::as_array);
        let tagged = |wanted: &Vec<String>| {
            let has = |tag: &Value| tag.as_str().is_some_and(|tag| wanted.iter().any(|one| one == tag));
            tags.is_some_and(|tags| tags.iter().any(has))
        };
        self.name.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == name)
            && self.tags.as_ref().is_none_or(tagged)
    }
}

/// A campaign as the documented answer has it. Times carry no offset.
fn described(campaign: &Campaign, now: Timestamp) -> Value {
    let written = |time: Timestamp, form: &str| time.to_zoned(TimeZone::UTC).strftime(form).to_string();
    let moment = |time| written(time, "%Y-%m-%d %H:%M:%S%.6f");
    let mut described = json!({
        "channel": CHANNEL,
        "created_by": CREATOR,
        "campaign_delivery_type": campaign.delivery_type(),
        "campaign_id": campaign.id,
        "status": campaign.status(now).as_str(),
        "created_at": moment(campaign.created),
    });
    if let Some((time, person)) = &campaign.updated {
        described["updated_at"] = json!(moment(*time));
        described["updated_by"] = json!(person);
    }
    if let Some(time) = campaign.sent(now) {
        described["sent_time"] = json!(written(time, "%Y-%m-%d %H:%M:%S"));
    }
    for (name, block) in campaign.blocks() {
        described[name] = block;
    }
    described
}

#[cfg(test)]
mod tests;
