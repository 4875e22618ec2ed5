//! `payload`: what is shown on each platform.

use serde_json::Value;

use super::part::{
    Part, has, has_some, is_boolean, is_filled, is_flag, is_list_of, is_one_of, is_text, needed, part, wrong,
};

static ANDROID: [Part; 10] = [
    needed("message", is_filled),
    needed("title", is_filled),
    part("channel_id", is_text),
    part("summary", is_text),
    part("groupKey", is_text),
    part("collapseReplaceKey", is_text),
    part("richContent", |list| is_list_of(list, |item| is_rich(item, &["image", "coupon", "sound"]))),
    part("defaultAction", is_default_action),
    part("additionalActions", are_android_actions),
    part("fallback", |fallback| has_some(fallback, &ANDROID)),
];

static IOS: [Part; 10] = [
    needed("message", is_filled),
    needed("title", is_filled),
    part("subtitle", is_text),
    part("enableIosBadge", is_flag),
    part("groupKey", is_text),
    part("collapseReplaceKey", is_text),
    part("richContent", is_ios_rich_content),
    part("defaultAction", is_default_action),
    part("additionalActions", are_ios_actions),
    part("fallback", |fallback| has_some(fallback, &IOS)),
];

static WEB: [Part; 6] = [
    needed("message", is_filled),
    needed("title", is_filled),
    needed("redirectURL", is_filled),
    needed("iconURL", is_filled),
    part("imageURL", is_image_address),
    part("autoDismiss", is_boolean),
];

static ACTION: [Part; 3] = [part("value", is_text), part("name", is_text), part("iconURL", is_text)];

/// What is wrong with it, if anything. A platform may be targeted without content; all of them may
/// not.
pub(super) fn problem(content: &Value) -> Option<String> {
    let Some(payload) = content.get("payload").filter(|payload| payload.is_object()) else {
        return Some("payload is missing".to_owned());
    };
    let mut targeted = content["targetPlatform"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if !targeted.any(|platform| payload.get(platform).is_some()) {
        return Some("payload has no content for a targeted platform".to_owned());
    }
    let platforms: [(&str, &[Part]); 3] = [("ANDROID", &ANDROID), ("IOS", &IOS), ("WEB", &WEB)];
    platforms.into_iter().find_map(|(platform, parts)| {
        let shown = payload.get(platform)?;
        if !shown.is_object() {
            return Some(format!("payload of {platform} is not an object"));
        }
        wrong(shown, parts).map(|name| format!("payload of {platform}: {name} is missing or not correct"))
    })
}

/// Without a type it is let through: no page says which parts of it are needed.
fn is_of_kind(item: &Value, kinds: &[&str]) -> bool {
    item.is_object() && item.get("type").is_none_or(|kind| is_one_of(kind, kinds))
}

fn is_rich(item: &Value, kinds: &[&str]) -> bool {
    is_of_kind(item, kinds) && item.get("value").is_none_or(is_text)
}

/// Image, audio and video exclude one another.
fn is_ios_rich_content(list: &Value) -> bool {
    let all = ["gif", "coupon", "sound", "image", "audio", "video"];
    let shown = |kind: &&str| list.as_array().into_iter().flatten().any(|item| item["type"] == **kind);
    is_list_of(list, |item| is_rich(item, &all))
        && ["image", "audio", "video"].iter().filter(|kind| shown(kind)).count() <= 1
}

fn is_default_action(action: &Value) -> bool {
    let texts = |pairs: &Value| pairs.as_object().is_some_and(|pairs| pairs.values().all(is_text));
    is_of_kind(action, &["richlanding", "navigation", "deeplinking"])
        && action.get("value").is_none_or(is_text)
        && action.get("kvPairs").is_none_or(texts)
}

/// At most two.
fn are_android_actions(list: &Value) -> bool {
    let fits = |item: &Value| is_of_kind(item, &["call", "snooze", "copy", "share"]) && has(item, &ACTION);
    list.as_array().is_some_and(|list| list.len() <= 2) && is_list_of(list, fits)
}

/// One category; none is as good as no list.
fn are_ios_actions(list: &Value) -> bool {
    list.as_array().is_some_and(|list| list.len() <= 1) && is_list_of(list, Value::is_object)
}

/// Encrypted, unless personalisation is to put an address there.
fn is_image_address(value: &Value) -> bool {
    let template = |text: &str| text.starts_with("{{") || text.starts_with("{%");
    value.as_str().is_some_and(|text| template(text) || text.to_lowercase().starts_with("https://"))
}
