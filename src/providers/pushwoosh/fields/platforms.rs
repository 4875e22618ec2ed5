//! The members of a message that belong to a single platform.
//!
//! The document shows a type for most of them and a sample for the rest; where it says nothing of a
//! type, whatever the sample allows for is taken.

use serde_json::{Value, json};

use crate::job::Object;
use crate::providers::shape::{
    Form, MOST_ITEM_FINDINGS, Member, Place, Report, Shape, Special, check_members, describe, optional,
    shown_name,
};

/// A switch. The document writes 0 and 1 where it says "boolean" and true elsewhere, so that both
/// are taken everywhere.
const FLAG: Shape = Shape::AnyOf {
    shapes: &[Shape::OneOfNumbers(&[0, 1]), Shape::Boolean],
    allowed: "0 or 1, or true or false",
};

const BADGES: Shape = Shape::AnyOf {
    shapes: &[Shape::Integer { min: i64::MIN, max: i64::MAX }, Shape::Form(BADGE_STEP)],
    allowed: "a whole number, or a text of + or - and a whole number",
};

const BADGE_STEP: Form = Form {
    allowed: "+ or - and a whole number",
    pattern: r"^[+-]\d+$",
    fits: |text| text.strip_prefix(['+', '-']).is_some_and(is_digits),
};

const SECONDS: Shape = Shape::Integer { min: 0, max: i64::MAX };

const PRIORITY: Shape = Shape::Integer { min: -2, max: 2 };

const DELIVERY_PRIORITY: Shape = Shape::OneOf(&["normal", "high"]);

const LED_COLOUR: Shape = Shape::Form(Form {
    allowed: "a colour, written #rrggbb",
    pattern: "^#[0-9A-Fa-f]{6}$",
    fits: |text| is_hex_colour(text, &[6]),
});

const ICON_COLOUR: Shape = Shape::Form(Form {
    allowed: "a colour, written #RRGGBB or #AARRGGBB, or its name",
    pattern: "^(#[0-9A-Fa-f]{6}|#[0-9A-Fa-f]{8}|[A-Za-z]+)$",
    fits: |text| {
        is_hex_colour(text, &[6, 8]) || !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic())
    },
});

const WNS_TAG: Shape = Shape::Form(Form {
    allowed: "1 to 16 letters and digits",
    pattern: "^[A-Za-z0-9]{1,16}$",
    fits: |text| (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()),
});

const WNS_CONTENT: Shape = Shape::Special(Special { check: check_wns_content, schema: wns_content_schema });

const IOS_ROOT_PARAMS: Shape =
    Shape::Special(Special { check: check_ios_root_params, schema: || json!({"type": "object"}) });

/// The most bytes of user data in `ios_root_params`: "max of 4KB".
const MOST_USER_DATA: usize = 4096;

/// All of them.
pub(in crate::providers::pushwoosh) static PLATFORM: &[Member] = &[
    optional("ios_badges", BADGES),
    optional("ios_sound", Shape::Text),
    optional("ios_ttl", SECONDS),
    optional("ios_silent", FLAG),
    optional("ios_category_id", Shape::Text),
    optional("ios_root_params", IOS_ROOT_PARAMS),
    optional("apns_trim_content", FLAG),
    optional("ios_trim_content", FLAG),
    optional("ios_attachment", Shape::Text),
    optional("ios_title", Shape::Localized),
    optional("ios_subtitle", Shape::Localized),
    optional("ios_thread_id", Shape::Text),
    optional("ios_critical", FLAG),
    optional("ios_interruption_level", Shape::OneOf(&["passive", "active", "time-sensitive", "critical"])),
    optional("android_root_params", Shape::Object),
    optional("android_sound", Shape::Text),
    optional("android_header", Shape::Localized),
    optional("android_icon", Shape::Text),
    optional("android_custom_icon", Shape::Text),
    optional("android_banner", Shape::Text),
    optional("android_badges", BADGES),
    optional("android_gcm_ttl", SECONDS),
    optional("android_vibration", FLAG),
    optional("android_led", LED_COLOUR),
    optional("android_priority", PRIORITY),
    optional("android_delivery_priority", DELIVERY_PRIORITY),
    optional("android_ibc", ICON_COLOUR),
    optional("android_silent", FLAG),
    optional("huawei_android_root_params", Shape::Object),
    optional("huawei_android_sound", Shape::Text),
    optional("huawei_android_sound_off", FLAG),
    optional("huawei_android_header", Shape::Localized),
    optional("huawei_android_icon", Shape::Text),
    optional("huawei_android_custom_icon", Shape::Text),
    optional("huawei_android_banner", Shape::Text),
    optional("huawei_android_gcm_ttl", SECONDS),
    optional("huawei_android_vibration", FLAG),
    optional("huawei_android_led", LED_COLOUR),
    optional("huawei_android_priority", PRIORITY),
    optional("huawei_android_delivery_priority", DELIVERY_PRIORITY),
    optional("huawei_android_ibc", ICON_COLOUR),
    optional("huawei_android_silent", FLAG),
    optional("huawei_android_badges", FLAG),
    optional("huawei_android_lockscreen", FLAG),
    optional("safari_title", Shape::Localized),
    optional("safari_action", Shape::Text),
    optional("safari_url_args", Shape::List { min: 0, max: usize::MAX, item: &Shape::Text }),
    optional("safari_ttl", SECONDS),
    optional("chrome_title", Shape::Localized),
    optional("chrome_icon", Shape::Text),
    optional("chrome_gcm_ttl", SECONDS),
    optional("chrome_duration", Shape::Integer { min: 0, max: 50 }),
    optional("chrome_image", Shape::Text),
    optional("chrome_root_params", Shape::Object),
    optional("chrome_button_text1", Shape::Text),
    optional("chrome_button_text2", Shape::Text),
    optional("chrome_button_url1", Shape::Text),
    optional("chrome_button_url2", Shape::Text),
    optional("firefox_title", Shape::Localized),
    optional("firefox_icon", Shape::Text),
    optional("firefox_root_params", Shape::Object),
    optional("adm_root_params", Shape::Object),
    optional("adm_sound", Shape::Text),
    optional("adm_header", Shape::Localized),
    optional("adm_icon", Shape::Text),
    optional("adm_custom_icon", Shape::Text),
    optional("adm_banner", Shape::Text),
    optional("adm_ttl", SECONDS),
    optional("adm_priority", PRIORITY),
    optional("mac_badges", BADGES),
    optional("mac_sound", Shape::Text),
    optional("mac_root_params", Shape::Object),
    optional("mac_ttl", SECONDS),
    optional("wns_content", WNS_CONTENT),
    optional("wns_type", Shape::OneOf(&["Tile", "Toast", "Badge", "Raw"])),
    optional("wns_tag", WNS_TAG),
    optional("wns_cache", FLAG),
    optional("wns_ttl", SECONDS),
];

/// Checks these members of a message. `only_safari`: it goes to no other platform.
pub(in crate::providers::pushwoosh) fn check(
    message: &Object,
    only_safari: bool,
    place: Place<'_>,
    report: &mut Report,
) {
    check_members(PLATFORM, message, place, report);
    check_safari(message, only_safari, place, report);
}

/// What every Safari push needs. One that goes to other platforms, too, needs none of it; it shows
/// that it is meant for Safari by any member for it, or by going nowhere else. A preset may bring
/// what the message lacks.
const SAFARI_NEEDS: [(&str, &str); 2] = [
    ("safari_title", "a title, which Safari requires"),
    ("safari_url_args", "a list of texts, maybe empty, which Safari requires"),
];

fn check_safari(message: &Object, only_safari: bool, place: Place<'_>, report: &mut Report) {
    let meant = only_safari || message.keys().any(|name| name.starts_with("safari_"));
    if !meant || message.contains_key("preset") {
        return;
    }
    for (name, allowed) in SAFARI_NEEDS.into_iter().filter(|(name, _)| !message.contains_key(*name)) {
        report.add(place.member(name), "nothing", allowed);
    }
}

/// The part of a message's schema that says what Safari needs. Whether a message goes to Safari
/// only is left to the check.
pub(in crate::providers::pushwoosh) fn safari_schema() -> Value {
    let needs = SAFARI_NEEDS.map(|(name, _)| name);
    let safari = PLATFORM.iter().map(|member| member.name).filter(|name| name.starts_with("safari_"));
    let dependent: Object = safari.map(|name| (name.to_owned(), json!(needs))).collect();
    json!([{"required": ["preset"]}, {"dependentRequired": dependent}])
}

fn check_wns_content(value: &Value, place: Place<'_>, report: &mut Report) {
    let allowed = "a text in Base64, or an object of languages with such a text for each";
    let fits = |value: &Value| value.as_str().is_some_and(is_base64);
    match value {
        Value::Object(languages) if !languages.is_empty() => {
            let bad = languages.iter().filter(|(_, text)| !fits(text));
            for (language, text) in bad.take(MOST_ITEM_FINDINGS) {
                let at = if shown_name(language) { place.member(language) } else { place };
                report.add(at, found_content(text), "a text in Base64");
            }
        }
        value if fits(value) => {}
        value => report.add(place, found_content(value), allowed),
    }
}

fn found_content(value: &Value) -> String {
    let broken = if value.is_string() { " that is not Base64" } else { "" };
    format!("{}{broken}", describe(value))
}

fn wns_content_schema() -> Value {
    let text = json!({"type": "string", "pattern": r"^[A-Za-z0-9+/=\s]+$", "contentEncoding": "base64"});
    json!({"anyOf": [text, {"type": "object", "minProperties": 1, "additionalProperties": text}]})
}

/// MIME's Base64, which may be broken into lines.
fn is_base64(text: &str) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let data = &bytes[..bytes.len() - padding];
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    !data.is_empty() && padding <= 2 && bytes.len().is_multiple_of(4) && data.iter().all(plain)
}

/// An object, and the user's data in it within its bound. Counted in the shortest form that the
/// provider could send it in, so that nothing is refused that fits in any.
fn check_ios_root_params(value: &Value, place: Place<'_>, report: &mut Report) {
    let Some(params) = value.as_object() else {
        report.add(place, describe(value), "an object");
        return;
    };
    let bytes = params.get("data").map_or(0, |data| match data {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    });
    if bytes > MOST_USER_DATA {
        report.add(
            place.member("data"),
            format!("{bytes} bytes"),
            format!("at most {MOST_USER_DATA} bytes of user data"),
        );
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex_colour(text: &str, lengths: &[usize]) -> bool {
    text.strip_prefix('#').is_some_and(|digits| {
        lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::shape::object_schema;

    #[test]
    fn base64_as_mime_writes_it() {
        for (text, fits) in [
            ("PD94bWw+", true),
            ("QQ==", true),
            ("QUE=", true),
            ("QUFB\r\nQUFB", true),
            ("QUE", false),
            ("QQ=", false),
            ("Q===", false),
            ("====", false),
            ("QQ==QQ==", false),
            ("<badge/>", false),
            ("QU-_", false),
            ("", false),
            (" ", false),
        ] {
            assert_eq!(is_base64(text), fits, "{text:?}");
        }
    }

    #[test]
    fn the_schema_takes_what_the_check_takes() {
        let validator = jsonschema::validator_for(&object_schema(&[PLATFORM])).unwrap();
        for members in [
            json!({"ios_badges": -1, "android_badges": "+1", "mac_badges": "-10"}),
            json!({"wns_content": "QUFB\r\nQUFB", "wns_tag": "a", "wns_cache": true}),
            json!({"wns_content": {"en": "QQ==", "de": "QUE="}}),
            json!({"ios_root_params": {"data": "x".repeat(4096)}}),
            json!({"android_ibc": "red", "huawei_android_ibc": "#0011AA", "android_led": "#00fF00"}),
        ] {
            let mut report = Report::new("test");
            check(members.as_object().unwrap(), false, Place::Payload, &mut report);
            assert!(report.is_empty(), "{:?}", report.into_findings());
            assert!(validator.is_valid(&members), "{members}");
        }
    }
}
