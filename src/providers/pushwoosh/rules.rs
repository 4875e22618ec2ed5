//! What a `createMessage` payload must keep to before anything is sent.

use serde_json::Value;

use super::exempt::is_sms;
use super::fields::{ENVELOPE, MOST_NOTIFICATIONS, NOTIFICATION, PLATFORM, WRAPPER, listed};
use super::{conditions, fields};
use crate::job::{DeliveryId, Object, TransactionId};
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{Place, Report, check_members, describe, unknown_members};

/// The document behind most rules.
pub(super) const SOURCE: &str = "Pushwoosh Messages API";

/// The source of rules that go beyond the provider's document, to its safest reading.
pub(super) const CAUTION: &str = "paceline, the safest reading of the Pushwoosh Messages API";

/// The source of rules about jobs.
pub(super) const CONTRACT: &str = "paceline, the format of a job";

/// The most warnings for one job.
const MOST_WARNINGS: usize = 100;

/// What the account says that a rule depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) job: &'a TransactionId,
    pub(super) default_application: Option<&'a str>,
    pub(super) require_targeting: bool,
}

/// Checks everything beside the single notifications, whose list it hands back if there is one.
///
/// A credential makes the whole job invalid, also one inside a notification: the other deliveries
/// must not go while their job has to be kept out of queues.
pub(super) fn check_request<'a>(
    payload: &'a Object,
    context: Context<'_>,
    report: &mut Report,
) -> Option<&'a [Value]> {
    let place = Place::Payload;
    check_members(CREDENTIALS, payload, place, report);
    if let Some(wrapped) = payload.get(WRAPPER) {
        check_wrapper(wrapped, place.member(WRAPPER), report);
        return None;
    }
    check_members(ENVELOPE, payload, place, report);
    check_application(payload, context, report);
    let notifications = check_count(payload, report)?;
    for (index, notification) in notifications.iter().enumerate() {
        if let Some(object) = notification.as_object() {
            check_members(CREDENTIALS, object, place.member("notifications").item(index), report);
        }
    }
    Some(notifications)
}

fn check_wrapper(wrapped: &Value, place: Place<'_>, report: &mut Report) {
    let allowed = "nothing: the payload is the inside of the documented `request`, without `auth`";
    report.add_from(CONTRACT, place, describe(wrapped), allowed);
    if let Some(object) = wrapped.as_object() {
        check_members(CREDENTIALS, object, place, report);
    }
}

fn check_application(payload: &Object, context: Context<'_>, report: &mut Report) {
    let place = Place::Payload;
    match (payload.contains_key("application"), payload.contains_key("applications_group")) {
        (true, true) => report.add(
            place.member("applications_group"),
            "both application and applications_group",
            "exactly one of the two",
        ),
        (false, false) if context.default_application.is_none() => report.add(
            place.member("application"),
            "nothing",
            "application or applications_group: the account has no application of its own",
        ),
        (true, false) | (false, true | false) => {}
    }
}

fn check_count<'a>(payload: &'a Object, report: &mut Report) -> Option<&'a [Value]> {
    let place = Place::Payload;
    let at = place.member("notifications");
    let allowed = format!("a list of 1 to {MOST_NOTIFICATIONS} notifications");
    match payload.get("notifications") {
        Some(Value::Array(list)) if (1..=MOST_NOTIFICATIONS).contains(&list.len()) => Some(list),
        Some(other) => {
            report.add(at, describe(other), allowed);
            None
        }
        None => {
            report.add(at, "nothing", allowed);
            None
        }
    }
}

/// Checks one notification by itself.
pub(super) fn check_notification(
    notification: &Value,
    has_group: bool,
    context: Context<'_>,
    place: Place<'_>,
    report: &mut Report,
) {
    let Some(object) = notification.as_object() else {
        report.add(place, describe(notification), "an object");
        return;
    };
    check_members(NOTIFICATION, object, place, report);
    check_own_id(object, context.job, place, report);
    check_targeting(object, has_group, context, place, report);
    check_sms(object, place, report);
}

fn check_own_id(notification: &Object, job: &TransactionId, place: Place<'_>, report: &mut Report) {
    let Some(own) = notification.get("transactionId") else { return };
    let at = place.member("transactionId");
    let allowed = "1 to 128 of A-Z a-z 0-9 . _ : -, or none: then paceline gives one";
    match own.as_str().map(|text| DeliveryId::own(job, text)) {
        Some(Ok(_)) => {}
        Some(Err(error)) => report.add_from(CONTRACT, at, format!("a text that {}", short(&error)), allowed),
        None => report.add_from(CONTRACT, at, describe(own), allowed),
    }
}

/// The first half of the error's text; the second repeats what is allowed.
fn short(error: &crate::job::IdError) -> String {
    match error {
        crate::job::IdError::Length(length) => format!("has {length} characters"),
        crate::job::IdError::Character(position) => {
            format!("has a character that is not allowed, at position {position}")
        }
    }
}

fn check_targeting(
    notification: &Object,
    has_group: bool,
    context: Context<'_>,
    place: Place<'_>,
    report: &mut Report,
) {
    let has = |name: &str| notification.contains_key(name);
    if has("filter") && has("conditions") {
        report.add(place.member("conditions"), "both filter and conditions", "one of the two");
    }
    for name in ["devices", "users"].into_iter().filter(|name| has_group && has(name)) {
        report.add(place.member(name), "a list beside applications_group", "nothing, or an application");
    }
    if context.require_targeting && !is_targeted(notification) {
        let allowed = "users, devices, filter or conditions: the account has require_targeting on";
        report.add_from(CONTRACT, place, "no targeting, which is every subscriber", allowed);
    }
}

fn is_targeted(notification: &Object) -> bool {
    ["users", "devices", "filter", "conditions"].iter().any(|name| notification.contains_key(*name))
}

fn check_sms(notification: &Object, place: Place<'_>, report: &mut Report) {
    if !is_sms(notification) {
        return;
    }
    let devices = notification.get("devices").and_then(Value::as_array).map(Vec::len);
    if devices != Some(1) {
        let found = devices.map_or_else(|| "no list".to_owned(), |n| format!("a list of {n} items"));
        report.add(place.member("devices"), found, "exactly one telephone number, for an SMS");
    }
    if notification.get("content").is_some_and(Value::is_object) {
        report.add(place.member("content"), "an object", "a text, for an SMS");
    }
    if notification.contains_key("users") {
        let allowed = "nothing: with users the devices are ignored, and an SMS goes to a device";
        report.add_from(CAUTION, place.member("users"), "users beside an SMS", allowed);
    }
}

/// Things worth knowing that break no rule.
pub(super) fn warnings(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    let extra = [fields::NOTIFICATIONS];
    unknown_members(&[ENVELOPE, CREDENTIALS, &extra], payload, place, &mut report);
    let notifications = payload.get("notifications").and_then(Value::as_array);
    let at = place.member("notifications");
    for (index, notification) in notifications.into_iter().flatten().enumerate() {
        if report.len() >= MOST_WARNINGS {
            break;
        }
        if let Some(object) = notification.as_object() {
            warn_notification(object, at.item(index), &mut report);
        }
    }
    report
}

fn warn_notification(notification: &Object, place: Place<'_>, report: &mut Report) {
    unknown_members(&[NOTIFICATION, PLATFORM, CREDENTIALS], notification, place, report);
    warn_targeting(notification, place, report);
    for index in conditions::pairs(notification) {
        let conditions = place.member("conditions");
        let at = conditions.item(index);
        report.add_from(CAUTION, at, "a condition without operand", "an operand; an empty text is added");
    }
}

fn warn_targeting(notification: &Object, place: Place<'_>, report: &mut Report) {
    let has = |name: &str| notification.contains_key(name);
    if !is_targeted(notification) {
        let allowed = "this, if every subscriber is meant; else users, devices, filter or conditions";
        report.add(place, "no targeting, which is every subscriber", allowed);
    }
    if has("users") && has("devices") {
        report.add(place.member("devices"), "devices beside users", "this, but devices are ignored");
    }
    for name in ["filter", "conditions"].into_iter().filter(|name| has("devices") && has(name)) {
        report.add(place.member(name), "a condition beside devices", "this, but it is ignored");
    }
    let few = has("devices") && listed(notification, "devices").count() < 10;
    if few && has("platforms") && !is_sms(notification) {
        report.add(
            place.member("platforms"),
            "platforms beside fewer than 10 devices",
            "this, but it is ignored",
        );
    }
}

#[cfg(test)]
mod tests;
