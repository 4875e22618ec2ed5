//! What a payload must keep to before anything is sent: `createMessage` whole, and of
//! `createTargetedMessage` what it has in common with it. `warnings` holds what breaks no rule.

use serde_json::Value;

use super::exempt::is_sms;
use super::fields::{
    ENVELOPE, MESSAGE, MOST_NOTIFICATIONS, TARGETING, WRAPPER, is_for_safari_only, platforms,
};
use crate::job::{DeliveryId, Object, TransactionId};
use crate::providers::account::refuse_credentials;
use crate::providers::shape::{Place, Report, check_members, describe};

pub(super) mod warnings;

/// The document behind most rules.
pub(super) const SOURCE: &str = "Pushwoosh Messages API";

/// The source of rules that go beyond the provider's document, to its safest reading.
pub(super) const CAUTION: &str = "paceline, the safest reading of the Pushwoosh Messages API";

/// The source of rules about jobs.
pub(super) const CONTRACT: &str = "paceline, the format of a job";

/// What the account says that a rule depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) job: &'a TransactionId,
    /// Which of several notifications it is about.
    pub(super) position: Option<usize>,
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
    refuse_credentials(payload, place, report);
    if let Some(wrapped) = payload.get(WRAPPER) {
        check_wrapper(wrapped, place.member(WRAPPER), report);
        return None;
    }
    check_members(ENVELOPE, payload, place, report);
    check_application(payload, context, report);
    let notifications = check_count(payload, report)?;
    for (index, notification) in notifications.iter().enumerate() {
        if let Some(object) = notification.as_object() {
            refuse_credentials(object, place.member("notifications").item(index), report);
        }
    }
    Some(notifications)
}

pub(super) fn check_wrapper(wrapped: &Value, place: Place<'_>, report: &mut Report) {
    let allowed = "nothing: the payload is the inside of the documented `request`, without `auth`";
    report.add_from(CONTRACT, place, describe(wrapped), allowed);
    if let Some(object) = wrapped.as_object() {
        refuse_credentials(object, place, report);
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
    check_message(object, is_for_safari_only(object), (context.job, context.position), place, report);
    check_members(TARGETING, object, place, report);
    check_targeting(object, has_group, context, place, report);
    check_sms(object, place, report);
}

/// Checks what a message says beside whom it goes to. `only_safari`: it goes to no other platform.
pub(super) fn check_message(
    message: &Object,
    only_safari: bool,
    of: (&TransactionId, Option<usize>),
    place: Place<'_>,
    report: &mut Report,
) {
    check_members(MESSAGE, message, place, report);
    platforms::check(message, only_safari, place, report);
    check_own_id(message, of, place, report);
}

fn check_own_id(
    notification: &Object,
    (job, position): (&TransactionId, Option<usize>),
    place: Place<'_>,
    report: &mut Report,
) {
    let Some(own) = notification.get("transactionId") else { return };
    let at = place.member("transactionId");
    let allowed = "1 to 128 of A-Z a-z 0-9 . _ : -, or none: then paceline gives one";
    match own.as_str().map(|text| DeliveryId::own(job, text, position)) {
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

pub(super) fn is_targeted(notification: &Object) -> bool {
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

#[cfg(test)]
mod tests;
