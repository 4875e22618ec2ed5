//! The members of a `createMessage` request, as Pushwoosh documents them.
//!
//! The members common to all platforms are checked; those of single platforms are known by name, so
//! that they give no warning, and are judged by the provider.

use serde_json::{Value, json};

use super::conditions;
use crate::job::Object;
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{FILLED, Form, Member, Shape, Special, object_schema, optional, required};

/// The most notifications that one request may carry.
pub(super) const MOST_NOTIFICATIONS: usize = 1000;

/// The largest request, in bytes.
pub(super) const LARGEST_REQUEST: usize = 10_000_000;

/// The platform number of an SMS.
pub(super) const SMS: i64 = 18;

/// The likely mistake of copying the documented body whole.
pub(super) const WRAPPER: &str = "request";

/// The members beside `notifications`.
pub(super) static ENVELOPE: &[Member] =
    &[optional("application", FILLED), optional("applications_group", FILLED)];

/// The member that is checked item by item, since a bad notification leaves the others fit.
pub(super) const NOTIFICATIONS: Member = required("notifications", Shape::Any);

const TARGETS: Shape = Shape::List { min: 1, max: 1000, item: &FILLED };

const PLATFORMS: Shape = Shape::List {
    min: 1,
    max: 100,
    item: &Shape::OneOfNumbers(&[1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 17, SMS]),
};

const SEND_DATE: Form = Form {
    allowed: "now, or a moment that exists, written YYYY-MM-DD HH:mm",
    pattern: r"^(now|\d{4}-\d{2}-\d{2} \d{2}:\d{2})$",
    fits: |text| text == "now" || is_minute(text),
};

const DATE: Form =
    Form { allowed: "a day that exists, written YYYY-MM-DD", pattern: r"^\d{4}-\d{2}-\d{2}$", fits: is_day };

/// Checked where the job's own identity is at hand.
const OWN_ID: Special = Special {
    check: |_, _, _| {},
    schema: || json!({"type": "string", "minLength": 1, "maxLength": 133, "pattern": "^[A-Za-z0-9._:#-]+$"}),
};

/// The members of a notification that belong to no single platform.
pub(super) static NOTIFICATION: &[Member] = &[
    required("send_date", Shape::Form(SEND_DATE)),
    required("content", Shape::Localized),
    optional("ignore_user_timezone", Shape::Boolean),
    optional("timezone", FILLED),
    optional("title", Shape::Localized),
    optional("subtitle", Shape::Localized),
    optional("campaign", Shape::Text),
    optional("preset", Shape::Text),
    optional("rich_media", Shape::Text),
    optional("link", Shape::Text),
    optional("minimize_link", Shape::OneOfNumbers(&[0, 1, 2])),
    optional("data", Shape::TextOrObject),
    optional("transactionId", Shape::Special(OWN_ID)),
    optional("platforms", PLATFORMS),
    optional("send_rate", Shape::Integer { min: 100, max: 1000 }),
    optional("capping_days", Shape::Integer { min: 0, max: 30 }),
    optional("capping_count", Shape::Integer { min: 0, max: i64::MAX }),
    optional("inbox_date", Shape::Form(DATE)),
    optional("inbox_image", Shape::Text),
    optional("inbox_days", Shape::Integer { min: 0, max: 30 }),
    optional("devices", TARGETS),
    optional("users", TARGETS),
    // An empty filter could be taken for none at all, which is everybody.
    optional("filter", FILLED),
    optional("conditions", Shape::Special(conditions::RULE)),
    optional("conditions_operator", Shape::OneOf(&["AND", "OR"])),
    optional("geozone", Shape::Object),
    optional("template_bindings", Shape::Object),
    optional("dynamic_content_placeholders", Shape::Object),
];

const fn known(name: &'static str) -> Member {
    optional(name, Shape::Any)
}

/// The members of single platforms.
pub(super) static PLATFORM: &[Member] = &[
    known("ios_badges"),
    known("ios_sound"),
    known("ios_ttl"),
    known("ios_silent"),
    known("ios_category_id"),
    known("ios_root_params"),
    known("apns_trim_content"),
    known("ios_trim_content"),
    known("ios_attachment"),
    known("ios_title"),
    known("ios_subtitle"),
    known("ios_thread_id"),
    known("ios_critical"),
    known("ios_interruption_level"),
    known("android_root_params"),
    known("android_sound"),
    known("android_header"),
    known("android_icon"),
    known("android_custom_icon"),
    known("android_banner"),
    known("android_badges"),
    known("android_gcm_ttl"),
    known("android_vibration"),
    known("android_led"),
    known("android_priority"),
    known("android_delivery_priority"),
    known("android_ibc"),
    known("android_silent"),
    known("huawei_android_root_params"),
    known("huawei_android_sound"),
    known("huawei_android_sound_off"),
    known("huawei_android_header"),
    known("huawei_android_icon"),
    known("huawei_android_custom_icon"),
    known("huawei_android_banner"),
    known("huawei_android_gcm_ttl"),
    known("huawei_android_vibration"),
    known("huawei_android_led"),
    known("huawei_android_priority"),
    known("huawei_android_delivery_priority"),
    known("huawei_android_ibc"),
    known("huawei_android_silent"),
    known("huawei_android_badges"),
    known("huawei_android_lockscreen"),
    known("safari_title"),
    known("safari_action"),
    known("safari_url_args"),
    known("safari_ttl"),
    known("chrome_title"),
    known("chrome_icon"),
    known("chrome_gcm_ttl"),
    known("chrome_duration"),
    known("chrome_image"),
    known("chrome_root_params"),
    known("chrome_button_text1"),
    known("chrome_button_text2"),
    known("chrome_button_url1"),
    known("chrome_button_url2"),
    known("firefox_title"),
    known("firefox_icon"),
    known("firefox_root_params"),
    known("adm_root_params"),
    known("adm_sound"),
    known("adm_header"),
    known("adm_icon"),
    known("adm_custom_icon"),
    known("adm_banner"),
    known("adm_ttl"),
    known("adm_priority"),
    known("mac_badges"),
    known("mac_sound"),
    known("mac_root_params"),
    known("mac_ttl"),
    known("wns_content"),
    known("wns_type"),
    known("wns_tag"),
    known("wns_cache"),
    known("wns_ttl"),
];

/// The JSON Schema of a `createMessage` payload. The account may bring the application, so neither
/// of the two ways to name one is required.
pub(super) fn create_message_schema() -> Value {
    let mut notification = object_schema(&[NOTIFICATION, PLATFORM, CREDENTIALS]);
    notification["not"] = json!({"required": ["filter", "conditions"]});
    let mut payload = object_schema(&[ENVELOPE, CREDENTIALS]);
    payload["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    payload["title"] = json!("Pushwoosh createMessage, the inside of `request`");
    payload["properties"][WRAPPER] = json!(false);
    payload["properties"]["notifications"] = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_NOTIFICATIONS,
        "items": notification,
    });
    payload["required"] = json!(["notifications"]);
    payload["not"] = json!({"required": ["application", "applications_group"]});
    payload
}

/// The texts of a list member, none if it is absent or no list.
pub(super) fn listed<'a>(notification: &'a Object, name: &str) -> impl Iterator<Item = &'a str> {
    let items = notification.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(Value::as_str)
}

fn is_day(text: &str) -> bool {
    parts(text, "dddd-dd-dd").is_some_and(|[year, month, day]| exists(year, month, day))
}

fn is_minute(text: &str) -> bool {
    parts(text, "dddd-dd-dd dd:dd")
        .is_some_and(|[year, month, day, hour, minute]| exists(year, month, day) && hour < 24 && minute < 60)
}

fn exists(year: i16, month: i16, day: i16) -> bool {
    let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else { return false };
    jiff::civil::Date::new(year, month, day).is_ok()
}

/// The numbers of a text in which every `d` of the layout is a digit and all else stands as it is.
fn parts<const N: usize>(text: &str, layout: &str) -> Option<[i16; N]> {
    let fits = |(c, l): (u8, u8)| if l == b'd' { c.is_ascii_digit() } else { c == l };
    if text.len() != layout.len() || !text.bytes().zip(layout.bytes()).all(fits) {
        return None;
    }
    let numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    numbers.collect::<Option<Vec<i16>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::shape::schema;

    #[test]
    fn dates_exist_and_are_written_as_documented() {
        for (text, fits) in [
            ("now", true),
            ("2026-02-28 23:59", true),
            ("2024-02-29 00:00", true),
            ("2026-02-29 00:00", false),
            ("2026-13-01 00:00", false),
            ("2026-00-01 00:00", false),
            ("2026-01-01 24:00", false),
            ("2026-01-01 10:60", false),
            ("2026-01-01 10:00:00", false),
            ("2026-01-01T10:00", false),
            ("2026-1-1 10:00", false),
            ("2026-01-01", false),
            ("Now", false),
            ("", false),
            ("２０２６-01-01 10:00", false),
        ] {
            assert_eq!((SEND_DATE.fits)(text), fits, "{text:?}");
        }
        for (text, fits) in [("2026-12-31", true), ("2026-11-31", false), ("31.12.2026", false)] {
            assert_eq!((DATE.fits)(text), fits, "{text:?}");
        }
    }

    #[test]
    fn no_member_stands_in_the_tables_twice() {
        let mut names: Vec<_> =
            NOTIFICATION.iter().chain(PLATFORM).chain(CREDENTIALS).map(|member| member.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_parts_of_the_schema_are_schemas() {
        jsonschema::meta::validate(&create_message_schema()).unwrap();
        for member in NOTIFICATION.iter().chain(ENVELOPE) {
            jsonschema::meta::validate(&schema(&member.shape)).unwrap();
        }
    }
}
