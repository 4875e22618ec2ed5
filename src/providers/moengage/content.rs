//! The inner `payload`: what is shown on each platform.

use serde_json::{Value, json};

use super::rules::CAUTION;
use crate::job::Object;
use crate::providers::shape::{FILLED, Form, Member, Place, Report, Shape, count, optional, required};

/// The platforms that can be targeted.
pub(super) const PLATFORMS: [&str; 3] = ["ANDROID", "IOS", "WEB"];

/// The documents beside the reference.
const OVERVIEW: &str = "MoEngage push API, overview";

/// Where the provider cuts a `groupKey`, in ASCII characters.
const LONGEST_GROUP_KEY: usize = 45;

/// The most warnings of a list's items that don't say what they are.
const MOST_KIND_WARNINGS: usize = 5;

/// The kinds of rich content of which iOS shows one.
const ONE_OF_THESE: [&str; 3] = ["image", "audio", "video"];

const TITLE: Member = required("title", FILLED);
const MESSAGE: Member = required("message", FILLED);

const DEFAULT_ACTION: &[Member] = &[
    required("type", Shape::OneOf(&["richlanding", "navigation", "deeplinking"])),
    optional("value", Shape::Text),
    optional("kvPairs", Shape::Texts),
];

// What an item is stands in every sample, but no document requires it: where it is missing, a warning
// says so.
const ANDROID_RICH: &[Member] =
    &[optional("type", Shape::OneOf(&["image", "coupon", "sound"])), optional("value", Shape::Text)];

const ANDROID_ACTION: &[Member] = &[
    optional("type", Shape::OneOf(&["call", "snooze", "copy", "share"])),
    optional("value", Shape::Text),
    optional("name", Shape::Text),
    optional("iconURL", Shape::Text),
];

const ANDROID_PARTS: [Member; 9] = [
    MESSAGE,
    TITLE,
    optional("channel_id", Shape::Text),
    optional("summary", Shape::Text),
    optional("groupKey", Shape::Text),
    optional("collapseReplaceKey", Shape::Text),
    optional("richContent", any_number(&Shape::Members(ANDROID_RICH))),
    optional("defaultAction", Shape::Members(DEFAULT_ACTION)),
    optional("additionalActions", Shape::List { min: 0, max: 2, item: &Shape::Members(ANDROID_ACTION) }),
];

const IOS_RICH: &[Member] = &[
    optional("type", Shape::OneOf(&["gif", "coupon", "sound", "image", "audio", "video"])),
    optional("value", Shape::Text),
];

const IOS_ACTION: &[Member] = &[optional("category", FILLED)];

/// The reference says boolean and, in words, 'true' and 'false'.
const BADGE: Shape = super::settings::FLAG;

const IOS_PARTS: [Member; 9] = [
    MESSAGE,
    TITLE,
    optional("subtitle", Shape::Text),
    optional("enableIosBadge", BADGE),
    optional("groupKey", Shape::Text),
    optional("collapseReplaceKey", Shape::Text),
    optional("richContent", any_number(&Shape::Members(IOS_RICH))),
    optional("defaultAction", Shape::Members(DEFAULT_ACTION)),
    optional("additionalActions", Shape::List { min: 0, max: 1, item: &Shape::Members(IOS_ACTION) }),
];

/// A fallback stands in for any of the parts, so it needs none of them.
static ANDROID_FALLBACK: [Member; 9] = all_optional(ANDROID_PARTS);
static IOS_FALLBACK: [Member; 9] = all_optional(IOS_PARTS);

static ANDROID: [Member; 10] = and(ANDROID_PARTS, optional("fallback", Shape::Members(&ANDROID_FALLBACK)));
static IOS: [Member; 10] = and(IOS_PARTS, optional("fallback", Shape::Members(&IOS_FALLBACK)));

const HTTPS: Form = Form {
    allowed: "an address that begins with https://, or with a placeholder such as {{",
    pattern: r"^([hH][tT][tT][pP][sS]://|\{[{%])",
    fits: |text| {
        text.starts_with("{{")
            || text.starts_with("{%")
            || text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    },
};

/// `iconURL` is no address but a file's name in the provider's own samples.
static WEB: [Member; 6] = [
    MESSAGE,
    TITLE,
    required("redirectURL", FILLED),
    required("iconURL", FILLED),
    optional("imageURL", Shape::Form(HTTPS)),
    optional("autoDismiss", Shape::Boolean),
];

/// The members, one for each platform.
pub(super) static CONTENT: [Member; 3] = [
    optional("ANDROID", Shape::Members(&ANDROID)),
    optional("IOS", Shape::Members(&IOS)),
    optional("WEB", Shape::Members(&WEB)),
];

const fn any_number(item: &'static Shape) -> Shape {
    Shape::List { min: 0, max: usize::MAX, item }
}

const fn all_optional<const N: usize>(mut table: [Member; N]) -> [Member; N] {
    let mut index = 0;
    while index < N {
        table[index].required = false;
        index += 1;
    }
    table
}

const fn and<const N: usize, const M: usize>(table: [Member; N], last: Member) -> [Member; M] {
    assert!(M == N + 1, "the table and one member");
    let mut all = [last; M];
    let mut index = 0;
    while index < N {
        all[index] = table[index];
        index += 1;
    }
    all
}

/// Checks what the tables can't say: what must stand together, and what must not.
pub(super) fn check(payload: &Object, place: Place<'_>, report: &mut Report) {
    let Some(content) = payload.get("payload").and_then(Value::as_object) else { return };
    let at = place.member("payload");
    let mut targeted = targeted(payload).peekable();
    // Something must be said on at least one of the platforms.
    if targeted.peek().is_some() && !targeted.any(|platform| content.contains_key(platform)) {
        let allowed = "content for each platform of targetPlatform";
        report.add(at, "content for no targeted platform", allowed);
    }
    if let Some(ios) = content.get("IOS").and_then(Value::as_object) {
        let ios_at = at.member("IOS");
        check_rich(ios, ios_at, report);
        if let Some(fallback) = ios.get("fallback").and_then(Value::as_object) {
            check_rich(fallback, ios_at.member("fallback"), report);
        }
    }
}

fn check_rich(ios: &Object, place: Place<'_>, report: &mut Report) {
    let items = ios.get("richContent").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let has = |kind: &&str| items.iter().any(|item| item.get("type").and_then(Value::as_str) == Some(*kind));
    let kinds: Vec<_> = ONE_OF_THESE.into_iter().filter(has).collect();
    if kinds.len() > 1 {
        let allowed = "one of image, audio and video: they can't be used together";
        report.add(place.member("richContent"), kinds.join(" and "), allowed);
    }
}

fn targeted(payload: &Object) -> impl Iterator<Item = &'static str> {
    let list = payload.get("targetPlatform").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    PLATFORMS.into_iter().filter(|platform| list.iter().any(|item| item == platform))
}

/// Adds the exclusions to the JSON Schema of the member `payload`.
pub(super) fn refine_schema(schema: &mut Value) {
    let contains = |kind: &str| {
        let item = json!({"type": "object", "properties": {"type": {"const": kind}}, "required": ["type"]});
        json!({"contains": item})
    };
    let [image, audio, video] = ONE_OF_THESE.map(contains);
    let at_most_one = json!([
        {"not": {"allOf": [image.clone(), audio.clone()]}},
        {"not": {"allOf": [image, video.clone()]}},
        {"not": {"allOf": [audio, video]}},
    ]);
    for place in ["/properties/IOS", "/properties/IOS/properties/fallback"] {
        if let Some(rich) = schema.pointer_mut(&format!("{place}/properties/richContent")) {
            rich["allOf"] = at_most_one.clone();
        }
    }
}

/// Warns of content that is missing, not asked for, or will not look as it was meant.
pub(super) fn warn(payload: &Object, place: Place<'_>, report: &mut Report) {
    let Some(content) = payload.get("payload").and_then(Value::as_object) else { return };
    let at = place.member("payload");
    let targeted: Vec<_> = targeted(payload).collect();
    for platform in PLATFORMS {
        let at = at.member(platform);
        match (targeted.contains(&platform), content.get(platform)) {
            (true, None) => report.add(at, "nothing", "content for a targeted platform"),
            (false, Some(_)) => report.add(at, "content", "nothing: the platform is not targeted"),
            (true, Some(_)) | (false, None) => {}
        }
        if let Some(shown) = content.get(platform).and_then(Value::as_object) {
            warn_group_key(shown, at, report);
            warn_without_fallback(platform, shown, at, report);
            warn_kinds(platform, shown, at, report);
            if let Some(fallback) = shown.get("fallback").and_then(Value::as_object) {
                warn_kinds(platform, fallback, at.member("fallback"), report);
            }
        }
    }
}

/// Warns of rich content and actions that don't say what they are; of a few, as they may be many.
fn warn_kinds(platform: &str, shown: &Object, place: Place<'_>, report: &mut Report) {
    if platform == "WEB" {
        return;
    }
    let action = if platform == "IOS" { "category" } else { "type" };
    for (list, kind) in [("richContent", "type"), ("additionalActions", action)] {
        let at = place.member(list);
        let items = shown.get(list).and_then(Value::as_array).into_iter().flatten().enumerate();
        let without = items.filter(|(_, item)| item.as_object().is_some_and(|item| !item.contains_key(kind)));
        for (index, _) in without.take(MOST_KIND_WARNINGS) {
            report.add_from(CAUTION, at.item(index).member(kind), "nothing", "what it is, as in all samples");
        }
    }
}

fn warn_group_key(shown: &Object, place: Place<'_>, report: &mut Report) {
    let Some(key) = shown.get("groupKey").and_then(Value::as_str) else { return };
    let at = place.member("groupKey");
    let length = key.chars().count();
    let allowed = "at most 45 ASCII characters without blanks: the provider takes the rest away, \
                   and keys that differ in it only then are one";
    if length > LONGEST_GROUP_KEY {
        report.add(at, count(length, "character"), allowed);
    } else if !key.bytes().all(|b| b.is_ascii_graphic()) {
        report.add(at, "blanks or characters that are not ASCII", allowed);
    }
}

/// Only where a template stands in plain sight: what else the provider personalises is its secret.
fn warn_without_fallback(platform: &str, shown: &Object, place: Place<'_>, report: &mut Report) {
    if platform == "WEB" || shown.contains_key("fallback") {
        return;
    }
    let personal = |name: &&str| shown.get(*name).and_then(Value::as_str).is_some_and(is_template);
    if let Some(name) = ["title", "message"].into_iter().find(personal) {
        let allowed = "a fallback: where personalisation fails without one, the user gets nothing";
        report.add_from(
            OVERVIEW,
            place.member("fallback"),
            format!("nothing, while {name} is personalised"),
            allowed,
        );
    }
}

fn is_template(text: &str) -> bool {
    [("{{", "}}"), ("{%", "%}")]
        .iter()
        .any(|(open, close)| text.find(open).is_some_and(|start| text[start..].contains(close)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, expected) in [
            ("Hi {{UserAttribute['First Name']}}", true),
            ("{% if x %}a{% endif %}", true),
            ("{{", false),
            ("}} and {{", false),
            ("Your code is 123456", false),
            ("{a} % {b}", false),
            ("", false),
        ] {
            assert_eq!(is_template(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_fallback_knows_all_parts_and_needs_none() {
        for (content, fallback) in [(&ANDROID, &ANDROID_FALLBACK), (&IOS, &IOS_FALLBACK)] {
            let names = |table: &[Member]| table.iter().map(|member| member.name).collect::<Vec<_>>();
            let mut expected = names(fallback);
            expected.push("fallback");
            assert_eq!(names(content), expected);
            assert!(fallback.iter().all(|member| !member.required));
        }
    }
}
