//! `advancedSettings`: how long, how fast and how urgently a push is sent.

use serde_json::Value;

use super::rules::CAUTION;
use crate::job::Object;
use crate::providers::shape::{Member, Place, Report, Shape, optional};

/// True or false, as itself or as a text.
pub(super) const FLAG: Shape = Shape::AnyOf {
    shapes: &[Shape::Boolean, Shape::OneOf(&["true", "false"])],
    allowed: "true or false, as a boolean or as a text in lower case",
};

/// Minutes that a push waits for a device.
const MINUTES_TO_LIVE: Shape = Shape::Integer { min: 0, max: i64::MAX };

/// The most of them by version 2.1 of the API; no other document has a bound.
const MOST_MINUTES_TO_LIVE: i64 = 10_080;

/// The most pushes a minute of a campaign that is personalised.
const MOST_PERSONALISED_A_MINUTE: i64 = 250_000;

const TTL: &[Member] = &[optional("ANDROID", MINUTES_TO_LIVE), optional("WEB", MINUTES_TO_LIVE)];

const PRIORITY: &[Member] =
    &[optional("Android", Shape::OneOf(&["High", "Low"])), optional("iOS", Shape::OneOfNumbers(&[1, 5, 10]))];

const IOS_DEVICES: [&str; 3] =
    ["apns_device_default_push", "apns_device_provisional_push", "apns_device_non_provisional_push"];

/// The members.
pub(super) const SETTINGS: &[Member] = &[
    optional("ttl", Shape::Members(TTL)),
    optional("ignoreFC", FLAG),
    optional("countFC", FLAG),
    optional("notificationPrioritySettings", Shape::Members(PRIORITY)),
    optional("pushAmp+", FLAG),
    optional("preCacheSegment", FLAG),
    optional("useJinjaPersonalization", FLAG),
    optional("deliverWhenActive", FLAG),
    optional("sendAtHighPriority", FLAG),
    optional("ignoreMinimumDelay", FLAG),
    // Minutes.
    optional("campaignThrottleTime", Shape::Integer { min: 1, max: 360 }),
    // Pushes a minute.
    optional("campaignThrottleRpm", Shape::Integer { min: 1, max: i64::MAX }),
    // Hours.
    optional("inboxExpiry", Shape::Integer { min: 0, max: i64::MAX }),
    optional("iOSTargetDevice", Shape::OneOf(&IOS_DEVICES)),
    optional("bypassDND", Shape::Boolean),
];

/// Warns of settings that have no effect as they stand. `soon`: the campaign goes out at once.
pub(super) fn warn(settings: &Object, soon: bool, place: Place<'_>, report: &mut Report) {
    let mut ignored = |name: &'static str, found: &str, allowed: &str| {
        report.add(place.member(name), found, allowed);
    };
    if settings.contains_key("countFC") && !settings.get("ignoreFC").is_some_and(is_on) {
        ignored(
            "countFC",
            "a flag without ignoreFC true",
            "countFC beside ignoreFC true: it has no meaning else",
        );
    }
    if settings.contains_key("campaignThrottleTime") && settings.contains_key("campaignThrottleRpm") {
        let allowed = "one of the two: campaignThrottleRpm wins";
        ignored("campaignThrottleTime", "both campaignThrottleTime and campaignThrottleRpm", allowed);
    }
    if soon && settings.get("preCacheSegment").is_some_and(is_on) {
        let allowed = "nothing: only campaigns that are planned two hours ahead can be cached";
        ignored("preCacheSegment", "true, for a campaign that goes out soon", allowed);
    }
    warn_rate(settings, place, report);
    warn_ttl(settings, place, report);
}

fn warn_ttl(settings: &Object, place: Place<'_>, report: &mut Report) {
    let ttl = place.member("ttl");
    for member in TTL {
        let minutes = settings.get("ttl").and_then(|ttl| ttl.get(member.name)).and_then(Value::as_i64);
        if minutes.is_some_and(|minutes| minutes > MOST_MINUTES_TO_LIVE) {
            let allowed = "at most 10080 minutes, by version 2.1 of the API";
            report.add_from(CAUTION, ttl.member(member.name), "a number above 10080", allowed);
        }
    }
}

fn warn_rate(settings: &Object, place: Place<'_>, report: &mut Report) {
    let rate = settings.get("campaignThrottleRpm").and_then(Value::as_i64);
    if rate.is_some_and(|rate| rate > MOST_PERSONALISED_A_MINUTE) {
        let allowed = "at most 250000 where the push is personalised";
        report.add_from(CAUTION, place.member("campaignThrottleRpm"), "a number above 250000", allowed);
    }
}

fn is_on(flag: &Value) -> bool {
    flag == &Value::Bool(true) || flag == "true"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags() {
        for (flag, on) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("True"), false),
            (json!(1), false),
        ] {
            assert_eq!(is_on(&flag), on, "{flag}");
        }
    }
}
