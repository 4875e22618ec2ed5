//! `advancedSettings`: flags and numbers of the delivery.

use serde_json::Value;

use super::part::{Part, has, is_boolean, is_flag, is_one_of, is_whole_from, part, wrong};

static SETTINGS: [Part; 15] = [
    part("ttl", |ttl| has(ttl, &TTL)),
    part("ignoreFC", is_flag),
    part("countFC", is_flag),
    part("notificationPrioritySettings", |priorities| has(priorities, &PRIORITIES)),
    part("pushAmp+", is_flag),
    part("preCacheSegment", is_flag),
    part("useJinjaPersonalization", is_flag),
    part("deliverWhenActive", is_flag),
    part("sendAtHighPriority", is_flag),
    part("ignoreMinimumDelay", is_flag),
    part("campaignThrottleTime", is_throttle_time),
    part("campaignThrottleRpm", |value| is_whole_from(value, 1.0)),
    part("inboxExpiry", |value| is_whole_from(value, 0.0)),
    part("iOSTargetDevice", is_target_device),
    part("bypassDND", is_boolean),
];

/// Minutes. The week at most is of a later version of this call, so longer is let through.
static TTL: [Part; 2] =
    [part("ANDROID", |value| is_whole_from(value, 0.0)), part("WEB", |value| is_whole_from(value, 0.0))];

static PRIORITIES: [Part; 2] = [
    part("Android", |value| is_one_of(value, &["High", "Low"])),
    part("iOS", |value| [1, 5, 10].iter().any(|priority| value == priority)),
];

/// What is wrong with them, if anything.
pub(super) fn problem(settings: &Value) -> Option<String> {
    if !settings.is_object() {
        return Some("advancedSettings is not an object".to_owned());
    }
    let name = wrong(settings, &SETTINGS)?;
    Some(format!("advancedSettings: {name} has a value that is not allowed"))
}

/// Minutes.
fn is_throttle_time(value: &Value) -> bool {
    is_whole_from(value, 1.0) && value.as_f64().is_some_and(|minutes| minutes <= 360.0)
}

fn is_target_device(value: &Value) -> bool {
    let devices =
        ["apns_device_default_push", "apns_device_provisional_push", "apns_device_non_provisional_push"];
    is_one_of(value, &devices)
}
