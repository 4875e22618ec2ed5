//! The members of a `createMessage` request, as Pushwoosh documents them.
//!
//! Here are those common to all platforms, `platforms` holds those of single ones, and `dates` the
//! ways to write a date. `createTargetedMessage` takes the same members but for the targeting.

use serde_json::{Value, json};

use super::conditions;
use super::rules::{CAUTION, SOURCE};
use crate::job::Object;
use crate::providers::account::CREDENTIALS;
use crate::providers::shape::{
    FILLED, Form, Member, Place, Report, Shape, Special, check, object_schema, optional, required, schema,
};
use platforms::PLATFORM;

pub(super) mod dates;
pub(super) mod platforms;

/// The most notifications that one request may carry.
pub(super) const MOST_NOTIFICATIONS: usize = 1000;

/// The largest request, in bytes.
pub(super) const LARGEST_REQUEST: usize = 10_000_000;

/// The platform number of an SMS.
pub(super) const SMS: i64 = 18;

/// The platform number of Safari.
const SAFARI: i64 = 10;

/// The likely mistake of copying the documented body whole.
pub(super) const WRAPPER: &str = "request";

/// The members beside `notifications`.
pub(super) static ENVELOPE: &[Member] =
    &[optional("application", FILLED), optional("applications_group", FILLED)];

/// The member that is checked item by item, since a bad notification leaves the others fit.
pub(super) const NOTIFICATIONS: Member = required("notifications", Shape::Any);

const TARGETS: Shape = Shape::List { min: 1, max: 1000, item: &FILLED };

const PLATFORMS: Shape =
    Shape::Special(Special { check: check_platforms, schema: || schema(&PLATFORM_LIST) });

const PLATFORM_LIST: Shape = Shape::List {
    min: 1,
    max: 100,
    item: &Shape::OneOfNumbers(&[1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 17, SMS]),
};

/// The document does not forbid an empty list; it could be taken for all platforms, or for none.
fn check_platforms(value: &Value, place: Place<'_>, report: &mut Report) {
    let source = if value.as_array().is_some_and(Vec::is_empty) { CAUTION } else { SOURCE };
    let mut own = Report::new(source);
    check(&PLATFORM_LIST, value, place, &mut own);
    own.into_findings().into_iter().for_each(|finding| report.push(finding));
}

/// Whether the time zone exists is a warning's matter: the provider may know more of them.
pub(super) const TIMEZONE: Form = Form {
    allowed: "the name of a time zone, such as Europe/Berlin",
    pattern: "^[A-Za-z0-9_+:/-]{1,64}$",
    fits: |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b':' | b'/' | b'-');
        (1..=64).contains(&text.len()) && text.bytes().all(plain)
    },
};

/// Passed on inside the push as JSON, so a text has to be JSON itself.
const DATA: Shape = Shape::AnyOf {
    shapes: &[
        Shape::Object,
        Shape::Form(Form {
            allowed: "JSON text",
            pattern: r"\S",
            fits: |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        }),
    ],
    allowed: "an object, or a text that is JSON",
};

/// A circle on the map. The document says nothing of the unit of `range`.
pub(super) static GEOZONE: &[Member] = &[
    required("lat", Shape::Number { min: -90.0, max: 90.0 }),
    required("lng", Shape::Number { min: -180.0, max: 180.0 }),
    required("range", Shape::Number { min: 0.0, max: f64::MAX }),
];

/// Checked where the job's own identity is at hand.
const OWN_ID: Special = Special {
    check: |_, _, _| {},
    schema: || json!({"type": "string", "minLength": 1, "maxLength": 133, "pattern": "^[A-Za-z0-9._:#-]+$"}),
};

/// The members of a message that belong to no single platform and do not say whom it goes to.
pub(super) static MESSAGE: &[Member] = &[
    required("send_date", Shape::Form(dates::SEND_DATE)),
    required("content", Shape::Localized),
    optional("ignore_user_timezone", Shape::Boolean),
    optional("timezone", Shape::Form(TIMEZONE)),
    optional("title", Shape::Localized),
    optional("subtitle", Shape::Localized),
    optional("campaign", Shape::Text),
    optional("preset", Shape::Text),
    optional("rich_media", Shape::Text),
    optional("link", Shape::Text),
    optional("minimize_link", Shape::OneOfNumbers(&[0, 1, 2])),
    optional("data", DATA),
    optional("transactionId", Shape::Special(OWN_ID)),
    optional("send_rate", Shape::Integer { min: 100, max: 1000 }),
    optional("capping_days", Shape::Integer { min: 0, max: 30 }),
    optional("capping_count", Shape::Integer { min: 0, max: i64::MAX }),
    optional("inbox_date", Shape::Form(dates::DATE)),
    optional("inbox_image", Shape::Text),
    optional("inbox_days", Shape::Integer { min: 0, max: 30 }),
    optional("conditions_operator", Shape::OneOf(&["AND", "OR"])),
    optional("geozone", Shape::Members(GEOZONE)),
    optional("template_bindings", Shape::Object),
    optional("dynamic_content_placeholders", Shape::Object),
];

/// The members of a notification that say whom it goes to.
pub(super) static TARGETING: &[Member] = &[
    optional("platforms", PLATFORMS),
    optional("devices", TARGETS),
    optional("users", TARGETS),
    // An empty filter could be taken for none at all, which is everybody.
    optional("filter", FILLED),
    optional("conditions", Shape::Special(conditions::RULE)),
];

/// Whether the platforms of a notification are Safari and nothing else, and are looked at: with
/// fewer than ten devices they are not.
pub(super) fn is_for_safari_only(notification: &Object) -> bool {
    let platforms = notification.get("platforms").and_then(Value::as_array);
    let only = platforms.is_some_and(|list| !list.is_empty() && list.iter().all(|one| *one == SAFARI));
    only && !has_few_devices(notification)
}

/// Whether a notification goes to so few devices that `platforms` is ignored.
pub(super) fn has_few_devices(notification: &Object) -> bool {
    notification.contains_key("devices") && listed(notification, "devices").count() < 10
}

/// The JSON Schema of a `createMessage` payload. The account may bring the application, so neither
/// of the two ways to name one is required.
pub(super) fn create_message_schema() -> Value {
    let mut notification = message_schema(TARGETING);
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

/// The JSON Schema of a message with these members beside the common ones.
pub(super) fn message_schema(more: &'static [Member]) -> Value {
    let mut message = object_schema(&[MESSAGE, more, PLATFORM, CREDENTIALS]);
    message["anyOf"] = platforms::safari_schema();
    message
}

/// The texts of a list member, none if it is absent or no list.
pub(super) fn listed<'a>(notification: &'a Object, name: &str) -> impl Iterator<Item = &'a str> {
    let items = notification.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_stands_in_the_tables_twice() {
        let mut names: Vec<_> = MESSAGE
            .iter()
            .chain(TARGETING)
            .chain(PLATFORM)
            .chain(CREDENTIALS)
            .map(|member| member.name)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_parts_of_the_schema_are_schemas() {
        jsonschema::meta::validate(&create_message_schema()).unwrap();
        for member in MESSAGE.iter().chain(TARGETING).chain(PLATFORM).chain(ENVELOPE) {
            jsonschema::meta::validate(&schema(&member.shape)).unwrap();
        }
    }
}
