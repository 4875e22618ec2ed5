//! What is stored of campaigns. All are made by `sendPush`, hence by API, and can be changed.
//!
//! A campaign's state follows from its delivery: `soon` is `Sent` at once, `later` is `Scheduled`
//! until its time and `Sent` from then on, `periodic` is `Active` until its end and `Sent` from then
//! on. One for single users stays `Active`: later requests go on using it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::campaign::{self, Delivery};
use crate::simulator::shelf::Shelf;

/// The most that is stored of a workspace, in bytes; beyond it the oldest campaigns go. With short
/// messages these are some 47,000 campaigns (1,400 bytes each, measured).
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What a campaign takes beside its blocks, in bytes.
const OVERHEAD: usize = 700;

/// The creator of every campaign; `sendPush` does not name a person.
pub(super) const CREATOR: &str = "push-api@simulator.invalid";

/// A stored campaign.
#[derive(Clone)]
pub(super) struct Campaign {
    pub(super) id: String,
    pub(super) delivery: Delivery,
    pub(super) created: Timestamp,
    /// When and by whom it was changed last.
    pub(super) updated: Option<(Timestamp, String)>,
    marked: Option<Status>,
    /// The documented objects, as JSON: smaller than a tree.
    blocks: Box<str>,
}

/// A campaign's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Scheduled,
    Paused,
    Sent,
    Stopped,
    Archived,
}

impl Status {
    pub(super) const ALL: [Self; 6] =
        [Self::Active, Self::Scheduled, Self::Paused, Self::Sent, Self::Stopped, Self::Archived];

    /// As the documentation's samples write it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Scheduled => "Scheduled",
            Self::Paused => "Paused",
            Self::Sent => "Sent",
            Self::Stopped => "Stopped",
            Self::Archived => "Archived",
        }
    }

    fn marked(name: &str) -> Option<Self> {
        let markers = [("paused", Self::Paused), ("stopped", Self::Stopped), ("archived", Self::Archived)];
        markers.into_iter().find(|(marker, _)| name.starts_with(marker)).map(|(_, status)| status)
    }
}

impl Campaign {
    pub(super) fn status(&self, now: Timestamp) -> Status {
        let sent_from = |time: Timestamp, before| if time <= now { Status::Sent } else { before };
        let by_delivery = match self.delivery {
            Delivery::Once => Status::Sent,
            Delivery::Reused => Status::Active,
            Delivery::At(time) => sent_from(time, Status::Scheduled),
            Delivery::Until(end) => sent_from(end, Status::Active),
        };
        self.marked.unwrap_or(by_delivery)
    }

    /// When it was sent, if it is.
    pub(super) fn sent(&self, now: Timestamp) -> Option<Timestamp> {
        let time = match self.delivery {
            Delivery::Once | Delivery::Reused => self.created,
            Delivery::At(time) | Delivery::Until(time) => time.max(self.created),
        };
        (self.status(now) == Status::Sent).then_some(time)
    }

    /// One of the documented delivery types.
    pub(super) const fn delivery_type(&self) -> &'static str {
        match self.delivery {
            Delivery::Once | Delivery::Reused | Delivery::At(_) => "ONE_TIME",
            Delivery::Until(_) => "PERIODIC",
        }
    }

    pub(super) fn blocks(&self) -> Map<String, Value> {
        // It was written from such a map.
        serde_json::from_str(&self.blocks).unwrap_or_default()
    }

    pub(super) fn set_blocks(&mut self, blocks: Map<String, Value>) {
        self.blocks = Value::Object(blocks).to_string().into();
    }
}

/// A workspace's stored campaigns.
pub(super) struct Campaigns(Shelf<Campaign>);

impl Default for Campaigns {
    fn default() -> Self {
        Self(Shelf::new(1, MOST_BYTES))
    }
}

impl Campaigns {
    /// Stores what a well-formed `sendPush` body describes.
    pub(super) fn make(&mut self, id: String, content: &Value, now: Timestamp) {
        let delivery = campaign::delivery(content).unwrap_or(Delivery::Once);
        let mut campaign = Campaign {
            id,
            delivery,
            created: now,
            updated: None,
            marked: Status::marked(campaign::name(content)),
            blocks: "".into(),
        };
        campaign.set_blocks(blocks(content, delivery, now));
        let bytes = OVERHEAD + campaign.blocks.len();
        self.0.add(campaign, bytes);
    }

    /// All, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (u64, &Campaign)> {
        self.0.newest_first()
    }

    /// Puts a changed campaign in its place.
    pub(super) fn replace(&mut self, number: u64, campaign: Campaign) {
        let bytes = OVERHEAD + campaign.blocks.len();
        self.0.replace(number, campaign, bytes);
    }
}

/// A date-time of the campaign API, in UTC without an offset.
pub(super) fn date_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The objects of a campaign that `sendPush` makes.
fn blocks(content: &Value, delivery: Delivery, now: Timestamp) -> Map<String, Value> {
    let all = json!({
        "basic_details": {
            "name": campaign::name(content),
            "platforms": content.get("targetPlatform"),
            "tags": content.get("campaignTags").cloned().unwrap_or_else(|| json!([])),
        },
        "campaign_content": {"locales": ["default"], "content": {"push": pushes(content)}},
        "segmentation_details": segmentation(content),
        "scheduling_details": scheduling(delivery, now),
        "conversion_goal_details": {"goals": goals(content)},
        "control_group_details": {
            "is_global_control_group_enabled": false,
            "is_campaign_control_group_enabled": false,
        },
        "delivery_controls": {},
        "trigger_condition": {},
        "utm_params": {},
        "connector": {},
    });
    match all {
        Value::Object(blocks) => blocks,
        _ => Map::new(),
    }
}

fn pushes(content: &Value) -> Value {
    let payload = content.get("payload").and_then(Value::as_object);
    let push = |(platform, one): (&String, &Value)| {
        let mut details = json!({"title": one.get("title"), "message": one.get("message")});
        if let Some(url) = one.get("redirectURL") {
            details["redirect_url"] = url.clone();
        }
        (platform.to_lowercase(), json!({"template_type": "BASIC", "basic_details": details}))
    };
    Value::Object(payload.into_iter().flatten().map(push).collect())
}

/// Single users are not named: every request has others.
fn segmentation(content: &Value) -> Value {
    let audience = content.get("targetAudience").and_then(Value::as_str);
    let included = match content.get("customSegmentName").filter(|_| audience == Some("Custom Segment")) {
        Some(name) => {
            json!({"filter_operator": "and", "filters": [{"filter_type": "custom_segments", "name": name}]})
        }
        None => json!({}),
    };
    json!({
        "is_all_user_campaign": audience == Some("All Users"),
        "included_filters": included,
        "excluded_filters": {},
    })
}

fn scheduling(delivery: Delivery, now: Timestamp) -> Value {
    match delivery {
        Delivery::Once | Delivery::Reused => json!({"delivery_type": "ASAP", "start_time": date_time(now)}),
        Delivery::At(time) => json!({"delivery_type": "AT_FIXED_TIME", "start_time": date_time(time)}),
        Delivery::Until(end) => json!({
            "delivery_type": "AT_FIXED_TIME",
            "start_time": date_time(now),
            "expiry_time": date_time(end),
        }),
    }
}

fn goals(content: &Value) -> Vec<Value> {
    let goals = content.get("conversionGoals").and_then(Value::as_array);
    let goal = |(index, goal): (usize, &Value)| {
        json!({
            "goal_name": goal.get("name"),
            "goal_event_name": goal.get("eventName"),
            "is_primary_goal": index == 0,
        })
    };
    goals.into_iter().flatten().enumerate().map(goal).collect()
}
