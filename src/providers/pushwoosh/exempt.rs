//! Which `createMessage` notifications use up no limit.
//!
//! "If you send pushes via the devices parameter to 10 devices or less, there are no restrictions"
//! for immediate pushes, while API message tracing is off. Each exempt notification is sent alone,
//! so the sum over a request is the notification's own count.

use serde_json::Value;

use super::fields::{SMS, listed};
use crate::job::Object;

/// Whether the provider counts no request for this notification. In doubt it counts.
pub(super) fn is_exempt(notification: &Object, most_devices: usize) -> bool {
    let devices = notification.get("devices").and_then(Value::as_array).map_or(0, Vec::len);
    (1..=most_devices).contains(&devices)
        // With `users` the devices are ignored.
        && !notification.contains_key("users")
        // A scheduled push is always stored, hence counted, however few its devices.
        && notification.get("send_date").and_then(Value::as_str) == Some("now")
        // The exemption speaks of pushes.
        && !may_be_sms(notification)
}

/// Whether this is an SMS: the platform says so, or a device looks like a telephone number, since
/// naming the platform is optional.
pub(super) fn may_be_sms(notification: &Object) -> bool {
    is_sms(notification) || listed(notification, "devices").any(may_be_telephone)
}

/// Whether a text begins with a plus sign, or is nothing but digits and what people write between
/// those of a telephone number.
fn may_be_telephone(device: &str) -> bool {
    const PLUS: [char; 2] = ['+', '\u{ff0b}'];
    let between =
        |c: char| c.is_whitespace() || PLUS.contains(&c) || "-\u{2010}\u{2011}\u{2013}().,/".contains(c);
    device.trim_start().starts_with(PLUS)
        || (device.contains(char::is_numeric) && device.chars().all(|c| c.is_numeric() || between(c)))
}

/// Whether the platform of an SMS is named.
pub(super) fn is_sms(notification: &Object) -> bool {
    let platforms = notification.get("platforms").and_then(Value::as_array);
    platforms.is_some_and(|list| list.iter().any(|platform| platform.as_i64() == Some(SMS)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exempt_or_counted() {
        let devices = |n: usize| vec!["d"; n];
        let cases = [
            (10, json!({"send_date": "now", "devices": devices(1)}), true),
            (10, json!({"send_date": "now", "devices": devices(10)}), true),
            (10, json!({"send_date": "now", "devices": devices(11)}), false),
            (9, json!({"send_date": "now", "devices": devices(10)}), false),
            (1, json!({"send_date": "now", "devices": devices(1)}), true),
            (0, json!({"send_date": "now", "devices": devices(1)}), false),
            (10, json!({"send_date": "now", "devices": []}), false),
            (10, json!({"send_date": "now"}), false),
            (10, json!({"send_date": "2026-01-01 10:00", "devices": devices(1)}), false),
            (10, json!({"devices": devices(1)}), false),
            (10, json!({"send_date": "now", "users": ["u"]}), false),
            (10, json!({"send_date": "now", "devices": devices(1), "users": ["u"]}), false),
            (10, json!({"send_date": "now", "devices": devices(1), "users": []}), false),
            (10, json!({"send_date": "now", "filter": "f"}), false),
            (10, json!({"send_date": "now", "devices": devices(1), "filter": "f"}), true),
            (10, json!({"send_date": "now", "devices": devices(1), "platforms": [1, 3]}), true),
            (10, json!({"send_date": "now", "devices": ["+1234567890"], "platforms": [18]}), false),
            (10, json!({"send_date": "now", "devices": ["abc"], "platforms": [1, 18]}), false),
            (10, json!({"send_date": "now", "devices": ["+1234567890"]}), false),
            (10, json!({"send_date": "now", "devices": ["\u{ff0b}49 170 1234567"]}), false),
            (10, json!({"send_date": "now", "devices": ["00491701234567"]}), false),
            (10, json!({"send_date": "now", "devices": ["d", "(0170) 123-45.67"]}), false),
            (10, json!({"send_date": "now", "devices": ["0170a1234567"]}), true),
            (10, json!({"send_date": "now", "devices": ["---"]}), true),
        ];
        for (most, notification, expected) in cases {
            assert_eq!(is_exempt(notification.as_object().unwrap(), most), expected, "{most} {notification}");
        }
    }
}
